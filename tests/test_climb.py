"""Stages of a climb: what the next one takes over, what is kept, and that a stopped climb goes on."""

from dataclasses import replace

import pytest
import torch

from matchlib import climb as climbing
from matchlib.climb import Rung, Stage, climb, load, make, rungs
from matchlib.record import Run, RunError
from matchlib.train import TrainState, fitted

SHORT = (Stage(4, 2, 3), Stage(5, 2, 4), Stage(5, 3, 2))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two layers of width 8, and a few steps."""
    monkeypatch.setattr(climbing, "MODEL", replace(climbing.MODEL, d_model=8, d_head=8, d_mlp=8))
    monkeypatch.setattr(climbing, "TRAIN", replace(climbing.TRAIN, batch_size=4, n_eval=20, warmup=1))
    monkeypatch.setattr(climbing, "PLANS", {(2, 3): SHORT})


def fresh(stage: Stage, seed: int) -> TrainState:
    model = fitted(replace(climbing.MODEL, n_layers=2), stage.task)
    return TrainState.new(stage.task, model, replace(climbing.TRAIN, steps=stage.steps), seed, "cpu")


def test_a_larger_ring_takes_over_all_weights_and_the_question_keeps_its_place():
    last, state = fresh(SHORT[0], 1).as_run(), fresh(SHORT[1], 2)
    born = state.model.w_pos.detach().clone()
    climbing.take_over(state, last)
    for name, before in last.model.state_dict().items():
        if name != "w_pos":
            assert torch.equal(state.model.state_dict()[name], before), name
    now, before = state.model.w_pos, last.model.w_pos
    assert torch.equal(now[:8], before[:8]), "two places an edge, for four edges"
    assert torch.equal(now[8:10], born[8:10]), "the fifth edge's places are new"
    assert torch.equal(now[10], before[8]), "the question comes last in both"


def test_each_stage_begins_where_the_last_one_ended(monkeypatch):
    taken = []
    monkeypatch.setattr(climbing, "take_over", lambda state, last: taken.append((state.task.n_edges, last.task)))
    ends = list(climb(2, SHORT, seed=7))
    stages = [Stage(run.task.n_edges, run.task.hops, run.train_config.steps) for run in ends]
    assert stages == list(SHORT)
    assert [(n, task) for n, task in taken] == [(5, SHORT[0].task), (5, SHORT[1].task)]
    assert all(run.seed == 7 and run.model_config.n_layers == 2 and run.task.kind == "ring" for run in ends)


def test_a_climb_that_was_stopped_goes_on_and_ends_where_an_unbroken_one_ends(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir(), (tmp_path / "broken").mkdir()
    make((2, 3), 5, tmp_path / "whole")
    monkeypatch.setattr(climbing, "PLANS", {(2, 3): SHORT[:1]})
    make((2, 3), 5, tmp_path / "broken")
    monkeypatch.setattr(climbing, "PLANS", {(2, 3): SHORT})
    trained, train_on = [], climbing.climb
    monkeypatch.setattr(climbing, "climb", lambda *args: trained.append(args[1]) or train_on(*args))
    make((2, 3), 5, tmp_path / "broken")
    assert trained == [SHORT[1:]]
    last = climbing.run_name(2, SHORT[-1], 5)
    ends = [Run.load(tmp_path / folder / last).model.state_dict() for folder in ("whole", "broken")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_run_of_another_length_is_refused(tmp_path, monkeypatch):
    make((2, 3), 5, tmp_path)
    monkeypatch.setattr(climbing, "PLANS", {(2, 3): (*SHORT[:2], Stage(5, 3, 9))})
    with pytest.raises(RunError, match="was trained for other than 9 steps: delete it"):
        make((2, 3), 5, tmp_path)


def test_rungs_count_the_steps_of_all_stages_and_come_back_from_their_file(tmp_path):
    make((2, 3), 5, tmp_path)
    found = list(rungs((2, 3), 5, tmp_path))
    assert [(r.n_edges, r.hops, r.steps) for r in found] == [(4, 2, 3), (5, 2, 7), (5, 3, 9)]
    assert all(r.right[1] == 2_000 for r in found)
    climbing.write(found, tmp_path / "rungs.jsonl")
    assert load(tmp_path / "rungs.jsonl") == found and isinstance(found[0], Rung)
