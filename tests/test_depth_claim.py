"""The rules of C5 and C6 at their borders, on made-up climbs."""

from dataclasses import replace

import pytest

from matchlib import climb
from matchlib.climb import Rung
from matchlib.depth_claim import answers, bounded, c5, c6, in_parallel, tops
from matchlib.record import RunError

N = 1_000


def rung(
    right=(990, 990), behind=990, hop=300, other=985, n_edges=10, layers=3, hops=3, seed=1, width=128, asked=(N, N)
):
    """Right answers on allowed and forbidden orders, of a thousand each; then where the last edge is behind."""
    found = {
        "allowed": [right[0], asked[0]],
        "forbidden": [right[1], asked[1]],
        "narrowed": 0.5,
        "behind": [behind, N],
        "ahead": [600, N],
        "hop_cut": [hop, N],
        "hop_other": [other, N],
    }
    return Rung(layers, width, seed, n_edges, hops, 5_000, found, {})


@pytest.mark.parametrize(
    "seeds, word",
    [
        ([rung()] * 3, "reproduced"),
        ([rung(), rung(), rung(behind=500)], "reproduced"),
        ([rung(), rung(behind=500), rung(behind=500)], "partly"),
        ([rung(), rung(), rung(hop=691)], "partly"),
        ([rung(), rung(), rung(other=939)], "partly"),
        ([rung(hop=690, other=940)] * 3, "reproduced"),
        ([rung(hop=900)] * 3, "not reproduced"),
        ([rung(behind=949)] * 3, "not yet measured"),
        ([rung(behind=950, hop=600, other=940)] * 3, "reproduced"),
    ],
)
def test_in_parallel(seeds, word):
    assert in_parallel(seeds) == word


def test_two_hops_have_no_edge_before_the_last_but_the_first():
    short = rung(right=(0, 940), asked=(0, N), hops=2)
    del short.asked["behind"]
    assert not answers(short) and answers(replace(short, asked=short.asked | {"forbidden": [950, N]}))


KEEPS, BEYOND, NEITHER = rung((960, 500)), rung((960, 620)), rung((700, 500))


@pytest.mark.parametrize(
    "seeds, below, word",
    [
        ([KEEPS] * 3, False, "supported"),
        ([KEEPS, KEEPS, NEITHER], False, "supported"),
        ([KEEPS, NEITHER, NEITHER], True, "open"),
        ([BEYOND, BEYOND, KEEPS], True, "contradicted"),
        ([BEYOND, KEEPS, KEEPS], True, "supported"),
        ([BEYOND, BEYOND, NEITHER], True, "contradicted"),
        ([rung((960, 550))] * 3, True, "supported"),  # 0.05 above is not beyond
        ([rung((960, 578))] * 3, True, "supported"),  # nor where the interval reaches down to it
        ([rung((960, 582))] * 3, True, "contradicted"),
        ([rung((0, 500), asked=(0, N))] * 3, True, "supported"),  # no order allows it
        ([rung((0, 500), asked=(0, N))] * 3, False, "open"),
    ],
)
def test_bounded(seeds, below, word):
    assert bounded(seeds, below) == word


def test_the_largest_ring_of_each_climb_counts_whatever_stands_last():
    small, large = rung(n_edges=9), rung(n_edges=10)
    other = replace(small, seed=2)
    assert tops([large, small, other]) == {(3, 3, 128): [large, other]}
    assert list(tops([rung(hops=4), rung(layers=2), rung(width=64)])) == [(2, 3, 128), (3, 3, 64), (3, 4, 128)]


def test_claims_say_what_the_record_holds(tmp_path):
    with pytest.raises(RunError, match="matchlib.climb"):
        c5(tmp_path)
    kept = [rung(seed=s, right=(990, 980 + s)) for s in (1, 2, 3)]
    kept += [rung(seed=s, hops=4, n_edges=9, right=(600 + s, 500), behind=700) for s in (1, 2, 3)]
    kept += [rung(seed=s, hops=2, layers=4) for s in (1, 2, 3)]
    climb.write(kept, tmp_path / "climbs.jsonl")
    fifth, sixth = c5(tmp_path), c6(tmp_path)
    assert [s.name.split(", a ring")[0] for s in fifth.scales] == ["3 layers, 3 hops", "3 layers, 4 hops"]
    assert fifth.verdict == "reproduced" and fifth.scales[1].verdict.word == "not yet measured"
    assert fifth.scales[0].observed.startswith("3 of 3 seeds answer where")
    assert "(0.99 right; elsewhere 0.60)" in fifth.scales[0].observed
    assert "There 0.30 stay right without the one attention edge" in fifth.scales[0].observed
    assert fifth.scales[1].observed.startswith("0 of 3 seeds answer")
    words = {s.name.split(", a ring")[0]: s.verdict.word for s in sixth.scales}
    assert words == {"3 layers, 3 hops": "contradicted", "3 layers, 4 hops": "open", "4 layers, 2 hops": "contradicted"}
    assert "0.98 right, where one who knows" in sixth.scales[0].observed
    assert "on those that they allow 0.60" in sixth.scales[1].observed
