"""The machinery of the checks: the time limit, how an answer is read, fresh inputs, and whose error it is."""

import threading
import time

import numpy as np
import pytest
import torch

from matchlib import checking
from matchlib.checking import Wrong, number, one_of, tensor, truth, whole, wholes


def endless(*given):
    while True:
        pass


def endless_and_deaf(*given):
    while True:
        try:
            sum(range(10))
        except Exception:
            pass


@pytest.mark.parametrize("answer", [endless, endless_and_deaf])
def test_a_loop_without_end_is_stopped_and_gone(answer, trial, monkeypatch):
    monkeypatch.setattr(checking, "LIMIT", 0.3)
    threads = threading.active_count()

    @trial("99", "A trial")
    def a_trial(g, answer):
        return number(checking.ask(answer), "Your number")

    before = time.perf_counter()
    outcome = a_trial.judge(answer)
    assert "a loop without an end" in outcome.said and "restart" not in outcome.said
    assert time.perf_counter() - before < 5 and threading.active_count() == threads


def test_what_cannot_be_stopped_is_left_and_said(trial, monkeypatch):
    monkeypatch.setattr(checking, "LIMIT", 0.1)
    monkeypatch.setattr(checking, "PATIENCE", 0.1)

    @trial("99", "A trial")
    def a_trial(g, answer):
        return checking.ask(answer)

    before = time.perf_counter()
    outcome = a_trial.judge(lambda: time.sleep(6))  # inside C, where nothing can be raised
    assert "restart the kernel" in outcome.said and time.perf_counter() - before < 5
    assert a_trial.judge(lambda: "on").said == "passed: on"


def test_an_interrupt_stops_the_learner_too(trial, monkeypatch):
    """Ctrl-C reaches the thread that waits."""
    seen = []
    real = threading.Thread.join

    def join(self, timeout=None):
        if not seen:
            seen.append(self)
            raise KeyboardInterrupt
        return real(self, timeout)

    @trial("99", "A trial")
    def a_trial(g, answer):
        return checking.ask(answer)

    monkeypatch.setattr(threading.Thread, "join", join)
    with pytest.raises(KeyboardInterrupt):
        a_trial.judge(endless)
    assert not seen[0].is_alive()


def test_an_error_of_the_check_itself_is_told_from_the_learners(trial):
    @trial("99", "A trial")
    def a_trial(g, answer):
        return {}[0]

    outcome = a_trial.judge(lambda: 1)
    assert outcome.state == "broken" and "not your answer" in outcome.said


def test_the_learners_line_is_named():
    with pytest.raises(Wrong, match="IndexError: list index out of range, in line .*third"):
        checking.ask(lambda x: x[3], [1, 2])  # third is not there
    with pytest.raises(Wrong, match="takes 1 positional argument but 2 were given"):
        checking.ask(lambda x: x, 1, 2)


def test_a_learner_may_change_what_it_is_given():
    x, y = torch.zeros(3), [1, 2]
    checking.ask(lambda x, y: (x.fill_(1), y.clear()), x, y)
    assert x.sum() == 0 and y == [1, 2]


def test_inputs_are_fresh_each_time(trial):
    drawn = []

    @trial("99", "A trial")
    def a_trial(g, answer):
        drawn.append(torch.rand(1, generator=g).item())
        return "fine"

    for _ in range(3):
        a_trial.judge(None)
    assert len(set(drawn)) == 3


READ = [
    (number, (torch.tensor([2.5]),), 2.5), (number, (np.float32(2.5),), 2.5), (number, (3,), 3.0),
    (number, (None,), "end with a return"), (number, (True,), "is True, and a number"), (number, (10**400,), "is inf"),
    (number, ([1.0],), "a list of 1"), (number, (torch.nan,), "is nan"), (number, ("3",), "is '3'"),
    (whole, (np.int64(4),), 4), (whole, (4.5,), "is 4.5, and a whole"), (wholes, ((1, np.int64(2)),), [1, 2]),
    (wholes, ([[1], [2]],), "one row"), (wholes, ([1, 2.5],), "is 2.5"), (wholes, ("ab",), "cannot be read"),
    (truth, (np.bool_(True),), True), (truth, (torch.tensor(False),), False), (truth, (1,), "is 1, and True or False"),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "given", "expected"), READ)
def test_what_a_learner_returns_is_read_or_refused_in_words(reader, given, expected):
    if isinstance(expected, str):
        with pytest.raises(Wrong, match=expected):
            reader(*given, "It")
    else:
        assert reader(*given, "It") == expected


def test_tensors_are_read_or_refused_in_words():
    assert tensor([[1, 2], [3, 4]], (2, 2), "It").tolist() == [[1, 2], [3, 4]]
    assert tensor(np.zeros((2, 3), np.float16), (2, 3), "It").dtype == torch.float64
    for given, said in {"x": "cannot be read", None: "end with a return"}.items():
        with pytest.raises(Wrong, match=said):
            tensor(given, (2,), "It")
    with pytest.raises(Wrong, match=r"shape \(3, 2\) where \(2, 3\) is asked. Two of its axes are swapped"):
        tensor(torch.zeros(3, 2), (2, 3), "It")
    with pytest.raises(Wrong, match="holds NaN"):
        tensor(torch.tensor([0.0, torch.nan]), (2,), "It")
    with pytest.raises(Wrong, match="choose one of 'a', 'b'"):
        one_of(["a"], ("a", "b"), "It")
