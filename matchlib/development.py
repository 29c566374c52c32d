"""How a run comes to be, from inside: norms, condensation and kernels at its snapshots, as numbers and as a figure."""

from collections.abc import Mapping
from math import floor

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from matchlib.plots import ACCURACIES, LAYERS
from matchlib.probe import kernel, normalised_trace
from matchlib.record import Run
from matchlib.style import GREY, INK, PALE, canvas, styled


@torch.no_grad()
def measured(run: Run) -> dict[str, list]:
    """What the snapshots of a run hold, a list a quantity, an entry a snapshot in order of steps.

        step
        norm W_qk(l), norm W_vo(l), norm embedding     Frobenius norms, as multiples of those at the first snapshot
        cosine layer l                                 condensation: see `condensation`
        rank W_qk(1), rank W_vo(0)                     see `effective_rank`
        trace Ker(l)                                   normalised trace of each kernel

    Raises ValueError for a run without snapshots, or of fewer than two layers. Source: ours.
    """
    if not run.snapshots or run.model_config.n_layers < 2:
        raise ValueError(
            f"This run kept {len(run.snapshots)} snapshots of {run.model_config.n_layers} layers: use one that was "
            "trained with TrainConfig(snapshots=...) and has at least 2 layers."
        )
    found: dict[str, list] = {}
    for step in sorted(run.snapshots):
        model, layers = run.at(step), range(run.model_config.n_layers)
        now = {"step": step}
        now |= {f"norm W_qk({layer})": model.w_qk(layer).norm().item() for layer in layers}
        now |= {f"norm W_vo({layer})": model.w_vo(layer).norm().item() for layer in layers}
        now["norm embedding"] = model.w_e.norm().item()
        now |= {f"cosine layer {layer}": condensation(model.blocks[layer].w_in) for layer in layers}
        now |= {"rank W_qk(1)": effective_rank(model.w_qk(1)), "rank W_vo(0)": effective_rank(model.w_vo(0))}
        now |= {f"trace Ker({layer})": normalised_trace(kernel(model, layer)) for layer in layers[1:]}
        for name, value in now.items():
            found.setdefault(name, []).append(value)
    return {k: [v / values[0] for v in values] if k.startswith("norm") else values for k, values in found.items()}


def condensation(w_in: Float[Tensor, "d_model d_mlp"]) -> float:
    """Mean absolute cosine between the input weights of two neurons, over all pairs, in [0, 1].

    1 where all neurons look along one line; about sqrt(2 / (pi d_model)) where they are drawn at random.
    """
    unit = torch.nn.functional.normalize(w_in, dim=0)
    n = unit.shape[1]
    return (((unit.T @ unit).abs().sum() - n) / (n * (n - 1))).item() if n > 1 else float("nan")


def effective_rank(matrix: Float[Tensor, "d d"]) -> float:
    """exp(entropy of the singular values, as shares of their sum) / d, in (0, 1]: 1 where all are alike."""
    share = torch.linalg.svdvals(matrix)
    share = share / share.sum()
    return torch.special.entr(share).sum().exp().item() / len(matrix)


@styled
def development(runs: Mapping[str, Run]) -> Figure:
    """The story in time, a column a run: accuracies; norms; condensation and effective rank; kernels' traces.

    Grey marks what random matrices give: the mean cosine of random neurons, and two standard deviations of the
    normalised trace, which are 2 / d_model. Raises ValueError for no run, more than three, or one without snapshots.
    """
    if not 1 <= len(runs) <= 3:
        raise ValueError(f"There are {len(runs)} runs: give 1 to 3, by the names that stand above their columns.")
    every = {name: measured(run) for name, run in runs.items()}
    found = [f"{name} {first_at(run)}, {_cut(every[name]['trace Ker(1)'][-1])}" for name, run in runs.items()]
    title = f"When test accuracy is 0.5, and where the trace of Ker(1) ends: {'; '.join(found)}"
    figure, axes = canvas(9.2, title, 4, len(runs), sharex="col", sharey="row")
    for i, (name, run) in enumerate(runs.items()):
        column, of, d = axes[i :: len(runs)], every[name], run.model_config.d_model
        column[0].set_title(f"{name} (1 seed)")
        for quantity in ("test", "train", "fit"):
            words, look = ACCURACIES[quantity]
            x, y = [e.step for e in run.history], [getattr(e, quantity) for e in run.history]
            column[0].plot(x, y, **look, markevery=max(1, len(x) // 10), label=words)
        for layer, (colour, _, marker) in zip(range(run.model_config.n_layers), LAYERS * 9):
            look = {"color": colour, "marker": marker, "ms": 4}
            _line(column[1], of, f"norm W_qk({layer})", f"W_qk({layer})", ls="-", **look)
            _line(column[1], of, f"norm W_vo({layer})", f"W_vo({layer})", ls=(0, (3, 1.5)), **look, mfc="white")
            _line(column[2], of, f"cosine layer {layer}", f"cosine, layer {layer}", ls="-", **look)
            if layer:
                _line(column[3], of, f"trace Ker({layer})", f"Ker({layer})", ls="-", **look)
        _line(column[1], of, "norm embedding", "embedding", color=INK, ls=":", marker="x", ms=5)
        for matrix, marker in (("W_qk(1)", "x"), ("W_vo(0)", "+")):
            _line(column[2], of, f"rank {matrix}", f"rank, {matrix}", color=INK, ls=":", marker=marker, ms=6)
        chance = (2 / (torch.pi * d)) ** 0.5
        column[2].axhline(chance, color=GREY, ls=(0, (4, 3)), lw=1, zorder=1, label="cosine at random")
        column[3].axhspan(-2 / d, 2 / d, color=PALE, zorder=0, label="at random")
        column[1].set_yscale("log")
        column[1].yaxis.set_major_formatter("{x:g}")
        column[-1].set_xlabel("step")
    names = ("accuracy", "norm, start = 1", "cosine, rank / d_model", "normalised trace")
    for ax, words in zip(axes[:: len(runs)], names):
        ax.set_ylabel(words)
    for ax in axes:
        ax.grid(axis="y", color=PALE, lw=0.6)
    for ax in axes[len(runs) - 1 :: len(runs)]:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=3, fontsize=8.5)
    return figure


def first_at(run: Run, goal: float = 0.5) -> str:
    """When test accuracy first reaches the goal, in words."""
    return next((f"step {e.step:,}" for e in run.history if e.test >= goal - 1e-6), "never")


def _cut(value: float) -> str:
    return f"{floor(100 * value) / 100:.2f}".replace("-", "\N{MINUS SIGN}")


def _line(ax: Axes, of: dict[str, list], quantity: str, words: str, **look) -> None:
    ax.plot(of["step"], of[quantity], label=words, lw=1.4, **look)
