"""What matching predicts of deeper models: the worst step decides, and nothing is predicted that was not asked."""

import pytest
from beyond_records import FULL, NONE, but, found

from matchlib.beyond_verdicts import (
    AMENDED,
    MARKED,
    OF_NOISE,
    PREDICTIONS,
    TOLD,
    answers,
    holds,
    judge,
    reading,
    storing,
)

QUIET = {"unnoised": FULL[:3], "from_noise": FULL[:3]}


def test_a_model_that_does_as_told_makes_every_prediction_come_true():
    rates = judge(found())
    assert rates == {name: 1 for name in PREDICTIONS if name not in OF_NOISE} | {"three kernels": 0.98}
    assert list(judge(found(**QUIET))) == list(PREDICTIONS)
    assert list(PREDICTIONS)[:10] == [*TOLD, *AMENDED]
    assert all(holds(found(), story) for story in (TOLD, AMENDED, MARKED))


def test_one_that_stores_a_layer_later_does_as_amended_and_not_as_told():
    later = found(shift=1)
    assert {name: judge(later)[name] for name in TOLD} == {
        "layer 0 stores": 0.02, "others done after 0": 0.02, "hop n in layer n": 0.03
    }  # fmt: skip
    assert holds(later, AMENDED) and not holds(later, TOLD)
    assert judge(found(shift=2))["others done after 1"] == 0.02


@pytest.mark.parametrize(
    ("name", "asked", "n"),
    [
        ("attention stores", "stored", 6),
        ("question walks", "walked", 6),
        ("noise not needed", "unnoised", 3),
    ],
)
def test_the_worst_step_decides(name, asked, n):
    for index in range(n):
        expected = {name: 0.4} | ({"moves or stays": 0.4} if asked == "walked" else {})
        assert judge(found(**QUIET | {asked: but(index, 40, n)})) == judge(found(**QUIET)) | expected


def test_what_one_layer_does_is_told_by_its_worst_step_too():
    stores = found()["stored_at"]
    assert judge(found(stored_at=[but(4, 30), *stores[1:]]))["layer 0 stores"] == 0.3
    assert judge(found(alone=[but(2, 50, 3), *[FULL[:3]] * 3]))["others done after 0"] == 0.5


def test_a_hop_that_two_layers_share_is_not_taken_in_one():
    shared = found()["walked_at"]
    shared[2] = [*shared[2][:5], [55, 100]]
    shared[3] = [*shared[3][:5], [60, 100]]
    rates = judge(found(walked_at=shared))
    assert (rates["one layer a hop"], rates["hop n in layer n"], rates["question walks"]) == (0.6, 0.55, 1)


def test_three_layers_must_match_and_four_need_not():
    two = found()
    two["least"][2][3][1] = 0.2
    assert judge(two)["three kernels"] == 0.2


def test_four_hops_from_a_noise_node_are_not_predicted():
    for asked, rate in (([[90, 100], [80, 100], [0, 100]], 0.8), ([[90, 100], [0, 0], [0, 100]], 0.9)):
        assert judge(found(unnoised=FULL[:3], from_noise=asked))["noise as a start"] == rate


def test_a_model_that_fails_one_length_does_not_answer():
    assert answers(found(right=but(2, 90, 3))) and not answers(found(right=but(2, 89, 3)))
    assert not answers(found(right=NONE[:3]))


def test_which_layer_stores_and_which_reads_each_step():
    for shift in (0, 1):
        later = found(shift)
        assert storing(later) == (shift, 1.0)
        assert [reading(later, 3, step) for step in (1, 2, 3)] == [(step + shift, 1.0) for step in (1, 2, 3)]
    mixed = found(stored_at=[but(2, 60), but(1, 70), NONE, NONE])
    assert storing(mixed) == (1, 0.7), "the worst of the steps of one and two hops"
    assert storing(found(stored_at=[but(4, 0), NONE, NONE, NONE])) == (0, 1.0), "three hops do not count"


def test_a_wrong_predecessor_may_leave_the_answer_at_the_node_before_and_nowhere_else():
    """By the third story an exchange that moves 40 of 100, and leaves the rest where they stand, is as it should be."""
    half = found(walked=but(5, 40), instead=[*[[0, 0, 100]] * 5, [0, 60, 40]], beside=[*[[100, 0]] * 5, [30, 70]])
    assert judge(half) == judge(found()) | {"question walks": 0.4}
    assert holds(half, MARKED) and not holds(half, AMENDED)
    lost = found(walked=but(5, 40), instead=[*[[0, 0, 100]] * 5, [20, 40, 40]])
    assert judge(lost)["moves or stays"] == 0.8
    assert judge(found(beside=[*[[100, 0]] * 5, [30, 30]]))["moves or stays"] == 0.6
    assert judge(found(walked=[*FULL[:5], [0, 0]]))["moves or stays"] == 1, "a step without another node says nothing"


def test_the_predecessor_speaks_against_itself_in_the_layer_of_the_last_hop():
    for shift in (0, 1):
        later = found(shift)
        later["unsaid"][shift + 2][shift] = 0.7
        assert judge(later)["speaks against"] == 0.7
    assert judge(found(shift=1, unsaid=[[0.0] * n for n in (1, 2, 3, 4)]))["speaks against"] == 0
