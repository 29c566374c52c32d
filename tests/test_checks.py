"""Every check of every lesson: its solution passes, its stub is 'not yet', and nothing that comes back breaks it."""

import sys
from pathlib import Path

import checks_work as work
import numpy as np
import pytest
import torch

from matchlib import checking, checks, progress
from matchlib.checking import check

NAMES = sorted(progress.EXERCISES)
EACH = pytest.mark.parametrize("name", [pytest.param(n, id=f"{work.lesson_of(n)}-{n}") for n in NAMES])
NUMBERS = sorted({work.lesson_of(name) for name in NAMES})


def raising(error: BaseException):
    def answer(*given):
        raise error

    return answer


def test_every_check_is_asked_in_its_lesson_and_every_lesson_is_tested():
    for lesson in NUMBERS:
        names = {name for name in NAMES if work.lesson_of(name) == lesson}
        assert 3 <= len(names) <= 6 and names == set(work.answers(work.SOLUTIONS[lesson])), lesson
        assert names <= set(checks.__all__), lesson
        assert (work.ROOT / "tests" / f"test_checks_{lesson}.py").exists(), "plant mistakes for its checks"
    assert set(NUMBERS) == set(work.SOLUTIONS)


@EACH
def test_the_solution_passes(name):
    """Within the limit of time too: beyond it a check says so, and does not pass."""
    given = work.answers(work.SOLUTIONS[work.lesson_of(name)])[name]
    found = [work.judged(name, *given) for _ in range(5)]
    assert {outcome.state for outcome in found} == {"passed"}
    assert len({outcome.said for outcome in found}) == 1, "nbval compares it: no fresh number in a pass"


@EACH
def test_the_stub_is_not_yet(name):
    path = work.EXERCISES[work.lesson_of(name)]
    todos = {f: todo for source in work.code_cells(path) for f, todo in work.todos_in(source).items()}
    given = work.answers(path)[name]
    outcome = work.judged(name, *given)
    assert outcome.state == "not yet" and outcome.said in {f"not yet: {todos[f.__name__]}" for f in given}


HOSTILE = {
    "None": None, "a number": 0.25, "a large number": 10**400, "NaN": float("nan"), "infinity": float("inf"),
    "no tensor": torch.zeros(0), "a wrong shape": torch.zeros(2, 3, 5, 7), 
    "NaN in a tensor": torch.full((7,), torch.nan),
    "an array": np.full((13, 13), 0.5), "an array of objects": np.array([None, "x"]), "a list": [1, "x", None],
    "a ragged list": [[1], [2, 3]], "a nest": [[[[]]]], "text": "x" * 9999, "a dict": {1: 2}, "a set": {(1, 2), 3},
    "pairs that are none": {"ab"}, "a class": int, "complex": 1j, "a graph": torch.ones(3, requires_grad=True) * 2,
}  # fmt: skip
HOSTILE = {name: (lambda *given, value=value: value) for name, value in HOSTILE.items()} | {
    "an error": raising(KeyError("x")), "exit": raising(SystemExit(1)), "an interrupt": raising(KeyboardInterrupt()),
    "no arguments": lambda a, b, c, d, e, f: 0, "a generator": lambda *given: (x for x in given), "no function": 7,
    "what it was given": lambda *given: given[0] if given else None, "all it was given": lambda *given: given,
    "without end": lambda *given: [None for _ in iter(int, 1)],
}  # fmt: skip


@EACH
@pytest.mark.filterwarnings("ignore::UserWarning")  # of torch and numpy, on reading what is no number
def test_nothing_that_comes_back_passes_or_breaks_it(name, monkeypatch):
    monkeypatch.setattr(checking, "LIMIT", 1.0)
    given = work.answers(work.SOLUTIONS[work.lesson_of(name)])[name]
    for what, hostile in HOSTILE.items():
        for place in range(len(given)):
            outcome = work.judged(name, *given[:place], hostile, *given[place + 1 :])
            assert outcome.state == "wrong" and "Traceback" not in outcome.said, (what, outcome)
            assert len(outcome.said) < 700, what


def test_a_check_says_how_it_is_called(capsys):
    for name in NAMES:
        assert work.judged(name).state == "wrong" and repr(getattr(checks, name)) in work.judged(name).said


def test_a_check_has_one_name():
    with pytest.raises(ValueError, match="is there already"):
        check("99", "Again")(getattr(checks, NAMES[0]).body)
    assert len({title for _, title in progress.EXERCISES.values()}) == len(NAMES)


def test_no_check_knows_a_solution():
    modules = [module for name, module in sys.modules.items() if name.startswith("matchlib.check")]
    sources = [Path(module.__file__).read_text(encoding="utf-8") for module in modules]
    assert len(sources) >= 2 + len(NUMBERS) and not any("solutions/" in s or ".ipynb" in s for s in sources)
