"""Claim C4, orthogonal noise helps: every noise at its best start and learning rate, at each size that was run."""

from pathlib import Path

from matchlib.arms import rank
from matchlib.ledger import Record
from matchlib.record import RunError
from matchlib.shelf import command_for, records
from matchlib.verdicts import PAPER, Claim, Scale, judge, told, versus

TUNED_A_SIDE = ("train.lr", "model.alpha", "model.beta")  # each side takes the best of these
RIVALS = (("orthogonal", "identity"), ("orthogonal", "gaussian"), ("identity", "none"), ("gaussian", "none"))
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
    )


def _at_size(folder: Path, size: str) -> Scale:
    kept = noise_arms(folder, size)
    found = versus(kept, "model.noise", "orthogonal", "none", TUNED_A_SIDE)
    verdict = judge(found)
    each = "; ".join(f"{c.called}: {told(c.a)} against {told(c.b)}, {c.outcome}" for c in found)
    rivals = {f"{a} against {b}": judge(versus(kept, "model.noise", a, b, TUNED_A_SIDE)) for a, b in RIVALS}
    observed = (
        f"Orthogonal noise against none, each at the start and learning rate that validation seeds chose, "
        f"{max(r.train.steps for r in kept):,} steps: {verdict}. Runs that generalise, {each}. Beside it: "
        + "; ".join(f"{pair}, {verdict}" for pair, verdict in rivals.items())
    )
    return Scale(size, observed, verdict, tuple(found))


def noise_arms(folder: Path, size: str = "mini") -> list[Record]:
    """The reported runs of each noise and condition, at the start that did best on the validation seeds."""
    tuning, reported = f"{SWEEPS[size]}_tuning.jsonl", records(folder, f"{SWEEPS[size]}.jsonl")
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
