"""Two layers that write the steps, against two layers that are asked for the answer at once: the record of both.

    python -m matchlib.aloud [FOLDER]      fills course/runs/aloud.jsonl; goes on where it was stopped

A line of the record is one training: a way of teaching to write (see `matchlib.writing`), or ONE_PASS, a model that is
trained on the answer so many hops on and never writes. Rates and steps were chosen on the seeds 10 and 11, for each of
the two by itself: the latter learns one hop more slowly, and is given two and a half times the steps. The seeds of the
record had no say. Rings are drawn without the residue rule: its shortcut competes. The first model of the way
SHIPPED_WAY is kept beside the record.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from matchlib.data import ChainTask
from matchlib.evidence import Finding
from matchlib.model import ModelConfig
from matchlib.page import EXPERIMENTS, Page, experiment
from matchlib.probe import argmax_score, matching_score
from matchlib.record import Run, RunError, TrainConfig, write_whole
from matchlib.runs import SHIPPED
from matchlib.train import TrainState, accuracy_of, fit, fitted, seeded
from matchlib.writing import FEW, WAYS, Score, lent, score, sizes, teach, write

RECORD, MODEL = SHIPPED / "aloud.jsonl", SHIPPED / "aloud"
N_EDGES, N_TOKENS = 12, 20
TASK = ChainTask("ring", N_EDGES, N_EDGES - 1, N_TOKENS)  # hops: how many nodes are written
SIZES = ModelConfig(n_layers=2, d_model=32, d_head=32, d_mlp=32, gamma=0.5)
TRAIN = TrainConfig(
    steps=600, batch_size=64, lr=8e-3, warmup=60, weight_decay=0.1, n_train=None, split="any", eval_every=20, n_eval=200
)
AT_ONCE = replace(TRAIN, steps=1_500, lr=4e-3, warmup=150, eval_every=1_500)  # measured at its start and end alone
ONE_PASS, SHIPPED_WAY = "one pass", "shifted"
HOPS = (1, 2, 3, 11)  # asked in one pass, each of a model of its own
CHANCE = 1 / (N_EDGES - 1)  # of one who names any node of the ring but the start
SEEDS = (100, 101, 102)
N, N_CAUSES = 2_000, 500  # texts to score at the end, and questions of each experiment


@dataclass(frozen=True)
class Job:
    """One training: a way and a seed; for ONE_PASS the hops it is asked for, else the nodes of a page."""

    way: str
    seed: int
    hops: int = N_EDGES - 1

    @property
    def name(self) -> str:
        asked = f", {self.hops} hops" if self.way == ONE_PASS else ""
        return f"{self.way}{asked}, seed {self.seed}"


JOBS = tuple(
    job for seed in SEEDS for job in (*(Job(w, seed) for w in WAYS), *(Job(ONE_PASS, seed, hops) for hops in HOPS))
)


@dataclass(frozen=True)
class Told:
    """What one training came to. matching, argmax: the scores of layer 1, beside those of the model before training."""

    job: Job
    score: Score  # for ONE_PASS of the one hop count, as the only entry
    matching: tuple[float, float]
    argmax: tuple[float, float]
    configs: dict
    provenance: dict
    curve: tuple[tuple[int, Score], ...] = ()  # on the way: the step, and what was written then
    findings: tuple[Finding, ...] = ()
    lent: Score | None = None  # of the way "few", with the position of its last taught place at all later ones too

    @property
    def line(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, line: str) -> "Told":
        """From its line. Raises ValueError and kin for another text."""
        kept = json.loads(line)
        curve = tuple((step, _score(one)) for step, one in kept["curve"])
        parts = {"job": Job(**kept["job"]), "score": _score(kept["score"]), "curve": curve}
        parts |= {"findings": tuple(map(Finding.read, kept["findings"]))}
        parts |= {"lent": kept["lent"] and _score(kept["lent"])}
        parts |= {name: tuple(kept[name]) for name in ("matching", "argmax")}
        return cls(**kept | parts)


def tell(job: Job) -> tuple[Told, Run]:
    """Train one model, and ask it all that is asked."""
    return _one_pass(job) if job.way == ONE_PASS else _written(job)


def _written(job: Job) -> tuple[Told, Run]:
    early = TASK.sample(TRAIN.n_eval, TRAIN.split, generator=seeded(job.seed, "aloud, on the way"))
    curve, scores = [], []
    for state in teach(TASK, SIZES, TRAIN, job.seed, job.way):
        curve.append((state.step, score(early, write(state.model, early.tokens, job.hops))))
        if state.step in (0, TRAIN.steps):
            scores.append(_matching(state))
    batch = TASK.sample(N, TRAIN.split, generator=seeded(job.seed, "aloud"))
    found = score(batch, write(state.model, batch.tokens, job.hops))
    cured = None
    if job.way == "few":
        helped = lent(state.model, 2 * N_EDGES + FEW - 1)
        cured = score(batch, write(helped, batch.tokens, job.hops))
    page = Page(state.model, batch[:N_CAUSES], seeded(job.seed, "aloud, controls"))
    findings = tuple(experiment(name, page, job.name) for name in EXPERIMENTS)
    run = state.as_run()
    matching, argmax = zip(*scores)
    return Told(job, found, matching, argmax, _plain(run.configs), run.provenance, tuple(curve), findings, cured), run


def _one_pass(job: Job) -> tuple[Told, Run]:
    state = TrainState.new(ChainTask("ring", N_EDGES, job.hops, N_TOKENS), SIZES, AT_ONCE, job.seed, "cpu")
    before = _matching(state)
    for _ in fit(state):
        pass
    batch = state.task.sample(N, TRAIN.split, generator=seeded(job.seed, "aloud"))
    found = Score(N, (round(N * accuracy_of(state.model, batch)),), ())
    run = state.as_run()
    matching, argmax = zip(before, _matching(state))
    return Told(job, found, matching, argmax, _plain(run.configs), run.provenance), run


def _matching(state: TrainState) -> tuple[float, float]:
    ids = torch.arange(1, N_TOKENS + 1)
    return matching_score(state.model, 1, ids), argmax_score(state.model, 1, ids)


def _score(kept: dict) -> Score:
    return Score(kept["n"], tuple(kept["reached"]), tuple(kept["followed"]))


def load(path: str | Path = RECORD) -> list[Told]:
    """The lines of a record. Raises RunError for one that is missing, or whose text is another."""
    try:
        return [Told.read(line) for line in Path(path).read_text().splitlines()]
    except FileNotFoundError:
        raise RunError(f"There is no record at {path}: make it with 'python -m matchlib.aloud'.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({type(error).__name__}): delete it and make it again.") from None


def make(jobs: Sequence[Job] = JOBS, folder: Path = SHIPPED, progress: bool = True) -> list[Told]:
    """Train what the record in a folder lacks, one after the other, and write it whole after each.

    Raises RunError where a line was made with other configs than these.
    """
    path, model = folder / RECORD.name, folder / MODEL.name
    kept = {told.job: told for told in (load(path) if path.exists() else [])}
    if wrong := [job.name for job, told in kept.items() if told.configs != configs(job)]:
        raise RunError(f"{path} holds {wrong[0]!r}, made with other settings: delete the file and begin again.")
    ship = next(job for job in jobs if job.way == SHIPPED_WAY)
    if not model.with_name(f"{model.name}.json").exists():
        kept.pop(ship, None)
    todo = [job for job in jobs if job not in kept]
    with tqdm(total=len(jobs), initial=len(jobs) - len(todo), disable=not progress, unit="training") as bar:
        for job in todo:
            bar.set_postfix_str(job.name)
            kept[job], run = tell(job)
            if job == ship:
                run.save(model)
            write_whole(path, "".join(kept[j].line + "\n" for j in jobs if j in kept).encode())
            bar.update()
    return [kept[job] for job in jobs]


def configs(job: Job) -> dict:
    """The settings of a training."""
    task = TASK if job.way != ONE_PASS else ChainTask("ring", N_EDGES, job.hops, N_TOKENS)
    model, train = (fitted(SIZES, task), AT_ONCE) if job.way == ONE_PASS else (sizes(TASK, SIZES), TRAIN)
    return _plain({"task": asdict(task), "model": asdict(model), "train": asdict(train)})


def _plain(settings: dict) -> dict:
    """As JSON keeps it: a tuple is a list."""
    return json.loads(json.dumps(settings))


def main(arguments: Sequence[str]) -> int:
    """Make the record; on Ctrl-C say how to go on."""
    folder = Path(arguments[0]) if arguments else SHIPPED
    try:
        make(folder=folder)
    except KeyboardInterrupt:
        print(f"Stopped; what ended is in {folder / RECORD.name}. The same command goes on from there.")
        return 130
    except RunError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
