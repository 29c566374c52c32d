"""The rules of C5 and C6 at their borders, on made-up models that had a scaffold."""

from dataclasses import replace

import pytest

from matchlib import climb
from matchlib.climb import Rung
from matchlib.depth_claim import in_parallel
from matchlib.record import RunError
from matchlib.scaffold_claim import answers, c5, c6, judged, parallel, rates
from matchlib.scaffold_train import ALONE, HARD, PLAIN, PUSHED, TAUGHT, Stand

N = 1_000


def stand(
    allowed=(990, N), forbidden=(100, N), cuts=(300, 980), middle=None, stage=ALONE, seed=1, layers=3, hops=4, width=64
):
    """cuts: right without the jumps, and without the others; middle: whole, ahead, behind, other."""
    asked = {"allowed": list(allowed), "forbidden": list(forbidden), "narrowed": 0.2}
    asked |= {"jumps_cut": [[cuts[0], allowed[1]], [0, 1]], "others_cut": [[cuts[1], allowed[1]], [0, 1]]}
    if middle:
        names = ("middle", "ahead_cut", "behind_cut", "other_cut")
        asked |= {name: [right, N] for name, right in zip(names, middle)}
    return Stand(layers, width, seed, 12, hops, 4_500, asked, {}, stage=stage)


def test_the_model_that_was_left_alone_counts_with_its_better_result_on_forbidden_orders():
    stands = [stand(stage=TAUGHT), stand(), stand(stage=PUSHED, allowed=(0, N), forbidden=(150, N)), stand(seed=2)]
    stands += [stand(stage=PLAIN, width=32), stand(stage=PUSHED, seed=2, forbidden=(50, N))]
    ((kind, (first, second)),) = judged(stands).items()
    assert kind == (3, 4, 64) and (first.seed, second.seed) == (1, 2)
    assert first.asked["allowed"] == [990, N] and first.asked["forbidden"] == [150, N]
    assert second.asked["forbidden"] == [100, N], "pushed did not help"
    ((best,),) = judged([*stands[:3], stand(stage=HARD, forbidden=(80, 400))]).values()
    assert best.asked["forbidden"] == [80, 400], "shares are compared, and a network that saw nothing else counts"
    assert list(judged([stand(), stand(width=128), stand(hops=3)])) == [(3, 4, 128), (3, 3, 64), (3, 4, 64)]


def test_of_two_single_looks_the_one_that_matters_less_counts():
    assert rates(stand(middle=(980, 100, 400, 970))) == (0.98, 0.4, 0.97)
    assert rates(stand(middle=(980, 500, 400, 970))) == (0.98, 0.5, 0.97)
    assert rates(stand()) == (0.99, 0.3, 0.98)


@pytest.mark.parametrize(
    "seeds, word",
    [
        ([stand()] * 3, "reproduced"),
        ([stand(), stand(), stand(allowed=(949, N))], "reproduced"),
        ([stand(), stand(allowed=(949, N)), stand(allowed=(949, N))], "partly"),
        ([stand(allowed=(949, N))] * 3, "not yet measured"),
        ([stand(cuts=(690, 940))] * 3, "reproduced"),
        ([stand(cuts=(700, 940))] * 3, "not reproduced"),
        ([stand(cuts=(300, 930))] * 3, "not reproduced"),
        ([stand(), stand(), stand(cuts=(700, 940))], "partly"),
        ([stand(middle=(950, 600, 100, 910))] * 3, "reproduced"),
        ([stand(middle=(950, 700, 100, 940))] * 3, "not reproduced"),
        ([stand(middle=(949, 100, 100, 940))] * 3, "not yet measured"),
    ],
)
def test_in_parallel(seeds, word):
    assert in_parallel(seeds, answers, parallel) == word


def test_claims_put_the_split_first_and_what_was_not_reached_last(tmp_path):
    with pytest.raises(RunError, match="matchlib.scaffold_train"):
        c5(tmp_path)
    kept = [stand(seed=s, middle=(990, 100, 120, 980)) for s in (1, 2, 3)]
    kept += [stand(seed=s, stage=PUSHED, forbidden=(110, N)) for s in (1, 2, 3)]
    kept += [stand(seed=s, hops=5, allowed=(0, 0), forbidden=(300, N)) for s in (1, 2, 3)]
    kept += [stand(seed=s, hops=3, forbidden=(0, 0)) for s in (1, 2, 3)]
    kept += [stand(seed=s, layers=2, hops=1, forbidden=(0, 0)) for s in (1, 2, 3)]
    climb.write(kept, tmp_path / "scaffold.jsonl")
    with pytest.raises(RunError, match="matchlib.climb"):
        c5(tmp_path)
    found = {"allowed": [700, N], "forbidden": [700, N], "narrowed": 0.5, "behind": [700, N], "ahead": [1, N]}
    low = Rung(3, 128, 1, 9, 4, 1, found | {"hop_cut": [1, N], "hop_other": [1, N]}, {})
    climb.write([replace(low, seed=s) for s in (1, 2, 3)], tmp_path / "climbs.jsonl")
    fifth, sixth = c5(tmp_path), c6(tmp_path)
    assert fifth.records == sixth.records == ("scaffold.jsonl", "climbs.jsonl")
    names = [(s.name.split(", a ring")[0], "scaffold" in s.name, s.verdict.word) for s in fifth.scales]
    assert names == [
        ("3 layers, 3 hops", True, "reproduced"),
        ("3 layers, 4 hops", True, "reproduced"),
        ("3 layers, 4 hops", False, "not yet measured"),
    ], "two layers for one hop say nothing of C5, nor do hops that no order allows"
    assert "3 of 3 seeds answer what the rules allow (0.99 right). 0.12 stay right without one look" in (
        fifth.scales[1].observed
    )
    names = [(s.name.split(", a ring")[0], "scaffold" in s.name, s.verdict.word) for s in sixth.scales]
    assert names == [
        ("3 layers, 4 hops", True, "supported"),
        ("3 layers, 5 hops", True, "contradicted"),
        ("3 layers, 4 hops", False, "contradicted"),
    ]
    assert "at best 0.11 right" in sixth.scales[0].observed and "they allow 0.99. 0 of 3" in sixth.scales[0].observed


def test_hops_that_no_order_allows_are_judged_by_one_hop_less(tmp_path):
    climb.write([], tmp_path / "climbs.jsonl")
    four = [stand(seed=s, middle=(990, 100, 120, 980)) for s in (1, 2, 3)]
    five = [stand(seed=s, hops=5, allowed=(0, 0), forbidden=(100, N)) for s in (1, 2, 3)]
    climb.write(four + five, tmp_path / "scaffold.jsonl")
    assert [s.verdict.word for s in c6(tmp_path).scales] == ["supported", "supported"]
    climb.write([replace(s, asked=s.asked | {"middle": [500, N]}) for s in four] + five, tmp_path / "scaffold.jsonl")
    assert c6(tmp_path).scales[-1].verdict.word == "open"
    assert not answers(stand(middle=(500, 1, 1, 1))) and not answers(five[0]), "where nothing is allowed, nothing is"
