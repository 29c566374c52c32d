"""Figures of lesson 06, does noise help a mechanism to form?, from the records of sweeps; they train nothing.

Conditions and arms are those of `matchlib.arms`. What noise does to the weights is drawn by `matchlib.noise_weights`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, inf
from statistics import median

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchlib.arms import (
    NONE,
    Groups,
    arm_of,
    arms,
    best_rate,
    by_chance,
    check_groups,
    condition_of,
    counted,
    over_seeds,
    span,
    zone,
)
from matchlib.causal_plots import LINES, LOOKS
from matchlib.cells import GENERAL, HARMS, HELPS, MEASURES, Spread, generalised
from matchlib.ledger import OF_NOISE, Record
from matchlib.model import NOISES
from matchlib.noise_weights import scalar_paths, spectra
from matchlib.plots import MARKERS, baseline_lines, share_axis
from matchlib.style import BLUE, GREY, INK, PALE, SKY, SMALL, VERMILLION, canvas, columns, styled

__all__ = ["curves_with_bands", "help_or_harm", "rates", "scalar_paths", "spectra", "time_to_generalise"]


@styled
def curves_with_bands(
    groups: Groups, column: str = "test", baselines: Mapping[str, float] | None = None, title: str | None = None
) -> Figure:
    """Who learns, and when? One curve a label: the median over seeds against step, and the band from min to max.

    column: a quantity of the records; of "argmax" and "matching" the weaker layer. baselines: guessers by name.
    Raises ValueError for no label, more than there are looks, or a column that is not one number a step.
    """
    if not 1 <= len(groups) <= len(LOOKS):
        raise ValueError(f"There are {len(groups)} curves: give 1 to {len(LOOKS)} labels, each with records.")
    if column in OF_NOISE or column == "step":
        raise ValueError(f"column={column!r} is no single curve: use scalar_paths for alpha and beta.")
    name = MEASURES[column].label if column in MEASURES else column
    found = {label: over_seeds(label, records, column) for label, records in groups.items()}
    ends = ", ".join(f"{_cautious(at[2][-1], column != 'loss')} ({label})" for label, at in found.items())
    figure, (ax,) = canvas(4.3, title or f"Median {name} at the end: {ends}")
    ax.set_axisbelow(True)
    for i, (label, (steps, least, middle, most)) in enumerate(found.items()):
        colour, marker = LOOKS[i]
        ax.fill_between(steps, least, most, color=colour, alpha=0.1, lw=0, label=f"_band {label}")
        for edge in (least, most):
            ax.plot(steps, edge, color=colour, ls=LINES[i], lw=0.6, label=f"_edge {label}")
        every = max(1, len(steps) // MARKERS)
        look = {"color": colour, "ls": LINES[i], "marker": marker, "zorder": 4 - i / 10}
        mark = (i * every // 3 % len(steps), every)
        ax.plot(steps, middle, markevery=mark, label=f"{label} ({counted(groups[label])})", **look)
    share_axis(ax, name)
    if column == "loss":
        ax.set_ylim(0, None)
    baseline_lines(ax, dict(baselines or {}))
    ax.set_xlabel("step (line: median over seeds; band: min to max)")
    ax.locator_params(axis="x", nbins=6)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, columnspacing=1.5, handlelength=4)
    return figure


@styled
def time_to_generalise(groups: Mapping[str, Groups]) -> Figure:
    """How many steps until test accuracy is 0.95? One panel a condition, a row an arm, a dot a seed.

    groups: condition to arm to records. A run that does not get there stands as an open triangle at the end of its
    training. A tick is the median, where that is a step. At the right: how many generalise. Raises ValueError for none.
    """
    check_groups(groups)
    rows = list(dict.fromkeys(arm for by_arm in groups.values() for arm in by_arm))
    spreads = {c: {a: Spread(tuple(map(generalised, rs))) for a, rs in by.items()} for c, by in groups.items()}
    first = {condition: _first(by) for condition, by in spreads.items()}
    cols = columns(len(groups), most=2)
    lines = ceil(len(groups) / cols)
    title = _first_title(list(first.values()), [s for by in spreads.values() for s in by.values()])
    figure, axes = canvas(1.2 + lines * (0.9 + 0.26 * len(rows)), title, lines, cols, sharex=True, sharey=True)
    for ax, (condition, by_arm) in zip(axes, groups.items()):
        for y, arm in enumerate(rows):
            if arm not in by_arm:
                ax.annotate("no runs", (0.5, y), xycoords=("axes fraction", "data"), va="center", color=GREY)
                continue
            _steps_row(ax, y, by_arm[arm], spreads[condition][arm])
        ax.annotate("reach it", (1.01, 1), xycoords="axes fraction", va="bottom", fontsize=SMALL)  # of the counts below
        found, fewest = first[condition]
        ax.set_title(f"{condition}\nfirst: {found}" + (f", median {fewest:,.0f}" if fewest < inf else ""))
        ax.set_yticks(range(len(rows)), rows)
        ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"steps until test accuracy is {GENERAL} (log axis)")
        ax.grid(axis="x", color=PALE, lw=0.6)
        ax.hlines([y + 0.5 for y in range(len(rows) - 1)], 0, 1, PALE, lw=0.6, transform=ax.get_yaxis_transform())
        ax.xaxis.set_tick_params(labelbottom=True)
    for ax in axes[len(groups) :]:
        ax.remove()
    every = [r for by_arm in groups.values() for records in by_arm.values() for r in records]
    steps = [step for step in map(generalised, every) if step < inf] + [r.train.steps for r in every]
    _log_steps(axes[0], max(1, min(steps)), max(steps))
    axes[0].plot([], [], "o", color=BLUE, ms=4.5, alpha=0.8, label="one seed")
    axes[0].plot([], [], "|", color=INK, ms=13, mew=2, label="median, where it is a step")
    axes[0].plot([], [], ">", color=VERMILLION, mfc="white", ls="", label="not by the end of the training")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower left", ncols=3)
    return figure


@styled
def help_or_harm(comparisons: Mapping[str, Mapping[str, float]], n: int) -> Figure:
    """When does noise help, and when does it hurt? One panel a condition, a row an arm: probability of superiority.

    comparisons: as `against_none` finds them, in [0, 1]. n: seeds on each side. At 0.8 and above an arm counts as
    better, at 0.2 and below as worse; below the axes stands how often a comparison of n with n runs that do not differ
    would be called either. Raises ValueError for no comparison, or one outside [0, 1].
    """
    every = [share for by_arm in comparisons.values() for share in by_arm.values()]
    if not every or n < 1 or not all(0 <= share <= 1 for share in every):
        raise ValueError(f"{len(every)} comparisons with n={n!r} do not fit: give shares in 0..1, and n of at least 1.")
    zones = Counter(map(zone, every))
    title = f"Against no noise: better in {zones['better']} of {len(every)} comparisons, worse in {zones['worse']}"
    rows = list(dict.fromkeys(arm for by_arm in comparisons.values() for arm in by_arm))
    cols = columns(len(comparisons))
    lines = ceil(len(comparisons) / cols)
    figure, axes = canvas(1.2 + lines * (0.7 + 0.27 * len(rows)), title, lines, cols, sharex=True, sharey=True)
    looks = {"better": (BLUE, ">", BLUE), "worse": (VERMILLION, "<", VERMILLION), "unclear": (INK, "o", "white")}
    for ax, (condition, by_arm) in zip(axes, comparisons.items()):
        ax.axvspan(HELPS, 1.04, color=SKY, alpha=0.25, lw=0)
        ax.axvspan(-0.04, HARMS, color=VERMILLION, alpha=0.13, lw=0)
        ax.axvline(0.5, color=GREY, ls=(0, (4, 3)), lw=1)
        for arm, share in by_arm.items():
            colour, marker, face = looks[zone(share)]
            ax.plot(share, rows.index(arm), marker, color=colour, mfc=face, ms=7, label=f"_{arm}")
            left = HARMS < share < 0.5 or share >= HELPS  # clear of the line in the middle, and inside the axes
            place = {"textcoords": "offset points", "ha": "right" if left else "left", "va": "center"}
            ax.annotate(_toward_half(share), (share, rows.index(arm)), (-7 if left else 7, 0), fontsize=SMALL, **place)
        ax.set_title(condition.replace(", ", "\n") if cols > 2 else condition)
        ax.set(xlim=(-0.04, 1.04), ylim=(len(rows) - 0.4, -1.1))
        ax.text(0.08, -0.75, "worse", ha="center", va="center", fontsize=SMALL)
        ax.text(0.92, -0.75, "better", ha="center", va="center", fontsize=SMALL)
        ax.set_yticks(range(len(rows)), rows)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for ax in axes[len(comparisons) :]:
        ax.remove()
    chance = f"about {100 * by_chance(n):.0f} of 100 comparisons would be called better or worse"
    words = "share of pairs of seeds in which the arm is faster than none; never against never: one half\n"
    words += f"{n} seeds against {n}: without a difference, and without ties, {chance}"
    figure.supxlabel(words, fontsize=9, color=INK)
    return figure


@styled
def rates(
    records: Sequence[Record], measure: str = "test", best: Callable[[Sequence[Record]], float] = best_rate
) -> Figure:
    """Which learning rate suits each arm? A row a condition, a column a noise, a line a start; none stands in each.

    measure: a share of `matchlib.cells.MEASURES`, at the end of the training; a line is the median over seeds, a small
    dot a seed. A ring marks the rate that `best` chooses. Raises ValueError for another measure, one rate alone, or
    more starts than there are looks.
    """
    if measure not in MEASURES or MEASURES[measure].top is None:
        known = ", ".join(name for name, m in MEASURES.items() if m.top)
        raise ValueError(f"measure={measure!r} is no share: choose one of {known}.")
    every = sorted({r.train.lr for r in records})
    if len(every) < 2:
        raise ValueError(f"There are {len(every)} learning rates here: give the records of a sweep over train.lr.")
    groups = arms(records)
    noises = [noise for noise in NOISES[1:] if any(r.model.noise == noise for r in records)] or [NONE]
    starts = list(dict.fromkeys(a.partition(", ")[2] for by in groups.values() for a in by if a != NONE))
    if len(starts) > len(LOOKS):
        raise ValueError(f"There are {len(starts)} starts: give records of at most {len(LOOKS)}.")
    looks = dict(zip([NONE, *starts], [(GREY, "v"), *LOOKS]))
    chosen = {(c, a): best(rs) for c, by in groups.items() for a, rs in by.items()}
    size = (len(groups), len(noises))
    figure, axes = canvas(1.5 + 1.55 * size[0], _rates_title(chosen, every), *size, sharex=True, sharey=True)
    for i, (condition, by_arm) in enumerate(groups.items()):
        for j, noise in enumerate(noises):
            ax = axes[i * len(noises) + j]
            for arm, runs in by_arm.items():
                if arm == NONE or arm.startswith(f"{noise}, "):
                    name = arm.partition(", ")[2] or NONE
                    line = ":" if arm == NONE else LINES[starts.index(name)]
                    _rate_line(ax, runs, measure, chosen[condition, arm], (*looks[name], line), name)
            words = f"{condition.replace(', ', chr(10))}\n{_short(measure)}" if j == 0 else ""
            ax.set(ylim=(-0.05, 1.08), ylabel=words)
            ax.grid(axis="y", color=PALE, lw=0.6)
            ax.set_title(noise if i == 0 else "")
            ax.set_xscale("log")
            ax.set_xticks(every, [f"{1000 * rate:g}" for rate in every])
            ax.set_xticks([], minor=True)
    axes[0].plot([], [], "o", color=INK, mfc="none", ms=12, mew=1.5, ls="", label="chosen")
    for ax in axes[-len(noises) :]:
        ax.set_xlabel("learning rate in thousandths (log)")
    of = Counter((condition_of(r), arm_of(r), r.train.lr) for r in records if r.status == "done").values()
    title = f"small dots: one seed each, {span(of)} a rate; lines: median"
    found = {}
    for ax in axes:
        found |= dict(zip(*reversed(ax.get_legend_handles_labels())))
    look = {"ncols": 6, "handlelength": 4, "title": title, "alignment": "left"}
    figure.legend(found.values(), found, loc="outside lower left", **look)
    return figure


def _steps_row(ax: Axes, y: int, records: Sequence[Record], found: Spread) -> None:
    """A row of `time_to_generalise`: dots side by side, so that seeds at one step all show."""
    order = sorted(range(len(records)), key=lambda i: found.values[i])
    aside = np.linspace(-0.34, 0.34, len(order)) if len(order) > 1 else [0.0]
    places = [(found.values[i], records[i].train.steps, y + dy) for i, dy in zip(order, aside)]
    there = [(step, at) for step, _, at in places if step < inf]
    never = [(end, at) for step, end, at in places if step == inf]
    ax.plot(*zip(*there) if there else ([], []), "o", color=BLUE, ms=4.5, alpha=0.8, mew=0, label="_there")
    ax.plot(*zip(*never) if never else ([], []), ">", color=VERMILLION, mfc="white", ms=4.5, ls="", label="_never")
    if found.median < inf:
        ax.plot([found.median], [y], "|", color=INK, ms=13, mew=2, label="_median")
    place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": SMALL}
    ax.annotate(f"{found.reached}/{found.n}", (1.01, y), **place)


def _rate_line(ax: Axes, runs: Sequence[Record], measure: str, chosen: float, look: tuple, label: str) -> None:
    """A line of `rates`: the median at each rate, a dot a seed, and a ring around the chosen rate."""
    colour, marker, line = look
    by_rate: dict[float, list[float]] = {}
    for r in sorted(runs, key=lambda r: r.train.lr):
        if r.status == "done":
            by_rate.setdefault(r.train.lr, []).append(MEASURES[measure].of(r))
    middle = {rate: median(of) for rate, of in by_rate.items()}
    ax.plot(list(middle), list(middle.values()), color=colour, ls=line, marker=marker, ms=5, label=label)
    each = [(rate, value) for rate, of in by_rate.items() for value in of]
    ax.plot(*zip(*each) if each else ([], []), ".", color=colour, ms=3.5, alpha=0.8, label=f"_seeds {label}")
    if chosen in middle:
        ax.plot([chosen], [middle[chosen]], "o", color=colour, mfc="none", ms=12, mew=1.5, label=f"_chosen {label}")


def _first(by_arm: Mapping[str, Spread]) -> tuple[str, float]:
    """The arm with the fewest median steps, or why there is none, and these steps."""
    fewest = min(s.median for s in by_arm.values())
    of = [arm for arm, s in by_arm.items() if s.median == fewest]
    return ("no arm" if fewest == inf else of[0] if len(of) == 1 else f"{len(of)} arms at once"), fewest


def _first_title(first: Sequence[tuple[str, float]], every: Sequence[Spread]) -> str:
    there, n = sum(s.reached for s in every), sum(s.n for s in every)
    most = Counter(arm for arm, _ in first).most_common()
    words = "; ".join(f"{arm} in {count}" for arm, count in most) + f" of {len(first)} conditions"
    return f"{there} of {n} runs generalise. Fewest median steps: {first[0][0] if len(first) == 1 else words}"


def _rates_title(chosen: Mapping[tuple, float], every: Sequence[float]) -> str:
    at_edge = sum(rate in (every[0], every[-1]) for rate in chosen.values())
    least, most = min(chosen.values()), max(chosen.values())
    edge = f"{at_edge} of {len(chosen)} stand at the edge of what was tried"
    return f"The chosen learning rates lie between {least:g} and {most:g}; {edge}"


def _short(measure: str) -> str:
    return MEASURES[measure].label if len(MEASURES[measure].label) < 16 else measure


def _cautious(value: float, more_is_better: bool) -> str:
    """Three digits, never rounded the flattering way."""
    return f"{(floor if more_is_better else ceil)(round(1000 * value, 6)) / 1000:.3f}"


def _toward_half(share: float) -> str:
    return f"{(floor if share > 0.5 else ceil)(round(100 * share, 6)) / 100:.2f}"


def _log_steps(ax: Axes, low: float, high: float) -> None:
    """A logarithmic axis from low to high with whole numbers at its ticks."""
    ticks = [f * 10**k for k in range(7) for f in (1, 2, 5) if low / 1.6 <= f * 10**k <= high * 1.2]
    ax.set_xscale("log")
    ax.set_xlim(low / 1.25, high * 1.25)
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.set_xticks([], minor=True)
