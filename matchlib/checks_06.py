"""The checks of lesson 06's exercises: transposes, nearly an identity, narrow heads, addresses, "never"."""

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.cells import superiority
from matchlib.checking import Surprise, Wrong, ask, check, dice, kind_of, number, tensor
from matchlib.probe import argmax_of, normalised_trace

Square = Float[Tensor, "d d"]
Rotations = Sequence[Square]


def rotation(d: int, g: torch.Generator) -> Square:
    return torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64)).Q


def chained(matrices: Rotations, d: int) -> Square:
    """What a token goes through: their product in this order, the identity for none."""
    return reduce(torch.matmul, matrices, torch.eye(d, dtype=torch.float64))


def mirrored(matrices: Rotations) -> Rotations:
    return [m.T for m in matrices]


NOISES: dict[str, Callable[[Rotations, Rotations, int], Square]] = {
    "You forget the transpose on the asking side: what was written there is turned once more": lambda q, k, d: (
        chained(q, d) @ chained(k, d)
    ),
    "You transpose on the storing side too, and there the kernel does it: it ends with (...)^T": lambda q, k, d: (
        chained(q, d).T @ chained(k, d).T
    ),
    "You transpose each factor and leave their order: (A B)^T is B^T A^T": lambda q, k, d: (
        chained(mirrored(q), d) @ chained(k, d)
    ),
    "You exchange the two sides: the query stands on the left of the noise": lambda q, k, d: (
        chained(k, d).T @ chained(q, d)
    ),
    "You turn the order of the storing side round: the kernel does that": lambda q, k, d: (
        chained(q, d).T @ chained(k[::-1], d)
    ),
    "You pass over what the query went through": lambda q, k, d: chained(k, d),
    "You undo nothing of the query, and transpose on the storing side, where the kernel does it": lambda q, k, d: (
        chained(q, d) @ chained(k, d).T
    ),
    "You take the first matrix of each path alone: multiply all of a path": lambda q, k, d: (
        chained(q[:1], d).T @ chained(k[:1], d)
    ),
    "You undo the last matrix of the query alone": lambda q, k, d: chained(mirrored(q[-1:]), d) @ chained(k, d),
    "You give the kernel, and the noise that makes it is asked": lambda q, k, d: torch.eye(d, dtype=torch.float64),
}


@check("06", "Derive the noise of any path")
def noise_for_path(g, answer):
    """The kernel of a path, multiplied out with the learner's noise in it, is the identity; for five paths."""
    d = 16
    a, b, c, e = (rotation(d, g) for _ in range(4))
    cases = [([], [a]), ([b], [a]), ([b, c], [a]), ([], [a, b]), ([b, c], [a, e])]
    got = [tensor(asked(answer, q, k), (d, d), "Your noise") for q, k in cases]

    def all_are(rival: Callable[[Rotations, Rotations, int], Square]) -> bool:
        return all(torch.allclose(n, rival(q, k, d), atol=1e-4) for n, (q, k) in zip(got, cases))

    for (q, k), noise in zip(cases, got):
        kernel = chained(q, d) @ noise @ chained(k, d).T
        if torch.allclose(kernel, torch.eye(d, dtype=torch.float64), atol=1e-4):
            continue
        for sentence, rival in NOISES.items():
            if all_are(rival):
                raise Wrong(f"{sentence}.", SEE)
        trace = normalised_trace(kernel)
        more = "only a multiple of it" if trace > 0.999 else f"its normalised trace is {trace:.2f}"
        words = f"With {len(q)} matrices on the query's way and {len(k)} on the key's it is no identity: {more}."
        raise Wrong(words, SEE)
    return "for five paths of one to four fresh rotations the kernel is the identity; lesson 06's two are among them."


SEE = (
    "a, b, c, e = torch.linalg.qr(torch.randn(4, 3, 3).double()).Q; "
    "print((a @ b @ noise_for_path([a, b], [c, e]).double() @ (c @ e).T).round(decimals=2))"
)


def asked(answer, query: Rotations, key: Rotations):
    """What the learner's function returns; with a sentence for two errors whose cause its own words do not say."""
    try:
        return ask(answer, query, key)
    except Wrong as wrong:
        if not query and "IndexError" in str(wrong):
            raise Wrong(f"{wrong} `query` may be empty: the token that asks then went through nothing.") from None
        if "dtype" in str(wrong):
            raise Wrong(f"{wrong} The matrices are doubles: torch.eye(d, dtype=key[0].dtype) is, too.") from None
        raise


