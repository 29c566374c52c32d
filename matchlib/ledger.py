"""The records of many runs in one file: appended so that a kill loses none, and read fast.

A file FOLDER/NAME.jsonl holds one line a run, in the order in which runs ended. A line counts once its line end is on
disk: what stands after the last line end was torn by a kill, readers pass over it, and the next writer removes it. A
damaged line anywhere else is an error. Where a failed run was tried again, the newest line of its key counts. A sweep
that is complete may be packed: FOLDER/NAME.jsonl.gz holds the same lines in a fifth of the space.
"""

import gc
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path

import numpy as np
from filelock import FileLock

from matchlib.archive import packed, unpacked
from matchlib.data import ChainTask
from matchlib.model import ModelConfig
from matchlib.record import Evaluation, RunError, TrainConfig, make, run_name, undivided

CONFIGS = {"task": ChainTask, "model": ModelConfig, "train": TrainConfig}
MEASURED = tuple(f.name for f in fields(Evaluation))
OF_NOISE = ("alpha", "beta")  # columns of runs with noise alone


@dataclass(frozen=True)
class Record:
    """What is kept of a run of a sweep: all but its weights, in about 3 KB.

    key: `run_name` of configs and seed. columns: what was measured, a list a quantity (the fields of `Evaluation`),
    with 5 significant digits. status: "done", or "failed" with the reason in one sentence. probed: what probes and
    patches found of the trained model (see `matchlib.kinds`), by name.
    """

    key: str
    task: ChainTask
    model: ModelConfig
    train: TrainConfig
    seed: int
    columns: dict[str, list] = field(repr=False)
    status: str
    reason: str
    provenance: dict = field(repr=False)
    probed: dict = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        task: ChainTask,
        model: ModelConfig,
        train: TrainConfig,
        seed: int,
        history: Iterable[Evaluation],
        provenance: dict,
        reason: str = "",
        probed: dict | None = None,
    ) -> "Record":
        """The record of a run that ended; with a reason, of one that failed."""
        finite = [asdict(e) for e in history if is_finite(e)]  # after a divergence there are no numbers that JSON has
        columns = {name: [_short(e[name]) for e in finite] for name in MEASURED}
        columns = {name: values for name, values in columns.items() if name not in OF_NOISE or any(values)}
        probed = {name: _short(value) for name, value in (probed or {}).items()}
        key, status = run_name(task, model, train, seed), "failed" if reason else "done"
        return cls(key, task, model, train, seed, columns, status, reason, provenance, probed)

    @classmethod
    def read(cls, line: str | bytes, known: dict | None = None) -> "Record":
        """A record from its line. known: configs that were read before, by their text. Raises ValueError and kin."""
        kept, known = json.loads(line), {} if known is None else known
        configs = []
        for name, made in CONFIGS.items():
            text = f"{name} {kept[name]}"
            if text not in known:
                known[text] = make(made, kept[name])
            configs.append(known[text])
        if set(kept["history"]) | set(OF_NOISE) != set(MEASURED) or kept["status"] not in ("done", "failed"):
            raise ValueError("other quantities, or another status")
        rest = (kept["history"], kept["status"], kept["reason"], kept["provenance"], kept.get("probed", {}))
        return cls(kept["key"], *configs, kept["seed"], *rest)

    @property
    def line(self) -> str:
        """The record as one line of JSON, without the line end."""
        kept = {"key": self.key, "seed": self.seed, "status": self.status, "reason": self.reason}
        kept |= {name: _changed(getattr(self, name)) for name in CONFIGS}
        kept |= {"provenance": self.provenance, "history": self.columns}
        kept |= {"probed": self.probed} if self.probed else {}
        return json.dumps(kept, separators=(",", ":"), allow_nan=False)

    @property
    def history(self) -> list[Evaluation]:
        """The evaluations in order, as a `Run` has them but for the rounding."""
        return [make(Evaluation, dict(zip(self.columns, row))) for row in zip(*self.columns.values())]

    def column(self, name: str) -> np.ndarray:
        """A quantity over the evaluations: [evaluation], or [evaluation, layer] for scores. Raises ValueError."""
        if name not in self.columns:
            raise ValueError(f"column={name!r} is not kept: choose one of {', '.join(self.columns)}.")
        return np.array(self.columns[name])

    @property
    def matched(self) -> int | None:
        """The first evaluated step at which the run succeeds (see `matched`), None where it never does."""
        return _first_match(zip(*(self.columns[name] for name in ("step", "test", "argmax"))))


def matched(history: Iterable[Evaluation]) -> int | None:
    """The first evaluated step with test accuracy >= 0.99 and argmax score >= 0.95 in every matching layer."""
    return _first_match((e.step, e.test, e.argmax) for e in history)


def is_finite(e: Evaluation) -> bool:
    """Is every number of an evaluation finite?"""
    return all(map(isfinite, (e.loss, e.fit, e.train, e.test, e.ood, *e.matching, *e.argmax)))


