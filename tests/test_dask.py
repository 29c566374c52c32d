"""A sweep on a real Dask cluster of separate processes: workers that die, runs that kill them, wrong addresses."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import distributed  # noqa: F401, whose import completes the settings that a test changes for a while
import psutil
import pytest
import sweep_work

from matchlib import __main__ as command
from matchlib.engines import cluster
from matchlib.grids import GRIDS, Grid
from matchlib.presets import PRESETS
from matchlib.record import RunError
from matchlib.sweep import run_grid

TWENTY = replace(PRESETS["tiny"], train=replace(PRESETS["tiny"].train, steps=20))


@pytest.fixture(autouse=True)
def impatient():
    """Two seconds, not thirty, for a process that is gone: what a killed worker had kept is asked for in vain."""
    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        yield


def started(*argv: str) -> subprocess.Popen:
    """A Dask command in a process of its own: without a dashboard, and able to import what the tests let workers do."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    env["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"  # a run that kills its worker is given up at once
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "dask", *argv, "--no-dashboard"], env=env, **silent)


def end(process: subprocess.Popen) -> None:
    """Kill a process and all that it started."""
    family = psutil.Process(process.pid).children(recursive=True)
    for member in (*family, process):
        member.kill()
    process.wait()
    psutil.wait_procs(family)


@contextmanager
def scheduler(folder: Path, workers: int):
    """A scheduler on loopback and its workers: the address, and the workers' processes."""
    file = folder / "scheduler.json"
    running = [started("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))]
    try:
        while not file.exists() or not file.read_text().endswith("}"):
            assert running[0].poll() is None, "the scheduler did not start"
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        where = ("--local-directory", str(folder), "--host", "127.0.0.1")
        for _ in range(workers):
            running.append(started("worker", address, "--nthreads", "1", "--nworkers", "1", *where))
        yield address, running[1:]
    finally:
        for process in running:
            if process.poll() is None:
                end(process)


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def test_every_run_arrives_once_although_a_worker_is_killed_half_way(tmp_path):
    grid = Grid("twelve", "", TWENTY, {}, range(12))
    file = tmp_path / "twelve.jsonl"
    with scheduler(tmp_path, workers=2) as (address, workers):

        def engine(specs):
            for n, record in enumerate(cluster(specs, address, work=partial(sweep_work.slow, seconds=0.2)), start=1):
                if n == 4:
                    end(workers[0])
                yield record

        kept = run_grid(grid, tmp_path, engine, progress=False)
    assert workers[0].poll() is not None
    assert [r.key for r in kept] == [spec.name for spec in grid.specs()] and lines(file) == 12
    assert {r.status for r in kept} == {"done"}


def test_a_run_that_kills_every_worker_is_recorded_and_the_rest_arrives(tmp_path):
    grid = Grid("four", "", TWENTY, {}, range(4))
    work = partial(sweep_work.deadly, folder=str(tmp_path), deaths={2: 100})
    with scheduler(tmp_path, workers=1) as (address, _):
        kept = run_grid(grid, tmp_path, partial(cluster, address=address, work=work), progress=False)
    assert [r.status for r in kept] == ["done", "done", "failed", "done"]
    assert (
        "twice, the second time alone (the Dask scheduler gave it up)" in kept[2].reason
        and lines(tmp_path / "four.jsonl") == 4
    )


def test_the_command_trains_on_a_cluster_and_its_address_is_all_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(GRIDS, "two", Grid("two", "", TWENTY, {}, range(2)))
    with scheduler(tmp_path, workers=1) as (address, _):
        argv = ["sweep", "two", "--folder", str(tmp_path), "--dask", address, "--workers", "1", "--json"]
        assert command.main(argv) == 0
    out, err = capsys.readouterr()
    assert json.loads(out.splitlines()[-1]) == {
        "grid": "two", "runs": 2, "done": 2, "failed": 0, "file": str(tmp_path / "two.jsonl"),
    }  # fmt: skip
    assert err.startswith(f"Engine: the Dask cluster at {address}, as asked.")


def test_work_that_no_worker_can_do_ends_the_sweep(tmp_path):
    """As where a worker lacks a package: a hundred failed records would help nobody."""
    with scheduler(tmp_path, workers=1) as (address, _):
        with pytest.raises(RunError, match=r"cannot train \(OSError: no package here\): install this package"):
            run_grid(GRIDS["tiny"], tmp_path, partial(cluster, address=address, work=sweep_work.broken), progress=False)
    assert lines(tmp_path / "tiny.jsonl") == 0


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nowhere at all"])
def test_an_address_without_a_scheduler_gets_one_sentence(address, tmp_path):
    with pytest.raises(RunError, match="does not answer .*start 'dask scheduler' there"):
        run_grid(GRIDS["tiny"], tmp_path, partial(cluster, address=address), progress=False)
