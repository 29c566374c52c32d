"""A panel that trains a model while you watch."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter
from typing import ClassVar

import ipywidgets as widgets
import torch

from matchlib.data import ChainTask
from matchlib.halt import Halted, halting
from matchlib.model import LAYERNORMS, ModelConfig
from matchlib.panel import Mistake, Panel, Press, Shown, control, row
from matchlib.plots import training_curves
from matchlib.record import Evaluation, Run, TrainConfig
from matchlib.train import Step, TrainState, fit

SLICE = 0.05  # seconds of training between two looks at the buttons
REDRAW = 0.7  # seconds between two pictures, at least
BASELINES = ("context token", "possible answer", "right residue")


class LiveTraining(Panel):
    """Train a model while you watch; stop, go on, or begin anew with another LayerNorm or initialisation.

    Training runs in slices on the event loop, so that the page stays alive; `advance` trains without one. One panel
    trains at a time: to start or to open another stops the first (it may have left the page); what it learnt is kept.
    """

    _active: ClassVar["LiveTraining | None"] = None

    def __init__(
        self, task: ChainTask, model_config: ModelConfig, train_config: TrainConfig, seed: int = 0, device: str = "auto"
    ):
        super().__init__()
        self.task, self.model_config, self.train_config = task, model_config, train_config
        self.seed, self.device = seed, device
        self.state: TrainState | None = None
        self._task: asyncio.Task | None = None
        self._steps: Iterator[Step] | None = None
        self._baselines: dict[str, float] | None = None
        self._drawn = -1  # step of the last measurement in the figure
        self._halt = False  # a stop is asked for; a step in progress looks at it
        gamma = model_config.gamma
        span = {"min": min(0.3, gamma), "max": max(1.1, gamma), "step": 0.1, "value": gamma, "readout_format": ".2f"}
        self.start_button = self.button("Start", "Train, or go on", self._start, button_style="primary")
        self.stop_button = Press(self.stop, "Stop", "Stop; what was learnt is kept")
        self.reset_button = Press(self.reset, "Reset", "Forget what was learnt, and choose anew")
        tip = "LayerNorm after each addition (post) or before each part (pre)"
        self.layernorm = control(widgets.Dropdown, "LayerNorm", tip, options=LAYERNORMS, value=model_config.layernorm)
        self.gamma = control(widgets.FloatSlider, "gamma", "A larger gamma starts with smaller weights", **span)
        self.progress = control(widgets.IntProgress, "Steps", "Steps done", max=train_config.steps)
        self._curves = Shown()
        self.on_change(self._choose, self.layernorm, self.gamma)
        self.lay(
            row(self.layernorm, self.gamma), row(self.start_button, self.stop_button, self.reset_button, self.progress),
            self.message, self._curves,
        )  # fmt: skip
        self._stop_other()
        self._settle(f"Ready for {train_config.steps:,} steps: press Start.")

    @property
    def training(self) -> bool:
        """Whether it trains in the background now."""
        return self._task is not None and not self._task.done()

    @property
    def history(self) -> list[Evaluation]:
        return self.state.history if self.state else []

    @property
    def run(self) -> Run:
        """The training so far. Raises ValueError before the first step."""
        if self.state is None:
            raise ValueError("Nothing has been trained yet: press Start, or call advance(n_steps).")
        return self.state.as_run()

    def start(self) -> None:
        """Train in the background, from nothing or from where it stopped."""
        self.act(self._start)

    def stop(self) -> None:
        """Stop, and keep what was learnt."""
        self._halt = True  # at once: an action waits for the panel's thread, which may be in the middle of a step
        self.act(self._stop)

    def reset(self) -> None:
        """Stop, and forget what was learnt."""
        self._halt = True
        self.act(self._reset)

    def close(self) -> None:
        self.stop()
        super().close()

    def advance(self, n_steps: int) -> None:
        """Train `n_steps` now, fewer where fewer are left, and return with the view up to date.

        Raises ValueError for a number below 1, RuntimeError while it trains in the background.
        """
        if type(n_steps) is not int or n_steps < 1:
            raise ValueError(f"n_steps={n_steps!r} must be a whole number of at least 1.")
        if self.training:
            raise RuntimeError("It is training in the background: stop it first, or `await panel.finished()`.")
        try:
            self._prepare()
            for _ in zip(range(n_steps), self._steps):
                pass
        except BaseException as error:
            self._fail(error)
            raise
        self._draw()
        self._settle(self._summary())

    async def finished(self) -> None:
        """Wait until the background training has ended or was stopped. Raises what it raised."""
        if (task := self._task) is not None:
            if not task.done():
                await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    def _start(self) -> None:
        if self.training:
            raise Mistake("It is training already: press Stop first.")
        if self.state and self.state.done:
            raise Mistake("All steps are done: press Reset to begin anew.")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise Mistake("Nothing can run in the background here: call panel.advance(n_steps).") from None
        self._stop_other()
        LiveTraining._active = self
        self.say("Drawing the training set …")
        self._halt = False
        self._task = loop.create_task(self._train())
        self._task.add_done_callback(self._ended)
        self._enable()

    def _stop(self) -> None:
        if self.training:
            task, self._task = self._task, None
            task.cancel()
            self._settle(self._summary())
            self._draw()

    def _reset(self) -> None:
        if self.training:
            self._task.cancel()
        self._task = self.state = self._steps = self.figure = None
        self._curves.hide()
        self._settle(f"Ready for {self.train_config.steps:,} steps: press Start.")

    def _choose(self) -> None:
        if self.state is not None or self.training:
            raise Mistake("This choice counts from the next Reset on: what is shown was trained with the old one.")

    def _stop_other(self) -> None:
        other, LiveTraining._active = LiveTraining._active, None
        if other is not None and other is not self:
            other.stop()

    def _prepare(self) -> None:
        """Have a state, and a generator of steps that goes on from it."""
        if self.state is None:
            config = replace(self.model_config, layernorm=self.layernorm.value, gamma=self.gamma.value)
            self.state = TrainState.new(self.task, config, self.train_config, self.seed, self.device)
        if self._steps is None:
            self._steps = fit(self.state)

    async def _train(self) -> None:
        """A slice of steps, a look at the page, and again: `sleep(0)` lets the loop handle what was clicked."""
        try:
            self._prepare()
            with halting(self.state.model, lambda: self._halt):
                await self._slices()
        except Halted:
            self._forget_step()
        except KeyboardInterrupt:
            raise RuntimeError("the kernel was interrupted") from None
        self._draw()

    async def _slices(self) -> None:
        next(self._steps, None)  # draws the training set and measures the start, so it says nothing of the pace
        began, first = perf_counter(), self.state.step
        said = drawn = began
        cost = 0.0
        while not self.state.done and self.view.comm is not None:  # a closed view has none
            until = perf_counter() + SLICE
            for _ in self._steps:
                if perf_counter() >= until:
                    break
            now = perf_counter()
            if self.figure is None or now - drawn > max(REDRAW, 4 * cost):
                self._draw()
                drawn = perf_counter()
                cost = max(cost, drawn - now)
            if now - said > 0.25:
                said = now
                a_step = (now - began) / (self.state.step - first)
                self._report(a_step * (self.train_config.steps - self.state.step))
            await asyncio.sleep(0)

    def _ended(self, task: asyncio.Task) -> None:
        if task is not self._task:  # Stop and Reset have told the page already
            return
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)
        else:
            self._settle(self._summary())

    def _forget_step(self) -> None:
        """A step was cut short: let the next start go on from whole steps."""
        self._steps = None
        if self.state is not None:
            self.state.optimizer.zero_grad(set_to_none=True)

    def _fail(self, error: BaseException) -> None:
        self._forget_step()
        at, why = self.state.step if self.state else 0, f"{type(error).__name__}: {error}"
        self._settle(f"Training stopped at step {at:,} ({why}). Start goes on, Reset begins anew.")

    def _report(self, seconds_left: float) -> None:
        step, latest = self.state.step, self.history[-1]
        self.progress.value = step
        words = f"Training: step {step:,} of {self.train_config.steps:,}, about {seconds_left:.0f} s left"
        self.say(f"{words}; test accuracy {latest.test:.3f} at step {latest.step:,}.{self._gave_way()}")

    def _gave_way(self) -> str:
        """Where a GPU was to be taken and is busy or full: that it is the CPU which trains."""
        gave_way = self.device == "auto" and torch.cuda.is_available() and self.state.device.type == "cpu"
        return " The GPU is busy or out of memory, so it is the CPU that trains." if gave_way else ""

    def _summary(self) -> str:
        if not self.history:
            return f"Ready for {self.train_config.steps:,} steps: press Start."
        step, latest = self.state.step, self.history[-1]
        found = f"at step {latest.step:,} the test accuracy is {latest.test:.3f}"
        if latest.argmax:
            found += f", the argmax scores are {' and '.join(f'{score:.2f}' for score in latest.argmax)}"
        if self.state.done:
            return f"Finished after {step:,} steps: {found}.{self._gave_way()}"
        done = f"Stopped after {step:,} of {self.train_config.steps:,} steps, and Start goes on"
        return f"{done}: {found}.{self._gave_way()}"

    def _draw(self) -> None:
        """Show the curves, where there is a measurement that they do not show yet."""
        if not self.history or (self.figure is not None and self._drawn == self.history[-1].step):
            return
        self._drawn = self.history[-1].step
        if self._baselines is None:
            known = self.task.baselines("test" if self.train_config.split == "train" else "any")
            self._baselines = {name: known[name] for name in BASELINES}
        self.figure = training_curves(self.history, self._baselines)
        self._curves.show_figure(self.figure)

    def _settle(self, words: str) -> None:
        """Nothing runs: say so, and let the controls agree."""
        self.progress.value = self.state.step if self.state else 0
        self._enable()
        self.say(words)

    def _enable(self) -> None:
        begun = self.training or self.state is not None
        self.start_button.disabled = self.training or (self.state is not None and self.state.done)
        self.stop_button.disabled = not self.training
        self.reset_button.disabled = not begun
        self.layernorm.disabled = self.gamma.disabled = begun
