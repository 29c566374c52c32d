"""Figures of deeper models on richer tasks: which layer takes which hop, and which predictions came true.

They take what `matchlib.beyond.examine` found and return a Figure (see `matchlib.style`); they run no model.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from matchlib.beyond import STEPS
from matchlib.beyond_verdicts import AMENDED, HOLDS, PREDICTIONS, STORIES, TOLD, holds, judge
from matchlib.style import BLUE, GREY, INK, PALE, SMALL, VERMILLION, canvas, styled

Found = Sequence[Mapping]  # what was found of some models of one setting, one a seed
LOOKS = ((BLUE, "o"), (VERMILLION, "X"))


@styled
def hop_tables(groups: Mapping[str, Found], title: str | None = None) -> Figure:
    """Which layer stores what a node is found by, and which takes which hop? A table a group of models.

    Columns are the steps. Lower rows: what attention wrote at two nodes is exchanged, in one layer or in all but the
    last. Upper rows: the question exchanges its attention to the two. The colour and the number say how often the
    answer moves to the predicted node, the mean over models, with the lowest and the highest below where there are
    several. Raises ValueError for no group, or one without a model.
    """
    _check(groups)
    first = next(iter(groups.values()))[0]
    figure, axes = canvas(6.2, title or "How often the answer moves to the predicted node", 1, len(groups), sharey=True)
    for ax, (name, models) in zip(axes, groups.items(), strict=True):
        rates = np.stack([_rows(found) for found in models])  # model row step
        mean, low, high = rates.mean(axis=0), rates.min(axis=0), rates.max(axis=0)
        ax.imshow(mean, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
        for row, col in np.ndindex(mean.shape):
            style = {"color": "white" if mean[row, col] > 0.55 else INK, "ha": "center"}
            several = len(models) > 1
            ax.text(col, row, f"{mean[row, col]:.2f}", va="bottom" if several else "center", **style)
            if several:
                ax.text(col, row, f"{low[row, col]:.1f}–{high[row, col]:.1f}", va="top", fontsize=SMALL, **style)
        for border in (0.5, 2.5):
            ax.axvline(border, color=INK, lw=1.5)
        ax.axhline(len(first["stored_at"]) + 0.5, color=INK, lw=3)
        ax.set_xticks(range(len(STEPS)), [str(step) for _, step in STEPS])
        stores = [f"stored by {layer}" for layer in range(len(first["stored_at"]))]
        reads = [f"read by {layer}" for layer in range(1, len(first["walked_at"]) + 1)]
        ax.set_yticks(range(len(mean)), [*stores, "stored by any", *reads, "read by any"])
        ax.set_title(f"{name} ({len(models)})" if len(models) > 1 else name)
    figure.supxlabel("the step that is exchanged: of 1 hop | of 2 hops | of 3 hops", fontsize=10, color=INK)
    return figure


@styled
def prediction_marks(groups: Mapping[str, Mapping[str, Found]], title: str | None = None) -> Figure:
    """Which predictions came true? A panel a task, a row a prediction, a mark a model, at its worst step or hop.

    groups: task to setting to models; up to two settings, told apart by colour and mark. The line is where a prediction
    holds. Raises ValueError for no task, more settings than there are marks, or a setting without a model.
    """
    for of_task in groups.values():
        _check(of_task)
    settings = list(dict.fromkeys(name for of_task in groups.values() for name in of_task))
    if not groups or len(settings) > len(LOOKS):
        raise ValueError(
            f"There are {len(groups)} tasks and {len(settings)} settings: give 1 to {len(LOOKS)} of these."
        )
    figure, axes = canvas(4.6, title or _marks_title(groups), 1, len(groups), sharey=True)
    rows = list(PREDICTIONS)
    for ax, (task, of_task) in zip(axes, groups.items(), strict=True):
        for name, models in of_task.items():
            k = settings.index(name)
            colour, marker = LOOKS[k]
            marks = [(rate, rows.index(p) + 0.3 * k - 0.15) for found in models for p, rate in judge(found).items()]
            style = {"color": colour, "mec": "white", "mew": 0.6, "ms": 8, "ls": ""}
            ax.plot(*zip(*marks, strict=True), marker, label=name, **style)
        ax.axvline(HOLDS, color=GREY, ls="--", lw=1.2)
        for above in (len(TOLD), len(TOLD | AMENDED)):
            ax.axhline(above - 0.5, color=INK, lw=1.5)
        ax.set(xlim=(-0.04, 1.04), ylim=(len(rows) - 0.5, -0.5), title=task)
        ax.set_yticks(range(len(rows)), rows)
        ax.grid(axis="y", color=PALE, lw=0.6)
    axes[len(axes) // 2].set_xlabel("how often it comes true, at the worst step")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=len(settings))
    return figure


def _rows(found: Mapping) -> np.ndarray:
    """Rates by row and step: what each layer stored, and all; what the question reads in each layer, and in all."""
    counts = np.array([*found["stored_at"], found["stored"], *found["walked_at"], found["walked"]], dtype=float)
    return counts[:, :, 0] / counts[:, :, 1]


def _check(groups: Mapping[str, Found]) -> None:
    if not groups or not all(groups.values()):
        raise ValueError("There is nothing to draw: give {name: [what was found, ...]}, at least one model each.")


def _marks_title(groups: Mapping[str, Mapping[str, Found]]) -> str:
    every = [found for of_task in groups.values() for models in of_task.values() for found in models]
    kept = [f"{name} {sum(holds(found, story) for found in every)}" for name, story in STORIES.items()]
    return f"Models that keep all predictions, of {len(every)}: {', '.join(kept)}"
