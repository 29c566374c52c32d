"""Claim C4, orthogonal noise helps: every noise at its best start and learning rate, at each size that was run."""

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

from matchlib.arms import rank
from matchlib.cells import HELPS
from matchlib.ledger import Record
from matchlib.record import RunError
from matchlib.shelf import command_for, records
from matchlib.verdicts import BETTER, PAPER, Claim, Comparison, Scale, fields_of, judge, told, versus

TUNED_A_SIDE = ("train.lr", "model.alpha", "model.beta")  # each side takes the best of these
RIVALS = (("orthogonal", "identity"), ("orthogonal", "gaussian"), ("identity", "none"), ("gaussian", "none"))
FIRST_STARTS = (0.0, 1.0)  # of the scalars, as the sweep was run first; 0.3 was added to it
SWEEPS = {"mini": "noise", "small": "noise_small", "middle": "noise_middle"}  # by size; each has its NAME_tuning


def c4(folder: Path) -> Claim:
    """Orthogonal noise against none, each at its best start and learning rate; and against its rivals."""
    return Claim(
        "C4",
        "Orthogonal noise helps the model to reason",
        "06",
        "steps to generalise by noise",
        tuple(f"{name}.jsonl" for sweep in SWEEPS.values() for name in (f"{sweep}_tuning", sweep)),
        (*(_at_size(folder, size) for size in SWEEPS), PAPER),
        _hanging(folder),
    )


def _at_size(folder: Path, size: str) -> Scale:
    kept = noise_arms(folder, size)
    found = [_started(c, kept) for c in versus(kept, "model.noise", "orthogonal", "none", TUNED_A_SIDE)]
    verdict = judge(found)
    each = "; ".join(f"{c.called}: {told(c.a)} against {told(c.b)}, {c.outcome}" for c in found)
    rivals = {f"{a} against {b}": judge(versus(kept, "model.noise", a, b, TUNED_A_SIDE)) for a, b in RIVALS}
    observed = (
        f"Orthogonal noise against none, each at the start and learning rate that validation seeds chose, "
        f"{max(r.train.steps for r in kept):,} steps: {verdict}. Runs that generalise, {each}. Beside it: "
        + "; ".join(f"{pair}, {verdict}" for pair, verdict in rivals.items())
    )
    return Scale(size, observed, verdict, tuple(found))


def _started(comparison: Comparison, kept: Sequence[Record]) -> Comparison:
    """The same with the start of the orthogonal side in its setting: runs from another start may end otherwise."""
    (start,) = {
        r.model.alpha
        for r in kept
        if r.model.noise == "orthogonal" and comparison.setting.items() <= fields_of(r).items()
    }
    return replace(comparison, setting=comparison.setting | {"noise.start": int(start) if start % 1 == 0 else start})


def _hanging(folder: Path) -> str:
    """Of the first size: does the word hang on one comparison that lies just on the limit? Then which; else empty."""
    kept = noise_arms(folder)
    found = [_started(c, kept) for c in versus(kept, "model.noise", "orthogonal", "none", TUNED_A_SIDE)]
    just = [c for c in found if c.outcome == BETTER and abs(c.effect - HELPS) < 1e-9]
    if len(just) != 1 or judge([*(c for c in found if c not in just), _undecided(just[0])]).word == judge(found).word:
        return ""
    pairs = just[0].a.n * just[0].b.n
    limit = f"exactly {round(HELPS * pairs)} of {pairs} pairs, the least that counts"
    said = f"by one comparison at {limit} ({just[0].called})"
    first = judge(versus(noise_arms(folder, starts=FIRST_STARTS), "model.noise", "orthogonal", "none", TUNED_A_SIDE))
    return said if first.word == judge(found).word else f"{said}; with starts 0 and 1 alone, as run first, {first.word}"


def _undecided(comparison: Comparison) -> Comparison:
    """The same setting with two equal sides."""
    return replace(comparison, a=comparison.b)


def noise_arms(folder: Path, size: str = "mini", starts: Container[float] | None = None) -> list[Record]:
    """The reported runs of each noise and condition, at the start that did best on the validation seeds.

    starts: of these alone, where some are given.
    """
    tuning, reported = f"{SWEEPS[size]}_tuning.jsonl", records(folder, f"{SWEEPS[size]}.jsonl")
    reported = [r for r in reported if starts is None or r.model.noise == "none" or r.model.alpha in starts]
    tuned: dict[tuple, list[Record]] = {}
    for r in records(folder, tuning):
        tuned.setdefault(arm(r), []).append(r)

    def order(one: tuple) -> tuple:
        if one not in tuned:
            raise RunError(f"{tuning} holds no run of {one}: go on with it by '{command_for(tuning)} --resume'.")
        return rank(tuned[one]), one

    best: dict[tuple, tuple] = {}
    for one in sorted({arm(r) for r in reported}):
        best[one[:3]] = min(one, best.get(one[:3], one), key=order)
    return [r for r in reported if arm(r) in best.values()]


def arm(record: Record) -> tuple:
    """Condition and noise; then where its scalars start, and the learning rate."""
    model, train = record.model, record.train
    return train.split, model.d_head, model.noise, model.alpha, train.lr
