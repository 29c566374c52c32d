"""A trial: one question, or a hundred, put to a changed model. What is predicted, what is said, and the count.

The interventions are those of `matchlib.experiments`, with *the other* drawn there or chosen here. What the mechanism
predicts is a token; or, where it says no more, one of several: such a hit is weak, so right answers are counted too.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from matchlib.causes import Arranged, Experiment, Setting
from matchlib.construct import with_sink
from matchlib.data import Batch, ChainTask
from matchlib.evidence import Count
from matchlib.experiments import EXPERIMENTS
from matchlib.flow import Edge
from matchlib.model import Transformer
from matchlib.patch import Changes, says
from matchlib.record import Run

HOPS, LAYERS = 2, 3
FAINT = 0.1  # attention that is not drawn
NOTHING = Experiment(
    "nothing", "The model answers by matching.", "Change nothing: the answer is c.",
    lambda s: Arranged({}, s.batch.answer, counts_answer=True),
)  # fmt: skip


@dataclass(frozen=True)
class Move:
    """One intervention at one place. left: steps that must go on from the other; None where there is no other."""

    experiment: Experiment
    left: int | None = None


def _move(name: str, left: int | None = None) -> Move:
    return Move(EXPERIMENTS[name], left)


MOVES: dict[str, dict[str, Move]] = {
    "none": {"nowhere": Move(NOTHING)},
    "cut an expected edge": {
        "layer 0, from b to a": _move("no first pair"),
        "layer 0, from c to b": _move("no second pair"),
        "layers 0 and 1, from c to b": _move("no second pair, twice"),
        "layer 1, from the last position to b": _move("no middle read"),
        "layer 2, from the last position to c": _move("no answer read"),
    },
    "cut all but the circuit": {"every layer": _move("only the circuit")},
    "swap the middle's buffer": {"after layer 1, last position": _move("middle by the weights", 1)},
    "exchange predecessors": {"after layer 0, at b and the other": _move("predecessors exchanged", 1)},
    "redirect attention": {
        "layer 1, from b to the other": _move("read another middle", 1),
        "layer 2, from c to the other": _move("read another answer", 0),
    },
}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, its task, and whether a pad in front is its sink."""

    model: Transformer
    task: ChainTask
    sink: bool = False

    def form(self, batch: Batch) -> Batch:
        """The questions as this model reads them."""
        return with_sink(batch) if self.sink else batch


def subject_of(name: str, given: Run | Transformer, task: ChainTask) -> Subject:
    """A run, or a network and its task, as the experiments need it. Raises ValueError where they do not fit it."""
    model, task = (given.model, given.task) if isinstance(given, Run) else (given, task)
    cfg = model.cfg
    if (task.kind, task.all_hops, cfg.n_layers) != ("single", (HOPS,), LAYERS):
        hops = ", ".join(map(str, task.all_hops))
        raise ValueError(
            f"{name!r} has {cfg.n_layers} layers and a {task.kind} task of {hops} hops: the lab is made for "
            f"{LAYERS} layers and a single chain of {HOPS} hops."
        )
    spare = cfg.n_pos - task.n_pos
    if cfg.vocab_size != task.vocab_size or spare not in (0, 1):
        raise ValueError(
            f"{name!r} reads {cfg.n_pos} positions of {cfg.vocab_size} tokens and the task writes {task.n_pos} of "
            f"{task.vocab_size}: give the task that it was made for."
        )
    model = model if model.w_e.device.type == "cpu" else deepcopy(model).cpu()  # one question is no work for a GPU
    return Subject(model, task, sink=spare == 1)


@dataclass(frozen=True, eq=False)
class Chosen(Setting):
    """A setting in which the other may be chosen, not drawn. Raises ValueError, when asked, where it does not fit."""

    other: int | None = None

    def another(self, more_steps: int) -> tuple[Int[Tensor, "batch"], Int[Tensor, "batch"]]:
        if self.other is None:
            return super().another(more_steps)
        if self.other not in (fit := others(self.batch, more_steps)):
            raise ValueError(f"{self.other} cannot be the other in this question: choose one of {fit}.")
        index = self.batch.chain[0, 0].tolist().index(self.other)
        return self.batch.edge_pos[:, 0, index - 1] + 1, torch.tensor([self.other])


