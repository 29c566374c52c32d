"""The checks of lesson 05's exercises: who is faster, and how often luck looks like a difference."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import combinations, product
from math import comb, inf, sqrt
from statistics import fmean, median

from matchlib.checking import Wrong, ask, check, dice, number


def by_ranks(a: Sequence[float], b: Sequence[float]) -> float:
    """The probability of superiority by the ranks of all runs together; equal ones share theirs."""
    both = [*a, *b]
    ranks = [sum(y < x for y in both) + (sum(y == x for y in both) + 1) / 2 for x in b]
    return (sum(ranks) - len(b) * (len(b) + 1) / 2) / (len(a) * len(b))


def arrived(steps: Sequence[float]) -> list[float]:
    return [x for x in steps if x < inf]


def in_pairs(a: Sequence[float], b: Sequence[float], tie: float = 0.5) -> float:
    """The share of pairs in which `a` is faster, a tie worth so much: for the mistakes that go by pairs."""
    return fmean((x < y) + tie * (x == y) for x, y in product(a, b))


def of_medians(tie: float) -> Callable[[list[float], list[float]], float]:
    return lambda a, b: in_pairs([median(a)], [median(b)], tie)


def differs(got: Sequence[float], true: Sequence[float]) -> int | None:
    """The first case in which two rows of numbers are not the same, None where they are."""
    return next((i for i, (x, y) in enumerate(zip(got, true, strict=True)) if abs(x - y) > 1e-9), None)


FASTER: list[tuple[str, Callable[[list[float], list[float]], float]]] = [
    ("You count the pairs in which a is slower: fewer steps are faster", lambda a, b: 1 - by_ranks(a, b)),
    (
        "You leave out the runs that never generalise, and they are the slowest of all",
        lambda a, b: by_ranks(arrived(a), arrived(b)),
    ),
    ("A tie counts nothing with you, and one half is asked: nobody was faster", lambda a, b: in_pairs(a, b, 0)),
    ("A tie counts as a win of a with you, and one half is asked: nobody was faster", lambda a, b: in_pairs(a, b, 1)),
    (
        "Never against never is a tie as well, and counts one half: with you it counts nothing",
        lambda a, b: fmean((x < y) + (x == y < inf) / 2 for x, y in product(a, b)),
    ),
    (
        "You pass over the pairs in which neither arrives: they are ties, and count one half",
        lambda a, b: fmean((x < y) + (x == y) / 2 for x, y in product(a, b) if min(x, y) < inf),
    ),
    (
        "You compare the first with the first, the second with the second: seeds are no partners, take every pair",
        lambda a, b: fmean((x < y) + (x == y) / 2 for x, y in zip(a, b)),
    ),
    *(
        ("You compare the medians alone, which says who is ahead and not how often", of_medians(tie))
        for tie in (0, 0.5, 1)
    ),
    (
        "You give the number of pairs: divide by how many pairs there are",
        lambda a, b: by_ranks(a, b) * len(a) * len(b),
    ),
    ("That is a percentage: a share from 0 to 1 is asked", lambda a, b: 100 * by_ranks(a, b)),
]


@check("05", "Who is faster, where some never arrive?")
def how_often_faster(g, answer):
    """The share of pairs in which a takes fewer steps, against a count by ranks; each case has ties and runs that never
    arrive."""
    rng = dice(g)
    cases = []
    for n, m in ((5, 5), (4, 6), (6, 3), (5, 4), (3, 5), (6, 6)):
        tie = rng.randrange(600, 1500, 100)
        a, b = ([tie, inf, *(rng.choice([*range(600, 1500, 100), inf]) for _ in range(k - 2))] for k in (n, m))
        cases.append((rng.sample(a, n), rng.sample(b, m)))
    got = [number(ask(answer, a, b), "Your share") for a, b in cases]
    true = [by_ranks(a, b) for a, b in cases]
    if (i := differs(got, true)) is not None:
        for sentence, rival in FASTER:
            if differs(got, [rival(a, b) for a, b in cases]) is None:
                raise Wrong(f"{sentence}.", "print(how_often_faster([900, inf], [900, 1200, inf]), 'of 3/6')")
        raise Wrong(f"Your share is {got[i]:.4f} where ranks give {true[i]:.4f}.", printed(*cases[i]))
    for a, b, expected, words in (
        ([inf] * 3, [inf] * 4, 0.5, "Where nobody arrives all pairs are ties"),
        ([inf] * 2, [800.0, 900.0], 0.0, "A run that never arrives is never faster than one that does"),
    ):
        if abs(number(ask(answer, a, b), "Your share") - expected) > 1e-9:
            raise Wrong(f"{words}, so the share is {expected:g}.", printed(a, b))
    return "8 cases with ties and runs that never arrive agree with a count by ranks."


def printed(a: list[float], b: list[float]) -> str:
    return f"print(how_often_faster({a}, {b}))"


@check("05", "How often does luck look like a difference?")
def false_alarms(g, answer):
    """Two equal arms: the share of comparisons beyond 0.2 and 0.8, against an exact count of all orders."""
    trials, rng, drawn = 6000, dice(g), 0

    def draw() -> float:
        nonlocal drawn
        drawn += 1
        return rng.uniform(500, 3000)

    sides = (5, 7)
    got = []
    see = "print([false_alarms(random.random, 5, 2000) for _ in range(3)])"
    for n in sides:
        drawn, needed = 0, 2 * n * trials
        got.append(number(ask(answer, draw, n, trials), "Your share"))
        if drawn < needed:
            once = "You draw one arm once and keep it" if drawn == n * (trials + 1) else "You draw too seldom"
            words = f"{trials} repeats of two arms of {n} runs are {needed} draws, and you make {drawn}"
            raise Wrong(f"{once}: draw both anew in every repeat. ({words}.)", see)

    def far(rivals: Sequence[float]) -> float:
        """How many standard errors lie between what came back and this, where it is farther."""
        errors = [sqrt(max(p * (1 - p), 0.001) / trials) for p in rivals]
        return max(abs(x - p) / error for x, p, error in zip(got, rivals, errors))

    exact = [called(of_orders(n)) for n in sides]
    if far(exact) > 5.5:  # a right answer does so in 8 of 100 million calls
        if max(got) > 1:
            raise Wrong(f"You give {got[0]:g}, more than all: divide the false alarms by the {trials} repeats.", see)
        rivals = {sentence: [known[sentence] for known in map(unlike, sides)] for sentence in unlike(5)}
        sentence = min(rivals, key=lambda name: far(rivals[name]))
        if far(rivals[sentence]) <= 5.5:
            raise Wrong(f"{sentence}. You give {got[0]:.3f} and {got[1]:.3f}.", see)
        words = ", ".join(f"{x:.3f} where it is {p:.3f} for {n} seeds a side" for x, p, n in zip(got, exact, sides))
        raise Wrong(f"Counting all orders says otherwise: {words}.", see)
    if number(ask(answer, lambda: inf, 5, 100), "Your share") != 0:
        raise Wrong("Where no run of either arm arrives, every pair is a tie, and nothing is better or worse.")
    return "5 seeds a side: 15 of 100 comparisons of equal arms are called better or worse. With 7 it is 5 of 100."


@cache
def of_orders(n: int) -> list[float]:
    """The probability of superiority in each order in which n and n runs can arrive: all are equally likely."""
    places = range(2 * n)
    return [by_ranks(a, [x for x in places if x not in a]) for a in combinations(places, n)]


def called(shares: Iterable[float], strictly: bool = False) -> float:
    """How many of these shares are called better or worse."""
    return fmean(abs(x - 0.5) > 0.3 + (1e-9 if strictly else -1e-9) for x in shares)


def unlike(n: int) -> dict[str, float]:
    """What known mistakes would give, by their sentence."""

    def coins(tosses: int) -> float:
        return sum(comb(tosses, k) for k in range(tosses + 1) if abs(k / tosses - 0.5) >= 0.3 - 1e-9) / 2**tosses

    exact = called(of_orders(n))
    return {
        "You count one side alone: worse by luck is a false alarm as well": exact / 2,
        "Exactly 0.8 and 0.2 count too: the rule says 0.8 or more, 0.2 or less": called(of_orders(n), strictly=True),
        "You compare seed with seed, and every run of one arm meets every run of the other": coins(n),
        "You draw new runs for every pair: the pairs of one comparison share their runs": coins(n * n),
        "You give the mean probability of superiority: how often is it beyond the limits?": 0.5,
        "You give the share that is not called anything: the others are the false alarms": 1 - exact,
    }
