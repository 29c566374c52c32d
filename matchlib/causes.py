"""Is that really how it answers? What an experiment is: a change, and the token that a hypothesis then predicts.

An experiment names a token for every sequence *before* the changed model runs: it may look at the question, at the
weights and at the untouched run, never at the outcome. `investigate` then counts how often the model says that token,
beside controls that should not bring it about. For a question a -> b -> c, asked at a, of two hops and three layers:

    layer 0 pairs: the place of b stores its predecessor a, the place of c stores b
    layer 1 reads b: the last position asks for the place that stores a
    layer 2 reads c: it asks with b, from the buffer that layer 1 wrote, for the place that stores b

The experiments themselves stand in `matchlib.experiments`. The frame is ours; what they test is the mechanism of
arXiv 2405.15302, section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matchlib.buffers import held, scale_of, written
from matchlib.data import Batch
from matchlib.evidence import Count, Finding
from matchlib.hooks import cache
from matchlib.model import Transformer
from matchlib.patch import Changes, edges, places, replace, says


@dataclass(frozen=True, eq=False)
class Setting:
    """A model, the questions to put to it, and other questions of the same task to measure means and scales on."""

    model: Transformer
    batch: Batch
    reference: Batch
    generator: torch.Generator

    def __post_init__(self):
        hops, layers = set(self.batch.hops.tolist()), self.model.cfg.n_layers
        if hops != {2} or layers != 3 or self.batch.chain.shape[1] != 1:
            raise ValueError(
                f"Questions of {sorted(hops)} hops and a model of {layers} layers do not fit: these experiments are "
                "written for one chain, two hops and three layers."
            )

    @cached_property
    def row(self) -> Int[Tensor, "batch"]:
        return torch.arange(len(self.batch))

    @property
    def last(self) -> int:
        return self.batch.tokens.shape[1] - 1

    @property
    def second(self) -> Int[Tensor, "batch hop"]:
        """Where the second token of each edge of the path stands: of b, and of c."""
        return self.batch.path_pos + 1

    @cached_property
    def clean(self) -> dict[str, Tensor]:
        return cache(self.model, self.batch.tokens)[1]

    def after(self, token: Int[Tensor, "batch"], steps: int = 1) -> Int[Tensor, "batch"]:
        """The token so many steps after this one in the graph of its sequence; 0 where there is none."""
        return follow(self.batch.tokens, self.batch.edge_pos.flatten(1), token, steps)

    def at(self, where: Int[Tensor, "batch"] | int) -> Bool[Tensor, "batch pos"]:
        return places(where, len(self.batch), self.last + 1)

    def edge(self, query: Int[Tensor, "batch"] | int, key: Int[Tensor, "batch"]) -> Bool[Tensor, "batch query key"]:
        return edges(query, key, len(self.batch), self.last + 1)

    def runner_up(self, layer: int) -> Int[Tensor, "batch"]:
        """The token that the last position attends to most, in the untouched run, after the expected one."""
        attention = self.clean[f"blocks.{layer}.attn.pattern"][:, :, -1].mean(dim=1)
        attention[self.row, self.second[:, layer - 1]] = 0
        return self.batch.tokens[self.row, attention.argmax(dim=1)]

    def add(self, name: str, step: Float[Tensor, "batch d_model"]) -> Changes:
        """To what the last position holds."""
        return replace(name, self.at(-1), lambda x: x + step[:, None])

    def by_weights(self, other: Int[Tensor, "batch"]) -> Float[Tensor, "batch d_model"]:
        """The step from the middle token to the other along e_t W_vo(1), at the scale of what layer 1 writes."""
        vectors, seen = written(self.model, 1), self.reference.path[:, 1].unique()
        factor, _ = scale_of(vectors[seen], held(self.model, self.reference, "blocks.1.attn.out", 1)[seen])
        return factor * (vectors[other] - vectors[self.batch.path[:, 1]])

    def by_means(self, name: str, step: int, other: Int[Tensor, "batch"]) -> Float[Tensor, "batch d_model"]:
        """The step from a token of the path to the other along what an activation holds for them on average."""
        means = held(self.model, self.reference, name, step)
        return means[other] - means[self.batch.path[:, step]]

    def as_long(self, step: Float[Tensor, "batch d_model"]) -> Float[Tensor, "batch d_model"]:
        """A step as long in a random direction: the control."""
        noise = torch.randn(step.shape, generator=self.generator)
        return noise * (step.norm(dim=1) / noise.norm(dim=1))[:, None]

    def another(self, more_steps: int) -> tuple[Int[Tensor, "batch"], Int[Tensor, "batch"]]:
        """Another node than a, b and c, from which the graph goes on for so many steps: where it is a second, and it.

        Where a chain has no such node one is given from which the graph does not go on: it predicts nothing.
        """
        i, start = torch.arange(self.batch.edge_pos.shape[2])[None], self.batch.start[:, None]
        ends = i + 1 + more_steps <= self.batch.chain.shape[2] - 1
        allowed = ends & ~((i + 1 >= start) & (i + 1 <= start + 2))
        chance = torch.rand(allowed.shape, generator=self.generator).masked_fill(~allowed, -1)
        chosen = torch.where(allowed.any(dim=1), chance.argmax(dim=1), allowed.shape[1] - 1)
        return self.batch.edge_pos[self.row, 0, chosen] + 1, self.batch.chain[self.row, 0, chosen + 1]


@dataclass(frozen=True, eq=False)
class Arranged:
    """What is changed, the token that is predicted for each sequence (0: none), and what is changed as a control."""

    changes: Changes
    predicted: Int[Tensor, "batch"]
    controls: dict[str, Changes] = field(default_factory=dict)
    expected: float = 1.0  # how often the prediction should come true
    counts_answer: bool = False  # the right answer itself is predicted, or how often it comes


@dataclass(frozen=True)
class Experiment:
    """A hypothesis, what it predicts, and how to change the model."""

    name: str
    hypothesis: str
    prediction: str
    arrange: Callable[[Setting], Arranged]


def investigate(experiment: Experiment, setting: Setting, model_name: str = "model") -> Finding:
    """How often did the prediction come true? Only sequences with a prediction count.

    Where the predicted token would be the right answer by accident, the sequence is left out: it could not tell.
    """
    arranged = experiment.arrange(setting)
    batch, predicted = setting.batch, arranged.predicted
    counts = (predicted > 0) & ((predicted != batch.answer) | arranged.counts_answer)

    def hits(changes: Changes) -> Count:
        return Count.of((says(setting.model, batch.tokens, changes) == predicted)[counts])

    before = Count.of((says(setting.model, batch.tokens) == batch.answer)[counts])
    controls = {name: hits(changes) for name, changes in arranged.controls.items()}
    return Finding(
        experiment.name, experiment.hypothesis, experiment.prediction, model_name,
        before, hits(arranged.changes), arranged.expected, controls,
    )  # fmt: skip


def follow(
    tokens: Int[Tensor, "batch pos"], first: Int[Tensor, "batch edge"], token: Int[Tensor, "batch"], steps: int
) -> Int[Tensor, "batch"]:
    """The token so many steps on, along the edges whose first tokens stand at `first`; 0 where the way ends."""
    sources, targets = tokens.gather(1, first), tokens.gather(1, first + 1)
    for _ in range(steps):
        here = sources == token[:, None]
        token = (targets * here).amax(dim=1)
    return token
