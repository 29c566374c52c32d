"""The mistakes that lesson 05's checks know by name."""

import math
from math import inf
from statistics import mean, median

import pytest
import torch
from checks_work import complete, held, judged, rows

from matchlib.checks_05 import called, of_orders
from matchlib.data import ChainTask
from matchlib.train import seeded

TASK = ChainTask(n_edges=4, hops=2, n_tokens=20)


def share(a, b, tie=0.5):
    return sum((x < y) + tie * (x == y) for x in a for y in b) / (len(a) * len(b))


def late(steps):
    return [x for x in steps if x < inf]


def open_pairs_out(a, b):
    pairs = [(x, y) for x in a for y in b if min(x, y) < inf]
    return sum((x < y) + (x == y) / 2 for x, y in pairs) / len(pairs)


def partners(a, b):
    return sum((x < y) + (x == y) / 2 for x, y in zip(a, b)) / min(len(a), len(b))


def rate_by(of, seeds=lambda runs, reported: [r for r in runs if r["seed"] not in reported], best=max):
    """A choice of a rate: `of` makes one number of the accuracies at a rate."""

    def choose(runs, reported):
        by = {}
        for run in seeds(runs, reported):
            by.setdefault(run["rate"], []).append(run["accuracy"])
        return best(by, key=lambda rate: of(by[rate]))

    return choose


def nought(xs):
    return [x or 0 for x in xs]


def answered(xs):
    return [x for x in xs if x is not None] or [0]


def where(worse, fields=("layernorm", "weight_decay", "n_train"), usual=0.5, least=0.5):
    """A search for harmful settings: `worse` judges two lists of steps, held: these fields."""

    def search(table):
        def steps(row, gamma):
            return [r["steps"] for r in table if r["gamma"] == gamma and all(r[f] == row[f] for f in fields)]

        return {
            (row["layernorm"], row["weight_decay"], row["n_train"], row["gamma"])
            for row in table
            if row["gamma"] > least and row["gamma"] != usual and worse(steps(row, row["gamma"]), steps(row, usual))
        }

    return search


def low(small, usual):
    return share(small, usual) <= 0.2 + 1e-9


def without_late(small, usual):
    return bool(late(small) and late(usual)) and low(late(small), late(usual))


def alarms(alarm, compare=share, over=lambda trials: trials):
    def simulate(draw, n, trials):
        arms = ([[draw() for _ in range(n)] for _ in range(2)] for _ in range(trials))
        return sum(alarm(compare(a, b)) for a, b in arms) / over(trials)

    return simulate


def two_sided(x):
    return abs(x - 0.5) >= 0.3 - 1e-9


def new_runs(draw, n, trials):
    shares = (sum(draw() < draw() for _ in range(n * n)) / n**2 for _ in range(trials))
    return sum(map(two_sided, shares)) / trials


def right(says, split):
    asked = TASK.sample(300, split, generator=seeded(1, split))
    return (says(asked.tokens) == asked.answer).float().mean() > 0.6


def on_known(says, known):
    return "links" if (says(known.tokens) == known.answer).float().mean() > 0.6 else "residues"


def no_error_allowed(says, known):
    asked = TASK.sample(400, "test", generator=seeded(2))
    if not right(says, "train"):
        return "by heart"
    return "links" if (says(asked.tokens) == asked.answer).all() else "residues"


def never_heart(says, known):
    return "links" if right(says, "test") else "residues"


def never_residues(says, known):
    return "links" if right(says, "test") else "by heart"


def fresh_alone(says, known):
    return "links" if right(says, "train") else "by heart"