def others(question: Batch, left: int) -> list[int]:
    """Which tokens can play the other? Seconds of an edge, off the path, at least so many steps before the end."""
    chain, path = question.chain[0, 0].tolist(), set(question.path[0].tolist())
    return [token for token in chain[1 : len(chain) - left] if token not in path]


def forecast(arranged: Arranged, batch: Batch) -> Int[Tensor, "batch choice"]:
    """Which tokens does the mechanism allow as answers? One; or, for a rate of 1/k, the k last nodes of the chain.

    Those are what can still be told once an edge is lost: the possible answers, or the second tokens. 0: no prediction.
    """
    if arranged.expected == 1:
        return arranged.predicted[:, None]
    return batch.chain[:, 0, -round(1 / arranged.expected) :]


@dataclass(frozen=True)
class Tally:
    """How often so far: predictions that came true, right answers, and the same predictions under each control."""

    hits: Count
    right: Count
    controls: dict[str, Count] = field(default_factory=dict)

    def plus(self, more: "Tally") -> "Tally":
        controls = {name: _sum(count, more.controls[name]) for name, count in self.controls.items()}
        return Tally(_sum(self.hits, more.hits), _sum(self.right, more.right), controls)


def _sum(one: Count, two: Count) -> Count:
    return Count(one.hits + two.hits, one.n + two.n)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a model said to each question, untouched, under an intervention, and under its controls."""

    allowed: Int[Tensor, "batch choice"]
    answer: Int[Tensor, "batch"]
    untouched: Int[Tensor, "batch"]
    said: Int[Tensor, "batch"]
    controls: dict[str, Int[Tensor, "batch"]]

    @classmethod
    def of(cls, setting: Setting, arranged: Arranged) -> "Outcome":
        model, batch = setting.model, setting.batch
        controls = {name: says(model, batch.tokens, changes) for name, changes in arranged.controls.items()}
        untouched, said = says(model, batch.tokens), says(model, batch.tokens, arranged.changes)
        return cls(forecast(arranged, batch), batch.answer, untouched, said, controls)

    @property
    def all(self) -> dict[str, Int[Tensor, "batch"]]:
        """What was said, by what was done."""
        return {"nothing": self.untouched, "the intervention": self.said} | {
            f"control: {name}": said for name, said in self.controls.items()
        }

    def hit(self, said: Int[Tensor, "batch"]) -> Bool[Tensor, "batch"]:
        return (self.allowed == said[:, None]).any(dim=1)

    @property
    def tally(self) -> Tally | None:
        """Over the questions with a prediction; None where there is no such question."""
        counts = (self.allowed > 0).any(dim=1)
        if not counts.any():
            return None
        controls = {name: Count.of(self.hit(said)[counts]) for name, said in self.controls.items()}
        return Tally(Count.of(self.hit(self.said)[counts]), Count.of((self.said == self.answer)[counts]), controls)


def marks(
    changes: Changes, clean: Mapping[str, Tensor], expected: list[Edge]
) -> dict[str, list[Edge] | list[tuple[int, int]]]:
    """What do these changes do to one question: edges `cut` and `given` attention, places `changed` (for the flow)?

    clean: the untouched activations. Of edges cut, those are drawn that held attention, and the expected ones.
    """
    found: dict[str, list] = {"cut": [], "given": [], "changed": []}
    for name, change in changes.items():
        _, layer, part = name.split(".", 2)
        before, level = clean[name], int(layer) + (part != "resid_pre")
        step = change(before) - before
        if part == "attn.pattern":
            mean = step[0].mean(dim=0)
            weight = {(int(layer), *edge): mean[tuple(edge)].item() for edge in mean.nonzero().tolist()}
            found["cut"] += [e for e, w in weight.items() if w < -FAINT or (w < 0 and e in expected)]
            found["given"] += [e for e, w in weight.items() if w > 0]
        else:
            found["changed"] += [(pos, level) for pos in step[0].any(dim=-1).nonzero().flatten().tolist()]
    return found
