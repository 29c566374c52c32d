"""A JupyterLab of its own on loopback, for the tests that need one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
        told = _told(Path(own["JUPYTER_RUNTIME_DIR"]), process, home / "log")
        urlopen(f"{told['url']}api", timeout=LIMIT).close()  # it answers once all its files are written
        yield told
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _told(runtime: Path, process: subprocess.Popen, log: Path) -> dict:
    """What a server that is ready says of itself."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until and process.poll() is None:
        for path in runtime.glob("jpserver-*.json"):
            if (text := path.read_text()).rstrip().endswith("}"):
                return json.loads(text)
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab did not start within {LIMIT} s:\n{log.read_text()[-2000:]}")
