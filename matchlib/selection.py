"""How the preset `small` was chosen, and whether it holds: the grid `selection`, then `small` on the seeds of `fresh`.

    python -m matchlib.selection        fills course/runs/selection.jsonl and fresh.jsonl; goes on after a stop

A run succeeds when, at one evaluation, test accuracy is at least 0.99 and the argmax score at least 0.95 in every
matching layer. The winner is the setting with the most successes on the grid's seeds, ties broken by the fewer median
steps. The fresh seeds take no part in the choice: their weights, training and test chains are all new.
"""

from collections.abc import Iterable
from itertools import product
from statistics import median

from matchlib.grids import GAMMAS, GRIDS, LEARNING_RATES
from matchlib.presets import PRESETS
from matchlib.runs import SHIPPED
from matchlib.sweep import Record, load, run_grid

RECORD, FRESH_RECORD = SHIPPED / "selection.jsonl", SHIPPED / "fresh.jsonl"
SEEDS, FRESH_SEEDS = GRIDS["selection"].seeds, GRIDS["fresh"].seeds


def chosen() -> list[Record]:
    """The shipped records of the grid that `small` was chosen from."""
    return load(RECORD)


def fresh() -> list[Record]:
    """The shipped records of `small` on seeds that had no say."""
    return load(FRESH_RECORD)


def winner(records: Iterable[Record]) -> tuple[float, float]:
    """Learning rate and gamma with the most successes on the choosing seeds, then the fewest median steps."""
    kept = [r for r in records if r.seed in SEEDS]

    def rank(cell: tuple[float, float]) -> tuple[int, float]:
        steps = [r.matched for r in kept if (r.train.lr, r.model.gamma) == cell]
        hits = [s for s in steps if s is not None]
        return -len(hits), median(hits) if hits else float("inf")

    return min(product(LEARNING_RATES, GAMMAS), key=rank)


if __name__ == "__main__":
    lr, gamma = winner(run_grid(GRIDS["selection"], SHIPPED, resume=True))
    small = PRESETS["small"]
    print(f"best of the grid: lr {lr}, gamma {gamma}; `small` has lr {small.train.lr}, gamma {small.model.gamma}")
    held = run_grid(GRIDS["fresh"], SHIPPED, resume=True)
    print(f"`small` on fresh seeds: {sum(r.matched is not None for r in held)} of {len(held)}")
    print("matched at steps", sorted(r.matched or -1 for r in held))
