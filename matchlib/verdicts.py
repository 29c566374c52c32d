"""How a claim of the paper is judged, by rules that were written down before the runs that they judge.

"A helps, against B". A comparison is one setting that differs in A and B alone. Its effect is how often a run with A
takes fewer steps to generalise than one with B (`cells.superiority`): *better* at 0.8 or more, *worse* at 0.2 or less.
A setting in which no run of either side generalises is *silent*: it tells nothing, and is counted apart. Of the rest:

    reproduced        better in at least two thirds, worse in none
    reversed          worse in at least two thirds, better in none
    partly            better in at least one, and in more than are worse
    not reproduced    anything else
    not yet measured  no setting tells anything

"It is done by this mechanism" (`mechanism`) asks how many seeds form it, and how many of its predictions hold there. A
`Claim` is what the paper says, with what we observed at each scale. Source: ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import inf

from matchlib.cells import HARMS, HELPS, Spread, generalised, superiority
from matchlib.ledger import CONFIGS, Record

BETTER, WORSE, SAME, SILENT = "better", "worse", "no difference", "silent"
REPRODUCED, PARTLY, NOT_REPRODUCED, REVERSED, NOT_MEASURED = WORDS = (
    "reproduced", "partly", "not reproduced", "reversed", "not yet measured",
)  # fmt: skip
NOT_JUDGED = "not judged"  # what was seen but is no fair comparison
HOLD, HOLD_IN_PART = 0.9, 0.5  # shares of a mechanism's predictions, as in `evidence`


@dataclass(frozen=True)
class Comparison:
    """One setting, by the names of its fields ("model.gamma"), and the steps to generalise of both sides' runs."""

    setting: dict
    a: Spread
    b: Spread

    @cached_property
    def effect(self) -> float:
        """How often is a run with A faster? In [0, 1]; never against never counts one half."""
        return superiority(self.a.values, self.b.values)

    @property
    def outcome(self) -> str:
        """One of better, worse, no difference, silent."""
        if not self.a.reached and not self.b.reached:
            return SILENT
        return BETTER if self.effect >= HELPS else WORSE if self.effect <= HARMS else SAME

    @property
    def called(self) -> str:
        """The setting in words, e.g. "split train, d_head 4"."""
        return ", ".join(f"{name.split('.')[1]} {value}" for name, value in self.setting.items())

    @property
    def record(self) -> dict:
        """The same as JSON can keep it: a run that never generalises is null."""
        sides = {name: [v if v < inf else None for v in getattr(self, name).values] for name in ("a", "b")}
        return {"setting": self.setting, **sides, "effect": self.effect, "outcome": self.outcome}


@dataclass(frozen=True)
class Verdict:
    """A word, and the settings that it was reached by: how many are better, worse, no different, and silent."""

    word: str
    better: int = 0
    worse: int = 0
    same: int = 0
    silent: int = 0

    @property
    def n(self) -> int:
        """The settings that tell something."""
        return self.better + self.worse + self.same

    def __str__(self) -> str:
        said = f"better in {self.better} of {self.n} settings, worse in {self.worse}, no difference in {self.same}"
        return said + (f"; silent in {self.silent} more" if self.silent else "")


@dataclass(frozen=True)
class Scale:
    """What we observed at one size or length of training. judged: the comparisons that the verdict was reached by."""

    name: str
    observed: str
    verdict: Verdict = Verdict(NOT_MEASURED)
    judged: tuple[Comparison, ...] = ()


PAPER = Scale("paper", "not run: needs a GPU")


@dataclass(frozen=True)
class Claim:
    """A claim in our words, and what became of it. The first scale decides; records: names of files."""

    id: str
    says: str
    lesson: str
    figure: str = "to come"
    records: tuple[str, ...] = ()
    scales: tuple[Scale, ...] = (Scale("any scale", "nothing yet"),)
    qualified: str = ""  # what a reader must know beside the word of the first scale

    @property
    def verdict(self) -> str:
        """The word of the first scale."""
        return self.scales[0].verdict.word

    @property
    def record(self) -> dict:
        """The same as JSON can keep it."""
        scales = [
            {"scale": scale.name, "observed": scale.observed, "verdict": scale.verdict.word}
            | {outcome: getattr(scale.verdict, outcome) for outcome in ("better", "worse", "same", "silent")}
            | {"comparisons": [comparison.record for comparison in scale.judged]}
            for scale in self.scales
        ]
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        return kept | {"records": list(self.records), "verdict": self.verdict, "scales": scales}