MISTAKES = {
    "how_often_faster": [
        (lambda a, b: share(b, a), "fewer steps are faster"),
        (lambda a, b: share(late(a), late(b)) if late(a) and late(b) else 0.5, "leave out the runs"),
        (lambda a, b: share(a, b, 0), "A tie counts nothing"),
        (lambda a, b: share(a, b, 1), "a win of a"),
        (open_pairs_out, "pass over the pairs"),
        (partners, "seeds are no partners"),
        (lambda a, b: (median(a) < median(b)) + (median(a) == median(b)) / 2, "compare the medians"),
        (lambda a, b: share(a, b) * len(a) * len(b), "divide by how many"),
        (lambda a, b: share(a, b) + 0.001, "where ranks give"),
        (lambda a, b: share(a, b) if late(a) else 1.0, "all pairs are ties"),
        (lambda a, b: share(a, b) if late(a) or not late(b) else 0.5, "never faster than one that does"),
        (lambda a, b: mean(a) - mean(b), "is nan"),
    ],
    "fair_rate": [
        (rate_by(lambda xs: max(nought(xs))), "best single seed"),
        (rate_by(lambda xs: mean(answered(xs))), "pass over the runs that crashed"),
        (rate_by(lambda xs: median(nought(xs))), "take a median"),
        (rate_by(lambda xs: mean(nought(xs)), lambda runs, reported: runs), "seeds that will be reported"),
        (rate_by(lambda xs: mean(nought(xs)), best=min), "least accuracy"),
        (rate_by(lambda xs: -1 if None in xs else mean(xs)), "rule out a rate"),
        (rate_by(lambda xs: mean(xs)), "TypeError"),
        (lambda runs, reported: 0.003, "none of those tried"),
    ],
    "where_smaller_harms": [
        (where(lambda small, usual: share(small, usual) >= 0.8 - 1e-9), "the smaller start is better"),
        (where(lambda small, usual: share(small, usual) < 0.5 - 1e-9), "Anything under one half"),
        (where(without_late), "leave out runs"),
        (where(lambda small, usual: len(late(small)) < len(late(usual))), "count how many runs arrive"),
        (where(lambda small, usual: median(small) > median(usual)), "compare medians"),
        (where(low, ("layernorm", "n_train")), "pool the weight_decay"),
        (where(low, ("layernorm", "weight_decay")), "pool the n_train"),
        (where(low, ("weight_decay", "n_train")), "pool the layernorm"),
        (where(low, usual=0.7), "another start than 0.5"),
        (where(low, least=0), "is a larger start"),
        (lambda table: set(), "you do not name it"),
        (lambda table: {("post", 0.1)}, "is no setting of the table"),
        (lambda table: [("post", [0.1], None, 0.7)], "write ('layernorm'"),
        (lambda table: 1, "a set of tuples"),
    ],
    "false_alarms": [
        (alarms(lambda x: x >= 0.8 - 1e-9), "one side alone"),
        (alarms(lambda x: abs(x - 0.5) > 0.3 + 1e-9), "Exactly 0.8 and 0.2 count"),
        (alarms(two_sided, partners), "seed with seed"),
        (new_runs, "new runs for every pair"),
        (alarms(lambda x: x), "mean probability of superiority"),
        (alarms(lambda x: not two_sided(x)), "not called anything"),
        (alarms(two_sided, over=lambda trials: 1), "divide the false alarms"),
        (alarms(two_sided, lambda a, b: share(a, b, 0)), "every pair is a tie"),
        (lambda draw, n, trials: 0.25, "Counting all orders says otherwise"),
    ],
    "tell_apart": [
        (on_known, "You call every box"),
        (never_heart, "both fail on the test chains"),
        (never_residues, "it knows more than its questions"),
        (fresh_alone, "Ask a chain that is whole and breaks the rule"),
        (no_error_allowed, "you say residues: it errs"),
        (lambda says, known: "matching", "choose one of"),
        (lambda says, known: says(known.tokens[0]), "takes a tensor of shape (n, 9)"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    held(name, wrong, said)


def test_every_check_has_its_mistakes():
    complete("05", MISTAKES)


def test_a_vector_of_draws_and_a_list_of_settings_are_answers_too():
    def by_tensor(draw, n, trials):
        runs = torch.tensor([draw() for _ in range(2 * n * trials)]).view(trials, 2, n)
        a, b = runs[:, 0, :, None], runs[:, 1, None, :]
        shares = ((a < b).double() + (a == b).double() / 2).mean((1, 2))
        return ((shares - 0.5).abs() >= 0.3 - 1e-9).double().mean()

    assert judged("false_alarms", by_tensor).state == "passed"
    assert judged("where_smaller_harms", lambda table: [*where(low)(table)]).state == "passed"


def test_the_exact_count_of_false_alarms():
    assert len(of_orders(5)) == math.comb(10, 5)
    assert called(of_orders(5)) == pytest.approx(38 / 252)
    assert called(of_orders(1)) == 1
