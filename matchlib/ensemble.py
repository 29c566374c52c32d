"""Many trainings as one, for a GPU: their weights stand along a leading `member` axis, and every product serves all.

    states = [TrainState.new(task, replace(model, gamma=g), train, seed) for g in gammas for seed in range(8)]
    for step in fit_together(states):     # updates each state's model and history; leaving the loop loses nothing
        ...

Each member keeps its own data, learning rate, decay and clipping: it is trained as it would be alone, up to rounding,
and a test holds it to that. On a CPU this is no faster than one after the other; there, use processes.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from matchlib.data import ChainTask
from matchlib.model import ModelConfig
from matchlib.probe import numbers
from matchlib.record import Evaluation, TrainConfig, undivided
from matchlib.train import Supply, TrainState, decays, learning_rate

BETAS, EPS = (0.9, 0.999), 1e-8  # those of torch.optim.AdamW, which a training alone uses


@dataclass(frozen=True, eq=False)
class StepTogether:
    """One update of every member. `loss` is a tensor: reading its values waits for the device."""

    step: int
    loss: Float[Tensor, "member"]
    evaluations: list[Evaluation] | None  # one a member, where this step was one to measure


def can_join(task: ChainTask, model: ModelConfig, train: TrainConfig) -> tuple:
    """What members must have in common: equal for two trainings that can be made as one.

    They may differ in seed, gamma, alpha, beta, learning rates, warm-up, weight decay and clipping, and in hops where
    the sequences are equally long. Pre- and post-LayerNorm compute different things, so they are two ensembles.
    """
    free = {"lr": 1.0, "lr_start": 0.0, "lr_end": 0.0, "warmup": 0, "weight_decay": 0.0, "clip": 1.0}
    return (task.n_pos, task.n_tokens, replace(model, gamma=0.5, alpha=1.0, beta=1.0), replace(train, **free))


def fit_together(states: Sequence[TrainState]) -> Iterator[StepTogether]:
    """Train all members from where they stand to the end of their config, one step at a time.

    Raises ValueError where there are no members, where they cannot be trained as one (see `can_join`), and where they
    do not all stand at one step.
    """
    _check(states)
    first = states[0]
    cfg, stack = first.train_config, _Stack(states)
    supplies = [Supply(state) for state in states]
    asked = [tuple(torch.stack(part) for part in zip(*one)) for one in zip(*(s.asked for s in supplies))]
    losses: list[Tensor] = list(torch.stack([torch.stack(s.losses) for s in states], dim=1)) if first.losses else []
    per_block = supplies[0].per_block
    blocks = _blocks(supplies, range(first.step // per_block, (cfg.steps - 1) // per_block + 1))
    index, block = -1, []
    try:
        if first.step == 0 and not first.history:
            stack.record(asked, supplies[0].ids, losses)
        while not first.done:
            began = perf_counter()
            if first.step // per_block != index:
                index, block = next(blocks)
            at = first.step % per_block * cfg.batch_size
            tokens, answer = (x[:, at : at + cfg.batch_size] for x in block)

            with undivided():  # an interrupt waits for the step and its measurement: nothing is lost or done twice
                losses.append(stack.update(tokens, answer))
                for state in states:
                    state.step += 1
                found = None
                loss = losses[-1]
                if first.step % cfg.eval_every == 0 or first.done:
                    found = stack.record(asked, supplies[0].ids, losses)
                    losses.clear()
                stack.keep_snapshots()
                for state in states:  # each member's share of the time
                    state.seconds += (perf_counter() - began) / len(states)
            yield StepTogether(first.step, loss, found)
    finally:
        blocks.close()
        stack.hand_back(losses)


def _blocks(supplies: Sequence[Supply], indices: range) -> Iterator[tuple[int, list[Tensor]]]:
    """The members' blocks as one, each drawn on the CPU while a GPU learns from the one before."""
    with ThreadPoolExecutor() as pool:
        ahead: list[Future] = []
        for index in indices:
            drawn = ahead or [pool.submit(s.block, index) for s in supplies]
            tokens, answers = zip(*(d.result() for d in drawn))
            ahead = [pool.submit(s.block, index + 1) for s in supplies] if index + 1 in indices else []
            yield index, [torch.stack(tokens), torch.stack(answers)]


