"""Chain tasks as tensors: tokens, answers, and the graph that they came from.

A chain x_0 -> x_1 -> ... -> x_E of distinct tokens is cut into edges; the edges are shuffled and written one after the
other, two tokens each; a question follows. The answer is the node `hops` steps on from the start. Loss and accuracy are
read at the last position alone. Source: arXiv 2405.15302, section 2; `ring` is ours.

Tokens: 0 is padding; 1..n_tokens are seen in training; n_tokens+1..2 n_tokens are not (OOD); `ordered` adds order
tokens after those. Splits: along every edge of a chain (x_{i+1} - x_i) mod 5 lies in {0, 1, 4} for `train` and in
{2, 3} for `test`, so no test edge is ever seen in training; `any` has no such rule; `ood` draws every node from the
unseen block except two, the answer and the node before it, because an answer that training never showed has an
untrained unembedding and could not be named by any mechanism. That one edge between seen tokens obeys the test rule.
A model that merely names a seen token therefore scores 50 % on `ood`: print `ChainTask.baselines` beside it.
One that names the seen token after a seen token scores 100 %: `ood` alone does not show that the start is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from jaxtyping import Int
from torch import Tensor

from matchlib.baselines import baselines
from matchlib.chains import MODULUS, RESIDUES, draw_chains, draw_free, shapes

KINDS = ("single", "ordered", "double", "double_end", "noised", "ring", "ordered_ring")
SPLITS = ("train", "test", "ood", "any")


@dataclass(frozen=True, eq=False)
class Batch:
    """Questions, their answers and the graphs they came from. Where a path is shorter than the longest: 0 and -1."""

    tokens: Int[Tensor, "batch pos"]
    answer: Int[Tensor, "batch"]
    hops: Int[Tensor, "batch"]
    chain: Int[Tensor, "batch chain node"]  # the tokens x_0, x_1, ... of each chain
    edge_pos: Int[Tensor, "batch chain edge"]  # where the edge x_i -> x_{i+1} stands: its second token is one later
    noise: Int[Tensor, "batch chain noise"]  # the noise node of each chain; `noise` is 1 for the kind noised, else 0
    joint: Int[Tensor, "batch chain noise"]  # the node of the chain that it points at, as an index
    noise_pos: Int[Tensor, "batch chain noise"]  # where that edge stands
    which: Int[Tensor, "batch"]  # the chain that is asked about
    start: Int[Tensor, "batch"]  # the start's index in that chain
    path: Int[Tensor, "batch step"]  # the tokens from the start to the answer
    path_pos: Int[Tensor, "batch hop"]  # where each edge of that path stands

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: slice | Tensor) -> "Batch":
        """The chosen questions, as a batch: an index of type int is not allowed, write [3:4]."""
        return Batch(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: str | torch.device) -> "Batch":
        return Batch(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class ChainTask:
    """One of the course's tasks. `hops` may be several numbers: they are then mixed in equal parts.

    kind: single      one chain, a random start with enough steps left
          ordered     the same, and a last token that tells how many steps to go
          double      two disjoint chains, a random start on either
          double_end  the same, the start is `hops` before the end: the answer is that chain's end
          noised      double_end with one more edge noise -> interior node on each chain
          ring        one chain closed to a ring: no end gives the answer away
          ordered_ring  a ring, and a last token that tells the steps to go
    """

    kind: str = "single"
    n_edges: int = 6
    hops: int | tuple[int, ...] = 2
    n_tokens: int = 50

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r} is not a task: choose one of {', '.join(KINDS)}.")
        for name, value in (("n_edges", self.n_edges), ("n_tokens", self.n_tokens)):
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
        object.__setattr__(self, "hops", tuple(self.hops) if isinstance(self.hops, list) else self.hops)
        least = 2 if self.closed or self.kind == "noised" else 1  # to close, or to have an interior node
        if self.n_edges < least:
            raise ValueError(f"n_edges={self.n_edges} is too few for a {self.kind} task: use at least {least}.")
        most = self.n_edges - self.closed
        if not self.all_hops or any(type(k) is not int or not 1 <= k <= most for k in self.all_hops):
            raise ValueError(
                f"hops={self.hops!r} does not fit: a {self.kind} task of {self.n_edges} edges allows 1..{most}."
            )
        if not self.n_nodes <= self.n_tokens <= 16_000:
            raise ValueError(
                f"n_tokens={self.n_tokens} does not fit: this task writes {self.n_nodes} distinct tokens a sequence, "
                f"so choose {self.n_nodes}..16000."
            )

    @property
    def all_hops(self) -> tuple[int, ...]:
        return self.hops if isinstance(self.hops, tuple) else (self.hops,)

    @property
    def closed(self) -> bool:
        """Does the last node point back at the first?"""
        return self.kind in ("ring", "ordered_ring")

    @property
    def has_order(self) -> bool:
        """Does a last token tell how many steps to go?"""
        return self.kind in ("ordered", "ordered_ring")

    @property
    def n_chains(self) -> int:
        return 2 if self.kind in ("double", "double_end", "noised") else 1

    @property
    def chain_length(self) -> int:
        """Nodes of one chain."""
        return self.n_edges + (not self.closed)

    @property
    def n_noise(self) -> int:
        """Noise nodes of one chain."""
        return int(self.kind == "noised")

    @property
    def n_nodes(self) -> int:
        """Distinct tokens of one sequence."""
        return self.n_chains * (self.chain_length + self.n_noise)

    @property
    def start_pos(self) -> int:
        """Where the start of the question stands."""
        return 2 * self.n_chains * (self.n_edges + self.n_noise)

    @property
    def n_pos(self) -> int:
        return self.start_pos + (2 if self.has_order else 1)

    @property
    def vocab_size(self) -> int:
        return 1 + 2 * self.n_tokens + (max(self.all_hops) if self.has_order else 0)

    def sample(self, n: int, split: str = "train", *, generator: torch.Generator) -> Batch:
        """Draw `n` questions, uniformly over the graphs that the split's rule allows, with their edges shuffled.

        Raises ValueError for an unknown split, and where the rule allows no graph at all.
        """
        self._check_split(split)
        if type(n) is not int or n < 1:
            raise ValueError(f"n={n!r} must be a whole number of at least 1: how many questions to draw.")
        which, start, hops = self._draw_questions(n, generator)
        nodes, joint = self._draw_nodes(n, split, generator)
        if split == "ood":
            nodes = nodes.long() + self.n_tokens
            pairs = _test_edges(self.n_tokens)
            before, answer = pairs[torch.randint(len(pairs), (n,), generator=generator)].T
            row = which * (self.chain_length + self.n_noise)
            nodes[row + (start + hops - 1) % self.chain_length, torch.arange(n)] = before
            nodes[row + (start + hops) % self.chain_length, torch.arange(n)] = answer
        slot = draw_free(self.start_pos // 2, self.start_pos // 2, n, generator)
        return self._write(nodes.T.reshape(n, self.n_chains, -1), joint.T, which, start, hops, 2 * slot.T.long())

    def question(
        self,
        chain: Sequence,
        start: int,
        hops: int | None = None,
        noise: Sequence[tuple[int, int]] = (),
        order: Sequence[int] | None = None,
    ) -> Batch:
        """A batch of one from a chain of your own, e.g. `question([7, 12, 30, 41, 5, 19, 22], start=12)`.

        chain: the tokens in order, or a pair of chains for the kinds with two; start: one of them; hops: needed where
        the task mixes several; noise: (noise token, token it points at) for each chain of a noised task; order: the
        place 0, 1, ... of each edge in the sequence, chain by chain, noise edges after their chain (default: in order).
        Raises ValueError with what is allowed.
        """
        chains, noise = self._read_graph(chain, noise)
        hops = self.all_hops[0] if hops is None and len(self.all_hops) == 1 else hops
        if hops not in self.all_hops:
            raise ValueError(f"hops={hops!r} is not asked in this task: choose one of {list(self.all_hops)}.")
        starts = {c[i]: (w, i) for w, c in enumerate(chains) for i in range(self.chain_length)}
        if type(start) is not int or start not in starts:
            raise ValueError(f"The start {start!r} is not a node of the chain: choose one of {sorted(starts)}.")
        which, index = starts[start]
        left = self.n_edges - index
        if not self.closed and hops > left:
            raise ValueError(f"From {start} only {left} step(s) are left and the question asks for {hops}.")
        places = list(range(self.start_pos // 2))
        order = places if order is None else list(order)
        if any(type(place) is not int for place in order) or sorted(order) != places:
            raise ValueError(f"order={order} must hold each of 0..{places[-1]} once: the place of each edge.")
        nodes = torch.tensor([c + [t for t, _ in noise[i : i + 1]] for i, c in enumerate(chains)])
        joint = torch.tensor([c.index(t) for c, (_, t) in zip(chains, noise)] or [0] * self.n_chains)
        one = [torch.tensor([v]) for v in (which, index, hops)]
        return self._write(nodes[None], joint[None], *one, 2 * torch.tensor([order]))

    def _read_graph(self, chain: Sequence, noise: Sequence) -> tuple[list[list[int]], list[tuple[int, int]]]:
        """The chains and noise edges of a learner's own, if they make a graph of this task."""
        n_noise = self.n_chains * self.n_noise
        needs = f"A {self.kind} task needs {self.n_chains} chain(s) of {self.chain_length} tokens"
        needs += f" and {n_noise} noise edge(s)"
        try:
            chains = [list(c) for c in (chain if self.n_chains == 2 else [chain])]
            noise = [(token, target) for token, target in noise]
        except (TypeError, ValueError):
            raise ValueError(f"{needs}; chain={chain!r} and noise={noise!r} cannot be read as these.") from None
        lengths = [len(c) for c in chains]
        if lengths != [self.chain_length] * self.n_chains or len(noise) != n_noise:
            raise ValueError(
                f"{needs}; these chains have {lengths} tokens, and {len(noise)} noise edge(s) came with them."
            )
        flat = [t for c in chains for t in c] + [t for t, _ in noise]
        most = 2 * self.n_tokens
        if wrong := [t for t in flat if type(t) is not int or not 1 <= t <= most]:
            raise ValueError(f"{wrong[0]!r} is not a token of this task: use whole numbers from 1 to {most}.")
        if repeated := {t for t in flat if flat.count(t) > 1}:
            raise ValueError(f"Token {min(repeated)} occurs twice: every node of a chain must be a different token.")
        if any(target not in c[1:-1] for c, (_, target) in zip(chains, noise)):
            raise ValueError("Each noise edge must point at an interior node of its own chain, the first's first.")
        return chains, noise

    def baselines(self, split: str = "test") -> dict[str, float]:
        """Accuracy of five guessers that follow no chain (see `matchlib.baselines`)."""
        self._check_split(split)
        return baselines(self, split)

    def _check_split(self, split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"split={split!r} is not known: choose one of {', '.join(SPLITS)}.")

    def _draw_questions(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Which chain, the start's index in it, and the hops."""
        which = torch.randint(self.n_chains, (n,), generator=generator)
        hops = torch.tensor(self.all_hops)[torch.randint(len(self.all_hops), (n,), generator=generator)]
        if self.kind in ("double_end", "noised"):
            return which, self.n_edges - hops, hops
        choices = torch.full_like(hops, self.n_edges) if self.closed else self.n_edges + 1 - hops
        return which, (torch.rand(n, generator=generator) * choices).long(), hops

    def _draw_nodes(self, n: int, split: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tokens 1..n_tokens, chain by chain with the noise node last, and each noise node's joint."""
        if split in RESIDUES:
            table = shapes(self.n_edges, RESIDUES[split], closed=self.closed, noisy=self.kind == "noised")
            return draw_chains(table, self.n_chains, self.n_tokens, n, generator)
        joint = torch.zeros(self.n_chains, n, dtype=torch.long)
        if self.n_noise:
            joint = torch.randint(1, self.n_edges, (self.n_chains, n), generator=generator)
        return draw_free(self.n_nodes, self.n_tokens, n, generator) + 1, joint

    def _write(self, nodes: Tensor, joint: Tensor, which: Tensor, start: Tensor, hops: Tensor, pos: Tensor) -> Batch:
        """Write the edges at their positions, then the question."""
        n, nodes = len(nodes), nodes.long()
        chain, noise = nodes[:, :, : self.chain_length], nodes[:, :, self.chain_length :]
        joint = joint[:, :, None][:, :, : self.n_noise]
        second = chain.roll(-1, dims=2)[:, :, : self.n_edges]
        sources = torch.cat([chain[:, :, : self.n_edges], noise], dim=2)
        targets = torch.cat([second, chain.gather(2, joint)], dim=2)
        tokens = torch.empty(n, self.n_pos, dtype=torch.long)
        tokens.scatter_(1, pos, sources.flatten(1))
        tokens.scatter_(1, pos + 1, targets.flatten(1))
        pos = pos.reshape(n, self.n_chains, -1)
        edge_pos, noise_pos = pos[:, :, : self.n_edges], pos[:, :, self.n_edges :]

        steps = torch.arange(max(self.all_hops) + 1)
        index = (start[:, None] + torch.minimum(steps, hops[:, None])) % self.chain_length
        asked = chain[torch.arange(n), which]
        reached = asked.gather(1, index)
        answer = reached[:, -1].clone()
        tokens[:, self.start_pos] = reached[:, 0]
        if self.has_order:
            tokens[:, self.start_pos + 1] = 2 * self.n_tokens + hops
        asked_pos = edge_pos[torch.arange(n), which].gather(1, index[:, :-1].clamp(max=self.n_edges - 1))
        return Batch(
            tokens, answer, hops, chain, edge_pos, noise, joint, noise_pos, which, start,
            path=reached.masked_fill(steps > hops[:, None], 0),
            path_pos=asked_pos.masked_fill(steps[:-1] >= hops[:, None], -1),
        )  # fmt: skip


@lru_cache(maxsize=8)
def _test_edges(n_tokens: int) -> Int[Tensor, "edge 2"]:
    """Every edge between the tokens 1..n_tokens that the test rule allows."""
    token = torch.arange(1, n_tokens + 1)
    step = (token[None, :] - token[:, None]) % MODULUS
    edges = torch.isin(step, torch.tensor(RESIDUES["test"])).nonzero() + 1
    if len(edges) == 0:
        raise ValueError(f"No edge obeys the test rule with n_tokens={n_tokens}: use more tokens.")
    return edges
