"""Figures of "one step at a time": how far does writing carry, and how do its errors add up?

They take the records of `matchlib.aloud`, return a Figure (see `matchlib.style`), and run no model.
"""

from collections.abc import Sequence
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchlib.aloud import CHANCE, HOPS, N_EDGES, ONE_PASS, SIZES, Told
from matchlib.rules import bounds
from matchlib.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, SMALL, VERMILLION, canvas, styled
from matchlib.writing import FEW, WAYS

LOOKS = {
    "all": (GREEN, "s", "--"), "shifted": (BLUE, "o", "-"), "few": (ORANGE, "^", "-."), ONE_PASS: (VERMILLION, "X", ":")
}  # fmt: skip
TAUGHT = {
    "all": f"taught on {N_EDGES - 1} nodes",
    "few": f"taught on {FEW} nodes",
    "shifted": f"taught on {FEW} nodes, shifted",
}


@styled
def accuracy_by_hops(told: Sequence[Told], ways: Sequence[str] = WAYS, title: str | None = None) -> Figure:
    """How often is the node so many steps on the right one, written or said at once?

    A line goes through the medians of the seeds, a band or a bar reaches from the lowest to the highest. Raises
    ValueError where a way has no record.
    """
    figure, (ax,) = canvas(4.6, title or _reach_title(told, ways))
    for k, way in enumerate(ways):
        colour, marker, line = LOOKS[way]
        rates = list(zip(*(one.score.accuracy for one in of(told, way)), strict=True))
        hops = range(1, len(rates) + 1)
        ax.fill_between(hops, [min(r) for r in rates], [max(r) for r in rates], color=colour, alpha=0.15, lw=0)
        look = {"marker": marker, "ms": 10 - 2 * k, "ls": line, "color": colour}  # where they agree, all are seen
        ax.plot(hops, [median(r) for r in rates], label=f"written, {TAUGHT[way]}", **look)
    colour, marker, line = LOOKS[ONE_PASS]
    low, middle, high = zip(*(spread(told, hops) for hops in HOPS), strict=True)
    reach = [[m - a for a, m in zip(low, middle)], [b - m for b, m in zip(high, middle)]]
    ax.errorbar(HOPS, middle, reach, marker=marker, ls=line, color=colour, ms=7, capsize=3, label="in one pass")
    ax.axhline(CHANCE, color=GREY, lw=1, ls="--")
    ax.text(sum(HOPS[-2:]) / 2, CHANCE + 0.015, f"chance {CHANCE:.2f}", color=GREY, size=SMALL, ha="center")
    least, most = bounds(SIZES.n_layers)
    ax.axvline(most + 0.5, color=INK, lw=1)
    what = f"{least}" if least == most else f"{least} to {most}"
    ax.text(most + 0.6, 1.06, f"the rules: {SIZES.n_layers} layers, one pass: {what} step", size=SMALL, va="center")
    ax.set(xlabel="steps from the start", ylabel="accuracy", ylim=(-0.03, 1.12), xlim=(0.6, N_EDGES - 0.6))
    ax.set_xticks(range(1, N_EDGES))
    ax.grid(axis="y", color=PALE, lw=0.6)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2)
    return figure


@styled
def compounding(told: Sequence[Told], title: str | None = None) -> Figure:
    """Do steps fail independently of each other? Each mark is one model at one moment of its training.

    Left: the measured accuracy at the last node against the product of its single steps. Right: the same numbers
    against the mean step, beside p^n.
    """
    figure, (left, right) = canvas(
        4.2, title or "A text is right as often as all of its steps, or a little more", cols=2
    )
    n = N_EDGES - 1
    for way in WAYS:
        colour, marker, _ = LOOKS[way]
        scores = [score for one in of(told, way) for _, score in one.curve] + [one.score for one in of(told, way)]
        measured = [score.accuracy[-1] for score in scores]
        left.plot(
            [s.compounded[-1] for s in scores], measured, marker, color=colour, alpha=0.6, ls="", label=TAUGHT[way]
        )
        right.plot([sum(s.steps) / n for s in scores], measured, marker, color=colour, alpha=0.6, ls="")
    grid = [i / 200 for i in range(201)]
    left.plot(grid, grid, color=INK, lw=1, zorder=0)
    right.plot(grid, [p**n for p in grid], color=INK, lw=1, zorder=0)
    right.text(0.55, 0.12, f"$p^{{{n}}}$", size=11)
    _share(left, "product of the steps' accuracies", f"accuracy at node {n}")
    _share(right, "mean accuracy p of a step", "")
    left.legend(loc="upper left")
    return figure


def of(told: Sequence[Told], way: str, hops: int | None = None) -> list[Told]:
    """The records of one way, and of one number of hops. Raises ValueError where there is none."""
    found = [one for one in told if one.job.way == way and hops in (None, one.job.hops)]
    if not found:
        raise ValueError(f"No record of {way!r}{'' if hops is None else f' at {hops} hops'} is here: make it first.")
    return found


def spread(told: Sequence[Told], hops: int, way: str = ONE_PASS) -> tuple[float, float, float]:
    """The lowest, the median and the highest accuracy over the seeds, so many steps on."""
    if way == ONE_PASS:
        rates = [one.score.accuracy[0] for one in of(told, way, hops)]
    else:
        rates = [one.score.accuracy[hops - 1] for one in of(told, way)]
    return min(rates), median(rates), max(rates)


def _reach_title(told: Sequence[Told], ways: Sequence[str]) -> str:
    written, once = spread(told, N_EDGES - 1, ways[0])[1], spread(told, 2)[1]
    return (
        f"Two layers that write are right {written:.2f} of the time {N_EDGES - 1} steps on; at once, {once:.2f} at two"
    )


def _share(ax: Axes, x: str, y: str) -> None:
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel=x, ylabel=y)
    ax.grid(color=PALE, lw=0.6)
