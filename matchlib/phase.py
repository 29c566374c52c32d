"""A panel over the runs of a sweep: choose axes and a measure, open a cell, see its runs, train one of them again."""

import asyncio
from collections.abc import Iterable
from dataclasses import fields
from functools import partial
from html import escape
from itertools import product

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from matchlib.cells import MEASURES, cells, spread
from matchlib.ledger import CONFIGS, Record
from matchlib.live import LiveTraining
from matchlib.maps import matching_matrices
from matchlib.panel import Mistake, Panel, Shown, control, row, table
from matchlib.phase_plots import phase_diagram, seed_curves
from matchlib.probe import matching_matrix
from matchlib.record import Run
from matchlib.style import INK
from matchlib.wording import AXES, HEAD, NEVER, Shades, as_row, label, settled, text_of, tick, word, words

USUAL = ("model.gamma", "train.weight_decay")  # the axes of the first view, where they vary
# Of the open cell, and of any other; the page has a colour of its own in the dark.
FRAMES = {True: f"3px solid var(--jp-ui-font-color0, {INK})", False: "3px solid transparent"}


class TrainAgain(LiveTraining):
    """The very run of a record, trained again: its matching matrices, and whether it ends where the record does.

    `agrees` tells that once it is done: the same test accuracy but for the record's rounding.
    """

    def __init__(self, record: Record):
        self.record, self.matrices, self._maps = record, None, Shown()
        super().__init__(record.task, record.model, record.train, record.seed, device="cpu")
        buttons = row(self.start_button, self.stop_button, self.reset_button, self.progress)
        self.lay(buttons, self.message, self._curves, self._maps)

    @property
    def agrees(self) -> bool | None:
        if self.state is None or not self.state.done:
            return None
        return abs(self.history[-1].test - self.record.columns["test"][-1]) < 1e-4

    def _summary(self) -> str:
        found = super()._summary()
        if self.agrees is None:
            return found
        kept = self.record.columns["test"][-1]
        if self.agrees:
            return f"{found} The record says {kept:.3f} as well: it agrees."
        by = abs(self.history[-1].test - kept)
        why = "another processor or number of threads may round otherwise, and a training carries that on"
        return f"{found} The record says {kept:.3f}: it differs by {by:.3f}; {why}."

    def _enable(self) -> None:
        super()._enable()
        if self.training or not self.history:  # the matrices of a model that learns on are no longer true
            self.matrices = None
            self._maps.hide()

    def _settle(self, said: str) -> None:
        super()._settle(said)
        layers = range(1, self.model_config.n_layers)
        if self.history and layers:
            ids = torch.arange(1, self.task.n_tokens + 1)
            found = {f"layer {layer}": matching_matrix(self.state.model, layer, ids) for layer in layers}
            self.matrices = matching_matrices(found, ids.tolist())
            self._maps.show_figure(self.matrices)


