"""The checks of lesson 05's exercises: who is faster, which rate is fair, how often luck looks like a difference."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import combinations, product
from math import comb, inf, sqrt
from statistics import fmean, median

from matchlib import made_up
from matchlib.checking import Wrong, ask, check, dice, kind_of, number, one_of
from matchlib.data import ChainTask
from matchlib.made_up import FIELDS

Setting = tuple[str, float, int | None, float]
WAYS = ("links", "residues", "by heart")


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


def differs(got: Sequence[float], true: Sequence[float]) -> int | None:
    """The first case in which two rows of numbers are not the same, None where they are."""
    return next((i for i, (x, y) in enumerate(zip(got, true, strict=True)) if abs(x - y) > 1e-9), None)


FASTER: dict[str, Callable[[list[float], list[float]], float]] = {
    "You count the pairs in which a is slower: fewer steps are faster": lambda a, b: 1 - by_ranks(a, b),
    "You leave out the runs that never generalise, and they are the slowest of all": lambda a, b: by_ranks(
        arrived(a), arrived(b)
    ),
    "A tie counts nothing with you, and one half is asked: nobody was faster": lambda a, b: in_pairs(a, b, 0),
    "A tie counts as a win of a with you, and one half is asked: nobody was faster": lambda a, b: in_pairs(a, b, 1),
    "You pass over the pairs in which neither arrives: they are ties, and count one half": lambda a, b: fmean(
        (x < y) + (x == y) / 2 for x, y in product(a, b) if min(x, y) < inf
    ),
    "You compare the first with the first, the second with the second: seeds are no partners, take every pair": (
        lambda a, b: fmean((x < y) + (x == y) / 2 for x, y in zip(a, b))
    ),
    "You compare the medians alone, which says who is ahead and not how often": lambda a, b: (
        (median(a) < median(b)) + (median(a) == median(b)) / 2
    ),
    "You give the number of pairs: divide by how many pairs there are": lambda a, b: by_ranks(a, b) * len(a) * len(b),
}


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
        for sentence, rival in FASTER.items():
            if differs(got, [rival(a, b) for a, b in cases]) is None:
                raise Wrong(f"{sentence}.", "how_often_faster([900, inf], [900, 1200, inf])  # 3 of 6 pairs")
        raise Wrong(f"Your share is {got[i]:.4f} where ranks give {true[i]:.4f}.", f"how_often_faster{cases[i]}")
    for a, b, expected, words in (
        ([inf] * 3, [inf] * 4, 0.5, "Where nobody arrives all pairs are ties"),
        ([inf] * 2, [800.0, 900.0], 0.0, "A run that never arrives is never faster than one that does"),
    ):
        if abs(number(ask(answer, a, b), "Your share") - expected) > 1e-9:
            raise Wrong(f"{words}, so the share is {expected:g}.", f"how_often_faster({a}, {b})")
    return "8 cases with ties and runs that never arrive agree with a count by ranks."


RATES = {
    "single": "You take the rate of the best single seed: one lucky seed decides, and the mean over seeds is asked",
    "crash": "You pass over the runs that crashed: a rate at which runs crash is then chosen for those that did not",
    "reported": "You look at the seeds that will be reported: they are then no test of the choice any more",
    "middle": "You take a median, in which a seed that fails has no weight: the mean is asked",
    "weak": "You take the rate with the least accuracy",
    "safe": "You rule out a rate because one run crashed there: it counts as 0, and the mean may still be the best",
}


@check("05", "A learning rate for each, chosen fairly")
def fair_rate(g, answer):
    """The rate with the best mean over seeds that are not reported, a crash counting 0; one rate for each mistake."""
    rng = dice(g)
    for one_crash in (False, True, False, True):
        runs, reported, rates = made_up.some_rates(rng, one_crash)
        rate = number(ask(answer, runs, reported), "Your rate")
        if rate not in rates:
            raise Wrong(f"Your rate {rate:g} is none of those tried: {', '.join(f'{r:g}' for r in sorted(rates))}.")
        if rates[rate] != "right":
            some = [run["accuracy"] for run in runs if run["rate"] == rate and run["seed"] not in reported]
            raise Wrong(f"{RATES[rates[rate]]}.", f"# at {rate:g}, on the seeds that may be looked at: {some}")
    return "in 4 fresh tables the rate is the one with the best mean on seeds that are reported nowhere."


def compared(
    rows: list[dict], worse: Callable[[list, list], bool], pool: str = "", usual: float = 0.5, above: float = 0.5
) -> set[Setting]:
    """The settings with gamma > `above` whose runs are worse than those at `usual`. pool: a field that is not held."""
    held = [name for name in FIELDS if name != pool]
    steps: dict[tuple, list[float]] = {}
    for row in rows:
        steps.setdefault(tuple(row[name] for name in held), []).append(row["steps"])
    found = {tuple(row[name] for name in FIELDS): tuple(row[name] for name in held) for row in rows}
    return {
        setting
        for setting, key in found.items()
        if key[-1] > above and key[-1] != usual and worse(steps[key], steps[(*key[:-1], usual)])
    }


def said_worse(small: list[float], usual: list[float]) -> bool:
    return by_ranks(small, usual) <= 0.2 + 1e-9


HARMS: dict[str, Callable[[list[dict]], set[Setting]]] = {
    "These are the settings in which the smaller start is better": lambda rows: compared(
        rows, lambda small, usual: by_ranks(small, usual) >= 0.8 - 1e-9
    ),
    "Anything under one half is worse with you: five seeds a side land there every other time by luck": lambda rows: (
        compared(rows, lambda small, usual: by_ranks(small, usual) < 0.5 - 1e-9)
    ),
    "You leave out runs that never generalise, and so miss where the smaller start loses them": lambda rows: compared(
        rows,
        lambda small, usual: bool(arrived(small) and arrived(usual)) and said_worse(arrived(small), arrived(usual)),
    ),
    "You count how many runs arrive, and not how often one is faster": lambda rows: compared(
        rows, lambda small, usual: len(arrived(small)) < len(arrived(usual))
    ),
    "You compare medians, and a median has no 0.2": lambda rows: compared(
        rows, lambda small, usual: median(small) > median(usual)
    ),
    "A gamma below 0.5 is a larger start, and smaller ones are asked": lambda rows: compared(rows, said_worse, above=0),
    "You compare with another start than 0.5": lambda rows: compared(rows, said_worse, usual=0.7),
} | {
    f"You pool the {name}: two things then differ between the sides": lambda rows, name=name: compared(
        rows, said_worse, name
    )
    for name in FIELDS[:3]
}


@check("05", "Find the counter-example: where is smaller worse?")
def where_smaller_harms(g, answer):
    """The settings with a superiority over gamma 0.5 of 0.2 or less, all else equal, in three made-up diagrams."""
    rng = dice(g)
    tables = [made_up.some_table(rng) for _ in range(3)]
    got = [settings(ask(answer, rows), rows) for rows in tables]
    true = [compared(rows, said_worse) for rows in tables]
    if got != true:
        for sentence, rival in HARMS.items():
            if any(got) and got == [rival(rows) for rows in tables]:
                raise Wrong(f"{sentence}.")
        one = next(setting for a, b in zip(got, true) for setting in sorted(a ^ b, key=str))
        words = "is worse and you do not name it" if any(one in b - a for a, b in zip(got, true)) else "is not worse"
        raise Wrong(f"In a made-up diagram {one} {words}.")
    return "three made-up diagrams of 300 runs: the settings where smaller is worse, and no others."


def settings(value, rows: list[dict]) -> set[Setting]:
    """A learner's set of settings. Raises Wrong for anything else."""
    known = {tuple(row[name] for name in FIELDS) for row in rows}
    if not isinstance(value, set | list) or not all(isinstance(x, tuple | list) for x in value):
        raise Wrong(f"You give {kind_of(value)}, and a set of tuples {FIELDS} is asked.")
    odd = [tuple(x) for x in value if not all(isinstance(v, str | int | float | None) for v in x)]
    odd = odd or [x for x in map(tuple, value) if x not in known]
    if odd:
        raise Wrong(f"{odd[0]} is no setting of the table: write {FIELDS}, as in {min(known, key=str)}.")
    return set(map(tuple, value))


