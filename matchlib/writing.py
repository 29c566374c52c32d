"""One step at a time: a model writes node after node of a chain, and reads what it has written.

A question is what it is everywhere (`matchlib.data`): the edges in random order, then the start. What is written stands
behind it, one token a place: the node one step on, the node two steps on, ... Each is the likeliest token at the place
before. So a text of n written nodes costs n passes, and every pass is asked for one step only.

A model is taught on whole texts, right ones, by cross-entropy at the start and at every written node ("teacher
forcing"). Positions are learnt, so a place that no text of the training reaches keeps the position that it was born
with. Hence three ways to teach:

    all       as many nodes as fit: every place is taught
    few       the first FEW nodes, right behind the question: later places are never taught
    shifted   the first FEW nodes again, but a gap of padding, its width drawn at each step, stands before the start:
              every place is taught, and no text is long

Source: ours; next-token prediction with written steps is the "chain of thought" of arXiv 2201.11903, at its smallest.
"""

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from matchlib.data import Batch, ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.patch import Changes, says
from matchlib.record import TrainConfig
from matchlib.train import TrainState, decays, keep_freed_memory, learning_rate, seeded

WAYS, FEW = ("all", "few", "shifted"), 4
BLOCK = 32  # steps' worth of texts drawn at a time


@dataclass(frozen=True)
class Score:
    """What became of n texts. Entry k - 1 of each tuple is about the k-th written node."""

    n: int
    reached: tuple[int, ...]  # texts whose k-th node is the one k steps from the start
    followed: tuple[int, ...]  # texts whose k-th node follows on the node written before it, be that right or wrong

    @property
    def accuracy(self) -> list[float]:
        """Share of texts that are right k steps on."""
        return [hits / self.n for hits in self.reached]

    @property
    def steps(self) -> list[float]:
        """Share of single steps that are right, by place."""
        return [hits / self.n for hits in self.followed]

    @property
    def compounded(self) -> list[float]:
        """What the accuracy would be if steps failed independently: the product of the steps so far."""
        return [prod(self.steps[: k + 1]) for k in range(len(self.followed))]


@torch.no_grad()
def write(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    n: int,
    changes: Callable[[Int[Tensor, "batch pos"]], Changes] | None = None,
) -> Int[Tensor, "batch n"]:
    """Which n nodes does the model write, one after the other, behind these questions or half-written texts?

    changes: what to change inside the model while it reads a text, of the text (see `matchlib.patch`).
    Raises ValueError where the model has no places for so many.
    """
    room = model.cfg.n_pos - tokens.shape[1] + 1
    if type(n) is not int or not 1 <= n <= room:
        raise ValueError(
            f"n={n!r} nodes do not fit: behind {tokens.shape[1]} tokens this model has places for 1..{room}."
        )
    for _ in range(n):
        said = says(model, tokens, changes(tokens) if changes else None)
        tokens = torch.cat([tokens, said[:, None]], dim=1)
    return tokens[:, -n:]


def successor(batch: Batch, node: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
    """The node that follows on this one in each ring; 0, the padding, on a token that is no node of it."""
    ring = batch.chain[:, 0]
    found = ring == node[:, None]
    return (ring.roll(-1, dims=1) * found).sum(1)


def score(batch: Batch, written: Int[Tensor, "batch n"]) -> Score:
    """How good is what was written behind these questions?"""
    n = written.shape[1]
    before = torch.cat([batch.path[:, :1], written[:, :-1]], dim=1)
    follows = torch.stack([successor(batch, node) for node in before.T], dim=1)
    reached = (written == batch.path[:, 1 : n + 1]).sum(0)
    return Score(len(batch), tuple(reached.tolist()), tuple((written == follows).sum(0).tolist()))


def sizes(task: ChainTask, model: ModelConfig) -> ModelConfig:
    """The config with the vocabulary of a task, and with places for a question and for all nodes but the last one."""
    return replace(model, vocab_size=task.vocab_size, n_pos=task.n_pos + max(task.all_hops) - 1)


def text(batch: Batch, written: int, gap: int = 0) -> Int[Tensor, "batch pos"]:
    """The questions with so many places to answer at: the start, and all written nodes but the last.

    gap: padding between the edges and the start.
    """
    edges = batch.tokens[:, : 2 * batch.chain.shape[2]]
    return torch.cat([edges, edges.new_zeros(len(batch), gap), batch.path[:, :written]], dim=1)


def teach(task: ChainTask, model: ModelConfig, train: TrainConfig, seed: int, way: str = "all") -> Iterator[TrainState]:
    """Train a model to write, on the CPU: the state before the first step, and after every `eval_every` steps.

    task: a ring, whose one number of hops is how many nodes are written at most. The data is a function of the seed.
    Raises ValueError for a way or a task that is not meant.
    """
    if way not in WAYS:
        raise ValueError(f"way={way!r} is not known: choose one of {', '.join(WAYS)}.")
    most = max(task.all_hops)
    if task.kind != "ring" or len(task.all_hops) != 1 or most < FEW:
        raise ValueError(
            f"A {task.kind} task with hops={task.hops!r} is not for writing: use a ring and one number of hops, "
            f"at least {FEW}."
        )
    keep_freed_memory()
    net = Transformer(sizes(task, model), generator=seeded(seed, "weights"))
    decayed, rest = ([p for n, p in net.named_parameters() if decays(n, train) is yes] for yes in (True, False))
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=train.lr, fused=True)
    state = TrainState(task, net.cfg, train, seed, net, optimizer)
    yield state
    shown = most if way == "all" else FEW
    gaps = torch.randint(most - FEW + 1, (train.steps,), generator=seeded(seed, "gaps")).tolist()
    while not state.done:
        began, at = time.perf_counter(), state.step % BLOCK * train.batch_size
        if at == 0:
            drawn = seeded(seed, "texts", state.step // BLOCK)
            block = task.sample(BLOCK * train.batch_size, train.split, generator=drawn)
        _update(state, block[at : at + train.batch_size], shown, gaps[state.step] if way == "shifted" else 0)
        state.seconds += time.perf_counter() - began
        if state.step % train.eval_every == 0 or state.done:
            yield state


def lent(model: Transformer, last: int) -> Transformer:
    """The model with the position of place `last` at all later places too: are untaught positions the trouble?"""
    copy = deepcopy(model)
    with torch.no_grad():
        copy.w_pos[last + 1 :] = copy.w_pos[last]
    return copy


def _update(state: TrainState, batch: Batch, shown: int, gap: int) -> None:
    """One step of the optimiser, on texts of so many written nodes."""
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(state.train_config, state.step)
    logits = state.model(text(batch, shown, gap), positions="all")[:, -shown:]
    loss = F.cross_entropy(logits.flatten(0, 1), batch.path[:, 1 : shown + 1].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), state.train_config.clip, foreach=True)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
