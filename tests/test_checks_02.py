"""The mistakes that lesson 02's checks know by name."""

from math import inf
from statistics import mean, median

import pytest
import torch
from checks_work import complete, held, rows

from matchlib.checks_02 import USUAL, one_layer, with_and_without


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


def left_out(histories, bar):
    return median([s for s in (first(history, bar) for history in histories) if s < inf] or [inf])


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
        (slipped("late"), "after the softmax"),
        (slipped("columns"), "each *row* must sum to 1"),
        (slipped("swapped"), "Query and key are exchanged"),
        (slipped("unscaled"), "lack their scale"),
        (slipped("d_model"), "square root of d_model"),
        (slipped("straight"), "lacks its ReLU"),
        (slipped("exchanged"), "post and pre exchanged"),
        (slipped("once"), "the second is missing"),
        (slipped("carried"), "carry the normalised one on"),
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
        (over(lambda history, bar: first(history, bar, never=0)), "0 steps, the fastest"),
        (over(lambda history, bar: first(history, bar, of="train")), "take `test`"),
        (over(index), "which evaluation it was"),
        (over(above), "compare with >="),
        (over(stays), "from which it stays above"),
        (over(first, mean), "You take the mean"),
        (over(first, min), "the fastest run"),
        (lambda histories, bar: None, "end with a return"),
        (lambda histories, bar: inf, "is right"),
    ],
    "bait": [
        (laid(lambda s, t, usual, other: [s, *other[:3], usual[0], t]), "seven different tokens"),
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
        (lambda: "the jump comes at half the steps or before", "not what the mechanism waits for"),
        (lambda: "the jump comes sooner", "choose one of"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    held(name, wrong, said)


def test_every_check_has_its_mistakes():
    complete("02", MISTAKES)


def test_the_record_of_the_last_prediction_holds_five_seeds_either_way():
    for split, found in with_and_without().items():
        assert {r.train.split for r in found} == {split} and len({r.seed for r in found}) == len(found) == 5
        assert {(r.model.noise, r.model.layernorm, r.task.n_edges) for r in found} == {("none", "post", 4)}
