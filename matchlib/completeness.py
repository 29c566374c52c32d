"""Is the circuit all of it? Faithfulness and completeness as numbers, over every part of the circuit.

*Faithful*: the circuit alone still answers; every other attention edge is cut, or carries nothing about this sequence.
*Complete*: whatever part of the circuit is missing, the rest of the model is as lost as the rest of the circuit. The
largest gap between the two, over all parts, is the number to quote: what the model can do without the circuit's part,
it does by another way. Definitions after arXiv 2211.00593, section 4; here over every subset of the path's edges.

Beware: a "circuit" of the very edges that this question needs gives the answer away, since the edge to the answer,
alone, makes the model say it. So what is kept here are `patch.candidates`, which leave every choice to the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool
from torch import Tensor

from matchlib.data import Batch
from matchlib.evidence import Count
from matchlib.hooks import cache
from matchlib.model import Transformer
from matchlib.patch import FILLS, Changes, cut, edges, keep_only, resend, says, together

Kept = Bool[Tensor, "batch layer query key"]


@dataclass(frozen=True, eq=False)
class Part:
    """One attention edge of each sequence, by the part that it plays."""

    name: str
    layer: int
    edges: Bool[Tensor, "batch query key"]


@dataclass(frozen=True)
class Missing:
    """What is still answered when a part of the circuit is missing: by the rest of the model, by the circuit's rest."""

    parts: tuple[str, ...]
    model: Count
    circuit: Count

    @property
    def gap(self) -> float:
        return self.model.rate - self.circuit.rate


def parts(batch: Batch, n_layers: int, pair_again: bool = False) -> list[Part]:
    """The edges of the path: "pair 1" (layer 0, first edge of the path), "read 1" (layer 1, its second token), ...

    pair_again: also the pairing that layer 1 may repeat, "pair 2 again", ...: for every edge of the path but the first,
    which layer 1 itself reads. Raises ValueError for questions of several lengths, or more hops than matching layers.
    """
    hops = set(batch.hops.tolist())
    if len(hops) != 1 or max(hops) >= n_layers:
        raise ValueError(
            f"Questions of {sorted(hops)} hops and {n_layers} layers do not fit: ask for one number of hops, below "
            "the number of layers."
        )
    shape, found = batch.tokens.shape, []
    for hop, pos in enumerate(batch.path_pos.T, start=1):
        pair = edges(pos + 1, pos, *shape)
        found += [Part(f"pair {hop}", 0, pair), Part(f"read {hop}", hop, edges(-1, pos + 1, *shape))]
        found += [Part(f"pair {hop} again", 1, pair)] if pair_again and hop > 1 else []
    return found


def faithful(
    model: Transformer,
    batch: Batch,
    kept: Kept,
    fill: str = "zero",
    generator: torch.Generator | None = None,
) -> Count:
    """How often is the answer right when only these edges carry what they carry?

    fill: what all other edges carry, each at the weight that it has. "zero": nothing; "mean": the mean value over the
    batch and its positions; "resample": the value of the same position in another sequence. Raises ValueError for
    another fill, or a missing generator.
    """
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r} is not known: choose one of {', '.join(FILLS)}.")
    if fill == "resample" and generator is None:
        raise ValueError("fill='resample' draws at random: give it a generator.")
    if fill == "zero":
        return _right(model, batch, _only(kept))
    names = [f"blocks.{layer}.attn.v" for layer in range(model.cfg.n_layers)]
    values = cache(model, batch.tokens, names)[1]
    order = torch.randperm(len(batch), generator=generator) if fill == "resample" else None
    changes = []
    for layer, name in enumerate(names):
        v = values[name]
        donor = v.mean(dim=(0, 2), keepdim=True).expand_as(v) if order is None else v[order]
        changes.append(resend(layer, ~kept[:, layer], {name: donor}))
    return _right(model, batch, together(*changes))


def complete(model: Transformer, batch: Batch, kept: Kept, path: Sequence[Part]) -> list[Missing]:
    """For every subset of the path's edges: what is answered without it, by the model and by the kept edges alone."""
    found = []
    for size in range(len(path) + 1):
        for gone in combinations(path, size):
            without = together(*(cut(part.layer, part.edges) for part in gone))
            rest = together(_only(kept), without)
            names = tuple(part.name for part in gone)
            found.append(Missing(names, _right(model, batch, without), _right(model, batch, rest)))
    return found


def _only(kept: Kept) -> Changes:
    return together(*(keep_only(layer, kept[:, layer]) for layer in range(kept.shape[1])))


def _right(model: Transformer, batch: Batch, changes: Changes) -> Count:
    return Count.of(says(model, batch.tokens, changes) == batch.answer)
