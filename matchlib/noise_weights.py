"""What noise does to the weights: how its scalars move over training, and how many directions W_qk then tells apart."""

from collections.abc import Mapping
from math import ceil

import torch
from matplotlib.figure import Figure

from matchlib.arms import Groups, counted, over_seeds, span
from matchlib.ledger import OF_NOISE
from matchlib.model import Transformer
from matchlib.plots import LAYERS
from matchlib.style import BLUE, GREY, INK, VERMILLION, canvas, columns, styled

NO_MORE = 1e-9  # of the largest singular value: what is smaller is zero up to rounding


@styled
def scalar_paths(groups: Groups) -> Figure:
    """Does training keep the noise? alpha and beta of every layer against step: median and band from min to max.

    A row an arm; a diamond and a dotted line mark the start. Layer 0 has no alpha. Raises ValueError for no label, or
    runs without noise.
    """
    if not groups or any("alpha" not in r.columns for records in groups.values() for r in records):
        raise ValueError("Runs without noise have no alpha and beta: give {label: records} of runs with noise alone.")
    found = {(row, name): over_seeds(row, records, name) for row, records in groups.items() for name in OF_NOISE}
    figure, axes = canvas(1.5 + 1.5 * len(groups), _paths_title(found), len(groups), 2, sharex=True, sharey="row")
    looks = [(INK, "-", "o"), *LAYERS]
    for ax, ((row, name), (steps, least, middle, most)) in zip(axes, found.items()):
        first = 1 if name == "alpha" else 0
        for k in range(middle.shape[1]):
            layer = k + first
            colour, line, marker = looks[layer % len(looks)]
            ax.fill_between(steps, least[:, k], most[:, k], color=colour, alpha=0.16, lw=0, label=f"_band {layer}")
            every = max(1, len(steps) // 8)
            mark = (1 + layer * every // 3, every)
            ax.plot(steps, middle[:, k], color=colour, ls=line, marker=marker, markevery=mark, label=f"layer {layer}")
        start = getattr(groups[row][0].model, name)
        ax.axhline(0, color=GREY, lw=0.8, zorder=1, label="_zero")
        ax.axhline(start, color=GREY, ls=(0, (1, 1.5)), lw=1.2, zorder=1, label="_start")
        ax.plot(steps[:1], [start], "D", color=INK, mfc="white", ms=7, zorder=5, clip_on=False, label="start")
        ax.set_title(f"{row}: {name} ({counted(groups[row])})")
        ax.set_ylabel(name)
        ax.margins(y=0.12)
        ax.locator_params(axis="x", nbins=4)
        ax.locator_params(axis="y", nbins=5)
    for ax in axes[-2:]:
        ax.set_xlabel("step (line: median over seeds; band: min to max)")
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower left", ncols=6, handlelength=4)
    return figure


@styled
def spectra(models: Mapping[str, Transformer], layer: int = 1) -> Figure:
    """How many directions can W_qk tell apart? Its singular values, sorted, with its noise and without.

    Without, W_q W_k^T has at most d_head that are not zero; noise has d_model. Singular values below 1e-9 of the
    largest are zero up to rounding and not drawn. Raises ValueError for no model, IndexError for a layer that is not
    there.
    """
    if not models:
        raise ValueError("There is no model to draw: give {name: model}.")
    found = {name: _singular(model, layer) for name, model in models.items()}
    cols = columns(len(found), most=3)
    lines = ceil(len(found) / cols)
    title = _spectra_title(models, found, layer)
    figure, axes = canvas(1.4 + 2.3 * lines, title, lines, cols, sharey=True)
    for i, (ax, (name, curves)) in enumerate(zip(axes, found.items())):
        for (label, values), (colour, line, marker) in zip(curves.items(), [(VERMILLION, "--", "s"), (BLUE, "-", "o")]):
            ax.plot(range(1, len(values) + 1), values, color=colour, ls=line, marker=marker, ms=4, label=label)
        d_head = models[name].cfg.d_head
        ax.axvline(d_head + 0.5, color=GREY, ls=(0, (1, 1.5)), lw=1.2, label="d_head")
        ax.set_title(f"{name}\n" + ", ".join(f"{label}: {len(values)}" for label, values in curves.items()))
        ax.set(yscale="log", xlabel="rank of the singular value", ylabel="singular value" if i % cols == 0 else "")
        ax.yaxis.set_minor_formatter("")
        ax.set_xlim(0, models[name].cfg.d_model + 1)
    for ax in axes[len(found) :]:
        ax.remove()
    handles = {}
    for ax in figure.axes:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels())))
    figure.legend(handles.values(), handles, loc="outside lower left", ncols=3, handlelength=4)
    return figure


@torch.no_grad()
def _singular(model: Transformer, layer: int) -> dict[str, list[float]]:
    """Singular values of W_qk without its noise, and with it where it has any, largest first: those above zero."""
    model.w_qk(layer)  # refuses a layer that is not there
    block = model.blocks[layer]
    learned = block.w_q.double() @ block.w_k.double().T  # in float32 zeros would come out as 1e-7
    matrices = {"without noise": learned}
    if block.z_qk is not None:
        matrices["with noise"] = learned + block.alpha.double() * block.z_qk.double()
    values = {name: torch.linalg.svdvals(matrix.cpu()) for name, matrix in matrices.items()}
    return {name: v[v > NO_MORE * v[0]].tolist() for name, v in values.items()}


def _spectra_title(models: Mapping[str, Transformer], found: Mapping, layer: int) -> str:
    sizes = {len(curves["without noise"]) for curves in found.values()}
    noisy = {len(curves["with noise"]) for curves in found.values() if "with noise" in curves}
    widths = {model.cfg.d_model for model in models.values()}
    words = f"W_qk({layer}) has {span(sizes)} singular values above zero without its noise"
    return words + (f", {span(noisy)} with it" if noisy else "") + f", of {span(widths)}"


def _paths_title(found: Mapping) -> str:
    """How many medians end farther from zero than they start."""
    words = []
    for name in OF_NOISE:
        pairs = [(m[0], m[-1]) for (_, of), (_, _, median, _) in found.items() if of == name for m in median.T]
        words.append(f"{sum(abs(end) > abs(start) for start, end in pairs)} of {len(pairs)} {name}s")
    return f"The median ends farther from zero than it starts in {' and '.join(words)}"
