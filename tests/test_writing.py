"""Writing node after node: what stands where, what counts as right, and which places a way of teaching reaches."""

from dataclasses import replace

import pytest
import torch

from matchlib import writing
from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.patch import cut, places
from matchlib.record import TrainConfig
from matchlib.writing import Score, lent, score, sizes, successor, teach, text, write

TASK = ChainTask("ring", n_edges=7, hops=6, n_tokens=9)
SMALL = ModelConfig(n_layers=2, d_model=8, d_head=8, d_mlp=8, gamma=0.5)
TRAIN = TrainConfig(steps=40, batch_size=4, warmup=1, n_train=None, split="any", eval_every=15, n_eval=10)


@pytest.fixture
def batch(generator):
    return TASK.sample(6, "any", generator=generator)


@pytest.fixture
def model(generator):
    return Transformer(sizes(TASK, replace(SMALL, gamma=0.3)), generator=generator)


def test_a_text_is_the_edges_then_a_gap_then_the_start_and_all_written_nodes_but_the_last(batch):
    plain, apart = text(batch, 4), text(batch, 4, gap=2)
    assert torch.equal(plain[:, :15], batch.tokens), "the question, as it is asked in one pass"
    assert torch.equal(plain[:, 14:], batch.path[:, :4])
    assert torch.equal(apart[:, :14], plain[:, :14]) and torch.equal(apart[:, 16:], plain[:, 14:])
    assert not apart[:, 14:16].any()


def test_a_model_has_places_for_a_text_of_all_nodes(batch):
    assert sizes(TASK, SMALL).n_pos == text(batch, 6).shape[1]
    assert sizes(TASK, SMALL).vocab_size == TASK.vocab_size


def test_each_node_is_the_likeliest_token_at_the_place_before(model, batch):
    written = write(model, batch.tokens, 6)
    whole = torch.cat([batch.tokens, written[:, :-1]], dim=1)
    assert torch.equal(model(whole, positions="all").argmax(-1)[:, -6:], written)
    assert len(written.unique()) > 1


def test_changes_are_made_in_every_pass_and_see_the_text_so_far(model, batch):
    lengths = []

    def blind(tokens):
        lengths.append(tokens.shape[1])
        here = places(-1, *tokens.shape)
        return cut(1, here[:, :, None] & torch.ones_like(here)[:, None, :])

    changed = write(model, batch.tokens, 3, blind)
    assert lengths == [15, 16, 17]
    assert not torch.equal(changed, write(model, batch.tokens, 3))


def test_more_nodes_than_there_are_places_are_refused(model, batch):
    with pytest.raises(ValueError, match="n=7 nodes do not fit: behind 15 tokens this model has places for 1..6"):
        write(model, batch.tokens, 7)
    assert write(model, text(batch, 3), 4).shape == (6, 4), "the start and two nodes stand there"
    with pytest.raises(ValueError, match="places for 1..4"):
        write(model, text(batch, 3), 5)


def test_the_successor_goes_round_the_ring_and_an_unknown_token_has_none():
    ring = TASK.question([1, 2, 3, 4, 5, 6, 7], start=3)
    assert [int(successor(ring, torch.tensor([node]))) for node in (1, 6, 7, 8, 0)] == [2, 7, 1, 0, 0]


def test_a_step_is_held_to_the_node_before_and_a_text_to_the_start():
    ring = TASK.question([1, 2, 3, 4, 5, 6, 7], start=6)
    right, slip, lost = ([7, 1, 2, 3], [7, 2, 3, 3], [9, 1, 2, 3])
    assert score(ring, torch.tensor([right])) == Score(1, (1, 1, 1, 1), (1, 1, 1, 1))
    assert score(ring, torch.tensor([slip])) == Score(1, (1, 0, 0, 1), (1, 0, 1, 0))
    assert score(ring, torch.tensor([lost])) == Score(1, (0, 1, 1, 1), (0, 0, 1, 1))


def test_shares_and_their_product():
    found = Score(10, (9, 8, 5), (9, 10, 5))
    assert found.accuracy == [0.9, 0.8, 0.5] and found.steps == [0.9, 1.0, 0.5]
    assert found.compounded == pytest.approx([0.9, 0.9, 0.45])


@pytest.mark.parametrize(("way", "taught"), [("all", 6), ("few", 4), ("shifted", 6)])
def test_a_way_of_teaching_reaches_the_places_that_it_names(way, taught):
    states = teach(TASK, SMALL, TRAIN, 3, way)
    born = next(states).model.w_pos.detach().clone()
    *_, last = states
    moved = (last.model.w_pos != born).any(1)
    assert moved[: 14 + taught].all() and not moved[14 + taught :].any()


def test_the_state_comes_at_the_start_and_at_every_evaluation():
    assert [state.step for state in teach(TASK, SMALL, TRAIN, 3)] == [0, 15, 30, 40]


def test_a_seed_says_all_and_another_seed_differs():
    def weights(seed: int) -> torch.Tensor:
        *_, last = teach(TASK, SMALL, replace(TRAIN, steps=3), seed, "shifted")
        return last.model.w_e.detach()

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_the_loss_is_asked_at_the_start_and_at_every_written_node_alone(monkeypatch):
    seen, entropy = [], writing.F.cross_entropy
    monkeypatch.setattr(writing.F, "cross_entropy", lambda x, y: seen.append((x.detach(), y)) or entropy(x, y))
    states = teach(TASK, SMALL, replace(TRAIN, steps=1), 3)
    batch = TASK.sample(writing.BLOCK * 4, "any", generator=writing.seeded(3, "texts", 0))[:4]
    logits = next(states).model(text(batch, 6), positions="all").detach()
    next(states)
    ((asked, answers),) = seen
    assert torch.equal(answers.view(4, 6), batch.path[:, 1:])
    assert torch.allclose(asked, logits[:, 14:20].flatten(0, 1), atol=1e-6)


def test_a_lent_position_stands_at_all_later_places_and_the_model_is_left_alone(model):
    before = model.w_pos.detach().clone()
    helped = lent(model, 16)
    assert torch.equal(model.w_pos, before) and torch.equal(helped.w_pos[:17], before[:17])
    assert (helped.w_pos[17:] == before[16]).all() and len(helped.w_pos) == len(before)
    assert torch.equal(helped.w_e, model.w_e)


def test_a_way_or_a_task_that_is_not_meant_is_refused():
    with pytest.raises(ValueError, match="way='some' is not known: choose one of all, few, shifted"):
        next(teach(TASK, SMALL, TRAIN, 3, "some"))
    for task in (ChainTask("single", 7, 6, 9), ChainTask("ring", 7, (4, 5), 9), ChainTask("ring", 7, 3, 9)):
        with pytest.raises(ValueError, match="is not for writing: use a ring and one number of hops, at least 4"):
            next(teach(task, SMALL, TRAIN, 3))
