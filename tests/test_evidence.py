"""Intervals against the definitions they come from, and the rule of verdicts at its borders."""

import json
from itertools import product
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib.evidence import CONTRADICTED, IN_PART, SUPPORTED, Count, Finding, Spread, spread


def finding(hits: int, n: int = 1000, expected: float = 1.0, controls: dict | None = None, name: str = "x") -> Finding:
    return Finding(name, "h", "p", "m", Count(n, n), Count(hits, n), expected, controls or {})


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_where_the_score_test_does_not_reject(pair):
    """Wilson's interval: all p with |rate - p| <= z sqrt(p (1 - p) / n); each end solves it with equality."""
    count = Count(*pair)
    low, high = count.interval
    assert 0 <= low <= count.rate <= high <= 1
    for p in (low, high):
        if 1e-9 < p < 1 - 1e-9:
            assert abs(count.rate - p) == pytest.approx(1.959964 * sqrt(p * (1 - p) / count.n), rel=1e-6)


def test_a_count_is_of_truth_values_and_refuses_nonsense():
    assert Count.of(torch.tensor([True, False, True])) == Count(2, 3)
    assert str(Count(8, 10)) == "0.800 [0.490, 0.943] of 10"
    for hits, n in ((-1, 3), (4, 3), (0, 0)):
        with pytest.raises(ValueError, match="cannot be: give 0 <= hits <= n"):
            Count(hits, n)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (finding(900), SUPPORTED),
        (finding(899), IN_PART),
        (finding(500), IN_PART),
        (finding(499), CONTRADICTED),
        (finding(950, controls={"a": Count(10, 1000)}), SUPPORTED),
        (finding(950, controls={"a": Count(10, 1000), "b": Count(940, 1000)}), CONTRADICTED),
        (finding(700, controls={"a": Count(10, 1000), "b": Count(690, 1000)}), CONTRADICTED),
        (finding(250, expected=0.2), SUPPORTED),
        (finding(150, expected=0.2), SUPPORTED),
        (finding(251, expected=0.2), IN_PART),
        (finding(301, expected=0.2), CONTRADICTED),
        (finding(0, expected=0.2), CONTRADICTED),
    ],
)
def test_the_verdict_follows_the_rule(found, verdict):
    assert found.verdict == verdict


def test_a_finding_survives_json():
    before = finding(7, 10, controls={"a": Count(1, 10), "b": Count(0, 9)})
    assert Finding.read(json.loads(json.dumps(before.record))) == before


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_range_of_k_seeds_covers_the_median_as_often_as_it_says(k):
    """Each seed lies below or above the median with even odds: count the ways in which both sides have one."""
    ways = [len(set(sides)) == 2 for sides in product((0, 1), repeat=k)]
    assert Spread("x", (0.5,) * k).confidence == pytest.approx(sum(ways) / len(ways))


def test_a_spread_is_of_one_experiment():
    both = spread([finding(900), finding(1000)])
    assert both.range == (0.9, 1.0) and both.name == "x"
    assert str(both) == "0.900 to 1.000 over 2 seeds (50% for the median seed)"
    for several in ([finding(1), finding(1, name="y")], []):
        with pytest.raises(ValueError, match="choose findings of one name"):
            spread(several)
