"""What the figures of lesson 07 hold: each node where the rules put it, shares, bounds, and computed titles."""

import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from matchlib.board_plot import limits
from matchlib.rules import Distribution, bounds, reach, sets
from matchlib.rules_plots import board, reach_histogram, split_by_rule, steps_against_depth
from matchlib.style import GREY, PALE, SKY, VERMILLION

pytestmark = pytest.mark.usefixtures("one_thread")
AT_3, AT_4 = Distribution((0, 0, 0, 16, 8), True), Distribution((0,) * 7 + (500, 300, 200), False)


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def lines(ax, label: str) -> list:
    return [line for line in ax.lines if line.get_label() == label]


def shaded(ax, x: int) -> dict[int, str]:
    """The rows of a column that are not white, from below: what their colour says."""
    names = {"own": GREY, "before": SKY, "new": VERMILLION}
    column = ax.images[0].get_array()[:, x]
    found = {y: [n for n, colour in names.items() if same_color(rgb, colour)] for y, rgb in enumerate(column)}
    return {y: name[0] for y, name in found.items() if name}


def digits(ax, digit: int) -> set[tuple[int, int]]:
    """Where this number stands, as (column, row): the digits are markers."""
    (line,) = lines(ax, f"_digit {digit}")
    assert line.get_marker() == f"${digit}$"
    return {tuple(map(round, at)) for at in line.get_xydata().tolist()}


def tokens(ax) -> list[str]:
    """The words right below the positions, from left to right."""
    below = {text.get_position()[0]: text.get_text() for text in ax.texts if text.get_text().isdigit()}
    return [below[x] for x in sorted(below)]


def bounds_of(ax) -> list:
    return [line for line in ax.lines if line.get_linestyle() != "None"]


def test_the_board_shows_each_set_and_when_each_node_came():
    """The board written out by hand in test_rules: edges 0 -> 1 and 2 -> 3, then 1 -> 2."""
    figure = board((0, 2, 1), 3, 2)
    grid, growth = figure.axes
    assert shaded(grid, 4) == {0: "new", 1: "own"} and shaded(grid, 3) == {2: "before", 3: "own"}
    assert shaded(grid, 5) == {0: "new", 1: "before", 2: "own", 3: "new"} and shaded(grid, 6) == {0: "own", 1: "new"}
    assert digits(grid, 0) == {(0, 0), (1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 0)}
    assert digits(grid, 1) == {(1, 0), (3, 2), (5, 1)} and digits(grid, 2) == {(4, 0), (5, 0), (5, 3), (6, 1)}
    assert [shaded(growth, t) for t in range(4)] == [{0: "own"}, {0: "own"}, {0: "own", 1: "new"}, {}]
    assert tokens(grid) == ["0", "1", "2", "3", "1", "2", "0"]
    assert [t.get_text() for t in grid.texts if "edge" in t.get_text()] == ["edge 0", "edge 2", "edge 1"]
    assert title(figure) == "After 2 of 3 layers: 1 step; after all: 3, as in every order"


def test_the_rail_collects_from_the_senders_and_marks_those_that_bring_something_new():
    grid = board((0, 2, 1), 3, 2, receiver=5).axes[0]
    marks = {
        "new" if same_color(c.get_facecolor()[0], VERMILLION) else "nothing": [round(x) for x, _ in c.get_offsets()]
        for c in grid.collections if isinstance(c, PathCollection) and c.get_zorder() == 4
    }  # fmt: skip
    assert marks == {"new": [1, 3], "nothing": [2, 4]}
    assert grid.get_title("left") == "layer 2: position 5 receives from 4 of 5 before it"
    before = board((0, 2, 1), 3, 0).axes[0]
    assert before.get_title("left") == "before any layer each position holds its own node"


def test_the_bounds_stand_after_each_layer_and_are_cut_where_the_chain_ends():
    growth = board((0, 2, 1, 3), 3, 3, start=1).axes[1]
    heights = [(line.get_linestyle(), line.get_ydata()[0] - 1.5) for line in bounds_of(growth)]
    assert heights == [(":", 0), ("-", 0), (":", 1), ("-", 1), (":", 3), ("-", 3)]
    assert limits(4, 3, 1) == (3, 3) and limits(4, 3, 2) == (2, 2) and limits(9, 3, 5, ring=True) == (3, 4)
    assert bounds_of(board((0, 2, 1, 3), 3, 3, receiver=2).axes[1]) == [], "bounds are the start's alone"


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ((0, 1, 2, 3), "3 layers reach 3 steps from node 0, the fewest of any order (3 to 4)"),
        ((0, 1, 3, 2), "3 layers reach 4 steps from node 0, the most of any order (3 to 4)"),
    ],
)
def test_the_title_compares_with_all_orders(order, says):
    assert title(board(order, 3, 3)) == says
    assert "between the bounds (7 to 13)" in title(board((0, 1, 3, 2, 12, *range(4, 12)), 4, 4))


