"""Which looks are cut and where one is sent, on a small untrained model and on answers that are made up."""

from dataclasses import replace

import pytest
import torch

from matchlib import middle
from matchlib.data import ChainTask
from matchlib.depth import order_of
from matchlib.model import ModelConfig
from matchlib.patch import observe
from matchlib.record import TrainConfig
from matchlib.rules import reach
from matchlib.scaffold import places
from matchlib.train import TrainState

TASK = ChainTask("ring", 9, 4, 12)
TINY = ModelConfig(n_layers=3, d_model=8, d_head=8, d_mlp=8)


def run(task=TASK, model=TINY):
    return TrainState.new(task, model, TrainConfig(steps=1, split="any"), 3, "cpu").as_run()


@pytest.fixture
def asked(monkeypatch):
    """The examination of an untrained model, and all that was changed on the way."""
    monkeypatch.setattr(middle, "N", 400)
    cuts, sent, batches = [], [], []
    real = middle.cut, middle.redirect, middle.says
    monkeypatch.setattr(middle, "cut", lambda layer, edges: cuts.append((layer, edges)) or real[0](layer, edges))
    monkeypatch.setattr(middle, "redirect", lambda *all: sent.append(all) or real[1](*all))

    def says(model, tokens, changes=None):
        batches.append(tokens)
        return real[2](model, tokens, changes)

    monkeypatch.setattr(middle, "says", says)
    found = middle.examine(run())
    return found, cuts, sent, batches[0]


def read(tokens):
    """The place of the second token of each edge, counted from the start, by reading the question."""
    pairs = {int(a): (int(b), 2 * i + 1) for i, (a, b) in enumerate(zip(tokens[:-1:2], tokens[1::2]))}
    at, node = [], int(tokens[-1])
    for _ in pairs:
        node, place = pairs[node]
        at.append(place)
    return at


def test_it_asks_of_orders_on_which_the_middle_edge_stands_behind_its_neighbours(asked):
    found, _, _, tokens = asked
    ways = [read(row) for row in tokens]
    assert all(at[2] > max(at[1], at[3]) for at in ways)
    assert (
        len(tokens) == found["middle"][1] == found["ahead_cut"][1] == found["behind_cut"][1] and 80 < len(tokens) < 190
    )


def test_those_orders_are_the_ones_on_which_three_layers_reach_four_steps():
    batch = ChainTask("ring", 12, 4, 14).sample(300, "any", generator=torch.Generator().manual_seed(1))
    said = middle.behind_both(places(batch))[:, 2].tolist()
    assert said == [
        reach(order, 3, int(start), ring=True) >= 4 for order, start in zip(order_of(batch).tolist(), batch.start)
    ]


def test_the_looks_that_are_cut_are_those_at_its_neighbours_and_the_control_is_elsewhere(asked):
    found, cuts, _, tokens = asked
    assert [layer for layer, _ in cuts] == [1, 1, 1]
    n_controls = 0
    for k, row in enumerate(tokens):
        at = read(row)
        ahead, behind, other = (edges[k].nonzero().tolist() for _, edges in cuts)
        assert (ahead, behind) == ([[at[2], at[3]]], [[at[2], at[1]]])
        if other:
            n_controls += 1
            query = other[0][0]
            edge = at.index(query)
            assert edge > 4, "a place that is no part of the path, nor next to it"
            assert sorted(key for _, key in other) == sorted([at[edge - 1], at[(edge + 1) % 9]])
            assert max(key for _, key in other) < query
    assert n_controls == found["other_cut"][1] > 0


def test_the_look_is_sent_to_an_earlier_edge_and_its_second_token_is_awaited(asked):
    found, _, ((layer, query, key, other), _), tokens = asked
    assert layer == 1
    n = 0
    for k, row in enumerate(tokens):
        at = read(row)
        assert (int(query[k]), int(key[k])) == (at[2], at[3])
        if any(at[edge] < at[2] for edge in range(4, 9)):
            n += 1
            assert int(other[k]) in at[4:] and int(other[k]) < at[2]
    assert found["sent"][1] == found["sent_as_is"][1] == n


def test_the_control_sends_the_other_place_elsewhere(asked):
    found, cuts, (_, (layer, query, key, other)), tokens = asked
    assert layer == 1
    n = 0
    for k, row in enumerate(tokens):
        at, control = read(row), cuts[2][1][k].nonzero().tolist()
        if control:
            edge = at.index(control[0][0])
            assert (int(query[k]), int(key[k])) == (at[edge], at[(edge + 1) % 9])
            free = [place for place in at[4:] if place < at[edge] and place != int(key[k])]
            n += bool(free)
            assert not free or int(other[k]) in free
    assert found["sent_other"][1] == n > 0


def test_looks_are_the_attention_that_a_cut_takes_away(asked, monkeypatch):
    found, cuts, _, tokens = asked
    pattern = observe(run().model, tokens, ["blocks.1.attn.pattern"])["blocks.1.attn.pattern"][:, 0]
    for (_, edges), share in zip(cuts, found["looks"]):
        taken = [sum(float(pattern[k, q, i]) for q, i in e.nonzero().tolist()) for k, e in enumerate(edges) if e.any()]
        assert share == pytest.approx(sum(taken) / len(taken), abs=6e-4)


def test_what_is_awaited_is_what_the_look_would_bring(monkeypatch):
    """A model that names, at each call, the second token of the edge that edge 2's place was sent to."""
    monkeypatch.setattr(middle, "N", 200)
    goal = []
    monkeypatch.setattr(middle, "redirect", lambda layer, query, key, other: goal.append(other) or {"sent": other})

    def says(model, tokens, changes=None):
        if changes and "sent" in changes:
            return tokens.gather(1, changes["sent"][:, None])[:, 0]
        return torch.zeros(len(tokens), dtype=torch.long)

    monkeypatch.setattr(middle, "says", says)
    found = middle.examine(run())
    assert found["sent"][0] == found["sent"][1] > 0 and found["sent_as_is"][0] == 0


def test_of_other_models_nothing_is_asked():
    assert middle.examine(run(ChainTask("ring", 9, 3, 12))) == {}
    assert middle.examine(run(model=replace(TINY, n_layers=4))) == {}
    assert middle.examine(run(ChainTask("single", 9, 4, 12))) == {}