def judge(comparisons: Iterable[Comparison]) -> Verdict:
    """The verdict on "A helps, against B", by the rule at the head of this file."""
    found = [comparison.outcome for comparison in comparisons]
    better, worse, same, silent = counts = [found.count(outcome) for outcome in (BETTER, WORSE, SAME, SILENT)]
    told = better + worse + same
    if not told:
        word = NOT_MEASURED
    elif 3 * better >= 2 * told and not worse:
        word = REPRODUCED
    elif 3 * worse >= 2 * told and not better:
        word = REVERSED
    else:
        word = PARTLY if better > worse else NOT_REPRODUCED
    return Verdict(word, *counts)


def mechanism(formed: int, seeds: int, held: int, predictions: int) -> Verdict:
    """The verdict on "it is done by this mechanism".

    formed, seeds: how many seeds form it, of how many. held, predictions: how many of its predictions come true in
    those that do, of how many. Reproduced: it forms in at least two thirds, and at least 0.9 hold. Partly: it forms at
    all, and at least half hold. Not yet measured: no seed, or no prediction. Raises ValueError for impossible counts.
    """
    if not 0 <= formed <= seeds or not 0 <= held <= predictions:
        raise ValueError(f"{formed} of {seeds} seeds and {held} of {predictions} predictions cannot be: count again.")
    if not seeds or not predictions:
        return Verdict(NOT_MEASURED)
    if 3 * formed >= 2 * seeds and held / predictions >= HOLD:
        return Verdict(REPRODUCED)
    return Verdict(PARTLY if formed and held / predictions >= HOLD_IN_PART else NOT_REPRODUCED)


def steps(records: Sequence[Record]) -> Spread:
    """The steps to generalise of some runs, infinity where one never does; a run that failed never does."""
    return Spread(tuple(generalised(record) if record.status == "done" else inf for record in records))


def pooled(spreads: Iterable[Spread]) -> Spread:
    """Several cells as one."""
    return Spread(tuple(value for spread in spreads for value in spread.values))


def told(spread: Spread) -> str:
    """A side in words: how many runs generalise, of how many, and their steps; "never" counts in median and range."""
    if not spread.n:
        return "no run"
    middle, low, high = ("never" if x == inf else f"{x:,.0f}" for x in (spread.median, *spread.range))
    return f"{spread.reached} of {spread.n}" + (f" (median {middle}, {low} to {high})" if spread.reached else "")


def fields_of(record: Record) -> dict:
    """Every field of a run's configs by its name, e.g. "model.gamma"; the seed is none of them."""
    configs = {name: getattr(record, name) for name in CONFIGS}
    return {f"{name}.{f.name}": getattr(config, f.name) for name, config in configs.items() for f in fields(config)}


def versus(records: Iterable[Record], axis: str, a, b, free: Sequence[str] = ()) -> list[Comparison]:
    """The comparisons that some records allow: pairs of cells that differ in one field alone, A there and B here.

    free: fields that may differ as well, such as a learning rate that was tuned for each side. A setting is named by
    the fields that vary among the comparisons. Raises ValueError for an axis that is not a field.
    """
    sides: dict[tuple, tuple[list[Record], list[Record]]] = {}
    for record in records:
        found = fields_of(record)
        if axis not in found:
            raise ValueError(f"axis={axis!r} is not a field: choose one such as 'model.gamma' or 'train.weight_decay'.")
        if found[axis] in (a, b):
            key = tuple((name, value) for name, value in found.items() if name != axis and name not in free)
            sides.setdefault(key, ([], []))[found[axis] == b].append(record)
    both = {key: pair for key, pair in sides.items() if all(pair)}
    varied = [name for i, (name, _) in enumerate(next(iter(both), ())) if len({key[i][1] for key in both}) > 1]
    return [
        Comparison({name: value for name, value in key if name in varied}, *map(steps, pair))
        for key, pair in both.items()
    ]


def compared(scale: str, what: str, kept: list[Record], by: Mapping[float, list[Comparison]], sides: Mapping) -> Scale:
    """A scale of comparisons by gamma. sides: the steps to generalise of all runs of a side, by its name."""
    every = [replace(c, setting={"model.gamma": gamma, **c.setting}) for gamma, found in by.items() for c in found]
    verdict, many = judge(every), sorted({spread.n for c in every for spread in (c.a, c.b)}) or [0]
    seeds = " to ".join(map(str, dict.fromkeys((many[0], many[-1]))))
    each = ", ".join(f"{gamma}: {v.better}/{v.worse}/{v.same}" for gamma, v in zip(by, map(judge, by.values())))
    observed = (
        f"{what}, {seeds} seeds a side, {max(r.train.steps for r in kept):,} steps: {verdict}. Better/worse/no "
        f"difference by gamma, {each}. Runs that generalise, "
        + "; ".join(f"{name}: {told(spread)}" for name, spread in sides.items())
    )
    return Scale(scale, observed, verdict, tuple(every))
