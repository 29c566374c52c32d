"""Every change does what its name says and nothing else, on untrained models, against slow and obvious oracles."""

from dataclasses import replace as with_fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from matchlib.data import ChainTask
from matchlib.hooks import cache, hook_names, intervene
from matchlib.model import ModelConfig, Transformer
from matchlib.patch import (
    ablate,
    candidates,
    circuit,
    cut,
    edge_map,
    edges,
    exchange,
    keep_only,
    observe,
    places,
    possible_edges,
    random_edges,
    redirect,
    replace,
    resend,
    says,
    through,
    together,
)

TASK = ChainTask(n_edges=3, hops=2, n_tokens=12)
N, POS = 6, TASK.n_pos
CFG = ModelConfig(
    n_layers=3, d_model=8, d_head=4, d_mlp=12, n_heads=2, vocab_size=TASK.vocab_size, n_pos=POS, gamma=0.3
)
BATCH = TASK.sample(N, "any", generator=torch.Generator().manual_seed(2))
OTHER = TASK.sample(N, "any", generator=torch.Generator().manual_seed(3))
ROW = torch.arange(N)
Q, K = torch.tensor([6, 5, 4, 6, 3, 2]), torch.tensor([0, 5, 2, 3, 1, 2])  # one causal edge a sequence


@pytest.fixture(params=["post", "pre"])
def model(request, generator) -> Transformer:
    return Transformer(with_fields(CFG, layernorm=request.param), generator=generator)


@pytest.fixture
def basis(generator) -> Tensor:
    return torch.linalg.qr(torch.randn(8, 3, generator=generator)).Q.T


def logits(model: Transformer, changes: dict) -> Tensor:
    with torch.no_grad():
        return intervene(model, BATCH.tokens, changes)[:, -1]


def differ(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().amax(dim=-1).min() > 1e-5)


@pytest.mark.parametrize("name", [n for n in hook_names(CFG) if n != "pos_embed"])
def test_replace_changes_the_places_of_the_mask_and_no_others(model, name, generator):
    before = cache(model, BATCH.tokens, [name])[1][name]
    by = torch.randn(before.shape, generator=generator)
    of_edges = name.endswith(("scores", "pattern"))
    where = torch.rand(N, POS, *[POS] * of_edges, generator=generator) < 0.5
    after = observe(model, BATCH.tokens, [name], replace(name, where, by))[name]
    for i, pos in where.nonzero()[:, :2].tolist() + (~where).nonzero()[:, :2].tolist():
        for k in range(POS if of_edges else 1):
            at = (i, ..., pos, k) if of_edges else (i, ..., pos, slice(None))
            chosen = where[i, pos, k] if of_edges else where[i, pos]
            assert torch.equal(after[at], (by if chosen else before)[at]), (i, pos, k)


def test_replace_takes_a_number_or_a_function(model):
    where, name = places(Q, N, POS), "blocks.1.attn.out"
    before = cache(model, BATCH.tokens, [name])[1][name]
    for by, wanted in ((2.5, torch.full_like(before, 2.5)), (lambda x: -3 * x, -3 * before)):
        after = observe(model, BATCH.tokens, [name], replace(name, where, by))[name]
        assert torch.equal(after[where], wanted[where]) and torch.equal(after[~where], before[~where])


def test_in_a_subspace_only_that_component_changes(model, basis, generator):
    name, where = "blocks.1.resid_pre", places(Q, N, POS)
    before = cache(model, BATCH.tokens, [name])[1][name]
    by = torch.randn(before.shape, generator=generator)
    after = observe(model, BATCH.tokens, [name], replace(name, where, by, basis))[name]
    torch.testing.assert_close(after[where] @ basis.T, by[where] @ basis.T)
    rest = torch.eye(8) - basis.T @ basis
    torch.testing.assert_close(after[where] @ rest, before[where] @ rest)
    assert torch.equal(after[~where], before[~where]) and differ(after[where], before[where])


def test_a_mask_of_another_shape_is_refused(model):
    for name, where in (
        ("blocks.0.attn.pattern", places(0, N, POS)),
        ("blocks.0.attn.out", edges(1, 0, N, POS)),
        ("blocks.0.attn.out", places(0, N, POS - 1)),
        ("blocks.0.attn.k", places(0, N + 1, POS)),
    ):
        with pytest.raises(ValueError, match=r"mask of shape .* does not fit blocks\.0\.attn.*: give \(batch"):
            says(model, BATCH.tokens, replace(name, where, 0.0))