class Ledger:
    """One file of records, which several processes may write to at once."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._across, self._within = FileLock(f"{self.path}.lock"), threading.Lock()
        self._end = 0  # where the last whole line ends that was read
        self._lines: Counter[str] = Counter()  # of each key
        self._newest: dict[str, Record] = {}
        self._known: dict = {}

    def refresh(self) -> None:
        """Read what was appended since. Raises RunError for a line that is no record."""
        with self._within:
            self._read_on()

    def times(self, key: str) -> int:
        """How many lines a run has, as far as they were read."""
        return self._lines[key]

    def newest(self, key: str) -> Record | None:
        """The record that counts for a run, None where there is none."""
        return self._newest.get(key)

    @property
    def records(self) -> list[Record]:
        """The record that counts for each key, in the order in which keys came."""
        return list(self._newest.values())

    def try_writing(self) -> None:
        """Raises RunError where records could not be kept here: better told before hours of training than after."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            open(self.path, "ab").close()
        except OSError as error:
            raise self._refusal(error) from None

    def _refusal(self, error: OSError) -> RunError:
        return RunError(f"{self.path} cannot be written ({error.strerror}): free some space or choose another folder.")

    def append(self, record: Record, seen: int = 0) -> bool:
        """Add a record unless its key has more than `seen` lines by now: then another wrote it, and False comes back.

        When this returns, the line is on disk. Raises RunError where the disk refuses.
        """
        line = record.line.encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with undivided(), self._across, self._within:
                self._read_on()
                if self._lines[record.key] > seen:
                    return False
                with open(self.path, "ab") as file:
                    file.truncate(self._end)  # a line that a kill has torn
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
                self._read_on()
        except OSError as error:
            raise self._refusal(error) from None
        return True

    def _read_on(self) -> None:
        if not self.path.exists():
            return
        try:
            with open(self.path, "rb") as file:
                file.seek(self._end)
                new = file.read()
        except OSError as error:
            raise RunError(f"{self.path} cannot be read ({error.strerror}): check its permissions.") from None
        self.add(new)

    def add(self, content: bytes) -> None:
        """Take in the whole lines of some content. Raises RunError for a line that is no record."""
        collecting = gc.isenabled()
        gc.disable()  # millions of numbers and no cycle: collecting between them takes five times as long as reading
        try:
            for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
                self._add(line)
        finally:
            if collecting:
                gc.enable()

    def _add(self, line: bytes) -> None:
        try:
            record = Record.read(line, self._known)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"{self.path}, line {self._lines.total() + 1} is not a record of this version ({error}): restore the "
                "file from a copy, or take that line out and let the sweep go on."
            ) from None
        self._end += len(line)
        self._lines[record.key] += 1
        self._newest[record.key] = record


def load(path: str | Path) -> list[Record]:
    """The records of a file or, where there is none, of the packed one beside it; each key once.

    Raises RunError where both are missing, or a line is damaged.
    """
    ledger = Ledger(path)
    if ledger.path.exists():
        ledger.refresh()
    elif packed(path).exists():
        ledger.add(unpacked(path))
    else:
        raise RunError(f"There are no records at {path}: run the sweep, or give another path.")
    return ledger.records


def table(records: Iterable[Record], *names: str) -> dict[str, np.ndarray]:
    """Columns for plots, an entry a record: configs ("model.gamma"), "seed", "key", "status", "reason", "matched"
    (a step, nan where it never matched), "seconds", a quantity at the last evaluation ("test"), or what was found of
    the trained model ("probed.twins", nan where it was not asked). Raises ValueError.
    """
    records = list(records)
    return {name: _array([_value(r, name) for r in records]) for name in names}


def _value(record: Record, name: str):
    config, _, key = name.partition(".")
    if config in CONFIGS and key in CONFIGS[config].__dataclass_fields__:
        return getattr(getattr(record, config), key)
    if name in ("seed", "key", "status", "reason"):
        return getattr(record, name)
    if name == "matched":
        return float("nan") if record.matched is None else float(record.matched)
    if name == "seconds":
        return record.provenance.get("seconds", float("nan"))
    if config == "probed":
        return record.probed.get(key, float("nan"))
    if name in MEASURED:
        return record.columns[name][-1] if record.columns.get(name) else float("nan")
    raise ValueError(
        f"name={name!r} is not known: use a config's field such as 'model.gamma', seed, key, status, reason, matched, "
        f"seconds, {', '.join(MEASURED)}, 'probed.NAME'."
    )


def _array(values: list) -> np.ndarray:
    """As numbers or texts where all are alike; else, for hops of 2 and (1, 2) or runs of 2 and 3 layers, as objects."""
    shapes = {np.shape(v) if isinstance(v, list | tuple) else () for v in values}
    if len(shapes) < 2 and not any(v is None or isinstance(v, tuple) for v in values):
        return np.array(values)
    made = np.empty(len(values), dtype=object)
    made[:] = [tuple(v) if isinstance(v, list) else v for v in values]
    return made


def _changed(config) -> dict:
    """The fields of a config that are not at their defaults, as in a run's name: the file is a fifth shorter."""
    return {f.name: getattr(config, f.name) for f in fields(config) if getattr(config, f.name) != f.default}


def _short(value: float | tuple) -> float | list:
    """A number with 5 significant digits; a step stays whole."""
    if isinstance(value, tuple | list):
        return [_short(v) for v in value]
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _first_match(rows: Iterable[tuple]) -> int | None:
    # Scores are shares in float32, where 95 of 100 falls short of 0.95 by 1e-8.
    return next((s for s, test, argmax in rows if test >= 0.99 - 1e-6 and min(argmax) >= 0.95 - 1e-6), None)
