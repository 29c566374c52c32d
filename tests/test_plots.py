"""What the figures hold: artists, widths, labels and the numbers in their titles. Pixels are not compared."""

import gc
import weakref
from dataclasses import replace

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from matchlib import plots
from matchlib.data import ChainTask
from matchlib.record import Evaluation


def history(test=(0.0, 0.2, 0.15, 0.8, 1.0), every=100, layers=2):
    """Test accuracy as given; argmax scores the same, a layer later by one evaluation."""
    late = [(0.0,) * k + tuple(test[: len(test) - k]) for k in range(layers)]
    return [
        Evaluation(i * every, 1.0, 0.9, 0.8, t, 0.7, tuple(s[i] for s in late), tuple(s[i] for s in late))
        for i, t in enumerate(test)
    ]


def drawn(figure: Figure) -> Figure:
    """The figure, once it has been laid out and drawn without a complaint."""
    figure.draw_without_rendering()
    return figure


def texts(ax) -> list[str]:
    return [t.get_text() for t in ax.texts]


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def labelled(ax) -> dict:
    return {line.get_label(): line for line in ax.lines}


def test_transition_is_the_end_of_the_steepest_rise():
    rise = (0.0,) + (0.2,) * 8 + (0.3, 0.7, 0.95) + (1.0,) * 8
    assert plots.transition(history(rise)) == 1000
    assert plots.transition(list(reversed(history(rise)))) == 1000


@pytest.mark.parametrize(
    "test",
    [
        (0.2,) * 20,
        (0.0, *(0.2, 0.18, 0.22) * 6),
        [i / 40 for i in range(40)],
        [1 - i / 20 for i in range(20)],
        [0.9],
        [],
    ],
    ids=["flat", "a first climb to a baseline", "a slow climb", "a fall", "one evaluation", "none"],
)
def test_no_transition_is_marked_where_there_is_no_jump(test):
    assert plots.transition(history(test)) is None
    if len(test):
        for figure in (plots.training_curves(history(test)), plots.score_and_accuracy(history(test))):
            assert not any("_transition" in labelled(ax) for ax in figure.axes)
            assert "jumps" not in title(figure)


def test_training_curves_hold_the_history_the_baselines_and_the_transition():
    past = history()
    figure = drawn(plots.training_curves(past, {"chain end": 0.2, "context token": 1 / 7}))
    above, below = figure.axes
    curves = labelled(above)
    for name in ("fit", "train", "test", "ood"):
        line = next(line for label, line in curves.items() if label.startswith(name))
        assert list(line.get_ydata()) == [getattr(e, name) for e in past]
        assert list(line.get_xdata()) == [e.step for e in past]
    looks = {(line.get_linestyle(), line.get_marker()) for label, line in curves.items() if label[0] != "_"}
    assert len(looks) == 4, "curves differ in more than colour"
    assert curves["_chain end"].get_ydata()[0] == 0.2 and curves["_chain end"].is_dashed()
    assert {"chain end 0.20", "context token 0.14", "step 300"} <= set(texts(above))
    assert all(labelled(ax)["_transition"].get_xdata()[0] == 300 for ax in (above, below))
    assert [list(labelled(below)[f"layer {k + 1}"].get_ydata()) for k in (0, 1)] == [
        [e.argmax[k] for e in past] for k in (0, 1)
    ]
    assert title(figure) == "Test accuracy jumps near step 300; it is 1.000 at step 400"
    assert title(plots.training_curves(past, title="Mine")) == "Mine"


