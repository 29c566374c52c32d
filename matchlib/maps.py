"""Heat maps: which token matches which, and is a kernel diagonal where its factors are not?

They take matrices by name and return a Figure (see `matchlib.style`).
"""

from collections.abc import Sequence
from math import ceil, floor, log10

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from matchlib.probe import argmax_of, normalised_trace
from matchlib.style import INK, SMALL, WIDTH, canvas, columns, styled

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@styled
def matching_matrices(matrices: dict[str, Float[Tensor, "query key"]], token_labels: Sequence | None = None) -> Figure:
    """Which token does each token match? One heat map a name, its argmax score above it.

    A dot marks the largest entry of each row, in matrices of up to 64 rows: where tokens match, it is on the diagonal.
    token_labels: one for each row; without them the rows are vectors, counted from 1. Raises ValueError for shapes that
    do not fit.
    """
    matrices = _squares(matrices)
    scores = {name: argmax_of(h) for name, h in matrices.items()}
    title = "The diagonal wins its row: " + ", ".join(f"{100 * s:.3g} % ({name})" for name, s in scores.items())
    under = {name: f"argmax score {s:.3f}" for name, s in scores.items()}
    figure, axes = _maps(matrices, under, title, "cividis", centred=False)
    for i, (ax, (name, h)) in enumerate(zip(axes, matrices.items(), strict=True)):
        labels = range(1, len(h) + 1) if token_labels is None else token_labels
        if len(labels) != len(h):
            raise ValueError(f"{len(labels)} token labels for the {len(h)} rows of {name!r}: give one a row.")
        at = range(0, len(h), ceil(len(h) / 8))
        for set_ticks in (ax.set_xticks, ax.set_yticks):
            set_ticks(at, [str(int(t) if isinstance(t, Tensor) else t) for t in (labels[j] for j in at)])
        kind = "vector" if token_labels is None else "token"
        ax.set(xlabel=f"key {kind}", ylabel=f"query {kind}" if i % columns(len(axes)) == 0 else "")
        if len(h) <= 64:
            ax.plot(
                h.argmax(dim=-1).tolist(),
                range(len(h)),
                "o",
                color="white",
                mec=INK,
                mew=0.6,
                ms=max(2.5, 5 - len(h) / 20),
            )
    return figure


@styled
def kernels(parts: dict[str, Float[Tensor, "d d"]]) -> Figure:
    """Is the kernel diagonal, and are its factors? One heat map a name, its normalised trace above it.

    Colours are centred on 0 and scaled for each map. Raises ValueError for a matrix that is not square.
    """
    parts = _squares(parts)
    traces = {name: normalised_trace(m) for name, m in parts.items()}
    most = max(traces, key=lambda name: abs(traces[name]))
    title = f"Normalised trace: {traces[most]:.2f} for {most}"
    if others := [abs(t) for name, t in traces.items() if name != most]:
        title += f", at most {max(others):.2f} in size for the rest"
    under = {name: f"normalised trace {t:.2f}" for name, t in traces.items()}
    figure, axes = _maps(parts, under, title, "RdBu_r", centred=True)
    for i, ax in enumerate(axes):
        ax.set(xlabel="column", ylabel="row" if i % columns(len(axes)) == 0 else "")
    return figure


def _squares(matrices: dict[str, Tensor]) -> dict[str, Tensor]:
    if not matrices:
        raise ValueError("There is no matrix to draw: give {name: matrix}.")
    found = {name: torch.as_tensor(m).detach().cpu().float() for name, m in matrices.items()}
    for name, m in found.items():
        if m.dim() != 2 or m.shape[0] != m.shape[1] or not len(m):
            raise ValueError(f"{name!r} has shape {tuple(m.shape)}: a square matrix is needed.")
    return found


def _maps(
    matrices: dict[str, Tensor], under: dict[str, str], title: str, colours: str, centred: bool
) -> tuple[Figure, list[Axes]]:
    """Heat maps, four a row, each with a scale of its own; a power of ten stands in the name of the scale."""
    cols = columns(len(matrices))
    rows, width = ceil(len(matrices) / cols), min(WIDTH, 1 + 3.5 * cols)
    figure, axes = canvas(1.0, title, rows, cols, width)
    side, lines = (width - 0.6) / cols - 0.25, 1 + figure.get_suptitle().count("\n")
    figure.set_figheight(0.25 + 0.2 * lines + rows * (side + 1.55))  # squares leave the rest of a higher picture empty
    for ax, (name, m) in zip(axes, matrices.items(), strict=False):
        limit = m.abs().max().item() or 1.0
        image = ax.imshow(m.numpy(), cmap=colours, vmin=-limit if centred else None, vmax=limit if centred else None)
        bar = figure.colorbar(image, ax=ax, location="bottom", aspect=25, shrink=0.9)
        bar.ax.tick_params(labelsize=SMALL, colors=INK)
        bar.ax.locator_params(nbins=5)
        power = 0 if 0.01 <= limit < 1000 else floor(log10(limit))
        bar.formatter = FuncFormatter(
            lambda value, _, power=power: f"{value / 10**power:g}".replace("-", "\N{MINUS SIGN}")
        )
        bar.set_label(
            f"entry, in units of 10{str(power).translate(RAISED)}" if power else "entry", fontsize=SMALL, color=INK
        )
        ax.set_title(f"{name}\n{under[name]}")
    for ax in axes[len(matrices) :]:
        ax.remove()
    return figure, axes[: len(matrices)]
