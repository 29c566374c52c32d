"""A lesson as a page of HTML, as `jupyter nbconvert --to html` makes it: for readers who have no Jupyter.

Widgets do not run there, so each picture must have arrived, and each must have words of its own. It brings its title as
an alternative text, which few programs read to those who cannot see it (nbconvert does with its classic template, and
JupyterLab does not); so the prose and the numbers beside it are its words too.
"""

import re
import struct
from base64 import b64decode, b64encode
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter

LESSONS = sorted((Path(__file__).resolve().parent.parent / "course").glob("*.ipynb"))
PNG = "data:image/png;base64,"


class Page(HTMLParser):
    """What a page shows, in order: ("picture", its data) and ("words", a text); code is neither."""

    def __init__(self, html: str):
        super().__init__()
        self.shown: list[tuple[str, str]] = []
        self._depth, self._hidden = 0, None  # depth of the code, script or style that is left out, where we are in one
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "img":
            self.shown.append(("picture", attrs["src"]))
        elif tag in ("div", "script", "style", "head"):
            self._depth += 1
            if self._hidden is None and (tag != "div" or "jp-CodeMirrorEditor" in (attrs.get("class") or "")):
                self._hidden = self._depth

    def handle_endtag(self, tag):
        if tag in ("div", "script", "style", "head"):
            if self._hidden == self._depth:
                self._hidden = None
            self._depth -= 1

    def handle_data(self, data):
        if self._hidden is None and (words := data.strip()):
            self.shown.append(("words", words))


def complaints(notebook) -> list[str]:
    """What is wrong with a notebook's page, as one sentence each."""
    page = Page(HTMLExporter().from_notebook_node(notebook)[0])
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    drawings = [output for output in outputs if "image/png" in output.get("data", {})]
    drawn = len(drawings)
    pictures = [what for kind, what in page.shown if kind == "picture"]
    found = [] if len(pictures) == drawn else [f"it shows {len(pictures)} pictures, and the cells draw {drawn}."]
    for number, source in enumerate(pictures, start=1):
        head = b64decode(source.removeprefix(PNG))[:24]
        if not head.startswith(b"\x89PNG") or min(struct.unpack(">II", head[16:])) < 100:
            found.append(f"picture {number} is no picture of a size to read.")
    alt = [drawing.metadata.get("image/png", {}).get("alt") for drawing in drawings]
    found += [f"picture {n} has no text to stand in its place." for n, words in enumerate(alt, 1) if not words]
    # Between two pictures, and after the last, something is said.
    found += [f"picture {n} stands without words." for n, words in enumerate(told(page), 1) if len(words.split()) < 5]
    text = " ".join(what for kind, what in page.shown if kind == "words")
    for what in ("Traceback (most recent", "Error displaying widget", "Loading widget", "VBox("):
        found += [f"it says {what!r}."] if what in text else []
    headings = [line for c in notebook.cells if c.cell_type == "markdown" for line in c.source.splitlines()]
    for line in (line.lstrip("# ") for line in headings if re.match("#{1,3} ", line)):
        plain = re.sub(r"[*_`$\\]", "", line)
        if "$" not in line and plain not in text.replace("  ", " "):
            found.append(f"its heading {plain!r} is missing.")
    return found


def told(page: Page) -> list[str]:
    """The words after each picture, up to the next."""
    parts: list[list[str]] = []
    for kind, what in page.shown:
        if kind == "picture":
            parts.append([])
        elif parts:
            parts[-1].append(what)
    return [" ".join(part) for part in parts]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_lesson_is_a_whole_page_of_html(path):
    assert complaints(nbformat.read(path, as_version=4)) == []


def png(width: int, height: int) -> str:
    """The beginning of a picture of this size, as a notebook holds it."""
    return b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)).decode()


def lesson(
    picture: str = png(900, 300), times: int = 1, after: str = "The curve rises after step nine hundred.", alt="A rise"
):
    """A small lesson: a picture, and its words."""
    new = nbformat.v4
    data = {"image/png": picture, "text/plain": "<Picture>"}
    output = new.new_output("display_data", data=data, metadata={"image/png": {"alt": alt}} if alt else {})
    code = new.new_code_cell("draw()", outputs=[output] * times)
    cells = [new.new_markdown_cell("# When *does* it form?"), code, new.new_markdown_cell(after)]
    return new.new_notebook(cells=cells)


def test_a_page_that_lacks_something_gets_its_complaint():
    assert complaints(lesson()) == []
    assert complaints(lesson(after="")) == ["picture 1 stands without words."]
    assert complaints(lesson(times=2)) == ["picture 1 stands without words."]
    assert complaints(lesson(picture=png(1, 1))) == ["picture 1 is no picture of a size to read."]
    assert complaints(lesson(alt="")) == ["picture 1 has no text to stand in its place."]
    raised = complaints(lesson(after="Traceback (most recent call last): it failed."))
    assert raised == ["it says 'Traceback (most recent'."]


def test_a_page_that_lost_a_picture_or_a_heading_is_seen(monkeypatch):
    made = HTMLExporter.from_notebook_node

    def lost(self, notebook):
        html, resources = made(self, notebook)
        return html.replace("<img", "<b").replace("When", "Then"), resources

    monkeypatch.setattr(HTMLExporter, "from_notebook_node", lost)
    found = complaints(lesson())
    assert "it shows 0 pictures, and the cells draw 1." in found
    assert "its heading 'When does it form?' is missing." in found
