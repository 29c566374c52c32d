"""Four hops with three layers: does the place of a middle edge carry the answer?

On a third of the orders the rules allow it: edge 2 from the start stands behind its neighbours, edges 1 and 3. In
layer 1 its place looks at both; in layer 2 the question, which knows node 1 by then, finds there node 4, the answer. So
two looks of a place that is not asked about should decide, and where one of them goes elsewhere, so should the answer.
What is asked of a trained model, of such questions only:

    middle          right answers as it is
    ahead_cut       without the look from edge 2's place to edge 3's, in layer 1
    behind_cut      without the look from edge 2's place to edge 1's
    other_cut       without both of these looks of another place that stands behind its neighbours: the control
    sent            edge 2's place looks at another edge in place of edge 3: how often the model then says that edge's
                    second token, which the look would have brought
    sent_other      the same where the place of the control is sent there, in place of its own next edge
    sent_as_is      how often the model says that token with nothing changed
    looks           mean attention that the three cuts take away

All but the last as [right, questions]. Source: ours.
"""

import torch
from jaxtyping import Bool
from torch import Tensor

from matchlib.data import Batch
from matchlib.depth import count
from matchlib.patch import cut, edges, observe, redirect, says
from matchlib.record import Run
from matchlib.scaffold import places
from matchlib.train import seeded

N, HOPS, LAYERS = 4_000, 4, 3


def asks(run: Run) -> bool:
    """Whether this is a model of the question above."""
    return run.task.kind == "ring" and run.task.hops == HOPS and run.model_config.n_layers == LAYERS


def behind_both(at: Tensor) -> Bool[Tensor, "batch edge"]:
    """Which edges, counted from the start, stand behind both of their neighbours on the ring."""
    return (at > at.roll(1, dims=1)) & (at > at.roll(-1, dims=1))


def examine(run: Run) -> dict[str, list]:
    """All of the above, by name; nothing for a model that it does not fit."""
    if not asks(run):
        return {}
    model, draw = run.model.cpu(), seeded(run.seed, "middle")
    batch = run.task.sample(N, run.train_config.split, generator=draw)
    batch = batch[behind_both(places(batch))[:, 2]]
    n, n_pos = batch.tokens.shape
    row, at = torch.arange(n), places(batch)
    other, has_other = _drawn(behind_both(at), draw, but=range(5))

    def look(query: Tensor, key: Tensor) -> Tensor:
        return edges(query, key, n, n_pos)

    ahead, behind = look(at[:, 2], at[:, 3]), look(at[:, 2], at[:, 1])
    around = [at[row, (other + step) % at.shape[1]] for step in (-1, 0, 1)]
    both = look(around[1], around[0]) | look(around[1], around[2])
    both &= has_other[:, None, None]
    found = {"middle": count(says(model, batch.tokens) == batch.answer)}
    for name, gone in (("ahead_cut", ahead), ("behind_cut", behind), ("other_cut", both)):
        answered = says(model, batch.tokens, cut(1, gone)) == batch.answer
        found[name] = count(answered if name != "other_cut" else answered[has_other])
    pattern = observe(model, batch.tokens, ["blocks.1.attn.pattern"])["blocks.1.attn.pattern"].mean(1)
    found["looks"] = [
        round(float((pattern * gone).sum((1, 2))[gone.any(2).any(1)].mean()), 3) for gone in (ahead, behind, both)
    ]
    told, changed, there = _sent(run, batch, at[:, 2], at[:, 3], draw)
    found["sent"] = count((changed == told)[there])
    found["sent_as_is"] = count((says(model, batch.tokens) == told)[there])
    told, changed, there = _sent(run, batch, around[1], around[2], draw)
    found["sent_other"] = count((changed == told)[there & has_other])
    return found


def _sent(run: Run, batch: Batch, place: Tensor, key: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A place looks at an earlier edge off the path in place of this key: its second token, what is said, and where."""
    at = places(batch)
    target, there = _drawn((at < place[:, None]) & (at != key[:, None]), draw, but=range(4))
    goal = at[torch.arange(len(batch)), target]
    told = batch.tokens.gather(1, goal[:, None])[:, 0]
    return told, says(run.model, batch.tokens, redirect(1, place, key, goal)), there


def _drawn(free: Tensor, draw: torch.Generator, but: range) -> tuple[Tensor, Tensor]:
    """One of the free edges of each question, but for these; and whether there is one."""
    free = free.clone()
    free[:, list(but)] = False
    chosen = torch.rand(free.shape, generator=draw).masked_fill(~free, -1).argmax(dim=1)
    return chosen, free.any(1)
