"""The mistakes that lesson 06's checks know by name."""

from functools import reduce
from math import inf

import pytest
import torch
from checks_work import can_be_seen, complete, held, judged, rows

from matchlib.checks_06 import ends


def chained(matrices, d):
    return reduce(torch.matmul, matrices, torch.eye(d, dtype=torch.float64))


def noise(make):
    """A wrong noise from the product of the query's matrices and that of the key's."""
    return lambda query, key: make(chained(query, len(key[0])), chained(key, len(key[0])))


def factors_turned(query, key):
    d = len(key[0])
    return chained([m.T for m in query], d) @ chained(key, d)


def key_turned(query, key):
    d = len(key[0])
    return chained(query, d).T @ chained(key[::-1], d)


def last_alone(query, key):
    d = len(key[0])
    return chained([m.T for m in query[-1:]], d) @ chained(key, d)


def first_alone(query, key):
    d = len(key[0])
    return chained(query[:1], d).T @ chained(key[:1], d)


def singles(query, key):
    d = len(key[0])
    return reduce(torch.matmul, query, torch.eye(d)).T @ reduce(torch.matmul, key, torch.eye(d))


def circle(n, d, rank, rounds=1):
    angle = rounds * 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
    x = torch.zeros(n, d, dtype=torch.float64)
    x[:, 0], x[:, 1] = angle.cos(), angle.sin()
    w = torch.eye(d, dtype=torch.float64)[:, :rank]
    return x, w, w


def closed(n, d, rank):
    """The first token and the last stand at one angle."""
    x, w, _ = circle(n, d, rank)
    angle = torch.linspace(0, 2 * torch.pi, n)
    x[:, 0], x[:, 1] = angle.cos(), angle.sin()
    return x, w, w


def as_long_in_d_model(n, d, rank):
    x, w, _ = gaussian(n, d, rank)
    return x / x.norm(dim=1, keepdim=True), w, w


def askew(n, d, rank):
    """On the circle, and each asks for a place further on."""
    x, w, _ = circle(n, d, rank)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    return x, w, torch.cat([torch.cat([turn, torch.zeros(d - 2, 2)]), w[:, 2:]], dim=1)


def line(n, d, rank):
    x, w, _ = circle(n, d, rank)
    return (torch.arange(n) - n / 2)[:, None] * torch.ones(d, dtype=torch.float64), w, w


def gaussian(n, d, rank):
    x, w = torch.randn(n, d), torch.randn(d, rank)
    return x, w, w


def turned_keys(n, d, rank):
    """On the circle, and each asks for the one opposite."""
    x, w, _ = circle(n, d, rank)
    return x, w, -w


def large_column(n, d, rank):
    """Columns are largest on the diagonal and rows are not: the askers differ in direction, and the keys in length."""
    x, w, _ = circle(n, d, 2)
    x[:, 2:4] = x[:, :2] * (1 + 3 * (torch.arange(n) == 0))[:, None]
    w_k = torch.zeros(d, rank, dtype=torch.float64)
    w_k[2, 0] = w_k[3, 1] = 1
    return x, torch.eye(d, dtype=torch.float64)[:, :rank], w_k


def pairs(a, b, worth):
    return sum(worth(x, y) for x in a for y in b) / (len(a) * len(b))


def share(a, b):
    return pairs(a, b, lambda x, y: (x < y) + (x == y) / 2)


def late(steps):
    return [x for x in steps if x < inf] or [0]


