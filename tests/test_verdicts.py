"""The rules by which claims are judged, at their borders."""

from math import inf

import pytest
from claims_work import made
from hypothesis import given
from hypothesis import strategies as st

from matchlib.cells import Spread
from matchlib.verdicts import (
    BETTER,
    NOT_MEASURED,
    NOT_REPRODUCED,
    PARTLY,
    REPRODUCED,
    REVERSED,
    SAME,
    SILENT,
    WORDS,
    WORSE,
    Claim,
    Comparison,
    Scale,
    Verdict,
    compared,
    judge,
    mechanism,
    pooled,
    steps,
    told,
    versus,
)  # fmt: skip

runs = st.lists(st.sampled_from([100.0, 200.0, 300.0, inf]), min_size=1, max_size=5).map(tuple)


def comparison(outcome):
    a, b = {BETTER: (1, 2), WORSE: (2, 1), SAME: (1, 1), SILENT: (inf, inf)}[outcome]
    return Comparison({}, Spread((a,)), Spread((b,)))


def of(better=0, worse=0, same=0, silent=0):
    counts = {BETTER: better, WORSE: worse, SAME: same, SILENT: silent}
    return judge(comparison(outcome) for outcome, n in counts.items() for _ in range(n))


def five(wins):
    """Five runs against five of 100 steps, so that `wins` of the 25 pairs are won by a: no ties."""
    b = (10.0, 20.0, 30.0, 40.0, 50.0)
    a = [5.0] * (wins // 5) + ([b[4 - wins % 5] + 1] if wins % 5 else [])
    return Comparison({}, Spread(tuple(a + [60.0] * (5 - len(a)))), Spread(b))


@pytest.mark.parametrize(
    ("wins", "outcome"), [(25, BETTER), (20, BETTER), (19, SAME), (6, SAME), (5, WORSE), (0, WORSE)]
)
def test_an_effect_counts_from_four_fifths(wins, outcome):
    assert five(wins).effect == pytest.approx(wins / 25) and five(wins).outcome == outcome


def test_never_against_never_is_silent_and_never_against_some_is_not():
    assert Comparison({}, Spread((inf, inf)), Spread((inf,))).outcome == SILENT
    one = Comparison({}, Spread((inf, inf, 3000.0)), Spread((inf, inf, inf)))
    assert one.outcome == SAME and one.effect == pytest.approx((3 + 2 * 1.5) / 9)


@given(runs, runs)
def test_sides_that_change_places_change_the_outcome(a, b):
    there, back = Comparison({}, Spread(a), Spread(b)), Comparison({}, Spread(b), Spread(a))
    assert there.effect + back.effect == pytest.approx(1)
    if min(abs(there.effect - edge) for edge in (0.2, 0.8)) > 1e-9:
        assert {BETTER: WORSE, WORSE: BETTER}.get(there.outcome, there.outcome) == back.outcome


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ({"better": 2, "same": 1}, REPRODUCED),  # two thirds
        ({"better": 199, "same": 101}, PARTLY),  # a trifle less
        ({"better": 1}, REPRODUCED),
        ({"better": 99, "worse": 1}, PARTLY),  # one setting that is worse is enough
        ({"better": 1, "same": 9}, PARTLY),
        ({"better": 3, "worse": 2}, PARTLY),
        ({"better": 2, "worse": 2}, NOT_REPRODUCED),
        ({"better": 1, "worse": 2}, NOT_REPRODUCED),
        ({"same": 5}, NOT_REPRODUCED),
        ({"worse": 1, "same": 1}, NOT_REPRODUCED),
        ({"worse": 2, "same": 1}, REVERSED),
        ({"worse": 9, "better": 1}, NOT_REPRODUCED),
        ({"silent": 7}, NOT_MEASURED),
        ({}, NOT_MEASURED),
    ],
)
def test_the_verdict_over_settings(counts, word):
    verdict = of(**counts)
    assert verdict == Verdict(word, **counts) and verdict.n == sum(counts.values()) - counts.get("silent", 0)


counted = st.integers(0, 7)


@given(counted, counted, counted, counted)
def test_silent_settings_never_decide(better, worse, same, silent):
    verdict = of(better, worse, same, silent)
    assert verdict.word == of(better, worse, same).word in WORDS
    assert (verdict.better, verdict.worse, verdict.same, verdict.silent) == (better, worse, same, silent)


