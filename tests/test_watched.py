"""The watch over a learner's calls: what does not end is stopped and gone, on a busy machine a right answer is not."""

import contextlib
import gc
import io
import sys
import threading
import time

import pytest

from matchlib import watched
from matchlib.watched import Late, Watch, counted


@pytest.fixture(params=["its own clock", "the clock of the process"])
def clock(request, monkeypatch):
    """With the clock of the thread where the system has one, and as on Windows and macOS, which have none."""
    if request.param == "the clock of the process":
        monkeypatch.delattr(time, "pthread_getcpuclockid", raising=False)


def called(answer, times=1):
    """Work that calls a learner's function, as `ask` does: what an error is told as, it is told by the check."""

    def work():
        for _ in range(times):
            with counted():
                value = answer()
        return value

    return work


def endless():
    while True:
        pass


def deaf():
    while True:
        try:
            sum(range(10))
        except Exception:
            pass


def dozing():
    while True:
        time.sleep(0.01)


@pytest.mark.parametrize("answer", [endless, deaf])
def test_a_loop_without_end_is_stopped_and_gone(answer, clock):
    threads = threading.active_count()
    with pytest.raises(Late, match="after computing for 0.2 seconds: look for a loop without an end.$"):
        Watch(0.2).run(called(answer))
    assert threading.active_count() == threads


def test_a_loop_that_sleeps_is_stopped_after_so_many_looks(clock, monkeypatch):
    monkeypatch.setattr(watched, "LOOKS", 10)
    threads = threading.active_count()
    with pytest.raises(Late, match="after [0-9]+ seconds, of which it computed 0: .*run the check again.$"):
        Watch(5).run(called(dozing))
    assert threading.active_count() == threads


def test_who_waits_for_the_machine_is_not_late(clock):
    """Held up for six times the limit, by the clock; and the check's own work has no limit."""
    assert Watch(0.1).run(called(lambda: time.sleep(0.6) or "right")) == "right"
    own = time.thread_time

    def long_work():
        until = own() + 0.3
        while own() < until:
            pass
        return called(lambda: "right")()

    assert Watch(0.1).run(long_work) == "right"


def test_other_threads_that_compute_are_not_counted(monkeypatch):
    """On the clock of the process they are, and then the clock on the wall must agree."""
    monkeypatch.setattr(watched.time, "process_time", lambda: 1e3 * time.monotonic())
    monkeypatch.delattr(time, "pthread_getcpuclockid", raising=False)
    assert Watch(5).run(called(lambda: time.sleep(0.2) or "right")) == "right"


def test_calls_are_limited_one_by_one_and_then_together(clock, monkeypatch):
    def slow():
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return "right"

    assert Watch(0.3).run(called(slow, times=5)) == "right"
    monkeypatch.setattr(watched, "ALL", 0.25)
    with pytest.raises(Late, match="computed for 0.25 seconds in [345] calls"):
        Watch(5).run(called(slow, times=50))


def test_what_cannot_be_stopped_is_left_and_prints_as_ever(monkeypatch):
    monkeypatch.setattr(watched, "LOOKS", 2)
    monkeypatch.setattr(watched, "TRIES", 10)
    before, out = sys.stdout, io.StringIO()
    ended = threading.Event()

    def asleep():
        try:
            time.sleep(1.5)  # inside C, where nothing can be raised
        finally:
            ended.set()

    with contextlib.redirect_stdout(out):
        with pytest.raises(Late, match="restart the kernel"):
            Watch(5).run(called(asleep))
        print("heard")
    assert ended.wait(30) and sys.stdout is before and out.getvalue() == "heard\n"


def test_prints_are_kept_of_the_last_call_that_prints(capsys):
    numbers = iter(range(9))

    def talking():
        if (n := next(numbers)) < 7:
            print("number", n, flush=True)

    def work():
        print("by the check")
        return called(talking, times=9)()

    watch = Watch(5)
    watch.run(work)
    assert watch.heard() == "Your function printed, in call 7 of 9:\nnumber 6"
    assert capsys.readouterr().out == "by the check\n" and not isinstance(sys.stdout, watched.Aside)


def test_prints_without_end_are_cut():
    watch = Watch(0.2)
    with pytest.raises(Late):
        watch.run(called(lambda: [print("again") for _ in iter(int, 1)]))
    assert watched.ROOM < len(watch.heard()) < watched.ROOM + 100 and watch.heard().endswith(" ...")
    assert Watch(1).heard() == ""


def test_an_error_inside_comes_out():
    with pytest.raises(KeyError, match="x"):
        Watch(5).run(called(lambda: {}["x"]))


def test_without_a_watch_nothing_is_counted():
    with counted():
        assert called(lambda: 3)() == 3


def test_a_call_that_is_cut_off_leaves_nothing_to_be_run(monkeypatch):
    """A stop may fall into the counting itself: nothing of it may run later, when the thread and its clock are gone."""
    unraised, cut_off = [], []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)

    def work():
        cut_off.append(counted())
        cut_off[0].__enter__()

    def gone():
        raise OSError("this thread has ended")

    watch = Watch(5)
    watch.run(work)
    monkeypatch.setattr(watch, "_clock", gone)
    cut_off.clear()
    gc.collect()
    assert not unraised
