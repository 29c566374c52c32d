"""Probes on models whose answer is known: weights written by hand where matching is exact, and where it is absent."""

from math import sqrt

import pytest
import torch
from torch import Tensor

from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.probe import (
    argmax_of,
    argmax_score,
    controls,
    expected_attention,
    factors,
    flow,
    gaussian_tokens,
    kernel,
    matching_matrix,
    matching_score,
    normalised_trace,
    score,
    with_trained_length,
)

D = 24
CFG = ModelConfig(n_layers=3, d_model=D, d_head=D, d_mlp=8, vocab_size=41, n_pos=9, gamma=0.5)


def orthogonal(generator: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(D, D, generator=generator)).Q


@pytest.fixture
def model(generator) -> Transformer:
    return Transformer(CFG, generator=generator)


@pytest.fixture
def matching(model, generator) -> Transformer:
    """W_vo(0), W_vo(1) orthogonal and W_qk made of them so that both kernels are the identity; none is symmetric."""
    first, second = orthogonal(generator), orthogonal(generator)
    one, two = model.blocks[1], model.blocks[2]
    with torch.no_grad():
        for block, z in ((model.blocks[0], first), (one, second)):
            block.w_v.copy_(torch.eye(D))
            block.w_o.copy_(z)
        one.w_q.copy_(first)  # W_qk(1) = first, so that W_qk(1) first^T = 1
        one.w_k.copy_(torch.eye(D))
        two.w_q.copy_(second.T)  # W_qk(2) = second^T first, so that second W_qk(2) first^T = 1
        two.w_k.copy_(first.T)
    return model


@pytest.mark.parametrize("layer", [1, 2])
def test_where_matching_is_exact_every_score_says_so(matching, layer, generator):
    torch.testing.assert_close(kernel(matching, layer), torch.eye(D), atol=1e-5, rtol=0)
    assert normalised_trace(kernel(matching, layer)) == pytest.approx(1, abs=1e-5)
    x = matching.w_e[1:].detach()
    torch.testing.assert_close(matching_matrix(matching, layer), x @ x.T, atol=1e-4, rtol=1e-4)
    assert argmax_score(matching, layer, torch.eye(D)) == 1
    assert matching_score(matching, layer, 10 * torch.eye(D)) > 0.99
    assert argmax_score(matching, layer, gaussian_tokens(matching, 20, generator)) == 1


def test_the_factors_of_an_exact_kernel_do_not_match_alone(matching, generator):
    for layer in (1, 2):
        parts = controls(matching, layer, generator)
        assert argmax_of(parts.pop("kernel")) == 1
        for name, matrix in parts.items():
            assert abs(normalised_trace(matrix)) < 5 / D and argmax_of(matrix) < 0.3, name


@pytest.mark.parametrize("layer", [1, 2])
def test_where_matching_is_absent_every_score_says_so(model, layer, generator):
    """Random weights stay at chance, 1 / n; the negative identity matches nowhere at all."""
    ids = torch.arange(1, 41)
    assert argmax_score(model, layer, ids) <= 4 / 40
    assert abs(normalised_trace(kernel(model, layer))) < 5 / D
    with torch.no_grad():
        model.blocks[layer].w_q.zero_()
    assert argmax_score(model, layer, ids) == 0  # all entries alike: a tie is no match
    assert matching_score(model, layer, ids) == pytest.approx(1 / 40)


def test_a_kernel_turned_round_matches_nowhere(matching):
    with torch.no_grad():
        matching.blocks[1].w_q.neg_()
    assert normalised_trace(kernel(matching, 1)) == pytest.approx(-1, abs=1e-5)
    assert argmax_score(matching, 1, torch.eye(D)) == 0


