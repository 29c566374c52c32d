"""The mistakes that lesson 02's checks know by name."""

from math import inf
from statistics import mean, median

import pytest
import torch
from checks_work import can_be_seen, complete, held, rows

from matchlib.checks_02 import one_layer
from matchlib.checks_02_bait import USUAL, with_and_without


def slipped(slip):
    return lambda x, w, placement: one_layer(x, w, placement, slip)


def strict(x, w, placement):
    """A position that may not even read itself: the first row of the softmax is NaN."""
    return one_layer(x, w, placement) * torch.nan


def first(history, bar, never=inf, of="test"):
    return next((e.step for e in history if getattr(e, of) >= bar), never)


def index(history, bar):
    return next((i for i, e in enumerate(history) if e.test >= bar), inf)


def above(history, bar):
    return next((e.step for e in history if e.test > bar), inf)


def stays(history, bar):
    return next((e.step for i, e in enumerate(history) if all(f.test >= bar for f in history[i:])), inf)


def over(of, middle=median):
    return lambda histories, bar: middle([of(history, bar) for history in histories])


def arrived(histories, bar):
    return sorted(s for s in (first(history, bar) for history in histories) if s < inf)


def left_out(histories, bar):
    return median(arrived(histories, bar) or [inf])


def but_for_none(histories, bar):
    if not arrived(histories, bar):
        raise ValueError
    return over(first)(histories, bar)


def left_out_by_hand(histories, bar):
    """One of the two in the middle where their number is even."""
    found = arrived(histories, bar) or [inf]
    return found[len(found) // 2]


def latest(history, bar):
    return max((e.step for e in history if e.test >= bar), default=inf)


def final(history, bar):
    return history[-1].step if history[-1].test >= bar else inf


def as_they_come(histories, bar):
    return [first(history, bar) for history in histories][len(histories) // 2]


def last(history, bar):
    return first(history, bar, never=history[-1].step)


def heaps(start, target):
    free = [t for t in range(1, 51) if t not in (start, target)]
    usual = [t for t in free if (t - start) % 5 in USUAL]
    return usual, [t for t in free if t not in usual]


def laid(how):
    """A chain from `how(start, target, usual, other)`."""
    return lambda start, target: how(start, target, *heaps(start, target))


MISTAKES = {
    "layer_by_hand": [
        (slipped("open"), "reads what comes after it"),
        (slipped("past"), "the wrong way round"),
        (slipped("zero"), "a softmax gives it weight"),
        (slipped("late"), "after the softmax"),
        (slipped("columns"), "each *row* must sum to 1"),
        (slipped("swapped"), "Query and key are exchanged"),
        (slipped("unscaled"), "lack their scale"),
        (slipped("d_model"), "square root of d_model"),
        (slipped("straight"), "lacks its ReLU"),
        (slipped("alone"), "The MLP is missing"),
        (slipped("bare"), "Nothing is carried on"),
        (slipped("exchanged"), "post and pre exchanged"),
        (lambda x, w, placement: one_layer(x, w, "post"), "Post is right, and for pre"),
        (lambda x, w, placement: one_layer(x, w, "pre"), "Pre is right, and for post"),
        (slipped("once"), "the second is missing"),
        (slipped("carried"), "carry the normalised one on. "),
        (slipped("carried twice"), "carry the normalised one on, twice"),
        (slipped("misplaced"), "acts on the *sum*"),
        (strict, "holds NaN"),
        (lambda x, w, placement: x, "differs from the model's"),
        (lambda x, w, placement: x[:, -1], "is asked"),
    ],
    "first_glance": [
        (lambda: "all much the same", "chooses, though nothing has been learnt"),
        (lambda: "its own place", "no place knows itself"),
        (lambda: "two keys", "choose one of"),
    ],
    "typical_steps": [
        (over(last), "counts as its last step"),
        (left_out, "flatter the recipe"),
        (left_out_by_hand, "the rest flatter"),
        (lambda histories, bar: median(arrived(histories, bar)), "and you left them all out: Your function ended"),
        (but_for_none, "of five runs none gets there: Your function ended with ValueError"),
        (over(lambda history, bar: first(history, bar, never=0)), "0 steps, the fastest"),
        (over(lambda history, bar: first(history, bar, of="train")), "take `test`"),
        (over(index), "which evaluation it was"),
        (over(above), "compare with >="),
        (over(stays), "from which it stays above"),
        (over(latest), "take the last evaluation above the bar"),
        (over(final), "at the last evaluation alone"),
        (lambda histories, bar: over(first)(histories, 0.95), "a number of your own"),
        (as_they_come, "sort the steps first"),
        (over(first, mean), "You take the mean"),
        (over(first, min), "the fastest run"),
        (lambda histories, bar: None, "end with a return"),
        (lambda histories, bar: inf, "is right"),
    ],
    "bait": [
        (laid(lambda s, t, usual, other: [s, *other[:3], usual[0], t]), "has 6 tokens: six edges join seven"),
        (
            laid(lambda s, t, usual, other: [s, *other[:3], usual[0], t, other[0]]),
            " twice, and then two edges leave it",
        ),
        (laid(lambda s, t, usual, other: [*other[:4], usual[0], t, s]), "among the first five"),
        (laid(lambda s, t, usual, other: [s, *other[:3], usual[0], *other[3:5]]), "is not in your chain"),
        (laid(lambda s, t, usual, other: [s, usual[0], t, *other[:4]]), "is the right answer"),
        (laid(lambda s, t, usual, other: [s, t, usual[0], *other[:4]]), "the middle token itself"),
        (laid(lambda s, t, usual, other: [t, s, *other[:4], usual[0]]), "stands first"),
        (laid(lambda s, t, usual, other: [s, *other[:2], t, usual[0], *other[2:4]]), "behind the target"),
        (laid(lambda s, t, usual, other: [s, *other[:4], t, other[4]]), "has no usual residue"),
        (laid(lambda s, t, usual, other: [s, usual[0], other[0], usual[1], t, *other[1:3]]), "2 edges tempt"),
    ],
    "without_rule": [
        (lambda: "there is no jump", "nobody needs the rule"),
        (lambda: "the jump comes sooner", "not what the mechanism waits for"),
        (lambda: "the jump comes at half the steps or before", "choose one of"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("02", MISTAKES)


def test_the_record_of_the_last_prediction_holds_five_seeds_either_way():
    for split, found in with_and_without().items():
        assert {r.train.split for r in found} == {split} and len({r.seed for r in found}) == len(found) == 5
        assert {(r.model.noise, r.model.layernorm, r.task.n_edges) for r in found} == {("none", "post", 4)}
