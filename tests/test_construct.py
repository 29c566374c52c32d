"""The network built by hand: it answers, needs each of its weights, and fails where its docstring says it does."""

from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib.construct import build, match_share, with_sink
from matchlib.data import KINDS, Batch, ChainTask
from matchlib.hooks import cache, intervene
from matchlib.model import Transformer
from matchlib.probe import argmax_score, expected_attention, flow, kernel, matching_matrix, normalised_trace

TWO = ChainTask(hops=2)
HIDDEN = [kind for kind in KINDS if not kind.startswith("ordered")]  # kinds whose number of hops is no token


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def questions(task: ChainTask, n: int = 300, split: str = "any", seed: int = 1) -> Batch:
    return with_sink(task.sample(n, split, generator=seeded(seed)))


@torch.no_grad()
def said(model: Transformer, batch: Batch) -> torch.Tensor:
    return model(batch.tokens).argmax(dim=-1)


def accuracy(model: Transformer, batch: Batch) -> float:
    return (said(model, batch) == batch.answer).float().mean().item()


@pytest.fixture(scope="module")
def model() -> Transformer:
    return build(TWO, 256, generator=seeded(0))


@pytest.mark.parametrize(
    "hops, d_model, layernorm",
    [(1, 128, "post"), (2, 256, "post"), (2, 256, "pre"), (3, 1024, "post"), (3, 768, "pre")],
)
def test_it_answers_without_training_at_the_width_that_is_stated(hops, d_model, layernorm):
    task, right = ChainTask(hops=hops), []
    for seed in range(1 if d_model > 256 else 3):
        model = build(task, d_model, layernorm=layernorm, generator=seeded(seed))
        right.append(accuracy(model, questions(task, 400, seed=10 + seed)))
    assert sum(right) / len(right) >= 0.985, right


@pytest.mark.parametrize("kind", HIDDEN)
@pytest.mark.parametrize("split", ["test", "ood"])
def test_it_answers_every_kind_of_task_and_tokens_of_either_block(kind, split):
    task = ChainTask(kind, hops=2)
    assert accuracy(build(task, 400, generator=seeded(0)), questions(task, 200, split)) >= 0.98


def test_it_takes_its_hops_and_no_more_when_the_question_means_another_number(model):
    batch = questions(ChainTask(hops=3))
    shares = [(said(model, batch) == node).float().mean().item() for node in batch.path.T]
    assert shares[2] >= 0.97 and max(shares[0], shares[1], shares[3]) <= 0.03


def test_its_kernels_are_the_identity_on_the_token_axes_and_its_scores_are_full(model):
    n_pos = model.cfg.n_pos
    on_tokens = torch.eye(256)
    on_tokens[:n_pos] = 0
    x = model.w_e[1:].detach()
    for layer in (1, 2):
        ker = kernel(model, layer) * sqrt(256) / 100
        torch.testing.assert_close(ker, on_tokens, atol=1e-4, rtol=0)
        assert normalised_trace(ker) == pytest.approx(sqrt(1 - n_pos / 256), abs=1e-4)
        torch.testing.assert_close(matching_matrix(model, layer), x @ x.T * 100 / sqrt(256), atol=0.1, rtol=1e-3)
        assert argmax_score(model, layer) == 1
        assert abs(normalised_trace(model.w_vo(layer))) < 0.3, "a factor alone is no identity"


def test_attention_lies_on_the_edges_that_the_mechanism_expects(model):
    batch = questions(TWO)
    pairs, first, second = expected_attention(model, batch).tolist()
    assert pairs > 0.999 and first > 0.999 and second > 0.95
    patterns, edges = flow(model, batch, i=3)
    assert len(edges) == 4 and all(patterns[edge] > 0.9 for edge in edges)


def test_folded_and_tapped_attention_say_the_same(model):
    batch = questions(TWO, 50)
    logits, seen = cache(model, batch.tokens)
    torch.testing.assert_close(model(batch.tokens).detach(), logits[:, -1], atol=0.05, rtol=1e-3)
    assert seen["blocks.2.attn.pattern"].shape == (50, 1, 14, 14)
    assert not any(block.w_in.any() or block.w_out.any() for block in model.blocks)


