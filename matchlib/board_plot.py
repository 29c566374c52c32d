"""The board of lesson 07: which nodes each position holds under the rules of parallel reasoning, layer by layer.

Layers are counted as in `matchlib.rules`: "after 2 layers" is what stands behind the second of them.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from matchlib.rules import Held, bounds, reach, senders, sets
from matchlib.style import BLUE, GREY, INK, PALE, SKY, SMALL, VERMILLION, canvas, columns, styled


def limits(n_edges: int, n_layers: int, start: int = 0, ring: bool = False) -> tuple[int, int]:
    """The fewest and the most steps from this start over all orders: the bounds, cut where the chain ends."""
    left = n_edges if ring else n_edges - start
    low, high = bounds(n_layers)
    return min(low, left), min(high, left)


@styled
def board(
    order: Sequence[int],
    n_layers: int,
    layer: int,
    start: int = 0,
    answers: Mapping[int, int | None] | None = None,
    *,
    ring: bool = False,
    receiver: int | None = None,
) -> Figure:
    """Which nodes does each position hold after `layer` layers, and from whom has one of them just received?

    Left: the sequence from left to right, nodes upwards; a number says after how many layers a node came to be held.
    Middle: one position, layer by layer. Right: with `answers`, the node that a model names most often for each number
    of hops (None: a token that is not in the sequence), over the nodes that the rules let the start hear of.
    layer: 0 is before any of the `n_layers`. receiver: a position, default the last, which is the start. ring: edge E-1
    leads back to node 0; nodes then stand in the order of the steps from the start.
    Raises ValueError for what is no order, no layer, no node or no position, and for an answer that is no node.
    """
    order = [int(edge) for edge in order]
    held = sets(order, n_layers, start, ring)
    n_pos, n_nodes = len(held[0]), len(order) + (not ring)
    last = n_pos - 1
    receiver = last if receiver is None else receiver
    for name, value, most in (("layer", layer, n_layers), ("receiver", receiver, last)):
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{name}={value!r} is not on this board: choose one of 0..{most}.")
    if wrong := [v for v in (answers or {}).values() if v is not None and v not in range(n_nodes)]:
        raise ValueError(f"The answer {wrong[0]!r} is not a node: give one of 0..{n_nodes - 1}, or None.")
    nodes = [(start + i) % n_nodes for i in range(n_nodes)] if ring else list(range(n_nodes))  # from below
    wide = [n_pos, n_layers + 1] + ([max(2.5, len(answers))] if answers else [])
    height = 1.75 + n_nodes * (0.3 if n_nodes < 9 else 0.25)
    title = _board_title(order, n_layers, layer, start, ring)
    figure, axes = canvas(height, title, cols=len(wide), width_ratios=wide, sharey=True)
    grid, growth = axes[:2]
    _cells(grid, [[held[t][p] for t in range(layer + 1)] for p in range(n_pos)], nodes)
    _sequence(grid, order, start, n_nodes, receiver)
    _hearing(grid, held, layer, receiver, n_nodes)
    so_far = [[held[s][receiver] for s in range(t + 1)] if t <= layer else [] for t in range(n_layers + 1)]
    _cells(growth, so_far, nodes)
    growth.add_patch(Rectangle((layer - 0.5, -0.5), 1, n_nodes, fc="none", ec=INK, lw=1.8, zorder=5, clip_on=False))
    growth.set_xticks(range(n_layers + 1))
    growth.set_xlabel("layers", labelpad=16)  # as high as that of the sequence
    growth.yaxis.set_visible(False)  # right beside those of the sequence
    growth.set_title("the start" if receiver == last else f"position {receiver}", fontsize=SMALL)
    if receiver == last:
        _bound_marks(growth, len(order), n_layers, start, nodes, ring)
    grid.set_yticks(range(n_nodes), nodes)
    grid.set(ylim=(-0.5, n_nodes + 0.6), ylabel="node held")
    if answers:
        _answers(axes[2], answers, held[-1][-1], start, nodes)
    _board_legend(figure, layer, receiver == last)
    return figure


def _cells(ax: Axes, stacks: Sequence[Sequence[frozenset[int]]], nodes: Sequence[int]) -> None:
    """A column a stack of sets, the last being what is held now; each held node with the number of its first set."""
    first = {
        (nodes.index(v), x): next(t for t, own in enumerate(stack) if v in own)
        for x, stack in enumerate(stacks) if stack for v in stack[-1]
    }  # fmt: skip
    now = max(map(len, stacks)) - 1
    picture = np.ones((len(nodes), len(stacks), 3))
    for at, t in first.items():
        picture[at] = to_rgb(GREY if t == 0 else VERMILLION if t == now else SKY)
    ax.imshow(picture, aspect="auto", origin="lower")
    for t in sorted(set(first.values())):  # digits as markers: hundreds of texts would take longer than all the rest
        ys, xs = zip(*(at for at, when in first.items() if when == t))
        look = {"ls": "", "ms": 5.8, "mew": 0.3, "color": INK if 0 < t < now else "white"}
        ax.plot(xs, ys, marker=_digit(t), zorder=3, label=f"_digit {t}", **look)
    edge = {"color": PALE, "lw": 0.6, "zorder": 2}
    ax.vlines([x + 0.5 for x in range(len(stacks) - 1)], -0.5, len(nodes) - 0.5, **edge)
    ax.hlines([y - 0.5 for y in range(len(nodes) + 1)], -0.5, len(stacks) - 0.5, **edge)
    ax.set_xlim(-0.5, len(stacks) - 0.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False, bottom=False, labelleft=True, pad=2)


@cache
def _digit(t: int) -> MarkerStyle:
    return MarkerStyle(f"${t}$")


def _sequence(ax: Axes, order: Sequence[int], start: int, n_nodes: int, receiver: int) -> None:
    """Below each position its node, below each pair its edge: as texts, for ticks take twice as long."""
    tokens = [node % n_nodes for edge in order for node in (edge, edge + 1)] + [start]
    ax.set_xticks([])
    for place, token in enumerate(tokens):
        _below(ax, place, 5.5, str(token), fontsize=9)
    size = SMALL if len(order) < 10 else 7
    for place, edge in enumerate(order):
        _below(ax, 2 * place + 0.5, 16, f"edge {edge}", fontsize=size, color=GREY)
    _below(ax, len(tokens) - 1, 16, "start", fontsize=size)
    ax.vlines([2 * place + 1.5 for place in range(len(order))], -0.5, n_nodes - 0.5, GREY, lw=1.2, zorder=2)
    ax.set_xlabel("the sequence, its tokens named by their nodes", labelpad=30.5)
    ax.add_patch(Rectangle((receiver - 0.5, -0.5), 1, n_nodes, fc="none", ec=INK, lw=1.8, zorder=5, clip_on=False))


def _below(ax: Axes, x: float, points: float, words: str, **look) -> None:
    """Words under the axes, so many points below; the label of the axis leaves them room."""
    down = ScaledTranslation(0, -points / 72, ax.figure.dpi_scale_trans)
    place = ax.get_xaxis_transform() + down
    ax.text(x, 0, words, transform=place, ha="center", va="top", in_layout=False, **look)


def _hearing(ax: Axes, held: Held, layer: int, receiver: int, n_nodes: int) -> None:
    """A rail above the grid: it collects from each sender and ends in an arrow to the receiver."""
    if layer == 0:
        ax.set_title("before any layer each position holds its own node", fontsize=SMALL)
        return
    heard = senders(held[layer - 1], layer)[receiver]
    who = "the start" if receiver == len(held[0]) - 1 else f"position {receiver}"
    ax.set_title(f"layer {layer}: {who} receives from {len(heard)} of {receiver} before it", fontsize=SMALL)
    if not heard:
        return
    rail, top = n_nodes + 0.25, n_nodes - 0.4
    ax.plot([min(heard), receiver], [rail, rail], color=INK, lw=1.4, clip_on=False)
    ax.annotate("", (receiver, top), (receiver, rail), arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0})
    own = held[layer - 1][receiver]
    for brings, face in ((True, VERMILLION), (False, "white")):
        at = [j for j in heard if bool(held[layer - 1][j] - own) == brings]
        ax.vlines(at, top, rail, INK, lw=1.0)
        ax.scatter(at, [top + 0.2] * len(at), marker="^", s=34, color=face, edgecolors=INK, linewidths=0.8, zorder=4)


def _bound_marks(ax: Axes, n_edges: int, n_layers: int, start: int, nodes: Sequence[int], ring: bool) -> None:
    """How far the start gets at least and at most over all orders, after each layer: at the upper rim of that node."""
    for t in range(1, n_layers + 1):
        for steps, line in zip(limits(n_edges, t, start, ring), (":", "-")):
            y = min(nodes.index(start) + steps, len(nodes) - 1) + 0.5
            ax.plot([t - 0.45, t + 0.45], [y, y], color=BLUE, ls=line, lw=2.4, zorder=6, clip_on=False)


def _answers(ax: Axes, answers: Mapping, heard: frozenset[int], start: int, nodes: Sequence[int]) -> None:
    """What a model names for each number of hops, over what the rules let the start hear of."""
    rows, at = [nodes.index(v) for v in heard], {k: x for x, k in enumerate(answers)}
    for y in rows:
        ax.axhspan(y - 0.5, y + 0.5, color=SKY, alpha=0.35, lw=0)
    for k, said in answers.items():
        asked = (nodes.index(start) + k) % len(nodes)
        y = len(nodes) if said is None else nodes.index(said)
        ax.plot(at[k], asked, "s", color=INK, mfc="none", ms=11, label="_asked")
        right = said is not None and y == asked
        marker, colour, size = ("o", BLUE, 7) if right else ("X", VERMILLION, 10)
        ax.plot(at[k], y, marker, color=colour, mec="white", ms=size, label="_said")
    if None in answers.values():
        ax.text(-0.45, len(nodes) + 0.5, "another token", fontsize=7, va="bottom")
    ax.set_xticks(range(len(at)), at)
    ax.set_xlim(-0.5, max(2.5, len(at)) - 0.5)
    ax.set_xlabel("hops asked")
    ax.set_title("the model" if None not in answers.values() else "", fontsize=SMALL)
    ax.spines[:].set_visible(False)
    ax.tick_params(left=False, bottom=False, labelleft=True, pad=2)


def _board_legend(figure: Figure, layer: int, of_start: bool) -> None:
    shown = [Patch(color=GREY, label="0: its own"), Patch(color=SKY, label="held before"),
             Patch(color=VERMILLION, label=f"{layer}: new in this layer" if layer else "new in a layer")]  # fmt: skip
    ax = figure.axes[0]
    sender = {"color": INK, "ls": "", "mew": 0.8, "ms": 6}
    shown += ax.plot([], [], "^", mfc=VERMILLION, label="sends new nodes", **sender)
    shown += ax.plot([], [], "^", mfc="white", label="sends no new node", **sender)
    if of_start:
        shown += ax.plot([], [], ls=":", color=BLUE, lw=2.4, label="fewest")
        shown += ax.plot([], [], ls="-", color=BLUE, lw=2.4, label="most of all orders")
    if len(figure.axes) > 2:
        shown += ax.plot([], [], "s", color=INK, mfc="none", ls="", ms=9, label="the right node")
        shown += ax.plot([], [], "o", color=BLUE, ls="", ms=7, label="named: right")
        shown += ax.plot([], [], "X", color=VERMILLION, ls="", ms=8, label="named: wrong")
        shown.append(Patch(color=SKY, alpha=0.35, label="the rules allow it"))
    figure.legend(handles=shown, loc="outside lower left", ncols=columns(len(shown), most=5), fontsize=SMALL)


def in_words(steps: int) -> str:
    return f"{steps} step" + "s" * (steps != 1)


def rank(found: int, low: int, high: int) -> str:
    """How a reach compares with those of all orders."""
    if low == high:
        return "as in every order"
    place = {low: "the fewest of any order", high: "the most of any order"}.get(found, "between the bounds")
    return f"{place} ({low} to {high})"


def _board_title(order: Sequence[int], n_layers: int, layer: int, start: int, ring: bool) -> str:
    low, high = limits(len(order), n_layers, start, ring)
    found = reach(order, n_layers, start, ring)
    compared = rank(found, low, high)
    if layer == n_layers:
        return f"{n_layers} layer{'s' * (n_layers != 1)} reach {in_words(found)} from node {start}, {compared}"
    now = reach(order, layer, start, ring) if layer else 0
    return f"After {layer} of {n_layers} layers: {in_words(now)}; after all: {found}, {compared}"
