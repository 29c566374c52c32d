"""Which kind of solution: the questions that are put to a model, on models whose answers are known, and the rule."""

from dataclasses import replace
from math import isnan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib import kinds
from matchlib.chains import MODULUS, RESIDUES
from matchlib.data import ChainTask
from matchlib.kinds import (
    ANOTHER,
    MATCHING,
    MEMORISING,
    SHORTCUT,
    UNLEARNED,
    examine,
    kind,
    new_middle,
    other_node,
    reshuffle,
)  # fmt: skip
from matchlib.model import ModelConfig
from matchlib.presets import PRESETS
from matchlib.record import TrainConfig
from matchlib.runs import load_or_train
from matchlib.train import TrainState, seeded

TASK = PRESETS["mini"].task


def drawn(n: int, split: str = "train", task: ChainTask = TASK):
    return task.sample(n, split, generator=seeded(3, "kinds", split, n))


def edges_of(tokens: torch.Tensor) -> set[tuple[int, int]]:
    """The edges of one sequence, without the question."""
    flat = tokens[:-1].tolist()
    return set(zip(flat[::2], flat[1::2]))


@pytest.mark.parametrize("twin", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_new_middle_keeps_or_breaks_the_chain(twin, whole, generator):
    batch = drawn(200)
    changed = new_middle(batch, TASK.n_tokens, twin, whole, generator)
    kept = 0
    for old, new, (a, b, c) in zip(batch.tokens, changed, batch.path.tolist()):
        after = dict(edges_of(new))
        if torch.equal(old, new):  # the class of b is used up
            kept += 1
            continue
        put = next(token for token in new.tolist() if token not in old.tolist())
        assert ((put - b) % MODULUS == 0) is twin
        assert twin or (put - a) % MODULUS not in RESIDUES["train"]
        assert after[put] == c and (after[a] == (put if whole else b))
        assert (after.get(after[a]) == c) is whole, "does the way still lead to c?"
        assert int((old != new).sum()) == (2 if whole else 1)
    assert kept <= (20 if twin else 0)


def test_reshuffling_keeps_every_edge_and_the_question(generator):
    batch = drawn(100)
    mixed = reshuffle(batch, generator)
    assert torch.equal(mixed[:, -1], batch.tokens[:, -1]) and not torch.equal(mixed, batch.tokens)
    for old, new in zip(batch.tokens, mixed):
        assert edges_of(old) == edges_of(new)


@pytest.mark.parametrize("more_steps", [0, 1])
@pytest.mark.parametrize("n_edges", [4, 6])
def test_another_node_is_none_of_the_path_and_each_such_node_is_drawn(n_edges, more_steps, generator):
    batch = drawn(400, task=replace(TASK, n_edges=n_edges))
    possible, chosen = set(), set()
    for tokens, chain, path, here, there in zip(
        *(x.tolist() for x in (batch.tokens, batch.chain[:, 0], batch.path, *other_node(batch, more_steps, generator)))
    ):
        ends = {tokens[i]: i for i in range(1, len(tokens) - 1, 2)}  # where a node stands as a second token
        others = [node for node in chain[1 : n_edges + 1 - more_steps] if node not in path]
        possible |= {(chain.index(path[0]), chain.index(node)) for node in others}
        if others:
            node = tokens[here]
            chosen.add((chain.index(path[0]), chain.index(node)))
            assert here == ends[node] and there == ends[chain[chain.index(node) + more_steps]]
        else:
            assert there == 0
    assert chosen == possible


def test_a_patch_counts_only_where_there_is_another_node(monkeypatch, generator):
    batch = drawn(100, task=replace(TASK, n_edges=4))
    alone = batch[batch.start == 1]  # x1 -> x2 -> x3: no other node leads on; the answer may be moved to x4
    monkeypatch.setattr(kinds, "says", lambda *_: alone.answer)
    asked = kinds.steered(None, alone, generator)
    assert isnan(asked["middle"]) and isnan(asked["pairs"]) and asked["answer"] == 0


def by_links(tokens: list[int]) -> int:
    """Who matches: two edges on from the start, by identity; 0 where the way ends."""
    after = dict(zip(tokens[:-1:2], tokens[1::2]))
    return after.get(after.get(tokens[-1], 0), 0)


def by_residue(tokens: list[int]) -> int:
    """Who goes by residues from the start's edge on: an edge whose first token has the residue of the middle."""
    after = dict(zip(tokens[:-1:2], tokens[1::2]))
    middle = after.get(tokens[-1], 0)
    usual = [t for t in after if (t - middle) % MODULUS == 0 and (middle - tokens[-1]) % MODULUS in RESIDUES["train"]]
    return after[usual[0]] if usual else 0


def test_the_square_tells_links_from_residues(generator):
    batch = drawn(300)

    def rate(rule, twin, whole):
        changed = new_middle(batch, TASK.n_tokens, twin, whole, generator)
        return sum(rule(t.tolist()) == c for t, c in zip(changed, batch.answer.tolist())) / len(batch)

    assert [rate(by_links, t, w) for t in (True, False) for w in (True, False)] == pytest.approx([1, 0, 1, 0], abs=0.1)
    found = [rate(by_residue, t, w) for t in (True, False) for w in (True, False)]
    assert min(found[:2]) > 0.6 and found[2] < 0.1


def found(**changed) -> dict:
    square = {"renamed_twin": 1.0, "renamed_stranger": 1.0, "broken_twin": 0.1, "broken_stranger": 0.1}
    return {"middle": 0.95, "answer": 0.95, "pairs": 0.95} | square | changed


@pytest.mark.parametrize(
    ("last", "probed", "name"),
    [
        ((1.0, 1.0, 1.0), found(), MATCHING),
        ((1.0, 1.0, 0.9), found(middle=0.8), MATCHING),
        ((1.0, 1.0, 0.89), found(), UNLEARNED),
        ((1.0, 1.0, 1.0), found(pairs=0.79), ANOTHER),
        ((1.0, 1.0, 0.4), found(renamed_stranger=0.75), SHORTCUT),
        ((1.0, 1.0, 0.4), found(renamed_stranger=0.76), UNLEARNED),
        ((1.0, 0.8, 0.4), found(renamed_stranger=0.1), SHORTCUT),
        ((1.0, 0.79, 0.4), found(renamed_stranger=0.1), MEMORISING),
        ((0.79, 0.6, 0.4), found(), UNLEARNED),
        ((0.8, 0.7, 0.1), found(), MEMORISING),
        ((0.8, 0.71, 0.1), found(), UNLEARNED),
    ],
)
def test_the_rule_at_its_borders(last, probed, name):
    assert kind(dict(zip(("fit", "train", "test"), last)), probed) == name


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.lists(st.floats(0, 1), min_size=7, max_size=7))
def test_every_run_has_one_kind(last, values):
    names = ("middle", "answer", "pairs", "renamed_twin", "renamed_stranger", "broken_twin", "broken_stranger")
    assert kind(dict(zip(("fit", "train", "test"), last)), dict(zip(names, values))) in kinds.KINDS


