"""Made-up inputs of lesson 05's exercises: tables of runs, and boxes that answer as a model does, each in its way."""

import random
from collections.abc import Callable
from itertools import product
from math import inf

import torch
from jaxtyping import Int
from torch import Tensor

from matchlib.chains import MODULUS, RESIDUES

FIELDS = ("layernorm", "weight_decay", "n_train", "gamma")
GAMMAS = (0.3, 0.5, 0.7, 0.9, 1.1)


def some_rates(rng: random.Random, one_crash: bool) -> tuple[list[dict], list[int], dict[float, str]]:
    """Runs at three or eight rates, the seeds that are reported, and which mistake would choose each rate."""
    seeds = rng.sample(range(100, 200), 6)
    seen, reported = seeds[:3], seeds[3:]
    found = {  # accuracy on the seeds that may be looked at, and on those that are reported
        "right": ((1.0, 0.98, None) if one_crash else (0.80, 0.81), 0.60),
        "single": ((1.0, 0.45, 0.40), 0.50),
        "crash": ((None, 0.96, None), 0.50),
        "both": ((0.70, 0.72, 0.71), 0.85),
        "reported": ((0.05, 0.06, 0.04), 0.99),
        "middle": ((0.90, 0.05, 0.91), 0.50),
        "sum": ((0.75, 0.74, 0.76), 0.50),
        "weak": ((0.01, 0.02, 0.01), 0.01),
    }
    if one_crash:  # nothing but the treatment of the one crash tells these apart
        found = {"right": found["right"], "safe": ((0.60, 0.61, 0.59), 0.60), "weak": found["weak"]}
    rates = dict(zip(rng.sample([0.0005 * 2**k for k in range(8)], len(found)), found))
    runs = []
    for rate, name in rates.items():
        accuracies, later = found[name]
        shuffled = rng.sample(accuracies, len(accuracies))
        runs += [{"rate": rate, "seed": seed, "accuracy": x} for seed, x in zip(seen, shuffled)]
        runs += [{"rate": rate, "seed": seed, "accuracy": later} for seed in reported]
    return rng.sample(runs, len(runs)), reported, rates


def some_table(rng: random.Random) -> list[dict]:
    """A phase diagram of made-up runs: some settings worse than gamma 0.5, some better, many in between or silent.

    In two of them, chosen anew each time, exactly 0.2 of the pairs are won, and all runs of both sides take as long.
    """
    rows = []
    settings = list(product(("post", "pre"), (0.01, 0.1, 0.5), (1000, None)))
    at_the_limit, tied = rng.sample(settings, 2)
    planted = {(at_the_limit, 0.5): [1000] * 5, (at_the_limit, 0.7): [900, *[1100] * 4]}
    planted |= {(tied, gamma): [1000] * 5 for gamma in (0.5, 0.9)}
    hard = rng.choice((0.7, 0.9, 1.1))  # a start that is worse in most settings, so that pooled settings are, too
    for setting in settings:
        for gamma in GAMMAS:
            middle, never = rng.choice((800, 1000, 1200, 1400)), rng.choice((0, 0, 0.4, 0.4 if gamma == 0.5 else 1))
            middle += 600 * (gamma == hard and rng.random() < 0.8)
            steps = [inf if rng.random() < never else middle + rng.randrange(-300, 400, 100) for _ in range(5)]
            fields = dict(zip(FIELDS, (*setting, gamma)))
            rows += [fields | {"steps": x} for x in planted.get((setting, gamma), steps)]
    return rng.sample(rows, len(rows))


def a_box(way: str, known: dict[tuple, int], errs: float, rng: random.Random) -> Callable:
    """Something that is asked as a model is, and answers by links, by residues or by heart; now and then it errs."""

    def one(tokens: list[int]) -> int:
        edges, start = dict(zip(tokens[0:8:2], tokens[1:8:2])), tokens[8]
        if rng.random() < errs:
            return rng.choice(tokens)
        if way == "by heart":
            return known.get(tuple(tokens)) or rng.choice(tokens)
        now = start
        for _ in range(2):
            usual = [t for t in set(tokens) if (t - now) % MODULUS in RESIDUES["train"] and t != now]
            to = edges.get(now)
            lost = to is None or (way == "residues" and to not in usual)
            now = rng.choice(usual or tokens) if lost else to
        return now

    def says(tokens: Int[Tensor, "n 9"]) -> Int[Tensor, "n"]:
        """The token that it names for each question."""
        if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.shape[1] != 9:
            got = f"one of {tuple(tokens.shape)}" if isinstance(tokens, Tensor) else type(tokens).__name__
            raise ValueError(f"says() takes a tensor of shape (n, 9), and got {got}")
        return torch.tensor([one(row) for row in tokens.tolist()], dtype=torch.long)

    return says
