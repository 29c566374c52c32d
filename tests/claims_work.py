"""Records that no training made, for the tests of verdicts, claims and the command that prints them."""

import os
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from math import inf
from pathlib import Path
from shutil import copyfile

from matchlib.ledger import Record
from matchlib.noise_claim import SWEEPS
from matchlib.presets import PRESETS
from matchlib.record import Evaluation
from matchlib.runs import SHIPPED

MINI = PRESETS["mini"]
SEEDS = range(100, 105)
PROBED = {name: 1.0 for name in ("middle", "answer", "pairs")}
MOVED = ("fresh.jsonl", "seeds.jsonl", "findings.jsonl", "climbs.jsonl", "scaffold.jsonl")


def made(seed: int, at: float = inf, reason: str = "", lr: float = 4e-3, n_train: int | None = None, **model) -> Record:
    """A run of `mini` that generalises, by matching, at a step out of 0, 100, ... 3000, or never."""
    cfg = replace(MINI.model, **{k: v for k, v in model.items() if k not in ("split", "steps", "weight_decay")})
    other = {k: v for k, v in model.items() if k in ("split", "steps", "weight_decay")}
    train = replace(MINI.train, lr=lr, n_train=n_train, **other)
    tests = ((step, float(step >= at)) for step in range(0, 3001, 100))
    history = [Evaluation(step, 1.0, t, t, t, 0.5, (t, t), (t, t)) for step, t in tests]
    return Record.of(MINI.task, cfg, train, seed, history, {"seconds": 1.0}, reason, PROBED)


def phase(steps, seeds: Iterable[int] = SEEDS, **rest) -> list[Record]:
    """The runs of a small phase diagram. steps: (layernorm, gamma, seed) -> the step at which it generalises."""
    rate = {"post": 4e-3, "pre": 2e-3}
    places = product(("post", "pre"), (0.3, 0.5, 0.7, 0.9, 1.1, 1.3), seeds)
    return [made(s, steps(ln, g, s), layernorm=ln, gamma=g, lr=rate[ln], **rest) for ln, g, s in places]


def noisy(steps, seeds: Iterable[int] = SEEDS, starts: Iterable[float] = (0.0, 1.0)) -> list[Record]:
    """The runs of a small noise sweep. steps: (noise, start, split, d_head, seed) -> the step."""
    found = []
    for split, d_head, noise in product(("train", "any"), (4, 32), ("none", "identity", "gaussian", "orthogonal")):
        for start, seed in product(starts if noise != "none" else (1.0,), seeds):
            at = steps(noise, start, split, d_head, seed)
            cfg = {"noise": noise, "alpha": start, "beta": start, "d_head": d_head, "gamma": 0.5, "split": split}
            found.append(made(seed, at, **cfg))
    return found


def write(folder: Path, name: str, records: Iterable[Record]) -> None:
    (folder / name).write_text("".join(f"{record.line}\n" for record in records))


def copied(to: Path) -> Path:
    """One copy of the shipped records of C1, beside the folders of a test session: links need one disk, 16 MB once."""
    if not to.exists():
        to.mkdir()
        for path in SHIPPED.iterdir():
            if path.suffix in (".json", ".safetensors") or path.name in MOVED:
                copyfile(path, to / path.name)
    return to


def fill(folder: Path, phase_steps=None, noise_steps=None, tuning_steps=None) -> Path:
    """A folder with every record of the scorecard: those of C1 are the shipped ones, the others are made."""
    for path in copied(folder.parent / "shipped").iterdir():
        os.link(path, folder / path.name)
    default = phase_steps or (lambda ln, gamma, seed: 1000 if ln == "post" and gamma > 0.6 else inf)
    write(folder, "phase.jsonl", phase(default))
    write(folder, "longer.jsonl", phase(default))
    noise_steps = noise_steps or (lambda noise, *_: 500 if noise == "orthogonal" else 1500)
    reported, tuning = noisy(noise_steps), noisy(tuning_steps or noise_steps, (10, 11))
    for sweep in SWEEPS.values():
        write(folder, f"{sweep}.jsonl", reported)
        write(folder, f"{sweep}_tuning.jsonl", tuning)
    return folder
