"""What the tests of the exercises share: the learner's functions of a notebook, and how mistakes are held to words."""

import ast
import contextlib
import io
import json
import random
import zlib
from functools import cache
from pathlib import Path
from unittest.mock import patch

import matplotlib

from matchlib import checks, progress
from matchlib.checking import Check, Outcome

ROOT = Path(__file__).resolve().parent.parent
SOLUTIONS = {path.name[:2]: path for path in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.ipynb"))}
EXERCISES = {number: ROOT / "exercises" / path.name for number, path in SOLUTIONS.items()}
FAILS = ("wrong", "surprise")


def code_cells(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def asked_in(source: str) -> list[tuple[str, tuple[str, ...]]]:
    """Each `checks.NAME(a, b)` of some code: the name, and the names of what it is given."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = [c for c in calls if isinstance(c.func, ast.Attribute) and ast.unparse(c.func.value) == "checks"]
    given = [(c.func.attr, tuple(map(ast.unparse, c.args))) for c in found]
    return [(name, args) for name, args in given if name in progress.EXERCISES]


def todos_in(source: str) -> dict[str, str]:
    """The stubs of some code: function, and the sentence that it raises."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        for line in node.body if isinstance(node, ast.FunctionDef) else ():
            if isinstance(line, ast.Raise) and ast.unparse(line.exc.func) == "NotImplementedError":
                found[node.name] = line.exc.args[0].value
    return found


def lesson_of(name: str) -> str:
    return progress.EXERCISES[name][0]


@cache
def run(path: Path) -> tuple[dict, list[str]]:
    """The names that a notebook defines, and what each code cell prints, when its cells run from top to bottom.

    As in a kernel of its own: nothing is passed when it begins.
    """
    matplotlib.use("Agg")
    names, printed = {"__name__": "__main__"}, []
    kernel = {"_passed": {}, "_predictions": {}, "_holds": set()}
    for number, source in enumerate(code_cells(path)):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), patch.multiple(progress, **kernel):
            exec(compile(source, f"{path.name}, code cell {number}", "exec"), names)
        printed.append(out.getvalue())
    return names, printed


def answers(path: Path) -> dict[str, tuple]:
    """What a notebook gives to each check: name of the check, and the learner's functions."""
    names, _ = run(path)
    return {name: tuple(names[arg] for arg in args) for s in code_cells(path) for name, args in asked_in(s)}


def judged(name: str, *given) -> Outcome:
    check: Check = getattr(checks, name)
    return check.judge(*given)


def rows(mistakes: dict[str, list]) -> list[tuple]:
    """A table of planted mistakes as rows for pytest: check, wrong functions, piece of the message."""
    return [
        (name, wrong if isinstance(wrong, tuple) else (wrong,), said)
        for name, planted in mistakes.items()
        for wrong, said in planted
    ]


def held(name: str, wrong: tuple, said: str) -> str:
    """A mistake fails, three times on fresh inputs, with its own words; the last of them.

    The inputs are those of every run of the tests: a check whose words are unsure says so always, or never.
    """
    for turn in range(3):
        seed = zlib.crc32(f"{name}, {said}, {turn}".encode())
        random.seed(seed)
        with patch("matchlib.checking.secrets.randbits", return_value=seed):
            outcome = judged(name, *wrong)
        assert outcome.state in FAILS and said in outcome.said, outcome
    return outcome.said


@cache
def imported(lesson: str) -> dict:
    """The names that an exercise's first code cell defines."""
    names = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code_cells(EXERCISES[lesson])[0], names)
    return names


def can_be_seen(name: str, wrong: tuple, said: str) -> None:
    """The line under "To see it" runs in the exercise as it stands, with the learner's function, and prints."""
    _, marked, line = said.partition("To see it: ")
    given = [args for source in code_cells(EXERCISES[lesson_of(name)]) for n, args in asked_in(source) if n == name]
    names = imported(lesson_of(name)) | dict(zip(given[0], wrong))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(line, names)
    assert bool(marked) == bool(out.getvalue()), line


def complete(number: str, mistakes: dict[str, list]) -> None:
    """Every check of a lesson has at least three planted mistakes, and no two of them share their words."""
    assert set(mistakes) == {name for name in progress.EXERCISES if lesson_of(name) == number}
    for name, planted in mistakes.items():
        pieces = [said for _, said in planted]
        assert len(set(pieces)) == len(pieces) >= 3, name
