"""How long does a panel take to show what it showed before, and what is new? Every panel of the course, A B A B.

    python tests/benchmarks/redraw.py [PANEL ...] [--json PATH]

From a control's new value, or a press, to the picture and the words that the page is sent; the page's own time is not
in it. Each figure is a median with its range. What a panel showed before should take less than 150 ms on two cores, and
what is new less than 500 ms: the last column says where the median is above that.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from matchlib import widgets
from matchlib.bench import Row, row, show, side_by_side
from matchlib.checks import ProgressPanel
from matchlib.ledger import load
from matchlib.panel import Panel
from matchlib.presets import PRESETS
from matchlib.record import Run, provenance
from matchlib.runs import SHIPPED
from matchlib.train import pick_device, seeded
from matchlib.trials import MOVES

SHOWS = "shown before", "new"
LIMITS = 0.150, 0.500  # seconds, for each
N = 9


@dataclass(frozen=True, eq=False)
class Change:
    """A control of a panel: `again()` shows what was shown before; `new()` something else each time, 10 times."""

    panel: Panel
    control: str
    again: Callable[[], object]
    new: Callable[[], object]


def among(panel: Panel, control: str, act: Callable[..., object], values: list) -> Change:
    """A change from one value to the next. The first was seen before; every other is new once."""
    values = values[: N + 2]
    act(values[0])
    left = iter(values[1:])
    return Change(panel, control, lambda: act(values[0]), lambda: act(next(left)))


def put(panel: Panel, **values) -> None:
    """Set controls as a hand does."""
    for name, value in values.items():
        getattr(panel, name).value = value


def chains(run: Run) -> list[str]:
    """Chains that the task of a run asks about, as a learner types them."""
    drawn = run.task.sample(N + 2, "test", generator=seeded(0, "redraw"))
    return [" ".join(map(str, chain)) for chain in drawn.chain[:, 0].tolist()]


def ask() -> Iterator[Change]:
    run = Run.load(SHIPPED / "post_g07")
    panel = widgets.AskTheModel(run)
    yield among(panel, "a chain", lambda chain: put(panel, chain=chain), chains(run))
    panel.with_flow.value = True

    def cut(choice: tuple) -> None:
        *layers, where = choice
        with panel.quietly():
            for box, value in zip(panel.cuts, layers):
                box.value = value
            panel.where.value = where
        panel.ask()

    cuts = [(*layers, where) for layers in product((True, False), repeat=3) for where in panel.where.options]
    yield among(panel, "cuts, with the flow", cut, cuts)


def progress() -> Iterator[Change]:
    panel = ProgressPanel()
    yield Change(panel, "look again", panel.again.click, panel.again.click)


def explore() -> Iterator[Change]:
    panel = widgets.ChainExplorer()
    for kind in ("single", "double"):
        put(panel, seed=N + 2, kind=kind)
        yield among(panel, f"seed, {kind}", lambda seed: put(panel, seed=seed), list(range(N + 2)))


def live() -> Iterator[Change]:
    """The curves of a training that has measured often; without a new measurement they stay as they are."""
    small = PRESETS["small"]
    panel = widgets.LiveTraining(small.task, small.model, small.train, device="cpu")
    panel.advance(1)
    panel.state.history = Run.load(SHIPPED / "post_g07").history

    def measured() -> None:
        panel._drawn = -1
        panel._draw()

    yield Change(panel, "a measurement", panel._draw, measured)


def movie() -> Iterator[Change]:
    panel = widgets.MatchingMovie(Run.load(SHIPPED / "post_g07"))
    steps = [step for _, step in panel.slider.options]
    yield among(panel, "a training step", lambda step: put(panel, slider=step), steps)


def patching() -> Iterator[Change]:
    run = Run.load(SHIPPED / "post_g07_s3")
    panel = widgets.PatchingLab({"post_g07_s3": run})
    yield among(panel, "a chain", lambda chain: put(panel, chain=chain), chains(run))
    moves = [{"intervention": name, "where": where} for name, places in MOVES.items() for where in places]
    yield among(panel, "an intervention", lambda move: panel.choose(**move), moves)


def phase() -> Iterator[Change]:
    panel = widgets.PhaseDiagram(load(SHIPPED / "phase.jsonl"))
    x, y = panel.x.value, panel.y.value
    yield among(panel, "a cell", lambda at: panel.open(*at), list(product(panel._values[x], panel._values[y])))
    measures = [value for _, value in panel.measure.options]
    cuts = [dict(zip(panel.fixed, values)) for values in product(*(c.options for c in panel.fixed.values()))]
    views = [(measure, cut) for cut in cuts[:: max(1, len(cuts) // 9)] for measure in measures]

    def view(choice: tuple) -> None:
        measure, cut = choice
        with panel.quietly():
            for axis, value in cut.items():
                panel.fixed[axis].value = value
            panel.measure.value = measure
        panel.act(panel._draw)

    yield among(panel, "the map", view, views)


def noise() -> Iterator[Change]:
    panel = widgets.NoiseLab(load(SHIPPED / "noise_tuning.jsonl"))
    rates, noises = ([o[1] if isinstance(o, tuple) else o for o in box.options] for box in (panel.lr, panel.noise))
    choices = [{"noise": noise, "lr": rate} for rate in rates for noise in noises[::-1]]
    yield among(panel, "a noise and a rate", lambda choice: panel.choose(**choice), choices)


def rules() -> Iterator[Change]:
    name = "ring_L3_d128_e9_h3_s101"
    panel = widgets.RuleBoard({name: Run.load(SHIPPED / name)})
    for model in (panel.model.value, name):
        panel.choose(model=model)
        n = len(panel.order)
        orders = [[(e * step + first) % n for e in range(n)] for step in (1, n - 1) for first in range(n)]
        yield among(panel, f"an order, {'the rules' if model != name else 'a model'}", panel.reorder, orders)


PANELS: dict[str, Callable[[], Iterator[Change]]] = {
    "AskTheModel": ask,
    "ProgressPanel": progress,
    "ChainExplorer": explore,
    "LiveTraining": live,
    "MatchingMovie": movie,
    "PatchingLab": patching,
    "PhaseDiagram": phase,
    "NoiseLab": noise,
    "RuleBoard": rules,
}


def timed(name: str) -> Iterator[Row]:
    """A row for each change of a panel; the note says what is above its limit."""
    for change in PANELS[name]():
        again, new = side_by_side(change.again, change.new, N)
        over = [words for words, limit, took in zip(SHOWS, LIMITS, (again, new)) if median(took) > limit]
        yield row(f"{name}: {change.control}", "new", "ms", 1e3, again, new, ", ".join(over))


def markdown(rows: list[Row]) -> str:
    """The table, one line a row."""
    lines = [
        f"| panel: what changes | {SHOWS[0]} | {SHOWS[1]} | ratio | n | above the limit |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = r.what, show(r.ours, r.unit), show(r.theirs, r.unit), show(r.ratio, "×"), r.n, r.note or "no"
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("panels", nargs="*", metavar="PANEL", help=f"which to time: all, or of {', '.join(PANELS)}")
    parser.add_argument("--json", type=Path, help="write the rows there too, with where and with what they were taken")
    given = parser.parse_args()
    if unknown := [name for name in given.panels if name not in PANELS]:
        parser.error(f"panel {unknown[0]!r} is not known: choose from {', '.join(PANELS)}")
    with TemporaryDirectory() as folder:  # a learner's own progress is left alone
        os.environ["MATCHLIB_PROGRESS"] = str(Path(folder) / "progress.json")
        rows = [found for name in given.panels or PANELS for found in timed(name)]
    print(markdown(rows))
    if given.json:
        found = {"provenance": provenance(pick_device(), 0.0), "rows": [asdict(r) for r in rows]}
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