@check("05", "How often does luck look like a difference?")
def false_alarms(g, answer):
    """Two equal arms: the share of comparisons beyond 0.2 and 0.8, against an exact count of all orders."""
    trials, rng = 6000, dice(g)

    def draw() -> float:
        return rng.uniform(500, 3000)

    sides = (5, 7)
    got = [number(ask(answer, draw, n, trials), "Your share") for n in sides]

    def far(rivals: Sequence[float]) -> float:
        """How many standard errors lie between what came back and this, where it is farther."""
        errors = [sqrt(max(p * (1 - p), 0.001) / trials) for p in rivals]
        return max(abs(x - p) / error for x, p, error in zip(got, rivals, errors))

    exact = [called(of_orders(n)) for n in sides]
    if far(exact) > 5.5:  # a right answer does so in 8 of 100 million calls
        say = "print([false_alarms(draw, 5, 6000) for _ in range(3)])"
        if max(got) > 1:
            raise Wrong(f"You give {got[0]:g}, more than all: divide the false alarms by the {trials} repeats.", say)
        rivals = {sentence: [known[sentence] for known in map(unlike, sides)] for sentence in unlike(5)}
        sentence = min(rivals, key=lambda name: far(rivals[name]))
        if far(rivals[sentence]) <= 5.5:
            raise Wrong(f"{sentence}. You give {got[0]:.3f} and {got[1]:.3f}.", say)
        words = ", ".join(f"{x:.3f} where it is {p:.3f} for {n} seeds a side" for x, p, n in zip(got, exact, sides))
        raise Wrong(f"Counting all orders says otherwise: {words}.", say)
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


