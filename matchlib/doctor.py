"""Is this machine ready for the course? One small check a question, each with its remedy where it fails.

Only the standard library is imported at the top: the doctor must start, and say so, where the rest is missing.
"""

import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from queue import Empty

ROOT = Path(__file__).resolve().parent.parent
INSTALL = "run 'python -m pip install -r requirements.txt' in the course's folder"
OLDEST_PYTHON = (3, 11)
MEMORY = 1.0  # GiB: a kernel that trains the `small` preset holds 0.36 GiB, and Jupyter and a browser live beside it
KERNEL_SECONDS = 30.0


@dataclass(frozen=True)
class Check:
    """What one check found: `detail` says what, `remedy` what to do where `ok` is False."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"ok   {self.name} {self.detail}" if self.ok else f"FAIL {self.name}: {self.detail}: {self.remedy}"


def python() -> Check:
    """Is this Python new enough?"""
    found, needed = (".".join(map(str, v)) for v in (sys.version_info[:3], OLDEST_PYTHON))
    remedy = f"make the environment with Python {needed} or newer, then {INSTALL}"
    return Check("python", sys.version_info[:2] >= OLDEST_PYTHON, found, remedy)


def packages() -> Check:
    """Is every package there, at its pin (a checkout's requirements.txt) or in its range (an installed matchlib)?"""
    wanted, problems = requirements(), []
    for name, relation, asked in wanted:
        try:
            found = metadata.version(name).split("+")[0]  # 2.13.0+cpu is a build of 2.13.0
        except metadata.PackageNotFoundError:
            problems.append(f"{name} is missing")
            continue
        if (relation == "==" and found != asked) or (relation == ">=" and numbers(found) < numbers(asked)):
            problems.append(f"{name} is {found} instead of {relation}{asked}")
    return Check("packages", not problems, "; ".join(problems) or f"{len(wanted)} as required", INSTALL)


def requirements(file: Path = ROOT / "requirements.txt") -> list[tuple[str, str, str]]:
    """(name, "==" or ">=" or "", version) of every package that the course needs; `-e .` is matchlib itself."""
    lines = file.read_text().splitlines() if file.is_file() else metadata.requires("matchlib") or []
    lines = ["matchlib" if line.strip() == "-e ." else line.split("#")[0].strip() for line in lines]
    found = [re.match(r"([\w.-]+)\s*(==|>=|)\s*([\w.]*)", line) for line in lines if line]
    return [(match[1], match[2], match[3]) for match in found if match]


def numbers(version: str) -> tuple[int, ...]:
    """2.13.0 as (2, 13, 0), to compare by size."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def device() -> Check:
    """Does torch compute on the device that trainings choose by default?"""
    import torch

    where = "cuda" if torch.cuda.is_available() else "cpu"
    ones = torch.ones(8, 8, device=where)
    right = (ones @ ones).sum().item() == 512.0
    label = torch.cuda.get_device_name() if where == "cuda" else where
    remedy = "install the build of torch for this machine that pytorch.org/get-started names"
    wrong = "" if right else " multiplies matrices wrongly"
    return Check("torch", right, f"{torch.__version__.split('+')[0]}, {label}{wrong}", remedy)


def memory() -> Check:
    """Is there room for a notebook that trains?"""
    import psutil

    free = psutil.virtual_memory().available / 2**30
    detail = f"{free:.1f} GiB available" + (
        "" if free >= MEMORY else f" of the {MEMORY:.1f} GiB that a lesson may need"
    )
    return Check("memory", free >= MEMORY, detail, "close other programs, or shut down notebooks that still run")


def folders(places: tuple[Path, ...] | None = None) -> Check:
    """Can runs be written where the course keeps them?"""
    if places is None:
        from matchlib.runs import SHIPPED

        places = (SHIPPED,)
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place) as file:
                file.write(b"?")
        except OSError as error:
            remedy = "make the course's folder writable, free some disk space, or clone it to your own folder"
            return Check("folders", False, f"{place} cannot be written ({error.strerror})", remedy)
    return Check("folders", True, f"{', '.join(place.name for place in places)} can be written")


def kernel(name: str = "python3", code: str = "import matchlib.runs", limit: float = KERNEL_SECONDS) -> Check:
    """Does a Jupyter kernel start, and import matchlib, within `limit` seconds?"""
    from jupyter_client.kernelspec import NoSuchKernel
    from jupyter_client.manager import KernelManager

    deadline = time.monotonic() + limit
    manager = KernelManager(kernel_name=name)
    try:
        manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except NoSuchKernel:
        remedy = f"{INSTALL}, then 'python -m ipykernel install --sys-prefix'"
        return Check("kernel", False, f"Jupyter knows no kernel {name}", remedy)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=limit)
        message = client.execute(code)
        reply = {}
        while reply.get("parent_header", {}).get("msg_id") != message:
            reply = client.get_shell_msg(timeout=max(0.0, deadline - time.monotonic()))
        content = reply["content"]
    except (RuntimeError, Empty, TimeoutError) as error:
        detail = f"{name} does not answer within {limit:g} s ({str(error) or 'no reply'})"
        return Check("kernel", False, detail, "close other programs and try again; if it stays so, " + INSTALL)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    if content["status"] != "ok":
        detail = f"{name} starts but cannot run '{code}' ({content['ename']}: {content['evalue']})"
        remedy = "start Jupyter from the environment of the course: activate it, then " + INSTALL
        return Check("kernel", False, detail, remedy)
    return Check("kernel", True, f"{name} starts and imports matchlib")


def training(steps: int = 5) -> Check:
    """Do a few steps of the `tiny` preset give a loss that is a number?"""
    from matchlib.presets import preset
    from matchlib.train import TrainState, fit

    tiny = preset("tiny")
    state = TrainState.new(tiny.task, tiny.model, replace(tiny.train, steps=steps), seed=0)
    losses = [step.loss.item() for step in fit(state)]
    finite = len(losses) == steps and all(map(math.isfinite, losses))
    remedy = "reinstall torch with the build for this machine that pytorch.org/get-started names"
    return Check("training", finite, f"{steps} steps, last loss {losses[-1]:.2f}", remedy)


CHECKS: tuple[Callable[[], Check], ...] = (python, packages, device, memory, folders, kernel, training)


def diagnose(checks: tuple[Callable[[], Check], ...] = CHECKS) -> Iterator[Check]:
    """The result of every check, in order. A check that cannot even run is a failure with its reason."""
    for check in checks:
        try:
            yield check()
        except Exception as error:  # a broken environment may raise anything, and the other checks must still run
            reason = (str(error).splitlines() or ["no reason given"])[0]
            yield Check(check.__name__, False, f"{type(error).__name__}: {reason}", INSTALL)
