"""What the experiments of lesson 04 found on the shipped models.

    python -m matchlib.findings        makes course/runs/findings.jsonl anew, one line an experiment and model: minutes

Every experiment is put to the seven seeds of `small`, on questions without a residue rule and on the test split, and to
three models that tell what it is worth: an untrained one, one that knows its training sequences by heart (asked those),
and the network built by hand, where the mechanism is known. The experiments were worked out on the seven seeds. So they
are also put, unchanged, to ten held-out seeds, trained for this record alone, whether they answer or not.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from matchlib.causes import Setting, investigate
from matchlib.construct import build, with_sink
from matchlib.data import Batch
from matchlib.evidence import Finding
from matchlib.experiments import EXPERIMENTS
from matchlib.model import Transformer
from matchlib.presets import PRESETS
from matchlib.record import write_whole
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
        yield f"held out {seed}", train(small.task, small.model, small.train, seed).model, *questions("any")


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
    for line in RECORD.read_text().splitlines():
        finding = Finding.read(json.loads(line))
        kept.setdefault(finding.name, {})[finding.model] = finding
    return kept


if __name__ == "__main__":
    found = []
    for finding in find(chain(shipped(), held_out())):
        print(f"{finding.model:18} {finding.name:36} {finding.verdict:13} {finding.found}", flush=True)
        found.append(finding)
    write_whole(RECORD, "".join(json.dumps(f.record) + "\n" for f in found).encode())
