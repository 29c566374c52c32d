"""Figures of causes: which predictions came true, which token of the path a layer reads, and what width buys.

They take findings, readings and shares and return a Figure (see `matchlib.style`); they run no model.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil, floor
from textwrap import fill

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from matchlib.evidence import Finding
from matchlib.reading import Reading
from matchlib.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SMALL, VERMILLION, canvas, columns, styled

LOOKS = [(BLUE, "o"), (VERMILLION, "X"), (PURPLE, "s"), (ORANGE, "^"), (GREEN, "D")]
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1))]


@styled
def hit_rates(findings: Mapping[str, Sequence[Finding]], title: str | None = None) -> Figure:
    """How often did each prediction come true, in which models? A row an experiment, a mark a model.

    findings: those of some models by the name of their group, the first group being the one the hypothesis is about.
    A tall bar is the rate that was predicted; grey crosses are the controls of the first group. The legend counts the
    models where there are several. Raises ValueError for no finding at all in the first group, or more groups than
    there are marks.
    """
    groups = list(findings)
    if not groups or not findings[groups[0]] or len(groups) > len(LOOKS):
        raise ValueError(f"There are {len(groups)} groups: give 1 to {len(LOOKS)}, and findings in the first.")
    rows = list(dict.fromkeys(f.name for found in findings.values() for f in found))
    figure, (ax,) = canvas(1.5 + 0.5 * len(rows), title or _hits_title(findings))
    for k, (group, (colour, marker)) in enumerate(zip(groups, LOOKS, strict=False)):
        y = [rows.index(f.name) + 0.28 * (k - (len(groups) - 1) / 2) / max(1, len(groups) - 1) for f in findings[group]]
        x = [f.found.rate for f in findings[group]]
        label = _counted(group, findings[group])
        ax.plot(x, y, marker, color=colour, mec="white", mew=0.6, ms=8, ls="", label=label, zorder=4 - k / 10)
    first = findings[groups[0]]
    controls = [(c.rate, rows.index(f.name)) for f in first for c in f.controls.values()]
    ax.plot(*zip(*controls, strict=True) if controls else ([], []), "+", color=GREY, ms=8, mew=1.4, label="control")
    predicted = {(f.expected, rows.index(f.name)) for f in first}
    ax.plot(*zip(*predicted, strict=True), "|", color=INK, ms=26, mew=1.4, zorder=1, label="_predicted")
    ax.plot([], [], "|", color=INK, ms=16, mew=1.4, label="predicted")
    ax.set(xlim=(-0.03, 1.03), ylim=(len(rows) - 0.5, -0.5), xlabel="share of the questions")
    ax.set_yticks(range(len(rows)), [fill(name, 34) for name in rows])
    ax.grid(axis="x", color=PALE, lw=0.6)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3, columnspacing=1.2)
    return figure


@styled
def reading_tables(tables: Mapping[str, Sequence[Reading]], title: str | None = None) -> Figure:
    """Which token of the path does each layer read? One table a model: layers upwards, steps of the path to the right.

    The colour and the upper number say how often the answer moved when this token was turned into another at the input
    of this layer; the number below, how often the token can be told there. A frame marks the token that the mechanism
    reads. Raises ValueError for no table.
    """
    if not tables or not all(tables.values()):
        raise ValueError("There is no table to draw: give {model: readings}, and at least one reading each.")
    cols = columns(len(tables), most=3)
    rows, steps = ceil(len(tables) / cols), max(r.step for t in tables.values() for r in t) + 1
    figure, axes = canvas(1.35 + rows * (0.9 + 0.5 * (steps + 1)), title or _reading_title(tables), rows, cols)
    for i, (ax, (name, table)) in enumerate(zip(axes, tables.items(), strict=False)):
        layers, n = max(r.layer for r in table) + 1, max(r.step for r in table) + 1
        moved = torch.zeros(layers, n)
        for r in table:
            moved[r.layer, r.step] = r.moved.rate
            colour = "white" if r.moved.rate > 0.55 else INK
            ax.text(r.step, r.layer, f"{r.moved.rate:.2f}", color=colour, ha="center", va="bottom")
            words = f"told {r.told.rate:.2f}"
            ax.text(r.step, r.layer, words, color=colour, ha="center", va="top", fontsize=SMALL)
            if r.step == max(0, r.layer - 1):
                corner = (r.step - 0.47, r.layer - 0.47)
                ax.add_patch(Rectangle(corner, 0.94, 0.94, fill=False, ec=VERMILLION, lw=2.5, zorder=5))
        ax.imshow(moved.numpy(), cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
        ax.set_xticks(range(n), ["start", *(f"step {k}" for k in range(1, n))])
        ax.set_yticks(range(layers), [str(layer) for layer in range(layers)])
        ax.set(title=name, ylabel="input of layer" if i % cols == 0 else "")
    for ax in axes[len(tables) :]:
        ax.remove()
    words = "token turned into another: how often the answer moved, and how often the token can be told there"
    figure.supxlabel(words, fontsize=10, color=INK)
    return figure


@styled
def width_curves(shares: Mapping[str, Mapping[int, Sequence[float]]], goal: float = 0.99) -> Figure:
    """What does width buy? One curve a label: the mean over seeds against d_model, a mark for every seed.

    shares: label to width to one accuracy a seed. Raises ValueError for no curve, or more than there are marks.
    """
    if not shares or not all(shares.values()) or len(shares) > len(LOOKS):
        raise ValueError(f"There are {len(shares)} curves: give 1 to {len(LOOKS)}, each with at least one width.")
    mean = {name: {d: sum(of) / len(of) for d, of in curve.items()} for name, curve in shares.items()}
    reached = {name: next((d for d in sorted(curve) if curve[d] >= goal), None) for name, curve in mean.items()}
    words = [f"{name}, {f'at {d}' if d else 'not yet'}" for name, d in reached.items()]
    figure, (ax,) = canvas(4.0, f"The width that reaches {goal:.2f}: " + "; ".join(words))
    for (name, curve), (colour, marker), line in zip(shares.items(), LOOKS, LINES, strict=False):
        widths = sorted(curve)
        ax.plot(widths, [mean[name][d] for d in widths], color=colour, ls=line, marker=marker, ms=7, label=name)
        each = [(d, share) for d in widths for share in curve[d]]
        ax.plot(*zip(*each, strict=True), marker, color=colour, ms=4, mfc="white", ls="", label=f"_{name}")
    ax.plot([], [], "o", color=GREY, ms=4, mfc="white", label="one seed")
    ax.axhline(goal, color=GREY, ls=(0, (1, 1)), lw=1.2, zorder=1, label=f"{goal:.2f}")
    widths = sorted({d for curve in shares.values() for d in curve})
    ax.set_xscale("log", base=2)
    ax.set_xticks(widths, [str(d) for d in widths])
    ax.set(ylim=(-0.03, 1.05), xlabel="d_model, on a logarithmic axis", ylabel="share answered")
    ax.grid(axis="y", color=PALE, lw=0.6)
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=4)
    return figure


def _counted(group: str, findings: Sequence[Finding]) -> str:
    """A group and how many marks it has in a row: marks at one rate hide each other."""
    of = Counter(f.name for f in findings)
    n = max(of.values(), default=1)
    return f"{group} ({n})" if n > 1 else group


def _hits_title(findings: Mapping[str, Sequence[Finding]]) -> str:
    (group, first), *others = findings.items()
    least = floor(round(100 * min(f.found.rate for f in first), 6)) / 100  # "at least" must not be rounded up
    words = f"{group[:1].upper()}{group[1:]}: at least {least:.2f} of the predictions come true"
    if rest := [f.found.rate for _, found in others for f in found]:
        words += f"; the others: at most {_up(max(rest)):.2f}"
    if controls := [c.rate for f in first for c in f.controls.values()]:
        words += f"; under a control: at most {_up(max(controls)):.2f}"
    return words


def _up(rate: float) -> float:
    return ceil(round(100 * rate, 6)) / 100


def _reading_title(tables: Mapping[str, Sequence[Reading]]) -> str:
    every = [r for table in tables.values() for r in table]
    read = [r.moved.rate for r in every if r.step == max(0, r.layer - 1)]
    most = sum(rate >= 0.5 for rate in read)
    other = [r.moved.rate for r in every if r.step < max(0, r.layer - 1)]
    words = f"The newest token moves the answer more often than not in {most} of {len(read)} layers"
    return words + (f"; older ones: at most {_up(max(other)):.2f}" if other else "")
