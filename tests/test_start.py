"""The README's first command opens lesson 00, from which the exercises, in another folder, can be reached."""

import json
import os
import re
import shlex
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from server_work import jupyterlab, places

ROOT = Path(__file__).resolve().parent.parent


def command() -> list[str]:
    """What the README tells a learner to type behind `jupyter lab`."""
    (line,) = re.findall(r"^.*&& jupyter lab (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    return shlex.split(line)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """What the server of that command says of itself, and the page by which it would open a browser."""
    home = tmp_path_factory.mktemp("start")
    with jupyterlab(home, ROOT, *command()) as told:
        (page,) = Path(places(home)["JUPYTER_RUNTIME_DIR"]).glob("*file-to-run*-open.html")
        yield told, page.read_text()


def test_the_command_opens_lesson_00(started):
    assert "/tree/course/00_start_here.ipynb" in started[1]


@pytest.mark.parametrize("lesson", sorted(p.name for p in (ROOT / "course").glob("*.ipynb")))
def test_every_link_of_a_lesson_to_a_file_leads_somewhere_on_that_server(lesson, started):
    told, _ = started
    cells = nbformat.read(ROOT / "course" / lesson, as_version=4).cells
    links = re.findall(r"\]\((?!http)([^)#\s]+)", "\n".join(c.source for c in cells if c.cell_type == "markdown"))
    assert any("exercises" in link for link in links)
    for link in links:
        path = os.path.normpath(f"course/{link}")
        with urlopen(f"{told['url']}api/contents/{path}?content=0&token={told['token']}") as answer:
            assert json.loads(answer.read())["path"] == path
