"""What is passed is kept, over kernels and damage; a prediction is written down before it is revealed."""

import json
import os

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
    assert "Your first prediction stays: 'more'" in capsys.readouterr().out
    assert json.loads(kept.read_text())["predictions"] == {"a_prediction": "more"}


def test_progress_goes_from_one_kernel_to_the_next(kept, monkeypatch, capsys):
    first, second = NAMES[:2]
    for name in (first, second):
        forget(monkeypatch)
        progress.note(name)
    forget(monkeypatch)
    assert checks.passed(first) and checks.passed(second) and not checks.passed(NAMES[2])
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
