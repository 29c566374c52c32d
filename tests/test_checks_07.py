"""The mistakes that lesson 07's checks know by name."""

import random
from functools import partial
from itertools import count, pairwise

import numpy as np
import pytest
import torch
from checks_work import can_be_seen, complete, held, judged, rows

from matchlib.checks_07 import behind, fastest_pairs, implied, in_other_blocks, laid, most_new, with_one_ear
from matchlib.data import ChainTask
from matchlib.depth import left_open
from matchlib.evidence import Count
from matchlib.rules import all_orders, bounds, fastest, fastest_share, random_orders, reach, reaches, sets
from matchlib.train import seeded

TASK = ChainTask("ring", n_edges=9, hops=4, n_tokens=12)
THREE = [(2, 1), (2, 3)]
BLOCKS = [(5, 4), (5, 6), (8, 7), (8, 9), (11, 10), (11, 12)]
TOP = [(8, 5), (8, 11)]


def ear(matches=None, keep=lambda own, heard: own | heard, layers=range, first=None, at_once=True, ear=True):
    """A learner's pass, wrong in one place."""
    matches = matches or (lambda held, i: [held[j] for j in range(i) if held[j] & held[i]])

    def steps(order, n_layers, choose):
        held = [{node} for edge in order for node in (edge, edge + 1)] + [{0}]
        for layer in layers(1, n_layers + 1):
            above = list(held) if at_once else held
            for i, own in enumerate(held):
                heard = matches(held, i)
                if layer == 1 and first is None:
                    heard = [held[i - 1]] if i % 2 else []
                if heard:
                    above[i] = keep(own, heard[choose(own, heard)] if ear else set().union(*heard))
            held = above
        return max(held[-1])

    return steps


def everywhere(held, i):
    return [other for j, other in enumerate(held) if other & held[i] and j != i]


def with_itself(held, i):
    return [held[j] for j in range(i + 1) if held[j] & held[i]]


def by_number(order, n_layers, choose):
    return choose({0}, [3, 5])


def in_one_layer_more(order, n_layers, choose):
    return with_one_ear(order, n_layers + (n_layers > 2), choose)


def by_the_rules(**changed):
    return partial(with_one_ear, **changed)


def pairs(four, three=THREE):
    return lambda n_layers: three if n_layers == 3 else four


ALL = THREE + BLOCKS + TOP


def known(order, start, n_layers):
    return sets(order, n_layers, start, ring=True)[-1][-1]


def guess(left, heard=None):
    """A learner's chance: 1 where the answer is heard, else one of so many."""

    def chance(order, start, hops, n_layers):
        n, own = len(order), known(order, start, n_layers)
        found = heard(own, n, start, hops) if heard else (start + hops) % n in own
        return 1.0 if found else 1 / max(1, left(n, own, reach(order, n_layers, start, ring=True)))

    return chance


def rest(n, own, ahead):
    return n - len(own)


def never_elsewhere(order, start, hops, n_layers):
    return float((start + hops) % len(order) in known(order, start, n_layers))


def ahead_alone(order, start, hops, n_layers):
    own = known(order, start, n_layers)
    return 1.0 if reach(order, n_layers, start, ring=True) >= hops else 1 / max(1, len(order) - len(own))


def uncounted(order, start, hops, n_layers):
    """Finds the answer where the ring is not closed, and divides by what is left."""
    own = known(order, start, n_layers)
    return 1.0 if start + hops in own else 1 / (len(order) - len(own))


def asked(n=3000):
    batch = TASK.sample(n, "any", generator=seeded(n, "test"))
    return batch, left_open(batch, 3, True)


def measured(chosen, limit):
    """A verdict on the share of right answers among some questions."""

    def verdict(says):
        batch, nodes = asked()
        return bool((says(batch.tokens) == batch.answer)[chosen(nodes)].float().mean() > limit)

    return verdict


def right_test(says):
    return measured(lambda nodes: nodes == 2, 0.56)(says)


def wrong_once():
    calls = count()
    return lambda says: right_test(says) ^ (next(calls) % 12 == 5)


