"""Does a trained model keep to the rules? The questions that are asked of it, against slow and obvious references."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from matchlib import depth
from matchlib.data import ChainTask
from matchlib.model import ModelConfig
from matchlib.presets import PRESETS
from matchlib.rules import sets
from matchlib.train import TrainState


@st.composite
def questions(draw):
    kind, n_edges = draw(st.sampled_from(["ring", "single"])), draw(st.integers(3, 8))
    task = ChainTask(kind, n_edges, draw(st.integers(1, n_edges - 1)), 20)
    return task, task.sample(8, "any", generator=torch.Generator().manual_seed(draw(st.integers(0, 999))))


def held(task: ChainTask, batch, i: int, n_layers: int) -> set[int]:
    """What the question's position holds in the end, by the rules word for word: nodes as places in the chain.

    A ring is the chain that begins at the start, and, for the other way, the one that ends there.
    """
    order, start = depth.order_of(batch)[i].tolist(), int(batch.start[i])
    if not task.closed:
        return set(sets(order, n_layers, start)[-1][-1])
    n = task.n_edges
    ahead = sets([(e - start) % n for e in order], n_layers, 0)[-1][-1]
    behind = sets([(e - start) % n for e in order], n_layers, n)[-1][-1]
    return {(start + node) % n for node in (*ahead, *behind)}


@given(questions(), st.integers(1, 4))
def test_what_is_left_open_is_what_the_words_of_the_rules_leave(case, n_layers):
    task, batch = case
    found = depth.left_open(batch, n_layers, task.closed)
    for i in range(len(batch)):
        nodes, answer = held(task, batch, i, n_layers), batch.chain[i, 0].tolist().index(int(batch.answer[i]))
        assert found[i] == (0 if answer in nodes else task.chain_length - len(nodes))


@pytest.mark.parametrize("n_layers", [2, 3])
def test_on_a_ring_the_node_before_the_start_comes_in_from_behind(n_layers):
    """One step back is as many hops as the ring has edges, less one: never open, though far ahead."""
    task = ChainTask("ring", 8, 7, 20)
    batch = task.sample(50, "any", generator=torch.Generator().manual_seed(0))
    assert (depth.left_open(batch, n_layers, closed=True) == 0).all()


@given(questions())
def test_each_cut_takes_the_attention_that_its_name_says(case):
    _, batch = case
    cuts = depth.attention_cuts(batch)
    last = batch.tokens.shape[1] - 1
    for i in range(len(batch)):
        path = {p + side for p in batch.path_pos[i].tolist() for side in (0, 1)}
        for query, key in product(range(last + 1), repeat=2):
            inner, asking = query not in (key, last), query == last != key
            jump = query in path and key in path
            expected = {
                "jumps_cut": inner and jump,
                "others_cut": inner and not jump,
                "alone": inner,
                "by_path": asking and key not in path,
                "by_others": asking and key in path,
            }
            assert {name: bool(edges[i, query, key]) for name, edges in cuts.items()} == expected


def untrained(task: ChainTask, **model) -> TrainState:
    tiny = PRESETS["tiny"]
    return TrainState.new(task, replace(tiny.model, **model), replace(tiny.train, split="any"), 0, "cpu")


def test_an_untrained_model_is_asked_everything_and_knows_nothing():
    ring = depth.examine(untrained(ChainTask("ring", 13, 4, 20)))
    chain = depth.examine(untrained(ChainTask("single", 6, 4, 20)))
    assert set(chain) - set(ring) == {"on_ring", "at_end", "elsewhere"}
    asked = ring["allowed"][1]
    assert asked + ring["forbidden"][1] == depth.N
    assert abs(asked / depth.N - 1 / 3) < 0.05, "at three layers a third of the orders allow four steps"
    counts = [ring["allowed"], ring["forbidden"]]
    for name in (*depth.INNER, *depth.OF_QUESTION, "moved"):
        assert [n for _, n in ring[name]] == [asked, depth.N - asked]
        counts += ring[name]
    assert all(right <= 0.35 * n for right, n in counts)
    assert sum(n for _, n in ring["open"]) == depth.N and ring["open"][0] == ring["allowed"]
    assert [n > 0 for _, n in ring["open"]] == [True] + [False] * 4 + [True] * 2
    assert 1 / 6 <= ring["narrowed"] <= 1 / 5, "of 13 nodes the start, 3 ahead and 3 or 4 behind are ruled out"


def test_only_rings_and_deep_chains_are_asked():
    two = ChainTask("single", 6, 2, 20)
    for task in (two, replace(two, hops=(1, 3)), ChainTask("ordered_ring", 6, 3, 20), ChainTask("double", 6, 3, 20)):
        assert depth.examine(untrained(task)) == {}, task


def test_inner_attention_is_cut_in_every_layer_but_the_first_and_the_questions_in_the_last():
    state = untrained(ChainTask("ring", 5, 2, 20), n_layers=4)
    batch = state.task.sample(3, "any", generator=torch.Generator().manual_seed(0))
    for name, changes in depth.experiments(state.model, batch).items():
        layers = (1, 2, 3) if name in depth.INNER else (3,)
        assert sorted(changes) == [f"blocks.{layer}.attn.pattern" for layer in layers], name


def test_the_count_of_a_model_that_is_always_right(monkeypatch):
    monkeypatch.setattr(depth, "says", lambda model, tokens, changes=None: answers[tuple(map(tuple, tokens.tolist()))])
    task = ChainTask("single", 6, 3, 20)
    state, answers = untrained(task, n_layers=3), {}
    sample = ChainTask.sample

    def drawn(self, *args, **kwargs):
        batch = sample(self, *args, **kwargs)
        answers[tuple(map(tuple, batch.tokens.tolist()))] = batch.answer
        return batch

    monkeypatch.setattr(ChainTask, "sample", drawn)
    found = depth.examine(state)
    assert found["allowed"] == [depth.N, depth.N] and found["forbidden"] == [0, 0] and found["narrowed"] == 0
    assert found["at_end"][0] == found["at_end"][1] == depth.N - found["elsewhere"][1] > 0.2 * depth.N
    assert isinstance(state.model.cfg, ModelConfig)


@given(questions())
def test_the_other_whose_place_is_exchanged_is_neither_start_nor_answer(case):
    task, batch = case
    changes, other = depth.exchanged(batch, 1, torch.Generator().manual_seed(0))
    free = [
        set(row[:-1]) - {int(a), int(s)} for row, a, s in zip(batch.tokens.tolist(), batch.answer, batch.path[:, 0])
    ]
    if task.n_edges > 2 and all(len(f) > 1 for f in free):
        pattern = torch.arange(batch.tokens.shape[1]).float().expand(len(batch), 1, batch.tokens.shape[1], -1)
        changed = changes["blocks.1.attn.pattern"](pattern)[:, 0, -1]
        for i in range(len(batch)):
            assert int(other[i]) in free[i]
            a, b = int(batch.path_pos[i, -1]) + 1, batch.tokens[i].tolist().index(int(other[i]))
            there = (changed[i] != pattern[i, 0, -1]).nonzero().flatten().tolist()
            assert (
                len(there) == 2 and a in there and all(batch.tokens[i, p] in (batch.answer[i], other[i]) for p in there)
            )
            assert there[0] % 2 == there[1] % 2 == 1, "second tokens"
            assert changed[i, there[0]] == there[1] and changed[i, there[1]] == there[0] and b >= 0


def test_attention_is_told_by_the_way_from_the_start():
    """A pattern that says which node stands at the key, and at the query, counted from the start."""
    task = ChainTask("ring", 5, 2, 20)
    batch = task.sample(6, "any", generator=torch.Generator().manual_seed(1))
    state = untrained(task, n_layers=2)
    found = depth.seen(state.model, batch)
    assert found.shape == (2, 6, 6)
    name = "blocks.1.attn.pattern"
    pattern = depth.observe(state.model, batch.tokens, [name])[name][:, 0]
    slow = torch.zeros(6, 6)
    for i in range(6):
        nodes = [*(int(batch.chain[i, 0, (batch.start[i] + step) % 5]) for step in range(1, 6)), None]
        places = [10 if node is None else batch.tokens[i, 1:10:2].tolist().index(node) * 2 + 1 for node in nodes]
        for q, query in enumerate(places):
            for k, key in enumerate(places):
                slow[q, k] += pattern[i, query, key] / 6
    assert torch.allclose(found[1], slow, atol=1e-6)
    chain = ChainTask("single", 5, 2, 20).sample(2, "any", generator=torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="give questions of a ring"):
        depth.seen(state.model, chain)


@given(questions())
def test_the_jump_of_the_answer_and_its_control_are_one_edge_each(case):
    task, batch = case
    assume(task.hops > 1)
    behind, hop, other = depth.hops_of_the_answer(batch, torch.Generator().manual_seed(0))
    for i in range(len(batch)):
        tokens, path = batch.tokens[i].tolist(), batch.path[i].tolist()
        edges = {tuple(tokens[p : p + 2]): p + 1 for p in range(0, len(tokens) - 1, 2)}
        answer, before = edges[path[-2], path[-1]], edges[path[-3], path[-2]]
        assert behind[i] == (before < answer)
        assert hop[i].nonzero().tolist() == ([[answer, before]] if before < answer else [])
        into = {b: p for (_, b), p in edges.items()}
        can = {(p, into[a]) for (a, _), p in edges.items() if into.get(a, p) < p != answer}
        assert {tuple(e) for e in other[i].nonzero().tolist()} <= can and other[i].sum() == bool(can)
