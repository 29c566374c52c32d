"""A learner's calls in a thread of their own: stopped where they do not end, also on a busy machine; prints kept. Ours.

What is limited is what a call computes: a machine that is busy with other programs holds up the clock, and not that.
A call that waits, as in a loop that sleeps, computes nothing: it is stopped after so many looks at it. Between two
looks lies a moment, or longer where the machine is busy, as the one that looks is then held up as well.
"""

import ctypes
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, copy_context
from typing import Any, TextIO

ALL = 60.0  # seconds of computing, in all calls together
LOOKS = 1200  # at one call: a minute and more
TRIES = 500  # to stop a thread: five seconds and more
POLL = 0.05  # seconds from one look to the next
ROOM = 2000  # letters kept of what a call prints

_present: ContextVar["Watch | None"] = ContextVar("watch", default=None)


class Late(Exception):
    """A learner's code was stopped, or could not be: what to look for."""


def counted() -> AbstractContextManager[None]:
    """Around each call of a learner's function: under a watch it is timed, and its prints are kept."""
    watch = _present.get()
    return watch or nullcontext()


def own_clock() -> Callable[[], float]:
    """How long this thread has computed, in seconds, to be asked from another one.

    Where the system has no such clock, as Windows and macOS, that of the process: it runs no slower.
    """
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)


class Watch:
    """A piece of work, and `with` it each of the learner's calls in it; `limit`: seconds that one call may compute."""

    def __init__(self, limit: float):
        self.limit, self.calls, self.printed = limit, 0, ""
        self._thread, self._clock = 0, time.process_time  # of the learner's thread, which says them itself
        self._computed = 0.0  # by calls that are over
        self._began: tuple[float, float] | None = None  # of the present call, by both clocks
        self._looks = 0  # at the present call
        self._printed_at = 0  # number of the call
        self._lock = threading.Lock()  # who holds it knows that the thread, and so its clock, is still there

    def run(self, work: Callable[[], Any]) -> Any:
        """What `work()` returns or raises; Late where a call inside it does not end.

        It works in a thread of its own: this one can then always go on, in a notebook's kernel, on every system, and
        where the learner's code waits in C. A signal would need Unix, and an idle main thread.
        """
        result: dict[str, Any] = {}

        def inside() -> None:
            try:
                _present.set(self)
                self._thread, self._clock = threading.get_ident(), own_clock()
                result["value"] = work()
            except BaseException as error:
                result["error"] = error

        thread = threading.Thread(target=copy_context().run, args=(inside,), daemon=True)
        late, stopped, real = "", True, sys.stdout
        try:
            sys.stdout = Aside(real, self)
            thread.start()
            while thread.is_alive() and not late:
                thread.join(POLL)
                late = self._late()
        finally:  # also where the learner interrupts the check
            sys.stdout = real
            if thread.is_alive():
                stopped = stop(thread)
        if late:
            raise Late(late if stopped else f"{late} It could not be stopped and still runs: restart the kernel.")
        if "error" in result:
            raise result["error"]
        return result["value"]

    def __enter__(self) -> None:  # no generator: one that a stop cuts off would end later, when its thread is gone
        self.calls += 1
        with self._lock:
            self._began, self._looks = (self._clock(), time.monotonic()), 0

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._computed += self._times()[0]
            self._began = None

    def _times(self) -> tuple[float, float]:
        """Seconds since the present call began: computed, and by the clock."""
        clock = time.monotonic() - self._began[1]
        return min(self._clock() - self._began[0], clock), clock  # the process's clock counts other threads too

    def _late(self) -> str:
        """Why the present call must stop; empty while it may go on."""
        with self._lock:
            if self._began is None:
                return ""
            computed, clock = self._times()
        self._looks += 1
        not_done, look = "Your function was not done after", "look for a loop without an end"
        if computed > self.limit:
            return f"{not_done} computing for {self.limit:g} seconds: {look}."
        if self._looks > LOOKS:
            return (
                f"{not_done} {clock:.0f} seconds, of which it computed {computed:.0f}: {look} that waits. "
                "If there is none, this machine is busy: run the check again."
            )
        if self._computed + computed > ALL:
            return f"Your function has computed for {ALL:g} seconds in {self.calls} calls: make it faster."
        return ""

    def hear(self, text: str) -> bool:
        """Keep what the learner's function prints, of the last call that prints; False for the check's own prints."""
        if threading.get_ident() != self._thread or self._began is None:
            return False
        if self._printed_at != self.calls:
            self._printed_at, self.printed = self.calls, ""
        if len(self.printed) <= ROOM:
            self.printed += text
        return True

    def heard(self) -> str:
        """What the learner's function printed, once, with the number of its call."""
        if not self.printed:
            return ""
        text = self.printed.rstrip() if len(self.printed) <= ROOM else f"{self.printed[:ROOM]} ..."
        return f"Your function printed, in call {self._printed_at} of {self.calls}:\n{text}"


class Aside:
    """Standard output, but for what a learner's function prints: a check calls it often, and that is shown once.

    It knows the thread, so that code which could not be stopped prints where it always did, and changes nothing later.
    """

    def __init__(self, real: TextIO, watch: Watch):
        self._real, self._watch = real, watch

    def write(self, text: str) -> int:
        return len(text) if self._watch.hear(text) else self._real.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def stop(thread: threading.Thread) -> bool:
    """Raise SystemExit inside a thread; False where it goes on all the same.

    Many times: a loop with a bare `except:` catches what falls into its `try`, and not what falls beside it. No thread
    can be stopped while it is inside C; one there that never lets others run, as sum(itertools.count()), holds us too.
    """
    for _ in range(TRIES):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
        thread.join(0.01)
        if not thread.is_alive():
            return True
    return False
