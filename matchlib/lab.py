"""A panel that breaks a model in one place: first what the mechanism predicts, then what the model says, and the count.

A question is counted once for each model and intervention, however often it is run.
"""

from collections.abc import Mapping
from functools import partial
from html import escape

import ipywidgets as widgets
import torch

from matchlib.ask import read_chain
from matchlib.causes import Arranged
from matchlib.data import Batch, ChainTask
from matchlib.evidence import Count
from matchlib.flow import information_flow
from matchlib.model import Transformer
from matchlib.panel import Mistake, Panel, Shown, Unshown, control, row, table
from matchlib.patch import circuit, observe
from matchlib.record import Run
from matchlib.train import seeded
from matchlib.trials import HOPS, LAYERS, MOVES, Chosen, Move, Outcome, Tally, forecast, marks, others, subject_of

REFERENCE = 500  # questions to measure means and scales on
MANY = 100
PATTERNS = [f"blocks.{layer}.attn.pattern" for layer in range(LAYERS)]
HEAD = ("", "model", "intervention, where", "hits", "95 % interval", "right", "hits under the control")
Key = tuple[str, str, str]  # model, intervention, where


class PatchingLab(Panel):
    """Break a model in one place: see what the mechanism predicts, then what the model says, and how often it held.

    models: runs by name, or networks such as those of `matchlib.construct`, whose questions come from `task` (default:
    the first run's). `prediction` holds the tokens that are predicted now, `outcome` what was said (None before a run),
    `hits` the count of what is chosen, `tallies` all counts, `figure` the flow with the intervention drawn in.
    Raises ValueError for no model, and for one that is not made for one chain, two steps and three layers.
    """

    def __init__(
        self,
        models: Mapping[str, Run | Transformer],
        task: ChainTask | None = None,
        generator: torch.Generator | None = None,
    ):
        if not models:
            raise ValueError("There is no model to break: give at least one, as {name: run}.")
        task = task or next((m.task for m in models.values() if isinstance(m, Run)), ChainTask())
        self._models = {name: subject_of(name, model, task) for name, model in models.items()}
        super().__init__()
        self.tallies: dict[Key, Tally] = {}
        self.prediction: tuple[int, ...] = ()
        self.outcome: Outcome | None = None
        self._generator = generator or seeded(0, "patching lab")
        self._references: dict[str, Batch] = {}
        self._counted: set[tuple] = set()
        self._asked: ChainTask | None = None  # the task of the question in view
        self._ready: tuple[Chosen, Arranged] | None = None
        self.model = control(widgets.Dropdown, "Model", "Which model to break", options=list(models))
        self.intervention = control(widgets.Dropdown, "Intervention", "What to do to it", options=list(MOVES))
        nowhere = list(MOVES["none"])
        self.where = control(widgets.Dropdown, "Where", "In which layer, and at which tokens", options=nowhere)
        brief = {"layout": {"width": "10em"}}  # few digits; a Layout would be shared, and hidden with either
        other = "The node that takes the place of one of the path"
        self.other = control(widgets.Dropdown, "The other", other, **brief)
        wide = {"layout": widgets.Layout(width="26em"), "continuous_update": False}
        self.chain = control(widgets.Text, "Chain", "The tokens in order, between spaces, commas or arrows", **wide)
        self.start = control(widgets.Dropdown, "Start", "The token from which to go two steps", **brief)
        self.another_button = self.button("Another question", "A random chain and start", self._another)
        self.run_button = self.button("Run", "Hear what the model says", self._run, button_style="primary")
        self.many_button = self.button(f"Do it {MANY} times", "The same on random questions", self._run_many)
        self.foretold, self.verdict, self.counts = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._flow = Shown()
        self.message.layout.min_height = "32px"  # what stands below must not jump when a sentence comes and goes
        chosen = (self.model, self.intervention, self.where, self.other, self.chain, self.start)
        self.on_change(self._prepare, *chosen)
        self.lay(
            row(self.model, self.intervention, self.where, self.other),
            row(self.chain, self.start, self.another_button),
            row(self.run_button, self.many_button),
            self.message, self.foretold, self.verdict, self._flow, self.counts,
        )  # fmt: skip
        self.act(self._prepare)

    @property
    def hits(self) -> Count | None:
        """How often the prediction of this model and intervention came true so far; None before the first run."""
        tally = self.tallies.get(self._key)
        return tally and tally.hits

    def choose(self, **choices: str | int) -> None:
        """Set controls by name: model, intervention, where, chain, start, other.

        Raises ValueError for a name or a choice that is not there; a mistake in the chain is said in the panel.
        """
        names = ("model", "intervention", "where", "chain", "start", "other")  # each may change what the next offers
        if unknown := sorted(set(choices) - set(names)):
            raise ValueError(f"{unknown[0]!r} is no control of this panel: choose among {', '.join(names)}.")
        try:
            for name in (n for n in names if n in choices):
                box, value = getattr(self, name), choices[name]
                if name != "chain" and value not in box.options:
                    offered = ", ".join(map(str, box.options)) or "nothing"
                    raise ValueError(f"{name}={value!r} is not offered here: it offers {offered}.")
                with self.quietly():
                    box.value = value
                self.act(self._read)
        finally:
            self.act(self._prepare)

    def another(self) -> None:
        """Draw a question."""
        self.act(self._another)

    def run(self) -> None:
        """Put the question to the changed model, and count."""
        self.act(self._run)

    def run_many(self) -> None:
        """Do the same on a hundred random questions, the other drawn at random too, and count."""
        self.act(self._run_many)

    @property
    def _key(self) -> Key:
        return self.model.value, self.intervention.value, self.where.value

    @property
    def _move(self) -> Move:
        return MOVES[self.intervention.value][self.where.value]

    def _another(self) -> None:
        self._draw()
        self._prepare()

    def _draw(self) -> None:
        """Fill the controls with a random question of the model's task."""
        self._asked = self._models[self.model.value].task
        batch = self._asked.sample(1, "test", generator=self._generator)
        chain = batch.chain[0, 0].tolist()
        self._order = (batch.edge_pos[0, 0] // 2).tolist()
        self._offer(self.start, chain[:-HOPS])
        with self.quietly():
            self.chain.value = " ".join(map(str, chain))
            self.start.value = chain[int(batch.start)]

    def _offer(self, box: widgets.Dropdown, options: list) -> None:
        """What a control offers from now on, hidden where that is no choice; what was chosen stays where it can."""
        if list(box.options) != options:
            kept = box.value
            with self.quietly():
                box.options = options
                if options:  # a control that offered nothing would go on to show nothing
                    box.value = kept if kept in options else options[0]
        box.layout.display = None if len(options) > 1 else "none"

    def _read(self) -> Batch:
        """The question in the controls, each of which then offers what the others allow. Raises Unshown."""
        self._ready = None  # what was arranged is out of date, whatever is found here
        subject = self._models[self.model.value]
        if self._asked != subject.task:
            self._draw()
        self._offer(self.where, list(MOVES[self.intervention.value]))
        chain = read_chain(self.chain.value)
        if len(chain) != (length := subject.task.chain_length):
            raise Unshown(f"This chain has {len(chain)} tokens and the model was made for {length}: write {length}.")
        if len(set(chain)) == length:
            self._offer(self.start, chain[:-HOPS])
        try:
            batch = subject.task.question(chain, self.start.value, order=self._order)
        except ValueError as error:
            raise Unshown(str(error)) from None
        fit = [] if self._move.left is None else others(batch, self._move.left)
        self._offer(self.other, fit)
        if not fit and self._move.left is not None:
            raise Unshown("No node of this chain can play the other: choose another start, or another intervention.")
        return subject.form(batch)

    def _prepare(self) -> None:
        """Arrange the intervention and write down what is predicted; what the model then says is not yet asked."""
        batch = self._read()
        self.say("Arranging …")
        setting = self._setting(batch, self.other.value)
        arranged = self._move.experiment.arrange(setting)
        self._ready = setting, arranged
        self.outcome, self.prediction = None, tuple(forecast(arranged, batch)[0].tolist())
        a, b, c = batch.path[0].tolist()
        names = f"Here a is {a}, b is {b} and c is {c}" + (f"; the other is {setting.other}." if setting.other else ".")
        of = f", {len(self.prediction)} of the {batch.chain.shape[2]} tokens" if len(self.prediction) > 1 else ""
        never = [t for t in batch.chain[0, 0].tolist() if t > self._asked.n_tokens]
        names += f" Training never shows {', '.join(map(str, never))}." if never else ""
        words = escape(f"{names} {self._move.experiment.prediction}", quote=False)
        self.foretold.value = f"{words} The mechanism predicts <b>{self._predicted}</b>{of}."
        self.verdict.value = ""
        self._show_counts()
        self._show_flow(f"Not run yet: the mechanism predicts {self._predicted}")
        self.say("")

    @property
    def _predicted(self) -> str:
        return "one of " * (len(self.prediction) > 1) + ", ".join(map(str, self.prediction))

    def _setting(self, batch: Batch, other: int | None) -> Chosen:
        subject = self._models[self.model.value]
        if self.model.value not in self._references:
            drawn = subject.task.sample(REFERENCE, "test", generator=self._generator)
            self._references[self.model.value] = subject.form(drawn)
        return Chosen(subject.model, batch, self._references[self.model.value], self._generator, other)

    def _run(self) -> None:
        if self._ready is None:  # the controls hold a mistake: say it again
            self._prepare()
        setting, arranged = self._ready
        self.say("The model is reading …")
        self.outcome = found = Outcome.of(setting, arranged)
        said, hit = int(found.said), bool(found.hit(found.said))
        mark, link = ("✓ Hit", "and") if hit else ("✗ Miss", "but")
        words = f"predicted {self._predicted}, {link} the model says {said}"
        rows = [(name, int(x), "yes" if found.hit(x) else "no") for name, x in found.all.items()]
        head = ["what is done", "the model says", "as predicted?"]
        self.verdict.value = f"<b>{mark}</b>: {words}. " + table("What the model says", head, rows)
        question = (*self._key, *setting.batch.tokens[0].tolist(), setting.other)
        again = question in self._counted
        if not again:
            self._counted.add(question)
            self._count(found.tally)
        self._show_flow(f"{mark[2:]}: {words}")
        self.say("This question was counted before, and counts once." if again else "")

    def _run_many(self) -> None:
        subject = self._models[self.model.value]
        self.say(f"Doing it {MANY} times …")
        setting = self._setting(subject.form(subject.task.sample(MANY, "test", generator=self._generator)), None)
        tally = Outcome.of(setting, self._move.experiment.arrange(setting)).tally
        if tally is None:
            raise Mistake(f"None of {MANY} random questions has a node that can play the other: choose another model.")
        self._count(tally)
        left_out = f" ({MANY - tally.hits.n} had no node to play the other)" if tally.hits.n < MANY else ""
        self.say(f"Done {MANY} times{left_out}: {tally.hits.hits} of {tally.hits.n} predictions came true.")

    def _count(self, tally: Tally) -> None:
        before = self.tallies.get(self._key)
        self.tallies[self._key] = before.plus(tally) if before else tally
        self._show_counts()

    def _show_counts(self) -> None:
        so_far = _of(self.hits) if self.hits else "none yet, here"
        named = ((key, key[0], ", ".join(key[1:]), kept) for key, kept in self.tallies.items())
        rows = [("→" * (key == self._key), model, what, *_cells(kept)) for key, model, what, kept in named]
        self.counts.value = table(f"Hits so far: {so_far}", HEAD, rows)

    def _show_flow(self, title: str) -> None:
        """Attention with the intervention drawn in: as it was before the run, as it became after."""
        setting, arranged = self._ready
        seen = observe(setting.model, setting.batch.tokens, PATTERNS, arranged.changes if self.outcome else None)
        patterns = torch.cat([seen[name].mean(dim=1) for name in PATTERNS])
        expected = [tuple(edge) for edge in circuit(setting.batch, LAYERS)[0].nonzero().tolist()]
        title += f" ({', '.join(self._key)})"
        drawn = marks(arranged.changes, setting.clean, expected)
        tokens = [t or "pad" for t in setting.batch.tokens[0].tolist()]
        key = title, *tokens, str(drawn), patterns.numpy().tobytes()  # what is changed may be drawn at random
        made = partial(information_flow, patterns, tokens, expected, title=title, **drawn)
        self.figure = self._flow.show_once(key, made)


def _of(count: Count) -> str:
    return f"{count.hits} of {count.n}"


def _cells(tally: Tally) -> tuple[str, ...]:
    low, high = tally.hits.interval
    controls = "; ".join(f"{name}: {_of(count)}" for name, count in tally.controls.items()) or "none"
    return _whole(_of(tally.hits)), _whole(f"{low:.3f} to {high:.3f}"), _whole(_of(tally.right)), controls


def _whole(words: str) -> str:
    """The same words, kept on one line."""
    return words.replace(" ", "\N{NO-BREAK SPACE}")
