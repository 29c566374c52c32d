"""The README's first command opens lesson 00, from which the exercises, in another folder, can be reached."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 120  # seconds for the server to start


def command() -> list[str]:
    """What the README tells a learner to type behind `jupyter lab`."""
    (line,) = re.findall(r"^.*&& jupyter lab (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return shlex.split(line)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """The server of that command: where it answers, what it would open in a browser, and its token."""
    home = tmp_path_factory.mktemp("start")
    own = {name: str(home / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    quiet = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *quiet, *command()],
            cwd=ROOT, env=os.environ | own, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until, found = time.monotonic() + PATIENCE, None
        while found is None:
            assert time.monotonic() < until and process.poll() is None, (home / "log").read_text()[-2000:]
            time.sleep(0.1)
            for told in Path(own["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json"):
                found = json.loads(told.read_text() or "null")
        opened = next(Path(own["JUPYTER_RUNTIME_DIR"]).glob("*file-to-run*-open.html"), None)
        yield found["url"], opened.read_text() if opened else "", found["token"]
    finally:
        process.terminate()
        process.wait(timeout=60)


def test_the_command_opens_lesson_00(started):
    assert "/tree/course/00_start_here.ipynb" in started[1]


@pytest.mark.parametrize("lesson", sorted(p.name for p in (ROOT / "course").glob("*.ipynb")))
def test_every_link_of_a_lesson_to_a_file_leads_somewhere_on_that_server(lesson, started):
    url, _, token = started
    cells = nbformat.read(ROOT / "course" / lesson, as_version=4).cells
    links = re.findall(r"\]\((?!http)([^)#\s]+)", "\n".join(c.source for c in cells if c.cell_type == "markdown"))
    assert any("exercises" in link for link in links)
    for link in links:
        path = os.path.normpath(f"course/{link}")
        with urlopen(f"{url}api/contents/{path}?content=0&token={token}") as answer:
            assert json.loads(answer.read())["path"] == path
