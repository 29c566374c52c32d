"""What a writing model needs of its page: the masks, and the experiments on a model that writes and one that cannot."""

import pytest
import torch

from matchlib.aloud import MODEL, TASK
from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.page import EXPERIMENTS, Page, experiment
from matchlib.record import Run
from matchlib.writing import sizes, successor, text

SMALL = ChainTask("ring", n_edges=6, hops=5, n_tokens=9)


def born(task: ChainTask, n_layers: int = 2) -> Transformer:
    cfg = sizes(task, ModelConfig(n_layers=n_layers, d_model=8, d_head=8, d_mlp=8, gamma=0.5))
    return Transformer(cfg, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def page(generator):
    return Page(born(SMALL), SMALL.sample(7, "any", generator=generator), generator)


@pytest.fixture(scope="module")
def taught():
    """A page of the shipped model, which writes."""
    generator = torch.Generator().manual_seed(5)
    return Page(Run.load(MODEL).model, TASK.sample(200, "any", generator=generator), generator)


def pairs_of(mask: torch.Tensor) -> set[tuple[int, int]]:
    return {(q, k) for q, k in mask.nonzero().tolist()}


def test_the_edge_of_a_node_ends_where_its_successor_stands(page):
    node = page.batch.path[:, 2]
    assert torch.equal(page.at(page.edge_of(node)), successor(page.batch, node))
    assert (page.edge_of(node) % 2 == 1).all() and torch.equal(page.at(page.edge_of(node) - 1), node)


def test_another_edge_is_never_that_of_a_node_it_is_kept_from_and_all_others_occur(page):
    one, two = page.batch.path[:, 1], page.batch.path[:, 3]
    seen = torch.stack([page.other_edge(one, two) for _ in range(200)])
    assert not (seen == page.edge_of(one)).any() and not (seen == page.edge_of(two)).any()
    assert (seen % 2 == 1).all() and all(len(column.unique()) == 4 for column in seen.T)


def test_the_masks_are_what_they_are_called(page):
    tokens = text(page.batch, 3)  # six edges, the start and two written nodes: places 12, 13, 14
    seconds, written = (1, 3, 5, 7, 9, 11), (12, 13, 14)
    assert pairs_of(page.to_seconds(tokens)[2]) == {(q, k) for q in written for k in seconds}
    assert pairs_of(page.pairs(tokens)[2]) == {(k, k - 1) for k in seconds}
    assert pairs_of(page.to_older(tokens)[2]) == {(13, 12), (14, 12), (14, 13)}
    one = pairs_of(page.to_one(tokens, page.edge_of)[2])
    assert one == {(q, int(page.edge_of(tokens[:, q])[2])) for q in written} and len(one) == 3


def test_right_is_about_the_last_node_that_fits(page, monkeypatch):
    asked = []

    def parrot(model, tokens, n, changes=None):
        asked.append(n)
        said = page.batch.path[:, 1:].clone()
        said[:2, -1] = 0
        said[2, 0] = 0  # a slip that was mended
        return said

    monkeypatch.setattr("matchlib.page.write", parrot)
    assert (page.right().hits, page.right().n, asked) == (5, 7, [5, 5])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_model_that_writes_supports_each_hypothesis_and_the_controls_do_not(taught, name):
    found = experiment(name, taught, "shipped")
    assert found.before.rate >= 0.95
    assert found.verdict == "supported", str(found.found)
    assert len(found.controls) == 1 and all(control.rate <= 0.5 for control in found.controls.values())


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_model_that_was_never_taught_supports_none(page, name):
    assert experiment(name, page, "born").verdict == "contradicted"


def test_what_does_not_fit_is_refused(page, generator):
    with pytest.raises(ValueError, match="experiment='no edge' is not known: choose one of edges alone, "):
        experiment("no edge", page, "born")
    with pytest.raises(ValueError, match="A model of 3 layers with places for 5 nodes does not fit"):
        Page(born(SMALL, n_layers=3), page.batch, generator)
    few = ChainTask("ring", n_edges=5, hops=4, n_tokens=9)
    with pytest.raises(ValueError, match="places for 4 nodes does not fit: .* at least 5 nodes"):
        Page(born(few), few.sample(2, "any", generator=generator), generator)
