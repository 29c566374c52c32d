"""What the experiments of lesson 04 found on the shipped models.

    python -m matchlib.findings        makes course/runs/findings.jsonl anew, one line an experiment and model

The first line says where, with what and for how long the record was made.

Every experiment is put to the seven seeds of `small`, on questions without a residue rule and on the test split, and to
three models that tell what it is worth: an untrained one, one that knows its training sequences by heart (asked those),
and the network built by hand, where the mechanism is known. The experiments were worked out on the seven seeds. So they
are also put, unchanged, to ten held-out seeds, trained for this record alone, whether they answer or not.
"""

import json
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

import torch

from matchlib.causes import Setting, investigate
from matchlib.construct import build, with_sink
from matchlib.data import Batch
from matchlib.evidence import Finding
from matchlib.experiments import EXPERIMENTS
from matchlib.model import Transformer
from matchlib.presets import PRESETS
from matchlib.record import provenance, write_whole
from matchlib.runs import RUNS, SHIPPED, load_or_train
from matchlib.train import seeded, train

RECORD = SHIPPED / "findings.jsonl"
SEEDS = tuple(name for name in RUNS if name.startswith("post_g07"))
HELD_OUT = range(2000, 2010)
N, N_REFERENCE, WIDTH = 1_000, 5_000, 512

Settings = Iterator[tuple[str, Transformer, Batch, Batch]]


def questions(split: str) -> list[Batch]:
    """The questions to ask, and others to measure means on."""
    task = PRESETS["small"].task
    return [task.sample(n, split, generator=seeded(0, "findings", split, n)) for n in (N, N_REFERENCE)]


def held_out() -> Settings:
    """`small` on seeds that had no part in working out the experiments: half a minute of training each."""
    small = PRESETS["small"]
    for seed in HELD_OUT:
        run = train(small.task, small.model, small.train, seed, device="cpu")
        yield f"held out {seed}", run.model, *questions("any")


def shipped() -> Settings:
    """Each model of the course with its questions, and with other questions to measure means on."""
    base, drawn = load_or_train(SEEDS[0]), {split: questions(split) for split in ("any", "test")}
    for name in SEEDS:
        model = load_or_train(name).model
        for split, batches in drawn.items():
            yield f"{name}, {split}", model, *batches
    yield "untrained", Transformer(base.model_config, generator=seeded(0, "untrained")), *drawn["any"]
    run = load_or_train("memoriser")
    known = run.task.sample(run.train_config.n_train, run.train_config.split, generator=seeded(run.seed, "fixed"))
    yield "memoriser", run.model, known[:N], known[N:]
    by_hand = build(base.task, WIDTH, generator=seeded(0, "by hand"))
    yield "by hand", by_hand, *map(with_sink, drawn["any"])


def find(settings: Settings) -> Iterator[Finding]:
    """Every experiment on every model."""
    for name, model, batch, reference in settings:
        for experiment in EXPERIMENTS.values():
            generator = seeded(0, "findings", name, experiment.name)
            yield investigate(experiment, Setting(model, batch, reference, generator), name)


@lru_cache(maxsize=1)
def load() -> dict[str, dict[str, Finding]]:
    """The shipped findings: experiment -> model -> finding."""
    kept: dict[str, dict[str, Finding]] = {}
    _made, *lines = map(json.loads, RECORD.read_text().splitlines())
    for finding in map(Finding.read, lines):
        kept.setdefault(finding.name, {})[finding.model] = finding
    return kept


if __name__ == "__main__":
    found, began = [], time.perf_counter()
    for finding in find(chain(shipped(), held_out())):
        print(f"{finding.model:18} {finding.name:36} {finding.verdict:13} {finding.found}", flush=True)
        found.append(finding)
    made = {"provenance": provenance(torch.device("cpu"), time.perf_counter() - began)}
    write_whole(RECORD, "".join(json.dumps(line) + "\n" for line in [made, *(f.record for f in found)]).encode())
