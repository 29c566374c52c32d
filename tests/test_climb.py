"""Stages of a climb: what the next one takes over, what is kept, and that a stopped climb goes on."""

from dataclasses import replace

import pytest
import torch

from matchlib import climb as climbing
from matchlib.climb import Plan, Rung, Stage, climb, load, make, rungs
from matchlib.record import Run, RunError
from matchlib.train import TrainState

SHORT = (Stage(4, 3), Stage(5, 4), Stage(6, 2))
PLAN = Plan(2, 2, width=8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two layers of width 8, and a few steps; no stage ends before them."""
    monkeypatch.setattr(climbing, "ENOUGH", 2.0)
    monkeypatch.setattr(climbing, "TRAIN", replace(climbing.TRAIN, batch_size=4, n_eval=20, warmup=1))
    monkeypatch.setattr(climbing, "PLANS", {PLAN: SHORT})
    monkeypatch.setattr(climbing, "SEEDS", (5,))


def fresh(stage: Stage, seed: int) -> TrainState:
    return TrainState.new(PLAN.task(stage), PLAN.model, replace(climbing.TRAIN, steps=stage.steps), seed, "cpu")


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
    ends = list(climb(PLAN, SHORT, seed=7))
    stages = [Stage(run.task.n_edges, run.train_config.steps) for run in ends]
    assert stages == list(SHORT)
    assert [(n, task) for n, task in taken] == [(5, PLAN.task(SHORT[0])), (6, PLAN.task(SHORT[1]))]
    assert all(run.seed == 7 and run.model_config.n_layers == 2 and run.task.kind == "ring" for run in ends)


def test_a_stage_ends_as_soon_as_it_answers_enough(monkeypatch):
    monkeypatch.setattr(climbing, "TRAIN", replace(climbing.TRAIN, eval_every=2))
    monkeypatch.setattr(climbing, "ENOUGH", 0.0)
    ends = list(climb(PLAN, (Stage(4, 6), Stage(5, 4)), seed=7))
    assert [run.provenance["steps"] for run in ends] == [2, 2], "the first measurement after a step"
    monkeypatch.setattr(climbing, "ENOUGH", 1.1)
    assert next(climb(PLAN, (Stage(4, 6),), seed=7)).provenance["steps"] == 6


def test_the_width_is_that_of_the_plan():
    cfg = Plan(4, 3, width=24).model
    assert (cfg.n_layers, cfg.d_model, cfg.d_head, cfg.d_mlp, cfg.gamma) == (4, 24, 24, 24, 0.5)


def test_a_climb_that_was_stopped_goes_on_and_ends_where_an_unbroken_one_ends(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir(), (tmp_path / "broken").mkdir()
    make(PLAN, SHORT, 5, tmp_path / "whole")
    make(PLAN, SHORT[:1], 5, tmp_path / "broken")
    trained, train_on = [], climbing.climb
    monkeypatch.setattr(climbing, "climb", lambda *args: trained.append(args[1]) or train_on(*args))
    make(PLAN, SHORT, 5, tmp_path / "broken")
    assert trained == [SHORT[1:]]
    last = PLAN.run_name(SHORT[-1], 5)
    ends = [Run.load(tmp_path / folder / last).model.state_dict() for folder in ("whole", "broken")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_run_of_another_length_is_refused(tmp_path):
    make(PLAN, SHORT, 5, tmp_path)
    with pytest.raises(RunError, match="was trained for other than 9 steps: delete it"):
        make(PLAN, (*SHORT[:2], Stage(6, 9)), 5, tmp_path)


def test_jobs_are_every_plan_on_its_seeds_with_the_heads_and_times_asked_for(monkeypatch):
    monkeypatch.setattr(climbing, "PLANS", {PLAN: SHORT[:1], climbing.ONCE[0]: SHORT[:1]})
    monkeypatch.setattr(climbing, "SEEDS", (5, 6))
    two = PLAN._replace(n_heads=2)
    assert climbing.jobs(2, 3) == [
        (two, (Stage(4, 9),), 5), (two, (Stage(4, 9),), 6), (climbing.ONCE[0]._replace(n_heads=2), (Stage(4, 9),), 5)
    ]  # fmt: skip
    assert (two.model.n_heads, two.model.d_head, two.model.d_model) == (2, 4, 8)
    assert two.run_name(SHORT[0], 5) != PLAN.run_name(SHORT[0], 5)


def test_the_command_writes_the_rungs_of_all_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(climbing, "cpu_count", lambda: 1)  # in this process, where the plan is the short one
    climbing.main([str(tmp_path / "new"), "--heads", "2"])
    found = load(tmp_path / "new" / "climbs.jsonl")
    assert [(r.n_edges, r.n_heads) for r in found] == [(4, 2), (5, 2), (6, 2)]


def test_rungs_count_the_steps_of_all_stages_and_come_back_from_their_file(tmp_path):
    make(PLAN, SHORT, 5, tmp_path)
    found = list(rungs(PLAN, SHORT, 5, tmp_path))
    assert [(r.n_edges, r.hops, r.steps) for r in found] == [(4, 2, 3), (5, 2, 7), (6, 2, 9)]
    assert all(r.right[1] == 2_000 for r in found)
    climbing.write(found, tmp_path / "rungs.jsonl")
    assert load(tmp_path / "rungs.jsonl") == found and isinstance(found[0], Rung)
