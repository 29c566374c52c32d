"""As many hops as the rules allow, and one more: trained with a scaffold, then without, then on what is forbidden.

    python -m matchlib.scaffold_train [FOLDER]     every plan and seed, a process a core; goes on where it was stopped
    python -m matchlib.scaffold_train FOLDER --layers 4 --hops 4     a plan of your own, on the same seeds

A training has three stages. *taught*: the scaffold of `matchlib.scaffold` and the answer. *alone*: the answer only, on
all orders of edges, so that nothing holds the model to the rules any more. *pushed*: the answer only, on nothing but
the orders that do not let the rules reach it: if there is a way beyond the rules, here is every reason to find it.

Is the push strong enough? Three hops are the control: there the rules allow every order, and left alone the models
answer where the last edge stands ahead of the one before it; they are pushed on the others. (They do not learn these
either, so a push is weak.) *hard* was added then: the scaffold and the answer from the start, on nothing but the hard
questions, forbidden ones of four hops and allowed ones of three. *plain* has no scaffold: the answer only, for as many
steps as the first two stages together. Rings have twelve edges, which puts the other way round out of reach, and are
drawn without the residue rule. Stages and rates were found by trials on seed 10. Ours.
"""

import json
import os
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from joblib import Parallel, cpu_count, delayed, parallel_config
from torch import Tensor

from matchlib import depth, middle
from matchlib.climb import Rung, write
from matchlib.data import Batch, ChainTask
from matchlib.engines import end_with
from matchlib.model import ModelConfig
from matchlib.record import Run, RunError, TrainConfig
from matchlib.rules import bounds
from matchlib.scaffold import Scaffold
from matchlib.train import Supply, TrainState, learning_rate, seeded

N_EDGES, N_TOKENS = 12, 16
TRAIN = TrainConfig(
    batch_size=64, lr=1e-3, warmup=300, weight_decay=0.1, n_train=None, split="any", eval_every=500, n_eval=500
)
TAUGHT, ALONE, PUSHED, PLAIN, HARD = "taught", "alone", "pushed", "plain", "hard"
STEPS = {TAUGHT: 2_500, ALONE: 2_000, PUSHED: 2_000, PLAIN: 4_500, HARD: 2_500}
IN_STAGES = "in stages"
BLOCK = 64  # steps' worth of questions drawn at a time


