"""The runs of a sweep as cells: the seeds of one setting together, a measure of each, and their spread.

    by = cells(load("course/runs/phase.jsonl"), "model.layernorm", "model.gamma")
    spread(by["post", 0.9], "test")            median, least and most over its seeds, and how many there are
    by_kind(by["post", 0.9])                   how many of each kind of solution

A run *generalises* at the first measurement at which its test accuracy is at least 0.95. One that never does is
*censored* at its last step: it may have done so later, so it counts as "not yet" and is never left out of a median.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf, nan
from statistics import median

from matchlib.kinds import KINDS, kind
from matchlib.ledger import Record, table

GENERAL = 0.95
HELPS, HARMS = 0.8, 0.2  # probabilities of superiority that are called better and worse


@dataclass(frozen=True)
class Measure:
    """A number of each run: what it is called, its unit, its range (None: the steps of the training)."""

    label: str
    unit: str
    top: float | None
    of: Callable[[Record], float]


def generalised(record: Record) -> float:
    """The first evaluated step with test accuracy >= 0.95, infinity where there is none."""
    tests = zip(record.columns["step"], record.columns["test"])
    return next((float(step) for step, test in tests if test >= GENERAL), inf)


def _last(name: str) -> Callable[[Record], float]:
    return lambda record: record.columns[name][-1]


def _least(name: str) -> Callable[[Record], float]:
    """Of all matching layers: a chain of two hops is no stronger than the weaker of its two."""
    return lambda record: min(record.columns[name][-1])


def _found(name: str) -> Callable[[Record], float]:
    return lambda record: record.probed.get(name, nan)


MEASURES: dict[str, Measure] = {
    "test": Measure("test accuracy", "share", 1.0, _last("test")),
    "train": Measure("accuracy on fresh chains of the training rule", "share", 1.0, _last("train")),
    "fit": Measure("accuracy on sequences trained on", "share", 1.0, _last("fit")),
    "ood": Measure("OOD accuracy", "share", 1.0, _last("ood")),
    "ood_as_long": Measure("OOD accuracy, unseen embeddings as long as seen ones", "share", 1.0, _found("ood_as_long")),
    "argmax": Measure("argmax score, weaker layer", "share", 1.0, _least("argmax")),
    "matching": Measure("matching score, weaker layer", "share", 1.0, _least("matching")),
    "generalised": Measure("steps to generalise", "steps", None, generalised),
}


@dataclass(frozen=True)
class Spread:
    """A measure over the runs of a cell; a run that never got there counts as infinity."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def reached(self) -> int:
        """How many are finite."""
        return sum(value < inf for value in self.values)

    @property
    def median(self) -> float:
        """Infinite where half of the runs or more never got there: a median of those that did would flatter."""
        return median(self.values)

    @property
    def range(self) -> tuple[float, float]:
        return min(self.values), max(self.values)


def cells(records: Iterable[Record], *axes: str) -> dict[tuple, list[Record]]:
    """The runs that ended well, by their values on these axes (names as in `ledger.table`), in increasing order.

    Raises ValueError for an axis that is not known.
    """
    done = [record for record in records if record.status == "done"]
    columns = table(done, *axes)
    found: dict[tuple, list[Record]] = {}
    for i, record in enumerate(done):
        key = tuple(_plain(columns[axis][i]) for axis in axes)
        found.setdefault(key, []).append(record)
    return dict(sorted(found.items(), key=lambda item: tuple(map(_rank, item[0]))))


def spread(records: Sequence[Record], measure: str) -> Spread:
    """A measure over the runs of a cell. Raises ValueError for an unknown measure or no run."""
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r} is not known: choose one of {', '.join(MEASURES)}.")
    if not records:
        raise ValueError("A cell without a run has no spread: choose one that the sweep holds.")
    return Spread(tuple(MEASURES[measure].of(record) for record in records))


def superiority(a: Sequence[float], b: Sequence[float]) -> float:
    """How often does a run of `a` take fewer steps than one of `b`? In [0, 1] over all pairs; a tie counts one half.

    Never (infinity) against never is a tie. This is the Mann-Whitney statistic as a share: 0.5 says no difference.
    Raises ValueError where a side has no run.
    """
    if not a or not b:
        raise ValueError(f"{len(a)} against {len(b)} runs cannot be compared: give at least one on each side.")
    return sum((x < y) + (x == y) / 2 for x in a for y in b) / (len(a) * len(b))


def kind_of(record: Record) -> str:
    """Which kind of solution a run found (see `matchlib.kinds`)."""
    return kind({name: record.columns[name][-1] for name in ("fit", "train", "test")}, record.probed)


def by_kind(records: Iterable[Record]) -> dict[str, int]:
    """How many runs found each kind of solution; every kind is named."""
    found = Counter(map(kind_of, records))
    return {name: found[name] for name in KINDS}


def _plain(value):
    """A number or text that compares and prints as such, from a cell of a numpy column."""
    return value.item() if hasattr(value, "item") else value


def _rank(value) -> tuple:
    """None, a training set without an end, is larger than any number."""
    return (2, 0) if value is None else (1, value) if isinstance(value, str) else (0, value)
