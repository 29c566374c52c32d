"""Many hops, learnt by stages: from a small ring to larger ones, each stage from where the last one ended.

    python -m matchlib.climb [FOLDER]              every plan and seed, a process a core; goes on where it was stopped
    python -m matchlib.climb FOLDER --heads 2      the same with two heads of half the width
    python -m matchlib.climb FOLDER --times 3      the same with three times the steps a stage

Asked for three steps on a ring of ten edges from the start, a model stays at chance for longer than we waited. On five
edges there are few answers to choose from; and what finds a node three steps on there soon finds it on a larger ring.
A stage ends after its steps, or as soon as it answers 0.99 of its test. A *rung* is what a model does then. Rings are
drawn without the residue rule: its shortcut competes. The recipe was found by trials on the seeds 10 and 100. Ours.
"""

import json
import os
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from joblib import Parallel, cpu_count, delayed, parallel_config

from matchlib import depth
from matchlib.data import ChainTask
from matchlib.engines import end_with
from matchlib.model import ModelConfig
from matchlib.record import Run, RunError, TrainConfig, write_whole
from matchlib.train import TrainState, fit

N_TOKENS, ENOUGH = 12, 0.99
MODEL = ModelConfig(gamma=0.5)
TRAIN = TrainConfig(batch_size=64, lr=1e-3, warmup=300, weight_decay=0.1, split="any", eval_every=500, n_eval=500)


