"""Many hops, learnt by stages: from a small ring to larger ones, each stage from where the last one ended.

    python -m matchlib.climb [FOLDER]      every plan and seed, a process a core; goes on where it was stopped

Asked for three steps on a ring of ten edges from the start, a model stays at chance for longer than we waited. On five
edges there are few answers to choose from; and what finds a node three steps on there soon finds it on a larger ring.
A *rung* is what a model does at the end of a stage. Rings are drawn without the residue rule: its shortcut competes.
The recipe was found by trials on seed 10, but for the lengths of the stages of SLOW: they were made longer after a look
at seed 100, where shorter ones ended at 0.86. Source: ours.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from joblib import Parallel, cpu_count, delayed, parallel_config

from matchlib import depth
from matchlib.data import ChainTask
from matchlib.engines import end_with
from matchlib.model import ModelConfig
from matchlib.record import Run, RunError, TrainConfig, write_whole
from matchlib.train import TrainState, fit, fitted

N_TOKENS, WIDTH = 12, 128
MODEL = ModelConfig(d_model=WIDTH, d_head=WIDTH, d_mlp=WIDTH, gamma=0.5)
TRAIN = TrainConfig(batch_size=64, lr=1e-3, warmup=300, weight_decay=0.1, split="any", eval_every=500, n_eval=500)


@dataclass(frozen=True)
class Stage:
    """One task of a climb: rings of so many edges, so many hops, for so many steps."""

    n_edges: int
    hops: int
    steps: int

    @property
    def task(self) -> ChainTask:
        return ChainTask("ring", self.n_edges, self.hops, N_TOKENS)


@dataclass(frozen=True)
class Rung:
    """What a model does at the end of a stage. asked: the answers by `depth.examine`; steps: of all stages so far."""

    n_layers: int
    seed: int
    n_edges: int
    hops: int
    steps: int
    asked: dict
    provenance: dict

    @property
    def right(self) -> tuple[int, int]:
        """Right answers, and questions."""
        (a, n), (b, m) = self.asked["allowed"], self.asked["forbidden"]
        return a + b, n + m


def _grow(hops: int, *steps: int) -> tuple[Stage, ...]:
    """The same number of hops on rings of 5, 6, ... edges, for so many steps each."""
    return tuple(Stage(n_edges, hops, n) for n_edges, n in enumerate(steps, start=5))


QUICK, SLOW = (2_000, 1_500, 2_500, 1_500, 1_500, 2_500), (2_000, 1_500, 5_000, 2_000, 2_000, 5_000)
PLANS: dict[tuple[int, int], tuple[Stage, ...]] = {  # by layers and hops
    (2, 1): (Stage(10, 1, 2_000),),
    (2, 2): _grow(2, *QUICK),
    (3, 3): _grow(3, *SLOW),
    (3, 4): _grow(4, *SLOW),
    (4, 3): _grow(3, *QUICK),
    (4, 4): _grow(4, *SLOW),
}
SEEDS = (100, 101, 102)


def climb(n_layers: int, stages: Sequence[Stage], seed: int, last: Run | None = None) -> Iterator[Run]:
    """Train stage after stage and give the run at the end of each. last: the end of an earlier stage, to go on from."""
    for stage in stages:
        model = fitted(replace(MODEL, n_layers=n_layers), stage.task)
        state = TrainState.new(stage.task, model, replace(TRAIN, steps=stage.steps), seed, "cpu")
        if last is not None:
            take_over(state, last)
        for _ in fit(state):
            pass
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


def make(plan: tuple[int, int], seed: int, folder: Path) -> None:
    """Climb to the end of a plan and keep the run of each stage; what is there is not trained again.

    Raises RunError where a run that is there was trained for another number of steps.
    """
    stages, n_layers = PLANS[plan], plan[0]
    names = [folder / run_name(n_layers, stage, seed) for stage in stages]
    done = sum(name.with_name(f"{name.name}.json").exists() for name in names)
    last = Run.load(names[done - 1]) if done else None
    if last and last.train_config.steps != stages[done - 1].steps:
        raise RunError(f"{names[done - 1]} was trained for other than {stages[done - 1].steps} steps: delete it.")
    for name, run in zip(names[done:], climb(n_layers, stages[done:], seed, last)):
        run.save(name)
        print(f"{name.name}: test accuracy {run.history[-1].test:.3f}", flush=True)


def rungs(plan: tuple[int, int], seed: int, folder: Path) -> Iterator[Rung]:
    """What the models of one climb do."""
    steps = 0
    for stage in PLANS[plan]:
        run, steps = Run.load(folder / run_name(plan[0], stage, seed)), steps + stage.steps
        yield Rung(plan[0], seed, stage.n_edges, stage.hops, steps, depth.examine(run), run.provenance)


def run_name(n_layers: int, stage: Stage, seed: int) -> str:
    return f"ring_L{n_layers}_e{stage.n_edges}_h{stage.hops}_s{seed}"


def load(path: str | Path) -> list[Rung]:
    """The rungs of a file."""
    return [Rung(**json.loads(line)) for line in Path(path).read_text().splitlines()]


def write(found: Iterable[Rung], path: str | Path) -> None:
    write_whole(Path(path), "".join(json.dumps(asdict(rung)) + "\n" for rung in found).encode())


if __name__ == "__main__":
    at = Path(sys.argv[1] if sys.argv[1:] else "climbs")
    at.mkdir(exist_ok=True)
    jobs = [(plan, seed) for seed in SEEDS for plan in PLANS]
    with parallel_config("loky", initializer=end_with, initargs=(os.getpid(),)):
        Parallel(cpu_count(), batch_size=1)(delayed(make)(*job, at) for job in jobs)
    write((rung for job in sorted(jobs) for rung in rungs(*job, at)), at / "climbs.jsonl")