MISTAKES = {
    "noise_for_path": [
        (noise(lambda a, b: a @ b), "forget the transpose"),
        (noise(lambda a, b: a.T @ b.T), "transpose on the storing side too"),
        (factors_turned, "leave their order"),
        (noise(lambda a, b: b.T @ a), "exchange the two sides"),
        (key_turned, "turn the order of the storing side"),
        (noise(lambda a, b: b), "pass over what the query"),
        (last_alone, "undo the last matrix"),
        (first_alone, "first matrix of each path"),
        (noise(lambda a, b: a @ b.T), "undo nothing of the query"),
        (lambda query, key: query[0].T @ key[0], "`query` may be empty"),
        (singles, "The matrices are doubles"),
        (noise(lambda a, b: torch.eye(len(a))), "You give the kernel"),
        (noise(lambda a, b: 2 * a.T @ b), "only a multiple of it"),
        (noise(lambda a, b: torch.randn(len(a), len(a))), "its normalised trace is"),
        (noise(lambda a, b: a[0]), "where (16, 16) is asked"),
    ],
    "gaussian_kernel": [
        (lambda: "1", "as large as the diagonal"),
        (lambda: "0", "knows no diagonal"),
        (lambda: 0.5, "choose one of"),
    ],
    "narrow_match": [
        (gaussian, "make all as long in the d_head"),
        (as_long_in_d_model, "numbers that the heads see"),
        (closed, "counts one angle twice"),
        (line, "lie on one line"),
        (lambda n, d, rank: circle(n, d, rank, rounds=2), "nothing tells them apart"),
        (lambda n, d, rank: (circle(n, d, rank)[0], *[torch.zeros(d, rank).double()] * 2), "a tie is no match"),
        (turned_keys, "scores itself lowest"),
        (askew, "Not every token finds itself"),
        (lambda n, d, rank: (circle(n, 10, rank)[0], *circle(n, d, rank)[1:]), "Your x, the tokens, has the shape"),
        (large_column, "the largest of its column"),
        (lambda n, d, rank: (torch.eye(n, d), torch.eye(d), torch.eye(d)), "Your w_q has the shape"),
        (lambda n, d, rank: circle(n, d, rank)[:2], "three tensors are asked"),
        (lambda n, d, rank: [1e200 * x for x in circle(n, d, rank)], "Your matching matrix holds"),
    ],
    "own_address": [
        (torch.eye, "That is the identity"),
        (lambda d: torch.linalg.qr(torch.randn(d, d)).Q, "draw at random"),
        (lambda d: torch.zeros(d, d), "its trace is 0.00"),
        (lambda d: torch.ones(d, d).tril(), "no longer perfect"),
        (lambda d: torch.eye(d)[[1, 0, *range(2, d)]], "turn more directions"),
        (lambda d: torch.diag(torch.tensor([-1.0] * (d // 4) + [1.0] * (d - d // 4))), "is a still 0.50"),
        (lambda d: -torch.eye(d)[:-1], "Your Z has the shape"),
    ],
    "still_possible": [
        (lambda a, b: (share(a, b),) * 2, "one value twice"),
        (lambda a, b: ends(a, b)[::-1], "the lower one comes first"),
        (lambda a, b: (share(late(a), late(b)),) * 2, "slower than all that did"),
        (
            lambda a, b: (
                pairs(a, b, lambda x, y: (x < y < inf) + (x == y < inf) / 2),
                pairs(a, b, lambda x, y: (x < y) + (x == y < inf) / 2 + (x == inf)),
            ),
            "that pair is certain",
        ),
        (lambda a, b: (pairs(a, b, lambda x, y: x < y), pairs(a, b, lambda x, y: x <= y)), "a tie, one half at both"),
        (lambda a, b: ends(b, a), "You exchange the sides"),
        (
            lambda a, b: (pairs(a, b, lambda x, y: x < y), pairs(a, b, lambda x, y: (x < y) + (x == y == inf))),
            "count nothing with you",
        ),
        (lambda a, b: tuple(len(a) * len(b) * end for end in ends(a, b)), "numbers of pairs"),
        (lambda a, b: (0, 1), "is possible"),
        (lambda a, b: share(a, b), "a pair is asked"),
        (lambda a, b: (0, None), "Your most is None"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("06", MISTAKES)


def test_other_right_answers_pass_too():
    def shifted(d):
        return torch.eye(d).roll(1, 0)

    def stretched(n, d, rank):
        x, w, _ = circle(n, d, rank)
        return 3 * x + torch.ones(d) * (torch.arange(d) >= rank), w / 7, 2 * w

    def inverse(query, key):
        d = len(key[0])
        return torch.linalg.inv(chained(query, d)) @ torch.linalg.inv(chained(key, d).T)

    def drawn_once(d):
        return torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(0))).Q

    given = [
        ("own_address", shifted),
        ("own_address", drawn_once),
        ("narrow_match", stretched),
        ("noise_for_path", inverse),
    ]
    for name, answer in given:
        assert judged(name, answer).state == "passed", name


def test_the_ends_of_what_is_possible():
    assert ends([900, inf], [900, 1200, inf]) == pytest.approx((2.5 / 6, 3.5 / 6))
    assert ends([inf], [inf]) == (0, 1)
