"""The checks of lesson 07's exercises, continued: what ruling out can do on a ring, and who does more than that."""

import random
from collections import defaultdict
from collections.abc import Callable

from matchlib.checking import Wrong, ask, check, dice, number, truth
from matchlib.ring_boxes import BEYOND, KEEP, SHARE, a_box
from matchlib.rules import reach, sets
from matchlib.train import seeded

Question = tuple[list[int], int, int, int]  # the order of the edges of a ring, start, hops, layers


def heard_by(question: Question) -> frozenset[int]:
    order, start, _, n_layers = question
    return sets(order, n_layers, start, ring=True)[-1][-1]


def answer_of(question: Question) -> int:
    order, start, hops, _ = question
    return (start + hops) % len(order)


def worth(question: Question) -> float:
    """The chance that one is right who knows what the start holds."""
    heard, n = heard_by(question), len(question[0])
    return 1.0 if answer_of(question) in heard else 1 / (n - len(heard))


def ahead(question: Question) -> int:
    order, start, _, n_layers = question
    return reach(order, n_layers, start, ring=True)


GUESSES: dict[str, Callable[[Question], float]] = {
    "You guess among all nodes of the ring: what is heard, and is not the answer, is ruled out": lambda q: (
        1.0 if answer_of(q) in heard_by(q) else 1 / len(q[0])
    ),
    "You guess among all nodes but the start: what else is heard is ruled out too": lambda q: (
        1.0 if answer_of(q) in heard_by(q) else 1 / (len(q[0]) - 1)
    ),
    "Where the answer is not heard you give 0: one may still guess": lambda q: float(answer_of(q) in heard_by(q)),
    "You guess among the nodes that are heard, and the answer is none of them": lambda q: (
        1.0 if answer_of(q) in heard_by(q) else 1 / len(heard_by(q))
    ),
    "You count the start as a node left open: it is held, and it is not the answer": lambda q: (
        1.0 if answer_of(q) in heard_by(q) else 1 / (len(q[0]) - len(heard_by(q)) + 1)
    ),
    "You guess always, also where the answer is heard": lambda q: 1 / max(1, len(q[0]) - len(heard_by(q))),
    "You rule out what lies ahead alone: what came in from behind is ruled out as well": lambda q: (
        1.0 if answer_of(q) in heard_by(q) else 1 / max(1, len(q[0]) - 1 - ahead(q))
    ),
    "The answer may come in the other way round: a ring of n has it n - hops steps back": lambda q: (
        1.0 if ahead(q) >= q[2] else 1 / max(1, len(q[0]) - len(heard_by(q)))
    ),
    "The answer stands `hops` behind the start, at (start + hops) % n: you look for the node `hops` itself": lambda q: (
        1.0 if q[2] in heard_by(q) else 1 / max(1, len(q[0]) - len(heard_by(q)))
    ),
    "Nodes of a ring are counted round: start + hops may lead past the last one, so take it % n": lambda q: (
        1.0 if q[1] + q[2] in heard_by(q) else 1 / max(1, len(q[0]) - len(heard_by(q)))
    ),
}


def questions(rng: random.Random) -> list[Question]:
    """Rings of many sizes: with the answer heard from ahead, from behind alone, and not at all; few or many left."""
    drawn, kinds = [], defaultdict(int)
    while len(drawn) < 24:
        n, n_layers = rng.randrange(5, 12), rng.choice((2, 3, 3, 3, 4))
        q = rng.sample(range(n), n), rng.randrange(1, n), rng.randrange(1, n), n_layers
        heard = heard_by(q)
        kind = (ahead(q) >= q[2], answer_of(q) in heard, n - len(heard) > 1)
        if kinds[kind] < 4:
            kinds[kind] += 1
            drawn.append(q)
    return drawn


@check("07", "What is an answer worth that may be guessed?")
def knowing(g, answer):
    """The learner's chance on fresh rings, against that of one who knows what the start holds."""
    cases = questions(dice(g))
    got = [number(ask(answer, *q), "Your chance") for q in cases]
    true = [worth(q) for q in cases]

    def same(some: list[float], others: list[float]) -> bool:
        return all(abs(a - b) < 1e-9 for a, b in zip(some, others))

    if same(got, true):
        return "24 rings of 5 to 11 edges: heard from ahead, heard from behind alone, ruled out, and guessed."
    i = next(i for i, (a, b) in enumerate(zip(got, true)) if abs(a - b) >= 1e-9)
    order, start, hops, n_layers = cases[i]
    see = f"print(knowing({order}, {start}, {hops}, {n_layers}), 'and', {true[i]:.3f}, 'is right')"
    for sentence, rival in GUESSES.items():
        if same(got, [rival(q) for q in cases]):
            raise Wrong(f"{sentence}.", see)
    if any(not 0 <= x <= 1 for x in got):
        raise Wrong("A chance lies between 0 and 1, and one of yours does not.", see)
    raise Wrong(f"{hops} hops from node {start}, a ring of {len(order)}: it is {true[i]:.3f}, not {got[i]:.3f}.", see)


MISSED = {
    "rules out": "A box that keeps to the rules and rules out what it has heard is taken for more: "
    "where two nodes are left open it is right in half, and where one is, always",
    "draws": "A box is taken for more that draws among all nodes where it has not heard the answer",
    "at chance": "A box is taken for more that draws among all nodes whatever the order: it is right in one of nine",
    "follows": "A box that is right whatever the order is said to keep to the rules",
    "halfway": "A box is missed that is perfect where the rules allow it, and where two nodes are left open is "
    f"right in {SHARE}: over all forbidden orders that is no more than ruling out gets, so do not pool them",
    "clumsy": "A box is missed that errs a lot, and knows what no rule lets it hear: "
    f"where two nodes are left open it is right in {SHARE}",
}
OPEN_NODES = "asked = task.sample(1000, 'any', generator=seeded(1)); print(left_open(asked, 3, True).bincount())"


@check("07", "Design: does it go beyond the rules?")
def goes_beyond(g, answer):
    """Twelve boxes on a ring of nine, three ways that keep to the rules and three that do not; the learner's test."""
    rng, wrong, said = dice(g), defaultdict(int), []
    for way in rng.sample((KEEP + BEYOND) * 2, 12):
        errs = rng.uniform(0, 0.03 if way in ("clumsy", "halfway") else 0.1)
        box = a_box(way, 3, 4, errs, seeded(rng.randrange(2**31)))
        said.append(truth(ask(answer, box), "Your verdict"))
        wrong[way] += said[-1] != (way in BEYOND)
    if len(set(said)) == 1:
        raise Wrong(f"You say {said[0]} of every box, and half of them go beyond.", OPEN_NODES)
    if not any(wrong.values()):
        return "12 boxes: those that rule out are cleared, and those that know more are found, the clumsy ones too."
    if all(wrong.values()) and sum(wrong.values()) == 12:
        raise Wrong("You have True and False exchanged: True says that it goes beyond.", OPEN_NODES)
    if sum(wrong.values()) == 1:
        raise Wrong(
            "One box of twelve is misjudged, and another of its sort is not: that looks like luck. Whoever judges "
            "often needs more questions, or a margin.",
            OPEN_NODES,
        )
    way = max(MISSED, key=lambda name: (wrong[name], -list(MISSED).index(name)))
    raise Wrong(f"{MISSED[way]}. ({sum(wrong.values())} of 12 boxes are misjudged.)", OPEN_NODES)
