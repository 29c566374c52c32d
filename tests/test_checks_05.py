"""The mistakes that lesson 05's checks know by name."""

import math
import random
from itertools import combinations
from math import inf
from statistics import mean, median

import pytest
import torch
from checks_work import can_be_seen, complete, held, judged, rows

from matchlib import made_up
from matchlib.checks_05 import called, of_orders
from matchlib.checks_05_fair import compared, mistakes, said_worse
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


def reported_alone(runs, reported):
    return [r for r in runs if r["seed"] in reported]


HELD = ("layernorm", "weight_decay", "n_train")


def where(worse, own=HELD, rival=None, usual=lambda gamma: 0.5, least=0.5):
    """A search for harmful settings: `worse` judges two lists of steps; own, rival: the fields that are held."""

    def search(table):
        def steps(row, gamma, fields):
            return [r["steps"] for r in table if r["gamma"] == gamma and all(r[f] == row[f] for f in fields)]

        return {
            (row["layernorm"], row["weight_decay"], row["n_train"], row["gamma"])
            for row in table
            if row["gamma"] > least
            and row["gamma"] != usual(row["gamma"])
            and worse(steps(row, row["gamma"], own), steps(row, usual(row["gamma"]), own if rival is None else rival))
        }

    return search


def neighbour(step):
    return lambda gamma: round(gamma + step, 1) if round(gamma + step, 1) in made_up.GAMMAS else 0.5


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


def one_arm_kept(draw, n, trials):
    a = [draw() for _ in range(n)]
    return sum(two_sided(share(a, [draw() for _ in range(n)])) for _ in range(trials)) / trials


def none_anew(draw, n, trials):
    return float(two_sided(share(*([draw() for _ in range(n)] for _ in range(2)))))


def new_runs(draw, n, trials):
    shares = (sum(draw() < draw() for _ in range(n * n)) / n**2 for _ in range(trials))
    return sum(map(two_sided, shares)) / trials


def right(says, split, n=300):
    asked = TASK.sample(n, split, generator=seeded(1, split))
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


def on_unseen_tokens(says, known):
    return "links" if right(says, "ood") else "residues"


def few(says, known):
    if not right(says, "train", 20):
        return "by heart"
    return "links" if right(says, "test", 20) else "residues"


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
        (lambda a, b: float(median(a) < median(b)), "who is ahead and not how often"),
        (lambda a, b: sum((x < y) + (x == y < inf) / 2 for x in a for y in b) / len(a) / len(b), "Never against never"),
        (lambda a, b: 100 * share(a, b), "That is a percentage"),
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
        (rate_by(lambda xs: mean(nought(xs)), lambda runs, reported: runs), "You look at every seed"),
        (rate_by(lambda xs: mean(nought(xs)), reported_alone), "and at no others"),
        (rate_by(lambda xs: sum(nought(xs))), "add the accuracies up"),
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
        (where(lambda small, usual: mean(small) > mean(usual)), "compare mean steps"),
        (where(lambda small, usual: share(small, usual) < 0.2 - 1e-9), "Exactly 0.2 is worse, too"),
        (where(lambda small, usual: share(small, usual, 0) <= 0.2 + 1e-9), "A tie counts nothing"),
        (where(low, usual=lambda gamma: 0.7), "another start than 0.5"),
        (where(low, usual=neighbour(-0.2)), "next smaller one"),
        (where(low, usual=neighbour(0.2)), "next larger one"),
        (where(low, ("layernorm", "n_train")), "pool the weight_decay"),
        (where(low, ("layernorm", "weight_decay")), "pool the n_train"),
        (where(low, ("weight_decay", "n_train")), "pool the layernorm"),
        (where(low, ("layernorm",)), "pool several fields"),
        (where(low, rival=()), "Your rival differs in more than gamma"),
        (where(low, least=0), "is a larger start"),
        (lambda table: set(), "is worse and you do not name it: ("),
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
        (one_arm_kept, "You draw one arm once and keep it"),
        (none_anew, "You draw too seldom"),
        (alarms(lambda x: abs(x - 0.5) >= 0.4 - 1e-9), "Counting all orders says otherwise"),
    ],
    "tell_apart": [
        (on_known, "You call every box"),
        (never_heart, "both fail where the steps"),
        (few, "new questions to a box"),
        (never_residues, "it knows more than its questions"),
        (fresh_alone, "Ask a chain that is whole and breaks the rule"),
        (no_error_allowed, "you say residues: it errs"),
        (lambda says, known: "matching", "choose one of"),
        (lambda says, known: says(known.tokens[0]), "takes a tensor of shape (n, 9)"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


@pytest.mark.parametrize("held_to", [of for n in (0, 1, 2) for of in combinations(HELD, n)], ids=str)
def test_a_rival_that_is_not_held_to_all_else_is_named(held_to):
    held("where_smaller_harms", (where(low, rival=held_to),), "Your rival differs in more than gamma")


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


def test_who_asks_for_unseen_tokens_is_not_told_of_test_chains():
    assert "unusual" in held("tell_apart", (on_unseen_tokens,), "Ask fresh chains of the training rule")


def test_a_wrong_search_is_shown_both_sides():
    said = held("where_smaller_harms", (lambda table: set(),), "all else equal")
    assert said.count("[") == 2 and said.count("]") == 2 and "gamma 0.5" in said


def test_what_is_planted_in_a_made_up_diagram_tells_the_limit_and_the_ties():
    """Else a search that is wrong there could pass by luck."""
    planted = [search for sentence, search in mistakes() if sentence.startswith(("Exactly 0.2", "A tie"))]
    assert len(planted) == 2
    for seed in range(20):
        rows = made_up.some_table(random.Random(seed))
        right = compared(rows, said_worse)
        assert len(rows) == 300 and all(search(rows) != right for search in planted), seed
