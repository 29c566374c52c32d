"""The checks of lesson 05's exercises, continued: a fair rate, all else equal, questions that leave one answer."""

import random
from collections.abc import Callable
from itertools import combinations
from math import inf
from statistics import fmean, median

from matchlib import made_up
from matchlib.cells import superiority
from matchlib.checking import Wrong, ask, check, dice, kind_of, number, one_of
from matchlib.data import ChainTask
from matchlib.made_up import FIELDS

Setting = tuple[str, float, int | None, float]
WAYS = ("links", "residues", "by heart")

RATES = {
    "single": "You take the rate of the best single seed: one lucky seed decides, and the mean over seeds is asked",
    "crash": "You pass over the runs that crashed: a rate at which runs crash is then chosen for those that did not",
    "both": "You look at every seed, those that will be reported among them: they are then no test of the choice",
    "reported": "You look at the seeds that will be reported, and at no others: the choice is for those that will not",
    "middle": "You take a median, in which a seed that fails has no weight: the mean is asked",
    "sum": "You add the accuracies up, and a rate that was tried on more seeds then wins: the mean is asked",
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
            raise Wrong(f"{RATES[rates[rate]]}. (You choose {rate:g}; seeds that may be looked at reach {some} there.)")
    return "in 4 fresh tables the rate is the one with the best mean on seeds that are reported nowhere."


def compared(
    rows: list[dict],
    worse: Callable[[list, list], bool],
    own: tuple[str, ...] = FIELDS,
    held: tuple[str, ...] = FIELDS[:3],
    against: Callable[[float], float] = lambda gamma: 0.5,
    above: float = 0.5,
) -> set[Setting]:
    """The settings with gamma > `above` whose runs are worse than their rival's.

    A setting's runs are those that agree with it in the fields `own`; its rival's are those that agree with it in the
    fields `held` and have the gamma that `against` names.
    """
    steps: dict[tuple, list[float]] = {}
    for row in rows:
        for names in {own, (*held, "gamma")}:
            steps.setdefault((names, *(row[name] for name in names)), []).append(row["steps"])
    found = set()
    for row in rows:
        setting, gamma = tuple(row[name] for name in FIELDS), row["gamma"]
        rival = ((*held, "gamma"), *(row[name] for name in held), against(gamma))
        if gamma > above and gamma != against(gamma) and setting not in found:
            found |= {setting} if worse(steps[own, *(row[name] for name in own)], steps[rival]) else set()
    return found


def said_worse(small: list[float], usual: list[float]) -> bool:
    return superiority(small, usual) <= 0.2 + 1e-9


def arrived(steps: list[float]) -> list[float]:
    return [x for x in steps if x < inf]


def beside(step: int) -> Callable[[float], float]:
    """The gamma that lies so many places from one, in the made-up diagrams; 0.5 at the ends."""
    places = made_up.GAMMAS
    return lambda gamma: dict(enumerate(places)).get(places.index(gamma) + step, 0.5)


def mistakes() -> list[tuple[str, Callable[[list[dict]], set[Setting]]]]:
    """What is known to go wrong in the search, each with a search that does it."""

    def judged(worse: Callable[[list, list], bool], **how) -> Callable[[list[dict]], set[Setting]]:
        return lambda rows: compared(rows, worse, **how)

    found = [
        ("These are the settings in which the smaller start is better", judged(lambda s, u: superiority(s, u) > 0.79)),
        (
            "Anything under one half is worse with you: five seeds a side land there every other time by luck",
            judged(lambda s, u: superiority(s, u) < 0.5 - 1e-9),
        ),
        (
            "Exactly 0.2 is worse, too, and rounding may put it a hair above: 0.2 or less is asked",
            judged(lambda s, u: superiority(s, u) < 0.2 - 1e-9),
        ),
        (
            "A tie counts nothing with you, and one half is asked",
            judged(lambda s, u: fmean(x < y for x in s for y in u) < 0.2 + 1e-9),
        ),
        (
            "You leave out runs that never generalise, and so miss where the smaller start loses them",
            judged(lambda s, u: bool(arrived(s) and arrived(u)) and said_worse(arrived(s), arrived(u))),
        ),
        (
            "You count how many runs arrive, and not how often one is faster",
            judged(lambda s, u: len(arrived(s)) < len(arrived(u))),
        ),
        ("You compare medians, and a median has no 0.2", judged(lambda s, u: median(s) > median(u))),
        (
            "You compare mean steps: one run that never arrives makes them infinite, and a mean has no 0.2",
            judged(lambda s, u: fmean(s) > fmean(u)),
        ),
        ("A gamma below 0.5 is a larger start, and smaller ones are asked", judged(said_worse, above=0)),
        ("You compare with another start than 0.5", judged(said_worse, against=lambda gamma: 0.7)),
        ("You compare each gamma with the next larger one: the rival is 0.5", judged(said_worse, against=beside(1))),
        ("You compare each gamma with the next smaller one: the rival is 0.5", judged(said_worse, against=beside(-1))),
    ]
    for lost in (lost for n in (1, 2, 3) for lost in combinations(FIELDS[:3], n)):
        held = tuple(name for name in FIELDS[:3] if name not in lost)
        what = f"the {lost[0]}" if len(lost) == 1 else "several fields"
        found += [
            (
                f"You pool {what} on both sides: compare settings that differ in gamma alone",
                judged(said_worse, own=(*held, "gamma"), held=held),
            ),
            (
                "Your rival differs in more than gamma: all else equal, in all three fields",
                judged(said_worse, held=held),
            ),
        ]
    return found


@check("05", "Find the counter-example: where is smaller worse?")
def where_smaller_harms(g, answer):
    """The settings with a superiority over gamma 0.5 of 0.2 or less, all else equal, in three made-up diagrams."""
    rng = dice(g)
    tables = three_diagrams(rng)
    got = [settings(ask(answer, rows), rows) for rows in tables]
    true = [compared(rows, said_worse) for rows in tables]
    if got != true:
        rows, mine, right = next(case for case in zip(tables, got, true) if case[1] != case[2])
        one = min(mine ^ right, key=str)
        sides = [
            sorted(row["steps"] for row in rows if tuple(row[name] for name in FIELDS) == (*one[:3], gamma))
            for gamma in (one[-1], 0.5)
        ]
        words = f"{one}: its steps {sides[0]}, at gamma 0.5, all else equal, {sides[1]}"
        for sentence, rival in mistakes():
            if any(got) and got == [rival(rows) for rows in tables]:
                raise Wrong(f"{sentence}. (In a made-up diagram {words}.)")
        which = "is worse and you do not name it" if one in right else "is not worse"
        raise Wrong(f"In a made-up diagram a setting {which}: {words}.")
    return "three made-up diagrams of 300 runs: the settings where smaller is worse, and no others."


def three_diagrams(rng: random.Random) -> list[list[dict]]:
    """Made-up diagrams in which also who pools two fields finds something: who finds nothing cannot be told apart."""
    one_field = [((name, "gamma"), (name,)) for name in FIELDS[:3]]
    while True:
        tables = [made_up.some_table(rng) for _ in range(3)]
        if all(any(compared(rows, said_worse, own=own, held=held) for rows in tables) for own, held in one_field):
            return tables


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


CONFUSED = {
    ("residues", "links"): "It goes by residues, and you say links: a fresh chain of the training rule is answered by "
    "both. Ask a chain that is whole and breaks the rule",
    ("by heart", "links"): "It knows its questions by heart, and you say links: ask a question that it was not given",
    ("by heart", "residues"): "It knows its questions by heart, and you say residues: both fail where the steps or the "
    "tokens are unusual. Ask fresh chains of the training rule too",
    ("residues", "by heart"): "It goes by residues, and you say by heart: it knows more than its questions, ask fresh "
    "chains of the training rule",
    ("links", "residues"): "It follows links, and you say residues: it errs in up to 15 of 100, whatever it is asked",
    ("links", "by heart"): "It follows links, and you say by heart: it errs in up to 15 of 100, whatever it is asked",
}
FEW = 40  # new questions to a box: with fewer, one that errs in 15 of 100 looks like another too often


@check("05", "Design: how does it answer?")
def tell_apart(g, answer):
    """Twelve boxes that answer known questions alike, in three ways; the learner's own questions have to tell."""
    rng, task = dice(g), ChainTask(n_edges=4, hops=2, n_tokens=20)
    known = task.sample(300, "train", generator=g)
    by_heart = dict(zip(map(tuple, known.tokens.tolist()), known.answer.tolist()))
    wrong, said, fewest = [], [], inf
    for way in rng.sample(WAYS * 4, 12):
        box, asked = made_up.a_box(way, by_heart, rng.uniform(0, 0.15), rng), []

        def says(tokens, box=box, asked=asked):
            """The token that it names for each question."""
            found = box(tokens)
            asked += [row for row in map(tuple, tokens.tolist()) if row not in by_heart]
            return found

        said.append(one_of(ask(answer, says, known), WAYS, "Your word"))
        fewest = min(fewest, len(asked))
        if said[-1] != way:
            wrong.append((way, said[-1]))
    if len(set(said)) == 1:
        raise Wrong(
            f"You call every box {said[0]!r}: on the questions that it was given each way does equally well. Print, in "
            "your function, (says(known.tokens) == known.answer).float().mean()."
        )
    if 0 < fewest < FEW:
        raise Wrong(
            f"You put {fewest} new questions to a box. It errs in up to 15 of 100, so luck decides: ask a hundred of a "
            "kind."
        )
    if wrong:
        raise Wrong(f"{max(CONFUSED[pair] for pair in wrong)}. ({len(wrong)} of 12 boxes are taken for another.)")
    return "12 boxes, which answer the questions that they were given alike, are told apart by what you ask."
