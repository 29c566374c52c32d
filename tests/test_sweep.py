"""Sweeps: what a grid and a record say, a file that survives kills, workers that die, and the commands around them."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import pytest
import sweep_work
import torch
from hypothesis import given
from hypothesis import strategies as st
from sweep_work import here

from matchlib import __main__ as command
from matchlib import sweep
from matchlib.engines import processes, spec_of, text_of, train_one
from matchlib.grids import GRIDS, Grid, Joined, named_grid
from matchlib.ledger import Ledger, matched
from matchlib.presets import PRESETS, RunSpec
from matchlib.record import Evaluation, RunError, run_name
from matchlib.sweep import Record, choose_engine, load, plan, run_grid, table
from matchlib.train import train

TINY = PRESETS["tiny"]
TWENTY = replace(TINY, train=replace(TINY.train, steps=20))
EIGHT = GRIDS["tiny"].specs()
share = st.floats(0, 1, width=32)
evaluations = st.lists(
    st.builds(
        Evaluation, st.integers(0, 10**6), st.floats(0, 1e9, width=32), *[share] * 4,
        *[st.tuples(share, share)] * 2,
    )
)  # fmt: skip


def numbers(path: Path) -> list[int]:
    """The seeds in the order of a file's lines."""
    return [json.loads(line)["seed"] for line in path.read_text().splitlines()]


# Grids


@given(
    gammas=st.lists(st.floats(0, 3), unique=True, min_size=1, max_size=3),
    rates=st.lists(st.floats(1e-5, 1), unique=True, min_size=1, max_size=3),
    hops=st.lists(st.sampled_from([1, 2, 3, (1, 2)]), unique=True, min_size=1, max_size=3),
    seeds=st.lists(st.integers(0, 10**9), unique=True, min_size=1, max_size=3),
)
def test_a_grid_is_every_combination_once_in_the_order_of_its_axes(gammas, rates, hops, seeds):
    grid = Grid("g", "", TINY, {"model.gamma": gammas, "train.lr": rates, "task.hops": hops}, seeds)
    specs = grid.specs()
    found = [(s.preset.model.gamma, s.preset.train.lr, s.preset.task.hops, s.seed) for s in specs]
    assert found == list(product(gammas, rates, hops, seeds))
    assert len({s.name for s in specs}) == len(specs)
    assert all(s.preset == replace(TINY, task=s.preset.task, model=s.preset.model, train=s.preset.train) for s in specs)


def test_fields_that_are_joined_take_one_value():
    made = Grid("g", "", TINY, {"model.alpha+model.beta": (0.0, 1.0), "model.gamma": (0.5, 0.7)}, [0]).presets()
    assert [(p.model.alpha, p.model.beta) for p in made] == [(0.0, 0.0)] * 2 + [(1.0, 1.0)] * 2
    with pytest.raises(ValueError, match="is not a field that can vary"):
        Grid("g", "", TINY, {"model.alpha+model.betta": (0.0,)}, [0])


def test_joined_grids_are_one_sweep():
    parts = [Grid(name, "", TINY, {"model.gamma": (gamma,)}, [0, 1]) for name, gamma in (("a", 0.4), ("b", 0.6))]
    assert Joined("both", "", tuple(parts)).specs() == [s for part in parts for s in part.specs()]


def test_seeds_that_choose_are_not_seeds_that_are_reported():
    by = {name: {spec.seed for spec in GRIDS[name].specs()} for name in GRIDS}
    for chosen, reported in (("tuning", "phase"), ("tuning", "longer"), ("noise_tuning", "noise")):
        assert len(by[reported]) >= 5 and not by[chosen] & by[reported]


