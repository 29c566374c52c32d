"""The engine for a GPU, here on a CPU: many runs as one, and the same records as one by one."""

from dataclasses import replace

import pytest
import torch

from matchlib import engines
from matchlib.engines import ensembles, train_one
from matchlib.presets import PRESETS, Preset, RunSpec

TINY = PRESETS["tiny"]


def spec(seed=0, task=None, model=None, **train):
    asked = Preset(TINY.task, replace(TINY.model, **(model or {})), replace(TINY.train, steps=20, **train))
    return RunSpec(asked, seed)


def together(specs, **how):
    return {record.key: record for record in ensembles(iter(specs), device="cpu", **how)}


def test_its_records_are_those_of_the_runs_alone():
    specs = [spec(s, model={"gamma": g, "layernorm": n}) for s in (0, 1) for g in (0.5, 0.7) for n in ("pre", "post")]
    found = together(specs, members=3)
    assert set(found) == {s.name for s in specs}
    for asked in specs:
        one, other = found[asked.name], train_one(asked)
        assert (one.status, one.seed, one.model) == ("done", asked.seed, asked.preset.model)
        assert one.provenance["steps"] == 20 and one.provenance["seconds"] > 0
        assert one.columns["step"] == other.columns["step"]
        assert one.columns["loss"] == pytest.approx(other.columns["loss"], rel=1e-3)
        assert one.columns["test"] == pytest.approx(other.columns["test"], abs=0.02)


@pytest.mark.parametrize("members", [1, 2, 3, 64])
def test_runs_join_as_they_come_and_no_more_at_a_time_than_asked(members, monkeypatch):
    sizes, original = [], engines.fit_together
    monkeypatch.setattr(engines, "fit_together", lambda states: sizes.append(len(states)) or original(states))
    specs = [spec(s, model={"d_mlp": width}) for s in range(4) for width in (8, 16)]
    assert len(together(specs, members=members)) == 8
    assert sum(sizes) == 8 and max(sizes) == min(members, 4)


def test_what_the_memory_cannot_hold_is_tried_in_halves(monkeypatch):
    original = engines.fit_together

    def small_memory(states):
        if len(states) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return original(states)

    monkeypatch.setattr(engines, "fit_together", small_memory)
    assert {r.status for r in together([spec(s) for s in range(5)]).values()} == {"done"}


def test_a_run_that_cannot_be_is_the_only_one_that_fails(monkeypatch):
    original = engines.fit_together

    def picky(states):
        if any(state.seed == 3 for state in states):
            raise RuntimeError("a broken kernel\nand pages more")
        return original(states)

    monkeypatch.setattr(engines, "fit_together", picky)
    found = together([spec(s) for s in range(5)]).values()
    assert {r.seed: r.status for r in found} == {0: "done", 1: "done", 2: "done", 3: "failed", 4: "done"}
    (reason,) = (r.reason for r in found if r.status == "failed")
    assert reason == "The training stopped with RuntimeError: a broken kernel."


def test_a_run_that_the_memory_cannot_hold_even_alone_is_trained_as_fit_does_it(monkeypatch):
    """And `fit` goes on on the CPU where a GPU is full."""

    def full(states):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(engines, "fit_together", full)
    found = together([spec(s) for s in range(3)])
    for asked in (spec(s) for s in range(3)):
        one, other = found[asked.name], train_one(asked)
        assert one.status == "done" and one.columns == other.columns


def test_a_member_that_diverges_is_a_failure_and_the_others_are_not():
    found = together([spec(0), spec(1, lr=1e30, clip=1e30), spec(2)])
    assert {r.seed: r.status for r in found.values()} == {0: "done", 1: "failed", 2: "done"}
    (reason,) = (r.reason for r in found.values() if r.status == "failed")
    assert reason == "The training diverged by step 20: its loss or scores are no longer finite."


def test_ctrl_c_is_no_failure(monkeypatch):
    def interrupted(states):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "fit_together", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together([spec(0)])


@pytest.mark.gpu
def test_a_gpu_is_taken_where_there_is_one():
    found = list(ensembles([spec(s) for s in range(4)]))
    assert all(r.status == "done" and r.provenance["device"] == torch.cuda.get_device_name() for r in found)
