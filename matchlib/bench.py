"""How fast is it, and against what? Ratios taken side by side in one process, A B A B, never a time on its own.

    python -m matchlib bench [CASE ...] [--json PATH]       a record keeps the cases that are not run again

The straightforward implementations and the peers stand in tests/benchmarks/. A ratio above 1 means that ours is faster;
where a peer is faster the table shows a ratio below 1. Each figure is a median with its range over the pairs.
"""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from matchlib.data import KINDS, ChainTask
from matchlib.ensemble import fit_together
from matchlib.grids import GRIDS, Grid
from matchlib.model import Transformer
from matchlib.presets import PRESETS, Preset
from matchlib.record import make, provenance
from matchlib.rules import random_orders, reaches, sets
from matchlib.sweep import choose_engine, matched, run_grid
from matchlib.train import TrainState, fit, keep_freed_memory, pick_device, seeded

PLACE = Path(__file__).resolve().parent.parent / "tests" / "benchmarks"


@dataclass(frozen=True)
class Row:
    """One line of the table. `ours` and `theirs`: median, least and most of n; `ratio` above 1: ours is faster."""

    what: str
    against: str
    unit: str
    n: int
    ours: tuple[float, float, float]
    theirs: tuple[float, float, float] | None = None
    ratio: tuple[float, float, float] | None = None
    note: str = ""


def spread(values: list[float]) -> tuple[float, float, float]:
    return median(values), min(values), max(values)


def side_by_side(ours: Callable[[], object], theirs: Callable[[], object], n: int) -> tuple[list[float], list[float]]:
    """Seconds of each, in turn, after one call of each that does not count."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(n + 1):
        for seconds, act in zip(found, (ours, theirs)):
            began = perf_counter()
            act()
            if turn:
                seconds.append(perf_counter() - began)
    return found


def row(
    what: str, against: str, unit: str, per: float, ours: list[float], theirs: list[float], note: str = "",
    inverse: bool = False,
) -> Row:  # fmt: skip
    """A line from paired seconds. per: what one call's seconds are multiplied by; inverse: `per` is done per second."""
    a, b = ([per / s if inverse else per * s for s in seconds] for seconds in (ours, theirs))
    return Row(what, against, unit, len(a), spread(a), spread(b), spread([y / x for x, y in zip(ours, theirs)]), note)


def peak() -> float:
    """Floating-point operations a second of a large matrix product: what this machine can do at best."""
    x = torch.randn(2048, 2048)
    seconds = side_by_side(lambda: x @ x, lambda: None, 7)[0]
    return 2 * len(x) ** 3 / median(seconds)


def stepper(preset: Preset, model: nn.Module) -> Callable[[], float]:
    """One training step of any model at the shapes of a preset, on one batch: the same loss, clipping and optimiser."""
    batch = preset.task.sample(preset.train.batch_size, preset.train.split, generator=seeded(0, "bench"))
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=preset.train.lr, weight_decay=preset.train.weight_decay, fused=True)

    def step() -> None:
        loss = F.cross_entropy(model(batch.tokens), batch.answer)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, preset.train.clip, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def steps(name: str, n: int) -> Iterator[Row]:
    """A training step at the shapes of a preset, n pairs with each peer."""
    preset, at_best = PRESETS[name], peak()
    keep_freed_memory()  # the peers too run with it, so it is no part of the ratio
    ours = Transformer(preset.model, generator=seeded(0, "bench"))
    step = stepper(preset, ours)
    with FlopCounterMode(display=False) as counted:
        step()
    for peer, build in benchmarks("peers").models(preset.model).items():
        a, b = side_by_side(step, stepper(preset, build()), n)
        share = counted.get_total_flops() / median(a) / at_best
        note = f"{benchmarks('peers').LIMITS[peer]}; ours at {share:.0%} of {at_best / 1e9:.0f} GFLOP/s"
        yield row(f"training step, {name}", peer, "ms", 1e3, a, b, note)


def generator() -> Iterator[Row]:
    """Drawing questions: each kind of task, and `single` against one that draws them one by one."""
    n, few, plain, rng = 20_000, 500, benchmarks("reference").questions, random.Random(0)
    keep_freed_memory()
    for kind in KINDS:
        task = ChainTask(kind, n_edges=6, hops=2)
        ours = partial(task.sample, n, generator=seeded(0, "bench", kind))
        theirs = partial(plain, task, few, "train", rng) if kind == "single" else None
        what, note = f"questions of kind {kind}, a second", f"{n:,} a call"
        if theirs:
            a, b = side_by_side(ours, theirs, 15)
            yield row(what, "one by one in Python", "", n, a, [s * n / few for s in b], note, inverse=True)
        else:
            seconds = side_by_side(ours, lambda: None, 15)[0]
            yield Row(what, "", "", len(seconds), spread([n / s for s in seconds]), note=note)


def orders() -> Iterator[Row]:
    """Following the rules on many orders of a chain at once, and set by set."""
    n, few = 20_000, 50
    drawn = random_orders(n, 13, seeded(0, "bench", "orders"))
    one_by_one = drawn[:few].tolist()
    a, b = side_by_side(lambda: reaches(drawn, 4), lambda: [sets(order, 4) for order in one_by_one], 15)
    what, note = "orders of 13 edges, 4 layers, a second", f"{n:,} a call"
    yield row(what, "set by set in Python", "", n, a, [s * n / few for s in b], note, inverse=True)