class PhaseDiagram(Panel):
    """Choose axes and a measure; press a cell to open the runs behind it; train one of them again.

    `figure` is the map in view, `opened` the runs of the open cell, `curves` their curves, `training` the run that is
    trained again. `open(x_value, y_value)` presses a cell; `again(seed)` trains without a page. An axis that the others
    decide, such as a learning rate that each LayerNorm has its own of, is no choice. Raises ValueError for records that
    vary along fewer than two axes, or none that ended well.
    """

    def __init__(self, records: Iterable[Record]):
        super().__init__()
        self.records = list(records)
        self.axes = free_axes(self.records)
        self._cells = settled(self.records, *self.axes)
        if len(self.axes) < 2:
            raise ValueError(f"These records vary along {len(self.axes)} axes: give those of a sweep along 2 or more.")
        self._values = {axis: [value for (value,) in cells(self.records, axis)] for axis in self.axes}
        self._shades = {measure: Shades(measure, self.records) for measure in MEASURES}
        self._pool: dict[tuple, widgets.Widget] = {}  # cells and headers, each made once
        self.opened: list[Record] = []
        self._open_at: tuple | None = None  # the values of the open cell along every axis
        self.curves: Figure | None = None
        self.training: TrainAgain | None = None
        best = max(self._cells, key=lambda key: spread(self._cells[key], "test").median)
        options = [(label(axis), axis) for axis in self.axes]
        measures = [(measure.label, name) for name, measure in MEASURES.items()]
        self.measure = control(
            widgets.Dropdown, "Measure", "What a cell shows, as a median over seeds", options=measures,
            layout={"width": "27em", "max_width": "100%"},
        )  # fmt: skip
        first, second = list(dict.fromkeys(a for a in (*USUAL, *self.axes) if a in self.axes))[:2]
        self.x = control(widgets.Dropdown, "To the right", "The axis along a row", options=options, value=first)
        self.y = control(widgets.Dropdown, "Upwards", "The axis along a column", options=options, value=second)
        self.fixed = {axis: self._fixing(axis, value) for axis, value in zip(self.axes, best)}
        self._grid = widgets.GridBox(layout={"align_items": "center"})
        self._said, self._table, self._curves = widgets.HTML(), widgets.HTML(), Shown()
        self.seed = control(widgets.Dropdown, "Seed", "Which run of the open cell")
        self.train_button = self.button("Train again", "Train the very run again: seconds to minutes", self._train)
        self._again = widgets.VBox()
        self._below = row(self.seed, self.train_button)
        self._below.layout.display = "none"
        self.on_change(self._draw, self.measure, self.x, self.y, *self.fixed.values())
        self.lay(
            row(self.measure, self.x, self.y), row(*self.fixed.values()), self.message, self._grid, self._said,
            self._table, self._curves, self._below, self._again,
        )  # fmt: skip
        self._draw()

    @property
    def figure(self) -> Figure:
        """The map in view."""
        measure, x, y, fixed = self._shown
        there = [r for r in self.records if all(at(r, axis) == value for axis, value in fixed.items())]
        return phase_diagram(there, measure, x, y, tuple(fixed), self._shades[measure])

    def open(self, x_value, y_value) -> None:
        """Show the runs of the cell at these values of the two axes in view."""
        self.act(partial(self._open, x_value, y_value))

    def again(self, seed: int) -> Run:
        """Train the run of a seed of the open cell to its end, now, and return it. Raises ValueError."""
        training = self._ready(seed)
        training.stop()
        if left := training.train_config.steps - (training.state.step if training.state else 0):
            training.advance(left)
        return training.run

    def close(self) -> None:
        self._halt()
        super().close()

    def _fixing(self, axis: str, value) -> widgets.Dropdown:
        """A choice by words: ipywidgets takes None, an endless training set, for no choice at all."""
        options = [tick(axis, v) for v in self._values[axis]]
        return control(widgets.Dropdown, label(axis), "Where the map is cut", options=options, value=tick(axis, value))

    def _draw(self) -> None:
        """Show what the controls ask for, in the widgets that are there already."""
        if self.x.value == self.y.value:
            raise Mistake(f"Both axes show {label(self.x.value)}: choose another for one; the map stays as it was.")
        measure, x, y = self.measure.value, self.x.value, self.y.value
        fixed = {axis: self._values[axis][c.index] for axis, c in self.fixed.items() if axis not in (x, y)}
        self._shown = measure, x, y, fixed
        for axis, dropdown in self.fixed.items():
            dropdown.layout.display = None if axis in fixed else "none"
        xs, ys = self._values[x], self._values[y][::-1]
        children = [self._head("corner", "")]
        children += [self._head(("x", i), word(x, value)) for i, value in enumerate(xs)]
        for j, at_y in enumerate(ys):
            children.append(self._head(("y", j), word(y, at_y)))
            children += [self._cell(i, j, at_x, at_y) for i, at_x in enumerate(xs)]
        self._grid.layout.grid_template_columns = f"minmax(4em, max-content) repeat({len(xs)}, minmax(3.8em, 7em))"
        if self._grid.children != (children := tuple(children)):
            self._grid.children = children
        where = f" ({words(fixed, fixed.values())})" if fixed else ""
        name = MEASURES[measure].label
        self.say(f"{name[0].upper()}{name[1:]}{where}, median over the seeds of each cell: press one to see its runs.")

    def _head(self, place: str | tuple, text: str) -> widgets.HTML:
        if place not in self._pool:
            self._pool[place] = widgets.HTML()
        head = self._pool[place]
        head.value = f"<b>{escape(text)}</b>"
        return head

    def _cell(self, i: int, j: int, at_x, at_y) -> widgets.Button:
        """The button of a column and a row, showing what stands at these values."""
        if (i, j) not in self._pool:
            layout = widgets.Layout(width="auto", margin="1px", border=FRAMES[False])
            self._pool[i, j] = self.button("–", "", partial(self._press, i, j), layout=layout)
        button, measure, runs = self._pool[i, j], self._shown[0], self._runs(at_x, at_y)
        back, ink = NEVER, INK
        if runs:
            back, ink = self._shades[measure](value := spread(runs, measure).median)
        is_open = self._at(at_x, at_y) == self._open_at
        said = {
            "description": "▸ " * is_open + (text_of(measure, value) if runs else "no run"), "disabled": not runs,
            "tooltip": "open: " * is_open + f"{words(self._shown[1:3], (at_x, at_y))}: {tells(runs, measure)}",
        }  # fmt: skip
        for name, new in said.items():
            setattr(button, name, new)
        button.style.button_color, button.style.text_color, button.layout.border = back, ink, FRAMES[is_open]
        return button

    def _at(self, at_x, at_y) -> tuple:
        """The values along every axis of the cell at these values of the two in view."""
        _, x, y, fixed = self._shown
        return tuple(({x: at_x, y: at_y} | fixed)[axis] for axis in self.axes)

    def _runs(self, at_x, at_y) -> list[Record]:
        return self._cells.get(self._at(at_x, at_y), [])

    def _press(self, i: int, j: int) -> None:
        _, x, y, _ = self._shown
        self._open(self._values[x][i], self._values[y][::-1][j])

    def _open(self, at_x, at_y) -> None:
        measure, *axes, fixed = self._shown
        for axis, value in zip(axes, (at_x, at_y)):
            if value not in self._values[axis]:
                there = ", ".join(tick(axis, v) for v in self._values[axis])
                raise Mistake(f"{label(axis)} {value!r} is not in the map: choose one of {there}.")
        runs, where = self._runs(at_x, at_y), words([*axes, *fixed], [at_x, at_y, *fixed.values()])
        if not runs:
            raise Mistake(f"No run ended well at {where}: choose another cell.")
        self._halt()
        self._open_at = self._at(at_x, at_y)
        columns, lines = (enumerate(values) for values in (self._values[axes[0]], self._values[axes[1]][::-1]))
        for (i, value), (j, other) in product(columns, lines):
            self._cell(i, j, value, other)
        self.opened = sorted(runs, key=lambda record: record.seed)
        kept = [getattr(runs[0], name) for name in CONFIGS]
        failed = [r for r in self.records if r.status != "done" and [getattr(r, name) for name in CONFIGS] == kept]
        rows = [*map(as_row, self.opened), *([str(r.seed), r.reason, *"–" * (len(HEAD) - 2)] for r in failed)]
        self._said.value = f"<b>{escape(where)}</b>: {escape(tells(runs, measure))}."
        self._table.value = table("The runs of this cell", HEAD, rows)
        self.curves = self._curves.show_once(self._open_at, lambda: seed_curves(self.opened))
        self.seed.options = [record.seed for record in self.opened]
        self.seed.index = 0  # a dropdown that began empty chooses none by itself
        self._below.layout.display = None
        self._again.children = ()

    def _ready(self, seed: int) -> TrainAgain:
        """The run of a seed of the open cell, as far as it was trained again already."""
        found = [record for record in self.opened if record.seed == seed]
        if not found:
            there = ", ".join(str(record.seed) for record in self.opened) or "none: open a cell first"
            raise ValueError(f"seed={seed!r} is not in the open cell; there are {there}.")
        if self.training is None or self.training.record is not found[0]:
            self._halt()
            self.training = TrainAgain(found[0])
        self._again.children = (widgets.HTML(f"<b>Seed {seed}, trained again</b>"), self.training.view)
        return self.training

    def _train(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise Mistake("Nothing can run in the background here: call panel.again(seed).") from None
        self._ready(self.seed.value).start()

    def _halt(self) -> None:
        if self.training is not None:
            self.training.stop()


def at(record: Record, axis: str):
    """A config's field of a record, by its name as in `ledger.table`."""
    config, _, name = axis.partition(".")
    return getattr(getattr(record, config), name)


def free_axes(records: Iterable[Record]) -> list[str]:
    """The fields along which the runs that ended well vary, without those that the others decide; best known first."""
    done = [record for record in records if record.status == "done"]
    every = [*AXES, *(f"{config}.{f.name}" for config, made in CONFIGS.items() for f in fields(made))]
    free = [axis for axis in dict.fromkeys(every) if len({at(r, axis) for r in done}) > 1]

    def settings(axes: list[str]) -> int:
        return len({tuple(at(r, axis) for axis in axes) for r in done})

    for axis in reversed(free):
        rest = [other for other in free if other != axis]
        free = rest if settings(rest) == settings(free) else free
    return free


def tells(runs: list[Record], measure: str) -> str:
    """A cell in words: how many generalise, and the range of the measure."""
    if not runs:
        return "no run ended well"
    found, steps = spread(runs, measure), spread(runs, "generalised")
    ends = " to ".join(dict.fromkeys(text_of(measure, value) for value in found.range))
    return f"{steps.reached} of {steps.n} generalise, {MEASURES[measure].label} {ends}"
