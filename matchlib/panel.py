"""What every panel shares: controls that act, one line of words, pictures, and one thread to act in.

JupyterLab gives the events of widgets to a second thread of the kernel (a subshell), while cells run in the first.
Drawing changes matplotlib's settings for a moment and training changes weights, so neither may happen in both at once.
A panel therefore acts only in the thread where it was made: an event from elsewhere is handed to that thread's event
loop, and an action that already waits there is not queued again, so the newest value of a slider wins. Where no loop
runs (a script, a test) an action runs at once, and what it raises reaches its caller.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from threading import get_ident

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from matchlib.places import Places

WORDS = {"description_width": "initial"}  # a label is never cut short
KEPT = 50  # pictures of a place, each with its figure, of about 1 MB
FADED = "matchlib-faded"  # the class of a panel whose pictures and answers are of an earlier choice
SCALED = "max-width: max(100%, 560px)"  # a picture shrinks with the page as long as it can be read, then it scrolls
# Lines of text as close as in prose (in a widget they stand as far apart as controls do), cells for a narrow page, and
# an arrow that is seen on a dark one.
SHEET = """<style>
.matchlib-panel .widget-html-content { line-height: 1.5; overflow-x: auto }
.matchlib-panel td:last-child { min-width: 8em }
.matchlib-panel .widget-gridbox { overflow-x: auto }
.matchlib-panel .widget-gridbox .widget-html-content { overflow-x: visible; font-size: 85% }
.matchlib-panel .widget-gridbox .widget-button { padding: 0 2px; line-height: 22px }
.matchlib-faded .widget-html:not(.matchlib-message) { opacity: 0.35 }
.matchlib-faded .matchlib-message .widget-html-content::after {
  content: " What stands below answers an earlier choice." }
[data-jp-theme-light="false"] .matchlib-panel select { background-image: url("data:image/svg+xml,\
<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 18 18'>\
<path d='M5 7l4 4 4-4' fill='none' stroke='white' stroke-width='1.6'/></svg>") }
</style>"""
Action = Callable[[], None]


class Mistake(Exception):
    """A learner's mistake: its sentence is shown, and the panel keeps what it showed before."""


class Unshown(Mistake):
    """The controls ask for what cannot be shown: what was shown before is of another choice, and fades."""


class Press(widgets.Button):
    """A button whose `click()` raises what its action raises: that of ipywidgets would log it and go on."""

    def __init__(self, press: Action, description: str, tooltip: str, **rest):
        super().__init__(description=description, tooltip=tooltip, **rest)
        self.press = press

    def click(self) -> None:
        self.press()


class Shown(widgets.HTML):
    """A place for a picture, out of sight until something is shown in it.

    An <img> in HTML, and not the Image of ipywidgets 8.1: that has no alternative text, and its bytes travel in binary
    messages, which the JupyterLab that the course pins failed to read.
    """

    def __init__(self):
        super().__init__(layout=widgets.Layout(width="auto", max_width="900px", display="none", overflow="auto"))
        self.png, self.words = b"", ""
        self._places = Places()
        self._kept: dict[Hashable, tuple[Figure, bytes]] = {}

    def show(self, png: bytes, words: str) -> None:
        """Show a picture, with words for those who cannot see it, on one line whatever lines they had as a title."""
        self.png, self.words = png, " ".join(words.split())
        source = b64encode(png).decode()
        self.value = f'<img src="data:image/png;base64,{source}" alt="{escape(self.words)}" style="{SCALED}">'
        self.layout.display = None

    def draw(self, figure: Figure) -> bytes:
        """The picture of a figure, in which all stands where it did in the one before it that is like it."""
        return self._places.png(figure)

    def show_figure(self, figure: Figure) -> None:
        self.show(self.draw(figure), figure.get_suptitle())

    def show_once(self, key: Hashable, draw: Callable[[], Figure]) -> Figure:
        """Show the picture of a key, which says all that is in it: drawn once, and then kept. Return its figure."""
        if key not in self._kept:
            figure = draw()
            if len(self._kept) >= KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = figure, self.draw(figure)
        figure, png = self._kept[key]
        self.show(png, figure.get_suptitle())
        return figure

    def hide(self) -> None:
        self.layout.display = "none"


class View(widgets.VBox):
    """A panel's widgets. Where widgets do not run, such as on a printed page, this sentence stands in their place."""

    def __repr__(self) -> str:
        return "A panel: run this notebook to use it. What it shows stands on this page as well."


class Panel:
    """A view of widgets, and `figure`: what it shows now, for pages on which widgets do not run."""

    figure: Figure | None = None

    def __init__(self):
        self.message = widgets.HTML()
        self.message.add_class("matchlib-message")
        self.view = View()
        self.view.add_class("matchlib-panel")
        self._sheet = widgets.HTML(SHEET, layout=widgets.Layout(display="none"))
        self._quiet = self._answered = False
        self._waiting: set[Action] = set()
        self._thread = get_ident()
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # no loop here
            self._loop = None

    def _ipython_display_(self) -> None:
        display(self.view)

    def lay(self, *children: widgets.Widget) -> None:
        """Put these on the page, one below the other."""
        self.view.children = (*children, self._sheet)

    def close(self) -> None:
        """Take the panel off the page."""
        self.view.close()

    def say(self, words: str) -> None:
        """Show one sentence, as plain text."""
        self.message.value = escape(words, quote=False)

    def act(self, action: Action) -> None:
        """Run an action in the panel's own thread; a mistake becomes a sentence, any other exception is raised too."""
        if get_ident() != self._thread and self._loop is not None and self._loop.is_running():
            if action not in self._waiting:
                self._waiting.add(action)
                self._loop.call_soon_threadsafe(self._act_now, action)
        elif not self._quiet:
            self._act_now(action)

    def _act_now(self, action: Action) -> None:
        self._waiting.discard(action)
        try:
            action()
            self._answered = True
            self.view.remove_class(FADED)
        except Mistake as mistake:
            self.say(str(mistake))
            if isinstance(mistake, Unshown) and self._answered:
                self.view.add_class(FADED)
        except Exception as error:
            self.say(f"This did not work ({type(error).__name__}: {error}). What was shown before still stands.")
            raise

    def on_change(self, action: Action, *controls: widgets.Widget) -> None:
        """Let the action follow every new value of these controls."""
        for control in controls:
            control.observe(lambda change: self.act(action), names="value")

    def button(self, description: str, tooltip: str, action: Action, **rest) -> Press:
        return Press(lambda: self.act(action), description, tooltip, **rest)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Set controls from the panel itself, without the actions that follow a learner's hand."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def control(kind: type[widgets.Widget], description: str, tooltip: str, **rest) -> widgets.Widget:
    """A control with a label that is shown in full, and a tooltip."""
    return kind(description=description, tooltip=tooltip, style=WORDS, **rest)


def row(*children: widgets.Widget) -> widgets.Box:
    """Controls side by side, on a new line where the page is narrow."""
    return widgets.Box(children, layout=widgets.Layout(display="flex", flex_flow="row wrap", align_items="center"))


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as HTML that takes its colours from the page, light or dark."""
    cell = 'style="padding: 0 0.7em 0 0; text-align: left"'

    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag} {cell}>{escape(str(c))}</{tag}>" for c in cells) + "</tr>"

    body = "".join(line("td", r) for r in rows)
    caption = f'<caption style="text-align: left"><b>{escape(caption)}</b></caption>'
    return f"<table>{caption}<thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"
