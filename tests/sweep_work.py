"""What workers do in the tests of sweeps, in place of a training; run as a script, the command with slow runs."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from matchlib import __main__ as command
from matchlib import sweep
from matchlib.engines import processes, spec_of
from matchlib.ledger import Record
from matchlib.presets import RunSpec
from matchlib.record import Evaluation


def measured(spec: RunSpec, reason: str = "") -> Record:
    """A record that matches at its second evaluation, step 10, without a training."""
    history = [Evaluation(s, 1.5, 0.1, 0.2, s / 10, 0.4, (0.5, 0.6), (1.0, s / 10)) for s in (0, 10)]
    asked = (spec.preset.task, spec.preset.model, spec.preset.train, spec.seed)
    return Record.of(*asked, history, {"seconds": 6.0}, reason)


def here(specs):
    """An engine of this process, without a training."""
    for spec in specs:
        yield measured(spec)


def quick(text: str) -> str:
    return measured(spec_of(text)).line


def slow(text: str, seconds: float = 0.5) -> str:
    time.sleep(seconds)
    return quick(text)


def deadly(text: str, folder: str, deaths: dict[int, int]) -> str:
    """Kill this worker as the system's memory guard does, so often for each seed, and leave a mark each time."""
    seed = spec_of(text).seed
    marks = len(list(Path(folder).glob(f"{seed}.*")))
    if marks < deaths.get(seed, 0):
        (Path(folder) / f"{seed}.{marks}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return quick(text)


def interrupted(text: str) -> str:
    raise KeyboardInterrupt


def broken(text: str) -> str:
    raise OSError("no package here")


if __name__ == "__main__":
    from sweep_work import slow as work  # by its name, for workers do not know this script

    sweep.ENGINES["processes"] = lambda workers: partial(processes, workers=workers, work=work)
    sys.exit(command.main(sys.argv[1:]))