def test_the_short_pass_says_what_the_long_one_says(model, generator):
    """`says` computes the last layer at the last position alone: masks and tensors must still fall on the right row."""
    donor = cache(model, OTHER.tokens)[1]
    several = [
        cut(2, edges(-1, K, N, POS)),
        cut(2, edges(-1, K, N, POS), "renormalise"),
        redirect(2, torch.full((N,), POS - 1), K, (K + 2) % POS),
        resend(2, edges(-1, K, N, POS), donor),
        *(replace(n, places(-1, N, POS), donor[n]) for n in hook_names(CFG) if n.startswith("blocks.2") and "s" != n[-1]
          and not n.endswith("pattern")),
    ]  # fmt: skip
    for changes in several:
        short = intervene(model, BATCH.tokens, changes, positions="last")
        torch.testing.assert_close(short, logits(model, changes)), changes
        assert torch.equal(says(model, BATCH.tokens, changes), short.argmax(-1))
        assert differ(short, logits(model, {})), list(changes)


def test_a_cut_edge_carries_nothing(model):
    """Zero: one message is missing from z. Renormalise: the rest of the row is divided by what is left."""
    where = edges(Q, K, N, POS)
    clean = cache(model, BATCH.tokens)[1]
    p, v, z = (clean[f"blocks.1.attn.{part}"] for part in ("pattern", "v", "z"))
    zero = observe(model, BATCH.tokens, ["blocks.1.attn.z"], cut(1, where))["blocks.1.attn.z"]
    names = ["blocks.1.attn.pattern", "blocks.1.attn.z"]
    again, moved = observe(model, BATCH.tokens, names, cut(1, where, "renormalise")).values()
    for i in range(N):
        q, k = int(Q[i]), int(K[i])
        torch.testing.assert_close(zero[i, :, q], z[i, :, q] - p[i, :, q, k, None] * v[i, :, k])
        rest = p[i, :, q].clone()
        rest[:, k] = 0
        torch.testing.assert_close(again[i, :, q], rest / rest.sum(-1, keepdim=True))
        other = torch.arange(POS) != q
        assert torch.equal(zero[i, :, other], z[i, :, other]) and torch.equal(again[i, :, other], p[i, :, other])
    torch.testing.assert_close(moved, again @ v)


def test_to_keep_some_edges_is_to_cut_all_others(model):
    where = edges(Q, K, N, POS) | edges(-1, 1, N, POS)
    kept = observe(model, BATCH.tokens, ["blocks.0.attn.pattern"], keep_only(0, where))["blocks.0.attn.pattern"]
    clean = cache(model, BATCH.tokens, ["blocks.0.attn.pattern"])[1]["blocks.0.attn.pattern"]
    assert torch.equal(kept, clean * where[:, None])
    with pytest.raises(ValueError, match="'half' is no way to cut an edge: choose one of zero, renormalise"):
        keep_only(0, where, "half")


def test_redirect_hands_the_weight_of_one_key_to_another(model):
    name, other = "blocks.1.attn.pattern", (K + 3) % POS
    clean = cache(model, BATCH.tokens, [name])[1][name]
    once = observe(model, BATCH.tokens, [name], redirect(1, Q, K, other))[name]
    twice = observe(model, BATCH.tokens, [name], together(redirect(1, Q, K, other), redirect(1, Q, K, other)))[name]
    wanted = clean.clone()
    for i in range(N):
        wanted[i, :, Q[i], K[i]], wanted[i, :, Q[i], other[i]] = clean[i, :, Q[i], other[i]], clean[i, :, Q[i], K[i]]
    assert torch.equal(once, wanted) and torch.equal(twice, clean) and not torch.equal(once, clean)


@pytest.mark.parametrize("fill", ["zero", "mean", "resample"])
def test_ablation_empties_a_subspace_and_leaves_the_rest(model, basis, fill):
    name, where = "blocks.2.resid_pre", places(Q, N, POS)
    before = cache(model, BATCH.tokens, [name])[1][name]
    changes = ablate(name, where, basis, fill, torch.Generator().manual_seed(8))
    after = observe(model, BATCH.tokens, [name], changes)[name]
    inside, was = after[where] @ basis.T, before[where] @ basis.T
    if fill == "resample":
        assert not torch.equal(inside, was)
        inside, was = inside.sort(dim=0).values, was.sort(dim=0).values  # the same contents, at other places
        torch.testing.assert_close(inside, was)
    else:
        torch.testing.assert_close(inside, was.mean(0).expand_as(was) if fill == "mean" else torch.zeros_like(was))
    rest = torch.eye(8) - basis.T @ basis
    torch.testing.assert_close(after[where] @ rest, before[where] @ rest)
    assert torch.equal(after[~where], before[~where])


