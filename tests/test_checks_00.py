"""The mistakes that lesson 00's checks know by name."""

import random
from itertools import pairwise
from math import comb

import pytest
import torch
from checks_work import can_be_seen, complete, held, rows


def walk(first, steps, length=7, lowest=1):
    """A chain of different tokens with these steps modulo 5."""
    chain = [first]
    while len(chain) < length:
        fits = [t for t in range(lowest, 51) if (t - chain[-1]) % 5 in steps and t not in chain]
        chain.append(random.choice(fits))
    return chain


def luck(more=0, less=0, ways=comb, fixed=None):
    def tail(right, asked, chance):
        p = fixed or chance
        return sum(ways(asked, k) * p**k * (1 - p) ** (asked - k) for k in range(right + more, asked + 1 - less))

    return tail


def moved(chain, start):
    """A twin in which the start is the last but one."""
    rest = [token for token in chain if token != start]
    return [*rest[:5], start, rest[5]]


def to_the_end(chain, start):
    return [*(token for token in chain if token != start), start]


def with_the_last(chain, start):
    """The answer and the last token exchanged: the same token where the chain ends in the answer."""
    at = chain.index(start) + 2
    chain[at], chain[-1] = chain[-1], chain[at]
    return chain


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


def most_of_column(pattern):
    """The largest of the last *column*, where the last row alone holds anything."""
    pattern = pattern.clone()
    pattern[:, :, :, -1] = most(pattern[:, :, :, -1])
    return pattern


def last_column(pattern):
    pattern = pattern.clone()
    pattern[:, :, :, -1] = 0
    return pattern


MISTAKES = {
    "new_chain": [
        (lambda first: walk(first, (0, 1, 4)), "may stand in the training"),
        (lambda first: walk(first, (2, 3), 6), "six edges join seven"),
        (lambda first: [first + 2 * i for i in range(7)] if first > 38 else walk(first, (2, 3)), "may also lead down"),
        (lambda first: [(first + 2 * i) % 50 for i in range(7)], "holds 0: x % 50 runs from 0 to 49"),
        (lambda first: [first, *[(first + 2) % 50 + 1, first] * 3], " twice, and then two edges leave it"),
        (lambda first: walk(first % 50 + 1, (2, 3)), "was given"),
        (lambda first: torch.zeros(7, 2), "one row of whole numbers"),
        (lambda first: " ".join(map(str, walk(first, (2, 3)))), "return a list of whole numbers, and no text"),
        (lambda first: [b + 0.5 for b in walk(first, (2, 3))], "a whole number of moderate size"),
    ],
    "luck": [
        (lambda right, asked, chance: comb(asked, right) * chance**right * (1 - chance) ** (asked - right), "exactly"),
        (luck(more=1), "more than"),
        (luck(less=1), "range(a, b) ends before b"),
        (lambda right, asked, chance: 1 - luck(more=1)(right, asked, chance), "You count at most"),
        (luck(fixed=1 / 5), "does not change with `chance`"),
        (luck(ways=lambda n, k: 1), "math.comb(asked, k) ways"),
        (lambda *given: 1 - luck()(*given), "the other side"),
        (lambda right, asked, chance: chance**right, "in a row"),
        (lambda right, asked, chance: 100 * luck()(right, asked, chance) + 1.1, "outside 0 to 1"),
        (lambda right, asked, chance: 0.31415926 + right / 997, "another in 8 of 8"),
    ],
    "twin": [
        (lambda chain, start: chain, "another order of the edges is no other chain"),
        (lambda chain, start: [t % 50 + 1 for t in chain], "has other tokens"),
        (moved, "1 step is left"),
        (to_the_end, "no step is left"),
        (with_the_last, "comes back unchanged"),
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
        (most_of_column, "The query is axis 2, the key axis 3"),
        (keep(lambda row: row * (row == row.max())), "not of the whole batch"),
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
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("00", MISTAKES)


def test_the_planted_walk_keeps_to_its_steps():
    assert all((b - a) % 5 in (0, 1, 4) for a, b in pairwise(walk(7, (0, 1, 4))))
