"""Chains of distinct tokens, drawn uniformly from all that a residue rule allows.

A residue rule says which steps a chain may take: (x_{i+1} - x_i) mod 5 must lie in a given set. To draw a chain
uniformly, and exactly, we split a token into its class (token mod 5) and its rank within the class:

1. `Shapes` lists every class sequence that the rule allows, grouped by how often each class occurs. A group that uses
   class c k_c times stands for prod_c m_c (m_c - 1) ... (m_c - k_c + 1) chains of distinct tokens, with m_c tokens in
   class c, so a draw with these weights, then a uniform sequence of the group, is exact.
2. `draw_ranks` then gives every node a rank, no two alike within a class.

No draw is ever rejected and tried again. The rule is the one of arXiv 2405.15302 (section 2); the sampler is ours.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from jaxtyping import Int
from torch import Tensor

MODULUS = 5
RESIDUES = {"train": (0, 1, 4), "test": (2, 3)}  # the steps (x_{i+1} - x_i) mod 5 that each split allows
MOST_ROWS = 4_000_000


@dataclass(frozen=True, eq=False)
class Shapes:
    """Every class sequence of one chain that a residue rule allows, sorted by the number of nodes in each class."""

    rows: Int[Tensor, "row node"]  # class of each node; a noise node stands last
    joint: Int[Tensor, "row"]  # the interior node that the noise node points at; 0 where there is none
    counts: Int[Tensor, "group class"]  # nodes in each class
    first: Int[Tensor, "group"]  # where the group's rows begin
    size: Int[Tensor, "group"]  # how many they are


@lru_cache(maxsize=32)
def shapes(n_edges: int, residues: tuple[int, ...], closed: bool = False, noisy: bool = False) -> Shapes:
    """List the class sequences of a chain of `n_edges` (a ring where `closed`), with a noise node where `noisy`.

    Raises ValueError where there are more than four million to list, and where no ring closes.
    """
    n_rows = MODULUS * len(residues) ** n_edges * ((n_edges - 1) * len(residues) if noisy else 1)
    if n_rows > MOST_ROWS:
        raise ValueError(
            f"n_edges={n_edges} is too long for a split with a residue rule (it has {n_rows:,} class sequences, "
            f"{MOST_ROWS:,} is the limit): use fewer edges, or split='any', which has no rule."
        )
    steps = torch.tensor(list(product(residues, repeat=n_edges)))
    walk = torch.cat([torch.zeros(len(steps), 1, dtype=torch.long), steps.cumsum(1)], dim=1)
    if closed:
        walk = walk[walk[:, -1] % MODULUS == 0, :-1]
        if len(walk) == 0:
            raise ValueError(f"No ring of {n_edges} edges closes with steps of {residues} mod 5: use more or fewer.")
    rows = (torch.arange(MODULUS)[:, None, None] + walk).flatten(0, 1) % MODULUS
    joint = torch.zeros(len(rows), dtype=torch.long)
    if noisy:
        choices = [(j, r) for j in range(1, n_edges) for r in residues]
        rows = torch.cat([torch.cat([rows, (rows[:, j] - r)[:, None] % MODULUS], dim=1) for j, r in choices])
        joint = torch.tensor([j for j, _ in choices]).repeat_interleave(len(joint))
    counts = (rows[:, :, None] == torch.arange(MODULUS)).sum(1)
    groups, index, size = counts.unique(dim=0, return_inverse=True, return_counts=True)
    order = index.argsort(stable=True)
    return Shapes(rows[order].to(torch.int16), joint[order], groups, size.cumsum(0) - size, size)


def class_sizes(n_tokens: int) -> Int[Tensor, "class"]:
    """How many of the tokens 1..n_tokens fall in each class mod 5."""
    return torch.tensor([(n_tokens - c) // MODULUS + (c > 0) for c in range(MODULUS)])


@lru_cache(maxsize=32)
def pair_weights(table: Shapes, n_chains: int, n_tokens: int) -> Tensor:
    """Probability of each group for the first chain (rows) and the second (columns; one column for one chain).

    Raises ValueError where no chain of distinct tokens obeys the rule.
    """
    other = table.counts if n_chains == 2 else torch.zeros(1, MODULUS, dtype=torch.long)
    used = table.counts[:, None, :] + other[None, :, :]
    weight = table.size[:, None] * (table.size if n_chains == 2 else torch.ones(1)).double()
    for i in range(int(used.max())):  # the falling factorial m (m - 1) ... (m - used + 1), class by class
        weight = weight * torch.where(used > i, (class_sizes(n_tokens) - i).clamp(min=0), 1).double().prod(-1)
    if weight.sum() == 0:
        raise ValueError(
            f"No chain of distinct tokens obeys the residue rule with n_tokens={n_tokens}: use more tokens."
        )
    return weight / weight.sum()


def draw_ranks(
    groups: Int[Tensor, "node batch"], sizes: Int[Tensor, "group"], generator: torch.Generator
) -> Int[Tensor, "node batch"]:
    """Give every node a rank in 0..size-1 of its group, uniform over all ways in which no two of a group are alike.

    Node i draws a rank among those still free (a Lehmer code); decoding from the last node back makes room for each
    earlier one: ranks at or above it move up by one.
    """
    taken = torch.stack([(groups[:i] == groups[i]).sum(0, dtype=groups.dtype) for i in range(len(groups))])
    free = sizes.to(groups.dtype)[groups.int()] - taken
    ranks = (torch.rand(groups.shape, generator=generator) * free).to(groups.dtype)
    for i in reversed(range(len(groups) - 1)):
        ranks[i + 1 :] += (ranks[i + 1 :] >= ranks[i]) & (groups[i + 1 :] == groups[i])
    return ranks


def draw_free(n_nodes: int, n_tokens: int, batch: int, generator: torch.Generator) -> Int[Tensor, "node batch"]:
    """Draw `n_nodes` distinct ranks in 0..n_tokens-1 with no rule."""
    return draw_ranks(torch.zeros(n_nodes, batch, dtype=torch.int16), torch.tensor([n_tokens]), generator)


def draw_chains(
    table: Shapes, n_chains: int, n_tokens: int, batch: int, generator: torch.Generator
) -> tuple[Int[Tensor, "node batch"], Int[Tensor, "chain batch"]]:
    """Draw the tokens of one or two disjoint chains under a residue rule, and the joint of each chain's noise node."""
    weights = pair_weights(table, n_chains, n_tokens)
    edges = weights.flatten().cumsum(0)
    pick = torch.searchsorted(edges, torch.rand(batch, dtype=torch.double, generator=generator) * edges[-1], right=True)
    picks = [pick // weights.shape[1], pick % weights.shape[1]][:n_chains]
    rows = [
        table.first[g] + (torch.rand(batch, dtype=torch.double, generator=generator) * table.size[g]).long()
        for g in picks
    ]
    classes = torch.cat([table.rows[r].T for r in rows]).contiguous()
    ranks = draw_ranks(classes, class_sizes(n_tokens), generator)
    tokens = classes + MODULUS * (ranks + (classes == 0).to(ranks.dtype))
    return tokens, torch.stack([table.joint[r] for r in rows])
