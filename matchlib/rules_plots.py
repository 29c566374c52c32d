"""Figures of "how many steps fit in one pass?": reach over orders, steps against depth, accuracy split by the rules.

They take distributions and accuracies and run no model. The board itself is drawn by `matchlib.board_plot`.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from matchlib.board_plot import board
from matchlib.causal_plots import LOOKS
from matchlib.evidence import Count
from matchlib.rules import Distribution, bounds
from matchlib.style import BLUE, GREY, INK, PALE, SKY, SMALL, VERMILLION, canvas, columns, styled

__all__ = ["board", "reach_histogram", "split_by_rule", "steps_against_depth"]

SIDES = ("allowed", "forbidden")
EMPTY = {"allowed": "no order\nallows it", "forbidden": "every order\nallows it"}
Group = tuple[int, int]  # layers, hops


@styled
def reach_histogram(distributions: Mapping[int, Distribution]) -> Figure:
    """How far do L layers get, over all orders of the edges? One panel a number of layers, a bar a number of steps.

    The bounds are dashed lines. Where orders were drawn, a thin line is the 95 % interval of a bar's share.
    Raises ValueError for no distribution, or for a number of layers that cannot be.
    """
    if not distributions:
        raise ValueError("There is no distribution to draw: give at least one, as {n_layers: reach_distribution(...)}.")
    attained = ", ".join(f"{_share(d, bounds(n)[1])} at {n} layers" for n, d in distributions.items())
    cols = columns(len(distributions), most=3)
    rows = ceil(len(distributions) / cols)
    figure, axes = canvas(0.9 + 2.6 * rows, f"Orders that attain the most steps: {attained}", rows, cols)
    for ax, (n_layers, found) in zip(axes, distributions.items()):
        low, high = bounds(n_layers)
        there = [steps for steps, count in enumerate(found.counts) if count]
        share = [found.counts[steps] / found.n for steps in there]
        ax.bar(there, share, color=SKY, width=0.8)
        if not found.exact:
            ends = np.array([Count(found.counts[steps], found.n).interval for steps in there]).T
            ax.vlines(there, *ends, color=INK, lw=1)
        for bound, side, words, aside in ((low, "right", "fewest", -2), (high, "left", "most", 2)):
            ax.axvline(bound, color=GREY, ls=(0, (4, 3)), lw=1, zorder=0)
            place = {"textcoords": "offset points", "ha": side, "va": "bottom", "fontsize": SMALL}
            place |= {"xycoords": ("data", "axes fraction"), "annotation_clip": False}
            ax.annotate(f"{words} {bound}", (bound, 1), (aside, 1), **place)
        around = max(1.5, 0.25 * (high - low))
        ax.set(xlim=(min([low, *there]) - around, max([high, *there]) + around), ylabel="share of the orders")
        ax.set(ylim=(0, 1.02 if max(share) > 0.5 else 1.15 * max(share)), xlabel="steps from the start")
        ax.set_title(f"{n_layers} layers: {_counted(found)}", pad=16)
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    for ax in axes[len(distributions) :]:
        ax.remove()
    return figure


@styled
def steps_against_depth(
    theory: Mapping[int, Distribution], measured: Mapping[str, Mapping[int, Sequence[float]]] | None = None
) -> Figure:
    """How do steps grow with depth? Both bounds as lines, the orders as dashes, and trained models as points.

    theory: by number of layers; a dash is as wide as the share of the orders that reach just so far. measured: by the
    name of a task, then by number of layers: the most hops that each seed answers; a thin line spans the seeds. The
    axis of steps is logarithmic above 1. Raises ValueError for nothing to draw, or more tasks than there are marks.
    """
    measured = measured or {}
    layers = sorted({*theory, *(n for of_task in measured.values() for n in of_task)})
    if not layers or len(measured) > len(LOOKS):
        raise ValueError(
            f"{len(theory)} distributions and {len(measured)} tasks cannot be drawn: give at least one number of "
            f"layers, and {len(LOOKS)} tasks at most."
        )
    title = _against_bounds(measured) if measured else _growth(layers)
    figure, (ax,) = canvas(4.6, title)
    low, high = zip(*map(bounds, layers))
    ax.plot(layers, high, "-^", color=INK, ms=6, label="upper bound, (3^(L-1) - 1) / 2")
    ax.plot(layers, low, "--v", color=INK, ms=6, mfc="white", label="lower bound, 2^(L-1) - 1")
    for n_layers, found in theory.items():
        widest = max(found.counts)
        for steps, count in enumerate(found.counts):
            if count:
                half = max(0.006, 0.36 * count / widest)
                ax.hlines(steps, n_layers - half, n_layers + half, SKY, lw=4, zorder=1, label="_orders")
    for k, ((task, of_task), (colour, marker)) in enumerate(zip(measured.items(), LOOKS)):
        seeds = sorted({len(steps) for steps in of_task.values()})
        span = "–".join(map(str, {seeds[0]: 0, seeds[-1]: 0})) if seeds else "0"
        ax.plot([], [], marker, color=colour, ls="", ms=6, label=f"{task} ({span} seeds a depth, line: their range)")
        for n_layers, steps in of_task.items():
            at = n_layers + 0.3 * (k + 0.5 - len(measured) / 2) + np.linspace(-0.08, 0.08, len(steps))
            ax.vlines(np.mean(at), min(steps), max(steps), colour, lw=1.2, zorder=3)
            look = {"color": colour, "ls": "", "ms": 6, "mec": "white", "mew": 0.6, "zorder": 4}
            ax.plot(at, sorted(steps), marker, label=f"_{task} {n_layers}", **look)
    ax.set_yscale("symlog", linthresh=1, linscale=0.4)
    top = max([*high, *(s for of_task in measured.values() for steps in of_task.values() for s in steps)])
    ticks = [t for t in (0, 1, 2, 3, 4, 5, 7, 10, 13, 20, 30, 40, 60, 100, 121, 200, 364) if t <= top]
    ax.set_yticks(ticks, ticks)
    ax.set_yticks([], minor=True)
    ax.set(ylim=(-0.15, top * 1.3), ylabel="steps in one pass (log axis above 1)", xlabel="layers")
    ax.set_xticks(layers, [f"{n}\n{_counted(theory[n])}" if n in theory else str(n) for n in layers])
    ax.set_xlim(layers[0] - 0.6, layers[-1] + 0.6)
    ax.grid(axis="y", color=PALE, lw=0.6)
    ax.set_axisbelow(True)
    handles, labels = ax.get_legend_handles_labels()
    if theory:
        handles.append(Patch(color=SKY))
        labels.append("orders: the wider, the more of them")
    ax.legend(handles, labels, loc="upper left")
    return figure


@styled
def split_by_rule(
    groups: Mapping[Group, Mapping[str, Sequence[float]]], chance: Mapping[Group, float], n_questions: int
) -> Figure:
    """Does a trained model answer just where the rules allow it? Accuracy on orders that allow the hops, and on others.

    groups: by (layers, hops): {"allowed": an accuracy a seed, "forbidden": the same seeds}; a side may be empty, where
    every order allows these hops or none does. A point is a seed, a thin line joins its two. chance: of a guesser, by
    group. n_questions: the fewest that a point stands for. Raises ValueError where these do not fit together.
    """
    for group, sides in groups.items():
        seeds = {len(sides.get(side, ())) for side in SIDES}
        if set(sides) - set(SIDES) or group not in chance or seeds == {0} or len(seeds - {0}) > 1:
            raise ValueError(
                f"The group {group} cannot be drawn: give its chance, and an accuracy a seed for 'allowed' or "
                "'forbidden', or for both from the same seeds."
            )
    if not groups:
        raise ValueError("There is no group to draw: give at least one, as {(n_layers, hops): {'allowed': [...]}}.")
    figure, (ax,) = canvas(4.4, _split_title(groups))
    looks = {"allowed": (BLUE, "o"), "forbidden": (VERMILLION, "X")}
    for x, (group, sides) in enumerate(groups.items()):
        line = chance[group]
        ax.hlines(line, x - 0.45, x + 0.45, GREY, linestyles=[(0, (4, 3))], lw=1.2, zorder=1, label="_chance")
        ax.annotate(f"{line:.2f}", (x + 0.45, line), (0, 2), textcoords="offset points", fontsize=7, ha="right")
        places = {}
        for side, centre in zip(SIDES, (x - 0.22, x + 0.22)):
            found = sides.get(side, ())
            if not found:
                _empty(ax, centre, EMPTY[side])
                continue
            places[side] = centre + (np.linspace(-0.1, 0.1, len(found)) if len(found) > 1 else np.zeros(1))
            colour, marker = looks[side]
            ax.vlines(centre, min(found), max(found), colour, lw=1.4, zorder=2)
            look = {"color": colour, "mec": "white", "mew": 0.6, "ms": 8, "ls": "", "zorder": 4}
            ax.plot(places[side], found, marker, label=f"_{side} {group}", **look)
        if len(places) == 2:
            pairs = zip(zip(*places.values()), zip(*(sides[side] for side in SIDES)))
            for ends, values in pairs:
                ax.plot(ends, values, color=PALE, lw=0.8, zorder=1)
    for (colour, marker), words in zip(looks.values(), ("orders that allow the hops", "orders that forbid them")):
        ax.plot([], [], marker, color=colour, mec="white", ms=8, ls="", label=words)
    ax.plot([], [], color=GREY, ls=(0, (4, 3)), lw=1.2, label="a guesser")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3)
    names = [f"{n} layers\n{k} hop{'s' * (k != 1)}\n{_seeds(sides)}" for (n, k), sides in groups.items()]
    ax.set_xticks(range(len(groups)), names)
    ax.set_xlabel(f"a point: one seed on at least {n_questions:,} questions; an upright line: the range over seeds")
    ax.set(xlim=(-0.6, len(groups) - 0.4), ylim=(-0.03, 1.05), ylabel="accuracy")
    ax.grid(axis="y", color=PALE, lw=0.6)
    ax.set_axisbelow(True)
    return figure


def _empty(ax: Axes, centre: float, words: str) -> None:
    """A side that no order belongs to."""
    box = {"fc": "white", "ec": GREY, "hatch": "///", "lw": 0.6, "alpha": 0.35, "zorder": 0}
    ax.add_patch(Rectangle((centre - 0.17, 0), 0.34, 1, **box))
    behind = {"fc": "white", "ec": "none", "pad": 1.5}
    ax.text(centre, 0.5, words, rotation=90, ha="center", va="center", fontsize=SMALL, bbox=behind, zorder=3)


def _counted(found: Distribution) -> str:
    """How many orders a distribution is of, and whether these are all."""
    return f"every order ({found.n:,})" if found.exact else f"{found.n:,} orders drawn"


def _share(found: Distribution, steps: int) -> str:
    """The share of orders that reach so far, never rounded the flattering way."""
    count = found.at_least(steps)
    share = {0: "none", count.n: "all"}.get(count.hits, f"{floor(1e4 * count.rate) / 100:g} %")
    return share if found.exact else f"{share} of {count.n:,} drawn"


def _growth(layers: Sequence[int]) -> str:
    spans = ["{} to {}".format(*bounds(n)) if len(set(bounds(n))) > 1 else str(bounds(n)[0]) for n in layers]
    return "Steps in one pass: " + ", ".join(f"{span} with {n}" for span, n in zip(spans, layers)) + " layers"


def _against_bounds(measured: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """Where the seeds of each task lie: at how many layers all of them stand between the bounds."""
    words = []
    for task, of_task in measured.items():
        where: dict[str, list[int]] = {}
        words_of = {"below": "all seeds below", "above": "all seeds above", "between": "all seeds between them"}
        for n, steps in of_task.items():
            low, high = bounds(n)
            sides = {"below" if s < low else "above" if s > high else "between" for s in steps}
            where.setdefault(words_of[sides.pop()] if len(sides) == 1 else "not all between them", []).append(n)
        words.append(f"{task}, " + ", ".join(f"{how} at {', '.join(map(str, ns))} layers" for how, ns in where.items()))
    return "Trained models against the bounds: " + "; ".join(words)


def _seeds(sides: Mapping[str, Sequence[float]]) -> str:
    n = max(len(sides.get(side, ())) for side in SIDES)
    return f"{n} seed{'s' * (n != 1)}"


def _split_title(groups: Mapping[Group, Mapping[str, Sequence[float]]]) -> str:
    both = {group: sides for group, sides in groups.items() if all(sides.get(side) for side in SIDES)}
    if not both:
        return "In no group do some orders allow the hops and others forbid them: nothing to compare within a group"
    apart = [group for group, sides in both.items() if min(sides["allowed"]) > max(sides["forbidden"])]
    where = f"in {len(apart)} of {len(both)} groups"
    if len(both) == len(apart) == 1:
        where = "with {} layers and {} hops".format(*apart[0])
    return f"Every seed is better on orders that allow the hops than any seed on the others {where}"
