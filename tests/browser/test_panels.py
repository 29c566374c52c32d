"""Every lesson, run from top to bottom in JupyterLab, and each of its panels used as a person would."""

import struct

import pytest
from conftest import LESSONS
from uses import USES


@pytest.fixture(scope="module")
def running(open_notebook):
    """Open a lesson and let its cells run; each is opened once."""
    opened = {}

    def run(name):
        if name not in opened:
            opened[name] = open_notebook(name)
            opened[name].run_all()
        return opened[name]

    return run


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_its_panels_answer(path, running, screenshots, request):
    lesson = running(path.name)
    chosen = [item.callspec.params.get("path") for item in request.session.items if hasattr(item, "callspec")]
    if following := [p for p in LESSONS if p > path and p in chosen]:
        running(following[0].name)  # its cells run on the other core meanwhile
    lesson.wait()
    assert lesson.complaints == []
    uses = USES[path.stem]
    assert list(lesson.panels()) == list(uses), "each panel has its use"
    for name, use in uses.items():
        panel = lesson.panel(name)
        use(panel)
        made = lesson.pictures(panel, f"{path.stem}_{name}", screenshots)
        assert all(width(picture) > 300 for picture in made)
        assert all(image.get_attribute("alt") for image in panel.locator("img").all()), "a picture without words"
    lesson.close()
    assert lesson.complaints == []


def width(picture) -> int:
    return struct.unpack(">I", picture.read_bytes()[16:20])[0]
