"""Figures of "one step at a time": what is drawn is what the records say."""

import pytest

from matchlib.aloud import HOPS, JOBS, N_EDGES, ONE_PASS, Told
from matchlib.aloud_plots import accuracy_by_hops, compounding, of, spread
from matchlib.writing import WAYS, Score

N = N_EDGES - 1


@pytest.fixture
def told():
    """Made up: writing loses a percent a step and a seed, one pass a twentieth a hop and wins a percent a seed."""

    def one(job) -> Told:
        late = job.seed % 10
        if job.way == ONE_PASS:
            made, curve = Score(100, (5 * max(0, 9 - job.hops) + late,), ()), ()
        else:
            made = Score(100, tuple(99 - k - late for k in range(N)), (99,) * N)
            curve = ((0, Score(100, (10,) * N, (20,) * N)),)
        return Told(job, made, (0.1, 0.9), (0.1, 0.9), {}, {}, curve)

    return [one(job) for job in JOBS]


def lines(ax) -> dict:
    return {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}


def test_a_spread_is_the_lowest_the_median_and_the_highest_seed(told):
    assert spread(told, 2) == (0.35, 0.36, 0.37)
    assert spread(told, 3, "all") == (0.95, 0.96, 0.97)


def test_a_way_without_records_is_named(told):
    with pytest.raises(ValueError, match="No record of 'one pass' at 4 hops is here"):
        of(told, ONE_PASS, 4)
    with pytest.raises(ValueError, match="No record of 'few' is here"):
        accuracy_by_hops([t for t in told if t.job.way != "few"])


def test_accuracy_is_drawn_at_every_hop_with_the_bound_and_chance(told):
    (ax,) = accuracy_by_hops(told).axes
    drawn = lines(ax)
    assert len(drawn) == len(WAYS)
    for line in drawn.values():
        assert list(line.get_xdata()) == list(range(1, N + 1))
        assert line.get_ydata() == pytest.approx([0.98 - k / 100 for k in range(N)])
    middle = next(c for c in ax.containers)[0]
    assert list(middle.get_xdata()) == list(HOPS)
    assert middle.get_ydata() == pytest.approx([0.05 * max(0, 9 - hops) + 0.01 for hops in HOPS])
    said = " ".join(text.get_text() for text in ax.texts)
    assert "2 layers, one pass: 1 step" in said and "chance 0.09" in said
    assert 1.5 in [line.get_xdata()[0] for line in ax.get_lines()]


def test_the_title_says_what_the_medians_say(told):
    assert "0.88 of the time 11 steps on; at once, 0.36 at two" in " ".join(
        accuracy_by_hops(told).get_suptitle().split()
    )


def test_each_moment_of_a_training_is_a_mark_beside_its_product(told):
    left, right = compounding(told).axes
    for way, line in zip(WAYS, left.get_lines(), strict=False):
        moments = [score for t in of(told, way) for _, score in t.curve] + [t.score for t in of(told, way)]
        assert line.get_xdata() == pytest.approx([s.compounded[-1] for s in moments])
        assert line.get_ydata() == pytest.approx([s.accuracy[-1] for s in moments])
    assert right.get_lines()[0].get_xdata() == pytest.approx([0.2] * 3 + [0.99] * 3)
    curve = right.get_lines()[-1]
    assert curve.get_ydata() == pytest.approx(curve.get_xdata() ** N)
