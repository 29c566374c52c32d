"""The mistakes that lesson 00's checks know by name."""

import random
from itertools import pairwise
from math import comb

import pytest
import torch
from checks_work import complete, held, rows


def walk(first, steps, length=7, lowest=1):
    """A chain of different tokens with these steps modulo 5."""
    chain = [first]
    while len(chain) < length:
        fits = [t for t in range(lowest, 51) if (t - chain[-1]) % 5 in steps and t not in chain]
        chain.append(random.choice(fits))
    return chain


def luck(more=0):
    def tail(right, asked, chance):
        return sum(comb(asked, k) * chance**k * (1 - chance) ** (asked - k) for k in range(right + more, asked + 1))

    return tail


def moved(chain, start):
    """A twin in which the start is the last but one."""
    rest = [token for token in chain if token != start]
    return [*rest[:5], start, rest[5]]


def keep(how):
    """A pattern of which `how(last)` says what the last position keeps."""

    def cut(pattern):
        pattern = pattern.clone()
        pattern[:, :, -1] = how(pattern[:, :, -1])
        return pattern

    return cut


def most(row, weight=None):
    top = row.argmax(-1, keepdim=True)
    return torch.zeros_like(row).scatter(-1, top, row.gather(-1, top) if weight is None else weight)


def every_row(pattern):
    return most(pattern)


def last_column(pattern):
    pattern = pattern.clone()
    pattern[:, :, :, -1] = 0
    return pattern


MISTAKES = {
    "new_chain": [
        (lambda first: walk(first, (0, 1, 4)), "may stand in the training"),
        (lambda first: walk(first, (2, 3), 6), "six edges join seven"),
        (lambda first: [first + 2 * i for i in range(7)] if first > 38 else walk(first, (2, 3)), "may also lead down"),
        (lambda first: [first, *[(first + 2) % 50 + 1, first] * 3], "meets a token twice"),
        (lambda first: walk(first % 50 + 1, (2, 3)), "was given"),
        (lambda first: torch.zeros(7, 2), "one row of whole numbers"),
        (lambda first: [b + 0.5 for b in walk(first, (2, 3))], "a whole number of moderate size"),
    ],
    "luck": [
        (lambda right, asked, chance: comb(asked, right) * chance**right * (1 - chance) ** (asked - right), "exactly"),
        (luck(more=1), "more than"),
        (lambda *given: 1 - luck()(*given), "the other side"),
        (lambda right, asked, chance: chance**right, "in a row"),
        (lambda right, asked, chance: 100 * luck()(right, asked, chance) + 1.1, "outside 0 to 1"),
        (lambda right, asked, chance: 0.31415926 + right / 997, "counting gives"),
    ],
    "twin": [
        (lambda chain, start: chain, "another order of the edges is no other chain"),
        (lambda chain, start: [t % 50 + 1 for t in chain], "has other tokens"),
        (moved, "1 step(s) are left"),
        (lambda chain, start: chain[:6], "six edges join seven"),
        (lambda chain, start: swap_behind(chain, start), "leads to the same answer"),
    ],
    "backwards": [
        (lambda: "the answer", "does not know the pair as a pair"),
        (lambda: "neither", "It is not lost"),
        (lambda: "forwards", "choose one of"),
    ],
    "one_edge": [
        (lambda pattern: pattern, "nothing is cut"),
        (keep(torch.zeros_like), "nothing at all"),
        (keep(lambda row: row - most(row)), "the other way round"),
        (keep(lambda row: most(row, 1.0)), "another weight"),
        (keep(lambda row: row * (row > row.mean(-1, keepdim=True))), "keep one, in each head"),
        (keep(lambda row: row * (torch.arange(13) == 4)), "not always the one"),
        (every_row, "earlier positions"),
        (last_column, "who reads the last position"),
        (lambda pattern: pattern[:, :, -1], "where (4, 1, 13, 13) is asked"),
    ],
}


def swap_behind(chain, start):
    """The same answer: two tokens exchanged that play no part from the start to two steps on."""
    at = chain.index(start)
    i, j = [i for i in range(7) if not at <= i <= at + 2][:2]
    chain[i], chain[j] = chain[j], chain[i]
    return chain


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    held(name, wrong, said)


def test_every_check_has_its_mistakes():
    complete("00", MISTAKES)


def test_the_planted_walk_keeps_to_its_steps():
    assert all((b - a) % 5 in (0, 1, 4) for a, b in pairwise(walk(7, (0, 1, 4))))
