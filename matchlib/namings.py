"""What does a model answer for one order of the edges? One graph, its nodes named by other tokens again and again."""

from dataclasses import dataclass

import torch

from matchlib.data import ChainTask
from matchlib.evidence import Count
from matchlib.model import Transformer
from matchlib.panel import table

HEAD = ("hops", "right node", "the rules", "named most often", "right", "mean probability of the right node")


@dataclass(frozen=True)
class Said:
    """What a model answers when it is asked for so many hops, over all namings of the tokens."""

    hops: int
    asked: int  # the right node
    named: int | None  # the node named most often; None stands for all tokens that are not in the sequence
    times: Count  # how often that was named
    right: Count  # how often the right node was named
    probability: float  # of the right node, mean over the namings


@torch.no_grad()
def ask_order(
    model: Transformer, task: ChainTask, order: list[int], start: int, n: int, generator: torch.Generator
) -> tuple[Said, ...]:
    """What a model says for each number of hops its task asks, where the edges stand in this order.

    order: the number of the edge at each place. start: a node. n: namings, each of distinct tokens that training saw,
    drawn uniformly and with no residue rule. Hops that lead beyond the chain's end are left out.
    Raises ValueError for two chains, and for what `ChainTask.question` refuses.
    """
    if task.n_chains != 1:
        raise ValueError(f"A task of two chains ({task.kind!r}) does not fit: use one with a single chain or a ring.")
    places = [order.index(edge) for edge in range(len(order))]
    nodes = list(range(1, task.chain_length + 1))  # the tokens of the graph that is renamed: node v is token v + 1
    possible = [k for k in task.all_hops if task.closed or start + k <= task.n_edges]
    if not possible:
        return ()
    asked = [task.question(nodes, start + 1, hops=k, order=places) for k in possible]
    names = torch.rand(n, task.n_tokens, generator=generator).argsort(1)[:, : len(nodes)] + 1
    rename = torch.arange(task.vocab_size).repeat(n, 1)
    rename[:, 1 : len(nodes) + 1] = names
    tokens = torch.cat([rename.gather(1, batch.tokens.expand(n, -1)) for batch in asked])
    probabilities = model(tokens.to(model.w_e.device)).softmax(-1).cpu().view(len(asked), n, -1)
    found = []
    for batch, of_hops in zip(asked, probabilities):
        right = int(batch.answer) - 1
        is_node = of_hops.argmax(-1)[:, None] == names
        counts = [*is_node.sum(0).tolist(), int((~is_node.any(1)).sum())]  # the last: none of the nodes
        most = max(range(len(counts)), key=counts.__getitem__)
        found.append(
            Said(
                int(batch.hops), right, most if most < len(nodes) else None, Count(counts[most], n),
                Count(counts[right], n), float(of_hops.gather(1, names[:, [right]]).mean()),
            )
        )  # fmt: skip
    return tuple(found)


def said_table(said: tuple[Said, ...], task: ChainTask, heard: frozenset[int], reach: int) -> str:
    """As HTML, beside what the rules allow: `reach` steps forwards, and on a ring any other node that is `heard`."""

    def rules(one: Said) -> str:
        if one.hops <= reach:
            return "allow it"
        return "allow it, the other way round" if one.asked in heard else "forbid it"

    rows = [
        (one.hops, one.asked, rules(one), f"{'no node' if one.named is None else one.named}, {_of(one.times)}",
         _of(one.right), f"{one.probability:.3f}")
        for one in said
    ]  # fmt: skip
    beyond = [k for k in task.all_hops if k not in {one.hops for one in said}]
    rows += [(k, "none: the chain ends before", "", "", "", "") for k in beyond]
    return table("The same graph and order under many namings of the tokens", HEAD, rows)


def _of(count: Count) -> str:
    return f"{count.hits} of {count.n}"
