"""Two figures of one question: the graph it came from, and how information flows through the layers to its answer.

They take a batch or arrays and return a Figure (see `matchlib.style`); nothing is computed by a model here.
"""

from collections.abc import Iterable, Sequence
from math import ceil, cos, hypot, pi, sin

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from torch import Tensor

from matchlib.data import Batch
from matchlib.style import BLUE, GREY, INK, PALE, SMALL, VERMILLION, WIDTH, bare, canvas, columns, styled

TINT = "#FBE3D3"  # a light vermillion, behind dark text
WIDEST = 5.0  # points: the line of attention 1
FEW = 12  # edges that are cut, or given: more are drawn finer, or they would hide what is left
GROUPS = 15  # edges, and the question, in one row of boxes
GAP = 0.35  # between two of them, in boxes
Edge = tuple[int, int, int]  # layer, query, key


@styled
def chain_graph(batch: Batch, i: int = 0) -> Figure:
    """What does question `i` ask? Above, its graph in chain order; below, the shuffled sequence that a model reads.

    The path from the start to the answer is thick and numbered hop by hop in both; noise edges are dashed.
    Raises IndexError for a question that the batch does not hold.
    """
    if type(i) is not int or not 0 <= i < len(batch):
        raise IndexError(f"i={i!r} is not in this batch of {len(batch)}: choose 0..{len(batch) - 1}.")
    question = batch[i : i + 1].to("cpu")
    n_chains, n_edges = question.edge_pos.shape[1:]
    ring, noisy = n_edges == question.chain.shape[2], question.noise.shape[2] > 0
    rows = ceil((question.edge_pos.numel() + question.noise_pos.numel() + 1) / GROUPS)
    above = 2.4 if ring else n_chains * (1.45 if noisy else 1.05)
    hops = int(question.hops)
    steps, lead = ("step", "leads") if hops == 1 else ("steps", "lead")
    title = f"{hops} {steps} from {int(question.path[0, 0])} {lead} to {int(question.answer)}"
    heights = [above, 0.95 * rows]
    figure, (graph, strip) = canvas(sum(heights) + 0.75, title, rows=2, height_ratios=heights)
    _draw_graph(bare(graph), question, ring)
    _draw_sequence(bare(strip), question, rows)
    return figure


def _draw_graph(ax: Axes, q: Batch, ring: bool) -> None:
    ax.set_title("the graph, in chain order")
    length, hops, which, start = q.chain.shape[2], int(q.hops), int(q.which), int(q.start)
    hop_of = {(start + h) % length: h + 1 for h in range(hops)}  # edges of the chain that is asked about
    room = 72 * WIDTH / (length + 0.5)  # points from node to node
    radius, roomy = min(13.0, 0.31 * room), length <= 8 if ring else room > 45
    names = {start: "start", (start + hops) % length: "answer"}
    nodes: dict[bool, list[tuple]] = {}  # with a name, and without: each x, y and its token
    for c, chain in enumerate(q.chain[0].tolist()):
        at = [(i, -1.5 * c) for i in range(length)]
        if ring:
            at = [(cos(pi - 2 * pi * i / length), sin(pi - 2 * pi * i / length)) for i in range(length)]
        for e in range(q.edge_pos.shape[2]):
            hop = hop_of.get(e) if c == which else None
            _arrow(ax, at[e], at[(e + 1) % length], radius, hop is not None)
            if hop:
                middle = tuple((a + b) / 2 for a, b in zip(at[e], at[(e + 1) % length], strict=True))
                _beside(
                    ax, f"hop {hop}" if roomy else str(hop), middle, _outward(middle, (0, 1), ring), 13 if ring else 9
                )
        for i, token in enumerate(chain):
            named = c == which and i in names
            nodes.setdefault(named, []).append((*at[i], token))
            if named:
                _beside(ax, names[i], at[i], _outward(at[i], (0, -1), ring), radius + 8)
        for token, joint in zip(q.noise[0, c].tolist(), q.joint[0, c].tolist(), strict=True):
            above = (at[joint][0] - 0.5, at[joint][1] + 0.75)
            _arrow(ax, above, at[joint], radius, on_path=False, dashed=True)
            nodes.setdefault(False, []).append((*above, token))
            _beside(ax, "noise", above, (-1, 0), radius + 4)
    for named, of_kind in nodes.items():
        _nodes(ax, of_kind, radius, named)
    side = 0.35 if ring else 0.5
    lowest = -1.0 if ring else -1.5 * (q.chain.shape[1] - 1)
    highest = 1.0 if ring else 0.75 if q.noise.numel() else 0.0
    ax.set(xlim=((-1 if ring else 0) - side, (1 if ring else length - 1) + side), ylim=(lowest - 0.7, highest + 0.5))


