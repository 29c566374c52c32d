"""One JupyterLab on loopback with a token, serving a copy of the lessons, and one headless Chromium to look at it."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jupyter_page import NotebookPage
from playwright.sync_api import Browser, sync_playwright
from server_work import jupyterlab

ROOT = Path(__file__).resolve().parent.parent.parent
LESSONS = sorted((ROOT / "course").glob("*.ipynb"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "these tests need Chromium: install your system's package (such as apt install chromium), "
    "or let MATCHLIB_CHROMIUM name the program"
)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
# Every kernel runs this first. What it asks of the network is refused, and written down where the tests look.
NO_NETWORK = """
import sys

def refuse(event, args, seen={seen!r}):
    if event in ("socket.connect", "socket.getaddrinfo"):
        where = args[1] if event == "socket.connect" else args
        host = where[0] if isinstance(where, tuple) else "127.0.0.1"  # a path: a socket of this machine
        if host not in ("127.0.0.1", "::1", "localhost", "", None):
            with open(seen, "a") as file:
                file.write(f"{{host}}\\n")
            raise OSError(f"no network here: {{host}}")

sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Server:
    """Where JupyterLab answers, the folder that it serves, and the file of what kernels asked of the network."""

    url: str
    token: str
    folder: Path
    asked: Path


def pytest_collection_modifyitems(items):
    """These tests come last: while Playwright runs, no other can start an event loop of its own."""
    items.sort(key=lambda item: item.path.is_relative_to(Path(__file__).parent))


def chromium() -> str | None:
    """The browser that MATCHLIB_CHROMIUM names, else the first that is in the path. None where there is none."""
    named = os.environ.get("MATCHLIB_CHROMIUM")
    if named is None:
        return next(filter(None, map(shutil.which, BROWSERS)), None)
    if found := shutil.which(named):
        return found
    raise FileNotFoundError(f"MATCHLIB_CHROMIUM={named!r} is no program: name Chromium, or leave the variable out.")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip(MISSING)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        yield started
        started.close()


@pytest.fixture(scope="session")
def server(browser, tmp_path_factory) -> Iterator[Server]:
    """JupyterLab as a learner starts it, with settings of its own; after the browser, which may be missing."""
    home = tmp_path_factory.mktemp("jupyter")
    folder, startup = home / "course", home / "ipython" / "profile_default" / "startup"
    settings = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    for place in (folder, startup, settings.parent):
        place.mkdir(parents=True)
    for path in LESSONS:
        shutil.copy(path, folder)
    settings.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # else it asks, over the first lesson
    asked = home / "asked"
    asked.touch()
    (startup / "no_network.py").write_text(NO_NETWORK.format(seen=str(asked)))
    own = {"IPYTHONDIR": str(home / "ipython"), "JUPYTERLAB_SETTINGS_DIR": str(home / "settings")}
    own |= {"JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"), "MATCHLIB_PROGRESS": str(home / "progress.json")}
    own |= {"OMP_NUM_THREADS": "1"}  # several kernels share the cores
    own |= {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # else a kernel that is restarted warns of its debugger
    with jupyterlab(home, folder, "--LabApp.expose_app_in_browser=True", **own) as told:
        yield Server(told["url"], told["token"], folder, asked)


@pytest.fixture(scope="session")
def open_notebook(browser, server) -> Iterator[Callable[[str], NotebookPage]]:
    """Open a notebook of the server's folder in a window of its own."""
    contexts = []

    def opened(path: str) -> NotebookPage:
        contexts.append(browser.new_context(viewport={"width": 1400, "height": 2000}))
        return NotebookPage(contexts[-1], server.url, server.token, path)

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory) -> Path:
    """Where pictures of the panels go: MATCHLIB_SCREENSHOTS, to look at them, or a folder of this run."""
    named = os.environ.get("MATCHLIB_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
