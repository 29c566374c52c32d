"""Figures of "when does it form?": phase diagrams, kinds of solution, learning rates, horizons, and the runs of a cell.

They take the records of sweeps (see `matchlib.ledger`) and return a Figure; they train nothing. Every map shows cells
that hold one setting each. What a run looks like from inside comes from `matchlib.development`.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from math import inf
from statistics import mean
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator

from matchlib.cells import GENERAL, MEASURES, Spread, by_kind, cells, spread
from matchlib.development import development, measured
from matchlib.kinds import KINDS
from matchlib.ledger import Record
from matchlib.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, VERMILLION, WIDTH, canvas, styled
from matchlib.wording import (
    BLUES,
    NEVER,
    Shades,
    among,
    below,
    count_text,
    ended,
    label,
    left_out,
    settled,
    share_text,
    text_of,
    tick,
    word,
    words,
)

__all__ = [
    "best_rates", "development", "horizons", "kinds_map", "measured", "phase_diagram", "rate_curves", "seed_curves",
]  # fmt: skip

BARS = dict(zip(KINDS, ((BLUE, ""), (SKY, "++"), (ORANGE, "//"), (VERMILLION, "xx"), (PALE, "")), strict=True))
LOOKS = [("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ((0, (5, 1, 1, 1)), "v"), ((0, (1, 1)), "P")]


def of_panels(records: list[Record], panels: Sequence[str]) -> tuple[list[tuple], list[tuple]]:
    """The values of the first panel axis, a row each, and the combinations of the others, a column each."""
    return list(cells(records, *panels[:1])), list(cells(records, *panels[1:]))


@styled
def phase_diagram(
    records: Iterable[Record],
    measure: str = "test",
    x: str = "model.gamma",
    y: str = "train.weight_decay",
    panels: Sequence[str] = ("model.layernorm", "train.n_train"),
    shades: Shades | None = None,
) -> Figure:
    """Where is it learned? A heat map for each combination of the panels' values, the first in rows.

    A cell shows the median over its seeds and, below, the least and the most of them; of steps, how many seeds
    generalised at all, and "never" where that is half of them or fewer. shades: the colours, where several figures are
    to share them. Raises ValueError for an unknown measure or
    axis, no run that ended well, or a cell that mixes settings.
    """
    records, of = list(records), MEASURES.get(measure)
    found = {key: spread(runs, measure) for key, runs in settled(records, *panels, x, y).items()}
    rows, cols = of_panels(records, panels)
    xs, ys = ([value for (value,) in cells(records, axis)] for axis in (x, y))
    good = {key: s.median < inf if of.top is None else s.median >= GENERAL - 1e-6 for key, s in found.items()}
    counted = {row: [good[key] for key in good if key[: len(row)] == row] for row in rows}
    counts = among(panels[:1], {row: (sum(of_row), len(of_row)) for row, of_row in counted.items()}, "cells")
    pause = "," if "," in of.label else ""
    what = f"Median {of.label}{pause} reaches {GENERAL}" if of.top else "More than half of the seeds generalise"
    shades, wide = shades or Shades(measure, records), (WIDTH - 1.6) / (len(cols) * len(xs))
    large, small = min(10, 19.5 * wide), min(8.5, 19.5 * wide)  # points, for cells so many inches wide
    narrow = of.top is not None and 14.6 * wide < small  # a range then takes two lines: smaller, it could not be read
    height = 1.3 + len(rows) * (0.55 + max((0.56 if narrow else 0.42) * len(ys), 1.0))
    figure, axes = canvas(height, f"{what} in {counts}", len(rows), len(cols), sharex=True, sharey=True)
    for (row, col), ax in zip(product(rows, cols), axes):
        image = np.full((len(ys), len(xs)), np.nan)
        for (i, at_x), (j, at_y) in product(enumerate(xs), enumerate(ys)):
            s = found.get((*row, *col, at_x, at_y))
            image[j, i] = s.median if s and s.median < inf else np.nan
            if s is None or s.median == inf:
                corner = (i - 0.5, j - 0.5)
                ax.add_patch(Rectangle(corner, 1, 1, fc=NEVER, ec=PALE, lw=0, hatch="" if s is None else "////"))
            ink = shades(s.median)[1] if s else GREY
            middle, span = (text_of(measure, s.median), below(measure, s)) if s else ("no run", "")
            if narrow:
                span = span.replace("–", "–\n")
            look = {"color": ink, "ha": "center", "linespacing": 0.95}
            ax.text(i, j + (0.14 if narrow else 0.03), middle, fontsize=large, **look)
            ax.text(i, j + (0.06 if narrow else -0.1), span, fontsize=small, va="top", **look)
        drawn = ax.imshow(image, cmap=shades.colours, norm=shades.norm, origin="lower", aspect="auto")
        ax.hlines([j - 0.5 for j in range(1, len(ys))], -0.5, len(xs) - 0.5, color="white", lw=1.2)
        ax.vlines([i - 0.5 for i in range(1, len(xs))], -0.5, len(ys) - 0.5, color="white", lw=1.2)
        ax.set_xticks(range(len(xs)), [tick(x, value) for value in xs])
        ax.set_yticks(range(len(ys)), [tick(y, value) for value in ys])
        ax.set_title(words(panels, (*row, *col)))
        ax.set(xlabel=label(x) if row == rows[-1] else "", ylabel=label(y) if col == cols[0] else "")
    bar = figure.colorbar(drawn, ax=axes, label=fill(f"{of.label} ({of.unit})", 30), shrink=0.8, pad=0.01)
    if of.top is None:
        steps = [float(f"{s:.2g}") for s in np.geomspace(shades.norm.vmin, shades.norm.vmax, 4)]
        bar.set_ticks(steps, labels=[f"{s:,.0f}" for s in steps])
        bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=9, colors=INK, which="both")
    under = "how many of the seeds generalised" if of.top is None else "least and most, all cut to two decimals"
    note = f"a cell: median over {count_text(s.n for s in found.values())}; below it {under}.{left_out(records)}"
    figure.supxlabel(note, fontsize=9, color=INK)
    return figure


@styled
def kinds_map(
    records: Iterable[Record],
    x: str = "model.gamma",
    panels: Sequence[str] = ("model.layernorm", "train.n_train"),
) -> Figure:
    """Which kinds of solution are found where? Stacked bars of runs, a kind a colour and a hatch, n above each bar.

    Runs that differ in other axes stand in one bar. Raises ValueError for no run that ended well.
    """
    records = list(records)
    found = {key: by_kind(of) for key, of in ended(records, *panels, x).items()}
    rows, cols = of_panels(records, panels)
    xs, most = [value for (value,) in cells(records, x)], max(sum(n.values()) for n in found.values())
    counted = {row: [n for key, n in found.items() if key[: len(row)] == row] for row in rows}
    matching = {row: (sum(n[KINDS[0]] for n in c), sum(sum(n.values()) for n in c)) for row, c in counted.items()}
    title = f"{KINDS[0].capitalize()} is found by {among(panels[:1], matching, 'runs')}"
    figure, axes = canvas(1.2 + 2.1 * len(rows), title, len(rows), len(cols), sharex=True, sharey=True)
    for (row, col), ax in zip(product(rows, cols), axes):
        base = np.zeros(len(xs))
        for kind, (colour, hatch) in BARS.items():
            n = np.array([found.get((*row, *col, value), {}).get(kind, 0) for value in xs])
            ax.bar(range(len(xs)), n, 0.84, base, color=colour, hatch=hatch, ec="white", lw=0.5, label=kind)
            for i, count in enumerate(n):
                if count >= 0.09 * most:
                    box = {"boxstyle": "round,pad=0.12", "fc": "white", "ec": "none", "alpha": 0.85}
                    ax.text(i, base[i] + count / 2, f"{count}", ha="center", va="center", fontsize=8.5, bbox=box)
            base += n
        for i, n in enumerate(base):
            ax.text(i, n + 0.02 * most, f"n={n:.0f}", ha="center", va="bottom", fontsize=8, color=GREY)
        ax.set_xticks(range(len(xs)), [tick(x, value) for value in xs])
        ax.set(title=words(panels, (*row, *col)), ylim=(0, 1.13 * most))
        ax.yaxis.get_major_locator().set_params(integer=True)
        ax.set(xlabel=label(x) if row == rows[-1] else "", ylabel="runs" if col == cols[0] else "")
    handles = [Patch(fc=colour, hatch=hatch, ec="white", label=kind) for kind, (colour, hatch) in BARS.items()]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(KINDS), handlelength=2.4, handleheight=1.2)
    return figure


def best_rates(records: Iterable[Record], group: str = "model.layernorm") -> dict[object, tuple[float, float]]:
    """The learning rate with the highest mean test accuracy over gammas and seeds, and that mean, by group.

    At a tie, the smallest of them. Raises ValueError for no run that ended well.
    """
    means: dict[object, dict[float, float]] = {}
    for (value, rate), of in ended(records, group, "train.lr").items():
        means.setdefault(value, {})[rate] = mean(spread(of, "test").values)
    return {value: max(by.items(), key=lambda item: item[1]) for value, by in means.items()}


@styled
def rate_curves(records: Iterable[Record], group: str = "model.layernorm") -> Figure:
    """Which learning rate suits each group? Test accuracy at the end against rate: the mean, and that of each gamma.

    Raises ValueError for no run that ended well, a mixed cell, or more gammas than there are line styles.
    """
    records = list(records)
    each = settled(records, group, "train.lr", "model.gamma")
    gammas, best = [gamma for (gamma,) in cells(records, "model.gamma")], best_rates(records, group)
    if len(gammas) > len(LOOKS):
        raise ValueError(f"There are {len(gammas)} values of gamma: at most {len(LOOKS)} can be told apart.")
    chosen = "; ".join(f"{word(group, value)} {share_text(y)} at {rate:g}" for value, (rate, y) in best.items())
    title = f"The highest mean over gammas and seeds: {chosen}"
    figure, axes = canvas(3.9, title, 1, len(best), sharey=True)
    for ax, (value, (rate, height)) in zip(axes, best.items()):
        rates = [at for (v, at) in cells(records, group, "train.lr") if v == value]
        every = [[r for (v, at, _), of in each.items() if (v, at) == (value, lr) for r in of] for lr in rates]
        ax.plot(rates, [mean(spread(of, "test").values) for of in every], color=INK, lw=3, label="mean of all")
        for i, (gamma, (line, marker)) in enumerate(zip(gammas, LOOKS)):
            at = [lr for lr in rates if (value, lr, gamma) in each]
            colour = BLUES(0.35 + 0.65 * i / max(1, len(gammas) - 1))
            y = [mean(spread(each[value, lr, gamma], "test").values) for lr in at]
            ax.plot(at, y, color=colour, ls=line, marker=marker, ms=4.5, lw=1.1, label=f"gamma {gamma:g}")
        ax.axvline(rate, color=VERMILLION, ls=(0, (4, 2)), lw=1.4, zorder=1, label="_best")
        ax.plot([rate], [height], "*", color=VERMILLION, mec="white", mew=0.6, ms=16, zorder=5, label="highest mean")
        ax.set_xscale("log")
        ax.set_xticks(rates, [f"{lr:g}" for lr in rates])
        ax.minorticks_off()
        ax.set_title(f"{word(group, value)}, {count_text(map(len, every), 'run')} a rate")
        ax.set(ylim=(-0.03, 1.05), xlabel="learning rate, on a logarithmic axis")
        ax.set_ylabel("test accuracy at the end" if ax is axes[0] else "")
        ax.grid(axis="y", color=PALE, lw=0.6)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", handlelength=3.5)
    if note := left_out(records):
        figure.supxlabel(note.strip(), fontsize=9, color=INK)
    return figure


@styled
def horizons(short: Iterable[Record], long: Iterable[Record]) -> Figure:
    """Do more steps help? Steps to generalise against gamma: a mark a seed, the short trainings beside the long.

    An open arrow at a horizon is a run that had not generalised when its training ended. Above: how many had, of how
    many. Raises ValueError for no run that ended well, a mixed cell, or trainings of one side that differ in length.
    """
    sides = [settled(records, "model.layernorm", "model.gamma") for records in (short, long)]
    norms, gammas = (sorted({key[i] for by in sides for key in by}) for i in (0, 1))
    lengths = [sorted({r.train.steps for of in by.values() for r in of}) for by in sides]
    if any(len(steps) > 1 for steps in lengths):
        raise ValueError(f"The trainings of one side take {lengths} steps: give those of one length on each side.")
    ends, counted = [steps[0] for steps in lengths], [{}, {}]
    figure, axes = canvas(4.6, "", 1, len(norms), sharey=True)
    for ax, norm in zip(axes, norms):
        for side, (colour, marker, sign, aside) in enumerate(((BLUE, "o", "●", -0.21), (VERMILLION, "s", "■", 0.21))):
            end, x, y = ends[side], [], []
            for i, gamma in enumerate(gammas):
                s = spread(sides[side][norm, gamma], "generalised") if (norm, gamma) in sides[side] else Spread(())
                x += [i + aside + 0.3 * ((k + 0.5) / s.n - 0.5) for k in range(s.n)]
                y += sorted(s.values)
                at = {"transform": ax.get_xaxis_transform(), "ha": "center", "fontsize": 8.5, "color": colour}
                ax.text(i + aside, 1.07 - 0.05 * side, f"{sign} {below('generalised', s)}", **at)
            there, not_yet = ([(a, min(b, end)) for a, b in zip(x, y) if (b < inf) is yes] for yes in (True, False))
            look = {"ls": "", "marker": marker, "color": colour, "ms": 5}
            ax.plot(*pairs(there), **look, label=f"training of {end:,} steps")
            ax.plot(*pairs(not_yet), **look | {"marker": "^", "mfc": "white"}, label=f"not yet after {end:,}")
            ax.axhline(end, color=colour, ls=(0, (4, 3)), lw=1, zorder=1, label="_horizon")
            counted[side][norm,] = len(there), len(y)
        ax.set_yscale("log")
        ax.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
        ax.set_title(f"{word('model.layernorm', norm)}: how many seeds generalise", pad=30)
        ax.set(xlabel="gamma (larger: a smaller start)", ylabel="steps to generalise" if ax is axes[0] else "")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 6)))
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        ax.grid(axis="y", color=PALE, lw=0.6)
    said = [f"in {end:,} steps {among(['model.layernorm'], n)}" for end, n in zip(ends, counted)]
    figure.suptitle(fill(f"Runs that generalise: {'; '.join(said)}", 88), x=0.01, ha="left")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return figure


def pairs(points: Sequence[tuple]) -> tuple:
    return tuple(zip(*points)) if points else ([], [])


@styled
def seed_curves(records: Iterable[Record], title: str | None = None) -> Figure:
    """The runs behind a cell: test accuracy of each seed against step, fresh chains dashed; below, argmax scores.

    The score is that of the weaker layer. Raises ValueError for no run that ended well, or more than six.
    """
    runs = sorted((r for r in records if r.status == "done"), key=lambda r: r.seed)
    if not 1 <= len(runs) <= len(LOOKS):
        raise ValueError(f"There are {len(runs)} runs that ended well: give 1 to {len(LOOKS)}.")
    s = spread(runs, "test")
    found = f"Test accuracy at the end: {share_text(s.range[0])} to {share_text(s.range[1])} over {count_text([s.n])}"
    figure, (top, low) = canvas(4.6, title or found, 2, height_ratios=(2.4, 1.4), sharex=True)
    for k, (r, colour, (_, marker)) in enumerate(zip(runs, (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY), LOOKS)):
        step, every = r.columns["step"], max(1, len(r.columns["step"]) // 10)
        look = {"color": colour, "marker": marker, "markevery": (k * every // 6 % len(step), every), "lw": 1.5}
        top.plot(step, r.columns["test"], **look, label=f"seed {r.seed}")
        top.plot(step, r.columns["train"], color=colour, ls=(0, (3, 2)), lw=0.9, alpha=0.8, label="_train")
        if r.columns["argmax"][-1]:
            low.plot(step, [min(layers) for layers in r.columns["argmax"]], **look, label=f"_seed {r.seed}")
    top.plot([], [], color=GREY, label="test: unseen edges")
    top.plot([], [], color=GREY, ls=(0, (3, 2)), lw=0.9, label="train: fresh, same edges")
    for ax, name in ((top, "accuracy"), (low, "argmax score,\nweaker layer")):
        ax.set(ylim=(-0.03, 1.05), ylabel=name)
        ax.grid(axis="y", color=PALE, lw=0.6)
    low.set_xlabel("step")
    top.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=3)
    return figure
