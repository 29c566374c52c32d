"""How an exercise is checked: call a learner's function under a watch, read what comes back, and judge it in words.

A check is a function `body(g, answer)` under `@check(lesson, title)`. `g` is a generator that is fresh at every call;
`answer` is the learner's function, to be called through `ask`. The body returns what passed, in one sentence, or raises
`Wrong` with the misconception. Nothing that a learner returns, raises or forgets shows a traceback. Ours.
"""

import copy
import inspect
import linecache
import math
import random
import reprlib
import secrets
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from matchlib import progress
from matchlib.watched import Late, Watch, counted

LIMIT = 5.0  # seconds that one call of the learner's function may compute
DONE = ("passed", "surprise")


class Wrong(Exception):
    """A misconception by name, and a line of code with which to see it."""

    def __init__(self, sentence: str, see: str = ""):
        super().__init__(f"{sentence}\n  To see it: {see}" if see else sentence)


class NotYet(Exception):
    """The exercise is still empty: what is to be done."""


class Surprise(Exception):
    """A prediction that does not come true. It was written down before, and the exercise is done all the same."""


@dataclass(frozen=True)
class Outcome:
    """How a check ended: passed, surprise, wrong, not yet, or broken (the check itself); and all that it prints.

    printed: what the learner's function itself printed, of one call.
    """

    state: str
    said: str
    printed: str = ""


@dataclass(frozen=True)
class Check:
    """A check of one exercise: call it with your function, `checks.NAME(your_function)`."""

    name: str
    body: Callable[..., str]
    choices: tuple[str, ...] = ()  # for a prediction: what may be predicted

    def __call__(self, *answers: Any) -> None:
        """Judge an answer and print the outcome; a pass is written down."""
        outcome = self.judge(*answers)
        (progress.note if outcome.state in DONE else progress.reopen)(self.name)
        print(*filter(None, (outcome.printed, outcome.said)), sep="\n")

    def __repr__(self) -> str:
        wanted = list(inspect.signature(self.body).parameters)[1:]
        return f"checks.{self.name}({', '.join(wanted)})"

    def judge(self, *answers: Any) -> Outcome:
        """The outcome, on fresh random inputs; a call that computes for more than `LIMIT` seconds is stopped."""
        if len(answers) != len(inspect.signature(self.body).parameters) - 1:
            return Outcome("wrong", f"not right yet: {len(answers)} answers were given. Write it as {self!r}.")
        watch = Watch(LIMIT)
        state, said = self._judged(watch, answers)
        return Outcome(state, said, watch.heard())

    def _judged(self, watch: Watch, answers: tuple) -> tuple[str, str]:
        g = torch.Generator().manual_seed(secrets.randbits(63))
        try:
            if not self.choices:
                return "passed", f"passed: {watch.run(lambda: self.body(g, *answers))}"
            return self._reveal(g, watch.run(lambda: foreseen(ask(*answers), self.choices)))
        except NotYet as what:
            return "not yet", f"not yet: {what}"
        except (Wrong, Late) as misconception:
            return "wrong", f"not right yet: {misconception}"
        except Exception as error:  # of the check itself: a learner can do nothing about it, so it says whose it is
            return "broken", f"This check failed by itself ({type(error).__name__}: {error}), not your answer."

    def _reveal(self, g: torch.Generator, said: str) -> tuple[str, str]:
        """Write a prediction down, and only then say what happens: the check's own work, and under no limit."""
        first = progress.foresee(self.name, said)
        words = f"Written down: {said!r}."
        if said != first:
            words = f"You now say {said!r}; what counts is your first prediction, {first!r}."
        try:
            return "passed", f"{words}\npassed: {self.body(g, said)}"
        except Surprise as surprise:
            return "surprise", f"{words}\na surprise: {surprise}"


def dice(g: torch.Generator) -> random.Random:
    """Python's own dice, seeded by the check's generator: fresh with it, and for samples and shuffles of lists."""
    return random.Random(int(torch.randint(2**31, (1,), generator=g)))


def check(lesson: str, title: str, choices: Sequence[str] = ()) -> Callable[[Callable[..., str]], Check]:
    """Make a check of a function `body(g, answer)`, and enter it in the table of progress under its name.

    With choices it is a prediction: the learner's function returns one of them, which is written down before the body
    runs, as `body(g, said)`. The body then reveals what happens: it returns a sentence, or raises `Surprise` with one.
    """

    def make(body: Callable[..., str]) -> Check:
        if body.__name__ in progress.EXERCISES:
            raise ValueError(f"check {body.__name__!r} is there already: give this one another name.")
        progress.EXERCISES[body.__name__] = lesson, title
        return Check(body.__name__, body, tuple(choices))

    return make


def ask(answer: Any, *given: Any) -> Any:
    """What a learner's function returns; it gets copies of tensors, lists, dicts and sets, so it may change them.

    Raises NotYet for a stub, and Wrong for what is no function or whatever else it raises.
    """
    if not callable(answer):
        raise Wrong(f"The check needs your function itself and got {kind_of(answer)}: give its name without brackets.")
    given = [copied(x) for x in given]
    try:
        with counted():
            return answer(*given)
    except NotImplementedError as stub:
        raise NotYet(str(stub) or "fill in the function, and remove the line that raises.") from None
    except BaseException as error:  # SystemExit too: a learner's exit() must not end the kernel
        raise Wrong(f"Your function ended with {type(error).__name__}: {error}{where(error)}.") from None


