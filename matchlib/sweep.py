"""Hundreds of runs that survive: a named grid, an engine that trains it, and a file that keeps every run that ended.

    python -m matchlib sweep seeds --resume        goes on where the file sweeps/seeds.jsonl ends
    records = load("sweeps/seeds.jsonl")           one Record a run
    table(records, "model.gamma", "matched")       arrays for plots

Only this process writes the file; workers send text. A kill loses at most the runs in flight. Two sweeps may work on
one file: each walks the grid in an order of its own, skips what the other has finished, and no run is written twice.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from joblib import cpu_count
from tqdm.auto import tqdm

from matchlib.archive import unpack
from matchlib.engines import Engine, cluster, ensembles, processes
from matchlib.grids import Grid, Joined
from matchlib.ledger import Ledger, Record, load, matched, table
from matchlib.presets import RunSpec
from matchlib.record import RunError
from matchlib.train import pick_device

__all__ = [
    "Grid", "Ledger", "Plan", "Record", "choose_engine", "cores", "load", "matched", "outlook", "plan", "run_grid",
    "table",
]  # fmt: skip

ENGINES: dict[str, Callable[[int], Engine]] = {
    "processes": lambda workers: partial(processes, workers=workers),
    "ensemble": lambda members: partial(ensembles, members=members),
}
MEMBERS = 64  # runs trained as one on a GPU, where nothing else is said


@dataclass(frozen=True)
class Plan:
    """What a sweep has and what it lacks."""

    grid: Grid | Joined
    ledger: Ledger
    todo: dict[str, RunSpec]  # by key
    total: int
    done: int
    failed: int
    seconds: float | None  # a run's median so far


def plan(grid: Grid | Joined, folder: str | Path = "sweeps", retry_failed: bool = False) -> Plan:
    """What FOLDER/NAME.jsonl holds of a grid, and what is still to do. Raises RunError for a damaged file."""
    ledger = Ledger(Path(folder) / f"{grid.name}.jsonl")
    unpack(ledger.path)
    ledger.refresh()
    specs = {spec.name: spec for spec in grid.specs()}
    kept = {key: ledger.newest(key) for key in specs}
    failures = {key for key, record in kept.items() if record and record.status == "failed"}
    todo = {key: s for key, s in specs.items() if kept[key] is None or (retry_failed and key in failures)}
    done = [r for r in kept.values() if r and r.status == "done"]
    seconds = median(r.provenance["seconds"] for r in done) if done else None
    return Plan(grid, ledger, todo, len(specs), len(done), len(failures), seconds)


def outlook(now: Plan, workers: int) -> str:
    """What a sweep has and lacks, in one line; the time that is left where records give a run's."""
    said = f"{now.grid.name}: {now.total} runs, {now.done} done, {now.failed} failed, in {now.ledger.path}"
    if now.failed:
        said += " (--retry-failed runs those again)"
    if now.todo:
        said += f"; {len(now.todo)} to do"
    if now.todo and now.seconds is None:
        said += ", and how long it takes can be told when a run has ended"
    elif now.todo:
        left = len(now.todo) * now.seconds / workers
        long = f"{left / 60:.0f} minutes" if left > 90 else f"{left:.0f} seconds"
        said += f", about {long} with {workers} at a time ({now.seconds:.0f} seconds a run so far)"
    return said + "."


def run_grid(
    grid: Grid | Joined,
    folder: str | Path = "sweeps",
    engine: Engine | None = None,
    *,
    resume: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
) -> list[Record]:
    """Run what FOLDER/NAME.jsonl lacks of a grid, and return the grid's records in the grid's order.

    engine: None takes `processes` on every core. resume: go on with a file that holds runs of the grid already.
    retry_failed: also run again those that failed, in which case resume is meant. Raises RunError for a file that is
    there without either, or that cannot be read or written.
    """
    asked = plan(grid, folder, retry_failed)
    ledger = asked.ledger
    if (asked.done or asked.failed) and not (resume or retry_failed):
        raise RunError(
            f"{ledger.path} already holds {asked.done + asked.failed} of the {asked.total} runs of {grid.name!r}: "
            "go on with --resume, or choose another --folder."
        )
    ledger.try_writing()
    seen = {key: ledger.times(key) for key in asked.todo}

    def still_to_do() -> Iterator[RunSpec]:
        order = list(asked.todo.items())
        random.shuffle(order)  # two sweeps on one file meet at few runs only; a run's own seed has no part in this
        for key, spec in order:
            ledger.refresh()
            if ledger.times(key) == seen[key]:
                yield spec

    def finished() -> int:
        return asked.total - sum(ledger.times(key) == seen[key] for key in seen)

    engine = engine or ENGINES["processes"](cores())
    # miniters=0: whatever ended elsewhere counts as well, so the bar is set and not counted up
    with tqdm(total=asked.total, initial=finished(), unit="run", disable=not progress, miniters=0) as bar:
        with closing(engine(still_to_do())) as ended:
            for record in ended:
                ledger.append(record, seen[record.key])
                bar.n = finished()
                bar.refresh()
    ledger.refresh()
    return [record for spec in grid.specs() if (record := ledger.newest(spec.name))]


def cores() -> int:
    """The physical cores that this process may use: how many runs are trained at a time where nothing else is said."""
    return cpu_count(only_physical_cores=True)


def choose_engine(engine: str = "auto", workers: int | None = None, dask: str | None = None) -> tuple[Engine, str]:
    """The engine by name, and one line that says which and why. Raises RunError for one that is not there."""
    if engine not in ("auto", *ENGINES):
        raise RunError(f"engine={engine!r} is not known: choose one of auto, {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise RunError(f"workers={workers} must be at least 1.")
    if dask is not None and engine not in ("auto", "processes"):
        raise RunError(f"engine={engine!r} runs on this machine: leave out --engine or --dask.")
    if dask is not None:
        return partial(cluster, address=dask, flying=workers), f"Engine: the Dask cluster at {dask}, as asked."
    gpu = engine == "auto" and pick_device().type == "cuda"
    chosen = ("ensemble" if gpu else "processes") if engine == "auto" else engine
    why = "as asked" if engine == chosen else f"for {'a' if gpu else 'no'} CUDA device is free"
    many = workers or (MEMBERS if chosen == "ensemble" else cores())
    if chosen == "ensemble":
        return ENGINES[chosen](many), f"Engine: ensembles of up to {many} runs on {pick_device()}, {why}."
    return ENGINES[chosen](many), f"Engine: {many} process(es) of {cores()} core(s), one thread each, {why}."