class Plan(NamedTuple):
    """What a climb trains: so many layers, for so many hops."""

    n_layers: int
    hops: int
    width: int = 128
    n_heads: int = 1

    @property
    def model(self) -> ModelConfig:
        widths = {"d_model": self.width, "d_head": self.width // self.n_heads, "d_mlp": self.width}
        return replace(MODEL, n_layers=self.n_layers, n_heads=self.n_heads, **widths)

    def task(self, stage: "Stage") -> ChainTask:
        return ChainTask("ring", stage.n_edges, self.hops, N_TOKENS)

    def run_name(self, stage: "Stage", seed: int) -> str:
        heads = f"_n{self.n_heads}" if self.n_heads > 1 else ""
        return f"ring_L{self.n_layers}_d{self.width}{heads}_e{stage.n_edges}_h{self.hops}_s{seed}"


@dataclass(frozen=True)
class Stage:
    """One task of a climb: rings of so many edges, for so many steps at most."""

    n_edges: int
    steps: int


@dataclass(frozen=True)
class Rung:
    """What a model does at the end of a stage. asked: the answers by `depth.examine`; steps: of all stages so far."""

    n_layers: int
    width: int
    seed: int
    n_edges: int
    hops: int
    steps: int
    asked: dict
    provenance: dict
    n_heads: int = 1

    @property
    def right(self) -> tuple[int, int]:
        """Right answers, and questions."""
        (a, n), (b, m) = self.asked["allowed"], self.asked["forbidden"]
        return a + b, n + m


def _grow(*steps: int) -> tuple[Stage, ...]:
    """Rings of 5, 6, 7 and 9 edges, for so many steps at most."""
    return tuple(map(Stage, (5, 6, 7, 9), steps))


PLANS: dict[Plan, tuple[Stage, ...]] = {
    Plan(2, 1): (Stage(9, 2_000),),
    Plan(2, 2): _grow(2_000, 1_500, 2_500, 2_500),
    Plan(3, 3): _grow(2_000, 1_500, 5_000, 5_000),
    Plan(3, 3, 64): _grow(2_000, 1_500, 5_000, 5_000),
    Plan(3, 4): _grow(2_000, 6_000, 6_000, 6_000),
    Plan(4, 4): _grow(2_000, 6_000, 6_000, 6_000),
}
SEEDS = (101, 102, 103)
ONCE = Plan(3, 4), Plan(4, 4)  # on one seed: at nine edges they stand near chance, where no number of seeds tells


def jobs(n_heads: int = 1, times: int = 1) -> list[tuple[Plan, tuple[Stage, ...], int]]:
    """Every plan on its seeds: with so many heads, and so many times the steps."""
    return [
        (plan._replace(n_heads=n_heads), tuple(replace(stage, steps=times * stage.steps) for stage in stages), seed)
        for plan, stages in PLANS.items()
        for seed in (SEEDS[:1] if plan in ONCE else SEEDS)
    ]


def climb(plan: Plan, stages: Sequence[Stage], seed: int, last: Run | None = None) -> Iterator[Run]:
    """Train stage after stage and give the run at the end of each. last: the end of an earlier stage, to go on from."""
    for stage in stages:
        state = TrainState.new(plan.task(stage), plan.model, replace(TRAIN, steps=stage.steps), seed, "cpu")
        if last is not None:
            take_over(state, last)
        for step in fit(state):
            if step.evaluation and step.evaluation.test >= ENOUGH:
                break
        last = state.as_run()
        yield last


def take_over(state: TrainState, last: Run) -> None:
    """Begin with the weights of another training, on a ring that may be larger.

    The question keeps the embedding of its place, the edges keep those of theirs, and new places are as they were born.
    """
    weights, n = dict(last.model.state_dict()), last.model.cfg.n_pos
    places = state.model.w_pos.detach().clone()
    places[: n - 1], places[-1] = weights["w_pos"][:-1], weights["w_pos"][-1]
    state.model.load_state_dict(weights | {"w_pos": places})


def make(plan: Plan, stages: Sequence[Stage], seed: int, folder: Path) -> None:
    """Climb through the stages and keep the run of each stage; what is there is not trained again.

    Raises RunError where a run that is there was trained for another number of steps.
    """
    names = [folder / plan.run_name(stage, seed) for stage in stages]
    done = sum(name.with_name(f"{name.name}.json").exists() for name in names)
    last = Run.load(names[done - 1]) if done else None
    if last and last.train_config.steps != stages[done - 1].steps:
        raise RunError(f"{names[done - 1]} was trained for other than {stages[done - 1].steps} steps: delete it.")
    for name, run in zip(names[done:], climb(plan, stages[done:], seed, last)):
        run.save(name)
        print(f"{name.name}: test accuracy {run.history[-1].test:.3f}", flush=True)


def rungs(plan: Plan, stages: Sequence[Stage], seed: int, folder: Path) -> Iterator[Rung]:
    """What the models of one climb do."""
    steps = 0
    for stage in stages:
        run = Run.load(folder / plan.run_name(stage, seed))
        steps += run.provenance["steps"]
        sizes = (plan.n_layers, plan.width, seed, stage.n_edges, plan.hops)
        yield Rung(*sizes, steps, depth.examine(run), run.provenance, plan.n_heads)


def load(path: str | Path) -> list[Rung]:
    """The rungs of a file."""
    return [Rung(**json.loads(line)) for line in Path(path).read_text().splitlines()]


def write(found: Iterable[Rung], path: str | Path) -> None:
    write_whole(Path(path), "".join(json.dumps(asdict(rung)) + "\n" for rung in found).encode())


def main(args: Sequence[str] | None = None) -> None:
    """The command."""
    parser = ArgumentParser("python -m matchlib.climb", description="Train many hops on growing rings.")
    parser.add_argument("folder", nargs="?", default="climbs", type=Path, help="where the runs lie (default: climbs)")
    parser.add_argument("--heads", default=1, type=int, choices=(1, 2, 4), help="heads, which share the width")
    parser.add_argument("--times", default=1, type=int, choices=range(1, 101), metavar="1..100", help="times the steps")
    given = parser.parse_args(args)
    given.folder.mkdir(parents=True, exist_ok=True)
    todo = jobs(given.heads, given.times)
    with parallel_config("loky", initializer=end_with, initargs=(os.getpid(),)):
        Parallel(cpu_count(), batch_size=1)(delayed(make)(*job, given.folder) for job in todo)
    write((rung for job in todo for rung in rungs(*job, given.folder)), given.folder / "climbs.jsonl")


if __name__ == "__main__":
    main()
