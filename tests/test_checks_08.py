"""The mistakes that lesson 08's checks know by name."""

import random
from itertools import combinations, count

import numpy as np
import pytest
import torch
from checks_work import can_be_seen, complete, held, judged, rows

from matchlib.aloud import TASK
from matchlib.checks_08 import of_fewest, smallest
from matchlib.checks_08_writers import by_new_places
from matchlib.train import seeded
from matchlib.writers import LAYERS, MOST
from matchlib.writing import score

ALL = [set(one) for size in range(1, 5) for one in combinations(LAYERS, size)]


def right_sets(moved, layers):
    return list(smallest(moved))


def looked_at(sizes, least=0.9):
    return lambda moved, layers: [set(one) for one in smallest(moved, sizes, least)]


def everything(moved, layers):
    return [one for one in ALL if moved(one) >= 0.9]


def first_found(moved, layers):
    return sorted(map(sorted, smallest(moved)))[:1]


def one_by_one(moved, layers):
    """Leaves out one layer after the other: the set that is left, and no other."""
    left = set(layers)
    for layer in layers:
        left -= {layer} if moved(left - {layer}) >= 0.9 else set()
    return [left] if moved(left) >= 0.9 else []


def united(moved, layers):
    return [set().union(*found)] if (found := smallest(moved)) else []


def from_0(moved, layers):
    return [{layer - 1 for layer in one} for one in smallest(moved)]


def remembering(text_of, tries=600):
    """A learner's search among texts of one sort."""

    def search(writes, ring):
        dice, seen = random.Random(1), {}
        for _ in range(tries):
            text = text_of(dice, ring)
            first, then = seen.setdefault(text[-1], (text, said := writes(text)))
            if said != then:
                return first, text
        return None

    return search


def any_text(dice, ring):
    return [dice.choice(ring) for _ in range(dice.randint(1, MOST))]


def right_text(dice, ring):
    first = dice.randrange(12)
    return [ring[(first + k) % 12] for k in range(dice.randint(1, MOST))]


def one_start(dice, ring):
    return [ring[0], *(dice.choice(ring) for _ in range(dice.randint(0, MOST - 1)))]


def one_length(dice, ring):
    return [dice.choice(ring) for _ in range(MOST)]


def two_at_most(dice, ring):
    return [dice.choice(ring) for _ in range(dice.randint(1, 2))]


right_search = remembering(any_text)


def says_no_other_way(writes, ring):
    """Takes it for a memory that a writer does not walk on."""
    if writes([ring[0]]) != ring[1]:
        return [ring[0]], [ring[3], ring[0]]
    return right_search(writes, ring)


def other_ends(writes, ring):
    return ring[:3], ring[:4]


def too_long(writes, ring):
    return ring[:1], ring[1:] + ring[:1]


def measured(n=3000):
    return TASK.sample(n, "any", generator=seeded(n, "test"))


def reason(more=0.1, uneven=0.03, counted="steps"):
    """A learner's verdict, wrong in one place; `more` or `uneven` None: not looked at."""

    def verdict(writes):
        batch = measured()
        found = score(batch, writes(batch.tokens, 11))
        steps, product = found.steps, found.compounded[-1]
        if counted == "still right":
            steps = [b / a for a, b in zip([1.0, *found.accuracy], found.accuracy)]
            product = found.accuracy[-1]
        if more and found.accuracy[-1] - product > more:
            return "mends" if found.accuracy[0] < 0.7 else "questions"
        return "places" if uneven and max(steps) - min(steps) > uneven else "steps"

    return verdict


right_reason = reason()


def taking(way, taken_for):
    """A learner who takes one sort of box for another."""
    return lambda writes: taken_for if (said := right_reason(writes)) == way else said


def wrong_once():
    calls = count()

    def verdict(writes):
        said = right_reason(writes)
        return ("mends" if said == "steps" else "steps") if next(calls) % 12 == 5 else said

    return verdict


def right_gaps(page, shown):
    gaps = {min(first, page - shown) for first in range(0, page, shown)}
    return [(gap in gaps) / len(gaps) for gap in range(page - shown + 1)]


def spread_over(gaps):
    """A learner's chances: each of some gaps equally often."""

    def chances(page, shown):
        chosen = {gap for gap in gaps(page, shown) if gap <= page - shown}
        return [(gap in chosen) / len(chosen) for gap in range(page - shown + 1)]

    return chances


def ends_twice(page, shown):
    """Uniform, and the first and the last gap twice as often."""
    weights = [1 + (gap in (0, page - shown)) for gap in range(page - shown + 1)]
    return [weight / sum(weights) for weight in weights]


