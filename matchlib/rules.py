"""How many steps can L layers do in one pass? The set-union rules of parallel reasoning, and their bounds.

Edge i is x_i -> x_{i+1}, so node i is x_i. An order lists the edges as they stand in the sequence: the edge at place s
has its first token at position 2s and its second at 2s+1; the question's start stands last. Every position holds a set
of nodes, at first its own. All positions of a layer read the sets of the layer below, and what is held is kept.

- Layer 1: the second token of an edge receives the set of the first.
- Each later layer: a position receives the set of *every* earlier position that shares a node with it.

A pass of L layers reaches k steps where the last position then holds the node k steps on. The rules are those of arXiv
2405.15302 (on parallel reasoning) and of arXiv 2509.23178, whose abstract states growth between 2^(L-1) and 3^(L-1).
What follows is ours, and the tests hold it:

- Every set is an interval, so two numbers a position say all. First tokens can be left out: the second token of an edge
  always holds at least as much, and stands right behind.
- The lower bound. After t layers every run of 2^(t-1) edges is held by one of its own second tokens: each half is, by
  induction, and the two share a node, so the later one has received the earlier. The start, which stands behind all,
  thus gains 2^(t-2) at layer t. Edges in order, forwards or backwards, give no more: each receives from one side only.
- The upper bound. On its left and on its right a set is joined by sets of the same layer, so the greatest width at most
  triples: 3^(t-1) edges after t layers. The start gains that much on one side.
- Only the order *among the edges from the start to the answer* decides whether the answer is reached: what another edge
  passes on, one of these holds no later and no further back. So a start amid the chain is a start of a shorter chain, a
  long chain is cut where the bound ends, and a ring is a chain that begins at the start.
- Receiving *every* match matters. From one sender a layer widths only double, and no order goes beyond the lower bound;
  the proof of that bound needs no more than one, well chosen.
- The causal mask matters: without it every order attains the upper bound. So do updates at once: in place, position
  after position, one layer could run to the chain's end.
- The rules know no direction: the start hears of what lies before it just as of what comes after. `reach` counts
  forwards; on a ring of at most twice the upper bound, a node may come in by the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Int
from torch import Tensor

from matchlib.evidence import Count

Held = tuple[tuple[frozenset[int], ...], ...]  # [layer][position]: the nodes held there
MOST_LISTED = 9  # edges: 362,880 orders
AT_ONCE = 4_096  # orders that are followed together: their sets stay in the processor's cache


def bounds(n_layers: int) -> tuple[int, int]:
    """The fewest and the most steps that any order of a long enough chain allows: 2^(L-1) - 1, (3^(L-1) - 1) / 2."""
    _check_whole("n_layers", n_layers)
    return 2 ** (n_layers - 1) - 1, (3 ** (n_layers - 1) - 1) // 2


def reach(order: Sequence[int], n_layers: int, start: int = 0, ring: bool = False) -> int:
    """Steps reachable from node `start` when the edges x_i -> x_{i+1} stand in this order.

    order: the number i of the edge at each place, first to last. The chain's end may cut the steps.
    Raises ValueError as `reaches` does.
    """
    return int(reaches(torch.as_tensor(order)[None], n_layers, start, ring))


def reaches(
    order: Int[Tensor, "n edge"], n_layers: int, start: int | Int[Tensor, "n"] = 0, ring: bool = False
) -> Int[Tensor, "n"]:
    """Steps reachable in each of `n` orders; `start` is one node for all, or one each.

    ring: edge E-1 leads back to node 0, so at most E steps. For a batch of a chain task, `order` is
    `batch.edge_pos[torch.arange(len(batch)), batch.which].argsort(1)`, and `start` is `batch.start`.
    Raises ValueError where a row is no order of the edges 0..E-1, or the start no node.
    """
    _check_whole("n_layers", n_layers)
    order, start = _checked(order, start, ring)
    if ring:
        order, start = (order - start[:, None]) % order.shape[1], torch.zeros_like(start)
    chunks = zip(order.split(AT_ONCE), start.split(AT_ONCE))
    return torch.cat([_follow(part, n_layers, first) for part, first in chunks])


def _follow(order: Tensor, n_layers: int, start: Tensor) -> Tensor:
    """The rules on intervals: the second token at place s holds low[s]..high[s], the last position all up to `far`."""
    n_edges = order.shape[1]
    small = next(t for t in (torch.int8, torch.int16, torch.int32) if n_edges + 1 <= torch.iinfo(t).max)
    low = order.T.to(small).contiguous()
    high, far = low + 1, start.to(small)
    for layer in range(2, n_layers + 1):
        far = torch.maximum(far, torch.where(low <= far, high, 0).amax(0))
        if layer == n_layers:
            break
        new_low, new_high = low.clone(), high.clone()
        for s in range(1, n_edges):  # a set that begins at or before this one's end, and ends behind it, shares its end
            new_high[s] = torch.maximum(high[s], torch.where(low[:s] <= high[s], high[:s], 0).amax(0))
            new_low[s] = torch.minimum(low[s], torch.where(high[:s] >= low[s], low[:s], n_edges).amin(0))
        low, high = new_low, new_high
    return far.long() - start


def sets(order: Sequence[int], n_layers: int, start: int = 0, ring: bool = False) -> Held:
    """The nodes that each of the 2E+1 positions holds: `[layer][position]`, layer 0 is before any layer.

    The rules word for word, for a board to show; `reaches` is the fast way. On a ring edge E-1 leads back to node 0,
    and a node may come in by either way round. Raises ValueError as `reaches` does.
    """
    _check_whole("n_layers", n_layers)
    places = _checked(torch.as_tensor(order)[None], start, ring)[0][0].tolist()
    n_nodes = len(places) + (not ring)
    held = tuple(frozenset({node % n_nodes}) for edge in places for node in (edge, edge + 1)) + (frozenset({start}),)
    layers = [held]
    for layer in range(1, n_layers + 1):
        heard = senders(held, layer)
        held = tuple(own.union(*(held[j] for j in heard[i])) for i, own in enumerate(held))
        layers.append(held)
    return tuple(layers)


def senders(held: Sequence[frozenset[int]], layer: int) -> tuple[tuple[int, ...], ...]:
    """From which earlier positions each position receives at `layer` (1, 2, ...), given what is held below it."""
    _check_whole("layer", layer)
    if layer == 1:
        return tuple((i - 1,) if i % 2 else () for i in range(len(held)))
    return tuple(tuple(j for j in range(i) if held[j] & own) for i, own in enumerate(held))


def slowest(n_layers: int) -> tuple[int, ...]:
    """An order that allows no more than the lower bound, on a chain with room for the upper one: the edges in order."""
    return tuple(range(max(1, bounds(n_layers)[1])))


def fastest(n_layers: int) -> tuple[int, ...]:
    """An order that attains the upper bound, of just as many edges.

    Layer l takes the start over the next 3^(l-2) edges, if one position holds all of them: that of the middle edge,
    where it stands behind the left and the right third; each third is laid out in the same way.
    """

    def block(first: int, size: int) -> list[int]:
        if size == 1:
            return [first]
        third = size // 3
        return block(first, third) + block(first + 2 * third, third) + block(first + third, third)

    _check_whole("n_layers", n_layers)
    order, first = [], 0
    for size in (3**i for i in range(n_layers - 1)):
        order += block(first, size)
        first += size
    return tuple(order) or (0,)


def fastest_share(n_layers: int) -> Fraction:
    """Which share of all orders of a long enough chain attains the upper bound: 1/3 at L=3, 1/243 at L=4, 3^-18 at L=5.

    Exact, and ours. The bound is met only where every block of `fastest` is filled, and blocks share no edge. A block
    of 3^m edges is filled where its middle edge stands last of them (one order in 3^m) and all three thirds are filled;
    that the middle third's own middle stands last, one order in 3^(m-1), is then given. So the share of filled blocks
    is p_m = p_(m-1)^3 / 3, which is 3^-u for the upper bound u at m + 1 layers.
    """
    _check_whole("n_layers", n_layers)
    return Fraction(1, 3 ** sum(bounds(m)[1] for m in range(1, n_layers)))


def random_orders(n: int, n_edges: int, generator: torch.Generator) -> Int[Tensor, "n edge"]:
    """`n` orders of the edges, all equally likely."""
    return torch.rand(n, n_edges, dtype=torch.double, generator=generator).argsort(1)


def all_orders(n_edges: int) -> Int[Tensor, "n edge"]:
    """Every order of the edges, each once. Raises ValueError beyond nine edges, 362,880 orders."""
    if type(n_edges) is not int or not 1 <= n_edges <= MOST_LISTED:
        raise ValueError(f"n_edges={n_edges!r} cannot be listed: choose 1..{MOST_LISTED}, or draw `random_orders`.")
    orders = torch.zeros(1, 1, dtype=torch.long)
    for edge in range(1, n_edges):  # the new edge at every place
        new = torch.full((len(orders), 1), edge)
        orders = torch.cat([torch.cat([orders[:, :s], new, orders[:, s:]], dim=1) for s in range(edge + 1)])
    return orders


@dataclass(frozen=True)
class Distribution:
    """How many orders reach how far."""

    counts: tuple[int, ...]  # orders that reach 0, 1, 2, ... steps
    exact: bool  # every order once; else drawn

    @property
    def n(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float:
        """Steps."""
        return sum(steps * count for steps, count in enumerate(self.counts)) / self.n

    def at_least(self, steps: int) -> Count:
        """How many orders reach `steps` or more."""
        return Count(sum(self.counts[max(0, steps) :]), self.n)

    def interval(self, steps: int) -> tuple[float, float]:
        """The share of orders that reach `steps` or more: a 95 % interval, or twice the share where it is exact."""
        count = self.at_least(steps)
        return (count.rate, count.rate) if self.exact else count.interval


def reach_distribution(
    n_edges: int, n_layers: int, start: int = 0, n_orders: int = 100_000, generator: torch.Generator | None = None
) -> Distribution:
    """How the reach is spread over the orders of a chain, all equally likely.

    Only the edges from the start to the upper bound matter: where they are nine or fewer, all their orders are listed,
    and `n_orders` is not used; beyond, `n_orders` are drawn from `generator`.
    Raises ValueError without one where it is needed, and for a chain or a start that cannot be.
    """
    for name, value in (("n_edges", n_edges), ("n_orders", n_orders), ("n_layers", n_layers)):
        _check_whole(name, value)
    _check_start(start, n_edges)
    matter = max(1, min(n_edges - start, bounds(n_layers)[1]))
    exact = matter <= MOST_LISTED
    if not exact and generator is None:
        raise ValueError(
            f"{matter} edges have too many orders to list ({MOST_LISTED} edges are the limit): "
            "give a torch.Generator to draw some."
        )
    orders = all_orders(matter) if exact else random_orders(n_orders, matter, generator)
    steps = reaches(orders, n_layers).clamp(max=n_edges - start)  # at the chain's end no step is left
    return Distribution(tuple(steps.bincount().tolist()), exact)


def _check_whole(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")


def _check_start(start: object, most: int) -> None:
    if type(start) is not int or not 0 <= start <= most:
        raise ValueError(f"start={start!r} is not a node: choose one of 0..{most}.")


def _checked(order: Tensor, start: int | Tensor, ring: bool = False) -> tuple[Tensor, Tensor]:
    """The orders and a start for each, if each row is an order of its edges and each start a node."""
    whole = not (order.is_floating_point() or order.is_complex() or order.dtype == torch.bool)
    if order.ndim != 2 or order.shape[1] == 0 or not whole:
        raise ValueError(
            f"Orders of shape {tuple(order.shape)} and type {order.dtype} cannot be read: "
            "give whole numbers, one row an order of at least one edge."
        )
    order, n_edges = order.long(), order.shape[1]
    wrong = (order.sort(1).values != torch.arange(n_edges, device=order.device)).any(1)
    if wrong.any():
        row = order[wrong][0].tolist()
        raise ValueError(f"{row} is no order of {n_edges} edges: each of 0..{n_edges - 1} must stand in it once.")
    most = n_edges - ring
    if not isinstance(start, Tensor):
        _check_start(start, most)
        return order, order.new_full((len(order),), start)
    if start.shape != (len(order),) or start.is_floating_point() or ((start < 0) | (start > most)).any():
        raise ValueError(
            f"The starts, of shape {tuple(start.shape)}, do not fit: give {len(order)}, each one of 0..{most}."
        )
    return order, start.long()
