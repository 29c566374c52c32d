"""Every lesson, run from top to bottom in JupyterLab, and each of its panels used as a person would."""

import struct

import pytest
from conftest import LESSONS
from uses import USES


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_its_panels_answer(path, open_notebook, screenshots):
    lesson = open_notebook(path.name)
    lesson.run_all()
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
