"""What the figures of causes hold: marks where the rates are, numbers in titles, frames on what the mechanism reads."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from matchlib.causal_plots import hit_rates, reading_tables, width_curves
from matchlib.evidence import Count, Finding
from matchlib.reading import Reading


def finding(name: str, rate: int, expected: float = 1.0, control: int | None = None) -> Finding:
    controls = {} if control is None else {"random": Count(control, 100)}
    return Finding(name, "why", "what", "model", Count(100, 100), Count(rate, 100), expected, controls)


FOUND = {
    "seeds that answer": [finding("swap", 98, control=7), finding("swap", 96, control=3), finding("cut", 21, 0.2)],
    "memoriser": [finding("swap", 12)],
}


def table(n_layers: int, moves: int = 90, old: int = 5) -> list[Reading]:
    """The newest token moves the answer, the older ones hardly; those that are not there yet do so in 30 of 100."""

    def moved(layer: int, step: int) -> Count:
        newest = max(0, layer - 1)
        return Count(moves if step == newest else old if step < newest else 30, 100)

    cells = [(layer, step) for layer in range(n_layers) for step in range(n_layers - 1)]
    return [Reading(*cell, moved(*cell), Count(0, 100), Count(50, 100)) for cell in cells]


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def labelled(ax) -> dict:
    return {line.get_label(): line for line in ax.lines}


def test_every_model_is_a_mark_at_its_rate_in_the_row_of_its_experiment():
    ax = drawn(hit_rates(FOUND)).axes[0]
    lines = labelled(ax)
    assert list(lines["seeds that answer (2)"].get_xdata()) == [0.98, 0.96, 0.21]
    assert [round(y) for y in lines["seeds that answer (2)"].get_ydata()] == [0, 0, 1]
    assert list(lines["memoriser"].get_xdata()) == [0.12] and round(lines["memoriser"].get_ydata()[0]) == 0
    assert [t.get_text() for t in ax.get_yticklabels()] == ["swap", "cut"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first experiment stands on top"


def test_controls_and_predictions_are_those_of_the_first_group():
    lines = labelled(drawn(hit_rates(FOUND)).axes[0])
    assert set(zip(*lines["control"].get_data(), strict=True)) == {(0.07, 0), (0.03, 0)}
    assert set(zip(*lines["_predicted"].get_data(), strict=True)) == {(1.0, 0), (0.2, 1)}


def test_groups_differ_in_marker_and_colour():
    lines = labelled(hit_rates(FOUND).axes[0])
    marks = [lines[name] for name in ("seeds that answer (2)", "memoriser", "control", "predicted")]
    assert len({line.get_marker() for line in marks}) == len({line.get_color() for line in marks}) == 4


def test_the_legend_counts_the_marks_of_a_row_and_not_a_single_one():
    six = [finding(name, 100) for name in ("swap", "cut") for _ in range(6)]
    legend = hit_rates({"seeds": six, "memoriser": [finding("cut", 3)]}).axes[0].get_legend()
    names = [t.get_text() for t in legend.get_texts()]
    assert names[:2] == ["seeds (6)", "memoriser"], "six marks at one rate look like one"


def test_the_title_of_hits_states_the_worst_of_each_side():
    found = {name: [f for f in of if f.expected == 1] for name, of in FOUND.items()}
    assert title(hit_rates(found)) == (
        "Seeds that answer: at least 0.96 of the predictions come true; the others: at most 0.12; "
        "under a control: at most 0.07"
    )
    assert title(hit_rates({"all": [finding("swap", 50)]})) == "All: at least 0.50 of the predictions come true"
    assert title(hit_rates(FOUND, "My finding")) == "My finding"


def test_at_least_and_at_most_are_not_rounded_the_wrong_way():
    counted = [Finding("swap", "why", "what", "m", Count(9, 9), Count(hits, 1000)) for hits in (997, 3)]
    words = title(hit_rates({"a": counted[:1], "b": counted[1:]}))
    assert words == "A: at least 0.99 of the predictions come true; the others: at most 0.01"


@pytest.mark.parametrize("wrong", [{}, {"none": []}, {str(i): [finding("swap", 1)] for i in range(6)}])
def test_hits_without_models_or_with_too_many_groups_are_a_sentence(wrong):
    with pytest.raises(ValueError, match=r"groups: give 1 to 5, and findings in the first\."):
        hit_rates(wrong)


def test_a_table_shows_both_numbers_and_frames_the_newest_token():
    axes = drawn(reading_tables({"four": table(4), "three": table(3)})).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["four", "three"]
    frames = {(round(p.get_x() + 0.47), round(p.get_y() + 0.47)) for p in axes[0].patches if isinstance(p, Rectangle)}
    assert frames == {(0, 0), (0, 1), (1, 2), (2, 3)}, "step, layer"
    words = {(t.get_position(), t.get_text()) for t in axes[0].texts}
    assert {((2, 3), "0.90"), ((0, 3), "0.05"), ((0, 3), "told 0.50")} <= words
    shown = axes[0].images[0].get_array()
    assert shown.shape == (4, 3) and shown[3, 2] == pytest.approx(0.9) and shown[3, 0] == pytest.approx(0.05)
    assert axes[0].get_ylim()[0] < axes[0].get_ylim()[1], "layers go upwards"


def test_a_table_says_below_what_its_two_numbers_are_and_the_words_stay_on_the_page():
    for tables in ({"four": table(4)}, {str(i): table(4) for i in range(4)}):
        figure = drawn(reading_tables(tables))
        (words,) = (t for t in figure.texts if "the answer moved" in t.get_text())
        assert "can be told" in words.get_text()
        box = words.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
        ticks = [t.get_window_extent() for ax in figure.axes for t in ax.get_xticklabels()]
        assert all(not box.overlaps(tick) for tick in ticks)


def test_numbers_stand_out_from_their_cell():
    ax = drawn(reading_tables({"four": table(4)})).axes[0]
    colour = {(t.get_position(), t.get_text()): t.get_color() for t in ax.texts}
    assert colour[(2, 3), "0.90"] == "white" and colour[(0, 3), "0.05"] != "white"


def test_the_title_of_tables_counts_layers_and_names_the_exception():
    assert title(reading_tables({"four": table(4), "three": table(3)})) == (
        "The newest token moves the answer more often than not in 7 of 7 layers; older ones: at most 0.05"
    )
    assert "in 0 of 4 layers; older ones: at most 0.60" in title(reading_tables({"four": table(4, moves=40, old=60)}))


def test_a_table_without_readings_is_a_sentence():
    for wrong in ({}, {"empty": []}):
        with pytest.raises(ValueError, match="at least one reading each"):
            reading_tables(wrong)


def test_a_curve_is_the_mean_and_every_seed_is_a_mark():
    shares = {"2 hops": {64: [0.5, 0.7], 256: [0.98, 1.0]}, "3 hops": {256: [0.8], 64: [0.2]}}
    ax = drawn(width_curves(shares)).axes[0]
    lines = labelled(ax)
    assert list(lines["2 hops"].get_xdata()) == [64, 256] and list(lines["2 hops"].get_ydata()) == [0.6, 0.99]
    assert list(lines["3 hops"].get_ydata()) == [0.2, 0.8], "in the order of widths"
    assert sorted(lines["_2 hops"].get_ydata()) == [0.5, 0.7, 0.98, 1.0]
    assert ax.get_xscale() == "log" and [t.get_text() for t in ax.get_xticklabels()] == ["64", "256"]
    assert len({lines[name].get_linestyle() for name in shares}) == 2
    named = [t.get_text() for t in ax.get_legend().get_texts()]
    assert named == ["2 hops", "3 hops", "one seed", "0.99"], "every mark and line is explained"


def test_the_title_of_curves_names_the_least_width_that_is_enough():
    shares = {"2 hops": {512: [1.0], 256: [0.98, 1.0], 64: [0.6]}, "3 hops": {256: [0.8]}}
    assert title(width_curves(shares)) == "The width that reaches 0.99: 2 hops, at 256; 3 hops, not yet"
    assert "0.50: 2 hops, at 64" in title(width_curves(shares, goal=0.5))


@pytest.mark.parametrize("wrong", [{}, {"none": {}}, {str(i): {64: [1.0]} for i in range(6)}])
def test_no_curve_or_too_many_are_a_sentence(wrong):
    with pytest.raises(ValueError, match="each with at least one width"):
        width_curves(wrong)


def test_figures_stay_unknown_to_pyplot():
    hit_rates(FOUND), reading_tables({"four": table(4)}), width_curves({"1 hop": {64: [1.0]}})
    assert plt.get_fignums() == []