def test_a_model_is_right_wrong_or_names_no_node():
    ax = board((0, 1, 2, 3), 3, 3, answers={1: 1, 3: 2, 4: None}).axes[2]
    said = [(*line.get_xydata()[0].tolist(), line.get_marker()) for line in lines(ax, "_said")]
    assert said == [(0, 1, "o"), (1, 2, "X"), (2, 5, "X")]
    assert [line.get_ydata()[0] for line in lines(ax, "_asked")] == [1, 3, 4]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3", "4"] and ax.texts[0].get_text() == "another token"
    rows = {round(patch.get_y() + 0.5) for patch in ax.patches}
    assert rows == sets((0, 1, 2, 3), 3)[-1][-1] == {0, 1, 2, 3}


def test_on_a_ring_nodes_stand_in_steps_from_the_start_and_come_in_by_both_ways():
    order = (1, 3, 2, 5, 7, 6, 0, 4, 8)  # 4 steps both ways, as in test_rules
    assert sets(order, 3, ring=True)[-1][-1] == set(range(9)) and reach(order, 3, ring=True) == 4
    figure = board(order, 3, 3, start=0, ring=True)
    assert len(shaded(figure.axes[0], 18)) == 9
    turned = board(order, 3, 1, start=7, ring=True).axes[0]
    assert [t.get_text() for t in turned.get_yticklabels()] == [str((7 + i) % 9) for i in range(9)]
    assert shaded(turned, 18) == {0: "own"} and tokens(turned)[-1] == "7"
    for call in (lambda: board(order, 3, 3, start=9, ring=True), lambda: sets((0, 0), 3, ring=True)):
        with pytest.raises(ValueError, match="is not a node|is no order"):
            call()


