"""A JupyterLab of its own on loopback, for the tests that need one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

LIMIT = 180  # seconds for it to start
QUIET = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]


def places(home: Path) -> dict[str, str]:
    """The folders of a server, apart from a learner's own."""
    return {
        name: str(home / name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    }


@contextmanager
def jupyterlab(home: Path, folder: Path, *arguments: str, **settings: str) -> Iterator[dict]:
    """A server started in a folder: what it says of itself, such as url and token. It ends its kernels with it."""
    own = places(home) | settings
    with (home / "log").open("w") as log:
        command = [sys.executable, "-m", "jupyterlab", *QUIET, *arguments]
        process = subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=log, stderr=log)
    try:
        yield told(Path(own["JUPYTER_RUNTIME_DIR"]), process, home / "log")
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def told(runtime: Path, process: subprocess.Popen, log: Path) -> dict:
    """What a server says of itself, once it answers: it writes that down a moment before it listens."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and process.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            if (text := path.read_text()).rstrip().endswith("}"):
                said = json.loads(text)
                try:
                    urlopen(f"{said['url']}api", timeout=LIMIT).close()
                except URLError:  # not yet
                    continue
                return said
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start within {LIMIT} s:\n{log.read_text()[-2000:]}")
