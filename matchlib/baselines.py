"""What a guesser scores that follows no chain: the numbers to print beside every accuracy.

Computed exactly from the task, with no sampling. Ours; the need for them is measured in the course.
"""

from math import comb
from typing import TYPE_CHECKING

import torch

from matchlib.chains import MODULUS, RESIDUES, Shapes, class_sizes, pair_weights, shapes

if TYPE_CHECKING:
    from matchlib.data import ChainTask


def baselines(task: "ChainTask", split: str) -> dict[str, float]:
    """Accuracy in [0, 1] of five guessers on a split of a task.

    context token    names any node of the graph, all equally likely
    possible answer  names any node that is the answer to some question that this task asks about such a graph
    chain end        names the end of a chain (either, where there are two); 0 for a ring, which has no end
    right residue    is told the answer's residue mod 5 and names any node with it, except the start: what a
                     shortcut by the residues of tokens can reach, though not a ceiling (edges have residues too)
    seen token       names any node that training has shown
    """
    length, ends = task.chain_length, task.kind in ("double_end", "noised")
    if task.closed:
        possible, end = 1 / length, 0.0
    elif ends:
        possible = end = 1 / task.n_chains
    else:
        left = [length - k for k in task.all_hops]  # how many starts have k steps left, one of them k before the end
        end = sum(1 / n for n in left) / len(left) / task.n_chains
        possible = end if task.has_order else 1 / (max(left) * task.n_chains)
    if split in RESIDUES:
        residue = _right_residue_ruled(task, split)
    elif split == "ood":
        residue = _right_residue_ood(task)
    else:
        residue = _right_residue_free(task)
    return {
        "context token": 1 / task.n_nodes,
        "possible answer": possible,
        "chain end": end,
        "right residue": residue,
        "seen token": 1 / 2 if split == "ood" else 1 / task.n_nodes,
    }


def _questions(task: "ChainTask") -> list[tuple[int, int, float]]:
    """Index of the start, index of the answer, probability: within the chain that is asked about."""
    questions = []
    for k in task.all_hops:
        if task.closed:
            starts = range(task.n_edges)
        elif task.kind in ("double_end", "noised"):
            starts = [task.n_edges - k]
        else:
            starts = range(task.n_edges + 1 - k)
        weight = 1 / len(task.all_hops) / len(starts)
        questions += [(s, (s + k) % task.chain_length, weight) for s in starts]
    return questions


def _right_residue_ruled(task: "ChainTask", split: str) -> float:
    """Expectation of 1 / (nodes with the answer's class, less the start if it is one) under a residue rule."""
    table: Shapes = shapes(task.n_edges, RESIDUES[split], closed=task.closed, noisy=task.kind == "noised")
    weights = pair_weights(table, task.n_chains, task.n_tokens)
    group = torch.arange(len(table.size)).repeat_interleave(table.size)
    share = torch.zeros(len(table.size), MODULUS, 2, dtype=torch.double)  # group, answer's class, start has it too
    rows = table.rows.long()
    for start, answer, weight in _questions(task):
        alike = (rows[:, start] == rows[:, answer]).long()
        share.index_put_((group, rows[:, answer], alike), weight / table.size[group].double(), accumulate=True)
    other = table.counts if task.n_chains == 2 else torch.zeros(1, MODULUS, dtype=torch.long)
    nodes = table.counts[:, None, :, None] + other[None, :, :, None] - torch.arange(2)  # group, group, class, alike
    return float((weights[:, :, None, None] * share[:, None] / nodes.clamp(min=1)).sum())


def _expected_share(marked: int, tokens: int, draws: int) -> float:
    """Expectation of 1 / (1 + h), h the marked ones among `draws` out of `tokens` without replacement."""
    ways = [comb(marked, h) * comb(tokens - marked, draws - h) / (1 + h) for h in range(min(marked, draws) + 1)]
    return sum(ways) / comb(tokens, draws)


def _right_residue_free(task: "ChainTask") -> float:
    """With no rule the nodes besides the answer and the start are any of the other tokens."""
    n, sizes = task.n_tokens, class_sizes(task.n_tokens).tolist()
    return sum(m / n * _expected_share(m - 1, n - 1, task.n_nodes - 2) for m in sizes if m)


def _right_residue_ood(task: "ChainTask") -> float:
    """The node before the answer never has its residue (the test rule); the others come from the unseen block."""
    n = task.n_tokens
    seen = class_sizes(n).tolist()
    unseen = [sum(t % MODULUS == c for t in range(n + 1, 2 * n + 1)) for c in range(MODULUS)]
    edges = [seen[c] * sum(seen[(c - r) % MODULUS] for r in RESIDUES["test"]) for c in range(MODULUS)]
    total = 0.0
    for k in task.all_hops:
        draws = task.n_nodes - 2 - (k > 1)  # less the start, which is unseen unless it stands right before the answer
        total += sum(e / sum(edges) * _expected_share(u, n, draws) for e, u in zip(edges, unseen)) / len(task.all_hops)
    return total
