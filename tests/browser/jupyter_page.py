"""A notebook in JupyterLab as a browser shows it: run its cells, find its panels, and hear every complaint on the way.

What counts as a complaint: an error in the browser's console or on the page, an error that the kernel reports (of a
cell, or of a widget's callback, which no cell shows), words on stderr, and a request to anywhere but this machine.
"""

import json
import re
from pathlib import Path
from struct import unpack_from
from urllib.parse import urlsplit
from uuid import uuid4

from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, WebSocket, expect

PATIENCE, CELLS = 180_000, 1_200_000  # milliseconds for one wait, and for all cells: a busy machine is no failure
OFTEN = 300  # milliseconds between two looks; a page that is not in front has no frames to look at
NOTEBOOK = "window.jupyterapp?.shell.currentWidget"
READY = f"{NOTEBOOK}?.context?.isReady && {NOTEBOOK}.sessionContext.session?.kernel?.status == 'idle'"
CODE = f"[...{NOTEBOOK}.content.model.cells].filter(cell => cell.type == 'code' && cell.sharedModel.source.trim())"
# Done: every cell ran and none waits; or one raised, and those after it were not run.
ENDED = f"""() => {{
    const cells = {CODE};
    const raised = cells.some(c => c.sharedModel.outputs.some(o => o.output_type == 'error'));
    return cells.every(c => c.executionState == 'idle') && (raised || cells.every(c => c.executionCount));
}}"""
# A cell that shows a panel: display(panel.view), or panel = RuleBoard(...) with panel as its last line.
SHOWS = re.compile(r"\bdisplay\((\w+)\.view\)|^(\w+) = (?:\w+\.)?[A-Z]\w*\(.*\)\n\2\Z", re.MULTILINE)
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
expect.set_options(timeout=PATIENCE)


class NotebookPage:
    """One notebook of a server, alone in a browser's window. `complaints` grows while it is used."""

    def __init__(self, context: BrowserContext, url: str, token: str, path: str):
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._hear_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page: {error}"))
        self.page.on("request", lambda request: self._hear_request(request.url))
        self.page.on("websocket", self._hear_kernel)
        # In a workspace of its own: windows that share one also open each other's notebooks.
        self.page.goto(f"{url}lab/workspaces/{uuid4().hex}/tree/{path}?token={token}")

    def _hear_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            where = f" ({message.location['url']})" if message.text.startswith("Failed to load") else ""
            self.complaints.append(f"console: {message.text}{where}")

    def _hear_request(self, url: str) -> None:
        where = urlsplit(url)
        if where.scheme not in ("data", "blob") and where.hostname != "127.0.0.1":
            self.complaints.append(f"network: {url}")

    def _hear_kernel(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self.complaints.extend(kernel_complaints(frame)))

    def run_all(self) -> None:
        """Run every cell by the menu; `wait` waits for the end."""
        self.page.wait_for_function(READY, polling=OFTEN)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def wait(self) -> None:
        self.page.wait_for_function(ENDED, polling=OFTEN, timeout=CELLS)
        self.page.bring_to_front()

    def folded(self) -> list[int]:
        """The places of the cells whose output is folded away."""
        self.page.wait_for_function(READY, polling=OFTEN)
        cells = f"{NOTEBOOK}.content.widgets"
        return self.page.evaluate(f"[...{cells}.keys()].filter(place => {cells}[place].outputHidden)")

    def panels(self) -> dict[str, int]:
        """The panels that the notebook shows, by the names of its cells, and the place of each cell."""
        sources = self.page.evaluate(f"[...{NOTEBOOK}.content.model.cells].map(cell => cell.sharedModel.source)")
        return {found[1] or found[2]: i for i, source in enumerate(sources) if (found := SHOWS.search(source))}

    def panel(self, name: str) -> Locator:
        """A panel, scrolled into view."""
        place = self.panels()[name]
        self.page.evaluate(f"{NOTEBOOK}.content.scrollToItem({place}, 'start')")
        cell = self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{place}"]')
        panel = cell.locator(".jp-OutputArea-output .widget-vbox").first
        expect(panel).to_be_visible()
        return panel

    def pictures(self, panel: Locator, name: str, folder: Path) -> list[Path]:
        """Screenshots of a panel at two widths in both themes, the last one wide and light as it was."""
        made = []
        for theme, width in ((LIGHT, 800), (DARK, 800), (DARK, 1400), (LIGHT, 1400)):
            dark = theme == DARK
            self.page.evaluate(f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: '{theme}'}})")
            expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", str(not dark).lower())
            self.page.set_viewport_size({"width": width, "height": 3000})
            made.append(folder / f"{name}_{width}_{'dark' if dark else 'light'}.png")
            panel.screenshot(path=made[-1], animations="disabled")
        return made

    def close(self) -> None:
        """Shut the window and the kernel behind it."""
        self.page.evaluate(f"{NOTEBOOK}?.sessionContext?.shutdown()")
        self.page.close()


def kernel_complaints(frame: bytes | str) -> list[str]:
    """What a message from the kernel complains of. JupyterLab's protocol: a count, offsets, and the parts between."""
    if isinstance(frame, str):
        return []  # events of the server, not of a kernel
    at = unpack_from(f"<{unpack_from('<Q', frame)[0]}Q", frame, 8)
    channel, header, parent, _, content = (frame[start:end] for start, end in zip(at[:5], at[1:6]))
    kind = json.loads(header)["msg_type"]
    if channel != b"iopub" or kind not in ("error", "stream"):
        return []
    said = json.loads(content)
    if kind == "error":
        of = "cell" if json.loads(parent).get("msg_type") == "execute_request" else "widget"
        return [f"{of}: {said['ename']}: {said['evalue']}"]
    # Before ipywidgets is imported the page asks the kernel for widgets of committed outputs, which are gone; it copes.
    asked_too_early = said["text"].startswith(("No such comm: ", "No such comm target registered: jupyter.widget"))
    return [f"stderr: {said['text']}"] if said["name"] == "stderr" and not asked_too_early else []
