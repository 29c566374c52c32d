"""What is passed is kept, over kernels and damage; a prediction is written down before it is revealed."""

import importlib.util
import json
import os
import threading
import time

import checks_work as work
import pytest

from matchlib import checking, checks, progress

NAMES = sorted(progress.EXERCISES)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Progress in a file of its own, in a kernel that has seen nothing yet."""
    path = tmp_path / "exercises" / ".progress.json"
    monkeypatch.setenv("MATCHLIB_PROGRESS", str(path))
    forget(monkeypatch)
    return path


def forget(monkeypatch):
    """As in a new kernel."""
    monkeypatch.setattr(progress, "_passed", {})
    monkeypatch.setattr(progress, "_predictions", {})
    monkeypatch.setattr(progress, "_holds", set())


def test_a_prediction_is_written_down_before_it_is_revealed(trial, kept, capsys):
    seen = []

    @trial("99", "A prediction", choices=("more", "less"))
    def a_prediction(g, said):
        seen.append(json.loads(kept.read_text())["predictions"])
        if said == "more":
            raise checking.Surprise("it is less.")
        return "it is less."

    a_prediction(lambda: "much")
    assert "choose one of" in capsys.readouterr().out and not seen and not kept.exists()
    a_prediction(lambda: "more")
    assert capsys.readouterr().out == "Written down: 'more'.\na surprise: it is less.\n"
    assert seen == [{"a_prediction": "more"}] and checks.passed("a_prediction")
    a_prediction(lambda: "less")
    assert "what counts is your first prediction, 'more'" in capsys.readouterr().out
    assert json.loads(kept.read_text())["predictions"] == {"a_prediction": "more"}


def test_a_cell_goes_on_from_what_passes_now_and_not_from_what_once_did(trial, kept, monkeypatch, capsys):
    @trial("99", "A trial")
    def a_trial(g, answer):
        if checking.ask(answer) != 1:
            raise checking.Wrong("It is no 1.")
        return "it is 1."

    def goes_on() -> bool:
        capsys.readouterr()
        held, said = checks.passed("a_trial"), capsys.readouterr().out
        assert held == (said == "") and (held or said.startswith("Empty until checks.a_trial has passed"))
        return held

    def stub():
        raise NotImplementedError("return 1")

    assert not goes_on()
    a_trial(lambda: 1)
    assert goes_on()
    for later in (lambda: 2, stub):
        a_trial(later)
        assert not goes_on()
        a_trial(lambda: 1)
        assert goes_on()
    forget(monkeypatch)
    a_trial(stub)
    assert not goes_on() and json.loads(kept.read_text())["passed"] == ["a_trial"]
    checks.progress("99")
    assert "1 of 1 passed" in capsys.readouterr().out, "what was passed stays in the table"


def test_progress_goes_from_one_kernel_to_the_next(kept, monkeypatch, capsys):
    first, second = NAMES[:2]
    for name in (first, second):
        forget(monkeypatch)
        progress.note(name)
    forget(monkeypatch)
    checks.progress()
    out = capsys.readouterr().out
    assert f"passed  {progress.EXERCISES[first][1]}" in out and f"open    {progress.EXERCISES[NAMES[2]][1]}" in out
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    panel = checks.ProgressPanel()
    assert sum(done for done, _ in panel.done.values()) == 2
    assert f"2 of {len(NAMES)} exercises" in panel.message.value
    progress.note(NAMES[2])
    panel.again.click()
    assert sum(done for done, _ in panel.done.values()) == 3 and "<table>" in panel.table.value
    with pytest.raises(ValueError, match="lesson='77' has no exercises: choose one of 00"):
        checks.progress("77")


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"passed": 3, "predictions": {}}', b'{"passed": [1]}']
)
def test_a_damaged_file_is_put_aside_with_one_sentence(damage, kept, monkeypatch, capsys):
    for times in (1, 2):
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(damage)
        forget(monkeypatch)
        progress.note(NAMES[0])
        out = capsys.readouterr().out
        assert len(out.splitlines()) == 1 and f"damaged-{times}" in out
        assert kept.with_name(f"{kept.name}.damaged-{times}").read_bytes() == damage
        assert json.loads(kept.read_text()) == {"passed": [NAMES[0]], "predictions": {}}


def test_what_cannot_be_written_is_said_and_remembered(tmp_path, monkeypatch, capsys):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("MATCHLIB_PROGRESS", str(tmp_path / "a file" / ".progress.json"))
    forget(monkeypatch)
    progress.note(NAMES[0])
    assert "not kept beyond this kernel" in capsys.readouterr().out and checks.passed(NAMES[0])


def test_nothing_is_kept_under_pytest_nor_of_a_solution(tmp_path, monkeypatch):
    monkeypatch.delenv("MATCHLIB_PROGRESS", raising=False)
    assert "PYTEST_CURRENT_TEST" in os.environ and progress.place() is None
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.chdir(tmp_path)
    assert progress.place() == work.ROOT / "exercises" / ".progress.json"
    (tmp_path / "solutions").mkdir()
    monkeypatch.chdir(tmp_path / "solutions")
    assert progress.place() is None
    ignored = (work.ROOT / ".gitignore").read_text().splitlines()
    assert ".progress.json*" in ignored


def another_kernel():
    """The same module once more: its memory is its own, the file is shared."""
    spec = importlib.util.find_spec("matchlib.progress")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("write", ["note", "foresee"])
def test_two_kernels_that_pass_at_once_keep_both(write, kept, monkeypatch):
    """The second comes between the first one's reading and its writing: it must wait, and then read again."""
    kept.parent.mkdir()
    first, second = NAMES[:2]
    other = another_kernel()
    late = threading.Thread(target=getattr(other, write), args=(second, "more")[: 1 + (write == "foresee")])
    whole = progress.write_whole

    def slowly(path, content):
        late.start()
        late.join(0.3)
        whole(path, content)

    monkeypatch.setattr(progress, "write_whole", slowly)
    progress.note(first)
    late.join()
    found = json.loads(kept.read_text())
    assert [*found["passed"], *found["predictions"]] == [first, second]
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@pytest.mark.parametrize(("age", "waits"), [(0, True), (60, False)])
def test_a_lock_that_nobody_gives_back_ends_the_waiting(age, waits, kept, monkeypatch):
    kept.parent.mkdir()
    lock = kept.with_name(f"{kept.name}.lock")
    lock.touch()
    os.utime(lock, (time.time() - age,) * 2)
    naps = []
    monkeypatch.setattr(progress.time, "sleep", naps.append)
    progress.note(NAMES[0])
    assert json.loads(kept.read_text())["passed"] == NAMES[:1]
    assert len(naps) == (progress.LOOKS if waits else 1) and lock.exists() == waits
