"""A small part of each claim trained again from nothing, and held to the records.

    python -m matchlib reproduce --fast        17 runs of `mini`: minutes on two cores

Of each claim it is one setting: for C1 the start at which most runs match, for C2 and C3 gamma 0.9 on fresh data, for
C4 the condition with the largest effect. It tells whether the records can be trusted, and not what the verdict is.
The records say which runs: configs and seeds, never weights. What comes back agrees where the same seeds say the same:
for "A helps" the outcome by the rule of `matchlib.verdicts`, for C1 the kind of solution (`matchlib.kinds`). Another
processor rounds otherwise, so single runs may end otherwise; how many do is said beside it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from tqdm.auto import tqdm

from matchlib.cells import cells, kind_of
from matchlib.claims import CLAIMS
from matchlib.engines import Engine, processes
from matchlib.kinds import MATCHING, examine
from matchlib.ledger import Record
from matchlib.noise_claim import TUNED_A_SIDE, noise_arms
from matchlib.presets import Preset, RunSpec
from matchlib.record import RunError
from matchlib.runs import SHIPPED
from matchlib.shelf import records
from matchlib.train import TrainState
from matchlib.verdicts import Comparison, fields_of, steps, versus

SEEDS, PAIR, WORKERS = 3, 2, 2  # seeds a side; seeds of C1; runs at a time
PATCHES = ("middle", "answer", "pairs")


@dataclass(frozen=True)
class Part:
    """What is trained again for a claim: runs with A and runs with B, seed for seed; for C1 no B."""

    claim: str
    asks: str
    a: tuple[Record, ...]
    b: tuple[Record, ...] = ()
    whole: Comparison | None = None  # the same with every seed of the records

    @property
    def specs(self) -> list[RunSpec]:
        return [RunSpec(Preset(r.task, r.model, r.train), r.seed) for r in (*self.a, *self.b)]


@dataclass(frozen=True)
class Answer:
    """What came of a part."""

    claim: str
    agrees: bool
    said: str
    runs: int
    same_kind: int  # of these runs, how many ended in the same kind of solution as the record says


def parts(folder: str | Path = SHIPPED, only: str | None = None) -> list[Part]:
    """What to train for each claim that was measured, or for one. Raises RunError where a record is missing."""
    made = {"C1": _matching, "C2": _small_start, "C3": _post_layernorm, "C4": _noise}
    return [make(Path(folder)) for claim, make in made.items() if claim in CLAIMS and only in (None, claim)]


def specs(asked: Iterable[Part]) -> list[RunSpec]:
    """The runs of some parts, in their order; one that several need stands once."""
    return list({spec.name: spec for part in asked for spec in part.specs}.values())


def trained(asked: Sequence[RunSpec], engine: Engine | None = None) -> Iterator[Record]:
    """Train the runs on two cores and give each record as it ends, with a bar of progress."""
    engine = engine or partial(processes, workers=WORKERS)
    with tqdm(total=len(asked), unit="run") as bar, closing(engine(asked)) as ended:
        for record in ended:
            bar.update()
            yield record


def answer(part: Part, new: Mapping[str, Record]) -> Answer | None:
    """Does what was trained agree with the records? new: records by key. None where a run of the part is lacking."""
    kept = [*part.a, *part.b]
    if any(r.key not in new for r in kept):
        return None
    same = sum(_kind(new[r.key]) == _kind(r) for r in kept)
    kinds = f"{same} of {len(kept)} runs end in the same kind of solution"
    a, b = ([new[r.key] for r in side] for side in (part.a, part.b))
    if part.whole is None:
        formed = sum(_kind(r) == MATCHING for r in a)
        steered = min((r.probed.get(name, 0.0) for r in a for name in PATCHES), default=0.0)
        control = max(_untrained(spec) for spec in part.specs)
        agrees = same == len(kept) and formed == len(a) and control < steered
        said = (
            f"{formed} of {len(a)} runs end as {MATCHING!r}; patches send the answer to the predicted token in at "
            f"least {steered:.2f} of the questions, in the untrained models in at most {control:.2f}"
        )
    else:
        now, then = Comparison({}, steps(a), steps(b)), Comparison({}, steps(part.a), steps(part.b))
        agrees = now.outcome == then.outcome
        said = (
            f"{now.outcome} (effect {now.effect:.2f}); the records say {then.outcome} on these seeds "
            f"({then.effect:.2f}), {part.whole.outcome} on all {part.whole.a.n} seeds ({part.whole.effect:.2f})"
        )
    return Answer(part.claim, agrees, f"{part.asks}: {said}; {kinds}", len(kept), same)


def _kind(record: Record) -> str:
    return kind_of(record) if record.status == "done" else record.status


def _untrained(spec: RunSpec) -> float:
    """How often the best of the three patches steers the model as it was before its training."""
    probed = examine(TrainState.new(*spec.parts, "cpu"))
    return max(probed.get(name, 0.0) for name in PATCHES)


def _plain(folder: Path) -> list[Record]:
    """The runs of the phase diagram on fresh data at the usual weight decay."""
    kept = records(folder, "phase.jsonl")
    return [r for r in kept if r.train.n_train is None and r.train.weight_decay == 0.1]


def _matching(folder: Path) -> Part:
    """The initialisation at which most post-LN runs match, then soonest."""
    by = cells((r for r in _plain(folder) if r.model.layernorm == "post"), "model.gamma")

    def rank(gamma: tuple) -> tuple:
        return -Counter(map(kind_of, by[gamma]))[MATCHING], median(steps(by[gamma]).values)

    if not by:
        raise RunError("phase.jsonl holds no post-LN run on fresh data: complete its sweep with --resume.")
    best = min(by, key=rank)
    return Part("C1", f"post-LN, gamma {best[0]}, {PAIR} seeds", _first(by[best], PAIR))


def _small_start(folder: Path) -> Part:
    kept = _only(_plain(folder), "model.layernorm", "post")
    return _part("C2", "post-LN, gamma 0.9 against 0.5", kept, "model.gamma", 0.9, 0.5)


def _post_layernorm(folder: Path) -> Part:
    kept = _only(_plain(folder), "model.gamma", 0.9)
    return _part("C3", "post-LN against pre-LN at gamma 0.9", kept, "model.layernorm", "post", "pre", ("train.lr",))


def _noise(folder: Path) -> Part:
    """The condition in which the records say most: the effect farthest from one half."""
    kept, sides = noise_arms(folder), ("orthogonal", "none")
    found = versus(kept, "model.noise", *sides, TUNED_A_SIDE)
    most = max(found, key=lambda c: abs(c.effect - 0.5), default=None)
    for name, value in most.setting.items() if most else ():
        kept = _only(kept, name, value)
    where = f", {most.called}" if most and most.setting else ""
    return _part("C4", f"orthogonal noise against none{where}", kept, "model.noise", *sides, TUNED_A_SIDE)


def _only(kept: Iterable[Record], name: str, value) -> list[Record]:
    return [r for r in kept if fields_of(r)[name] == value]


def _first(kept: Iterable[Record], n: int) -> tuple[Record, ...]:
    return tuple(sorted(kept, key=lambda r: r.seed)[:n])


def _part(claim: str, asks: str, kept: list[Record], axis: str, a, b, free: Sequence[str] = ()) -> Part:
    whole = next(iter(versus(kept, axis, a, b, free)), None)
    if whole is None:
        raise RunError(f"The records hold no runs of {claim} to compare ({asks}): complete its sweep with --resume.")
    return Part(claim, asks, *(_first(_only(kept, axis, side), SEEDS) for side in (a, b)), whole)