def test_a_task_brings_its_own_vocabulary_and_positions():
    sizes = Grid("g", "", TINY, {"task.n_tokens": (20, 30), "task.n_edges": (3, 4)}, [0]).specs()
    for preset in (spec.preset for spec in sizes):
        assert (preset.model.vocab_size, preset.model.n_pos) == (preset.task.vocab_size, preset.task.n_pos)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"axes": {"model.gama": (0.5,)}}, "axis='model.gama' is not a field that can vary: choose from task.kind"),
        ({"axes": {"model.n_pos": (9,)}}, "axis='model.n_pos' is not a field"),
        ({"axes": {"gamma": (0.5,)}}, "axis='gamma' is not a field"),
        ({"axes": {"model.gamma": ()}}, "axis='model.gamma' has no values"),
        ({"axes": {"model.gamma": (0.5, 0.7, 0.5)}}, "axis='model.gamma' holds a value twice"),
        ({"axes": {"model.gamma": (0.5, 9.0)}}, "gamma=9.0 is out of range"),
        ({"seeds": ()}, "must be whole numbers of at least 0"),
        ({"seeds": (1, -1)}, "must be whole numbers of at least 0"),
        ({"seeds": (1, 1)}, "holds a seed twice"),
        ({"name": "../g"}, "it names the records' file"),
    ],
)
def test_a_grid_that_makes_no_sense_gets_one_sentence(changed, sentence):
    good = {"name": "g", "about": "", "base": TINY, "axes": {}, "seeds": (0,)}
    with pytest.raises(ValueError) as refused:
        Grid(**good | changed)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_the_named_grids_are_what_they_say():
    assert {name: len(grid.specs()) for name, grid in GRIDS.items()}.items() >= {
        ("tiny", 8), ("selection", 27), ("fresh", 10), ("seeds", 100),
    }  # fmt: skip
    assert all(name == grid.name and named_grid(name) is grid for name, grid in GRIDS.items())
    own = {name: set(GRIDS[name].seeds) for name in ("selection", "fresh", "seeds")}
    assert not (own["selection"] & own["fresh"] or own["fresh"] & own["seeds"] or own["selection"] & own["seeds"])
    with pytest.raises(ValueError, match="grid='nine' is not known: choose one of tiny"):
        named_grid("nine")


# Records


@given(history=evaluations, seed=st.integers(0, 10**9), reason=st.sampled_from(["", 'It "stopped"\nat é.']))
def test_a_record_comes_back_from_its_line(history, seed, reason):
    record = Record.of(TINY.task, TINY.model, TINY.train, seed, history, {"seconds": 1.5}, reason)
    line = record.line
    assert "\n" not in line and Record.read(line) == record == Record.read(line.encode())
    assert record.status == ("failed" if reason else "done") and record.key == RunSpec(TINY, seed).name
    assert len(record.history) == len(history)
    for kept, was in zip(record.history, history):
        assert kept.step == was.step and type(kept.matching) is tuple
        pairs = [(kept.loss, was.loss), (kept.test, was.test), *zip(kept.argmax, was.argmax)]
        assert all(abs(a - b) <= 5e-5 * abs(b) for a, b in pairs)
    assert [list(row) for row in record.column("matching")] == [list(e.matching) for e in record.history]
    assert record.matched == matched(record.history)


def test_a_record_without_noise_has_no_scalars_and_one_with_noise_has():
    plain = Evaluation(0, 1.0, *[0.5] * 4, (0.1, 0.2), (0.0, 1.0))
    noisy = replace(plain, alpha=(1.0, 1 / 3), beta=(0.0, 1.0, 2.0))
    both = {"plain": plain, "noisy": noisy}
    of = {name: Record.of(*EIGHT[0].parts, [one], {"seconds": 1.0}) for name, one in both.items()}
    assert "alpha" not in of["plain"].columns and np.isnan(table([of["plain"]], "alpha")["alpha"]).all()
    assert of["noisy"].column("alpha").tolist() == [[1.0, 0.33333]] and of["noisy"].history[0].beta == (0.0, 1.0, 2.0)
    assert Record.read(of["noisy"].line) == of["noisy"] and Record.read(of["plain"].line) == of["plain"]
    with pytest.raises(ValueError, match="column='alpha' is not kept: choose one of step, loss"):
        of["plain"].column("alpha")