def wrong_weights() -> dict:
    """Changes to single weights, each of which takes away one part of the mechanism."""
    blank = torch.zeros(256, 256)
    return {
        "no pairing": lambda m: m.blocks[0].w_k.copy_(blank),
        "pairs the wrong way round": lambda m: m.blocks[0].w_k.copy_(m.blocks[0].w_k.T.clone()),
        "no first buffer": lambda m: m.blocks[0].w_o.copy_(blank),
        "first buffer transposed": lambda m: m.blocks[0].w_o.copy_(m.blocks[0].w_o.T.clone()),
        "layer 1 asks nothing": lambda m: m.blocks[1].w_q.copy_(blank),
        "keys answer with themselves": lambda m: m.blocks[1].w_k.copy_(torch.eye(256)),
        "layer 1 writes nothing": lambda m: m.blocks[1].w_o.copy_(blank),
        "layer 2 asks with the start": lambda m: m.blocks[2].w_q.copy_(m.blocks[1].w_q),
        "layer 2 asks through a transpose": lambda m: m.blocks[2].w_q.copy_(m.blocks[2].w_q.T.clone()),
        "layer 2 writes into another buffer": lambda m: m.blocks[2].w_o.copy_(m.blocks[1].w_o),
        "reads the buffer of layer 1": lambda m: m.w_u.copy_(m.blocks[1].w_o.T @ m.w_e.T),
        "reads no buffer": lambda m: m.w_u.copy_(m.w_e.T),
    }


@pytest.mark.parametrize("name", wrong_weights())
@torch.no_grad()
def test_no_weight_can_be_missing_or_turned_round(name):
    model = build(TWO, 256, generator=seeded(0))
    wrong_weights()[name](model)
    assert accuracy(model, questions(TWO)) < 0.25, "better than naming a node that can be the answer (0.2)"


def test_the_answer_comes_by_the_attention_that_is_expected(model):
    """Cut at the key that holds the next node, in either layer, the network answers no better than by chance."""
    batch = questions(TWO)
    row = torch.arange(len(batch))
    for layer in (1, 2):

        def cut(scores, key=batch.path_pos[:, layer - 1] + 1):
            scores = scores.clone()
            scores[row, :, -1, key] = float("-inf")
            return scores

        logits = intervene(model, batch.tokens, {f"blocks.{layer}.attn.scores": cut}, positions="last")
        assert (logits.argmax(dim=-1) == batch.answer).float().mean() < 0.25


def test_without_a_sink_the_first_token_takes_itself_for_its_predecessor():
    """One hop, where nothing else can go wrong: errors are the start itself, and only where its edge stands first."""
    task = ChainTask(hops=1)
    batch = task.sample(600, "any", generator=seeded(1))
    bare, first = build(task, 256, sink=False, generator=seeded(0)), batch.path_pos[:, 0] == 0
    wrong = said(bare, batch) != batch.answer
    assert wrong[first].float().mean() > 0.2 and not wrong[~first].any()
    assert (said(bare, batch)[wrong] == batch.path[wrong, 0]).all()
    pattern = cache(bare, batch.tokens, ["blocks.1.attn.pattern"])[1]["blocks.1.attn.pattern"]
    assert 0.3 < pattern[first, 0, -1, 0].mean() < 0.7, "the false edge is as good a match as the true one"
    assert pattern[~first, 0, -1, 0].mean() < 0.01
    assert accuracy(build(task, 256, generator=seeded(0)), with_sink(batch)) == 1


@pytest.mark.parametrize("layernorm", ["post", "pre"])
def test_the_sink_says_nothing(layernorm):
    model = build(TWO, 256, layernorm=layernorm, generator=seeded(0))
    written = cache(model, questions(TWO, 50).tokens, ["blocks.0.attn.out"])[1]["blocks.0.attn.out"].norm(dim=-1)
    first, second = written[:, 1::2], written[:, 2::2]
    assert first.max() < 1.1 and second.min() > 15, "tokens have length 16; LayerNorm's mean alone may leak"


@st.composite
def batches(draw) -> Batch:
    kind, n_edges = draw(st.sampled_from(KINDS)), draw(st.integers(3, 6))
    most = n_edges - kind.endswith("ring")
    hops = tuple(draw(st.lists(st.integers(1, most), min_size=1, max_size=3, unique=True)))
    return ChainTask(kind, n_edges, hops, 20).sample(8, "any", generator=seeded(draw(st.integers(0, 999))))


@given(batches())
def test_a_pad_in_front_moves_every_position_and_nothing_else(batch):
    moved = with_sink(batch)
    assert (moved.tokens[:, 0] == 0).all() and torch.equal(moved.tokens[:, 1:], batch.tokens)
    for name in ("edge_pos", "noise_pos", "path_pos"):
        before, after = getattr(batch, name).flatten(1), getattr(moved, name).flatten(1)
        assert torch.equal(after < 0, before < 0), "a hop that is not there stays -1"
        for offset in (0, 1):
            old = batch.tokens.gather(1, before.clamp(min=0) + offset)
            new = moved.tokens.gather(1, after.clamp(min=0) + offset)
            assert torch.equal(old[before >= 0], new[after >= 0])
    for name in ("answer", "hops", "chain", "noise", "joint", "which", "start", "path"):
        assert torch.equal(getattr(moved, name), getattr(batch, name))