def state_of(name: str) -> TrainState:
    run = load_or_train(name)
    return TrainState(run.task, run.model_config, run.train_config, run.seed, run.model, None)


def test_a_model_that_matches_is_seen_to():
    asked = examine(state_of("post_g07"))
    assert min(asked["middle"], asked["answer"], asked["pairs"]) > 0.95
    assert min(asked["renamed_twin"], asked["renamed_stranger"]) > 0.95
    assert max(asked["broken_twin"], asked["broken_stranger"]) < 0.35
    assert len(asked["trace"]) == len(asked["least"]) == 2, "one for each matching layer"
    assert min(asked["trace"]) > 0.2 and max(asked["least"]) == 0 and asked["ood_as_long"] > 0.7
    assert kind({"fit": 1.0, "train": 1.0, "test": 1.0}, asked) == MATCHING


def test_a_model_that_memorises_is_seen_to():
    state = state_of("memoriser")
    asked = examine(state)
    assert asked["known"] > 0.95 and asked["reshuffled"] < 0.7 and max(asked["middle"], asked["pairs"]) < 0.2
    last = load_or_train("memoriser").history[-1]
    assert kind({name: getattr(last, name) for name in ("fit", "train", "test")}, asked) == MEMORISING


@pytest.mark.parametrize(("split", "unseen"), [("train", "test"), ("any", "any")])
def test_patches_are_tried_on_unseen_chains_and_the_square_on_usual_ones(split, unseen, monkeypatch):
    asked, sample = [], ChainTask.sample

    def noted(task, n, split, **rest):
        asked.append((n, split))
        return sample(task, n, split, **rest)

    task = replace(TASK, n_edges=4)  # the shortest chain that leaves a node to hand attention to
    config = TrainConfig(steps=1, batch_size=8, n_train=50, n_eval=8, split=split)
    state = TrainState.new(task, ModelConfig(d_model=8, d_head=8, d_mlp=8), config, 0, "cpu")
    monkeypatch.setattr(ChainTask, "sample", noted)
    assert examine(state)
    assert asked == [(kinds.N, unseen), (kinds.N, split), (50, split), (kinds.N, "ood")]


def test_examining_is_repeatable_and_leaves_the_model_as_it_was():
    state = state_of("memoriser")
    before = [p.clone() for p in state.model.parameters()]
    assert examine(state) == examine(state)
    assert all(map(torch.equal, before, state.model.parameters()))


@pytest.mark.parametrize(
    ("task", "model"),
    [
        (replace(TASK, hops=1), {}),
        (replace(TASK, n_edges=3), {}),
        (replace(TASK, hops=(1, 2)), {}),
        (replace(TASK, kind="ring"), {}),
        (replace(TASK, kind="double"), {}),
        (TASK, {"n_layers": 4}),
    ],
)
def test_what_the_questions_do_not_fit_is_not_asked(task, model):
    config = TrainConfig(steps=1, batch_size=8, n_train=None, n_eval=8)
    assert examine(TrainState.new(task, ModelConfig(d_model=8, d_head=8, d_mlp=8, **model), config, 0, "cpu")) == {}