def sweeps() -> Iterator[Row]:
    """A sweep of eight short runs on two cores, against one core."""
    small = PRESETS["small"]
    short = Preset(small.task, small.model, replace(small.train, steps=200, eval_every=100))
    grid = Grid("bench", "Eight short runs.", short, {}, range(8))

    def sweep(workers: int) -> None:
        with TemporaryDirectory() as folder:
            run_grid(grid, folder, choose_engine("processes", workers)[0], progress=False)

    a, b = side_by_side(lambda: sweep(2), lambda: sweep(1), 3)
    yield row("sweep of 8 runs, two processes", "one process", "s", 1.0, a, b, "200 steps of small each")


def ensembles() -> Iterator[Row]:
    """Members trained as one, against one by one: 64 on a GPU; 4 on a CPU, where it is not meant to help."""
    device = pick_device()
    many, alone = (64, 4) if device.type == "cuda" else (4, 4)
    small = PRESETS["small"]
    config = replace(small.train, steps=100, eval_every=100)

    def states(n: int) -> list[TrainState]:
        return [TrainState.new(small.task, small.model, config, seed, str(device)) for seed in range(n)]

    def together() -> None:
        for _ in fit_together(states(many)):
            pass

    def one_by_one() -> None:
        for state in states(alone):
            for _ in fit(state):
                pass

    a, b = side_by_side(together, one_by_one, 3)
    note = f"100 steps of small each, on {provenance(device, 0)['device']}; {alone} timed alone"
    yield row(f"ensemble of {many}", "one by one", "s", 1.0, a, [s * many / alone for s in b], note)


def matching() -> Iterator[Row]:
    """From random weights to success at `small`, on ten seeds that took no part in choosing it."""
    preset, seconds = PRESETS["small"], []
    for seed in GRIDS["fresh"].seeds:
        began, state = perf_counter(), TrainState.new(preset.task, preset.model, preset.train, seed, "cpu")
        if any(step.evaluation and matched(state.history) for step in fit(state)):
            seconds.append(perf_counter() - began)
    if seconds:
        note = f"{len(seconds)} of {len(GRIDS['fresh'].seeds)} seeds succeed"
        yield Row("from nothing to matching, small", "", "s", len(seconds), spread(seconds), note=note)


def small() -> Iterator[Row]:
    """A training step at the shapes of `small`, against every peer that is installed."""
    yield from steps("small", 30)


def paper() -> Iterator[Row]:
    """The same at the shapes of `paper`."""
    yield from steps("paper", 3)


def compiled() -> Iterator[Row]:
    """The step of `small` as it is, against the same through torch.compile: what it gains, and what its start costs."""
    keep_freed_memory()
    plain, other = (Transformer(PRESETS["small"].model, generator=seeded(0, "bench")) for _ in range(2))
    step, quick = stepper(PRESETS["small"], plain), stepper(PRESETS["small"], torch.compile(other))
    began = perf_counter()
    quick()
    start = perf_counter() - began
    a, b = side_by_side(step, quick, 30)
    yield row("training step, small", "the same, compiled", "ms", 1e3, a, b, f"compiling took {start:.0f} s")


CASES: dict[str, Callable[[], Iterator[Row]]] = {
    "small": small,
    "compile": compiled,
    "paper": paper,
    "generator": generator,
    "orders": orders,
    "sweep": sweeps,
    "ensemble": ensembles,
    "matching": matching,
}


def benchmarks(name: str):
    """A file of tests/benchmarks/. Raises FileNotFoundError where the course was installed without it."""
    if not PLACE.is_dir():
        raise FileNotFoundError(f"{PLACE} is missing: run the benchmark in a full copy of the course.")
    if str(PLACE) not in sys.path:
        sys.path.insert(0, str(PLACE))
    return import_module(name)


def chosen(cases: list[str]) -> list[str]:
    """These cases, or all. Raises ValueError for one that is not known."""
    if unknown := [case for case in cases if case not in CASES]:
        raise ValueError(f"case={unknown[0]!r} is not known: choose from {', '.join(CASES)}.")
    return cases or list(CASES)


def markdown(rows: list[Row]) -> str:
    """The table, one line a row."""
    lines = ["| what | ours | against | theirs | ours is faster by | n | note |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        theirs, ratio = show(r.theirs, r.unit), show(r.ratio, "×")
        lines.append(f"| {r.what} | {show(r.ours, r.unit)} | {r.against} | {theirs} | {ratio} | {r.n} | {r.note} |")
    return "\n".join(lines)


def show(values: tuple[float, float, float] | None, unit: str) -> str:
    """12.3 ms (11.9–14.0)"""
    if values is None:
        return ""
    middle, low, high = (f"{v:,.0f}" if v >= 1000 else f"{v:.3g}" for v in values)
    return f"{middle} {unit} ({low}–{high})".replace("  ", " ")


def merged(kept: dict, case: str, rows: list[Row]) -> dict:
    """A record with the rows of one case put in, and with where and with what these were measured."""
    found = {"provenance": provenance(pick_device(), 0.0), "rows": [asdict(r) for r in rows]}
    cases = kept | {case: found}
    return {name: cases[name] for name in CASES if name in cases}


def load(kept: dict) -> list[Row]:
    """The rows of a record, in the order of the cases."""
    return [make(Row, r) for case in CASES if case in kept for r in kept[case]["rows"]]
