"""Where many runs are trained: processes of this machine, its GPU, or a Dask cluster. Specs in, records as they end.

A worker takes a run as one line of text and gives its record back as another: it needs this package and nothing of the
process that asked. It trains on one thread of a CPU: for models this small, more threads wait for each other.
A run that fails is a record too. So is one whose worker dies, at the second death: the first may be its neighbour's.
"""

import gc
import json
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import asdict
from multiprocessing import resource_tracker as python_tracker

import psutil
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from tqdm.auto import tqdm

from matchlib import depth, kinds
from matchlib.ensemble import can_join, fit_together
from matchlib.ledger import CONFIGS, Record, is_finite
from matchlib.presets import Preset, RunSpec
from matchlib.record import RunError, make, provenance, undivided
from matchlib.train import TrainState, fit

Engine = Callable[[Iterable[RunSpec]], Generator[Record]]  # closing it ends what runs
DIED = "Its worker process died twice, the second time alone ({how}): memory may have run out."
GIVEN_UP = "the Dask scheduler gave it up"


def text_of(spec: RunSpec) -> str:
    """A run to do, as one line of text."""
    return json.dumps({name: asdict(getattr(spec.preset, name)) for name in CONFIGS} | {"seed": spec.seed})


def spec_of(text: str) -> RunSpec:
    """The run that `text_of` wrote down."""
    asked = json.loads(text)
    return RunSpec(Preset(*(make(made, asked[name]) for name, made in CONFIGS.items())), asked["seed"])


def train_text(text: str) -> str:
    """What a worker does: train the run of a text on one thread, and return its record's line."""
    torch.set_num_threads(1)
    return train_one(spec_of(text)).line


def train_one(spec: RunSpec, device: str = "cpu") -> Record:
    """Train a run and return its record: failed, with the reason, where the training diverges or raises."""
    state, reason, probed = None, "", {}
    try:
        state = TrainState.new(*spec.parts, device)
        for step in fit(state):
            if not step.loss.isfinite() or (step.evaluation and not is_finite(step.evaluation)):
                reason = f"The training diverged at step {step.step}: its loss or scores are no longer finite."
                break
        else:
            probed = asked(state)
    except Exception as error:  # whatever a run may raise: it is that run's result, not the end of the sweep
        reason = f"The training stopped with {type(error).__name__}: {_first_line(error)}."
    if state is None:
        return failed(spec, reason)
    return Record.of(*spec.parts, state.history, state.as_run().provenance, reason, probed)


def failed(spec: RunSpec, reason: str) -> Record:
    """The record of a run that nothing came back from."""
    known = provenance(torch.device("cpu"), 0.0) | {"steps": 0}
    return Record.of(*spec.parts, [], known, reason)


def processes(specs: Iterable[RunSpec], workers: int, work: Callable[[str], str] = train_text) -> Generator[Record]:
    """Train on this machine, `workers` runs at a time, each in a process of its own with one thread.

    Where a worker dies, joblib ends all of them: what was in flight is tried again, one run at a time.
    """
    rest = iter(specs)
    config = {"backend": "loky", "initializer": end_with, "initargs": (os.getpid(),)}
    left = True
    try:
        while left:
            flying: dict[str, RunSpec] = {}
            try:
                yield from _results(rest, config, workers, work, flying)
                left = False
            except BrokenProcessPool:
                pass  # the runs that are left in `flying` say which: they come next
            for spec in flying.values():
                try:
                    yield from _results([spec], config, 1, work, {})
                except BrokenProcessPool as error:
                    yield failed(spec, DIED.format(how=_exit_codes(error)))
    finally:  # joblib would keep its workers for minutes, and their memory
        get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)
        gc.collect()  # their semaphores too: at the end of this process joblib's cleaner would race for them, and warn


def ensembles(specs: Iterable[RunSpec], members: int = 64, device: str = "auto") -> Generator[Record]:
    """Train on one GPU, up to `members` runs at a time as one: those that may join (see `matchlib.ensemble.can_join`).

    What the memory cannot hold is tried again in two halves; a run that it cannot hold alone goes on on the CPU.
    """
    waiting: dict[tuple, list[RunSpec]] = {}
    for spec in specs:
        kind = can_join(*spec.parts[:3])
        waiting.setdefault(kind, []).append(spec)
        if len(waiting[kind]) == members:
            yield from train_together(waiting.pop(kind), device)
    for group in waiting.values():
        yield from train_together(group, device)


def asked(state: TrainState) -> dict:
    """What a record keeps of a trained model beside its history, by name."""
    return kinds.examine(state) | depth.examine(state)


def train_together(group: list[RunSpec], device: str) -> Iterator[Record]:
    """Train some runs as one, and give each its record: failed, with the reason, where it diverged or could not be."""
    full = False
    try:
        states = [TrainState.new(*spec.parts, device) for spec in group]
        with tqdm(total=group[0].preset.train.steps, unit="step", leave=False, disable=None) as bar:
            for _ in fit_together(states):
                bar.update()
    except Exception as error:  # whatever one member raises stops all of them: find it by halves
        states, reason = None, f"The training stopped with {type(error).__name__}: {_first_line(error)}."
        full = isinstance(error, torch.OutOfMemoryError)
    if states:
        for spec, state in zip(group, states):
            bad = next((e.step for e in state.history if not is_finite(e)), None)
            reason = f"The training diverged by step {bad}: its loss or scores are no longer finite." if bad else ""
            known, probed = state.as_run().provenance, {} if reason else asked(state)
            yield Record.of(*spec.parts, state.history, known, reason, probed)
    elif len(group) == 1:
        yield train_one(group[0], device) if full else failed(group[0], reason)
    else:
        middle = len(group) // 2
        yield from train_together(group[:middle], device)
        yield from train_together(group[middle:], device)


