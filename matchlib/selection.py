"""How the preset `small` was chosen, and whether it holds: a grid on some seeds, then the winner on ten others.

    python -m matchlib.selection           fills course/runs/selection.jsonl, one line a run; goes on after an interrupt
    python -m matchlib.selection timing    measures on this machine, left alone, how long the fresh seeds take to match

A run succeeds when, at one evaluation, test accuracy is at least 0.99 and the argmax score at least 0.95 in every
matching layer. The winner is the setting with the most successes on seeds 0..2, ties broken by the fewer median steps.
Seeds 100..109 take no part in the choice: their weights, training and test chains are all new.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from tqdm.auto import tqdm

from matchlib.presets import PRESETS, Preset
from matchlib.record import Evaluation, Run, make, write_whole
from matchlib.runs import SHIPPED
from matchlib.train import TrainState, fit, train

RECORD = SHIPPED / "selection.jsonl"
TIMING = SHIPPED / "timing.json"
LEARNING_RATES = (3e-3, 5e-3, 8e-3)
GAMMAS = (0.6, 0.7, 0.8)
SEEDS, FRESH_SEEDS = range(3), range(100, 110)


@dataclass(frozen=True)
class Trial:
    """One training of the grid: what was varied, and what came out."""

    lr: float
    gamma: float
    seed: int
    history: tuple[Evaluation, ...]
    provenance: dict

    @property
    def matched(self) -> int | None:
        """The first evaluated step at which the run succeeds, None where it never does."""
        return matched(self.history)


def matched(history: tuple[Evaluation, ...] | list[Evaluation]) -> int | None:
    """The first evaluated step with test accuracy >= 0.99 and argmax score >= 0.95 in every matching layer."""
    return next((e.step for e in history if e.test >= 0.99 and min(e.argmax) >= 0.95), None)


def setting(lr: float, gamma: float) -> Preset:
    """`small` at another learning rate and gamma."""
    base = PRESETS["small"]
    return Preset(base.task, replace(base.model, gamma=gamma), replace(base.train, lr=lr))


def load(path: Path = RECORD) -> list[Trial]:
    """The trials of the record, in the order in which they ended."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Trial(**{**d, "history": tuple(make(Evaluation, e) for e in d["history"])}) for d in map(json.loads, lines)]


def winner(trials: list[Trial]) -> tuple[float, float]:
    """Learning rate and gamma with the most successes on the choosing seeds, then the fewest median steps."""

    def rank(cell: tuple[float, float]) -> tuple[int, float]:
        steps = [t.matched for t in trials if (t.lr, t.gamma) == cell and t.seed in SEEDS]
        hits = [s for s in steps if s is not None]
        return -len(hits), median(hits) if hits else float("inf")

    return min(product(LEARNING_RATES, GAMMAS), key=rank)


def run_trials(wanted: list[tuple[float, float, int]], path: Path = RECORD, workers: int = 2) -> list[Trial]:
    """Run what the record lacks, one process and one thread a run, and write the record anew after each."""
    trials = load(path)
    missing = [w for w in wanted if w not in {(t.lr, t.gamma, t.seed) for t in trials}]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_trial, *w) for w in missing]
        for future in tqdm(as_completed(futures), total=len(futures), unit="run", disable=not futures):
            trials.append(future.result())
            write_whole(path, "".join(json.dumps(asdict(t)) + "\n" for t in trials).encode())
    return trials


def time_to_match(path: Path = TIMING) -> None:
    """Train `small` on the fresh seeds, one after the other, until it matches; record step and seconds."""
    small, found = PRESETS["small"], []
    for seed in FRESH_SEEDS:
        began, state = perf_counter(), TrainState.new(small.task, small.model, small.train, seed, "cpu")
        step = next((s.step for s in fit(state) if s.evaluation and matched(state.history)), None)
        found.append({"seed": seed, "step": step, "seconds": round(perf_counter() - began, 1)})
        print(found[-1])
    record = {"provenance": state.as_run().provenance, "found": found}
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())


def _trial(lr: float, gamma: float, seed: int) -> Trial:
    torch.set_num_threads(1)
    chosen = setting(lr, gamma)
    run: Run = train(chosen.task, chosen.model, chosen.train, seed, "cpu", progress=False)
    if run.history[-1].step < chosen.train.steps:
        raise KeyboardInterrupt("This trial was stopped: it is no record.")
    return Trial(lr, gamma, seed, tuple(run.history), run.provenance)


if __name__ == "__main__" and sys.argv[1:] == ["timing"]:
    time_to_match()
elif __name__ == "__main__":
    trials = run_trials(list(product(LEARNING_RATES, GAMMAS, SEEDS)))
    lr, gamma = winner(trials)
    trials = run_trials([(lr, gamma, seed) for seed in FRESH_SEEDS])
    fresh = [t for t in trials if (t.lr, t.gamma) == (lr, gamma) and t.seed in FRESH_SEEDS]
    print(f"chosen: lr {lr}, gamma {gamma}; on fresh seeds {sum(t.matched is not None for t in fresh)} of {len(fresh)}")
    print("matched at steps", sorted(t.matched or -1 for t in fresh))