def test_orthogonal_buffers_give_back_what_gaussian_ones_blur():
    batch = questions(TWO, 400)
    for width, least in ((128, 0.1), (256, 0.03)):
        right = {}
        for kind in ("orthogonal", "gaussian"):
            models = [build(TWO, width, buffers=kind, generator=seeded(seed)) for seed in range(3)]
            right[kind] = sum(accuracy(m, batch) for m in models) / 3
        assert right["orthogonal"] - right["gaussian"] > least, right
    blurred = build(TWO, 256, buffers="gaussian", generator=seeded(0))
    x = blurred.w_e[1:].detach()
    back = x @ (blurred.w_vo(1) @ blurred.blocks[1].w_o.T).detach()
    assert float((back - x).norm() / x.norm()) == pytest.approx(1, abs=0.15), "the error is as long as the token"


def test_width_buys_back_what_hops_cost():
    right = {}
    for hops in (1, 2, 3):
        task = ChainTask(hops=hops)
        for width in (64, 128, 256):
            right[hops, width] = accuracy(build(task, width, generator=seeded(0)), questions(task))
    for hops, width in right:
        assert width == 64 or hops == 1 or right[hops, width] > right[hops, width // 2] + 0.05, right
        assert hops == 1 or right[hops, width] < right[hops - 1, width], right


@pytest.mark.parametrize("layernorm, most", [("post", 1.35), ("pre", 1.1)])
def test_a_match_is_as_faint_as_the_formula_says(layernorm, most):
    """Exactly so in layer 1; later the formula is a floor, and hard attention comes near it."""
    task = ChainTask(hops=3)
    batch, row = questions(task, 500), torch.arange(500)
    model = build(task, 512, layernorm=layernorm, sharpness=1000.0, generator=seeded(0))
    names = [f"blocks.{layer}.attn.scores" for layer in (1, 2, 3)]
    for layer, scores in enumerate(cache(model, batch.tokens, names)[1].values(), start=1):
        match = scores[row, 0, -1, batch.path_pos[:, layer - 1] + 1].mean() / 1000
        assert 0.97 < float(match) / match_share(layer, layernorm) < (1.03 if layer == 1 else most), layer


def test_a_share_is_told_for_layers_that_match():
    assert match_share(1) == match_share(1, "pre") == pytest.approx(1 / sqrt(2))
    assert [match_share(layer) for layer in (2, 3, 4)] == [1 / 4, 1 / 8, 1 / 16]
    for layer in (0, 1.0):
        with pytest.raises(ValueError, match=f"layer={layer} .* at least 1"):
            match_share(layer)
    with pytest.raises(ValueError, match="'final' is not known: choose 'post' or 'pre'"):
        match_share(1, "final")


def test_the_noise_comes_from_positions_that_go_on_matching():
    """Silence what they write after layer 0, the last position's excepted, and a network too narrow answers."""
    task = ChainTask(hops=3)
    model, batch = build(task, 256, generator=seeded(0)), questions(task)

    def last_alone(written):
        return torch.cat([torch.zeros_like(written[:, :-1]), written[:, -1:]], dim=1)

    silenced = {f"blocks.{layer}.attn.out": last_alone for layer in (1, 2)}
    quiet = intervene(model, batch.tokens, silenced)[:, -1].argmax(dim=-1) == batch.answer
    assert accuracy(model, batch) < 0.9 and quiet.float().mean() > 0.99


def test_attention_that_is_not_sharp_does_not_answer():
    batch = questions(TWO)
    blunt, usual, hard = (
        accuracy(build(TWO, 256, sharpness=s, generator=seeded(0)), batch) for s in (5.0, 100.0, 1000.0)
    )
    assert blunt < 0.6 and usual > 0.97 and hard > 0.97


def test_the_generator_alone_decides_the_weights():
    one, same, other = (build(TWO, 32, generator=seeded(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["w_e"], other["w_e"]) and not torch.equal(one["blocks.1.w_o"], other["blocks.1.w_o"])


@pytest.mark.parametrize(
    "task, changes, message",
    [
        (ChainTask("ordered", hops=(1, 2)), {}, "ordered task .* single number of hops"),
        (ChainTask(hops=(1, 2)), {}, r"hops=\(1, 2\) .* single number of hops"),
        (TWO, {"d_model": 15}, "d_model=15 is too few: 14 positions .* at least 16"),
        (TWO, {"d_model": 14, "sink": False}, "d_model=14 is too few: 13 positions .* at least 15"),
        (TWO, {"d_model": 64.0}, "d_model=64.0 is too few"),
        (TWO, {"buffers": "identity"}, "'identity' is not known: choose 'orthogonal' or 'gaussian'"),
        (TWO, {"sharpness": 0.0}, "sharpness=0.0 must be positive"),
        (TWO, {"layernorm": "final"}, "'final' is not known: choose 'post' or 'pre'"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_can(task, changes, message, generator):
    with pytest.raises(ValueError, match=message):
        build(task, **{"d_model": 64} | changes, generator=generator)
    assert accuracy(build(TWO, 16, generator=generator), questions(TWO, 10)) <= 1