def copied(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.clone()
    return copy.deepcopy(x) if isinstance(x, list | dict | set) else x


def where(error: BaseException) -> str:
    """The line of a learner's own code in which an error arose, counted from the `def` above it."""
    steps = list(traceback.walk_tb(error.__traceback__))[1:]
    own = [(f.f_code, line) for f, line in steps if f.f_code.co_filename == steps[0][0].f_code.co_filename]
    own = [step for step in own if not step[0].co_name.startswith("<")] or own[:1]  # no line of a comprehension alone
    if not own:
        return ""
    code, line = own[-1]
    name = "your function" if code is own[0][0] else code.co_name
    text = linecache.getline(code.co_filename, line).strip()
    return f" (line {line - code.co_firstlineno + 1} of {name}{f': {text}' if text else ''})"


def kind_of(value: Any) -> str:
    """A value in a few words: what it is, and its shape or length."""
    if value is None:
        return "None"
    if isinstance(value, Tensor | np.ndarray):
        return f"{'a tensor' if isinstance(value, Tensor) else 'an array'} of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple | set | dict):
        return f"a {type(value).__name__} of {len(value)}"
    return reprlib.repr(value) if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"


def tensor(value: Any, shape: tuple[int, ...] | None, what: str) -> Tensor:
    """A learner's tensor, array or nested list as float64 on the CPU. Raises Wrong for no numbers, a shape, or NaN.

    what: what it is, in words that begin a sentence, such as "Your pattern"; shape: None allows any.
    """
    if value is None:
        raise Wrong(f"{what} is None: does your function end with a return?")
    try:
        if isinstance(value, list | tuple):
            value = torch.stack([torch.as_tensor(v) for v in value]) if value else torch.zeros(0)
        found = torch.as_tensor(value).detach().to("cpu").to(torch.float64)
    except Exception:  # whatever torch says of a dict, of text, of a ragged list
        raise Wrong(f"{what} is {kind_of(value)}, which cannot be read as a tensor of numbers.") from None
    if shape is not None and tuple(found.shape) != tuple(shape):
        swapped = " Two of its axes are swapped." if sorted(found.shape) == sorted(shape) else ""
        raise Wrong(f"{what} has the shape {tuple(found.shape)} where {tuple(shape)} is asked.{swapped}")
    if not found.isfinite().all():
        raise Wrong(f"{what} holds NaN or infinity: look for a division by zero, or a logarithm of it.")
    return found


def number(value: Any, what: str) -> float:
    """A learner's number, also as a tensor or array of one. Raises Wrong for anything else, NaN and infinity."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1:
        value = tensor(value, None, what).item()
    if value is None:
        raise Wrong(f"{what} is None: does your function end with a return?")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"{what} is {kind_of(value)}, and a number is asked.")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise Wrong(f"{what} is {found}: look for a division by zero, or a logarithm of it.")
    return found


def whole(value: Any, what: str) -> int:
    """A learner's whole number, such as a token. Raises Wrong for anything else."""
    found = number(value, what)
    if found != round(found) or abs(found) > 2**53:
        raise Wrong(f"{what} is {found:g}, and a whole number of moderate size is asked.")
    return round(found)


def wholes(value: Any, what: str) -> list[int]:
    """A learner's row of whole numbers: a list, a tuple, a tensor or an array. Raises Wrong for anything else."""
    if isinstance(value, str | dict) or isinstance(value, list | tuple) and any(isinstance(x, str) for x in value):
        raise Wrong(f"{what} is {kind_of(value)}: return a list of whole numbers, and no text.")
    found = tensor(value, None, what)
    if found.dim() != 1:
        raise Wrong(f"{what} is {kind_of(value)}, and one row of whole numbers is asked.")
    return [whole(x, f"A number of {what[0].lower()}{what[1:]}") for x in found.tolist()]


def chain(value: Any, what: str, see: str = "") -> list[int]:
    """A learner's chain of seven different tokens from 1 to 50. Raises Wrong for anything else."""
    found = wholes(value, what)
    if len(found) != 7:
        raise Wrong(f"{what} has {len(found)} tokens: six edges join seven.", see)
    if 0 in found:
        raise Wrong(f"{what} holds 0: x % 50 runs from 0 to 49, and (x - 1) % 50 + 1 from 1 to 50 as tokens do.", see)
    if outside := [token for token in found if not 1 <= token <= 50]:
        raise Wrong(f"{what} holds {outside[0]}, and tokens run from 1 to 50: a step may also lead down.", see)
    if twice := [token for token in found if found.count(token) > 1]:
        raise Wrong(f"{what} holds {twice[0]} twice, and then two edges leave it.", see)
    return found


def truth(value: Any, what: str) -> bool:
    """A learner's True or False, also as a tensor or array of one. Raises Wrong for anything else."""
    if isinstance(value, Tensor | np.ndarray | np.generic) and value.shape == () and value.dtype in (torch.bool, bool):
        value = bool(value)
    if not isinstance(value, bool):
        raise Wrong(f"{what} is {kind_of(value)}, and True or False is asked.")
    return value


def one_of(value: Any, choices: Sequence[str], what: str) -> str:
    """A learner's choice. Raises Wrong with what may be chosen."""
    if not isinstance(value, str) or value not in choices:
        raise Wrong(f"{what} is {kind_of(value)}: choose one of {', '.join(map(repr, choices))}.")
    return value


def foreseen(value: Any, choices: Sequence[str]) -> str:
    """A learner's prediction, whatever its case and the spaces around it."""
    return one_of(value.strip().lower() if isinstance(value, str) else value, choices, "Your prediction")
