"""Figures of "do trained models keep to the rules?": accuracy by what they leave open, cuts, and who looks at whom.

They take what `matchlib.depth` found and run no model.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from matchlib.causal_plots import LOOKS
from matchlib.style import GREY, INK, PALE, canvas, columns, styled

LEAST = 30  # questions that a point must stand for
CUTS = {
    "behind": "nothing cut",
    "hop_other": "one edge cut in layer 1: another\nplace to the one before it",
    "hop_cut": "one edge cut in layer 1: the answer's\nplace to the one before it",
}


@styled
def beyond_the_rules(opened: Mapping[str, Sequence[Sequence[Sequence[int]]]], title: str) -> Figure:
    """How often is the answer right where the rules leave so many nodes open? One panel a kind of model, a line a seed.

    opened: by name, `depth.examine(run)["open"]` of each seed: [right, questions] by number of nodes left open, 0 where
    the answer is held. The dashed line is one who draws among the open nodes. Points of fewer than 30 questions are
    left out. Raises ValueError for nothing to draw.
    """
    if not opened or not all(opened.values()):
        raise ValueError("There is nothing to draw: give at least one kind of model, and a seed of each.")
    cols = columns(len(opened), most=3)
    figure, axes = canvas(0.9 + 2.8 * -(-len(opened) // cols), title, -(-len(opened) // cols), cols, sharey=True)
    most = max(n for seeds in opened.values() for seed in seeds for n, (_, asked) in enumerate(seed) if asked >= LEAST)
    guess = [1, *(1 / n for n in range(1, most + 1))]
    for ax, (name, seeds) in zip(axes, opened.items()):
        ax.plot(range(most + 1), guess, color=GREY, ls=(0, (4, 3)), lw=1.4, label="one who draws among these")
        for k, seed in enumerate(seeds):
            colour, marker = LOOKS[k % len(LOOKS)]
            points = [(n, right / asked) for n, (right, asked) in enumerate(seed) if asked >= LEAST]
            ax.plot(*zip(*points), color=colour, marker=marker, ms=6, lw=1.2, label=f"seed {k + 1}")
        ax.set(ylim=(-0.03, 1.05), xlabel="nodes that the rules leave open (0: held)", title=name)
        ax.set_xticks(range(most + 1))
        ax.grid(axis="y", color=PALE, lw=0.6)
    axes[0].set_ylabel("accuracy")
    axes[0].legend(loc="lower left")
    for ax in axes[len(opened) :]:
        ax.remove()
    return figure


@styled
def cuts(accuracy: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> Figure:
    """Does a bystander carry the answer? Accuracy with one attention edge cut, or none; a row a cut, a mark a seed.

    accuracy: by kind of model, then by the names of `CUTS` (see `matchlib.depth`), an accuracy a seed.
    Raises ValueError for a cut of another name, nothing to draw, or more kinds than there are marks.
    """
    strange = {name for of_kind in accuracy.values() for name in of_kind} - set(CUTS)
    if strange or not 1 <= len(accuracy) <= len(LOOKS):
        raise ValueError(
            f"{len(accuracy)} kinds of model with the cuts {sorted(strange) or 'known'} cannot be drawn: give 1 to "
            f"{len(LOOKS)} kinds, and cuts among {', '.join(CUTS)}."
        )
    figure, (ax,) = canvas(3.6, title)
    for k, ((kind, found), (colour, marker)) in enumerate(zip(accuracy.items(), LOOKS)):
        for row, name in enumerate(CUTS):
            x = found.get(name, ())
            y = np.full(len(x), row + 0.22 * (k - (len(accuracy) - 1) / 2))
            ax.plot(x, y, marker, color=colour, mec="white", mew=0.6, ms=8, ls="", label=f"_{kind} {name}")
        ax.plot([], [], marker, color=colour, mec="white", ms=8, ls="", label=kind)
    ax.set(xlim=(-0.03, 1.03), ylim=(len(CUTS) - 0.5, -0.5), xlabel="accuracy (a mark: one seed)")
    ax.set_yticks(range(len(CUTS)), CUTS.values())
    ax.grid(axis="x", color=PALE, lw=0.6)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=3)
    return figure


@styled
def who_looks(seen: Float[Tensor, "layer query key"], title: str) -> Figure:
    """Which node's place looks at which? One panel a layer, from `depth.seen`: rows look, columns are looked at.

    Nodes are counted in steps from the start; the last row and column is the question's position. The share of
    attention that goes to places that are not shown (first tokens) is what a row lacks to 1.
    """
    n_layers, n, _ = seen.shape
    figure, axes = canvas(1 + 8.2 / n_layers, title, 1, n_layers)
    names = [str(step) for step in range(1, n)] + ["?"]
    for layer, ax in enumerate(axes):
        ax.imshow(seen[layer].numpy(), cmap="Greys", vmin=0, vmax=1)
        for (query, key), share in np.ndenumerate(seen[layer].numpy()):
            if share >= 0.15:
                ink = "white" if share > 0.55 else INK
                ax.text(key, query, f"{share:.1f}".lstrip("0"), ha="center", va="center", fontsize=7, color=ink)
        ax.set_xticks(range(n), names)
        ax.set_yticks(range(n), names)
        ax.set_title(f"layer {layer}")
    figure.supxlabel("is looked at: steps from the start", fontsize=10)
    axes[0].set_ylabel("looks: steps from the start")
    return figure