class _Stack:
    """The weights and moments of all members, as rows of one matrix each."""

    def __init__(self, states: Sequence[TrainState]):
        self.states, self.template = states, states[0].model
        self.shapes = {name: p.shape for name, p in self.template.named_parameters()}
        self.weights = torch.stack([self._flat(dict(s.model.named_parameters())) for s in states])
        self.first, self.second = (
            torch.stack([self._flat({n: s.optimizer.state[p].get(k, torch.zeros_like(p)) for n, p in
                                     s.model.named_parameters()}) for s in states])
            for k in ("exp_avg", "exp_avg_sq")
        )  # fmt: skip
        buffers = [dict(s.model.named_buffers()) for s in states]
        self.noise = {name: torch.stack([b[name] for b in buffers]) for name in buffers[0]}
        device = self.weights.device
        ones = {n: torch.full(shape, float(decays(n, states[0].train_config))) for n, shape in self.shapes.items()}
        rates = torch.tensor([s.train_config.weight_decay for s in states], device=device)
        self.decay = rates[:, None] * self._flat(ones).to(device)
        self.clip = torch.tensor([s.train_config.clip for s in states], device=device)
        # The rate of each step to come, so that the loop copies nothing to the device.
        steps = range(states[0].step, states[0].train_config.steps)
        self.rates = torch.tensor(
            [[learning_rate(s.train_config, step) for s in states] for step in steps], device=device
        )
        self.begin = states[0].step
        self.gradient = vmap(grad_and_value(self._loss))
        self.numbers = vmap(self._numbers, in_dims=(0, 0, 0, None))
        self.measured = _Measured(self.template)

    def _flat(self, named: dict[str, Tensor]) -> Float[Tensor, "weight"]:
        return torch.cat([named[name].detach().flatten() for name in self.shapes])

    def named(self, flat: Float[Tensor, "*member weight"]) -> dict[str, Tensor]:
        """Views of the rows, by the names of the parameters."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()], dim=-1)
        return {name: x.reshape((*x.shape[:-1], *shape)) for (name, shape), x in zip(self.shapes.items(), parts)}

    def _loss(self, weights: dict[str, Tensor], noise: dict[str, Tensor], tokens: Tensor, answer: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self.template, weights | noise, (tokens,)), answer)

    def _numbers(self, weights: dict[str, Tensor], noise: dict[str, Tensor], asked: list, ids: Tensor) -> Tensor:
        named = {f"model.{n}": w for n, w in (weights | noise).items()}
        return functional_call(self.measured, named, (asked, ids))

    @torch.no_grad()
    def update(self, tokens: Tensor, answer: Tensor) -> Float[Tensor, "member"]:
        """One step of AdamW for every member, with its own clipping and rate, as torch makes it; returns the losses."""
        gradients, loss = self.gradient(self.named(self.weights), self.noise, tokens, answer)
        g = torch.cat([x.reshape(len(x), -1) for x in gradients.values()], dim=1)
        g *= (self.clip / (g.norm(dim=1) + 1e-6)).clamp(max=1.0)[:, None]
        step = self.states[0].step + 1
        lr = self.rates[step - 1 - self.begin][:, None]
        self.weights *= 1 - lr * self.decay
        self.first.lerp_(g, 1 - BETAS[0])
        self.second.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
        size = (self.second / (1 - BETAS[1] ** step)).sqrt_().add_(EPS)
        self.weights -= lr * (self.first / (1 - BETAS[0] ** step)) / size
        return loss

    def record(self, asked: list, ids: Tensor, losses: list[Tensor]) -> list[Evaluation]:
        """Measure every member, and add what was found to its history."""
        found = self.numbers(self.named(self.weights), self.noise, asked, ids).tolist()
        means = torch.stack(losses).mean(dim=0).tolist() if losses else [None] * len(found)
        step, n_layers = self.states[0].step, self.states[0].model_config.n_layers
        evaluations = [Evaluation.of(step, one, n_layers, loss) for one, loss in zip(found, means)]
        for state, one in zip(self.states, evaluations):
            state.history.append(one)
        if self.states[0].step == 0:
            self.keep_snapshots()
        return evaluations

    def keep_snapshots(self) -> None:
        step = self.states[0].step
        if step in self.states[0].train_config.snapshots:
            for state, row in zip(self.states, self.weights):
                kept = self.named(row) | dict(state.model.named_buffers())
                state.snapshots[step] = {n: w.clone() for n, w in kept.items()}

    @torch.no_grad()
    def hand_back(self, losses: list[Tensor]) -> None:
        """Give every member its weights and moments, so that it can be saved, probed, or gone on with alone."""
        rows = (map(self.named, x) for x in (self.weights, self.first, self.second))
        for i, (state, weights, first, second) in enumerate(zip(self.states, *rows)):
            state.losses = [loss[i] for loss in losses]
            for name, p in state.model.named_parameters():
                p.copy_(weights[name])
                if state.step:
                    step = torch.tensor(float(state.step), device=p.device)
                    kept = {"step": step, "exp_avg": first[name].clone(), "exp_avg_sq": second[name].clone()}
                    state.optimizer.state[p] = kept


class _Measured(nn.Module):
    """`numbers` as a module, so that a member's weights can take the place of the template's."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, asked: list, ids: Tensor) -> Tensor:
        return numbers(self.model, asked, ids)


def _check(states: Sequence[TrainState]) -> None:
    if not states:
        raise ValueError("An ensemble of 0 members cannot be trained: give at least one.")
    kinds = {can_join(s.task, s.model_config, s.train_config) for s in states}
    if len(kinds) > 1:
        raise ValueError(
            f"These {len(states)} trainings are of {len(kinds)} shapes and cannot be made as one: "
            "group them by matchlib.ensemble.can_join."
        )
    places = {(s.step, s.device) for s in states}
    if len(places) > 1:
        raise ValueError(
            f"All members must stand at one step, on one device; these stand at {sorted(places, key=str)}."
        )
