"""A panel to reorder the edges of a chain, step through the layers, and see how far the rules let the start hear.

Where trained models are given it asks one of them the very same question, under many names of the tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from matchlib.ask import SEPARATORS
from matchlib.board_plot import board, in_words, limits, rank
from matchlib.namings import Said, ask_order, said_table
from matchlib.panel import Mistake, Panel, Shown, control, row
from matchlib.record import Run
from matchlib.rules import Distribution, bounds, fastest, reach, reach_distribution, sets, slowest
from matchlib.train import seeded

NAMINGS = 64  # sequences of one graph and one order, their tokens drawn anew
EDGES, LAYERS = (3, 13), (2, 6)  # fewest and most
MOST_EDGES = 16  # of a model's task: the board is then still readable
DRAWN = 20_000  # orders, where there are too many to list
KEPT = 200  # pictures, of about 0.05 MB each
RULES_ALONE = "none: the rules alone"


@dataclass(frozen=True)
class Choice:
    """What the controls ask for."""

    order: tuple[int, ...]
    n_layers: int
    layer: int
    start: int
    receiver: int
    model: str


class RuleBoard(Panel):
    """Reorder the edges, step through the layers, and see how far the start hears; beside it, what a model answers.

    models: runs by name, of tasks with one chain. `order`, `reach`, `limits` (the fewest and the most steps from this
    start over all orders), `spread` (how all orders fare) and `said` (what the model answers) hold what is shown;
    `figure` draws it. With a model, its edges and layers are those of the board; a last token that tells the hops
    receives the start in layer 1, and so hears just what the start hears.
    Raises ValueError for a run that does not fit.
    """

    def __init__(self, models: Mapping[str, Run] | None = None):
        self._models = dict(models or {})
        for name, run in self._models.items():
            _check_run(name, run)
        super().__init__()
        self.order: list[int] = list(range(6))
        self.said: tuple[Said, ...] = ()
        self._shown: Choice | None = None
        self._pictures: dict[Choice, tuple[bytes, str]] = {}
        self._answers: dict[tuple, tuple[Said, ...]] = {}
        self._spreads: dict[tuple[int, int, int], Distribution] = {}
        self._generator = seeded(0, "rule board")
        slider = partial(control, widgets.IntSlider, continuous_update=False)
        names = [RULES_ALONE, *self._models]
        self.model = control(widgets.Dropdown, "Model", "Whose answers stand beside the rules", options=names)
        self.model.layout.display = None if self._models else "none"
        self.n_edges = slider("Edges", "How long the chain is", min=EDGES[0], max=EDGES[1], value=len(self.order))
        self.n_layers = slider("Layers", "How deep the pass is", min=LAYERS[0], max=LAYERS[1], value=3)
        self.start = control(widgets.Dropdown, "Start", "The node from which to go on", layout={"width": "9em"})
        self.tags = control(widgets.IntsInput, "Order", "Drag an edge to another place", allow_duplicates=False)
        wide = {"layout": widgets.Layout(width="26em"), "continuous_update": False}
        self.typed = control(widgets.Text, "or type it", "The edges from first to last, such as 2 0 1 3", **wide)
        self.edge = control(widgets.Dropdown, "Edge", "The edge to move", layout={"width": "9em"})
        places, short = "Move this edge one place to the", {"layout": {"width": "6em"}}
        self.left_button = self.button("← left", f"{places} left", partial(self._move, -1), **short)
        self.right_button = self.button("right →", f"{places} right", partial(self._move, 1), **short)
        self.shuffle_button = self.button("Shuffle", "A random order", self._shuffle)
        tip = "An order in which the start gets as far as in"
        self.slowest_button = self.button("Slowest", f"{tip} the worst", partial(self._lay, slowest))
        self.fastest_button = self.button("Fastest", f"{tip} the best", partial(self._lay, fastest))
        self.reverse_button = self.button("Reverse", "The last edge first", lambda: self._take(self.order[::-1]))
        self.layer = slider("After layer", "0 is before any layer", min=0, max=3, value=3)
        self.receiver = slider("Who receives", "A position; the last one is the start", min=0, max=12, value=12)
        self.answers, self._board = widgets.HTML(), Shown()
        self.on_change(self._draw, self.model, self.n_edges, self.n_layers, self.start, self.layer, self.receiver)
        self.on_change(self._read_tags, self.tags)
        self.on_change(self._read_typed, self.typed)
        self.lay(
            row(self.model, self.n_edges, self.n_layers, self.start),
            row(self.tags, self.typed),
            row(self.edge, self.left_button, self.right_button),
            row(self.shuffle_button, self.slowest_button, self.fastest_button, self.reverse_button),
            row(self.layer, self.receiver), self.message, self._board, self.answers,
        )  # fmt: skip
        self.act(self._draw)

    @property
    def ring(self) -> bool:
        """Does the last edge lead back to node 0? Only where the model was trained on rings."""
        return self._run is not None and self._run.task.closed

    @property
    def reach(self) -> int:
        """Steps from the start in this order, after all layers."""
        return reach(self.order, self.n_layers.value, self.start.value, self.ring)

    @property
    def limits(self) -> tuple[int, int]:
        return limits(len(self.order), self.n_layers.value, self.start.value, self.ring)

    @property
    def spread(self) -> Distribution:
        """How far all orders of this chain get from this start; drawn where there are too many to list."""
        key = len(self.order), self.n_layers.value, 0 if self.ring else self.start.value
        if key not in self._spreads:
            self._spreads[key] = reach_distribution(*key, DRAWN, seeded(0, "orders of the rule board"))
        return self._spreads[key]

    @property
    def figure(self) -> Figure | None:
        """The board in view."""
        return self._picture(self._shown) if self._shown else None

    def reorder(self, order: Sequence[int]) -> None:
        """Put the edges in this order; what is none is said in the panel."""
        self.act(lambda: self._take(order))

    def move(self, edge: int, places: int) -> None:
        """Move an edge so many places to the right, or to the left where negative; at an end it stays there.

        Raises ValueError for an edge that is not there.
        """
        self.choose(edge=edge)
        self.act(partial(self._move, places))

    def shuffle(self) -> None:
        """Draw an order."""
        self.shuffle_button.click()

    def slowest(self) -> None:
        """Take an order in which the start gets as far as in the worst."""
        self.slowest_button.click()

    def fastest(self) -> None:
        """Take an order in which the start gets as far as in the best."""
        self.fastest_button.click()

    def reverse(self) -> None:
        """Turn the order round."""
        self.reverse_button.click()

    def choose(self, **choices: int | str) -> None:
        """Set controls by name: model, n_edges, n_layers, start, layer, receiver, edge.

        Raises ValueError for a name or a choice that is not there, and for edges or layers that a model fixes.
        """
        names = ("model", "n_edges", "n_layers", "start", "layer", "receiver", "edge")  # each may change the next
        if unknown := sorted(set(choices) - set(names)):
            raise ValueError(f"{unknown[0]!r} is no control of this panel: choose among {', '.join(names)}.")
        for name in (n for n in names if n in choices):
            box, value = getattr(self, name), choices[name]
            slides = isinstance(box, widgets.IntSlider)
            offered = range(box.min, box.max + 1) if slides else box.options
            if value not in offered or (box.disabled and value != box.value):
                words = f"{box.value}, which the model fixes" if box.disabled else ", ".join(map(str, offered))
                raise ValueError(f"{name}={value!r} is not offered here: it offers {words}.")
            box.value = value

    @property
    def _run(self) -> Run | None:
        return self._models.get(self.model.value)

    def _shuffle(self) -> None:
        self._take(torch.randperm(len(self.order), generator=self._generator).tolist())

    def _move(self, places: int) -> None:
        at = self.order.index(self.edge.value)
        order = [edge for edge in self.order if edge != self.edge.value]
        order.insert(max(0, at + places), self.edge.value)
        self._take(order)

    def _lay(self, layout) -> None:
        """The edges that matter as in `slowest` or `fastest`, cut where the chain ends; behind them all others."""
        n_edges, start = len(self.order), self.start.value
        left = n_edges if self.ring else n_edges - start
        first = [(start + e) % n_edges for e in layout(self.n_layers.value) if e < left]
        self._take(first + [e for e in range(n_edges) if e not in first])

    def _read_typed(self) -> None:
        try:
            order = [int(word) for word in SEPARATORS.split(self.typed.value) if word]
        except ValueError:
            raise Mistake(self._no_order(self.typed.value)) from None
        self._take(order, self.typed.value)

    def _read_tags(self) -> None:
        """An order that was dragged; what was deleted or added by hand is put back."""
        order = list(self.tags.value)
        if sorted(order) != sorted(self.order):
            self._set_controls()
            raise Mistake("Each edge stands in the order once, so this was put back: drag an edge to another place.")
        self._take(order)

    def _no_order(self, given: str) -> str:
        given = given if len(given) <= 40 else given[:40] + "…"
        return f"{given!r} is no order of {len(self.order)} edges: write each of 0..{len(self.order) - 1} once."

    def _take(self, order: Sequence[int], given: str | None = None) -> None:
        if sorted(order) != list(range(len(self.order))):
            raise Mistake(self._no_order(" ".join(map(str, order)) if given is None else given))
        self.order = list(order)
        self._draw()

    def _set_controls(self) -> None:
        """Let every control show and offer what the others allow."""
        run = self._run
        with self.quietly():
            self.n_edges.max = EDGES[1] if run is None else max(EDGES[1], run.task.n_edges)
            if run is not None:
                self.n_edges.value, self.n_layers.value = run.task.n_edges, run.model_config.n_layers
            self.n_edges.disabled = self.n_layers.disabled = run is not None
            n_edges = self.n_edges.value
            if n_edges != len(self.order):  # those that stay keep their order, new ones stand behind
                self.order = [e for e in self.order if e < n_edges] + list(range(len(self.order), n_edges))
            _offer(self.start, range(n_edges))
            _offer(self.edge, range(n_edges))
            at_end = self.layer.value == self.layer.max
            self.layer.max = self.n_layers.value
            of_start = self.receiver.value == self.receiver.max
            self.receiver.max = 2 * n_edges
            if at_end:  # who looks at the end, or at the start, goes on to do so
                self.layer.value = self.layer.max
            if of_start:
                self.receiver.value = self.receiver.max
            self.tags.value = list(self.order)
            self.typed.value = " ".join(map(str, self.order))

    def _draw(self) -> None:
        """Show what the controls ask for now."""
        self._set_controls()
        choice = Choice(tuple(self.order), self.n_layers.value, self.layer.value, self.start.value,
                        self.receiver.value, self.model.value)  # fmt: skip
        self.said = self._ask(choice)
        if choice not in self._pictures:
            if len(self._pictures) >= KEPT:
                self._pictures.pop(next(iter(self._pictures)))
            figure = self._picture(choice)
            self._pictures[choice] = self._board.draw(figure), figure.get_suptitle()
        self._shown = choice
        self._board.show(*self._pictures[choice])
        heard = sets(self.order, self.n_layers.value, self.start.value, self.ring)[-1][-1]
        self.answers.value = said_table(self.said, self._run.task, heard, self.reach) if self._run else ""
        self.say(self._sentence())

    def _ask(self, choice: Choice) -> tuple[Said, ...]:
        """What the model answers; asked once for each order and start."""
        run, key = self._models.get(choice.model), (choice.model, choice.order, choice.start)
        if run is None:
            return ()
        if key not in self._answers:
            self.say("The model is reading …")
            again = seeded(run.seed, "namings of the rule board")  # the same namings for every order
            self._answers[key] = ask_order(run.model, run.task, list(choice.order), choice.start, NAMINGS, again)
        return self._answers[key]

    def _picture(self, c: Choice) -> Figure:
        answers, run = {said.hops: said.named for said in self._ask(c)}, self._models.get(c.model)
        ring = run is not None and run.task.closed
        return board(c.order, c.n_layers, c.layer, c.start, answers, ring=ring, receiver=c.receiver)

    def _sentence(self) -> str:
        found, (low, high) = self.reach, self.limits
        words = f"In this order {self.n_layers.value} layers reach {in_words(found)} from node {self.start.value}, "
        words += rank(found, low, high)
        if low < found:  # else every order gets as far
            share, drawn = self.spread.at_least(found), "" if self.spread.exact else " drawn"
            words += f"; {share.hits:,} of {share.n:,} orders{drawn} get as far ({100 * share.rate:.3g} %)"
        if high < bounds(self.n_layers.value)[1]:
            words += f"; the {'ring is closed' if self.ring else 'chain ends'} after {in_words(high)}"
        return words + "."


def _offer(box: widgets.Dropdown, options: Sequence[int]) -> None:
    """What a control offers from now on; what was chosen stays where it can."""
    if list(box.options) != list(options):
        kept = box.value
        box.options = options
        box.value = kept if kept in options else options[0]


def _check_run(name: str, run: Run) -> None:
    task, n_layers = run.task, run.model_config.n_layers
    if task.n_chains != 1:
        raise ValueError(f"The task of {name!r} has two chains ({task.kind!r}): give a run of one chain or a ring.")
    if not EDGES[0] <= task.n_edges <= MOST_EDGES or not LAYERS[0] <= n_layers <= LAYERS[1]:
        raise ValueError(
            f"{name!r} has {n_layers} layers and {task.n_edges} edges and does not fit this board: give a run of "
            f"{LAYERS[0]} to {LAYERS[1]} layers, and of {EDGES[0]} to {MOST_EDGES} edges."
        )
