"""The machinery of the checks: who is stopped, how an answer is read, fresh inputs, and whose error it is."""

import threading
import time

import numpy as np
import pytest
import torch

from matchlib import checking
from matchlib.checking import Wrong, chain, number, one_of, tensor, truth, whole, wholes


def endless(*given):
    while True:
        pass


def test_a_loop_without_end_is_told(trial, monkeypatch):
    monkeypatch.setattr(checking, "LIMIT", 0.3)

    @trial("99", "A trial")
    def a_trial(g, answer):
        return number(checking.ask(answer), "Your number")

    outcome = a_trial.judge(endless)
    assert outcome.state == "wrong" and "a loop without an end" in outcome.said and "restart" not in outcome.said


def test_a_machine_that_is_busy_rejects_nobody(trial, monkeypatch):
    """Neither who waits for it, nor a check that works for long itself, nor one that reveals what was predicted."""
    monkeypatch.setattr(checking, "LIMIT", 0.1)

    def busy():
        until = time.thread_time() + 0.3
        while time.thread_time() < until:
            pass

    @trial("99", "A trial")
    def a_trial(g, answer):
        busy()
        return checking.ask(answer)

    @trial("99", "Another", choices=("yes", "no"))
    def another(g, said):
        busy()
        return "so it is."

    assert a_trial.judge(lambda: time.sleep(0.5) or "on").said == "passed: on"
    assert another.judge(lambda: "yes").state == "passed"
    assert "a loop without an end" in another.judge(endless).said


def test_what_a_function_prints_is_shown_once(trial, capsys):
    @trial("99", "A trial")
    def a_trial(g, answer):
        return f"{sum(checking.ask(answer, n) for n in range(25))} in all."

    a_trial(lambda n: print("I got", n) or n)
    assert capsys.readouterr().out == "Your function printed, in call 25 of 25:\nI got 24\npassed: 300 in all.\n"
    a_trial(lambda n: n)
    assert capsys.readouterr().out == "passed: 300 in all.\n"


def test_a_prediction_that_is_changed_says_which_one_counts(trial):
    @trial("99", "A trial", choices=("up", "down"))
    def a_trial(g, said):
        return "it stays."

    assert a_trial.judge(lambda: " Up\n").said == "Written down: 'up'.\npassed: it stays."
    changed = a_trial.judge(lambda: "down").said
    assert changed == "You now say 'down'; what counts is your first prediction, 'up'.\npassed: it stays."


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


def third(row):
    """A line of words, which counts."""
    return row[3]


def in_a_helper(row):
    def helper():
        return [x.no_such for x in row]

    return helper()


def test_the_learners_line_is_named():
    with pytest.raises(Wrong, match=r"IndexError: .* out of range \(line 3 of your function: return row\[3\]\)"):
        checking.ask(third, [1, 2])
    with pytest.raises(Wrong, match=r"\(line 2 of helper: return \[x.no_such"):
        checking.ask(in_a_helper, [1, 2])
    with pytest.raises(Wrong, match=r"\(line 1 of your function: checking.ask\(lambda x: x \+ unknown"):
        checking.ask(lambda x: x + unknown, 1)  # noqa: F821
    with pytest.raises(Wrong, match="takes 1 positional argument but 2 were given.$"):
        checking.ask(lambda x: x, 1, 2)


def test_a_line_is_named_also_where_its_text_is_not_kept():
    names = {}
    exec("def answer(x):\n    y = 1\n    return torch.zeros(2) @ y", {"torch": torch}, names)
    with pytest.raises(Wrong, match=r"TypeError: .* \(line 3 of your function\)"):
        checking.ask(names["answer"], 1)


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
    (wholes, ([[1], [2]],), "one row"), (wholes, ([1, 2.5],), "is 2.5"), (wholes, ("ab",), "'ab': return a list"),
    (wholes, (["1", "2"],), "a list of 2: return a list"), (wholes, ([{}],), "cannot be read"),
    (chain, ((1, 2, 3, 4, 5, 6, 50),), [1, 2, 3, 4, 5, 6, 50]), (chain, ([1, 2],), "has 2 tokens: six edges"),
    (chain, ([1, 2, 3, 0, 5, 6, 50],), r"holds 0: x % 50"), (chain, ([1, 2, 3, 51, 5, 6, 50],), "holds 51, and tokens"),
    (chain, ([1, 2, 3, 2, 5, 6, 50],), "holds 2 twice"),
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