@given(counted, counted, counted)
def test_a_claim_and_its_opposite_are_never_both_upheld(better, worse, same):
    there, back = of(better, worse, same).word, of(worse, better, same).word
    assert (there == REPRODUCED) == (back == REVERSED)
    assert not {there, back} <= {REPRODUCED, PARTLY}


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ((2, 3, 9, 10), REPRODUCED),
        ((199, 300, 10, 10), PARTLY),
        ((3, 3, 89, 100), PARTLY),
        ((1, 10, 5, 10), PARTLY),
        ((3, 3, 49, 100), NOT_REPRODUCED),
        ((0, 3, 10, 10), NOT_REPRODUCED),
        ((0, 0, 0, 5), NOT_MEASURED),
        ((5, 5, 0, 0), NOT_MEASURED),
    ],
)
def test_a_mechanism_must_form_and_its_predictions_hold(counts, word):
    assert mechanism(*counts).word == word


@pytest.mark.parametrize("counts", [(4, 3, 1, 1), (3, 3, 2, 1), (-1, 3, 1, 1), (3, 3, -1, 1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="{} of {} seeds and {} of {} predictions".format(*counts)):
        mechanism(*counts)


def test_only_cells_that_differ_in_one_field_are_compared():
    records = [made(s, 500, gamma=0.9, n_train=n) for s in (100, 101) for n in (None, 1000)]
    records += [made(s, 900, gamma=0.5) for s in (100, 101)]
    records += [made(100, 900, gamma=0.5, lr=8e-3)]  # another learning rate: no partner
    (one,) = versus(records, "model.gamma", 0.9, 0.5)
    assert (one.setting, one.a.values, one.b.values) == ({}, (500, 500), (900, 900))
    records += [made(100, inf, gamma=0.5, n_train=1000)]
    assert [c.setting for c in versus(records, "model.gamma", 0.9, 0.5)] == [
        {"train.n_train": None},
        {"train.n_train": 1000},
    ]
    fresh, fixed = versus(records, "model.gamma", 0.9, 0.5, ("train.lr",))
    assert fresh.b.n == 3 and fixed.b.n == 1
    assert versus(records, "model.gamma", 0.9, 1.3) == []


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="axis='gamma' is not a field"):
        versus([made(100)], "gamma", 0.9, 0.5)


def test_a_run_that_failed_never_generalises():
    assert steps([made(100, 500), made(100, 500, "It diverged."), made(100)]).values == (500, inf, inf)


def test_a_side_says_that_some_never_got_there():
    assert told(Spread((500.0, 1000.0, inf))) == "2 of 3 (median 1,000, 500 to never)"
    assert told(Spread((500.0, inf, inf))) == "1 of 3 (median never, 500 to never)"
    assert told(Spread((inf,))) == "0 of 1" and told(Spread(())) == "no run"


def test_a_comparison_names_its_setting_and_keeps_null_for_never():
    one = Comparison({"train.split": "any", "model.d_head": 4}, Spread((500.0, inf)), Spread((inf, inf)))
    assert one.called == "split any, d_head 4"
    assert one.record == {
        "setting": one.setting, "a": [500.0, None], "b": [None, None], "effect": 0.75, "outcome": SAME,
    }  # fmt: skip


def test_the_first_scale_decides_and_n_is_said():
    fair = [comparison(BETTER), Comparison({}, Spread((1,)), Spread((1, 1))), comparison(SILENT)]
    kept = [made(100), made(101, steps=12_000), made(102)]
    scale = compared("mini", "A against B", kept, {0.9: fair}, {"A": pooled([Spread((1.0,)), Spread((inf, 2.0))])})
    counts = "better in 1 of 2 settings, worse in 0, no difference in 1; silent in 1 more"
    for part in ("1 to 2 seeds a side", "12,000 steps", counts, "0.9: 1/0/1", "A: 2 of 3 (median 2,"):
        assert part in scale.observed
    claim = Claim("C9", "A helps", "09", scales=(scale, Scale("small", "seen")))
    assert claim.verdict == PARTLY and [c.setting for c in scale.judged] == [{"model.gamma": 0.9}] * 3
    first, second = claim.record["scales"]
    assert (claim.record["verdict"], first["better"], second["verdict"]) == (PARTLY, 1, NOT_MEASURED)
    assert first["comparisons"] == [one.record for one in scale.judged]
