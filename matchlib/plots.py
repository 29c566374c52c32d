"""Every figure of the course: each takes arrays or records, returns a matplotlib Figure, and trains nothing.

End a cell with the figure as its last expression (or `display(figure)`): it then shows exactly once. Figures are not
known to pyplot, so `plt.show()` shows nothing of them, nothing leaks, and no global setting changes: `matchlib.style`
says why. Curves over training are drawn here; the figures of one question come from `matchlib.flow`, heat maps from
`matchlib.maps`.
"""

from itertools import pairwise
from math import ceil
from textwrap import fill

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchlib.flow import chain_graph, information_flow
from matchlib.maps import kernels, matching_matrices
from matchlib.record import Evaluation
from matchlib.style import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, SMALL, VERMILLION, canvas, columns, styled

__all__ = [
    "chain_graph", "information_flow", "kernels", "matching_matrices", "score_and_accuracy", "seed_spread",
    "training_curves", "transition",
]  # fmt: skip

ACCURACIES = {  # field: what it is called, and how it is drawn
    "fit": ("fit: sequences trained on", {"color": SKY, "ls": "-.", "marker": "^"}),
    "train": ("train: fresh, same edges", {"color": BLUE, "ls": "--", "marker": "s"}),
    "test": ("test: unseen edges", {"color": VERMILLION, "ls": "-", "marker": "o", "lw": 2.4}),
    "ood": ("ood: unseen tokens", {"color": GREEN, "ls": ":", "marker": "D"}),
}
LAYERS = [(BLUE, "--", "s"), (ORANGE, "-.", "^"), (GREEN, ":", "D"), (PURPLE, (0, (5, 1, 1, 1)), "v")]
LEAST_RISE = 0.3
MARKERS = 14  # on one curve


def transition(history: list[Evaluation]) -> int | None:
    """The step of the phase transition: the evaluation at the end of the steepest rise of test accuracy.

    None where test accuracy never rises by more than 0.3 within a quarter of the steps: a slow climb, or the first
    climb from nothing to a baseline, is no transition. Ours.
    """
    history = sorted(history, key=lambda e: e.step)
    best, window = LEAST_RISE, []
    for i, first in enumerate(history):
        for j, last in enumerate(history[i + 1 :], i + 1):
            if j > i + 1 and last.step - first.step > (history[-1].step - history[0].step) / 4:
                break
            if last.test - first.test > best:
                best, window = last.test - first.test, history[i : j + 1]
    rises = [((b.test - a.test) / max(1, b.step - a.step), b.step) for a, b in pairwise(window)]
    return max(rises, key=lambda rise: rise[0])[1] if rises else None


@styled
def training_curves(
    history: list[Evaluation], baselines: dict[str, float] | None = None, title: str | None = None
) -> Figure:
    """When does the model learn, and what? Accuracies against step; below, the argmax score of each matching layer.

    baselines: accuracy of guessers by name, drawn as dashed lines. The phase transition is marked where there is one.
    Raises ValueError for an empty history.
    """
    _check_history(history)
    jump, n_layers = transition(history), len(history[-1].argmax)
    rows = 2 if n_layers else 1
    heights = [2.7, 1.4][:rows]
    found = title or _curves_title(history, jump)
    figure, axes = canvas(sum(heights) + 1.4, found, rows=rows, height_ratios=heights, sharex=True)
    for i, (name, (label, look)) in enumerate(ACCURACIES.items()):
        _curve(axes[0], history, [getattr(e, name) for e in history], i, label=label, **look)
    share_axis(axes[0], "accuracy")
    axes[0].legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=4, columnspacing=1.2, handlelength=3)
    baseline_lines(axes[0], baselines or {})
    if n_layers:
        _score_curves(axes[1], history)
        share_axis(axes[1], "argmax score")
        axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=3)
    axes[-1].set_xlabel("step")
    _mark_transition(axes, jump)
    return figure


@styled
def score_and_accuracy(history: list[Evaluation]) -> Figure:
    """Does matching come with the jump? Test accuracy and the argmax score of each layer, on one axis, against step.

    Raises ValueError for an empty history.
    """
    _check_history(history)
    curves = {"test accuracy": [e.test for e in history]}
    curves |= {f"layer {k + 1}": [e.argmax[k] for e in history] for k in range(len(history[-1].argmax))}
    steps = [e.step for e in history]
    reached = {name: [s for s, y in zip(steps, ys, strict=True) if y >= 0.5] for name, ys in curves.items()}
    when = [f"{name}, " + (f"step {at[0]:,}" if at else "never") for name, at in reached.items()]
    figure, (ax,) = canvas(3.6, "First at 0.5: " + "; ".join(when))
    _, look = ACCURACIES["test"]
    _curve(ax, history, curves["test accuracy"], 0, label="test accuracy", **look)
    _score_curves(ax, history, "argmax, ")
    share_axis(ax, "accuracy, argmax score")
    ax.set_xlabel("step")
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=5, columnspacing=1.2, handlelength=3)
    _mark_transition([ax], transition(history))
    return figure


