"""The scaffold: what the rules let a place hold, against the slow way; and a loss that names only what is new."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from matchlib.data import ChainTask
from matchlib.depth import order_of
from matchlib.model import ModelConfig, Transformer
from matchlib.rules import sets
from matchlib.scaffold import Scaffold, holds, places
from matchlib.train import fitted, seeded


def questions(n_edges: int, n: int, seed: int = 0):
    task = ChainTask("ring", n_edges, 2, n_edges + 4)
    return task, task.sample(n, "any", generator=torch.Generator().manual_seed(seed))


@given(n_edges=st.integers(3, 12), n_layers=st.integers(1, 4), seed=st.integers(0, 10_000))
def test_a_place_holds_what_the_rules_say_word_for_word(n_edges, n_layers, seed):
    _, batch = questions(n_edges, 3, seed)
    found, orders = holds(batch, n_layers), order_of(batch)
    assert found.shape == (n_layers, 3, n_edges + 1, n_edges)
    for k, order in enumerate(orders.tolist()):
        start = int(batch.start[k])
        said = sets(order, n_layers, start, ring=True)
        for layer in range(n_layers):
            for edge in range(n_edges):
                position = 2 * order.index((start + edge) % n_edges) + 1
                assert position == places(batch)[k, edge]
                expected = {(node - start) % n_edges for node in said[layer + 1][position]}
                assert set(found[layer, k, edge].nonzero().flatten().tolist()) == expected
            reached = {(node - start) % n_edges for node in said[layer + 1][-1]}
            assert set(found[layer, k, -1].nonzero().flatten().tolist()) == reached


def test_only_rings_have_a_place_for_every_edge_ahead():
    batch = ChainTask("single", 6, 2, 20).sample(2, "any", generator=torch.Generator())
    with pytest.raises(ValueError, match="a ring"):
        holds(batch, 2)


def test_the_loss_is_that_of_the_new_nodes_named_one_by_one():
    task, batch = questions(7, 5)
    model = Transformer(
        fitted(ModelConfig(n_layers=3, d_model=8, d_head=8, d_mlp=8), task), generator=seeded(0, "weights")
    )
    scaffold = Scaffold(model.cfg, 7, seed=1)
    found = scaffold.losses(model, batch)
    assert torch.allclose(found[0], F.cross_entropy(model(batch.tokens), batch.answer))
    seen = {}
    model(batch.tokens, "all", tap=lambda name, x: seen.setdefault(name, x))
    held = holds(batch, 2)
    for layer in range(2):
        by_distance: dict[tuple, list] = {}
        for k in range(5):
            start, order = int(batch.start[k]), order_of(batch)[k].tolist()
            for place in range(8):
                own = (place + 1) % 7 if place < 7 else 0
                known = {own} if layer == 0 else set(held[layer - 1, k, place].nonzero().flatten().tolist())
                at = 2 * order.index((start + place) % 7) + 1 if place < 7 else 14
                for node in set(held[layer, k, place].nonzero().flatten().tolist()) - known:
                    distance = (node - own) % 7
                    logits = seen[f"blocks.{layer}.resid_post"][k, at] @ scaffold.maps[layer, distance]
                    token = batch.chain[k, 0, (start + node) % 7]
                    by_distance.setdefault((distance, place == 7), []).append(F.cross_entropy(logits, token))
        expected = sum(torch.stack(losses).mean() for losses in by_distance.values())
        assert torch.allclose(found[1 + layer], expected, atol=1e-5)


@pytest.mark.parametrize("n_layers, n_taught", [(2, 1), (3, 2), (4, 2)])
def test_later_layers_are_taught_by_the_answer_alone(n_layers, n_taught):
    task, batch = questions(7, 5)
    sizes = ModelConfig(n_layers=n_layers, d_model=8, d_head=8, d_mlp=8)
    model = Transformer(fitted(sizes, task), generator=seeded(0, "weights"))
    losses = Scaffold(model.cfg, 7, seed=1).losses(model, batch)
    assert len(losses) == 1 + n_taught
    torch.stack(losses[1:]).sum().backward()
    for layer, block in enumerate(model.blocks):
        moved = [p.grad is not None and bool(p.grad.any()) for p in block.parameters()]
        assert all(moved) if layer < n_taught else not any(moved), layer
    assert model.w_u.grad is None