CONFUSED = {
    ("residues", "links"): "It goes by residues, and you say links: a fresh chain of the training rule is answered by "
    "both. Ask a chain that is whole and breaks the rule",
    ("by heart", "links"): "It knows its questions by heart, and you say links: ask a question that it was not given",
    ("by heart", "residues"): "It knows its questions by heart, and you say residues: both fail on the test chains. "
    "Ask fresh chains of the training rule too",
    ("residues", "by heart"): "It goes by residues, and you say by heart: it knows more than its questions, ask fresh "
    "chains of the training rule",
    ("links", "residues"): "It follows links, and you say residues: it errs in up to 15 of 100, whatever it is asked",
    ("links", "by heart"): "It follows links, and you say by heart: it errs in up to 15 of 100, whatever it is asked",
}


@check("05", "Design: how does it answer?")
def tell_apart(g, answer):
    """Twelve boxes that answer known questions alike, in three ways; the learner's own questions have to tell."""
    rng, task = dice(g), ChainTask(n_edges=4, hops=2, n_tokens=20)
    known = task.sample(300, "train", generator=g)
    by_heart = dict(zip(map(tuple, known.tokens.tolist()), known.answer.tolist()))
    wrong, said = [], []
    for way in rng.sample(WAYS * 4, 12):
        box = made_up.a_box(way, by_heart, rng.uniform(0, 0.15), rng)
        said.append(one_of(ask(answer, box, known), WAYS, "Your word"))
        if said[-1] != way:
            wrong.append((way, said[-1]))
    if len(set(said)) == 1:
        raise Wrong(
            f"You call every box {said[0]!r}: on the questions that it was given each way does equally well.",
            "(says(known.tokens) == known.answer).float().mean()",
        )
    if wrong:
        raise Wrong(f"{max(CONFUSED[pair] for pair in wrong)}. ({len(wrong)} of 12 boxes are taken for another.)")
    return "12 boxes, which answer the questions that they were given alike, are told apart by what you ask."
