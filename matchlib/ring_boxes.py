"""Boxes that are asked as a model is and answer questions on a ring, each in a way of its own: exercises of lesson 07.

What a box may know by the rules of parallel reasoning is computed from the tokens alone, as `matchlib.depth.left_open`
computes it from a batch. Ours.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from matchlib.rules import reaches

KEEP = ("rules out", "draws", "at chance")  # to the rules
BEYOND = ("follows", "clumsy", "halfway")
SHARE = 0.66  # how often the last two are right: less than one who rules out, over all forbidden orders of nine edges


def a_box(way: str, n_layers: int, hops: int, errs: float, g: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Something that names a node for each question on a ring; with a chance of `errs` it names any.

    way: rules out   the answer where the rules of `n_layers` let the start hold it, else one of the nodes left open
         draws       the same, but else one of all nodes
         at chance   one of all nodes
         follows     the answer
         clumsy      the answer in SHARE of the questions, whatever their order, else another node
         halfway     the answer where the rules let the start hold it, in SHARE elsewhere
    """
    if way not in KEEP + BEYOND:
        raise ValueError(f"way={way!r} is not known: choose one of {', '.join(KEEP + BEYOND)}.")

    def says(tokens: Int[Tensor, "n pos"]) -> Int[Tensor, "n"]:
        """The node that it names for each question."""
        nodes, places = walked(tokens)
        n, n_edges = nodes.shape
        row, order = torch.arange(n), places.argsort(1)
        ahead, behind = reaches(order, n_layers, 0, True), reaches(n_edges - 1 - order, n_layers, 0, True)
        held = (ahead >= hops) | (behind >= n_edges - hops)

        def chance(share: float) -> Bool[Tensor, "n"]:
            return torch.rand(n, generator=g) < share

        def one_of(first: int | Tensor, count: int | Tensor) -> Int[Tensor, "n"]:
            """A node among `count`, the first of which stands `first` + 1 steps on from the start."""
            return nodes[row, (first + (torch.rand(n, generator=g) * count).long()) % n_edges]

        right, anyone = nodes[:, hops - 1], one_of(0, n_edges)
        still = (n_edges - 1 - ahead - behind).clamp(min=1)  # where it is held, none may be left
        often = torch.where(chance(SHARE), right, one_of(hops, n_edges - 1))
        said = {
            "rules out": torch.where(held, right, one_of(ahead, still)),
            "draws": torch.where(held, right, anyone),
            "at chance": anyone,
            "follows": right,
            "clumsy": often,
            "halfway": torch.where(held, right, often),
        }[way]
        return torch.where(chance(errs), one_of(0, n_edges), said)

    return says


def walked(tokens: Int[Tensor, "n pos"]) -> tuple[Int[Tensor, "n edge"], Int[Tensor, "n edge"]]:
    """The nodes one, two, ... steps on from each start, and the place of the edge that leads to each.

    Raises ValueError for what are no questions on rings.
    """
    if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.shape[1] < 5 or tokens.shape[1] % 2 == 0:
        got = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ValueError(f"says() takes questions of shape (n, 2 E + 1), E edges and the start, and got {got}.")
    firsts, seconds, now = tokens[:, :-1:2], tokens[:, 1::2], tokens[:, -1]
    row, nodes, places = torch.arange(len(tokens)), [], []
    for _ in range(firsts.shape[1]):
        places.append((firsts == now[:, None]).int().argmax(dim=1))
        now = seconds[row, places[-1]]
        nodes.append(now)
    nodes, places = torch.stack(nodes, dim=1), torch.stack(places, dim=1)
    if not (places.sort(dim=1).values == torch.arange(places.shape[1])).all() or (now != tokens[:, -1]).any():
        raise ValueError("says() takes questions on rings: from the start its edges lead through all nodes and back.")
    return nodes, places
