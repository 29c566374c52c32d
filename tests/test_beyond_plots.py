"""What the figures of deeper models hold: every rate where it belongs, and titles that count."""

import pytest
from beyond_records import FULL, but, found

from matchlib.beyond_plots import hop_tables, prediction_marks


def title(figure) -> str:
    return " ".join(figure.get_suptitle().split())


def test_the_tables_hold_what_each_layer_stores_and_reads():
    figure = hop_tables({"usual": [found(stored=but(5, 50))], "smaller": [found(), found(shift=1, walked=but(0, 40))]})
    figure.draw_without_rendering()
    one, two = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["usual", "smaller (2)"]
    values = one.images[0].get_array()
    assert values.shape == (10, 6) and values[0].tolist() == [1] * 6 and values[1].tolist() == [0.02] * 6
    assert values[4].tolist() == [1] * 5 + [0.5] and values[5].tolist() == [1, 1, 0.03, 1, 0.03, 0.03]
    assert values[7].tolist() == [0.03] * 5 + [1] and values[9].tolist() == [1] * 6
    assert two.images[0].get_array()[9, 0] == 0.7, "the mean over models"
    words = [t.get_text() for t in two.texts]
    assert "0.70" in words and "0.4–1.0" in words and not any("–" in t.get_text() for t in one.texts)
    labels = [t.get_text() for t in one.get_yticklabels()]
    assert labels[3:6] == ["stored by 3", "stored by any", "read by 1"] and labels[-1] == "read by any"


def test_every_model_is_a_mark_at_its_worst_step_and_the_title_counts_those_that_do_all():
    noise = {"unnoised": FULL[:3], "from_noise": but(0, 30, 3)}
    stays = found(walked=but(3, 20), instead=[[0, 80 * (i == 3), 0] for i in range(6)])
    groups = {
        "ordered": {"usual": [found(), stays], "smaller": [found(shift=1)]},
        "noised": {"usual": [found(**noise)], "smaller": [found(alone=[FULL[:3], but(1, 89, 3)])]},
    }
    figure = prediction_marks(groups)
    figure.draw_without_rendering()
    assert title(figure) == "Models that keep all predictions, of 5: as told 4, as amended 2, with two uses 3"
    left, right = figure.axes
    labels = [t.get_text() for t in left.get_yticklabels()]
    usual, smaller = left.lines[:2]
    at = {labels[round(y)]: x for x, y in smaller.get_xydata()}
    assert at["layer 0 stores"] == 0.02 and at["attention stores"] == 1 and len(at) == 10
    assert sorted(usual.get_xdata())[:3] == [0.2, 0.98, 0.98] and len(usual.get_xdata()) == 20
    assert usual.get_marker() != smaller.get_marker() and usual.get_color() != smaller.get_color()
    assert [x for x, y in right.lines[0].get_xydata() if labels[round(y)] == "noise as a start"] == [0.3]
    assert len(right.lines[0].get_xdata()) == 12 and len(right.lines[1].get_xdata()) == 10
    assert figure.legends[0].get_texts()[1].get_text() == "smaller"


def test_nothing_to_draw_is_said_in_a_sentence():
    for groups in ({}, {"usual": []}):
        with pytest.raises(ValueError, match="There is nothing to draw"):
            hop_tables(groups)
    with pytest.raises(ValueError, match="There is nothing to draw"):
        prediction_marks({"ordered": {"usual": []}})
    three = {name: [found()] for name in ("a", "b", "c")}
    with pytest.raises(ValueError, match="1 tasks and 3 settings: give 1 to 2 of these"):
        prediction_marks({"ordered": three})
