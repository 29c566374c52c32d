"""A panel that compares noise with no noise: choose a variant, its start and a learning rate, and see who learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log

import ipywidgets as widgets
from matplotlib.figure import Figure

from matchlib.arms import NONE, arm_of, best_rate
from matchlib.cells import spread
from matchlib.ledger import Record
from matchlib.model import NOISES
from matchlib.noise_plots import curves_with_bands, scalar_paths
from matchlib.panel import Panel, Shown, Unshown, control, row

KEPT = 200  # choices whose pictures are kept, of about 0.1 MB each
QUESTIONS = {"any": "any chain", "train": "the residue rule"}
BASELINES = ("possible answer", "right residue")


@dataclass(frozen=True)
class Choice:
    """What the controls ask for; `fair`: none at its own best learning rate, else at the same rate."""

    split: str
    d_head: int
    noise: str
    start: float
    lr: float
    fair: bool


@dataclass(frozen=True)
class View:
    """A choice that was drawn: its pictures with what each says, and the sentence."""

    curves: tuple[bytes, str]
    paths: tuple[bytes, str] | None  # none where no run has noise
    sentence: str


class NoiseLab(Panel):
    """Test accuracy of an arm beside no noise, seeds as bands; below, alpha and beta over training.

    `figure` shows the curves, `paths` the scalars (None without noise), `runs` the records in view by label, `sentence`
    how many generalise. Where an arm has no runs at a learning rate, those at the nearest one stand in, and the panel
    says so. A choice is drawn once and then kept. Raises ValueError for no record, or two of one setting and seed.
    """

    def __init__(self, records: Sequence[Record]):
        if not records:
            raise ValueError("There is no record to look at: give the records of a sweep over model.noise.")
        super().__init__()
        self._runs = _sorted(records)
        self._views: dict[Choice, View] = {}
        self._shown: Choice | None = None
        self.sentence = ""

        def offered(name: str) -> list:
            return sorted({getattr(r.model, name) for r in records})

        splits = [split for split in QUESTIONS if any(r.train.split == split for r in records)]
        noises = [noise for noise in NOISES if any(r.model.noise == noise for r in records)]
        starts = sorted({r.model.alpha for r in records if r.model.noise != NONE}) or offered("alpha")
        rates = sorted({r.train.lr for r in records})
        self.split = control(
            widgets.Dropdown, "Trained on", "Chains of the residue rule alone, or any chain",
            options=[(QUESTIONS[s], s) for s in splits],
        )  # fmt: skip
        self.d_head = control(widgets.Dropdown, "d_head", "The rank of W_qk without noise", options=offered("d_head"))
        self.noise = control(widgets.Dropdown, "Noise", "What is added to W_qk and W_vo", options=noises)
        tip = "Where alpha and beta start; none has neither"
        self.start = control(widgets.Dropdown, "Start", tip, options=[(f"{s:g}", s) for s in starts])
        self.lr = control(
            widgets.SelectionSlider, "Learning rate", "The highest of its schedule",
            options=[(f"{rate:g}", rate) for rate in rates], layout={"margin": "2px"},
        )  # fmt: skip
        tip = "Ticked: none at the rate that suits it best. Else: none at the rate of the slider"
        self.fair = control(widgets.Checkbox, "compare with none at its own best rate", tip, value=True, indent=False)
        for box in (self.d_head, self.start):
            box.layout.width = "9em"
        self._curves, self._paths = Shown(), Shown()
        self._boxes = {name: getattr(self, name) for name in Choice.__dataclass_fields__}
        with self.quietly():
            self.noise.value = noises[-1]
            self.start.value = starts[-1]
            of_noise = [r for r in records if r.model.noise == noises[-1] and r.train.split == splits[0]]
            self.lr.value = best_rate(of_noise) if of_noise else rates[0]
        self.on_change(self._draw, *self._boxes.values())
        self.lay(
            row(self.split, self.d_head, self.noise, self.start), row(self.lr, self.fair), self.message,
            self._curves, self._paths,
        )  # fmt: skip
        self.act(self._draw)

    @property
    def runs(self) -> dict[str, list[Record]]:
        """The records in view by label: those of the chosen arm, then those of none."""
        return {} if self._shown is None else self._groups(self._shown)[0]

    @property
    def figure(self) -> Figure | None:
        """The curves in view."""
        return self._curves_of(self.runs) if self.runs else None

    @property
    def paths(self) -> Figure | None:
        """alpha and beta of the chosen arm over training, None where it has no noise."""
        return _paths_of(self.runs)

    def choose(self, **choices: str | float | bool) -> None:
        """Set controls by name: split, d_head, noise, start, lr, fair.

        Raises ValueError for a name or a choice that is not there; what the records lack is said in the panel.
        """
        if unknown := sorted(set(choices) - set(self._boxes)):
            raise ValueError(f"{unknown[0]!r} is no control of this panel: choose among {', '.join(self._boxes)}.")
        for name, value in choices.items():
            offered = _offered(self._boxes[name])
            if value not in offered:
                listed = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in offered)
                raise ValueError(f"{name}={value!r} is not offered here: it offers {listed}.")
        with self.quietly():
            for name, value in choices.items():
                self._boxes[name].value = value
        self.act(self._draw)

    def _draw(self) -> None:
        """Show what the controls ask for now, however many changes led there."""
        choice = Choice(*(box.value for box in self._boxes.values()))
        self.start.disabled = choice.noise == NONE
        if choice not in self._views:
            self.say("Drawing …")
            view = self._make(choice)
            if len(self._views) >= KEPT:
                self._views.pop(next(iter(self._views)))
            self._views[choice] = view
        view = self._views[choice]
        self._shown, self.sentence = choice, view.sentence
        self._curves.show(*view.curves)
        if view.paths:
            self._paths.show(*view.paths)
        else:
            self._paths.hide()
        self.say(view.sentence)

    def _make(self, choice: Choice) -> View:
        groups, notes = self._groups(choice)
        drawn = {self._curves: self._curves_of(groups), self._paths: _paths_of(groups)}
        made = [figure and (shown.draw(figure), figure.get_suptitle()) for shown, figure in drawn.items()]
        words = "; ".join(f"{label}: {_outcome(records)}" for label, records in groups.items())
        return View(*made, ". ".join(part[:1].upper() + part[1:] for part in (words, *notes)) + ".")

    def _groups(self, choice: Choice) -> tuple[dict[str, list[Record]], list[str]]:
        """The runs of the chosen arm and of none by label, and what must be said of their learning rates."""
        chosen = self._arm(choice, choice.noise)
        label, records, notes = _at(chosen, choice.lr)
        groups = {label: records}
        if choice.noise == NONE and not choice.fair:
            return groups, notes
        try:
            none = self._arm(choice, NONE)
        except Unshown:
            return groups, [*notes, "There are no runs without noise to compare with"]
        rate = best_rate([r for runs in none.values() for r in runs]) if choice.fair else choice.lr
        label, records, more = _at(none, rate)
        return {**groups, label: records}, notes + more

    def _arm(self, choice: Choice, noise: str) -> dict[float, list[Record]]:
        """The runs of an arm by learning rate."""
        found = self._runs.get((choice.split, choice.d_head, noise, None if noise == NONE else choice.start))
        if not found:
            what = noise if noise == NONE else f"{noise}, start {choice.start:g}"
            where = f"trained on {QUESTIONS[choice.split]}, d_head {choice.d_head}"
            raise Unshown(f"The records hold no run of {what}, {where}: choose another.")
        return found

    def _curves_of(self, groups: dict[str, list[Record]]) -> Figure:
        groups = {label: runs for label, runs in groups.items() if any(r.status == "done" for r in runs)}
        if not groups:
            raise Unshown("Every run of this choice failed, so there is nothing to draw: choose another.")
        first = next(iter(groups.values()))[0]
        known = first.task.baselines("test" if first.train.split == "train" else "any")
        return curves_with_bands(groups, baselines={name: known[name] for name in BASELINES})


def _sorted(records: Sequence[Record]) -> dict[tuple, dict[float, list[Record]]]:
    """The runs by split, d_head, noise and start; then by learning rate."""
    found: dict[tuple, dict[float, list[Record]]] = {}
    for r in records:
        key = (r.train.split, r.model.d_head, r.model.noise, None if r.model.noise == NONE else r.model.alpha)
        runs = found.setdefault(key, {}).setdefault(r.train.lr, [])
        if any(r.seed == other.seed for other in runs):
            raise ValueError(
                f"Seed {r.seed} of {arm_of(r)} at learning rate {r.train.lr:g} is there twice: give the records of one "
                "sweep, in which nothing varies but split, d_head, noise, start, learning rate and seed."
            )
        runs.append(r)
    return found


def _at(runs: dict[float, list[Record]], lr: float) -> tuple[str, list[Record], list[str]]:
    """The runs at a learning rate or at the one nearest to it by ratio, their label, and a note where it is another."""
    rate = min(sorted(runs), key=lambda there: abs(log(there / lr)))
    arm = arm_of(runs[rate][0])
    notes = [] if rate == lr else [f"{arm} was not run at {lr:g}: this is its nearest rate, {rate:g}"]
    return f"{arm}, learning rate {rate:g}", runs[rate], notes


def _outcome(records: Sequence[Record]) -> str:
    found = spread(records, "generalised")
    words = f"{found.reached} of {found.n} generalise"
    if 0 < found.reached and found.median < inf:
        return f"{words}, median step {found.median:,.0f}"
    return words + (", fewer than the median needs" if found.reached else "")


def _paths_of(groups: dict[str, list[Record]]) -> Figure | None:
    done = {label: [r for r in runs if r.status == "done"] for label, runs in groups.items()}
    noisy = {label: runs for label, runs in done.items() if runs and runs[0].model.noise != NONE}
    return scalar_paths(noisy) if noisy else None


def _offered(box: widgets.Widget) -> list:
    if isinstance(box, widgets.Checkbox):
        return [True, False]
    return [option[1] if isinstance(option, tuple) else option for option in box.options]
