"""Boxes on a ring: each answers in its own way, and knows what `depth.left_open` says that it may."""

import pytest
import torch

from matchlib.data import ChainTask
from matchlib.depth import left_open, order_of
from matchlib.ring_boxes import BEYOND, KEEP, SHARE, a_box, walked
from matchlib.train import seeded


def asked(n_edges=9, hops=4, n=4000):
    return ChainTask("ring", n_edges, hops, 12).sample(n, "any", generator=seeded(n, "boxes"))


def by_open_nodes(way, batch, n_layers=3, hops=4, errs=0.0):
    """The share of right answers by how many nodes are left open: 0, 1, 2."""
    right = a_box(way, n_layers, hops, errs, seeded(3, way))(batch.tokens) == batch.answer
    nodes = left_open(batch, n_layers, True)
    return [right[nodes == n].float().mean().item() for n in range(3)]


EXPECTED = {
    "rules out": (1, 1, 1 / 2), "draws": (1, 1 / 9, 1 / 9), "at chance": (1 / 9, 1 / 9, 1 / 9),
    "follows": (1, 1, 1), "clumsy": (SHARE, SHARE, SHARE), "halfway": (1, SHARE, SHARE),
}  # fmt: skip


@pytest.mark.parametrize("way", KEEP + BEYOND)
def test_a_box_answers_in_its_way(way):
    assert by_open_nodes(way, asked()) == pytest.approx(EXPECTED[way], abs=0.06)
    exact = [(found, want) for found, want in zip(by_open_nodes(way, asked()), EXPECTED[way]) if want == 1]
    assert all(found == 1 for found, _ in exact)


def test_the_last_ways_are_hidden_where_forbidden_orders_are_pooled():
    nodes = left_open(asked(n=20_000), 3, True)
    narrowed = (1 / nodes[nodes > 0]).mean().item()
    assert narrowed - 0.05 < SHARE < narrowed < SHARE + 0.05


@pytest.mark.parametrize(("n_edges", "hops", "n_layers"), [(7, 5, 2), (8, 4, 3), (12, 5, 4)])
def test_other_rings_and_depths(n_edges, hops, n_layers):
    batch = asked(n_edges, hops)
    box = a_box("rules out", n_layers, hops, 0.0, seeded(1))
    right, nodes = box(batch.tokens) == batch.answer, left_open(batch, n_layers, True)
    for n in nodes.unique().tolist():
        assert right[nodes == n].float().mean().item() == pytest.approx(1 / max(1, n), abs=0.08 if n > 1 else 0)


def test_a_box_errs_now_and_then():
    batch = asked()
    right = (a_box("follows", 3, 4, 0.2, seeded(1))(batch.tokens) == batch.answer).float().mean().item()
    assert right == pytest.approx(0.8 + 0.2 / 9, abs=0.03)


def test_a_ring_is_walked_from_its_tokens():
    batch = asked(n=50)
    nodes, places = walked(batch.tokens)
    assert torch.equal(nodes[:, 3], batch.answer) and torch.equal(nodes[:, -1], batch.tokens[:, -1])
    order = (order_of(batch) - batch.start[:, None]) % 9
    assert torch.equal(places.argsort(1), order)


def test_what_is_no_question_gets_a_sentence():
    box, ring, chain = a_box("follows", 3, 4, 0.0, seeded(1)), asked(n=2).tokens, ChainTask("single", 9, 4, 12)
    for wrong in ([1, 2], ring[0], ring[:, :-1]):
        with pytest.raises(ValueError, match="takes questions of shape"):
            box(wrong)
    with pytest.raises(ValueError, match="questions on rings"):
        box(chain.sample(3, "any", generator=seeded(1)).tokens)
    with pytest.raises(ValueError, match="choose one of rules out"):
        a_box("guesses", 3, 4, 0.0, seeded(1))
