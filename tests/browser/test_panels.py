"""Every lesson, run from top to bottom in JupyterLab, and each of its panels used as a person would."""

import struct

import nbformat
import pytest
from conftest import LESSONS
from uses import USES

# Those that train come first: where workers share the lessons out, none waits for the other at the end.
LONGEST_FIRST = sorted(LESSONS, key=lambda path: path.stem[:2] not in ("02", "04", "05"))


@pytest.mark.parametrize("path", LONGEST_FIRST, ids=lambda path: path.stem)
def test_a_lesson_runs_and_its_panels_answer(path, open_notebook, screenshots):
    lesson = open_notebook(path.name)
    cells = nbformat.read(path, as_version=4).cells
    asked = [i for i, cell in enumerate(cells) if cell.metadata.get("jupyter", {}).get("outputs_hidden")]
    assert lesson.folded() == asked, "what one is to predict is folded away"
    lesson.run_all()
    lesson.wait()
    assert lesson.folded() == [], "a cell that ran shows what it says"
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
