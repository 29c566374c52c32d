"""What the boxes of lesson 08's exercises do: hops that layers take, writers with and without a memory, wrong ends."""

import random
from itertools import combinations

import pytest
import torch

from matchlib.aloud import TASK
from matchlib.checks_08_writers import witness
from matchlib.train import seeded
from matchlib.writers import ERRS, FORGET, LAYERS, REMEMBER, a_hop, a_writer, erring, forked, taught
from matchlib.writing import score

ALL = [set(one) for size in range(1, 5) for one in combinations(LAYERS, size)]


def asked(n):
    return TASK.sample(n, "any", generator=seeded(n, "test"))


@pytest.mark.parametrize("made", [[], [{2}], [{1, 3}], [{4}, {1, 2}], [{1, 2}, {2, 3}], [{1, 2, 3}]])
@pytest.mark.parametrize("part", [0.0, 0.6])
def test_a_hop_is_moved_by_its_sets_and_all_that_hold_them(made, part):
    moved = a_hop(made, part, seed=3)
    assert all((moved(one) >= 0.9) == any(small <= one for small in made) for one in ALL)
    assert moved({2, 1}) == moved([1, 2]) and max([moved(one) for one in ALL if moved(one) < 0.9]) <= 0.7


def test_writers_remember_or_forget():
    rng = random.Random(0)
    ring = rng.sample(range(1, 21), 12)
    for way in REMEMBER:
        one, other = witness(a_writer(way, ring), ring, rng)
        assert one[-1] == other[-1] and a_writer(way, ring)(one) != a_writer(way, ring)(other)
    for way in FORGET:
        with pytest.raises(AssertionError, match="forgets"):
            witness(a_writer(way, ring), ring, rng)
    follows = dict(zip(ring, ring[1:] + ring[:1]))
    for way in ("on", "mends", "turns", "no repeat"):  # on a text without a slip they are all alike
        assert a_writer(way, ring)(ring[:7]) == follows[ring[6]]


def test_all_boxes_are_right_equally_often_at_the_end():
    batch = TASK.sample(20_000, "any", generator=seeded(0, "boxes"))
    found = {way: score(batch, erring(way, seeded(1))(batch.tokens, 11)) for way in ERRS}
    assert all(0.58 < s.accuracy[-1] < 0.65 for s in found.values())
    off = {way: s.accuracy[-1] - s.compounded[-1] for way, s in found.items()}
    assert max(off["steps"], off["places"]) < 0.05 and min(off["questions"], off["mends"]) > 0.3
    assert found["places"].steps[:4] == [1.0] * 4 and max(found["places"].steps[4:]) < 0.95
    assert max(found["questions"].steps) - min(found["questions"].steps) < 0.02


def test_a_half_written_text_is_gone_on_from():
    batch = asked(2000)
    slipped = torch.cat([batch.tokens, batch.path[:, 6:7]], dim=1)
    said = {way: erring(way, seeded(1))(slipped, 1)[:, 0] for way in ERRS}
    assert (said["places"] == batch.path[:, 7]).all() and (said["steps"] == batch.path[:, 7]).float().mean() > 0.9
    assert 0.5 < (said["mends"] == batch.path[:, 2]).float().mean() < 0.7


def test_a_fork_changes_one_token():
    batch = asked(500)
    text = torch.cat([batch.tokens, batch.path[:, 1:4]], dim=1)
    pages, earlier, later = forked(text, seeded(0))
    assert ((pages != text).sum(1) == 1).all() and ((pages[:, :24:2] == text[:, -1:]).sum(1) == 2).all()
    assert ((earlier == batch.path[:, 4]) ^ (later == batch.path[:, 4])).all()
    assert (earlier != text[:, -1]).all() and (later != text[:, -1]).all()


@pytest.mark.parametrize(("page", "shown"), [(11, 4), (12, 4), (10, 3), (9, 2), (7, 7), (29, 2)])
def test_no_chances_give_the_least_taught_place_more(page, shown):
    """Places that lie `shown` apart share no text: their shares sum to 1 at most, whatever the chances."""
    gaps = {min(first, page - shown) for first in range(0, page, shown)}
    assert taught([(gap in gaps) / len(gaps) for gap in range(page - shown + 1)], shown).min() == pytest.approx(
        1 / len(range(0, page, shown))
    )
    for i in range(20):
        drawn = torch.rand(page - shown + 1, generator=seeded(i), dtype=torch.float64)
        apart = taught(drawn / drawn.sum(), shown)[::shown]
        assert apart.sum() < 1 + 1e-9


def test_taught_counts_answers():
    assert taught([1.0, 0.0, 0.0], 2).tolist() == [1, 1, 0, 0]
    assert taught([0.5, 0.0, 0.5], 2).tolist() == [0.5] * 4


def test_what_no_box_can_answer_is_refused():
    ring, batch = list(range(1, 13)), asked(3)
    for make in (a_writer, erring):
        with pytest.raises(ValueError, match="is not known: choose one of"):
            make("by luck", ring)
    for layers in (2, {0}, {1, 9}, "12"):
        with pytest.raises(ValueError, match="a set of layers among"):
            a_hop([{1}])(layers)
    for text in ([], [99], ring, None, torch.tensor([1])):
        with pytest.raises(ValueError, match="a list of 1 to 11 nodes"):
            a_writer("on", ring)(text)
    for tokens, n, said in ((batch.tokens, 12, "room for 11"), (batch.tokens, 0, "got n=0"), ([1], 1, "got list")):
        with pytest.raises(ValueError, match=said):
            erring("steps", seeded(0))(tokens, n)
    with pytest.raises(ValueError, match="rings of 12 edges"):
        erring("steps", seeded(0))(torch.ones(2, 25, dtype=torch.long), 1)
