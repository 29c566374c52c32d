"""Stages of a training with a scaffold: what each asks, what it takes over, and that a stopped one goes on."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from matchlib import depth
from matchlib import scaffold_train as st
from matchlib.record import Run, RunError
from matchlib.scaffold_train import ALONE, HARD, PLAIN, PUSHED, TAUGHT, Plan, Stand, learn, load, make, stands
from matchlib.train import TrainState

PLAN = Plan(3, 4, width=8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Width 8, and a few steps."""
    monkeypatch.setattr(st, "TRAIN", replace(st.TRAIN, batch_size=4, n_eval=20, warmup=1))
    monkeypatch.setattr(st, "STEPS", {TAUGHT: 3, ALONE: 2, PUSHED: 2, PLAIN: 2, HARD: 3})
    monkeypatch.setattr(st, "BLOCK", 2)
    monkeypatch.setattr(st, "PLANS", (PLAN, Plan(3, 3, 8, PLAIN)))
    monkeypatch.setattr(st, "SEEDS", (5,))
    monkeypatch.setattr(depth, "N", 60)
    monkeypatch.setattr(st.middle, "N", 60)


def test_with_a_scaffold_there_are_three_stages_and_without_one():
    assert Plan(3, 3).stages == (TAUGHT, ALONE, PUSHED) and Plan(3, 4, 64, PLAIN).stages == (PLAIN,)
    assert Plan(3, 4, 64, HARD).stages == (HARD,)
    assert Plan(4, 4).stages == Plan(4, 3).stages == (TAUGHT, ALONE), "the rules allow every order: none is hard"
    assert Plan(4, 8).stages == Plan(3, 9).stages == (TAUGHT, ALONE), "the other way round is as short as is allowed"
    assert Plan(3, 8).stages == Plan(2, 2).stages == (TAUGHT, ALONE, PUSHED)


@pytest.mark.parametrize("n_layers", [2, 3, 4])
def test_there_is_something_to_push_just_where_the_rules_forbid_an_order(n_layers):
    for hops in range(1, 12):
        plan = Plan(n_layers, hops)
        batch = plan.task.sample(2_000, "any", generator=torch.Generator().manual_seed(hops))
        slow = plan.task.question(range(1, 13), start=1)  # edges in order
        some = bool(torch.cat([depth.left_open(x, n_layers, True) for x in (batch, slow)]).any())
        assert (PUSHED in plan.stages) is (some or plan.three), hops


def test_hard_questions_are_drawn_until_there_are_enough(monkeypatch):
    real, kept = st.hard, []

    def rare(plan, batch):
        kept.append(real(plan, batch) & (torch.arange(len(batch)) % 8 == 0))
        return kept[-1]

    monkeypatch.setattr(st, "hard", rare)
    found = st.ask(PLAN, PUSHED, 1, 0)
    assert len(found) == 8 and len(kept) > 1 and (depth.left_open(found, 3, True) > 0).all()


@pytest.mark.parametrize("hops", [4, 5])
def test_pushed_asks_forbidden_orders_alone(hops):
    for stage in (PUSHED, HARD):
        pushed = st.ask(Plan(3, hops), stage, 1, 0)
        assert len(pushed) == 8 and (depth.left_open(pushed, 3, True) > 0).all()


def test_pushed_asks_three_hops_where_the_last_edge_stands_behind():
    pushed = st.ask(Plan(3, 3), PUSHED, 1, 0)
    assert len(pushed) == 8 and (depth.left_open(pushed, 3, True) == 0).all(), "the rules allow every order"
    for row, start in zip(pushed.tokens.tolist(), pushed.path[:, 0].tolist()):
        at, node = [], start
        for _ in range(3):
            at.append(row[:-1:2].index(node))
            node = row[2 * at[-1] + 1]
        assert at[2] > at[1]


def test_every_other_stage_asks_all_orders():
    many = torch.cat([depth.left_open(st.ask(PLAN, ALONE, 1, block), 3, True) for block in range(30)])
    assert len(many) == 240 and 0.2 < (many == 0).float().mean() < 0.47, "a third is allowed"


def test_questions_are_a_function_of_seed_stage_and_block():
    first = st.ask(PLAN, ALONE, 1, 0).tokens
    assert torch.equal(first, st.ask(PLAN, ALONE, 1, 0).tokens)
    for other in (st.ask(PLAN, ALONE, 1, 1), st.ask(PLAN, TAUGHT, 1, 0), st.ask(PLAN, ALONE, 2, 0)):
        assert not torch.equal(first, other.tokens)


