"""Deeper models learnt by stages: what a stage asks, when it ends, and that a stopped command goes on."""

from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from matchlib import beyond, beyond_train
from matchlib.beyond_train import (
    GAMMAS,
    RECORD,
    RECORDED,
    SEEDS,
    STAGES,
    STEPS,
    TASKS,
    climb,
    examples,
    laid_out,
    learnt,
    load,
    make,
    name_of,
    write,
)  # fmt: skip
from matchlib.record import Run
from matchlib.runs import SHIPPED
from matchlib.train import TrainState, seeded


@pytest.fixture
def quick(monkeypatch):
    """Trainings of a few steps."""
    monkeypatch.setattr(beyond_train, "TRAIN", replace(beyond_train.TRAIN, batch_size=8, n_eval=20))
    monkeypatch.setattr(beyond_train, "STEPS", dict.fromkeys(TASKS, 2))
    monkeypatch.setattr(beyond_train, "MOST", 3)
    monkeypatch.setattr(beyond_train, "MODEL", replace(beyond_train.MODEL, d_model=8, d_head=8, d_mlp=8))


@pytest.mark.parametrize("kind", TASKS)
def test_each_stage_asks_a_shorter_question_where_the_task_asks_its_own(kind):
    task = TASKS[kind]
    assert beyond.asks(task, beyond_train.MODEL.n_layers)
    for stage in STAGES:
        assert max(stage.all_hops) < 3 and stage.n_edges < task.n_edges and stage.n_tokens == task.n_tokens
        batch = stage.sample(5, "any", generator=torch.Generator().manual_seed(0))
        tokens = laid_out(batch.tokens, task)
        asks = tokens.shape[1] - 1 - task.has_order
        assert tokens.shape == (5, task.n_pos) and asks == task.start_pos
        assert (tokens[:, asks:] == batch.path[:, :1]).all(), "the start stands where the task has it, and its order"
        assert torch.equal(tokens[:, asks - stage.start_pos : asks], batch.tokens[:, :-1])
        assert (tokens[:, : asks - stage.start_pos] == 0).all() and task.start_pos >= stage.start_pos


def state_of(kind: str) -> TrainState:
    return TrainState.new(TASKS[kind], beyond_train.MODEL, beyond_train.TRAIN, 3, "cpu")


def test_a_stage_ends_when_it_is_learnt_or_after_its_most(quick, monkeypatch):
    state = state_of("double_end")
    before = state.model.w_u.detach().clone()
    assert climb(state, 0, 0) == 3 and not torch.equal(state.model.w_u, before)
    assert state.step == 0 and state.history == [], "the task itself has not begun"
    monkeypatch.setattr(beyond_train, "ENOUGH", 0.0)
    monkeypatch.setattr(beyond_train, "RECENT", 2)
    assert climb(state, 0, 0) == 2


def test_a_step_of_a_stage_is_the_step_that_one_would_write_down(quick, monkeypatch):
    monkeypatch.setattr(beyond_train, "MOST", 1)
    state, twin = state_of("ordered"), state_of("ordered")
    climb(state, 1, 50)
    n, train = beyond_train.TRAIN.batch_size, beyond_train.TRAIN
    drawn = STAGES[1].sample(beyond_train.BLOCK * n, "any", generator=seeded(3, "stage", 1, 0))
    for group in twin.optimizer.param_groups:
        group["lr"] = train.lr * 51 / beyond_train.WARMUP
    F.cross_entropy(twin.model(laid_out(drawn.tokens[:n], twin.task)), drawn.answer[:n]).backward()
    torch.nn.utils.clip_grad_norm_(twin.model.parameters(), train.clip)
    twin.optimizer.step()
    for ours, by_hand in zip(state.model.parameters(), twin.model.parameters(), strict=True):
        assert torch.allclose(ours, by_hand, atol=1e-7)


def test_seed_task_and_stage_decide_a_model(quick):
    one, other = (beyond_train.learn("noised", 0.8, 3) for _ in range(2))
    assert one[1] == other[1] == [3, 3]
    assert all(torch.equal(a, b) for a, b in zip(one[0].model.parameters(), other[0].model.parameters(), strict=True))
    third, _ = beyond_train.learn("noised", 0.8, 4)
    assert not torch.equal(one[0].model.w_u, third.model.w_u)


def test_a_model_that_is_there_is_not_trained_again_and_its_record_reads_back(quick, monkeypatch, tmp_path):
    make("ordered", 0.5, 3, tmp_path)
    kept = Run.load(tmp_path / name_of("ordered", 0.5, 3))
    assert kept.provenance["stages"] == [3, 3] and kept.train_config.steps == kept.provenance["steps"] == 2
    monkeypatch.setattr(beyond_train, "learn", None)
    make("ordered", 0.5, 3, tmp_path)
    found = learnt(kept)
    assert found.name == "ordered, gamma 0.5, seed 3"
    assert (found.kind, found.gamma, found.seed, found.stages) == ("ordered", 0.5, 3, [3, 3])
    assert len(found.test) == len(kept.history) and sum(n for _, n in found.asked["right"]) == beyond.N
    write([found, found], tmp_path / "beyond.jsonl")
    assert load(tmp_path / "beyond.jsonl") == [found, found]


def test_the_record_holds_every_start_and_seed_and_the_models_that_come_along_are_of_it():
    kept = load(RECORD)
    assert [(one.kind, one.gamma, one.seed) for one in kept] == list(product(RECORDED, GAMMAS, SEEDS))
    assert not {10, 11, 100} & set(SEEDS), "the recipe was found on seed 10, and seed 100 was looked at"
    for one in kept:
        assert len(one.stages) == len(STAGES) and one.provenance["steps"] == STEPS[one.kind]
        assert one.asked.keys() >= {"walked_at", "stored_at", "alone", "beside", "further"}
    for name in examples():
        run = Run.load(SHIPPED / name)
        one = next(one for one in kept if name_of(one.kind, one.gamma, one.seed) == name)
        assert run.task == TASKS[one.kind] and run.provenance["stages"] == one.stages
        assert [round(e.test, 3) for e in run.history] == one.test


def test_what_the_record_says_of_a_model_is_found_again():
    name, one = examples()[0], load(RECORD)[0]
    again, kept = beyond.examine(Run.load(SHIPPED / name)), one.asked
    assert again.keys() == kept.keys() and one.seed == SEEDS[0]
    for asked in ("right", "walked", "stored", "cut"):
        for (hits, n), (kept_hits, kept_n) in zip(again[asked], kept[asked], strict=True):
            assert n == kept_n and abs(hits - kept_hits) <= 3, "other processors round otherwise"


def test_a_task_that_is_not_known_is_said_in_a_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        beyond_train.main([str(tmp_path), "trebled"])
    assert "no task is called 'trebled': give one or more of ordered, double_end, noised." in capsys.readouterr().err


def test_the_command_trains_a_task_aside_and_leaves_the_record(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(beyond_train, "GAMMAS", (0.5,))
    monkeypatch.setattr(beyond_train, "SEEDS", (3,))
    monkeypatch.setattr(beyond_train, "write", None)
    beyond_train.main([str(tmp_path / "mine"), "ordered"])
    assert [p.name for p in sorted((tmp_path / "mine").iterdir())] == [
        f"beyond_ordered_g05_s3.{x}" for x in ("json", "safetensors")
    ]
