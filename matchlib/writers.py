"""Boxes of known behaviour for the exercises of lesson 08: a hop that some layers take, and writers of many ways.

A ring has twelve edges, and a page room for eleven written nodes. Ours.
"""

import random
from collections.abc import Callable, Collection, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matchlib.ring_boxes import walked

LAYERS = (1, 2, 3, 4)
MOVES = 0.9  # an answer counts as moved where it goes as predicted in this share of the questions
N_EDGES, MOST = 12, 11  # of a ring, and nodes that can be written: the last stands behind a text of as many
QUESTION = 2 * N_EDGES + 1
FORGET = ("on", "back", "two on", "larger")  # the newest node is all that these writers need
REMEMBER = ("mends", "turns", "round", "counts", "looks back", "no repeat")
COUNTED = 6
ERRS = ("steps", "places", "questions", "mends")


def a_hop(smallest: Collection[set[int]], part: float = 0.0, seed: int = 0) -> Callable[[Collection[int]], float]:
    """What an experiment finds about one hop: moved(layers), the share of questions whose answer moves as predicted.

    smallest: the sets of layers in which attention must be exchanged at once; more layers change nothing. part: about
    how often the answer moves where the layers hold some of such a set, and not all of any.
    """

    def moved(layers: Collection[int]) -> float:
        """The share of questions in which the answer moves as predicted, attention exchanged in all these layers."""
        if not isinstance(layers, set | frozenset | list | tuple) or not set(layers) <= set(LAYERS):
            raise ValueError(
                f"moved() takes a set of layers among {list(LAYERS)}, such as {{1, 3}}, and got {layers!r}"
            )
        rng = random.Random(f"{seed} {sorted(set(layers))}")
        if any(one <= set(layers) for one in smallest):
            return rng.uniform(MOVES + 0.02, 1)
        some = any(one & set(layers) for one in smallest)
        return rng.uniform(0, 0.1) + (part if some else 0)

    return moved


def a_writer(way: str, ring: Sequence[int]) -> Callable[[Sequence[int]], int]:
    """Something that writes on a ring: writes(text) is the node that it puts behind a text, or 0 where it ends.

    way: on          the node after the newest
         back        the node before the newest
         two on      the node two steps after the newest
         larger      the next larger token of the ring
         mends       the node that is as many steps from the start as the text is long, whatever is written
         turns       on, but back where the last step led back
         round       on, and 0 where the start would be next
         counts      on, and 0 once COUNTED nodes stand there
         looks back  on, but two on where the third newest node is an even token
         no repeat   on, past all nodes that are written already
    """
    if way not in FORGET + REMEMBER:
        raise ValueError(f"way={way!r} is not known: choose one of {', '.join(FORGET + REMEMBER)}.")
    ring = list(ring)

    def step(node: int, k: int) -> int:
        return ring[(ring.index(node) + k) % len(ring)]

    def writes(text: Sequence[int]) -> int:
        """What it puts behind this text."""
        if not isinstance(text, list | tuple) or not 1 <= len(text) <= MOST or not set(text) <= set(ring):
            raise ValueError(f"writes() takes a list of 1 to {MOST} nodes of the ring, and got {text!r}")
        newest, after = text[-1], step(text[-1], 1)
        if way == "larger":
            return min((node for node in ring if node > newest), default=min(ring))
        if way == "no repeat":
            return next(node for k in range(1, len(ring)) if (node := step(newest, k)) not in text)
        return {
            "on": after,
            "back": step(newest, -1),
            "two on": step(newest, 2),
            "mends": step(text[0], len(text)),
            "turns": step(newest, -1) if len(text) > 1 and newest == step(text[-2], -1) else after,
            "round": 0 if after == text[0] else after,
            "counts": 0 if len(text) >= COUNTED else after,
            "looks back": step(newest, 2) if len(text) > 2 and text[-3] % 2 == 0 else after,
        }[way]

    return writes


def erring(way: str, g: torch.Generator) -> Callable[[Tensor, int], Tensor]:
    """Something that writes n nodes behind questions, and is right at the eleventh in about 0.6 of them.

    way: steps      every step fails as often as every other
         places     the first four never fail, those that follow do
         questions  where the start's edge stands late every step may fail, elsewhere none
         mends      every node may be a wrong one, and the next is that of the right path all the same
    """
    if way not in ERRS:
        raise ValueError(f"way={way!r} is not known: choose one of {', '.join(ERRS)}.")

    def writes(tokens: Int[Tensor, "batch pos"], n: int) -> Int[Tensor, "batch n"]:
        """The n nodes that it writes behind these questions, or half-written texts."""
        nodes, places = asked(tokens, n)
        row = torch.arange(len(tokens))
        for _ in range(n):
            written = tokens.shape[1] - QUESTION
            newest = (nodes == tokens[:, -1:]).int().argmax(dim=1)
            right = torch.full_like(newest, written) if way == "mends" else newest + 1
            fails = {
                "steps": 0.045 * torch.ones(len(tokens)),
                "places": torch.full((len(tokens),), 0.07 * (written >= 4)),
                "questions": 0.35 * (places[:, 0] >= 7),
                "mends": 0.4 * torch.ones(len(tokens)),
            }[way]
            slip = torch.rand(len(tokens), generator=g) < fails
            other = torch.randint(1, N_EDGES, (len(tokens),), generator=g)
            said = nodes[row, (right + slip * other) % N_EDGES]
            tokens = torch.cat([tokens, said[:, None]], dim=1)
        return tokens[:, -n:]

    return writes


def asked(tokens: Tensor, n: int) -> tuple[Int[Tensor, "batch edge"], Int[Tensor, "batch edge"]]:
    """The nodes on from each start, and where their edges stand. Raises ValueError where no writer can go on."""
    if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.shape[1] < QUESTION:
        got = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        raise ValueError(f"writes() takes a tensor of shape (batch, {QUESTION} or more), and got {got}")
    room = QUESTION + MOST - tokens.shape[1]
    if type(n) is not int or not 1 <= n <= room:
        raise ValueError(f"writes() has room for {max(room, 0)} nodes behind {tokens.shape[1]} tokens, and got n={n!r}")
    try:
        return walked(tokens[:, :QUESTION])
    except ValueError:
        raise ValueError(f"writes() takes questions on rings of {N_EDGES} edges, then what is written") from None


def taught(chances: Sequence[float], shown: int) -> Float[Tensor, "place"]:
    """The share of texts in which each place of a page is answered at, where gap k is drawn with chance chances[k]."""
    chances = torch.as_tensor(chances, dtype=torch.float64)
    found = torch.zeros(len(chances) + shown - 1, dtype=torch.float64)
    for gap, chance in enumerate(chances):
        found[gap : gap + shown] += chance
    return found


def forked(tokens: Int[Tensor, "batch pos"], g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The texts with a second edge out of their newest node, and where the earlier and the later of the two lead.

    Another edge, which does not lead to the newest node, has its first token replaced by that node.
    """
    row, newest = torch.arange(len(tokens)), tokens[:, -1:]
    firsts, seconds = tokens[:, : QUESTION - 1 : 2], tokens[:, 1 : QUESTION - 1 : 2]
    own, draw = (firsts == newest).int().argmax(dim=1), torch.rand(firsts.shape, generator=g)
    draw[(firsts == newest) | (seconds == newest)] = -1
    other, changed = draw.argmax(dim=1), tokens.clone()
    changed[row, 2 * other] = newest[:, 0]
    return changed, seconds[row, torch.minimum(own, other)], seconds[row, torch.maximum(own, other)]
