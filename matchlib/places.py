"""Where the axes of a panel's pictures stand: found for the first picture of a form, and kept for those like it.

From one value of a control to the next nothing then moves but what has changed; and finding the places, up to half of
the cost of a picture, is done once a form.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


@dataclass(frozen=True)
class Laid:
    """Where the axes and the texts of a figure stand, in parts of it."""

    axes: tuple[Bbox, ...]
    texts: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, figure: Figure) -> "Laid":
        boxes = tuple(ax.get_position(original=True).frozen() for ax in figure.axes)
        return cls(boxes, tuple(text.get_position() for text in figure.texts))

    def lay(self, figure: Figure) -> None:
        """Let the axes and texts of another figure stand here."""
        figure.set_layout_engine("none")
        for ax, box in zip(figure.axes, self.axes, strict=True):
            ax.set_position(box)
        for text, place in zip(figure.texts, self.texts, strict=True):
            text.set_position(place)


class Places:
    """The places of pictures, by their form."""

    def __init__(self):
        self._kept: dict[Hashable, Laid] = {}

    def png(self, figure: Figure) -> bytes:
        """The picture, laid out as the first of its form was. The figure must not have been drawn before."""
        form = _form(figure)
        if form in self._kept:
            self._kept[form].lay(figure)
            return figure._repr_png_()
        png = figure._repr_png_()
        self._kept[form] = Laid.of(figure)
        return png


def _form(figure: Figure) -> Hashable:
    """All that the places depend on: the size, the grid, and how much room the words take."""
    entries = tuple(len(legend.get_texts()) for legend in figure.legends)
    return *figure.get_size_inches(), entries, _lines(_words(figure.texts)), *map(_form_of, figure.axes)


def _form_of(ax: Axes) -> Hashable:
    around = ax.get_title("left"), ax.get_title(), ax.get_xlabel(), ax.get_ylabel()
    legend = ax.get_legend()
    beside = _words(ax.texts) + _words(legend.get_texts() if legend else ())
    at_ticks = ax.yaxis.get_major_formatter().format_ticks(ax.yaxis.get_majorticklocs())
    return ax.get_position(original=True).bounds, _lines(around), _longest(beside), _longest(at_ticks)


def _words(texts: Iterable[Text]) -> list[str]:
    return [text.get_text() for text in texts]


def _lines(words: Iterable[str]) -> tuple[int, ...]:
    return tuple(len(text.splitlines()) for text in words)


def _longest(words: Iterable) -> int:
    return max((len(str(text)) for text in words), default=0)