def test_order_and_transposes_of_the_kernel(model):
    """Each entry as a sum over indices, for weights with no symmetry to hide a wrong transpose."""
    vo = [model.w_vo(layer).detach() for layer in range(3)]
    qk = [model.w_qk(layer).detach() for layer in range(3)]
    one, two = torch.einsum("ab,jb->aj", qk[1], vo[0]), torch.einsum("ia,ab,jb->ij", vo[1], qk[2], vo[0])
    torch.testing.assert_close(kernel(model, 1), one, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(kernel(model, 2), two, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_an_entry_of_the_matching_matrix_is_a_score_of_what_the_buffers_hold(model):
    """The query holds x W_vo(l-1), or x itself at layer 1; the key holds its predecessor y as y W_vo(0)."""
    ids = torch.tensor([3, 40, 7, 1])
    for layer in (1, 2):
        h = matching_matrix(model, layer, ids)
        for i, x in enumerate(model.embed_tokens(ids).detach()):
            for j, y in enumerate(model.embed_tokens(ids).detach()):
                query = x if layer == 1 else x @ model.w_vo(1)
                entry = (query @ model.blocks[layer].w_q) @ ((y @ model.w_vo(0)) @ model.blocks[layer].w_k)
                assert h[i, j] == pytest.approx(float(entry), abs=1e-5)


def test_factors_multiply_to_the_kernel_in_the_order_given(model):
    for layer, names in ((1, ["W_qk(1)", "W_vo(0)^T"]), (2, ["W_vo(1)", "W_qk(2)", "W_vo(0)^T"])):
        parts = factors(model, layer)
        assert list(parts) == names
        product = torch.eye(D)
        for matrix in parts.values():
            product = product @ matrix
        torch.testing.assert_close(product, kernel(model, layer), atol=1e-5, rtol=1e-4)


def test_controls_hold_a_kernel_that_never_trained(matching):
    parts = controls(matching, 2, torch.Generator().manual_seed(9))
    fresh = Transformer(CFG, generator=torch.Generator().manual_seed(9))
    assert list(parts) == ["kernel", "W_vo(1)", "W_qk(2)", "W_vo(0)^T", "untrained kernel"]
    torch.testing.assert_close(parts["untrained kernel"], kernel(fresh, 2))
    assert not torch.equal(parts["kernel"], parts["untrained kernel"])


def test_scores_of_known_matrices():
    h = torch.tensor([[2.0, 1.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, -1.0]])
    assert argmax_of(h) == pytest.approx(1 / 3)  # row 0 matches, row 1 ties, row 2 does not
    rows = [torch.tensor(row).softmax(0) for row in h.tolist()]
    assert score(h) == pytest.approx(sum(float(row[i]) for i, row in enumerate(rows)) / 3)
    assert argmax_of(torch.eye(5)) == 1 and argmax_of(-torch.eye(5)) == 0 and argmax_of(torch.zeros(5, 5)) == 0
    assert score(torch.zeros(5, 5)) == pytest.approx(1 / 5)
    assert score(1000 * torch.eye(5)) == pytest.approx(1)
    columns_win = torch.tensor([[1.0, 2.0], [0.0, 3.0]])  # rows are queries: by columns both diagonals would win
    assert argmax_of(columns_win) == 1 / 2
    assert torch.equal(columns_win, torch.tensor([[1.0, 2.0], [0.0, 3.0]])), "the matrix was changed in passing"


def test_normalised_trace_of_known_matrices(generator):
    assert normalised_trace(torch.eye(50)) == pytest.approx(1)
    assert normalised_trace(-3 * torch.eye(50)) == pytest.approx(-1)
    values = [normalised_trace(torch.randn(50, 50, generator=generator)) for _ in range(200)]
    assert abs(sum(values) / 200) < 5 / 50 / sqrt(200)
    assert sum(v * v for v in values) / 200 == pytest.approx(1 / 50**2, rel=0.5)


def test_gaussian_tokens_have_the_scale_of_the_embeddings(model):
    with torch.no_grad():
        model.w_e.mul_(3)
        model.w_e[0] = 1_000  # padding is no token
    drawn = gaussian_tokens(model, 400, torch.Generator().manual_seed(1))
    assert drawn.shape == (400, D)
    assert float(drawn.std()) == pytest.approx(3 * D**-0.5, rel=0.1)
    assert torch.equal(drawn, gaussian_tokens(model, 400, torch.Generator().manual_seed(1)))


def test_tokens_may_be_ids_or_vectors_or_all_but_padding(model):
    ids = torch.arange(1, 41)
    assert matching_matrix(model, 1).shape == (40, 40)
    torch.testing.assert_close(matching_matrix(model, 1), matching_matrix(model, 1, ids))
    torch.testing.assert_close(matching_matrix(model, 1, ids), matching_matrix(model, 1, model.w_e[1:].detach()))


class Scripted(Transformer):
    """A model that attends as it is told: its patterns are given, whatever its weights say."""

    script: dict[str, Tensor] = {}

    def forward(self, tokens, positions="last", tap=None):
        return super().forward(tokens, positions, lambda name, x: tap(name, self.script.get(name, x)))


@pytest.mark.parametrize(("kind", "hops"), [("single", 3), ("ring", 2), ("noised", (2, 4)), ("ordered", (1, 3))])
def test_attention_on_the_expected_edge_is_read_off_given_patterns(kind, hops, generator):
    """Against a reader of the tokens who finds the second token of each edge of the path."""
    task = ChainTask(kind, 4, hops, 20)
    batch, n = task.sample(6, "train", generator=generator), task.n_pos
    model = Scripted(ModelConfig(4, 8, 4, 8, 2, task.vocab_size, n), generator=generator)
    model.script = {f"blocks.{layer}.attn.pattern": torch.rand(6, 2, n, n, generator=generator) for layer in range(4)}
    first, later = [], [[] for _ in range(3)]
    for i, row in enumerate(batch.tokens.tolist()):
        pattern = [p[i].mean(dim=0) for p in model.script.values()]
        edges = range(0, n - (2 if kind == "ordered" else 1), 2)
        noisy = batch.noise[i].flatten().tolist()
        first += [float(pattern[0][p + 1, p]) for p in edges if row[p] not in noisy]
        node = row[-2] if kind == "ordered" else row[-1]
        for layer in range(1, min(4, min(task.all_hops) + 1)):
            place = next(p for p in edges if row[p] == node)
            later[layer - 1].append(float(pattern[layer][-1, place + 1]))
            node = row[place + 1]
    expected = [sum(values) / len(values) for values in [first, *later] if values]
    assert len(expected) == 1 + min(3, *task.all_hops, 3)
    torch.testing.assert_close(expected_attention(model, batch), torch.tensor(expected))


def test_attention_of_a_uniform_pattern_is_one_over_what_is_visible(generator):
    task = ChainTask("single", 4, 2, 20)
    model = Transformer(ModelConfig(3, 8, 8, 8, 1, task.vocab_size, task.n_pos), generator=generator)
    with torch.no_grad():
        for block in model.blocks:
            block.w_q.zero_()
    found = expected_attention(model, task.sample(8, generator=generator))
    second = [2, 4, 6, 8]  # the number of keys that the second token of each edge can see
    torch.testing.assert_close(found, torch.tensor([sum(1 / n for n in second) / 4, 1 / 9, 1 / 9]))


def test_wrong_layers_and_tokens_are_refused_with_what_is_allowed(model, generator):
    for ask in (kernel, matching_matrix, matching_score, argmax_score, factors):
        for layer in (0, 3, -1):
            with pytest.raises(IndexError, match=f"layer {layer} has no kernel: matching happens in layers 1..2"):
                ask(model, layer)
    one_layer = Transformer(ModelConfig(n_layers=1), generator=generator)
    with pytest.raises(IndexError, match="a model of one layer can pair but not match"):
        kernel(one_layer, 1)
    with pytest.raises(ValueError, match=r"vectors of shape \(5, 7\) do not fit: give \(n, 24\)"):
        matching_matrix(model, 1, torch.zeros(5, 7))
    with pytest.raises(ValueError, match="allowed are 0..40"):
        matching_matrix(model, 1, torch.tensor([1, 41]))


@pytest.mark.parametrize("kind", ["single", "double", "ring"])
def test_flow_names_the_edges_that_the_printed_path_needs(kind, generator):
    task = ChainTask(kind, 4, 2, 20)
    model = Transformer(ModelConfig(3, 8, 8, 8, 2, task.vocab_size, task.n_pos), generator=generator)
    batch = task.sample(6, generator=generator)
    for i in range(6):
        patterns, expected = flow(model, batch, i)
        row, last = batch.tokens[i].tolist(), task.n_pos - 1
        places = [next(p for p in range(0, last, 2) if row[p] == node) for node in batch.path[i, :2].tolist()]
        pairs = [(0, place + 1, place) for place in places]
        assert expected == [*pairs, (1, last, places[0] + 1), (2, last, places[1] + 1)]
        assert patterns.shape == (3, task.n_pos, task.n_pos)
        torch.testing.assert_close(patterns.sum(-1), torch.ones(3, task.n_pos))
        assert (patterns.triu(1) == 0).all()


def test_trained_length_scales_unseen_tokens_and_touches_nothing_else(generator):
    model = Transformer(ModelConfig(vocab_size=24), generator=generator)  # 10 tokens, 10 unseen, 3 order tokens
    with torch.no_grad():
        model.w_e[1:11] *= 3
    before = model.w_e.clone()
    longer = with_trained_length(model, 10)
    assert torch.equal(model.w_e, before)
    length = longer.w_e.norm(dim=1)
    assert length[11:21].mean().item() == pytest.approx(length[1:11].mean().item(), rel=1e-5)
    torch.testing.assert_close(longer.w_e[11:21] / before[11:21], (longer.w_e[11, 0] / before[11, 0]).expand(10, 64))
    kept = [*range(11), 21, 22, 23]
    assert torch.equal(longer.w_e[kept], before[kept])
    others = zip(longer.named_parameters(), model.parameters(), strict=True)
    assert all(torch.equal(a, b) for (name, a), b in others if name != "w_e")