def test_names_of_equal_baselines_do_not_overlap():
    figure = drawn(plots.training_curves(history(), ChainTask().baselines("test")))
    names = [t for t in figure.axes[0].texts if not t.get_text().startswith("step")]
    boxes = sorted((Text.get_window_extent(t) for t in names), key=lambda b: b.y0)  # the words without their line
    assert len(boxes) == 5 and all(a.y1 <= b.y0 for a, b in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize("layers", [0, 1, 4, 5])
def test_curves_of_any_depth(layers):
    past = history(layers=layers)
    assert len(drawn(plots.training_curves(past)).axes) == (2 if layers else 1)
    figure = drawn(plots.score_and_accuracy(past))
    assert sum(label[0] != "_" for label in labelled(figure.axes[0])) == 1 + layers


def test_score_and_accuracy_says_when_each_reaches_a_half():
    figure = plots.score_and_accuracy(history())
    assert title(figure) == "First at 0.5: test accuracy, step 300; layer 1, step 300; layer 2, step 400"
    never = plots.score_and_accuracy([replace(e, argmax=(0.0, 0.1)) for e in history()])
    assert title(never).endswith("layer 1, never; layer 2, never")


def test_an_empty_history_is_refused():
    for draw in (plots.training_curves, plots.score_and_accuracy):
        with pytest.raises(ValueError, match="at least one"):
            draw([])


def test_seed_spread_draws_median_and_band_over_the_steps_in_common():
    seeds = [history((0.0, 0.1, 1.0)), history((0.0, 0.4, 0.9)), history((0.2, 0.5, 0.8, 0.7))]
    figure = drawn(plots.seed_spread({"post": seeds, "pre": [history((0.0, 0.1, 0.2))]}))
    post, pre = figure.axes
    median = labelled(post)["median"]
    assert list(median.get_xdata()) == [0, 100, 200]
    assert list(median.get_ydata()) == pytest.approx([0.0, 0.4, 0.9])
    each = [list(line.get_ydata()) for line in post.lines if line is not median]
    assert each == [[0.0, 0.1, 1.0], [0.0, 0.4, 0.9], [0.2, 0.5, 0.8]]
    band = post.collections[0].get_paths()[0].vertices
    at_100 = band[band[:, 0] == 100][:, 1]
    assert (at_100.min(), at_100.max()) == pytest.approx((0.1, 0.5))
    assert post.get_title(loc="left") == "post\n3 seeds: 0.800 to 1.000"
    assert pre.get_title(loc="left") == "pre\n1 seed: 0.200 to 0.200"
    assert title(figure) == "Median test accuracy at the end: from 0.200 (pre) to 0.900 (post)"


def test_seed_spread_refuses_labels_without_data():
    for wrong in ({}, {"a": []}, {"a": [[]]}, {"a": [history()[:1], history()[1:]]}):
        with pytest.raises(ValueError, match="history|step in common"):
            plots.seed_spread(wrong)


def test_matching_matrices_state_the_score_and_dot_each_row_where_it_is_largest():
    half = torch.eye(4)
    half[0, 3] = half[1, 3] = 2.0
    figure = drawn(plots.matching_matrices({"layer 1": torch.eye(4), "layer 2": half}, [11, 12, 13, 14]))
    maps = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in maps] == ["layer 1\nargmax score 1.000", "layer 2\nargmax score 0.500"]
    assert [list(ax.lines[0].get_xdata()) for ax in maps] == [[0, 1, 2, 3], [3, 3, 2, 3]]
    assert title(figure) == "The diagonal wins its row: 100 % (layer 1), 50 % (layer 2)"
    assert [t.get_text() for t in maps[0].get_xticklabels()] == ["11", "12", "13", "14"]
    assert maps[0].get_ylabel() == "query token" and maps[0].get_xlabel() == "key token"


def test_without_labels_the_rows_are_vectors_counted_from_one():
    (ax,) = (ax for ax in drawn(plots.matching_matrices({"layer 1": torch.eye(3)})).axes if ax.images)
    assert [t.get_text() for t in ax.get_xticklabels()] == [t.get_text() for t in ax.get_yticklabels()] == list("123")
    assert ax.get_ylabel() == "query vector" and ax.get_xlabel() == "key vector"


@pytest.mark.parametrize(
    ("most", "power", "says"),
    [(30_000, 4, "entry, in units of 10⁴"), (1_000, 3, "entry, in units of 10³"), (999, 0, "entry"),
     (0.011, 0, "entry"), (0.0099, -3, "entry, in units of 10⁻³"),
     (3e-12, -12, "entry, in units of 10⁻¹²")],
)  # fmt: skip
def test_the_scale_of_a_heat_map_says_its_power_of_ten_once(most, power, says):
    bar = drawn(plots.kernels({"a": -torch.eye(4) * most})).axes[1]
    assert bar.get_xlabel() == says
    said = [t.get_text() for t in bar.get_xticklabels()]
    assert said[0].startswith("−"), "a minus sign, as elsewhere"
    numbers = [float(words.replace("−", "-")) for words in said]
    assert numbers == pytest.approx([tick / 10**power for tick in bar.get_xticks()])