class Plan(NamedTuple):
    """What is trained: so many layers of this width, for so many hops; and in which way: IN_STAGES, PLAIN or HARD."""

    n_layers: int
    hops: int
    width: int = 64
    way: str = IN_STAGES

    @property
    def task(self) -> ChainTask:
        return ChainTask("ring", N_EDGES, self.hops, N_TOKENS)

    @property
    def model(self) -> ModelConfig:
        return ModelConfig(self.n_layers, self.width, self.width, self.width, gamma=0.5)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages in their order; without hard questions nothing is pushed."""
        if self.way != IN_STAGES:
            return (self.way,)
        least = bounds(self.n_layers)[0]
        forbidden = min(self.hops, N_EDGES - self.hops) > least  # on some order, by either way round
        return (TAUGHT, ALONE, PUSHED) if self.three or forbidden else (TAUGHT, ALONE)

    @property
    def three(self) -> bool:
        """Three hops with three layers: allowed on every order, and yet some questions are hard."""
        return (self.n_layers, self.hops) == (3, 3)

    def run_name(self, stage: str, seed: int) -> str:
        return f"ring_L{self.n_layers}_d{self.width}_e{N_EDGES}_h{self.hops}_{stage}_s{seed}"


@dataclass(frozen=True)
class Stand(Rung):
    """What a model does at the end of a stage; `asked` has the answers of `matchlib.middle` too."""

    stage: str = ""


PLANS = (
    *(Plan(3, hops) for hops in (3, 4, 5)),
    Plan(3, 4, 128),
    *(Plan(3, hops, 64, HARD) for hops in (3, 4)),
    Plan(3, 4, 128, HARD),
    Plan(3, 4, 64, PLAIN),
)
SEEDS = (101, 102, 103)


def ask(plan: Plan, stage: str, seed: int, block: int) -> Batch:
    """The questions of so many steps; for `pushed` and `hard` only the hard ones."""
    n, draw = BLOCK * TRAIN.batch_size, seeded(seed, "scaffold", stage, block)
    if stage not in (PUSHED, HARD):
        return plan.task.sample(n, TRAIN.split, generator=draw)
    found: list[Batch] = []
    while sum(map(len, found)) < n:
        batch = plan.task.sample((3 if plan.three else 2) * n, TRAIN.split, generator=draw)
        found.append(batch[hard(plan, batch)])
    return Batch(*(torch.cat([getattr(part, f.name) for part in found])[:n] for f in fields(Batch)))


def hard(plan: Plan, batch: Batch) -> Bool[Tensor, "batch"]:
    """What the rules forbid; of three hops, which they never forbid, those whose last edge stands behind."""
    if plan.three:
        return batch.path_pos[:, 2] > batch.path_pos[:, 1]
    return depth.left_open(batch, plan.n_layers, closed=True) > 0


def learn(plan: Plan, seed: int, stage: str, last: Run | None = None) -> Run:
    """Train one stage, with the weights at the end of the last one to begin with."""
    began = time.perf_counter()
    state = TrainState.new(plan.task, plan.model, replace(TRAIN, steps=STEPS[stage]), seed, "cpu")
    model, cfg, optimizer, supply = state.model, state.train_config, state.optimizer, Supply(state)
    if last is not None:
        model.load_state_dict(last.model.state_dict())
    scaffold = Scaffold(model.cfg, plan.task.n_edges, seed) if stage in (TAUGHT, HARD) else None
    if scaffold:
        optimizer.add_param_group({"params": list(scaffold.parameters()), "weight_decay": cfg.weight_decay})
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    while not state.done:
        block, at = divmod(state.step, BLOCK)
        if at == 0:
            questions = ask(plan, stage, seed, block)
        batch = questions[at * cfg.batch_size : (at + 1) * cfg.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg, state.step)
        if scaffold:
            loss = torch.stack(scaffold.losses(model, batch)).sum()
        else:
            loss = F.cross_entropy(model(batch.tokens), batch.answer)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, cfg.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        if state.step % cfg.eval_every == 0 or state.done:
            state.losses.append(loss.detach())
            state.history.append(supply.measure(state))
            state.losses.clear()
    state.seconds = time.perf_counter() - began
    return state.as_run()


def make(plan: Plan, seed: int, folder: Path) -> None:
    """Train stage after stage and keep the run of each; what is there is not trained again.

    Raises RunError where a run that is there was trained for another number of steps.
    """
    last = None
    for stage in plan.stages:
        path = folder / plan.run_name(stage, seed)
        if path.with_name(f"{path.name}.json").exists():
            last = Run.load(path)
            if last.train_config.steps != STEPS[stage]:
                raise RunError(f"{path} was trained for other than {STEPS[stage]} steps: delete it.")
            continue
        last = learn(plan, seed, stage, last)
        last.save(path)
        print(f"{path.name}: test accuracy {last.history[-1].test:.3f}", flush=True)


def stands(plan: Plan, seed: int, folder: Path) -> Iterator[Stand]:
    """What the model of one training does after each stage. Steps are those of all stages so far."""
    steps = 0
    for stage in plan.stages:
        run = Run.load(folder / plan.run_name(stage, seed))
        steps += run.provenance["steps"]
        asked = depth.examine(run) | middle.examine(run)
        sizes = plan.n_layers, plan.width, seed, plan.task.n_edges, plan.hops, steps
        yield Stand(*sizes, asked, run.provenance, stage=stage)


def load(path: str | Path) -> list[Stand]:
    """The stands of a file."""
    return [Stand(**json.loads(line)) for line in Path(path).read_text().splitlines()]


def main(args: Sequence[str] | None = None) -> None:
    """The command."""
    parser = ArgumentParser("python -m matchlib.scaffold_train", description="Train many hops with a scaffold.")
    parser.add_argument(
        "folder", nargs="?", default="scaffold", type=Path, help="where the runs lie (default: scaffold)"
    )
    parser.add_argument("--layers", type=int, choices=range(2, 9), help="a plan of your own: so many layers")
    parser.add_argument("--hops", default=4, type=int, choices=range(1, N_EDGES), help="its hops (default: 4)")
    given = parser.parse_args(args)
    folder, plans = given.folder, [Plan(given.layers, given.hops)] if given.layers else PLANS
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(plan, seed) for plan in plans for seed in SEEDS]
    with parallel_config("loky", initializer=end_with, initargs=(os.getpid(),)):
        Parallel(cpu_count(), batch_size=1)(delayed(make)(*job, folder) for job in todo)
    name = f"scaffold_L{given.layers}_h{given.hops}" if given.layers else "scaffold"
    write((stand for job in todo for stand in stands(*job, folder)), folder / f"{name}.jsonl")


if __name__ == "__main__":
    main()