def test_what_was_probed_is_kept_and_comes_back():
    record = Record.of(*EIGHT[0].parts, [], {"seconds": 1.0}, probed={"middle": 1 / 3, "least": [0.0, 1.0]})
    assert record.probed == {"middle": 0.33333, "least": [0.0, 1.0]} and Record.read(record.line) == record
    found = table([record, replace(record, probed={})], "probed.middle")["probed.middle"]
    assert found[0] == 0.33333 and np.isnan(found[1])


def test_a_worker_examines_what_it_trained():
    mini = PRESETS["mini"]
    record = train_one(RunSpec(replace(mini, train=replace(mini.train, steps=2, n_eval=50)), 0))
    assert {"middle", "renamed_twin", "broken_stranger", "least", "trace", "ood_as_long"} <= set(record.probed)
    assert train_one(replace(EIGHT[0], preset=TWENTY)).probed == {}, "three edges leave no other node"


def test_a_run_travels_to_a_worker_as_text():
    task = replace(TINY.task, hops=(1, 2))
    spec = RunSpec(replace(TINY, task=task, train=replace(TINY.train, snapshots=(1, 2))), 5)
    assert spec_of(text_of(spec)) == spec and "\n" not in text_of(spec)


def test_success_is_counted_in_shares_and_not_in_the_last_bit_of_float32():
    history = [Evaluation(50, 0.1, 1.0, 1.0, float(np.float32(0.99)), 0.5, (0.1,), (float(np.float32(0.95)),))]
    assert float(np.float32(0.95)) < 0.95 and matched(history) == 50
    assert matched([replace(history[0], argmax=(0.94,))]) is None is matched([replace(history[0], test=0.989)])


def test_a_worker_measures_what_a_training_measures():
    run = train(TWENTY.task, TWENTY.model, TWENTY.train, 3, "cpu", progress=False)
    record = train_one(RunSpec(TWENTY, 3))
    asked = (run.task, run.model_config, run.train_config, 3)
    assert record.columns == Record.of(*asked, run.history, {}).columns and record.status == "done"
    assert record.key == run.name and record.provenance["steps"] == 20


def test_a_run_that_diverges_says_at_which_step():
    wild = replace(TWENTY, train=replace(TWENTY.train, lr=1e30, lr_start=1e30, clip=1e30))
    record = train_one(RunSpec(wild, 0))
    assert record.status == "failed" and json.loads(record.line)["status"] == "failed"
    at = record.provenance["steps"]
    assert record.reason == f"The training diverged at step {at}: its loss or scores are no longer finite."
    assert 1 <= at < 20 and record.column("step").tolist() == [0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "The training stopped with MemoryError: no more is known."),
        (RuntimeError("CUDA out of memory.\nTried"), "The training stopped with RuntimeError: CUDA out of memory."),
    ],
)
def test_a_run_that_raises_is_a_record_with_the_reason(error, reason, monkeypatch):
    def raising(state):
        raise error
        yield

    monkeypatch.setattr("matchlib.engines.fit", raising)
    record = train_one(EIGHT[0])
    assert (record.status, record.reason, record.key) == ("failed", reason, EIGHT[0].name)


