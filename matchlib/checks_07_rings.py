"""The checks of lesson 07's exercises, continued: what ruling out can do on a ring, and who does more than that."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from matchlib.checking import Wrong, ask, check, dice, number, truth
from matchlib.ring_boxes import BEYOND, KEEP, SHARE, a_box
from matchlib.rules import reach, sets
from matchlib.train import seeded


@dataclass(frozen=True)
class Question:
    """A question about a ring, what the start holds of it in the end, and how far it got the short way."""

    order: list[int]  # of the edges
    start: int
    hops: int
    n_layers: int
    heard: frozenset[int]
    ahead: int

    @classmethod
    def of(cls, order: list[int], start: int, hops: int, n_layers: int) -> "Question":
        heard, ahead = sets(order, n_layers, start, ring=True)[-1][-1], reach(order, n_layers, start, ring=True)
        return cls(order, start, hops, n_layers, heard, ahead)

    @property
    def n(self) -> int:
        return len(self.order)

    @property
    def answer(self) -> int:
        return (self.start + self.hops) % self.n

    @property
    def asked(self) -> tuple[list[int], int, int, int]:
        return self.order, self.start, self.hops, self.n_layers


def chance(q: Question, left: int | None = None, heard: bool | None = None) -> float:
    """Of one who guesses among so many nodes where the answer is not heard; by default those that are left open."""
    sure = q.answer in q.heard if heard is None else heard
    return 1.0 if sure else 1 / max(1, q.n - len(q.heard) if left is None else left)


GUESSES: dict[str, Callable[[Question], float]] = {
    "You guess among all nodes of the ring: what is heard, and is not the answer, is ruled out": lambda q: chance(
        q, q.n
    ),
    "You guess among all nodes but the start: what else is heard is ruled out too": lambda q: chance(q, q.n - 1),
    "Where the answer is not heard you give 0: one may still guess": lambda q: float(q.answer in q.heard),
    "You guess among the nodes that are heard, and the answer is none of them": lambda q: chance(q, len(q.heard)),
    "You count the start as a node left open: it is held, and it is not the answer": lambda q: chance(
        q, q.n - len(q.heard) + 1
    ),
    "You guess always, also where the answer is heard": lambda q: chance(q, heard=False),
    "You rule out what lies ahead alone: what came in from behind is ruled out as well": lambda q: chance(
        q, q.n - 1 - q.ahead
    ),
    "The answer may come in the other way round: a ring of n has it n - hops steps back": lambda q: chance(
        q, heard=q.ahead >= q.hops
    ),
    "The answer stands `hops` behind the start, at (start + hops) % n: you look for the node `hops` itself": lambda q: (
        chance(q, heard=q.hops in q.heard)
    ),
    "Nodes of a ring are counted round: start + hops may lead past the last one, so take it % n": lambda q: chance(
        q, heard=q.start + q.hops in q.heard
    ),
}


def questions(rng: random.Random) -> list[Question]:
    """Rings of many sizes: with the answer heard from ahead, from behind alone, and not at all; few or many left.

    Drawn until no two of the known mistakes give the same on all of them.
    """
    while True:
        drawn, kinds = [], defaultdict(int)
        while len(drawn) < 24:
            n, n_layers = rng.randrange(5, 12), rng.choice((2, 3, 3, 3, 4))
            q = Question.of(rng.sample(range(n), n), rng.randrange(1, n), rng.randrange(1, n), n_layers)
            kind = (q.ahead >= q.hops, q.answer in q.heard, n - len(q.heard) > 1)
            if kinds[kind] < 4:
                kinds[kind] += 1
                drawn.append(q)
        if len({tuple(map(guess, drawn)) for guess in (chance, *GUESSES.values())}) > len(GUESSES):
            return drawn


def asked_of(answer, q: Question):
    """The learner's chance; who divides by no node has lost the answer among those that are held."""
    try:
        return ask(answer, *q.asked)
    except Wrong as error:
        if "ZeroDivisionError" not in str(error) or q.n > len(q.heard):
            raise
        raise Wrong(
            f"{error} All {q.n} nodes are held here, the answer too. Did you count round, (start + hops) % n?",
            f"print(({q.start} + {q.hops}) % {q.n}, 'is asked for, on the ring', {q.order})",
        ) from None


@check("07", "What is an answer worth that may be guessed?")
def knowing(g, answer):
    """The learner's chance on fresh rings, against that of one who knows what the start holds."""
    cases = questions(dice(g))
    got = [number(asked_of(answer, q), "Your chance") for q in cases]
    true = [chance(q) for q in cases]

    def same(some: list[float], others: list[float]) -> bool:
        return all(abs(a - b) < 1e-9 for a, b in zip(some, others))

    if same(got, true):
        return "24 rings of 5 to 11 edges: heard from ahead, heard from behind alone, ruled out, and guessed."
    i = next(i for i, (a, b) in enumerate(zip(got, true)) if abs(a - b) >= 1e-9)
    order, start, hops, n_layers = cases[i].asked
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


MORE, MOST_ALARMS = 20, 4  # boxes at the limit; how many may be called beyond


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
    alarms = sum(
        truth(ask(answer, a_box("rules out", 3, 4, 0.0, seeded(rng.randrange(2**31)))), "Your verdict")
        for _ in range(MORE)
    )
    if MOST_ALARMS < alarms < MORE:
        raise Wrong(
            f"Of {MORE} boxes that rule out and never err you call {alarms} beyond. Each stands at the limit, and luck "
            "puts it above as often as below: leave a margin, and ask so many questions that luck stays within it.",
            OPEN_NODES,
        )
    if not any(wrong.values()):
        return "12 boxes: those that rule out are cleared, and those that know more are found; false alarms are rare."
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