def _arrow(ax: Axes, tail: tuple, head: tuple, radius: float, on_path: bool, dashed: bool = False) -> None:
    style = {
        "arrowstyle": "-|>", "shrinkA": radius, "shrinkB": radius, "mutation_scale": radius,
        "color": VERMILLION if on_path else GREY, "lw": 3.0 if on_path else 1.2, "ls": "--" if dashed else "-",
    }  # fmt: skip
    ax.annotate("", head, tail, arrowprops=style)


def _nodes(ax: Axes, nodes: list[tuple], radius: float, named: bool) -> None:
    edge, width = (VERMILLION, 2.5) if named else (GREY, 1.2)
    look = {"color": TINT if named else "white", "edgecolors": edge, "linewidths": width, "zorder": 3}
    xs, ys, tokens = zip(*nodes)
    ax.scatter(xs, ys, s=(2 * radius) ** 2, **look)
    for x, y, token in zip(xs, ys, tokens):
        ax.text(x, y, str(token), ha="center", va="center", fontsize=min(10, 0.85 * radius), zorder=4)


def _outward(at: tuple, level: tuple, ring: bool) -> tuple:
    """Away from the graph: across a level chain, or along the normal of a ring, four times as wide as tall."""
    return (at[0] / 4, at[1]) if ring else level


def _beside(ax: Axes, words: str, at: tuple, towards: tuple, points: float) -> None:
    """Words so many points from a place, in a direction; sideways they need room for half their length as well."""
    x, y = (t / hypot(*towards) for t in towards)
    offset = (x * (points + 2.4 * len(words)), y * points)
    ax.annotate(words, at, offset, textcoords="offset points", ha="center", va="center", fontsize=SMALL)