def test_an_interrupt_is_no_result(monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("matchlib.engines.TrainState.new", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_one(EIGHT[0])


def test_a_table_has_an_entry_a_record(tmp_path):
    kept = run_grid(GRIDS["tiny"], tmp_path, here, progress=False)
    found = table(kept, "model.gamma", "task.hops", "seed", "status", "matched", "test", "argmax", "seconds")
    assert found["model.gamma"].tolist() == [0.4] * 4 + [0.6] * 4 and found["seed"].tolist() == [0, 1, 2, 3] * 2
    assert found["task.hops"].dtype == int and found["argmax"].shape == (8, 2)
    assert found["matched"].tolist() == [10.0] * 8 and found["test"].tolist() == [1.0] * 8
    never = replace(kept[0], columns={name: column[:1] for name, column in kept[0].columns.items()})
    assert np.isnan(table([never], "matched")["matched"]).all() and not np.isnan(table([never], "test")["test"]).any()
    mixed = [replace(kept[0], task=replace(TINY.task, hops=(1, 2))), kept[1]]
    assert table(mixed, "task.hops")["task.hops"].tolist() == [(1, 2), 2]
    with pytest.raises(ValueError, match="name='gamma' is not known: use a config's field"):
        table(kept, "gamma")


# The file


def test_a_line_that_a_kill_has_torn_is_passed_over_and_then_removed(tmp_path):
    file = tmp_path / "tiny.jsonl"
    ledger = Ledger(file)
    for spec in EIGHT[:3]:
        assert ledger.append(sweep_work.measured(spec))
    whole = file.read_bytes()
    third = whole.splitlines(keepends=True)[2]
    for cut in (1, len(third) // 2, len(third) - 1):  # the last lacks its line end alone
        file.write_bytes(whole[: len(whole) - len(third) + cut])
        assert [r.seed for r in load(file)] == [0, 1]
        assert Ledger(file).append(sweep_work.measured(EIGHT[2]))
        assert file.read_bytes() == whole


def test_a_damaged_line_is_an_error_that_says_which(tmp_path):
    file = tmp_path / "tiny.jsonl"
    run_grid(GRIDS["tiny"], tmp_path, here, progress=False)
    whole = file.read_bytes().splitlines(keepends=True)
    changed = json.loads(whole[4]) | {"status": "fine"}
    for damaged in (b"{}\n", b"\n", b"\0" * 50 + b"\n", whole[4][:99] + b"\n", json.dumps(changed).encode() + b"\n"):
        file.write_bytes(b"".join([*whole[:4], damaged, *whole[5:]]))
        with pytest.raises(RunError, match=r"tiny\.jsonl, line 5 is not a record of this version .*: restore"):
            load(file)
        with pytest.raises(RunError, match="line 5"):
            run_grid(GRIDS["tiny"], tmp_path, here, resume=True, progress=False)
    with pytest.raises(RunError, match="There are no records at .*none.jsonl"):
        load(tmp_path / "none.jsonl")


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written .*: free some space or choose another folder"):
        run_grid(GRIDS["tiny"], tmp_path / "file", here, progress=False)


def write_all(path: str, seeds: list[int]) -> None:
    ledger = Ledger(path)
    for seed in seeds:
        ledger.append(sweep_work.measured(RunSpec(TINY, seed)))


def test_two_writers_at_once_lose_nothing_and_write_nothing_twice(tmp_path):
    file, spawn = tmp_path / "both.jsonl", multiprocessing.get_context("spawn")
    ranges = [list(range(60)), list(range(89, 29, -1))]
    writers = [spawn.Process(target=write_all, args=(str(file), seeds)) for seeds in ranges]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert sorted(numbers(file)) == list(range(90)) and len(load(file)) == 90


# Going on


def test_resume_does_the_rest_and_nothing_twice(tmp_path):
    grid, file = GRIDS["tiny"], tmp_path / "tiny.jsonl"
    first = [sweep_work.measured(spec) for spec in EIGHT[:3]]
    other = sweep_work.measured(RunSpec(TWENTY, 0))  # as of an earlier version of the grid
    for record in (*first, other):
        Ledger(file).append(record)
    before = file.read_bytes()
    with pytest.raises(RunError, match=r"already holds 3 of the 8 runs of 'tiny': go on with --resume"):
        run_grid(grid, tmp_path, here, progress=False)
    assert file.read_bytes() == before
    started = []

    def engine(specs):
        for spec in specs:
            started.append(spec.name)
            yield sweep_work.measured(spec)

    kept = run_grid(grid, tmp_path, engine, resume=True, progress=False)
    assert sorted(started) == sorted(spec.name for spec in EIGHT[3:])
    assert [r.key for r in kept] == [spec.name for spec in EIGHT]
    assert file.read_bytes().startswith(before) and len(load(file)) == 9
    assert run_grid(grid, tmp_path, engine, resume=True, progress=False) == kept and len(started) == 5


def test_failed_runs_stay_until_they_are_asked_for_and_then_the_newest_line_counts(tmp_path):
    grid, file = GRIDS["tiny"], tmp_path / "tiny.jsonl"
    Ledger(file).append(sweep_work.measured(EIGHT[0], "It stopped."))
    kept = run_grid(grid, tmp_path, here, resume=True, progress=False)
    assert [r.status for r in kept] == ["failed"] + ["done"] * 7
    assert (plan(grid, tmp_path).failed, len(plan(grid, tmp_path).todo)) == (1, 0)
    assert list(plan(grid, tmp_path, retry_failed=True).todo) == [EIGHT[0].name]
    kept = run_grid(grid, tmp_path, here, retry_failed=True, progress=False)
    assert [r.status for r in kept] == ["done"] * 8 == [r.status for r in load(file)]
    assert len(numbers(file)) == 9 and load(file)[0].seed == 0


def test_what_another_sweep_has_ended_meanwhile_is_not_started(tmp_path):
    grid, file = GRIDS["tiny"], tmp_path / "tiny.jsonl"
    started = []

    def engine(specs):
        for spec in specs:
            started.append(spec.name)
            if len(started) == 2:  # the other sweep ends all but this run, and this one too before we do
                for other in EIGHT:
                    Ledger(file).append(sweep_work.measured(other))
            yield sweep_work.measured(spec)

    assert len(run_grid(grid, tmp_path, engine, progress=False)) == 8
    assert len(started) == 2 and len(numbers(file)) == 8


def test_two_sweeps_walk_a_grid_in_different_orders(tmp_path):
    grid = Grid("thirty", "", TINY, {}, range(30))
    for folder in ("a", "b"):
        run_grid(grid, tmp_path / folder, here, progress=False)
    a, b = (numbers(tmp_path / folder / "thirty.jsonl") for folder in ("a", "b"))
    assert sorted(a) == sorted(b) == list(range(30)) and a != b  # equal once in 30! times


# Processes


def workers_left() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if "LokyProcess" in " ".join(c.cmdline())]


@pytest.mark.parametrize(("deaths", "failed"), [(1, False), (100, True)])
def test_a_worker_that_dies_costs_its_neighbours_nothing_and_its_run_is_tried_again(deaths, failed, tmp_path):
    """Seed 2 of six kills its worker, so often as is said."""
    grid, marks = Grid("six", "", TINY, {}, range(6)), tmp_path / "marks"
    marks.mkdir()
    work = partial(sweep_work.deadly, folder=str(marks), deaths={2: deaths})
    kept = run_grid(grid, tmp_path, partial(processes, workers=2, work=work), progress=False)
    assert [r.seed for r in kept if r.status == "failed"] == [2] * failed and len(kept) == 6
    assert sorted(numbers(tmp_path / "six.jsonl")) == list(range(6))
    assert sorted(mark.name for mark in marks.iterdir()) == ["2.0", "2.1"][: 1 + failed]
    if failed:
        assert kept[2].reason.startswith("Its worker process died twice, the second time alone (exit code SIGKILL(-9))")
    assert workers_left() == []


def test_ctrl_c_in_a_worker_stops_the_sweep(tmp_path):
    work = partial(processes, workers=2, work=sweep_work.interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_grid(GRIDS["tiny"], tmp_path, work, progress=False)
    assert (tmp_path / "tiny.jsonl").read_bytes() == b"" and workers_left() == []


def begun(folder: Path, log: Path, runs: int) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """The command with slow runs in a process group of its own, once so many runs are kept; and its workers."""
    argv = [sys.executable, sweep_work.__file__, "sweep", "tiny", "--folder", str(folder), "--workers", "2"]
    with log.open("w") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True)
    file, deadline, workers = folder / "tiny.jsonl", time.monotonic() + 90, []
    while len(workers) < 2 or runs > (len(file.read_bytes().splitlines()) if file.exists() else 0):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        workers = [p for p in family if p.is_running() and "LokyProcess" in " ".join(p.cmdline())]
    return process, workers


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither SIGKILL nor a SIGINT for process groups")
def test_a_killed_sweep_goes_on_where_its_file_ends(tmp_path, capsys):
    process, workers = begun(tmp_path, tmp_path / "log", runs=2)
    process.kill()
    process.wait()
    assert psutil.wait_procs(workers, timeout=30)[1] == [], "workers outlive a sweep that was killed"
    before = (tmp_path / "tiny.jsonl").read_bytes()
    assert len(load(tmp_path / "tiny.jsonl")) < 8
    assert command.main(["sweep", "tiny", "--folder", str(tmp_path), "--workers", "2", "--resume", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1])["done"] == 8 and "Traceback" not in err
    assert (tmp_path / "tiny.jsonl").read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert sorted(r.key for r in load(tmp_path / "tiny.jsonl")) == sorted(spec.name for spec in EIGHT)
    assert len(numbers(tmp_path / "tiny.jsonl")) == 8


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither SIGKILL nor a SIGINT for process groups")
@pytest.mark.parametrize("runs", [0, 1, 2])
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(runs, tmp_path):
    log = tmp_path / "log"
    process, workers = begun(tmp_path, log, runs)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130, log.read_text()
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    kept = len(load(tmp_path / "tiny.jsonl")) if runs else 0
    again = f"python -m matchlib sweep tiny --folder {tmp_path} --workers 2 --resume"
    said = f"Interrupted: {kept} of 8 runs are kept in {tmp_path / 'tiny.jsonl'}. To go on: {again}"
    assert log.read_text().splitlines()[-1] == said
    assert "Traceback" not in log.read_text(), log.read_text()
    assert runs <= kept < 8


def test_a_place_that_cannot_be_written_is_told_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("")

    def never(specs):
        raise AssertionError("a run was asked for")
        yield

    with pytest.raises(RunError, match="cannot be written .*: free some space or choose another folder"):
        run_grid(GRIDS["tiny"], tmp_path / "file", never)


# The choice of an engine


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"engine": "abacus"}, "engine='abacus' is not known: choose one of auto, processes, ensemble"),
        ({"workers": 0}, "workers=0 must be at least 1"),
    ],
)
def test_an_engine_that_is_not_there_gets_one_sentence(given, sentence):
    with pytest.raises(RunError, match=sentence):
        choose_engine(**given)


