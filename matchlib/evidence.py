"""How an experiment is written down: hypothesis, prediction, hits with an interval, controls, and a verdict by rule.

The rule was sharpened once, early on and after control models had been seen (it had not asked for one half, nor to beat
every control), and has stood since, for the held-out seeds of `matchlib.findings` too. An experiment predicts
a token for each sequence, or how often the right answer comes.

- A token (expected rate 1): *supported* where at least 0.9 of the predictions come true, *in part* where at least half
  do, both only if more do than under every control, interval against interval; else *contradicted*.
- A rate: *supported* where the rate is within 0.05 of the expected one; *in part* within 0.1; else *contradicted*.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt

from torch import Tensor

Z = 1.959964  # two-sided 95 % of the normal distribution
SUPPORTED, IN_PART, CONTRADICTED = "supported", "in part", "contradicted"


@dataclass(frozen=True)
class Count:
    """So many hits among n. Raises ValueError for numbers that cannot be that."""

    hits: int
    n: int

    def __post_init__(self):
        if not 0 <= self.hits <= self.n or self.n < 1:
            raise ValueError(f"{self.hits} hits of {self.n} cannot be: give 0 <= hits <= n and n >= 1.")

    @classmethod
    def of(cls, hits: Tensor) -> "Count":
        """Of a tensor of truth values."""
        return cls(int(hits.sum()), hits.numel())

    @property
    def rate(self) -> float:
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson (1927): it stays in [0, 1], and is honest at 0 and n hits too."""
        p, n, square = self.rate, self.n, Z * Z
        middle = (p + square / (2 * n)) / (1 + square / n)
        half = Z / (1 + square / n) * sqrt(p * (1 - p) / n + square / (4 * n * n))
        return (middle - half if self.hits else 0.0), (middle + half if self.hits < n else 1.0)  # exact at the borders

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.rate:.3f} [{low:.3f}, {high:.3f}] of {self.n}"


@dataclass(frozen=True)
class Finding:
    """What one experiment on one model came to."""

    name: str
    hypothesis: str
    prediction: str
    model: str
    before: Count  # how often the untouched model names the right answer, on the same sequences
    found: Count  # how often the prediction came true
    expected: float = 1.0  # how often it should
    controls: dict[str, Count] = field(default_factory=dict)  # the same prediction, where nothing should bring it about

    @property
    def verdict(self) -> str:
        """By the rule at the head of this file."""
        if self.expected < 1:
            off = round(abs(self.found.rate - self.expected), 9)  # 0.2 - 0.15 is a trifle above 0.05
            return SUPPORTED if off <= 0.05 else IN_PART if off <= 0.1 else CONTRADICTED
        if not all(self.found.interval[0] > control.interval[1] for control in self.controls.values()):
            return CONTRADICTED
        return SUPPORTED if self.found.rate >= 0.9 else IN_PART if self.found.rate >= 0.5 else CONTRADICTED

    @property
    def record(self) -> dict:
        """The same as JSON can keep it; `Finding.read` reads it back."""
        return asdict(self)

    @classmethod
    def read(cls, record: dict) -> "Finding":
        controls = {name: Count(**c) for name, c in record["controls"].items()}
        return cls(
            **{**record, "before": Count(**record["before"]), "found": Count(**record["found"]), "controls": controls}
        )


@dataclass(frozen=True)
class Spread:
    """One experiment over several trained seeds: the sequences of one seed share its weights, so seeds are counted."""

    name: str
    rates: tuple[float, ...]

    @property
    def confidence(self) -> float:
        """How surely the median seed lies between the lowest and the highest of these: 1 - 2^(1 - k) for k seeds.

        Exact and free of any distribution: all k fall on one side of the median with probability 2 / 2^k.
        """
        return 1 - 2.0 ** (1 - len(self.rates))

    @property
    def range(self) -> tuple[float, float]:
        return min(self.rates), max(self.rates)

    def __str__(self) -> str:
        low, high = self.range
        return f"{low:.3f} to {high:.3f} over {len(self.rates)} seeds ({self.confidence:.0%} for the median seed)"


def spread(findings: Sequence[Finding]) -> Spread:
    """The spread of one experiment over models. Raises ValueError for findings of several experiments, or none."""
    names = sorted({f.name for f in findings})
    if len(names) != 1:
        raise ValueError(f"A spread is of one experiment and these are {names}: choose findings of one name.")
    return Spread(names[0], tuple(f.found.rate for f in findings))