def test_ablation_refuses_what_it_cannot_do(basis):
    with pytest.raises(ValueError, match="'noise' is not known: choose one of zero, mean, resample"):
        ablate("blocks.0.attn.out", places(0, N, POS), basis, "noise")
    with pytest.raises(ValueError, match="draws at random: give it a generator"):
        ablate("blocks.0.attn.out", places(0, N, POS), basis, "resample")


def test_exchange_swaps_two_positions_all_or_in_a_subspace(model, basis):
    name, one, two = "blocks.0.attn.out", torch.tensor([0, 1, 2, 3, 4, 5]), torch.tensor([6, 6, 0, 1, 2, 3])
    before = cache(model, BATCH.tokens, [name])[1][name]
    whole = observe(model, BATCH.tokens, [name], exchange(name, one, two))[name]
    part = observe(model, BATCH.tokens, [name], exchange(name, one, two, basis))[name]
    rest = torch.eye(8) - basis.T @ basis
    for here, there in ((one, two), (two, one)):
        torch.testing.assert_close(whole[ROW, here], before[ROW, there])
        torch.testing.assert_close(part[ROW, here], before[ROW, there] @ basis.T @ basis + before[ROW, here] @ rest)
    untouched = ~(places(one, N, POS) | places(two, N, POS))
    assert torch.equal(whole[untouched], before[untouched]) and torch.equal(part[untouched], before[untouched])


def test_an_edge_resent_carries_the_message_of_the_other_run(model):
    where, name = edges(Q, K, N, POS), "blocks.1.attn.z"
    clean, donor = cache(model, BATCH.tokens)[1], cache(model, OTHER.tokens)[1]
    got = observe(model, BATCH.tokens, [name], resend(1, where, donor))[name]
    wanted = clean[name].clone()
    for i in range(N):
        for run, sign in ((clean, -1), (donor, 1)):
            p, v = run["blocks.1.attn.pattern"][i, :, Q[i], K[i], None], run["blocks.1.attn.v"][i, :, K[i]]
            wanted[i, :, Q[i]] += sign * p * v
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(logits(model, resend(1, where)), logits(model, cut(1, where)))
    torch.testing.assert_close(logits(model, resend(1, where, clean)), logits(model, {}))
    every = torch.ones(N, POS, POS, dtype=torch.bool)
    torch.testing.assert_close(logits(model, resend(1, every, donor)), logits(model, {name: donor[name]}))


def test_a_donor_without_a_pattern_sends_its_values_with_the_weights_at_hand(model):
    where, clean, donor = edges(Q, K, N, POS), cache(model, BATCH.tokens)[1], cache(model, OTHER.tokens)[1]
    v = "blocks.1.attn.v"
    whole = {v: donor[v], "blocks.1.attn.pattern": clean["blocks.1.attn.pattern"]}
    torch.testing.assert_close(logits(model, resend(1, where, {v: donor[v]})), logits(model, resend(1, where, whole)))
    assert differ(logits(model, resend(1, where, {v: donor[v]})), logits(model, {}))


def test_resent_edges_see_what_other_changes_did_before(model):
    """After its keys are changed, what an edge carries is what it carries now: taking it away leaves z without it."""
    donor, where = cache(model, OTHER.tokens)[1], edges(Q, K, N, POS)
    before = replace("blocks.1.attn.v", places(K, N, POS), donor["blocks.1.attn.v"])
    torch.testing.assert_close(
        logits(model, together(before, resend(1, where))), logits(model, together(before, cut(1, where)))
    )


def test_through_lets_a_change_act_by_the_named_way_alone(model):
    all_places, donor = torch.ones(N, POS, dtype=torch.bool), cache(model, OTHER.tokens)[1]
    change = replace("blocks.0.attn.out", places(Q, N, POS), donor["blocks.0.attn.out"])
    everything = through(model, BATCH.tokens, change, {"blocks.0.resid_post": all_places})
    torch.testing.assert_close(logits(model, everything), logits(model, change))
    nothing = through(model, BATCH.tokens, change, {"blocks.0.resid_pre": all_places})
    torch.testing.assert_close(logits(model, nothing), logits(model, {}))
    changed = observe(model, BATCH.tokens, ["blocks.1.attn.k"], change)["blocks.1.attn.k"]
    by_keys = logits(model, through(model, BATCH.tokens, change, {"blocks.1.attn.k": all_places}))
    torch.testing.assert_close(by_keys, logits(model, {"blocks.1.attn.k": changed}))
    assert differ(by_keys, logits(model, change)) and differ(by_keys, logits(model, {}))