@check("06", "Predict: a Gaussian kernel as the model grows", choices=("1", "one half", "0"))
def gaussian_kernel(g, said):
    """The normalised trace of Z1 Z1^T Z0 Z0^T at d = 256: its spread over draws is about 0.01."""
    z = [torch.randn(256, 256, generator=g) / 16 for _ in range(2)]
    kernel = z[1] @ z[1].T @ z[0] @ z[0].T
    assert abs(normalised_trace(kernel) - 0.5) < 0.05 and argmax_of(kernel) > 0.9, "the limit is another"
    reveal = "the normalised trace of Ker(2) goes to one half, and yet nearly every row is largest on its diagonal."
    if said == "1":
        raise Surprise(
            f"{reveal} Each entry off the diagonal of Z Z^T shrinks, and there are more of them: "
            "all together they stay as large as the diagonal."
        )
    if said == "0":
        raise Surprise(
            f"{reveal} A trace near zero is that of a matrix that knows no diagonal; here the diagonal is 1 on average."
        )
    return reveal


@check("06", "Find the counter-example: narrow, and it matches")
def narrow_match(g, answer):
    """Tokens of the learner's own, and heads of rank 2 to 4, with which each token scores itself highest."""
    for n, d, rank in ((12, 16, 2), (20, 32, 4), (40, 32, 2)):
        given = ask(answer, n, d, rank)
        if not isinstance(given, tuple | list) or len(given) != 3:
            raise Wrong(f"You give {kind_of(given)}, and three tensors are asked: tokens, w_q, w_k.")
        shapes = {"Your x, the tokens,": (n, d), "Your w_q": (d, rank), "Your w_k": (d, rank)}
        x, w_q, w_k = (tensor(value, shape, what) for value, (what, shape) in zip(given, shapes.items()))
        asks, keys = x @ w_q, x @ w_k
        h = tensor(asks @ keys.T, (n, n), "Your matching matrix")
        best = h.diagonal() - h.masked_fill(torch.eye(n, dtype=torch.bool), -inf).amax(dim=1)
        found = (best > 1e-6 * h.abs().max()).double().mean().item()
        if found == 1:
            continue
        case = f"{round(found * n)} of {n} tokens find themselves with rank {rank}"
        see = f"x, w_q, w_k = narrow_match({n}, {d}, {rank}); print((x @ w_q @ w_k.T @ x.T).argmax(dim=1))"
        if not h.any():
            raise Wrong(f"Every row is a tie, and a tie is no match ({case}).", see)
        if pair := twins(asks, keys):
            twice = (
                " `linspace` from 0 to 2 pi counts one angle twice" if pair == (1, n) else " nothing tells them apart"
            )
            raise Wrong(f"Two tokens are the same to these heads, {pair[0]} and {pair[1]}:{twice} ({case}).", see)
        if torch.linalg.matrix_rank(asks, rtol=1e-6) == 1 or torch.linalg.matrix_rank(keys, rtol=1e-6) == 1:
            raise Wrong(
                f"To these heads your tokens lie on one line: of each side only the outermost wins ({case}).", see
            )
        if (h.T.argmax(dim=1) == torch.arange(n)).all():
            raise Wrong(f"Each token is the largest of its column: asked is the largest of its row ({case}).", see)
        if (h.argmin(dim=1) == torch.arange(n)).all():
            raise Wrong(f"Each token scores itself lowest: w_k points against w_q ({case}).", see)
        if longest(keys) & set(h.argmax(dim=1).tolist()):
            raise Wrong(
                "Tokens that look long to the heads win rows of others: make all as long in the d_head numbers that "
                f"the heads see ({case}).",
                see,
            )
        raise Wrong(f"Not every token finds itself: {case}.", see)
    stranger = torch.randn(n, d, generator=g, dtype=torch.float64)
    known_only = argmax_of(stranger @ w_q @ w_k.T @ stranger.T) < 0.5  # of 40 at rank 2 no more than a few can be found
    assert known_only, "two dimensions cannot match forty Gaussian vectors"
    return "12, 20 and 40 tokens find themselves through rank 2 and 4; of 40 Gaussian vectors fewer than half do."


def twins(asks: Float[Tensor, "token rank"], keys: Float[Tensor, "token rank"]) -> tuple[int, int] | None:
    """The first two tokens, counted from 1, whose askers and keys are the same up to rounding in float32."""
    same = [torch.cdist(x, x) < 1e-5 * x.norm(dim=1).max() for x in (asks, keys)]
    found = (same[0] & same[1]).triu(1).nonzero()
    return (int(found[0, 0]) + 1, int(found[0, 1]) + 1) if len(found) else None


