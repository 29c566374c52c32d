"""Named runs: loaded where shipped, checked against what was asked for, trained where missing. And the shipped ones."""

from dataclasses import replace

import pytest
import torch

from matchlib import runs
from matchlib.beyond_train import examples
from matchlib.presets import PRESETS, preset
from matchlib.record import Run, RunError
from matchlib.runs import RUNS, SHIPPED, RunSpec, load_or_train
from matchlib.train import TrainState, fit, train


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A shelf of one tiny run, and a list of the trainings that were started."""
    trained = []

    def counted(*args):
        trained.append(args)
        return train(*args)

    monkeypatch.delenv("MATCHLIB_RETRAIN", raising=False)
    monkeypatch.setattr(runs, "SHIPPED", tmp_path)
    monkeypatch.setattr(runs, "_retrained", set())
    monkeypatch.setattr(runs, "RUNS", {"one": RunSpec(PRESETS["tiny"], seed=3)})
    monkeypatch.setattr(runs, "train", counted)
    return trained


def test_a_missing_run_is_trained_once_and_then_loaded(shelf):
    first = load_or_train("one", progress=False)
    second = load_or_train("one", progress=False)
    assert len(shelf) == 1
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))
    assert first.history == second.history


def test_retrain_trains_although_the_run_is_there_and_once_a_process(shelf, monkeypatch):
    load_or_train("one", progress=False)
    runs._retrained.clear()  # as in another process
    monkeypatch.setenv("MATCHLIB_RETRAIN", "1")
    load_or_train("one", progress=False)
    load_or_train("one", progress=False)
    assert len(shelf) == 2


def test_a_run_that_was_stopped_is_neither_returned_nor_kept(shelf, monkeypatch, tmp_path):
    def stopped(*args):
        run = train(*args)
        run.provenance["steps"] -= 1
        return run

    monkeypatch.setattr(runs, "train", stopped)
    with pytest.raises(KeyboardInterrupt, match="'one' was stopped; nothing of it is kept"):
        load_or_train("one", progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("seed", lambda s: replace(s, seed=4)),
        ("gamma", lambda s: replace(s, preset=replace(s.preset, model=replace(s.preset.model, gamma=0.6)))),
        ("lr", lambda s: replace(s, preset=replace(s.preset, train=replace(s.preset.train, lr=1e-4)))),
        ("n_tokens", lambda s: replace(s, preset=replace(s.preset, task=replace(s.preset.task, n_tokens=30)))),
    ],
)
def test_a_run_made_otherwise_is_refused_by_name_of_the_field(shelf, monkeypatch, field, changed):
    load_or_train("one", progress=False)
    monkeypatch.setattr(runs, "RUNS", {"one": changed(runs.RUNS["one"])})
    with pytest.raises(RunError, match=f"{field}: asked .*, found .*MATCHLIB_RETRAIN=1"):
        load_or_train("one", progress=False)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="'post_g99' is not a run of the course: choose one of post_g07, "):
        load_or_train("post_g99")


def test_a_shelf_that_cannot_be_written_costs_a_warning_and_not_the_run(shelf, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(runs, "SHIPPED", tmp_path / "file")
    with pytest.warns(UserWarning, match="only this process has it"):
        run = load_or_train("one", progress=False)
    assert run.provenance["steps"] == PRESETS["tiny"].train.steps


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match="'big' is not known: choose one of tiny, mini, small, paper"):
        preset("big")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_s_model_fits_its_task(name):
    chosen = preset(name)
    assert (chosen.model.vocab_size, chosen.model.n_pos) == (chosen.task.vocab_size, chosen.task.n_pos)


def test_the_shelf_holds_the_named_runs_and_nothing_else():
    plain = ("selection", "fresh", "seeds", "findings", "aloud", "climbs", "scaffold", "beyond")
    records = {"bench.json", "redraw.json"} | {f"{name}.jsonl" for name in plain}
    mini = ("tuning", "phase", "longer", "noise_tuning", "noise", "noise_why")
    larger = ("noise_small_tuning", "noise_small", "noise_middle_tuning", "noise_middle")
    records |= {f"{name}.jsonl.gz" for name in (*mini, *larger)}
    kept = {p.name for p in SHIPPED.iterdir() if p.suffix != ".lock"} - {"result.png"}
    models = (*RUNS, "aloud", "ring_L3_d128_e9_h3_s101", "ring_L3_d64_e12_h4_alone_s101", *examples())
    assert kept - records == {f"{name}.{end}" for name in models for end in ("json", "safetensors")}


@pytest.mark.parametrize("name", RUNS)
def test_a_shipped_run_is_what_its_name_stands_for(name):
    run = Run.load(SHIPPED / name)
    runs.check(run, RUNS[name], name)
    assert run.provenance["steps"] == run.train_config.steps == run.history[-1].step
    assert sorted(run.snapshots) == sorted(run.train_config.snapshots)
    assert {"torch", "device", "seconds", "threads", "python"} <= set(run.provenance)


def test_at_least_four_of_five_seeds_of_small_answer_and_no_seed_answers_without_matching():
    last = [Run.load(SHIPPED / name).history[-1] for name in RUNS if name.startswith("post_g07")]
    assert len(last) == 7 and sum(e.test >= 0.99 for e in last) / len(last) >= 0.8
    for e in last:
        assert min(e.argmax) >= 0.95 if e.test >= 0.99 else (e.test < 0.5 and min(e.argmax) < 0.5)


def test_the_memoriser_knows_its_training_sequences_by_heart_and_nothing_else():
    last = Run.load(SHIPPED / "memoriser").history[-1]
    assert last.fit >= 0.99 and max(last.train, last.test) < 0.2 and max(last.argmax) < 0.1


@pytest.mark.parametrize("name", [name for name in RUNS if name.startswith("hops")])
def test_the_deeper_runs_answer(name):
    assert Run.load(SHIPPED / name).history[-1].test >= 0.99


def test_the_snapshots_span_the_phase_transition():
    run = Run.load(SHIPPED / "post_g07")
    test = {e.step: e.test for e in run.history}
    assert sum(test[step] < 0.3 for step in run.snapshots) >= 3
    assert sum(test[step] > 0.9 for step in run.snapshots) >= 3


def test_training_again_begins_as_the_shipped_run_did():
    """Other processors round otherwise, so the first hundred steps need only agree closely."""
    run = Run.load(SHIPPED / "post_g07")
    state = TrainState.new(run.task, run.model_config, run.train_config, run.seed, "cpu")
    for step in fit(state):
        if step.step == 100:
            break
    for ours, kept in zip(state.history, run.history, strict=False):
        assert ours.step == kept.step
        assert ours.loss == pytest.approx(kept.loss, rel=0.02)
        assert ours.test == pytest.approx(kept.test, abs=0.04)
