"""The tests of the lessons fail where something goes wrong: each kind of error, made on purpose, is a complaint."""

import json
import re
import struct
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import conftest
import nbformat
import pytest
from jupyter_page import SHOWS, kernel_complaints

WRONG = {
    "a widget's callback": """import ipywidgets as widgets
from IPython.display import HTML, Javascript, display
button = widgets.Button(description="press")
button.on_click(lambda pressed: 1 / 0)
box = widgets.VBox([button])
box""",
    "the console": "display(Javascript('console.error(\"said in the console\")'))",
    "stderr": "import sys\nprint('said on stderr', end='', file=sys.stderr)",  # in one piece: two may come apart
    "the network": "display(HTML('<img src=\"https://example.invalid/x.png\">'))",
    "a cell": "raise ValueError('said by a cell')",
    "after it": "print('never run')",
}


@pytest.fixture(scope="module")
def wrong(server, open_notebook):
    """A notebook in which everything goes wrong, after its cells ran and its button was pressed."""
    new = nbformat.v4
    notebook = new.new_notebook(cells=[new.new_code_cell(source) for source in WRONG.values()])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, server.folder / "wrong.ipynb")
    page = open_notebook("wrong.ipynb")
    page.run_all()
    page.wait()
    page.panel("box").get_by_role("button", name="press").click()
    while not any(complaint.startswith("widget: ") for complaint in page.complaints):
        page.page.wait_for_timeout(100)
    return page


@pytest.mark.parametrize(
    "complaint",
    ["widget: ZeroDivisionError: division by zero", "console: said in the console", "stderr: said on stderr",
     "network: https://example.invalid/x.png", "cell: ValueError: said by a cell"],
)  # fmt: skip
def test_what_goes_wrong_is_a_complaint(wrong, complaint):
    assert complaint in wrong.complaints


def message(channel: bytes, kind: str, content: dict, parent: str = "execute_request") -> bytes:
    """A message from a kernel as it comes to the page."""
    parts = [channel, *(json.dumps(x).encode() for x in ({"msg_type": kind}, {"msg_type": parent}, {}, content))]
    ends, at = [], 8 * (len(parts) + 2)
    for part in [b"", *parts]:
        at += len(part)
        ends.append(at)
    return struct.pack(f"<{len(ends) + 1}Q", len(ends), *ends) + b"".join(parts)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (message(b"iopub", "stream", {"name": "stdout", "text": "x"}), []),
        (message(b"iopub", "stream", {"name": "stderr", "text": "x"}), ["stderr: x"]),
        (message(b"iopub", "stream", {"name": "stderr", "text": "No such comm: 0ab"}), []),
        (message(b"shell", "execute_reply", {"status": "error", "ename": "E"}), []),  # told on iopub as well
        (message(b"iopub", "error", {"ename": "E", "evalue": "v"}, "comm_msg"), ["widget: E: v"]),
        ("an event", []),
    ],
)
def test_a_message_of_the_kernel_is_read_by_its_parts(frame, says):
    assert kernel_complaints(frame) == says


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("panel = AskTheModel(run)\ndisplay(panel.view)", "panel"),
        ("# why\nboard = widgets.RuleBoard(\n    models)\nboard", None),  # a call is one line
        ("board = widgets.RuleBoard(models)\nboard", "board"),
        ("figure = draw(models)\nfigure", None),
        ("panel = AskTheModel(run)", None),
    ],
)
def test_a_cell_that_shows_a_panel_is_known(source, name):
    found = SHOWS.search(source)
    assert (found and (found[1] or found[2])) == name


def test_browser_tests_come_last_and_all_else_stays_in_order():
    here = Path(conftest.__file__).parent
    paths = [
        here / "test_b.py",
        here.parent / "test_z.py",
        here / "test_a.py",
        here.parent.parent / "course" / "x.ipynb",
    ]
    items = [SimpleNamespace(path=path) for path in paths]
    conftest.pytest_collection_modifyitems(items)
    assert [item.path for item in items] == [paths[1], paths[3], paths[0], paths[2]]


class Recorded:
    """A browser that only writes down which windows are opened, and where they go."""

    def __init__(self):
        self.windows = []

    def new_context(self, **size):
        self.windows.append(Mock())
        return self.windows[-1]


def test_each_notebook_has_a_window_and_a_workspace_of_its_own():
    browser, server = Recorded(), conftest.Server("http://127.0.0.1:1/", "secret", Path(), Path())
    fixture = conftest.open_notebook.__wrapped__(browser, server)
    opened = next(fixture)
    pages = [opened(name) for name in ("a.ipynb", "a.ipynb", "b.ipynb")]
    assert len(browser.windows) == 3 and [p.page for p in pages] == [w.new_page() for w in browser.windows]
    went = [page.page.goto.call_args.args[0] for page in pages]
    found = [re.fullmatch(r"http://127.0.0.1:1/lab/workspaces/(\w+)/tree/(\w\.ipynb)\?token=secret", to) for to in went]
    assert len({match[1] for match in found}) == 3 and [match[2] for match in found] == [
        "a.ipynb",
        "a.ipynb",
        "b.ipynb",
    ]
    assert not any(window.close.called for window in browser.windows)
    assert next(fixture, None) is None and all(window.close.called for window in browser.windows)


def program(folder, name):
    """An empty program."""
    made = folder / name
    made.touch(mode=0o755)
    return str(made)


def test_a_browser_that_is_named_must_be_there(monkeypatch, tmp_path):
    monkeypatch.setenv("MATCHLIB_CHROMIUM", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none' is no program: name Chromium, or leave the variable out"):
        conftest.chromium()
    named = program(tmp_path, "mine")
    monkeypatch.setenv("MATCHLIB_CHROMIUM", named)
    assert conftest.chromium() == named


def test_without_a_name_the_browser_is_the_first_in_the_path(monkeypatch, tmp_path):
    monkeypatch.delenv("MATCHLIB_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert conftest.chromium() is None
    chrome = program(tmp_path, "google-chrome")
    assert conftest.chromium() == chrome
    chromium = program(tmp_path, "chromium")
    assert conftest.chromium() == chromium