def _draw_sequence(ax: Axes, q: Batch, rows: int) -> None:
    ax.set_title("the sequence, as the model reads it: two boxes an edge, then the question")
    tokens, start_pos = q.tokens[0].tolist(), 2 * (q.edge_pos.numel() + q.noise_pos.numel())
    hop_of = {p: h + 1 for h, p in enumerate(q.path_pos[0, : int(q.hops)].tolist())}
    noise = set(q.noise_pos.flatten().tolist())
    per_row = ceil((start_pos // 2 + 1) / rows)
    for pos, token in enumerate(tokens):
        pair, first = pos // 2, pos - pos % 2
        x, y = pair % per_row * (2 + GAP) + pos % 2, -2.1 * (pair // per_row)
        marked = first in hop_of or pos == start_pos
        box = Rectangle(
            (x, y), 1, 1, facecolor=TINT if marked else "white", edgecolor=VERMILLION if marked else GREY,
            linewidth=2.5 if marked else 1.0, linestyle="--" if first in noise else "-", zorder=2 + marked,
        )  # fmt: skip
        ax.add_patch(box)
        ax.text(x + 0.5, y + 0.5, str(token), ha="center", va="center", fontsize=SMALL, zorder=4)
        ax.text(x + 0.5, y - 0.12, str(pos), ha="center", va="top", fontsize=7, color=GREY)
        if pos == start_pos:
            ax.text(x + 0.5, y + 1.1, "?", ha="center", va="bottom", fontsize=10, fontweight="bold")
        elif pos > start_pos:
            ax.text(x + 0.5, y + 1.15, f"k = {int(q.hops)}", ha="center", va="bottom", fontsize=SMALL)
        elif pos in hop_of:
            ax.text(x + 1, y + 1.15, f"hop {hop_of[pos]}", ha="center", va="bottom", fontsize=SMALL)
    wide = max(7, per_row) * (2 + GAP)
    ax.set(xlim=(-0.2, wide), ylim=(-2.1 * (rows - 1) - 0.7, 1.7))


@styled
def information_flow(
    patterns: Float[Tensor, "layer query key"],
    tokens: Sequence,
    expected: Iterable[Edge] = (),
    answer: int | None = None,
    predicted: int | None = None,
    threshold: float = 0.1,
    *,
    cut: Iterable[Edge] = (),
    given: Iterable[Edge] = (),
    changed: Iterable[tuple[int, int]] = (),
    title: str | None = None,
) -> Figure:
    """Where does each position read from, layer by layer? Positions from left to right, layers from below.

    patterns: attention, averaged over heads; a line's width is proportional to it, and lines at or below `threshold`
    are left out. tokens: one label a position. expected: (layer, query, key) edges of the mechanism, in colour; one
    that the model does not use is a thin dotted line. Dashed lines are the residual stream. After arXiv 2405.15302.
    cut, given: edges that an intervention takes attention from, or hands it to; changed: (position, level) whose
    content it changes, level 0 being the embedding and l + 1 what stands after layer l. title: in place of the finding.
    Raises ValueError where shapes, labels, edges or places do not fit together.
    """
    patterns = torch.as_tensor(patterns).detach().cpu()
    tokens = [str(int(t) if isinstance(t, Tensor) else t) for t in tokens]
    expected, cut, given = ([tuple(map(int, edge)) for edge in edges] for edges in (expected, cut, given))
    changed = [tuple(map(int, place)) for place in changed]
    _check_flow(patterns, tokens, {"expected": expected, "cut": cut, "given": given}, changed)
    (n_layers, n_pos), missing = patterns.shape[:2], [e for e in expected if patterns[e] <= threshold and e not in cut]
    title = title or _flow_title(patterns, expected, answer, predicted) + _flow_change(cut, given, changed)
    figure, (ax,) = canvas(1.5 + 1.05 * n_layers, title)

    residual = [[(p, layer), (p, layer + 1)] for layer in range(n_layers) for p in range(n_pos)]
    dashed = LineCollection(residual, colors=GREY, linewidths=0.8, linestyles="--", zorder=1)
    ax.add_collection(dashed).set_label("residual")
    apart = {*expected, *given}  # drawn in colours of their own
    plain = [tuple(e) for e in (patterns > threshold).nonzero().tolist() if tuple(e) not in apart]
    used = [e for e in expected if patterns[e] > threshold]
    for edges, colour, label in ((plain, INK, "attention"), (used, VERMILLION, "expected attention")):
        widths = [WIDEST * float(patterns[e]) for e in edges]
        lines = LineCollection(_lines(edges), colors=colour, linewidths=widths, label=label, zorder=2 + (edges is used))
        ax.add_collection(lines).set(alpha=0.75 if edges is plain else None, capstyle="round")
    dotted = LineCollection(_lines(missing), colors=VERMILLION, linewidths=1.5, linestyles=":", zorder=4)
    ax.add_collection(dotted).set_label("expected, not used")
    for edges, marker, label, dash in ((cut, "X", "cut", "--"), (given, "P", "given", "-")):
        thin, size = (1.5, 75) if len(edges) <= FEW else (0.8, 30)
        widths = [thin if edges is cut else max(thin, WIDEST * float(patterns[e])) for e in edges]
        lines = LineCollection(_lines(edges), colors=BLUE, linewidths=widths, linestyles=dash, label=label, zorder=6)
        ax.add_collection(lines)
        halfway = [((key + query) / 2, layer + 0.5) for layer, query, key in edges]
        _marks(ax, halfway, marker, size, f"{label} here")
    _marks(ax, changed, "D", 110, "changed here")

    touched = {(key, layer) for layer, _, key in expected} | {(query, layer + 1) for layer, query, _ in expected}
    for nodes, marker, face, edge in (
        ([(p, y) for p in range(n_pos) for y in range(n_layers + 1) if (p, y) not in touched], "o", "white", GREY),
        (sorted(touched), "s", TINT, VERMILLION),
    ):
        xs, ys = zip(*nodes, strict=True) if nodes else ((), ())
        ax.scatter(xs, ys, s=34, marker=marker, color=face, edgecolors=edge, linewidths=1.2, zorder=5)
    named = answer is not None or predicted is not None
    above = 0.45 if named else 0.2
    if named:
        said = {"answer": answer, "predicted": predicted}
        words = ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)
        place = {"ha": "right", "va": "bottom", "textcoords": "offset points"}
        ax.annotate(words, (n_pos - 1, n_layers), (6, 7), fontweight="bold", **place)

    ax.set(xlim=(-0.6, n_pos - 0.4), ylim=(-0.2, n_layers + above), xlabel="token, and its position below")
    ax.set_xticks(range(n_pos), [f"{t}\n{p}" if n_pos <= 32 else f"{t} · {p}" for p, t in enumerate(tokens)])
    ax.tick_params(axis="x", labelsize=10 if n_pos <= 20 else SMALL, rotation=0 if n_pos <= 32 else 90, length=0)
    ax.set_yticks(range(n_layers + 1), ["embedding"] + [f"after layer {layer}" for layer in range(n_layers)])
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    _flow_legend(figure, threshold, bool(used), bool(missing), {"cut": cut, "given": given, "changed": changed})
    return figure


def _marks(ax: Axes, at: list[tuple[float, float]], marker: str, size: float, label: str) -> None:
    xs, ys = zip(*at, strict=True) if at else ((), ())
    ax.scatter(xs, ys, s=size, marker=marker, color=BLUE, edgecolors="white", linewidths=1.0, label=label, zorder=7)


def _lines(edges: list[Edge]) -> list[list[tuple[int, int]]]:
    return [[(key, layer), (query, layer + 1)] for layer, query, key in edges]


def _check_flow(patterns: Tensor, tokens: list[str], edges: dict[str, list[Edge]], changed: list) -> None:
    shape = tuple(patterns.shape)
    if len(shape) != 3 or shape[1] != shape[2] or 0 in shape:
        raise ValueError(f"patterns of shape {shape} do not fit: give (layer, query, key), averaged over heads.")
    if len(tokens) != shape[1]:
        raise ValueError(f"{len(tokens)} tokens do not fit patterns over {shape[1]} positions: give one a position.")
    for name, of_name in edges.items():
        if wrong := [e for e in of_name if not _inside(e, shape)]:
            raise ValueError(f"The {name} edge {wrong[0]} is not in patterns {shape}: give (layer, query, key).")
    if wrong := [place for place in changed if not _inside(place, (shape[1], shape[0] + 1))]:
        most = f"(position 0..{shape[1] - 1}, level 0..{shape[0]})"
        raise ValueError(f"The changed place {wrong[0]} is not in this figure: give {most}.")


def _inside(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(index) == len(shape) and all(0 <= x < n for x, n in zip(index, shape, strict=True))


def _flow_title(patterns: Tensor, expected: list, answer: int | None, predicted: int | None) -> str:
    if not expected:
        n_layers = len(patterns)
        return f"Attention among {patterns.shape[1]} positions, {n_layers} {'layer' if n_layers == 1 else 'layers'}"
    most = sum(float(patterns[e]) > 0.5 for e in expected)
    verdict = "" if answer is None or predicted is None else "right: " if answer == predicted else "wrong: "
    found = f"{most} of {len(expected)} expected edges hold more than half of their query's attention"
    return verdict.capitalize() + found


def _flow_change(cut: list, given: list, changed: list) -> str:
    """What an intervention did, in numbers."""
    counted = ((cut, "edge", "cut"), (given, "edge", "given attention"), (changed, "place", "changed"))
    return "".join(f"; {len(x)} {noun}{'s' * (len(x) > 1)} {what}" for x, noun, what in counted if x)


def _flow_legend(figure: Figure, threshold: float, used: bool, missing: bool, change: dict[str, list]) -> None:
    shown = [
        Line2D([], [], color=INK, lw=WIDEST, alpha=0.75, label="attention 1"),
        Line2D([], [], color=INK, lw=WIDEST * 0.3, alpha=0.75, label=f"0.3 (up to {threshold:g} is hidden)"),
    ]
    if used:
        shown.append(Line2D([], [], color=VERMILLION, lw=WIDEST, marker="s", mfc=TINT, ms=7, mew=1.2, label="expected"))
    if missing:
        shown.append(Line2D([], [], color=VERMILLION, lw=1.5, ls=":", label="expected, not used"))
    for label, marker, line, wide in (("cut", "X", "--", 1.5), ("given", "P", "-", 3), ("changed", "D", "none", 0)):
        if change[label]:
            shown.append(Line2D([], [], color=BLUE, lw=wide, ls=line, marker=marker, ms=9, mec="white", label=label))
    shown.append(Line2D([], [], color=GREY, lw=0.8, ls="--", label="residual stream"))
    ncols = columns(len(shown), most=5)  # more would leave the page
    figure.legend(handles=shown, loc="outside lower left", ncols=ncols, labelcolor=INK, edgecolor=PALE)