def test_changes_to_one_activation_act_in_the_order_given(model):
    name, where = "blocks.1.attn.out", torch.ones(N, POS, dtype=torch.bool)
    double, add = replace(name, where, lambda x: 2 * x), replace(name, where, lambda x: x + 1)
    before = cache(model, BATCH.tokens, [name])[1][name]
    for changes, wanted in ((together(double, add), 2 * before + 1), (together(add, double), 2 * (before + 1))):
        torch.testing.assert_close(observe(model, BATCH.tokens, [name], changes)[name], wanted)


@given(
    hops=st.integers(1, 3),
    kind=st.sampled_from(["single", "double", "ring"]),
    n_layers=st.integers(2, 5),
    seed=st.integers(0, 999),
)
def test_the_circuit_follows_the_path_token_by_token(hops, kind, n_layers, seed):
    task = ChainTask(kind=kind, n_edges=5, hops=hops, n_tokens=20)
    batch = task.sample(4, "any", generator=torch.Generator().manual_seed(seed))
    if hops >= n_layers:
        with pytest.raises(ValueError, match="ask for fewer steps"):
            circuit(batch, n_layers)
        return
    found = circuit(batch, n_layers)
    for i in range(4):
        tokens, path = batch.tokens[i].tolist(), batch.path[i].tolist()
        pairs = [(tokens[k], tokens[q]) for q, k in found[i, 0].nonzero().tolist()]
        assert sorted(pairs) == sorted(zip(path, path[1:])) and all(q == k + 1 for q, k in found[i, 0].nonzero())
        for layer in range(1, n_layers):
            read = found[i, layer].nonzero().tolist()
            assert [(q, tokens[k]) for q, k in read] == ([(len(tokens) - 1, path[layer])] if layer <= hops else [])
            assert all((k, k - 1) in map(tuple, found[i, 0].nonzero().tolist()) for _, k in read)


@pytest.mark.parametrize("kind", ["single", "double", "noised", "ring"])
def test_candidates_hold_the_circuit_and_know_nothing_of_the_question(kind):
    task = ChainTask(kind=kind, n_edges=4, hops=2, n_tokens=20)
    batch = task.sample(5, "any", generator=torch.Generator().manual_seed(1))
    firsts = range(0, task.start_pos, 2)
    for again in (False, True):
        found = candidates(batch, 4, again)
        assert not (circuit(batch, 4) & ~found).any()
        assert (found == found[:1]).all(), "the same for every sequence: it tells nothing about the question"
        pairs, reads = {(k + 1, k) for k in firsts}, {(task.n_pos - 1, k + 1) for k in firsts}
        wanted = [pairs, reads | (pairs if again else set()), reads, reads]
        assert [set(map(tuple, layer.nonzero().tolist())) for layer in found[0]] == wanted


@given(seed=st.integers(0, 999))
def test_random_edges_are_as_many_and_none_of_the_chosen(seed):
    generator = torch.Generator().manual_seed(seed)
    chosen = circuit(BATCH, 3)
    drawn = random_edges(chosen, generator)
    assert not (drawn & chosen).any() and not drawn.triu(1).any()
    assert torch.equal(drawn.sum(-1), chosen.sum(-1))
    assert not torch.equal(drawn, random_edges(chosen, generator))


def test_masks_name_one_place_and_one_edge():
    assert places(-1, 2, 4).tolist() == [[False, False, False, True]] * 2
    assert edges(torch.tensor([2, 3]), torch.tensor([0, -1]), 2, 4).nonzero().tolist() == [[0, 2, 0], [1, 3, 3]]


def test_the_map_agrees_with_cuts_one_by_one(model):
    """A model right on about half: with random weights no answer is, so its own answers are asked for, for three."""
    said = says(model, BATCH.tokens)
    asked = with_fields(BATCH, answer=torch.where(ROW < 3, said, (said + 1) % CFG.vocab_size))
    found = edge_map(model, asked)
    changed = 0
    for layer in range(3):
        for query in range(POS):
            for key in range(POS):
                now = logits(model, cut(layer, edges(query, key, N, POS))).argmax(-1)
                assert torch.equal(found[:, layer, query, key], now == asked.answer), (layer, query, key)
                changed += int((now != said).sum())
    assert changed > 0, "no cut changes any answer: the test would see nothing"
    assert possible_edges(3, POS).sum() == 2 * POS * (POS + 1) / 2 + POS
