"""Runs with noise, sorted: which belong together, which learning rate suits them, and who is faster.

A *condition* is what was trained on what: with or without the residue rule, and d_head. An *arm* is a noise and where
its scalars start. `arms(records)` sorts the records of a sweep into conditions, and these into arms:

    groups = arms(load("course/runs/noise.jsonl"))
    groups["no rule, d_head 4"]["orthogonal, start 1"]         its runs, in the order of their seeds
    against_none(groups)["no rule, d_head 4"]                  probability of superiority of each arm

Source: ours.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import inf
from statistics import fmean, median

import numpy as np

from matchlib.cells import HARMS, HELPS, generalised, superiority
from matchlib.ledger import OF_NOISE, Record
from matchlib.model import NOISES

NONE = "none"
Groups = Mapping[str, Sequence[Record]]


def arm_of(record: Record) -> str:
    """A noise and its start in words: "orthogonal, start 0.3"."""
    cfg = record.model
    if cfg.noise == NONE:
        return NONE
    start = f"start {cfg.alpha:g}" if cfg.alpha == cfg.beta else f"alpha {cfg.alpha:g}, beta {cfg.beta:g}"
    return f"{cfg.noise}, {start}"


def condition_of(record: Record) -> str:
    """What was trained on what, in words: "no rule, d_head 4"."""
    return f"{'residue rule' if record.train.split == 'train' else 'no rule'}, d_head {record.model.d_head}"


def arms(records: Iterable[Record]) -> dict[str, dict[str, list[Record]]]:
    """The runs by condition and arm, those without noise first. A failed run stays: it has not generalised."""

    def order(r: Record) -> tuple:
        return r.train.split, r.model.d_head, NOISES.index(r.model.noise), r.model.alpha, r.model.beta, r.seed

    found: dict[str, dict[str, list[Record]]] = {}
    for r in sorted(records, key=order):
        found.setdefault(condition_of(r), {}).setdefault(arm_of(r), []).append(r)
    return found


def best_rate(records: Sequence[Record]) -> float:
    """The learning rate at which most seeds generalise; then fewest median steps of these; then most test accuracy.

    For the records of one arm, at several rates. Raises ValueError for none.
    """
    if not records:
        raise ValueError("Without a record no learning rate is best: give the runs of an arm.")

    return min(sorted({r.train.lr for r in records}), key=lambda rate: rank([r for r in records if r.train.lr == rate]))


def rank(runs: Sequence[Record]) -> tuple[float, float, float]:
    """How well the seeds of one setting do, smaller is better: by the rule of `best_rate`."""
    hits = [step for step in map(generalised, runs) if step < inf]
    return -len(hits), median(hits or [inf]), -fmean((r.columns["test"] or [0.0])[-1] for r in runs)


def over_seeds(label: str, records: Sequence[Record], column: str) -> tuple[np.ndarray, ...]:
    """Steps that all seeds measured; least, median and most over seeds there: [step], or [step, layer] for scalars.

    Of scores the weaker layer counts; failed runs are left out. Raises ValueError where nothing is left to draw.
    """
    done = [r for r in records if r.status == "done"]
    steps = sorted(set.intersection(*(set(r.columns["step"]) for r in done))) if done else []
    if not steps:
        raise ValueError(f"{label!r} has no run that ended, or its runs no step in common: choose other records.")
    values = np.array([r.column(column)[np.isin(r.columns["step"], steps)] for r in done])
    if values.ndim == 3 and column not in OF_NOISE:
        values = values.min(axis=-1)
    return np.array(steps), values.min(axis=0), np.median(values, axis=0), values.max(axis=0)


def against_none(groups: Mapping[str, Groups]) -> dict[str, dict[str, float]]:
    """How often is a seed of an arm faster than one without noise? Probability of superiority by condition and arm.

    Raises ValueError where a condition has no runs without noise.
    """
    check_groups(groups)
    if lacking := [condition for condition, by_arm in groups.items() if NONE not in by_arm]:
        raise ValueError(f"{lacking[0]!r} has no arm {NONE!r} to compare with: add its runs without noise.")
    steps = {c: {a: list(map(generalised, rs)) for a, rs in by_arm.items()} for c, by_arm in groups.items()}
    return {c: {a: superiority(of, by[NONE]) for a, of in by.items() if a != NONE} for c, by in steps.items()}


def by_chance(n: int) -> float:
    """How often two arms of n runs each that do not differ, and have no ties, would be called better or worse."""

    @cache
    def ways(a: int, b: int) -> Counter:
        """In how many orders of a and b runs the first are faster in so many pairs."""
        if not a or not b:
            return Counter({0: 1})
        last_is_of_a = ways(a - 1, b)  # it is faster than none of b
        last_is_of_b = Counter({pairs + a: count for pairs, count in ways(a, b - 1).items()})
        return last_is_of_a + last_is_of_b

    found = ways(n, n)
    called = sum(count for pairs, count in found.items() if zone(pairs / n**2) != "unclear")
    return called / found.total()


def zone(share: float) -> str:
    """What a probability of superiority is called: better, worse or unclear."""
    return "better" if share >= HELPS - 1e-9 else "worse" if share <= HARMS + 1e-9 else "unclear"


def check_groups(groups: Mapping[str, Groups]) -> None:
    """Raises ValueError unless there is a condition, and every condition has arms with runs."""
    if not groups or not all(by_arm and all(by_arm.values()) for by_arm in groups.values()):
        raise ValueError("A condition or an arm is empty: give {condition: {arm: records}}, a run each at least.")


def counted(records: Sequence[Record]) -> str:
    """How many runs are drawn, and how many failed."""
    failed = sum(r.status != "done" for r in records)
    return f"n = {len(records) - failed}" + (f", {failed} failed" if failed else "")


def span(values: Iterable[int]) -> str:
    """Least and most in words: "4", or "4 to 32"."""
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