@styled
def seed_spread(histories: dict[str, list[list[Evaluation]]]) -> Figure:
    """Does it depend on the seed? One panel a label: test accuracy of each seed, median, and band from min to max.

    histories: label to one history a seed; the steps that all seeds of a label measured are drawn.
    Raises ValueError where a label has no seed, or its seeds no step in common.
    """
    if not histories or not all(histories.values()):
        raise ValueError("Every label needs a history, and there must be a label: give {label: [history, ...]}.")
    spread = {label: _spread(label, seeds) for label, seeds in histories.items()}
    last = {label: median[-1] for label, (_, _, median, _) in spread.items()}
    low, high = min(last, key=last.get), max(last, key=last.get)
    title = f"Median test accuracy at the end: {last[high]:.3f}"
    if last[high] > last[low]:
        title = f"Median test accuracy at the end: from {last[low]:.3f} ({low}) to {last[high]:.3f} ({high})"
    cols = columns(len(spread))
    rows = ceil(len(spread) / cols)
    figure, axes = canvas(0.9 + 2.5 * rows, title, rows, cols, sharey=True)
    for i, (ax, (label, (steps, least, median, most))) in enumerate(zip(axes, spread.items(), strict=False)):
        n = len(histories[label])
        ax.fill_between(steps, least, most, color=SKY, alpha=0.45, lw=0, label="min to max over seeds")
        for k, history in enumerate(histories[label]):
            values = {e.step: e.test for e in history}
            ax.plot(steps, [values[s] for s in steps], color=GREY, lw=0.7, label="" if k else "each seed")
        ax.plot(steps, median, color=BLUE, marker="o", ms=3.5, markevery=max(1, len(steps) // 10), label="median")
        ax.set_title(f"{fill(label, 26)}\n{n} {'seed' if n == 1 else 'seeds'}: {least[-1]:.3f} to {most[-1]:.3f}")
        share_axis(ax, "test accuracy" if i % cols == 0 else "")
        ax.set_xlabel("step")
        ax.locator_params(axis="x", nbins=4)
    for ax in axes[len(spread) :]:
        ax.remove()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def _check_history(history: list[Evaluation]) -> None:
    if not history:
        raise ValueError("There is no evaluation to draw yet: give a history of at least one.")


def _curves_title(history: list[Evaluation], jump: int | None) -> str:
    last = history[-1]
    if jump is None:
        return (
            f"No jump in test accuracy up to step {last.step:,}: {last.test:.3f}; on trained sequences {last.fit:.3f}"
        )
    return f"Test accuracy jumps near step {jump:,}; it is {last.test:.3f} at step {last.step:,}"


def _curve(ax: Axes, history: list[Evaluation], values: list[float], i: int, **look) -> None:
    """One curve, its markers out of step with those of the others, so that curves that coincide stay apart."""
    every = max(1, len(history) // MARKERS)
    ax.plot([e.step for e in history], values, markevery=(i * every // 4 % len(history), every), zorder=3, **look)


def _score_curves(ax: Axes, history: list[Evaluation], prefix: str = "") -> None:
    for k in range(len(history[-1].argmax)):
        colour, line, marker = LAYERS[k % len(LAYERS)]
        look = {"color": colour, "ls": line, "marker": marker, "label": f"{prefix}layer {k + 1}"}
        _curve(ax, history, [e.argmax[k] for e in history], k + 1, **look)


def share_axis(ax: Axes, label: str) -> None:
    ax.set(ylim=(-0.03, 1.05), ylabel=label)
    ax.grid(axis="y", color=PALE, lw=0.6)
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def baseline_lines(ax: Axes, baselines: dict[str, float]) -> None:
    """Dashed lines, their names in the right margin: a thin line leads to a name that had to move up."""
    height = -1.0
    for name, value in sorted(baselines.items(), key=lambda item: item[1]):
        height = max(value, height + 0.075)
        ax.axhline(value, color=GREY, ls=(0, (4, 3)), lw=1, zorder=1, label=f"_{name}")
        place = {"xycoords": ("axes fraction", "data"), "annotation_clip": False, "va": "center", "fontsize": SMALL}
        line = {"arrowstyle": "-", "relpos": (0, 0.5), "color": GREY, "lw": 0.6, "shrinkA": 1, "shrinkB": 0}
        ax.annotate(f"{name} {value:.2f}", (1, value), (1.03, height), arrowprops=line, **place)


def _mark_transition(axes: list[Axes], step: int | None) -> None:
    if step is None:
        return
    for ax in axes:
        ax.axvline(step, color=INK, ls=(0, (1, 1)), lw=1.4, zorder=2, label="_transition")
    axes[0].annotate(f"step {step:,}", (step, 0.02), (4, 0), textcoords="offset points", fontsize=SMALL, va="bottom")


def _spread(label: str, seeds: list[list[Evaluation]]) -> tuple[list[int], list[float], list[float], list[float]]:
    """Steps that all seeds measured; least, median and most of test accuracy there."""
    tests = [{e.step: e.test for e in history} for history in seeds]
    steps = sorted(set.intersection(*map(set, tests)))
    if not steps:
        raise ValueError(f"The seeds of {label!r} have no step in common: measure them at the same steps.")
    values = torch.tensor([[test[s] for s in steps] for test in tests], dtype=torch.double)
    return steps, values.amin(0).tolist(), values.quantile(0.5, dim=0).tolist(), values.amax(0).tolist()