def test_the_engine_is_said_with_its_reason(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    engine, said = choose_engine(workers=3)
    assert engine.keywords == {"workers": 3} and said.startswith("Engine: 3 process(es) of ") and "no CUDA" in said
    engine, said = choose_engine(dask="tcp://host:1")
    assert engine.keywords == {"address": "tcp://host:1", "flying": None} and "Dask cluster at tcp://host:1" in said
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_engine("processes")[1].endswith("one thread each, as asked.")
    monkeypatch.setattr(sweep, "pick_device", lambda: torch.device("cuda:0"))
    engine, said = choose_engine()
    assert engine.func is sweep.ensembles and engine.keywords == {"members": 64}
    assert said == "Engine: ensembles of up to 64 runs on cuda:0, for a CUDA device is free."
    assert choose_engine("ensemble", workers=8)[1].startswith("Engine: ensembles of up to 8 runs on cuda:0, as asked")
    monkeypatch.setattr(sweep, "pick_device", lambda: torch.device("cpu"))  # the GPU is busy
    engine, said = choose_engine(workers=2)
    assert engine.keywords == {"workers": 2} and said.endswith("for no CUDA device is free.")


def test_the_shipped_records_are_read_and_match_their_keys():
    for record in load(Path(command.__file__).parent.parent / "course" / "runs" / "fresh.jsonl"):
        assert record.key == run_name(record.task, record.model, record.train, record.seed)
        assert len(record.line) < 4_000