def cluster(
    specs: Iterable[RunSpec], address: str, flying: int | None = None, work: Callable[[str], str] = train_text
) -> Generator[Record]:
    """Train on the workers of the Dask scheduler at `address`, e.g. tcp://127.0.0.1:8786. Raises RunError.

    flying: how many runs to hand over at a time; None hands over all of them, so that workers who join late find some.
    Dask itself repeats a run on another worker where one dies, and gives up after a few deaths; such a run is tried
    once more when it is alone.
    """
    from distributed import Client
    from distributed.comm import CommClosedError

    try:
        client = Client(address, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"dask={address!r} does not answer ({_first_line(error)}): start 'dask scheduler' there, or correct the "
            "address, which looks like tcp://HOST:8786."
        ) from None
    try:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            print(
                f"Waiting for the first worker of {address}: start one with 'dask worker {address}'.", file=sys.stderr
            )
            client.wait_for_workers(1)
        suspects = []
        for record in _results(specs, {"backend": _dask_backend(client)}, flying or "all", work, {}):
            if record.reason == DIED.format(how=GIVEN_UP):  # or a neighbour's doing that waited on the same worker
                suspects.append(RunSpec(Preset(record.task, record.model, record.train), record.seed))
            else:
                yield record
        for spec in suspects:
            yield from _results([spec], {"backend": _dask_backend(client)}, 1, work, {})
    except (CancelledError, CommClosedError) as error:
        raise RunError(
            f"The Dask scheduler at {address} went away ({type(error).__name__}): start it anew and use --resume."
        ) from None
    except RunError:
        raise
    except Exception as error:
        raise RunError(
            f"The cluster at {address} cannot train ({type(error).__name__}: {_first_line(error)}): install this "
            "package, at the same version, where its scheduler and its workers run."
        ) from error
    finally:
        client.close()


def _results(
    specs: Iterable[RunSpec], config: dict, at_once: int | str, work: Callable, flying: dict[str, RunSpec]
) -> Generator[Record]:
    """The one call of joblib. flying: filled with the runs that were handed over and have not come back."""

    def handed_over() -> Iterator:
        for spec in specs:
            flying[spec.name] = spec
            yield delayed(work)(text_of(spec))

    with parallel_config(**config):
        # Two processes at least: with one, joblib would train in this process, and a death would be the sweep's.
        jobs = max(2, at_once) if isinstance(at_once, int) else -1
        parallel = Parallel(n_jobs=jobs, pre_dispatch=at_once, batch_size=1, return_as="generator_unordered")
    lines = None
    try:
        with _out_of_reach_of_ctrl_c():
            lines = parallel(handed_over())
        for line in lines:
            record = Record.read(line)
            del flying[record.key]
            yield record
    except (GeneratorExit, KeyboardInterrupt):
        # where joblib is interrupted itself it ends its workers without a warning
        with suppress(KeyboardInterrupt):
            if lines is not None:
                lines.throw(KeyboardInterrupt)
        raise


@contextmanager
def _out_of_reach_of_ctrl_c() -> Iterator[None]:
    """Ctrl-C goes to every process of a terminal: those started in here never see it, and their parent ends them.

    They inherit that the signal is blocked; in this process it waits until the block ends.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    for tracker in (loky_tracker, python_tracker):  # started with the first worker, they would lift the block
        tracker.ensure_running()
    with undivided():  # a thread that was there before the block may still take the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(parent: int) -> None:
    """Let this worker end when its parent does, even where that was killed and could not say so."""

    def watch():
        with suppress(psutil.NoSuchProcess):
            psutil.Process(parent).wait()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dask_backend(client):
    """joblib's backend for Dask, which by itself waits for ever for a run that Dask has given up, and which leaves a
    cluster that has but one core yet to train in the process that asked."""
    from distributed import KilledWorker
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs):
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, batch, callback=None):
            def ended(job):
                error = job.exception()
                if isinstance(error, KilledWorker):
                    ((_, (text,), _),) = batch.items
                    callback([failed(spec_of(text), DIED.format(how=GIVEN_UP)).line])
                elif error is not None:
                    callback(error)

            job = super().submit(batch, callback)
            job.add_done_callback(ended)
            return job

    return Backend(client=client)


def _first_line(error: BaseException) -> str:
    """What an error says, without its full stop; torch adds pages."""
    return (str(error).strip() or "no more is known").splitlines()[0].rstrip(".:")


def _exit_codes(error: BrokenProcessPool) -> str:
    """The part of loky's long message that says how the workers ended."""
    found = re.search(r"\{(.+?)\}", str(error))
    return f"exit code {found[1]}" if found else "exit code not known"