def careful(says):
    """Errs on every box that errs: it asks for perfection where the rules allow the answer."""
    batch, nodes = asked()
    right = says(batch.tokens) == batch.answer
    return bool(right[nodes == 0].float().mean() > 0.85 and right[nodes == 2].float().mean() > 0.56)


def by_the_gap(says):
    """Takes it for more where the order matters much."""
    batch, nodes = asked()
    right = (says(batch.tokens) == batch.answer).float()
    return bool(right[nodes == 0].mean() - right[nodes == 2].mean() > 0.65)


MISTAKES = {
    "one_ear": [
        (ear(ear=False), "You hear every match"),
        (ear(at_once=False), "heard in the same layer"),
        (ear(everywhere), "A position hears a later one"),
        (ear(with_itself), "You offer a position its own set"),
        (ear(lambda held, i: held[:i]), "share no node"),
        (ear(first="matches"), "in layer 1 a second token"),
        (ear(keep=lambda own, heard: set(heard)), "a position held it keeps"),
        (ear(layers=lambda one, end: range(one, end - 1)), "a layer too few"),
        (in_one_layer_more, "Up to two layers you are right"),
        (by_the_rules(one=True), "all positions but the last"),
        (by_the_rules(dropped=True), "loses what it held"),
        (lambda order, n, choose: with_one_ear(order, n, lambda own, heard: 0), "which is not always the first"),
        (by_the_rules(fresh=True), "bring nothing new"),
        (by_the_rules(turned=True), "last position first"),
        (by_the_rules(blind=True), "and you give it another"),
        (by_number, "not the numbers of their positions"),
        (lambda order, n_layers, choose: choose({0}, []), "a list of one set or more"),
        (lambda order, n_layers, choose: with_one_ear(order, n_layers, choose) + 1, "and the rules to"),
        (lambda order, n_layers, choose: {0, 1}, "Your number of steps is a set of 2"),
    ],
    "behind": [
        (pairs([p[::-1] for p in ALL], [p[::-1] for p in THREE]), "the other way round"),
        (pairs(ALL + [(4, 5)]), "run in a circle"),
        (pairs(list(pairwise(fastest(4)[::-1]))), "You wrote down one order"),
        (pairs(ALL + [(8, 2)]), "in different layers"),
        (pairs(ALL + [(6, 4)]), "An order that needs not be"),
        (pairs([], []), "without any pair"),
        (pairs(THREE), "these are the pairs of three layers"),
        (pairs(THREE + BLOCKS), "what must become of three such blocks"),
        (pairs(ALL[1:], THREE), "do not follow from yours"),
        (pairs([(a + 1, b + 1) for a, b in ALL]), "and you name 13"),
        (pairs(ALL, [2, 1, 3]), "A list of pairs is asked"),
        (lambda n_layers: None, "What you give for 3 layers is None"),
    ],
    "reversed_order": [
        (lambda: "in order", "none waits its turn"),
        (lambda: "reversed", "what helps is both"),
        (lambda: "sorted", "choose one of"),
    ],
    "knowing": [
        (guess(lambda n, own, ahead: n), "among all nodes of the ring"),
        (guess(lambda n, own, ahead: n - 1), "all nodes but the start"),
        (never_elsewhere, "one may still guess"),
        (guess(lambda n, own, ahead: len(own)), "the answer is none of them"),
        (guess(lambda n, own, ahead: n - len(own) + 1), "You count the start"),
        (guess(rest, lambda own, n, start, hops: False), "You guess always"),
        (guess(lambda n, own, ahead: n - 1 - ahead), "what came in from behind"),
        (ahead_alone, "come in the other way round"),
        (guess(rest, lambda own, n, start, hops: hops in own), "you look for the node `hops` itself"),
        (guess(rest, lambda own, n, start, hops: start + hops in own), "take it % n"),
        (lambda order, start, hops, n_layers: 7, "between 0 and 1"),
        (uncounted, "Did you count round"),
        (lambda order, start, hops, n_layers: 0.25, "not 0.250"),
    ],
    "goes_beyond": [
        (measured(lambda nodes: nodes >= 0, 0.85), "do not pool them"),
        (careful, "A box is missed that errs a lot"),
        (measured(lambda nodes: nodes > 0, 0.2), "where two nodes are left open it is right in half"),
        (by_the_gap, "taken for more that draws among all nodes where"),
        (measured(lambda nodes: nodes == 2, 0.8), "that is perfect where the rules allow it"),
        (lambda says: True, "You say True of every box"),
        (lambda says: not right_test(says), "exchanged"),
        (wrong_once(), "looks like luck"),
        (measured(lambda nodes: nodes == 2, 0.5), "leave a margin"),
        (lambda says: 0.7, "True or False is asked"),
        (lambda says: says([1, 2]), "questions of shape"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("07", MISTAKES)


def from_orders(n_layers):
    """By data: what holds in every drawn order that makes the most steps."""
    most = bounds(n_layers)[1]
    orders = random_orders(100_000, most, seeded(0))
    place = orders[reaches(orders, n_layers) == most].argsort(1)
    return {(a, b) for a in range(most) for b in range(most) if a != b and (place[:, a] > place[:, b]).all()}


def interval(says):
    batch, nodes = asked(6000)
    return Count.of((says(batch.tokens) == batch.answer)[nodes == 2]).interval[0] > 0.54


def frozen(order, n_layers, choose):
    ears = lambda own, heard: choose(frozenset(own), tuple(map(frozenset, heard)))  # noqa: E731
    return torch.tensor(with_one_ear(order, n_layers, ears))


RIGHT = {
    "drawn": ("behind", from_orders),
    "as an array": ("behind", lambda n_layers: np.array(pairs(ALL)(n_layers))),
    "as a tensor": ("behind", lambda n_layers: torch.tensor(pairs(ALL)(n_layers))),
    "by an interval": ("goes_beyond", interval),
    "a tensor of truth": ("goes_beyond", lambda says: torch.tensor(right_test(says))),
    "frozen sets": ("one_ear", frozen),
    "a chance as a tensor": ("knowing", lambda *q: torch.tensor(guess(rest)(*q), dtype=torch.float64)),
}


@pytest.mark.parametrize(("name", "answer"), RIGHT.values(), ids=RIGHT)
def test_other_right_answers_pass_too(name, answer):
    assert judged(name, answer).state == "passed", judged(name, answer)


def test_one_ear_never_goes_beyond_the_lower_bound():
    found = [with_one_ear(order, 3, most_new) for order in all_orders(5).tolist()]
    assert (min(found), max(found)) == (2, 3)
    every = [with_one_ear(order, 3, most_new, every=True) for order in all_orders(5).tolist()]
    assert every == reaches(all_orders(5), 3).tolist()


@pytest.mark.parametrize("n_layers", [2, 3, 4])
def test_the_pairs_are_those_of_the_upper_bound(n_layers):
    most = bounds(n_layers)[1]
    orders = all_orders(most) if most < 8 else random_orders(50_000, most, seeded(0, "pairs"))
    place, kept = orders.argsort(1), torch.ones(len(orders), dtype=torch.bool)
    for later, earlier in fastest_pairs(n_layers):
        kept &= place[:, later] > place[:, earlier]
    assert torch.equal(kept, reaches(orders, n_layers) == most)
    share = float(fastest_share(n_layers))
    assert kept.float().mean().item() == pytest.approx(share, rel=1e-6 if most < 8 else 0.3)


def test_orders_are_laid_by_pairs():
    rng = random.Random(0)
    assert laid([(0, 1), (1, 2)], 3, rng) == [2, 1, 0]
    assert {tuple(laid([(0, 1)], 3, rng)) for _ in range(200)} == {(1, 0, 2), (1, 2, 0), (2, 1, 0)}
    with pytest.raises(ValueError, match="in a circle"):
        laid([(0, 1), (1, 0)], 3, rng)
    assert implied([(0, 1), (1, 2)], 3).nonzero().tolist() == [[0, 1], [0, 2], [1, 2]]
    assert in_other_blocks(3, 4) and in_other_blocks(0, 1) and not in_other_blocks(4, 12)


def test_what_does_not_need_to_be_is_shown_by_an_order():
    said = judged("behind", pairs(ALL + [(8, 2)])).said
    order = eval(said.partition("reach(")[2].partition("]")[0] + "]")
    assert reach(order, 4) == 13 and behind.name == "behind"
