"""What a learner has passed so far, over all notebooks: a small JSON file beside the exercises, a table, and a panel.

Nothing is kept of what runs under pytest or in a folder named `solutions`: a solution that passes is nobody's progress.
MATCHLIB_PROGRESS=PATH keeps it elsewhere, and MATCHLIB_PROGRESS= (empty) nowhere; this kernel then remembers it alone.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import ipywidgets as widgets

from matchlib.panel import Panel, row, table
from matchlib.record import RunError, write_whole

HOME = Path(__file__).resolve().parent.parent / "exercises" / ".progress.json"
EXERCISES: dict[
    str, tuple[str, str]
] = {}  # the name of each check: its lesson, and its title; `checking.check` fills it

LOOKS, POLL = 100, 0.02  # how often one kernel looks whether another has written, and seconds between two looks
STALE = 10.0  # seconds after which a lock is that of a kernel which is no more

_passed: dict[str, bool] = {}  # what this kernel has seen, in order
_predictions: dict[str, str] = {}
_holds: set[str] = set()  # whose function passed when this kernel checked it last


def place() -> Path | None:
    """Where progress is kept; None where it is not."""
    asked = os.environ.get("MATCHLIB_PROGRESS")
    if asked is not None:
        return Path(asked) if asked else None
    if "PYTEST_CURRENT_TEST" in os.environ or Path.cwd().name == "solutions":
        return None
    return HOME


def _read() -> None:
    """Add what the file holds to what this kernel remembers. A damaged file is put aside, and one sentence says so."""
    path = place()
    if path is None or not path.exists():
        return
    try:
        kept = json.loads(path.read_bytes())
        passed, predictions = kept["passed"], kept["predictions"]
        if not all(isinstance(x, str) for x in [*passed, *predictions, *predictions.values()]):
            raise TypeError("a name is no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return _put_aside(path, error)
    _passed.update(dict.fromkeys(passed, True))
    _predictions.update(predictions)  # what was written down first, in whatever kernel, stands


def _put_aside(path: Path, why: Exception) -> None:
    aside = next(p for n in count(1) if not (p := path.with_name(f"{path.name}.damaged-{n}")).exists())
    try:
        os.replace(path, aside)
    except OSError as error:
        print(f"Your progress in {path.name} cannot be read ({error.strerror}): remove that file to begin a new one.")
        return
    print(f"Your progress could not be read ({type(why).__name__}): it is kept as {aside.name}, and a new one begins.")


@contextmanager
def _alone() -> Iterator[None]:
    """One kernel at a time from reading to writing: of two that pass at once, neither takes away what the other wrote.

    Where no lock can be made, or another's is not given back in two seconds, it goes on without.
    """
    path = place()
    lock = path.with_name(f"{path.name}.lock") if path else None
    held = False
    for _ in range(LOOKS) if lock else ():
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            held = True
            break
        except FileExistsError:
            _remove_stale(lock)
            time.sleep(POLL)
        except OSError:  # no such folder, or not to be written in: `_keep` says so
            break
    try:
        yield
    finally:
        if held:
            lock.unlink(missing_ok=True)


def _remove_stale(lock: Path) -> None:
    try:
        if time.time() - lock.stat().st_mtime > STALE:
            lock.unlink()
    except FileNotFoundError:  # given back in between
        return


def _keep() -> None:
    path = place()
    if path is None:
        return
    text = json.dumps({"passed": list(_passed), "predictions": _predictions}, indent=1, ensure_ascii=False)
    try:
        write_whole(path, f"{text}\n".encode())
    except RunError as error:
        print(f"Your progress is not kept beyond this kernel: {error}")


def note(name: str) -> None:
    """Write down that an exercise is passed."""
    _holds.add(name)
    with _alone():
        _read()
        if name not in _passed:
            _passed[name] = True
            _keep()


def foresee(name: str, prediction: str) -> str:
    """Write down a prediction, and return the first that was ever given here: that one stands."""
    with _alone():
        _read()
        if name not in _predictions:
            _predictions[name] = prediction
            _keep()
    return _predictions[name]


def reopen(name: str) -> None:
    """A later version of a function does not pass: cells that go on from it wait again. What is written down stays."""
    _holds.discard(name)


def passed(name: str) -> bool:
    """Did this exercise pass when this kernel checked it last? For a cell that goes on from a learner's own function.

    Where it did not, one line says what to do first: what another kernel has seen is no function in this one.
    """
    if name not in _holds:
        print(f"Empty until checks.{name} has passed in this kernel: fill in your function, run the check, then this.")
    return name in _holds


def lessons(lesson: str | None = None) -> dict[str, dict[str, str]]:
    """The exercises of each lesson, or of one: name and title. Raises ValueError for a lesson that has none."""
    found: dict[str, dict[str, str]] = {}
    for name, (number, title) in EXERCISES.items():
        found.setdefault(number, {})[name] = title
    if lesson is not None and lesson not in found:
        raise ValueError(f"lesson={lesson!r} has no exercises: choose one of {', '.join(sorted(found))}.")
    return {number: found[number] for number in sorted(found) if lesson in (None, number)}


def progress(lesson: str | None = None) -> None:
    """Print what is passed so far, in every lesson or in one such as "01"."""
    asked = lessons(lesson)
    _read()
    for number, titles in asked.items():
        print(f"Lesson {number}: {sum(name in _passed for name in titles)} of {len(titles)} passed")
        for name, title in titles.items():
            print(f"  {'passed' if name in _passed else 'open  '}  {title}")


class ProgressPanel(Panel):
    """What is passed so far, a row a lesson. `done` holds it: lesson -> (passed, all)."""

    def __init__(self):
        super().__init__()
        self.done: dict[str, tuple[int, int]] = {}
        self.table = widgets.HTML()
        self.again = self.button("Look again", "Read what other notebooks have passed since", self._show)
        self.lay(self.table, row(self.again), self.message)
        self.act(self._show)

    def _show(self) -> None:
        _read()
        rows = []
        for number, titles in lessons().items():
            left = [title for name, title in titles.items() if name not in _passed]
            self.done[number] = len(titles) - len(left), len(titles)
            rows.append((number, "{} of {}".format(*self.done[number]), left[0] if left else "all done"))
        self.table.value = table("Your exercises", ["lesson", "passed", "next"], rows)
        n_passed, n_all = (sum(pair[i] for pair in self.done.values()) for i in (0, 1))
        self.say(f"{n_passed} of {n_all} exercises passed so far. They stand in the folder exercises.")
