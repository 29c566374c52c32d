"""A panel that plays the matching matrices of a run over its training."""

from collections.abc import Callable
from dataclasses import dataclass

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from matchlib.panel import Panel, Shown, control, row
from matchlib.plots import matching_matrices, score_and_accuracy
from matchlib.probe import argmax_of, gaussian_tokens, matching_matrix
from matchlib.record import Run
from matchlib.style import INK, SMALL, Backdrop
from matchlib.train import seeded

TRAINED, UNSEEN, GAUSSIAN = "trained tokens", "unseen tokens", "Gaussian vectors"
KEPT = 400  # pictures, of about 0.1 MB each


@dataclass(frozen=True)
class Frame:
    """A picture that was drawn: the bytes, what it says in words, the argmax score of each layer in it."""

    png: bytes
    words: str
    scores: dict[str, float]


class MatchingMovie(Panel):
    """Drag through the snapshots of a run: its matching matrices there, and where that is on the curves.

    `figure` shows the matrices, `curves` accuracy and scores with a line at the step, `scores` the argmax score of each
    layer in view. A picture is drawn once and then kept. Raises ValueError for a run without snapshots, or whose model
    has one layer only.
    """

    def __init__(self, run: Run):
        if not run.snapshots:
            raise ValueError("This run kept no snapshots: train with TrainConfig(snapshots=...), or use another run.")
        if run.model_config.n_layers < 2:
            raise ValueError("A model of one layer can pair but not match: use a run with at least 2 layers.")
        super().__init__()
        self.run = run
        self.scores: dict[str, float] = {}
        self._frames: dict[tuple, Frame] = {}
        self._backdrop: tuple[Figure, Backdrop] | None = None
        steps = sorted(run.snapshots)
        self.slider = control(
            widgets.SelectionSlider, "Training step", "Which snapshot of the model",
            options=[(f"{s:,}", s) for s in steps],
            layout={"width": "30em", "max_width": "calc(100% - 4px)", "margin": "2px"},
        )  # fmt: skip
        self.play = widgets.Play(max=len(steps) - 1, interval=500, tooltip="Play to the end", show_repeat=False)
        widgets.link((self.play, "value"), (self.slider, "index"))
        layers = range(1, run.model_config.n_layers)
        every = [("every matching layer", tuple(layers))] if len(layers) > 1 else []
        options = every + [(f"layer {layer}", (layer,)) for layer in layers]
        self.layer = control(widgets.Dropdown, "Layer", "Whose matching matrix", options=options)
        tip = "Tokens of the training, tokens that it never showed, or vectors that no token has"
        self.tokens = control(widgets.Dropdown, "Match", tip, options=(TRAINED, UNSEEN, GAUSSIAN))
        self._matrices, self._curves = Shown(), Shown()
        self.on_change(self._draw, self.slider, self.layer, self.tokens)
        self.lay(
            row(self.play, self.slider, self.layer, self.tokens), self.message, self._curves, self._matrices,
        )  # fmt: skip
        self.act(self._draw)

    @property
    def step(self) -> int:
        """The training step in view."""
        return self.slider.value

    @property
    def figure(self) -> Figure:
        """The matching matrices in view."""
        return self._matrices_at(*self._chosen())[0]

    @property
    def curves(self) -> Figure:
        """Test accuracy and argmax scores over training, with a line at the step in view."""
        figure = score_and_accuracy(self.run.history)
        _mark(figure.axes[0], self.step)
        return figure

    def _chosen(self) -> tuple[int, tuple[int, ...], str]:
        return self.step, self.layer.value, self.tokens.value

    def _draw(self) -> None:
        """Show what the controls ask for now, however many changes led there."""
        step, layers, tokens = self._chosen()
        curves = self._frame((step,), lambda: self._curves_frame(step))
        matrices = self._frame((step, layers, tokens), lambda: self._matrices_frame(step, layers, tokens))
        self._curves.show(curves.png, curves.words)
        self._matrices.show(matrices.png, matrices.words)
        self.scores = matrices.scores
        found = ", ".join(f"{name} {value:.3f}" for name, value in self.scores.items())
        self.say(f"Step {step:,}, {tokens}: argmax score {found}.")

    def _frame(self, key: tuple, draw: Callable[[], Frame]) -> Frame:
        if key not in self._frames:
            self.say(f"Drawing step {key[0]:,} …")
            frame = draw()
            if len(self._frames) >= KEPT:
                self._frames.pop(next(iter(self._frames)))
            self._frames[key] = frame
        return self._frames[key]

    def _curves_frame(self, step: int) -> Frame:
        """All steps have the same curves, which are drawn once: each adds its line."""
        if self._backdrop is None:
            figure = score_and_accuracy(self.run.history)
            self._backdrop = figure, Backdrop(figure)
        figure, backdrop = self._backdrop
        marks = _mark(figure.axes[0], step)
        frame = Frame(backdrop.png_with(*marks), figure.get_suptitle(), {})
        for artist in marks:
            artist.remove()
        return frame

    def _matrices_frame(self, *chosen) -> Frame:
        figure, scores = self._matrices_at(*chosen)
        return Frame(self._matrices.draw(figure), figure.get_suptitle(), scores)

    def _matrices_at(self, step: int, layers: tuple[int, ...], choice: str) -> tuple[Figure, dict[str, float]]:
        """The matrices of these layers at a step, drawn, and the argmax score of each."""
        model, n = self.run.at(step), self.run.task.n_tokens
        labels = None
        if choice == GAUSSIAN:
            tokens = gaussian_tokens(model, n, seeded(self.run.seed, "Gaussian vectors"))
        else:
            labels = range(1, n + 1) if choice == TRAINED else range(n + 1, 2 * n + 1)
            tokens = torch.tensor(labels, device=model.w_e.device)
        found = {f"layer {layer}": matching_matrix(model, layer, tokens) for layer in layers}
        return matching_matrices(found, labels), {name: argmax_of(h) for name, h in found.items()}


def _mark(axes: Axes, step: int) -> tuple[Artist, ...]:
    """Where a step is on the curves: a line, and its name."""
    line = axes.axvline(step, color=INK, lw=2.5, alpha=0.6, zorder=4)
    late = step > sum(axes.get_xlim()) / 2  # where there is more room to the left
    place = {"xytext": (-6 if late else 6, 0), "textcoords": "offset points", "ha": "right" if late else "left"}
    return line, axes.annotate(f"step {step:,}", (step, 0.93), **place, fontsize=SMALL, color=INK, fontweight="bold")
