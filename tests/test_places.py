"""Pictures of a panel that are alike keep their places, and those places are right for each of them."""

import pytest
import torch
from matplotlib.layout_engine import ConstrainedLayoutEngine

from matchlib.bench import benchmarks
from matchlib.places import Laid, Places
from matchlib.plots import matching_matrices
from matchlib.style import Picture, canvas

REDRAW = benchmarks("redraw")
CHANGES = 4  # of each control
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def measured(monkeypatch):
    """The figures whose places are found from now on."""
    found, execute = [], ConstrainedLayoutEngine.execute
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda engine, figure: found.append(figure) or execute(engine, figure)
    )
    return found


def drawn(title="A title", ylim=(0, 1), entries=1, beside="", height=3.0, name="value", ratios=(2, 1), key="line 0"):
    figure, (ax, other) = canvas(height, title, cols=2, width_ratios=ratios)
    other.plot([0, 1], [0, 1], label=key)
    other.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    ax.set(ylim=ylim, ylabel=name)
    for i in range(entries):
        ax.plot([0, 1], [0, 1], label=f"line {i}")
    ax.annotate(beside, (1, 0.5), (1.03, 0.5), xycoords="axes fraction", annotation_clip=False)
    figure.legend(loc="outside lower left", ncols=1)
    return figure


def test_the_second_picture_of_a_form_is_the_one_that_a_layout_of_its_own_gives(measured):
    places, same = Places(), torch.eye(5)
    alone = matching_matrices({"layer 1": same, "layer 2": same * 3})._repr_png_()
    places.png(matching_matrices({"layer 1": same * 2, "layer 2": same.flip(0)}))
    assert len(measured) == 2
    assert places.png(matching_matrices({"layer 1": same, "layer 2": same * 3})) == alone
    assert len(measured) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"title": "A title of two lines, " * 6},
        {"ylim": (0, 10_000)},
        {"entries": 2},
        {"beside": "a note at the side"},
        {"height": 4.0},
        {"name": "a name\nof two lines"},
        {"ratios": (1, 2)},
        {"key": "a longer name"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_what_takes_other_room_is_laid_out_anew_and_then_kept_too(other, measured):
    places = Places()
    for figure in (drawn(), drawn(**other)):
        places.png(figure)
    assert len(measured) == 2
    assert Laid.of(measured[0]).axes != Laid.of(measured[1]).axes, "a form that makes no difference"
    for figure in (drawn(), drawn(**other), drawn(title="Another")):
        places.png(figure)
    assert len(measured) == 2


@pytest.mark.parametrize("name", REDRAW.PANELS)
def test_kept_places_are_those_that_each_picture_of_a_panel_would_find_for_itself(name, monkeypatch):
    off = []

    def found_anew(kept: Laid, figure: Picture) -> None:
        figure.draw_without_rendering()
        width, height = figure.get_size_inches() * figure.dpi
        for ours, own in zip(kept.axes, Laid.of(figure).axes, strict=True):
            apart = [abs(a - b) for a, b in zip(ours.extents, own.extents)]
            off.append(max(apart[0] * width, apart[1] * height, apart[2] * width, apart[3] * height))

    monkeypatch.setattr(Laid, "lay", found_anew)
    monkeypatch.setattr(Picture, "_repr_png_", lambda figure: figure.draw_without_rendering() or b"\x89PNG")
    for change in REDRAW.PANELS[name]():
        for _ in range(CHANGES):
            change.new()
    assert max(off, default=0) < 2, "in pixels"
    assert off or name == "ProgressPanel", "no two pictures are alike: this one has none"