MISTAKES = {
    "smallest_sets": [
        (looked_at([1]), "You exchange in one layer at a time"),
        (looked_at([4]), "You exchange in all layers at once"),
        (looked_at([1, 2]), "You stop at pairs"),
        (everything, "also those that can spare a layer"),
        (lambda moved, layers: list(of_fewest(smallest(moved))), "of the fewest layers alone"),
        (looked_at(None, 0.5), "You count half as moved"),
        (lambda moved, layers: [{max(layers, key=lambda layer: moved({layer}))}], "whatever it does"),
        (united, "You put all sets into one"),
        (one_by_one, "You stop at the first set"),
        (lambda moved, layers: first_found(moved, layers) or [set()], "an empty set"),
        (from_0, "You name layer 0"),
        (lambda moved, layers: [2], "one layer alone is {2}, not 2"),
        (lambda moved, layers: [{1}], "of 10 hops have other sets"),
        (lambda moved, layers: moved(2), "moved() takes a set of layers"),
    ],
    "two_edges": [
        (lambda: "the earlier", "all places are seen at once"),
        (lambda: "the later", "No edge writes over an older one"),
        (lambda: "neither", "nearer to each of them"),
        (lambda: "both", "choose one of"),
    ],
    "two_texts": [
        (lambda writes, ring: None, "You say None of every writer"),
        (remembering(right_text), "only a slip brings this memory to light"),
        (remembering(one_start), "the same start"),
        (remembering(one_length), "of one length"),
        (remembering(two_at_most), "two nodes at most"),
        (says_no_other_way, "is no memory"),
        (other_ends, "The newest node must be the same"),
        (too_long, "up to 10 written ones"),
        (lambda writes, ring: ([21, ring[0]], ring[:1]), "holds 21, which is no node"),
        (lambda writes, ring: ring[:1], "two texts are asked, or None"),
        (lambda writes, ring: writes([]), "a list of 1 to 11 nodes"),
    ],
    "why_wrong": [
        (lambda writes: "steps", "You say 'steps' of every box"),
        (reason(uneven=None), "look at the places one by one"),
        (reason(more=None, uneven=0.045), "always right on most questions is said to fail step by step"),
        (reason(counted="still right"), "their shares multiply to the accuracy"),
        (taking("questions", "places"), "count the steps from the node that was written before"),
        (taking("steps", "places"), "leave a margin"),
        (taking("mends", "questions"), "look at what it writes behind a wrong node"),
        (taking("questions", "mends"), "behind a wrong node it goes on from there"),
        (wrong_once(), "looks like luck"),
        (taking("mends", "places"), "at the first node as at"),
        (taking("mends", "steps"), "finds back after a slip is"),
        (lambda writes: "slips", "choose one of"),
        (lambda writes: writes(measured(10).tokens, 12), "writes() has room for 11 nodes"),
        (lambda writes: writes(torch.ones(5, 25, dtype=torch.long), 11), "questions on rings"),
    ],
    "gap_chances": [
        (spread_over(lambda page, shown: [0]), "All your texts begin right behind the edges"),
        (spread_over(lambda page, shown: range(1, page)), "The first place is never taught"),
        (
            spread_over(lambda page, shown: range(0, page, shown)),
            "the last gap is the one after which a text just fits",
        ),
        (spread_over(lambda page, shown: (0, page - shown)), "Place 4 is never taught"),
        (spread_over(lambda page, shown: range(page)), "Each gap equally often"),
        (by_new_places, "where it reaches fewer new places"),
        (ends_twice, "is taught in 0.200 of the texts"),
        (lambda page, shown: [1 / page] * page, "has a chance for every place"),
        (lambda page, shown: right_gaps(page, shown)[1:], "gap 0, no padding at all, is one too"),
        (lambda page, shown: [3 * x for x in right_gaps(page, shown)], "so chances sum to 1"),
        (lambda page, shown: [2, -1, *[0] * (page - shown - 1)], "a chance below 0"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("08", MISTAKES)


def by_layers_left_out(moved, layers):
    """From the largest sets down: those from which no layer can be taken."""
    does = [one for one in ALL if moved(one) > 0.85]
    return frozenset(frozenset(one) for one in does if not any(one - {layer} in does for layer in one))


def by_a_wrong_node(writes):
    """Puts a wrong node in, and looks at what stands behind it."""
    batch = measured(4000)
    found = score(batch, writes(batch.tokens, 11))
    if found.accuracy[-1] < found.compounded[-1] + 0.1:
        return np.str_("places" if found.steps[0] == 1 else "steps")
    slipped = torch.cat([batch.tokens, batch.path[:, 6:7]], dim=1)
    return "mends" if (writes(slipped, 1)[:, 0] == batch.path[:, 2]).float().mean() > 0.4 else "questions"


RIGHT = {
    "from above": ("smallest_sets", by_layers_left_out),
    "tuples": ("smallest_sets", lambda moved, layers: tuple(map(tuple, smallest(moved)))),
    "texts as arrays": (
        "two_texts",
        lambda writes, ring: (pair := right_search(writes, ring)) and tuple(map(np.array, pair)),
    ),
    "by a wrong node": ("why_wrong", by_a_wrong_node),
    "chances as a tensor": ("gap_chances", lambda page, shown: torch.tensor(right_gaps(page, shown))),
    "from the end": ("gap_chances", lambda page, shown: right_gaps(page, shown)[::-1]),
}


@pytest.mark.parametrize(("name", "answer"), RIGHT.values(), ids=RIGHT)
def test_other_right_answers_pass_too(name, answer):
    assert judged(name, answer).state == "passed", judged(name, answer)
