"""What the figures of depth show, and refuse to show."""

import pytest
import torch

from matchlib.depth_plots import CUTS, beyond_the_rules, cuts, who_looks

OPEN = [[90, 100], [0, 0], [60, 100], [10, 20]]


def test_points_are_shares_and_small_ones_are_left_out():
    (ax,) = beyond_the_rules({"3 layers": [OPEN, [[50, 100], [40, 40]]]}, "t").axes
    guess, first, second = ax.lines
    assert first.get_xydata().tolist() == [[0, 0.9], [2, 0.6]], "3 open nodes: 20 questions are too few"
    assert second.get_xydata().tolist() == [[0, 0.5], [1, 1.0]]
    assert guess.get_ydata()[:3].tolist() == [1, 1, 0.5]


def test_one_panel_a_kind_and_none_for_nothing():
    assert len(beyond_the_rules({name: [OPEN] for name in "abcd"}, "t").axes) == 4
    for nothing in ({}, {"a": []}):
        with pytest.raises(ValueError, match="nothing to draw"):
            beyond_the_rules(nothing, "t")


def test_a_mark_a_seed_in_the_row_of_its_cut():
    (ax,) = cuts({"three": {"hop_cut": [0.2, 0.3]}, "four": {"behind": [1.0]}}, "t").axes
    by = {line.get_label(): line.get_xydata().tolist() for line in ax.lines if line.get_label().startswith("_")}
    rows = list(CUTS)
    assert [x for x, _ in by["_three hop_cut"]] == [0.2, 0.3]
    assert all(round(y) == rows.index("hop_cut") for _, y in by["_three hop_cut"])
    assert [round(y) for _, y in by["_four behind"]] == [rows.index("behind")]
    assert by["_three behind"] == []


def test_cuts_of_another_name_are_refused():
    with pytest.raises(ValueError, match="'jump'.*cuts among behind"):
        cuts({"three": {"jump": [0.2]}}, "t")
    with pytest.raises(ValueError, match="0 kinds"):
        cuts({}, "t")


def test_who_looks_writes_what_is_seen_where_it_is_seen():
    seen = torch.zeros(2, 4, 4)
    seen[1, 3, 2] = 0.62
    figure = who_looks(seen, "t")
    assert [[(t.get_position(), t.get_text()) for t in ax.texts] for ax in figure.axes] == [[], [((2, 3), ".6")]]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1", "2", "3", "?"]
