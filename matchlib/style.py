"""How every figure looks, set once, and how it reaches the page exactly once.

Palette: Okabe and Ito, which colour-blind readers can tell apart; line styles, markers and words carry the meaning too.
The background is white and opaque with dark text, so that figures read in JupyterLab's light and dark themes. `styled`
applies fonts and sizes while a figure is drawn and puts back what stood there: importing this changes nothing.

A `Picture` is a Figure that pyplot does not know. A notebook shows it once, as the last expression of a cell or with
`display(figure)`; `plt.show()` and the end of a cell show pyplot's own figures, so it never appears twice. Nothing
keeps a list of pictures either: a panel may draw thousands, and each is freed when its last name goes.
"""

from collections.abc import Callable
from functools import wraps
from io import BytesIO
from math import ceil
from textwrap import fill
from typing import ParamSpec

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy import asarray

ORANGE, SKY, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, INK = "#0072B2", "#D55E00", "#CC79A7", "#1A1A1A"
GREY, PALE = "#6B6B6B", "#D9D9D9"
WIDTH = 9.0  # inches: a notebook's column at 100 dots an inch
SMALL = 8.5  # points: notes; the text that matters is larger

P = ParamSpec("P")

RC = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "auto", "figure.dpi": 100,
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 10, "axes.labelsize": 10, "legend.fontsize": 9,
    "figure.titlesize": 12, "figure.titleweight": "bold", "axes.titleweight": "normal", "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else each drawing looks for what stands above the axes, where nothing does
    "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": GREY, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": False, "lines.linewidth": 1.8,
    "lines.markersize": 5, "image.interpolation": "nearest", "image.origin": "upper",
}  # fmt: skip


class Picture(Figure):
    """A figure that shows itself in a notebook, also where pyplot was never imported."""

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        """The picture, and its alternative text for a page and those who cannot see it."""
        return {"image/png": self._repr_png_()}, {"image/png": {"alt": " ".join(self.get_suptitle().split())}}

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        with matplotlib.rc_context(RC):
            # savefig would draw everything twice: for the layout, and anew. Half the pressing makes it 3 % larger.
            FigureCanvasAgg(self).print_png(buffer, pil_kwargs={"compress_level": 3})
        return buffer.getvalue()


class Backdrop:
    """A figure that is drawn once: what is then put on top of its pixels costs no drawing of the rest."""

    def __init__(self, figure: Figure):
        self._figure, self._canvas = figure, FigureCanvasAgg(figure)
        with matplotlib.rc_context(RC):
            self._canvas.draw()
        self._pixels = self._canvas.copy_from_bbox(figure.bbox)

    def png_with(self, *artists: Artist) -> bytes:
        """The picture with these artists of its axes on top. They must not be drawn already."""
        self._canvas.restore_region(self._pixels)
        for artist in artists:
            self._figure.draw_artist(artist)
        buffer = BytesIO()
        imsave(buffer, asarray(self._canvas.buffer_rgba()), format="png", dpi=self._figure.dpi)
        return buffer.getvalue()


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """The function, drawing with this module's fonts and sizes whatever the reader's own settings are."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return drawn


def canvas(
    height: float, title: str, rows: int = 1, cols: int = 1, width: float = WIDTH, **grid
) -> tuple[Figure, list[Axes]]:
    """An empty picture, its size in inches, and its axes row by row."""
    figure = Picture(figsize=(width, height), layout="constrained")
    figure.suptitle(fill(title, int(9.8 * width)), x=0.01, ha="left")
    axes = list(figure.subplots(rows, cols, squeeze=False, **grid).flat)
    for ax in axes:  # ticks are made when the figure is drawn, after the settings are put back: so each is told now
        ax.tick_params(labelsize=9, colors=INK, which="both")
    return figure, axes


def columns(n: int, most: int = 4) -> int:
    """How many of `n` panels stand side by side, so that the rows are about equally full."""
    return ceil(n / ceil(n / most))


def bare(ax: Axes) -> Axes:
    """Axes without lines or ticks."""
    ax.set_axis_off()
    return ax