def longest(keys: Float[Tensor, "token rank"]) -> set[int]:
    """The longest fifth of some tokens, where their lengths differ at all."""
    length = keys.norm(dim=1)
    return set(length.topk(max(1, len(keys) // 5)).indices.tolist()) if length.max() > 1.01 * length.min() else set()


OWN = 0.1  # what a token itself may score, of what a stored one does: at 0.5 attention stays with the token itself


@check("06", "Design: an address without a die")
def own_address(g, answer):
    """A fixed Z with Z Z^T = I, with which a question meets the stored token and not the token itself."""
    for d in (32, 64):
        eye = torch.eye(d, dtype=torch.float64)
        z, again = (tensor(ask(answer, d), (d, d), "Your Z") for _ in range(2))
        if not torch.equal(z, again):
            raise Wrong("Two calls give two matrices: you draw at random, and the same one is asked at every call.")
        kernel = z @ z.T
        if not torch.allclose(kernel, eye, atol=1e-4):
            trace = normalised_trace(kernel) if kernel.any() else 0.0
            raise Wrong(f"Z Z^T is not the identity, so the kernel is no longer perfect: its trace is {trace:.2f}.")
        if torch.allclose(z, eye, atol=1e-4):
            raise Wrong("That is the identity: whoever is a answers as loud as whoever stores a.")
        own = z.trace().item() / d  # x Z x^T over all directions x of length 1, on average
        if own > OWN + 1e-9:
            raise Wrong(
                f"A place that stores a scores 1, and one that is a still {own:.2f} on average: turn more directions.",
                f"print(own_address({d}).trace() / {d})",
            )
    return f"stored tokens score 1, tokens themselves at most {OWN} on average, and every call gives the same matrix."


POSSIBLE: dict[str, Callable[[list[float], list[float]], tuple[float, float]]] = {
    "You give one value twice: never against never is no tie here, it is not known": lambda a, b: (
        superiority(a, b),
        superiority(a, b),
    ),
    "The two ends are exchanged: the lower one comes first": lambda a, b: ends(a, b)[::-1],
    "You leave out the runs that did not arrive: they are slower than all that did, and that is known": lambda a, b: (
        superiority(arrived(a), arrived(b)),
        superiority(arrived(a), arrived(b)),
    ),
    "A run that did not arrive is slower than one that did: that pair is certain": lambda a, b: (
        share(a, b, lambda x, y: (x < y < inf) + (x == y < inf) / 2),
        share(a, b, lambda x, y: (x < y) + (x == y < inf) / 2 + (x == inf)),
    ),
    "Two runs that arrive at the same step are a tie, one half at both ends": lambda a, b: (
        share(a, b, lambda x, y: x < y),
        share(a, b, lambda x, y: x <= y),
    ),
    "You exchange the sides: it is how often a is faster": lambda a, b: ends(b, a),
    "Two runs that arrived at the same step count nothing with you, and one half is asked": lambda a, b: (
        share(a, b, lambda x, y: x < y),
        share(a, b, lambda x, y: (x < y) + (x == y == inf)),
    ),
    "You give numbers of pairs: divide by how many pairs there are": lambda a, b: tuple(
        end * len(a) * len(b) for end in ends(a, b)
    ),
}


def arrived(steps: Sequence[float]) -> list[float]:
    return [x for x in steps if x < inf]


def share(a: Sequence[float], b: Sequence[float], worth: Callable[[float, float], float]) -> float:
    """The mean over all pairs of what a pair is worth."""
    return sum(worth(x, y) for x, y in product(a, b)) / (len(a) * len(b))


def ends(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Both extremes: all of one side's late runs arrive a step after the budget, all of the other's two."""

    def with_late(steps: Sequence[float], later: int) -> list[float]:
        return [3000 + later if x == inf else x for x in steps]

    return superiority(with_late(a, 2), with_late(b, 1)), superiority(with_late(a, 1), with_late(b, 2))


@check("06", 'What does "never within 3,000 steps" leave open?')
def still_possible(g, answer):
    """The least and the most that the share may become, against both extreme ways in which late runs may arrive."""
    rng = dice(g)
    cases = []
    for n, m in ((5, 5), (4, 6), (6, 3), (5, 4), (3, 5)):
        tie = rng.randrange(600, 1200, 100)
        a, b = ([tie, inf, *(rng.choice([*range(600, 3000, 100), inf]) for _ in range(k - 2))] for k in (n, m))
        cases.append((rng.sample(a, n), rng.sample(b, m)))
    cases += [([inf] * 5, [inf] * 5), ([700, 800, 900], [inf] * 4), ([inf] * 4, [700, 800, 900])]
    true = [ends(a, b) for a, b in cases]
    got = [both(ask(answer, a, b)) for a, b in cases]

    def same(some: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> bool:
        return all(abs(x - y) < 1e-9 for p, q in zip(some, others) for x, y in zip(p, q))

    if not same(got, true):
        for sentence, rival in POSSIBLE.items():
            if same(got[:5], [rival(a, b) for a, b in cases[:5]]):
                see = "print(still_possible([900, inf], [900, 1200, inf]), 'of 2.5/6 and 3.5/6')"
                raise Wrong(f"{sentence}.", see)
        i = next(i for i in range(len(cases)) if not same(got[i : i + 1], true[i : i + 1]))
        words = "from {:.3f} to {:.3f}"
        see = f"print(still_possible(*{cases[i]}))"
        raise Wrong(f"You say {words.format(*got[i])}, and {words.format(*true[i])} is possible.", see)
    return "8 cases: where no run of either side arrives all is open, and where one side arrives whole nothing is."


def both(value) -> tuple[float, float]:
    """A learner's pair of numbers. Raises Wrong for anything else."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise Wrong(f"You give {kind_of(value)}, and a pair is asked: the least and the most.")
    return number(value[0], "Your least share"), number(value[1], "Your most")