def test_kernels_state_the_trace_and_centre_the_colours_on_zero():
    parts = {"kernel": torch.eye(4) * 3, "factor": torch.ones(4, 4).triu(1)}
    figure = drawn(plots.kernels(parts))
    maps = [ax for ax in figure.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in maps] == [
        "kernel\nnormalised trace 1.00",
        "factor\nnormalised trace 0.00",
    ]
    assert [ax.images[0].get_clim() for ax in maps] == [(-3, 3), (-1, 1)]
    assert title(figure) == "Normalised trace: 1.00 for kernel, at most 0.00 in size for the rest"


@pytest.mark.parametrize("n", [1, 3, 5, 8])
def test_as_many_heat_maps_as_matrices_each_with_its_scale(n):
    figure = drawn(plots.kernels({f"part {i}": torch.randn(6, 6) for i in range(n)}))
    assert len([ax for ax in figure.axes if ax.images]) == n and len(figure.axes) == 2 * n


def test_heat_maps_refuse_what_does_not_fit():
    for draw in (plots.matching_matrices, plots.kernels):
        with pytest.raises(ValueError, match="no matrix"):
            draw({})
        with pytest.raises(ValueError, match="square"):
            draw({"a": torch.rand(2, 3)})
    with pytest.raises(ValueError, match="3 token labels for the 2 rows"):
        plots.matching_matrices({"a": torch.rand(2, 2)}, "abc")


FIGURES = {
    "chain_graph": lambda: plots.chain_graph(ChainTask("noised").sample(1, generator=torch.Generator())),
    "information_flow": lambda: plots.information_flow(
        torch.rand(3, 29, 29).softmax(-1), range(29), [(0, 1, 0)], answer=3, predicted=4
    ),
    "training_curves": lambda: plots.training_curves(history(), ChainTask().baselines("test")),
    "score_and_accuracy": lambda: plots.score_and_accuracy(history(layers=4)),
    "seed_spread": lambda: plots.seed_spread({"a": [history(), history()], "b": [history()]}),
    "matching_matrices": lambda: plots.matching_matrices({"a": torch.randn(50, 50), "b": torch.randn(50, 50)}),
    "kernels": lambda: plots.kernels({f"part {i}": torch.randn(8, 8) for i in range(5)}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_leave_nothing_behind(name):
    before = dict(matplotlib.rcParams)
    gone = [weakref.ref(FIGURES[name]()) for _ in range(3)]
    gc.collect()
    assert plt.get_fignums() == [] and [ref() for ref in gone] == [None] * 3
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_dark_on_white_and_show_themselves_whatever_the_readers_style(name):
    with plt.style.context("dark_background"):
        figure = FIGURES[name]()
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert same_color(figure.get_facecolor(), "white")
        for ax in figure.axes:
            words = [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels(), *ax.texts]
            assert all(sum(to_rgb(w.get_color())) < 1.5 for w in words)
            assert same_color(ax.get_facecolor(), "white")


def test_a_notebook_gets_each_picture_once_with_its_title_in_words():
    figure = FIGURES["seed_spread"]()
    data, metadata = InteractiveShell.instance().display_formatter.format(figure)
    assert data["image/png"].startswith(b"\x89PNG") and set(data) == {"image/png", "text/plain"}
    assert metadata["image/png"]["alt"] == title(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_titles_keep_clear_of_the_axes(name):
    figure = drawn(FIGURES[name]())
    box = figure.get_tightbbox()  # inches
    width, height = figure.get_size_inches()
    assert box.x0 > -0.05 and box.y0 > -0.05 and box.x1 < width + 0.05 and box.y1 < height + 0.05
    head = figure._suptitle.get_window_extent()
    assert all(head.y0 >= ax.get_tightbbox().y1 - 1 for ax in figure.axes)


@pytest.mark.parametrize("n", [1, 2, 4, 8])
def test_heat_maps_begin_below_their_title_and_leave_no_empty_band(n):
    figure = plots.matching_matrices({f"layer {i}": torch.eye(6) * 1e-8 for i in range(n)})
    figure.draw_without_rendering()
    title = next(text for text in figure.texts if text.get_text() == figure.get_suptitle()).get_window_extent()
    left = [ax._left_title.get_window_extent().y1 for ax in figure.axes if ax.images]
    assert 0 <= title.y0 - max(left) < 45, "in pixels, at 100 an inch"
    assert not any("e-" in ax.get_xaxis().get_offset_text().get_text() for ax in figure.axes)
