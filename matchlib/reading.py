"""Which layer reads which token of the path? A table, layer by step, for any number of hops and layers.

At the input of a layer the last position may hold every token of the path so far. We turn one of them into another,
along what the activation holds for each on average, and nothing else. If the layers from here on read this token, the
answer *moves* to the node as many steps after the other as remained after it; if nobody reads it any more the answer
*stays*. `told` says whether the token is there to be read at all. One space that is written over again and again
predicts that a token can no longer be told once it is old; buffers side by side predict that it can, and that only the
newest moves the answer. Ours.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.buffers import at_last, means, readable
from matchlib.data import Batch
from matchlib.evidence import Count
from matchlib.hooks import cache
from matchlib.model import Transformer
from matchlib.patch import places, redirect, replace, says


@dataclass(frozen=True)
class Reading:
    """What became of the answer when the token of one step was turned into another at the input of one layer."""

    layer: int
    step: int  # 0 is the start; the answer is the last
    moved: Count
    stayed: Count
    told: Count  # how often the token can be told among the nodes of its graph (see `buffers.readable`)


def readings(model: Transformer, batch: Batch, reference: Batch, generator: torch.Generator) -> list[Reading]:
    """The table: every layer, and every step of the path but the answer.

    reference: other questions of the same task, for the means. Only sequences that have another node with enough steps
    after it count. Raises ValueError for questions on two chains or of several lengths.
    """
    hops = _one_open_chain(batch)
    found = []
    for layer in range(model.cfg.n_layers):
        name = f"blocks.{layer}.resid_pre"
        x, there = at_last(model, batch, name), at_last(model, reference, name)
        for step in range(hops):
            mean_of = means(there, reference.path[:, step], model.cfg.vocab_size)
            told = readable(x - there.mean(dim=0), mean_of, batch.chain[:, 0], batch.path[:, step])
            found.append(Reading(layer, step, *_turn(model, batch, name, step, mean_of, generator), told))
    return found


@dataclass(frozen=True)
class Exchanged:
    """What became of the answer when the last position exchanged its attention between the right key and another."""

    layer: int
    hop: int
    attention: float  # on the right key, in the untouched run, mean over sequences and heads
    moved: Count
    stayed: Count


def exchanged(model: Transformer, batch: Batch, layer: int, hop: int, generator: torch.Generator) -> Exchanged:
    """Does a layer choose the token of this hop (1: the one after the start) by how it attends to its place?

    If so the answer moves to the node as many steps after the other as remained. A model may choose by attending to
    *all but* the right key: the attention is then near 0, and the answer moves all the same. Raises ValueError as
    `readings` does.
    """
    _one_open_chain(batch)
    n, n_edges = len(batch), batch.edge_pos.shape[2]
    row, index, left = torch.arange(n), torch.arange(n_edges), batch.path.shape[1] - 1 - hop
    own = batch.start[:, None] + hop - 1
    allowed = (index + 1 + left <= n_edges) & (index != own) & (index + 1 != batch.start[:, None])
    drawn = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, -1).argmax(dim=1)
    right, other = batch.path_pos[:, hop - 1] + 1, batch.edge_pos[row, 0, drawn] + 1
    predicted = batch.chain[row, 0, (drawn + 1 + left).clamp(max=n_edges)]
    name = f"blocks.{layer}.attn.pattern"
    attention = cache(model, batch.tokens, [name])[1][name][row, :, -1, right].mean().item()
    last = torch.full_like(right, batch.tokens.shape[1] - 1)
    said, counts = says(model, batch.tokens, redirect(layer, last, right, other)), allowed.any(dim=1)
    moved, stayed = (Count.of((said == token)[counts]) for token in (predicted, batch.answer))
    return Exchanged(layer, hop, attention, moved, stayed)


def _one_open_chain(batch: Batch) -> int:
    hops = set(batch.hops.tolist())
    if len(hops) != 1 or batch.chain.shape[1] != 1 or batch.edge_pos.shape[2] != batch.chain.shape[2] - 1:
        raise ValueError(
            f"Questions of {sorted(hops)} hops on {batch.chain.shape[1]} chain(s) do not fit: this is written for one "
            "open chain and one number of hops."
        )
    return hops.pop()


def _turn(
    model: Transformer,
    batch: Batch,
    name: str,
    step: int,
    mean_of: Float[Tensor, "vocab d_model"],
    generator: torch.Generator,
) -> tuple[Count, Count]:
    """Turn the token of this step into another: how often does the answer move as predicted, how often does it stay?"""
    chain, own, left = batch.chain[:, 0], batch.path[:, step], batch.path.shape[1] - 1 - step
    allowed = (chain != own[:, None]) & (torch.arange(chain.shape[1]) + left < chain.shape[1])
    drawn = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, -1).argmax(dim=1, keepdim=True)
    other = chain.gather(1, drawn)[:, 0]
    predicted = chain.gather(1, (drawn + left).clamp(max=chain.shape[1] - 1))[:, 0]
    change = (mean_of[other] - mean_of[own])[:, None]
    said = says(model, batch.tokens, replace(name, places(-1, *batch.tokens.shape), lambda x: x + change))
    counts = allowed.any(dim=1)
    return Count.of((said == predicted)[counts]), Count.of((said == batch.answer)[counts])
