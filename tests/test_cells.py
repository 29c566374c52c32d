"""Cells of a sweep: who belongs together, what is measured of a run, and how never is counted."""

from dataclasses import replace
from math import inf, isnan, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matchlib.cells import MEASURES, Spread, by_kind, cells, generalised, kind_of, spread, superiority
from matchlib.kinds import KINDS, MATCHING, UNLEARNED
from matchlib.ledger import Record
from matchlib.presets import PRESETS
from matchlib.record import Evaluation

MINI = PRESETS["mini"]
PROBED = {"middle": 1.0, "answer": 1.0, "pairs": 1.0, "renamed_twin": 1.0, "renamed_stranger": 1.0, "ood_as_long": 0.7}


def record(tests, seed=0, reason="", model=(), train=(), probed=PROBED) -> Record:
    """A run whose test accuracy went so, measured every hundred steps."""
    history = [
        Evaluation(100 * i, 1.0, 1.0, 0.9, test, test / 2, (0.3, 0.2), (test, 1.0)) for i, test in enumerate(tests)
    ]
    configs = MINI.task, replace(MINI.model, **dict(model)), replace(MINI.train, **dict(train))
    return Record.of(*configs, seed, history, {"seconds": 1.0}, reason, probed)


def test_a_run_generalises_at_the_first_measurement_that_says_so():
    assert generalised(record([0.0, 0.949, 0.95, 0.5, 1.0])) == 200
    assert generalised(record([0.0, 0.9])) == inf


def test_never_counts_in_a_median():
    of = spread([record([0, 1]), record([0, 0]), record([0, 0])], "generalised")
    assert (of.n, of.reached, of.median, of.range) == (3, 1, inf, (100, inf))
    assert spread([record([0, 1]), record([0, 0, 1]), record([0, 0])], "generalised").median == 200


def test_every_measure_is_what_it_says():
    one = record([0.2, 0.8])
    found = {name: spread([one], name).values[0] for name in MEASURES}
    assert found == {
        "test": 0.8, "train": 0.9, "fit": 1.0, "ood": 0.4, "ood_as_long": 0.7, "argmax": 0.8, "matching": 0.2,
        "generalised": inf,
    }  # fmt: skip
    assert isnan(spread([record([1], probed={})], "ood_as_long").values[0])


def test_cells_hold_the_seeds_of_a_setting_in_order_and_no_failed_run():
    sizes = (None, 1000, 64)
    runs = [record([i / 10], s, train={"n_train": n}) for i, n in enumerate(sizes) for s in (0, 1)]
    by = cells([*runs, record([1.0], 9, "It broke.", train={"n_train": 64})], "train.n_train")
    assert list(by) == [(64,), (1000,), (None,)] and all(len(of) == 2 for of in by.values())
    assert [r.seed for r in by[(None,)]] == [0, 1]
    two = cells(runs, "model.layernorm", "train.n_train")
    assert list(two) == [("post", 64), ("post", 1000), ("post", None)]
    assert all(type(value) in (str, int, type(None)) for key in two for value in key)


def test_kinds_are_counted_and_every_kind_is_named():
    runs = [record([0.0, 1.0]), record([1.0, 0.5]), record([0.95])]  # what counts is how a run ends
    assert kind_of(runs[0]) == MATCHING and kind_of(runs[1]) == UNLEARNED
    assert by_kind(runs) == {name: {MATCHING: 2, UNLEARNED: 1}.get(name, 0) for name in KINDS}


def test_what_cannot_be_asked_is_a_sentence():
    with pytest.raises(ValueError, match="measure='tset' is not known: choose one of test"):
        spread([record([1.0])], "tset")
    with pytest.raises(ValueError, match="without a run"):
        spread([], "test")
    with pytest.raises(ValueError, match="is not known"):
        cells([record([1.0])], "model.gama")
    with pytest.raises(ValueError, match="0 against 1 runs"):
        superiority([], [1.0])


STEPS = st.lists(st.sampled_from([100.0, 200.0, 300.0, inf]), min_size=1, max_size=6)


@given(STEPS, STEPS)
def test_superiority_counts_pairs(a, b):
    points = [1 if x < y else 0.5 if x == y else 0 for x in a for y in b]
    assert superiority(a, b) == pytest.approx(sum(points) / len(points))
    assert superiority(a, b) + superiority(b, a) == pytest.approx(1)


def test_superiority_at_its_ends():
    assert superiority([1, 2], [3, inf]) == 1 and superiority([inf], [inf]) == 0.5 and superiority([inf], [5]) == 0


def test_a_spread_of_a_number_that_is_none():
    assert Spread((1.0, 2.0, 4.0)).median == 2 and Spread((nan,)).reached == 0