@pytest.mark.parametrize("n_edges", [4, 13])
def test_the_board_is_drawn_on_the_page(n_edges):
    order = list(range(n_edges))[::-1]
    figure = board(order, 4, 3, answers={k: 0 for k in range(1, n_edges + 1)})
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    width = figure.get_figwidth() * figure.dpi
    for artist in (*figure.legends, *figure.axes):
        box = artist.get_tightbbox()
        assert box.x0 > -1 and box.x1 < width + 1, "nothing leaves the page"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: board((0, 0), 3, 1), r"\[0, 0\] is no order"),
        (lambda: board((0, 1), 3, 4), "layer=4 is not on this board: choose one of 0..3"),
        (lambda: board((0, 1), 3, 1, receiver=5), "receiver=5 is not on this board: choose one of 0..4"),
        (lambda: board((0, 1), 3, 3, answers={1: 3}), "The answer 3 is not a node: give one of 0..2, or None"),
        (lambda: reach_histogram({}), "no distribution to draw"),
        (lambda: steps_against_depth({}), "0 distributions and 0 tasks cannot be drawn"),
        (lambda: steps_against_depth({}, {str(i): {2: [1]} for i in range(6)}), "5 tasks at most"),
        (lambda: split_by_rule({}, {}, 1), "no group to draw"),
        (lambda: split_by_rule({(3, 4): {"allowed": [1.0]}}, {}, 1), r"The group \(3, 4\) cannot be drawn"),
        (lambda: split_by_rule({(3, 4): {}}, {(3, 4): 0.1}, 1), "cannot be drawn"),
        (lambda: split_by_rule({(3, 4): {"allowed": [1, 1], "forbidden": [0]}}, {(3, 4): 0.1}, 1), "same seeds"),
        (lambda: split_by_rule({(3, 4): {"maybe": [1.0], "allowed": [1.0]}}, {(3, 4): 0.1}, 1), "cannot be drawn"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_the_histogram_shows_shares_bounds_and_what_was_drawn():
    figure = reach_histogram({3: AT_3, 4: AT_4})
    exact, sampled = figure.axes
    assert [(round(bar.get_x() + 0.4), bar.get_height()) for bar in exact.patches] == [
        (3, pytest.approx(2 / 3)), (4, pytest.approx(1 / 3)),
    ]  # fmt: skip
    assert [line.get_xdata()[0] for line in sampled.lines] == list(bounds(4))
    assert [t.get_text() for t in sampled.texts] == ["fewest 7", "most 13"]
    assert exact.get_title("left") == "3 layers: every order (24)"
    assert sampled.get_title("left") == "4 layers: 1,000 orders drawn"
    assert len(exact.collections) == 0 and len(sampled.collections[0].get_segments()) == 3, "intervals where drawn"
    low, high = sampled.collections[0].get_segments()[0][:, 1]
    assert low < 0.5 < high < 0.54
    assert title(figure) == (
        "Orders that attain the most steps: 33.33 % at 3 layers, none of 1,000 drawn at 4 layers"
    ), "1/3 is never rounded up"
    assert "most steps: all at 2 layers" in title(reach_histogram({2: Distribution((0, 1), True)}))


def test_depth_holds_both_bounds_the_orders_and_every_seed():
    measured = {"a ring": {2: [1, 1, 1], 3: [3, 4, 3], 4: [4, 6, 0]}, "a chain": {3: [5, 5]}}
    figure = steps_against_depth({3: AT_3, 4: AT_4}, measured)
    (ax,) = figure.axes
    upper, lower = (next(x for x in ax.lines if x.get_label().startswith(w)) for w in ("upper", "lower"))
    assert list(upper.get_ydata()) == [1, 4, 13] and list(lower.get_ydata()) == [1, 3, 7]
    assert sorted(lines(ax, "_a ring 4")[0].get_ydata()) == [0, 4, 6] and len(lines(ax, "_a chain 3")) == 1
    places = lines(ax, "_a ring 2")[0].get_xdata()
    assert len(set(places.tolist())) == 3 and abs(places - 2).max() < 0.5, "equal seeds stand side by side"
    dashes = {
        (round(line[0, 1]), round(line[:, 0].mean())): line[1, 0] - line[0, 0]
        for c in ax.collections if c.get_label() == "_orders" for line in c.get_segments()
    }  # fmt: skip
    assert set(dashes) == {(3, 3), (4, 3), (7, 4), (8, 4), (9, 4)}
    assert dashes[3, 3] == pytest.approx(2 * dashes[4, 3]), "as wide as their share"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["2", "3\nevery order (24)", "4\n1,000 orders drawn"]
    assert ax.get_ylim()[0] < 0, "a seed that answers nothing is on the page"
    assert title(figure) == (
        "Trained models against the bounds: a ring, all seeds between them at 2, 3 layers, all seeds below at 4 "
        "layers; a chain, all seeds above at 3 layers"
    )
    bare = title(steps_against_depth({2: Distribution((0, 1), True), 3: AT_3}))
    assert bare == "Steps in one pass: 1 with 2, 3 to 4 with 3 layers"
    mixed = title(steps_against_depth({}, {"x": {3: [2, 3]}}))
    assert mixed.endswith("x, not all between them at 3 layers")


def test_the_split_shows_each_seed_each_empty_side_and_chance():
    groups = {
        (2, 1): {"allowed": [0.9, 1.0]},
        (3, 4): {"allowed": [0.8, 0.9], "forbidden": [0.3, 0.2]},
        (3, 5): {"forbidden": [0.1, 0.1], "allowed": []},
        (4, 8): {"allowed": [0.5, 0.9], "forbidden": [0.5, 0.3]},
    }
    figure = split_by_rule(groups, dict.fromkeys(groups, 0.1) | {(4, 8): 0.25}, 1234)
    (ax,) = figure.axes
    for group, sides in groups.items():
        for side, found in sides.items():
            drawn = lines(ax, f"_{side} {group}")
            assert [list(line.get_ydata()) for line in drawn] == ([found] if found else [])
    assert [t.get_text() for t in ax.texts if "order" in t.get_text()] == [
        "every order\nallows it",
        "no order\nallows it",
    ]
    chance = [c.get_segments()[0][0, 1] for c in ax.collections if c.get_label() == "_chance"]
    assert chance == [0.1, 0.1, 0.1, 0.25]
    pairs = [list(line.get_ydata()) for line in ax.lines if same_color(line.get_color(), PALE)]
    assert pairs == [[0.8, 0.3], [0.9, 0.2], [0.5, 0.5], [0.9, 0.3]], "a seed's two points are joined"
    assert "at least 1,234 questions" in ax.get_xlabel()
    assert ax.get_xticklabels()[1].get_text() == "3 layers\n4 hops\n2 seeds"
    assert title(figure) == (
        "Every seed is better on orders that allow the hops than any seed on the others in 1 of 2 groups"
    ), "a tie is no lead"
    one = split_by_rule({(3, 4): groups[3, 4]}, {(3, 4): 0.1}, 10)
    assert title(one).endswith("than any seed on the others with 3 layers and 4 hops")
    nothing = split_by_rule({(2, 1): {"allowed": [1.0]}}, {(2, 1): 0.1}, 10)
    assert title(nothing).startswith("In no group do some orders allow the hops and others forbid them")