def test_a_stage_begins_with_the_last_weights_and_the_first_with_fresh_ones(monkeypatch):
    taught = learn(PLAN, 1, TAUGHT)
    assert taught.provenance["steps"] == 3 and taught.history[-1].step == 3
    monkeypatch.setattr(st, "STEPS", {ALONE: 1})
    monkeypatch.setattr(st, "TRAIN", replace(st.TRAIN, lr=1e-12, lr_start=1e-12, lr_end=1e-12))
    alone = learn(PLAN, 1, ALONE, taught)
    for name, weight in taught.model.state_dict().items():
        assert torch.allclose(alone.model.state_dict()[name], weight, atol=1e-6), name
    born = TrainState.new(PLAN.task, PLAN.model, replace(st.TRAIN, steps=1), 1, "cpu").model
    assert torch.allclose(learn(PLAN, 1, ALONE).model.w_u, born.w_u, atol=1e-6)


def test_the_scaffold_teaches_where_it_is_meant_to_and_only_there(monkeypatch):
    used = []
    real = st.Scaffold.losses
    monkeypatch.setattr(st.Scaffold, "losses", lambda self, *args: used.append(self) or real(self, *args))
    for stage in (ALONE, PUSHED, PLAIN):
        learn(PLAN, 1, stage)
    assert used == []
    before = st.Scaffold(TrainState.new(PLAN.task, PLAN.model, st.TRAIN, 1, "cpu").model.cfg, 12, 1).maps
    learn(PLAN, 1, HARD)
    learn(PLAN, 1, TAUGHT)
    assert len(used) == 3 + 3 and not torch.equal(used[-1].maps, before), "and its maps are trained"


def test_a_training_that_was_stopped_goes_on_and_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    make(PLAN, 5, tmp_path / "whole")

    def stops(plan, seed, stage, last=None):
        if stage == PUSHED:
            raise KeyboardInterrupt
        return learn(plan, seed, stage, last)

    monkeypatch.setattr(st, "learn", stops)
    with pytest.raises(KeyboardInterrupt):
        make(PLAN, 5, tmp_path / "broken")
    asked = []
    monkeypatch.setattr(st, "learn", lambda *args: asked.append(args[2]) or learn(*args))
    make(PLAN, 5, tmp_path / "broken")
    assert asked == [PUSHED]
    ends = [Run.load(tmp_path / name / PLAN.run_name(PUSHED, 5)).model for name in ("whole", "broken")]
    for name, weight in ends[0].state_dict().items():
        assert torch.equal(weight, ends[1].state_dict()[name]), name


def test_runs_of_other_lengths_are_not_gone_on_from(tmp_path, monkeypatch):
    make(PLAN, 5, tmp_path)
    monkeypatch.setattr(st, "STEPS", st.STEPS | {ALONE: 9})
    with pytest.raises(RunError, match="other than 9 steps: delete it"):
        make(PLAN, 5, tmp_path)


def test_the_record_holds_a_line_a_stage_and_counts_all_steps(tmp_path):
    make(PLAN, 5, tmp_path)
    found = list(stands(PLAN, 5, tmp_path))
    assert [(s.stage, s.steps) for s in found] == [(TAUGHT, 3), (ALONE, 5), (PUSHED, 7)]
    assert all({"allowed", "forbidden", "middle", "sent"} <= set(stand.asked) for stand in found)
    st.write(found, tmp_path / "x.jsonl")
    again = load(tmp_path / "x.jsonl")
    assert again == found and all(isinstance(stand, Stand) for stand in again)


def test_the_command_trains_every_plan_and_writes_the_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(st, "cpu_count", lambda: 1)
    st.main([str(tmp_path / "here")])
    record = load(tmp_path / "here" / "scaffold.jsonl")
    assert [(s.n_layers, s.hops, s.stage) for s in record] == [
        (3, 4, TAUGHT), (3, 4, ALONE), (3, 4, PUSHED), (3, 3, PLAIN),
    ]  # fmt: skip


def test_the_command_trains_a_plan_of_ones_own(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(st, "cpu_count", lambda: 1)
    monkeypatch.setattr(st, "make", lambda *job: asked.append(job))
    monkeypatch.setattr(st, "stands", lambda *job: [])
    monkeypatch.setattr(st, "parallel_config", lambda *args, **named: nullcontext())
    st.main([str(tmp_path), "--layers", "4", "--hops", "5"])
    assert asked == [(Plan(4, 5), 5, tmp_path)]
    assert [p.name for p in tmp_path.iterdir()] == ["scaffold_L4_h5.jsonl"], "the record of all plans is left alone"
    with pytest.raises(SystemExit):
        st.main([str(tmp_path), "--layers", "4", "--hops", "12"])
    assert "--hops" in capsys.readouterr().err
