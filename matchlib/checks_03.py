"""The checks of lesson 03's exercises: kernels by hand, two scores at odds, and class or token."""

from functools import reduce
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from matchlib.chains import MODULUS
from matchlib.checking import Wrong, ask, check, dice, number, tensor

Weights = list[Tensor]  # one matrix a layer, as nn.Linear keeps it: (out, in)
SEE_KERNEL = "print(kernel_of_linears(*weights, 2) - probe.kernel(model, 2))"


def put_through(query: Weights, key: Weights, value: Weights, out: Weights, layer: int) -> Tensor:
    """The kernel by brute force: each unit vector asks each, through the layers themselves."""
    unit = torch.eye(query[0].shape[1])
    stored = F.linear(F.linear(unit, value[0]), out[0])
    asks = unit if layer == 1 else F.linear(F.linear(unit, value[layer - 1]), out[layer - 1])
    return F.linear(asks, query[layer]) @ F.linear(stored, key[layer]).T


def slips_of_kernel(query: Weights, key: Weights, value: Weights, out: Weights, layer: int) -> dict[str, Tensor]:
    """What known mistakes make of a kernel: the words for each, and the matrix."""
    qk, vo = [q.T @ k for q, k in zip(query, key)], [v.T @ o.T for v, o in zip(value, out)]
    first = torch.eye(len(qk[0])) if layer == 1 else vo[layer - 1]
    plain = qk[layer] @ vo[0].T
    right, all_of_them = first @ plain, [vo[i] for i in range(1, layer)] or [first]
    return {
        "Your kernel is transposed: rows are the tokens that ask, columns those that are stored": right.T,
        "W_vo(0) stands on the side of the key, where (y W_vo)^T = W_vo^T y^T: it lacks its transpose": (
            first @ qk[layer] @ vo[0]
        ),
        "In your W_qk the key comes first: the side that asks goes through the query": first @ qk[layer].T @ vo[0].T,
        "From layer 2 on the asker holds what the layer before wrote: the factor W_vo(l-1) is missing": plain,
        "In layer 1 the asker holds its token as it is: nothing stands in front of W_qk(1)": vo[layer - 1] @ plain,
        "You put W_vo(1) in front in every later layer; the asker holds what the layer before wrote, W_vo(l-1)": (
            first if layer == 1 else vo[1]
        )
        @ plain,
        "You multiply by every W_vo(1) ... W_vo(l-1); the asker's newest token was written once, by W_vo(l-1)": (
            reduce(torch.matmul, all_of_them) @ plain
        ),
        "You multiply by every W_vo(l-1) ... W_vo(1); the asker's newest token was written once, by W_vo(l-1)": (
            reduce(torch.matmul, all_of_them[::-1]) @ plain
        ),
        "The asker's token was written by the layer *before*, W_vo(l-1), and you take the layer's own": (
            vo[layer] @ plain
        ),
        "W_vo(l-1) stands on the side that asks, x W_vo(l-1): it needs no transpose": first.T @ qk[layer] @ vo[0].T,
        "It was layer 0 that stored the predecessor, W_vo(0)^T, and you take the layer before": (
            first @ qk[layer] @ vo[layer - 1].T
        ),
        "You divide by the square root of d_head: attention does so, and a kernel is written without it": (
            right / sqrt(len(query[0]))
        ),
    }


@check("03", "A kernel from weights as PyTorch keeps them")
def kernel_of_linears(g, answer):
    """The kernel of layers 1 to 3 from the weights of nn.Linear, against unit vectors put through them."""
    for layer in (1, 2, 3):
        d_model, d_head = (int(torch.randint(a, a + 4, (1,), generator=g)) for a in (12, 5))
        query, key, value = ([torch.randn(d_head, d_model, generator=g) for _ in range(4)] for _ in range(3))
        out = [torch.randn(d_model, d_head, generator=g) for _ in range(4)]
        weights = query, key, value, out
        got = ask(answer, *weights, layer)
        if isinstance(got, Tensor) and got.shape == (d_head, d_head):
            raise Wrong(
                f"Your kernel has the shape ({d_head}, {d_head}), d_head by d_head: nn.Linear keeps its matrix as "
                "(out, in) and computes x A^T, so W_q is the *transpose* of its weight.",
                "print(torch.nn.Linear(64, 16).weight.shape)",
            )
        got = tensor(got, (d_model, d_model), f"Your kernel of layer {layer}").float()
        right = put_through(*weights, layer)
        if torch.allclose(got, right, rtol=1e-3, atol=1e-2):
            continue
        for words, slip in slips_of_kernel(*weights, layer).items():
            if torch.allclose(got, slip, rtol=1e-3, atol=1e-2):
                raise Wrong(f"{words}. (layer {layer})", SEE_KERNEL)
        raise Wrong(
            f"Your kernel of layer {layer} is not what unit vectors score that are put through the layers. In layer 1 "
            "it is W_qk(1) W_vo(0)^T, and in layer l from 2 on W_vo(l-1) W_qk(l) W_vo(0)^T.",
            SEE_KERNEL,
        )
    return "for layers 1, 2 and 3 every pair of unit vectors scores what it scores put through the layers themselves."


def both(h: Tensor) -> tuple[float, float]:
    """Matching score and argmax score, row by row; a tie is no match."""
    shares, wins = [], []
    for i, row in enumerate(h.tolist()):
        others = row[:i] + row[i + 1 :]
        shares.append(1 / (1 + sum(torch.tensor([x - row[i] for x in others], dtype=torch.float64).exp().tolist())))
        wins.append(row[i] > max(others))
    return sum(shares) / len(h), sum(wins) / len(h)


@check("03", "Two scores at odds")
def two_scores(g, quiet, loud):
    """A matrix that one score praises and the other does not, and the converse."""
    for n in (torch.randperm(36, generator=g)[:4] + 5).tolist():
        h = tensor(ask(quiet, n), (n, n), f"Your quiet matrix for n = {n}")
        score, wins = both(h)
        if (h == h[0, 0]).all():
            raise Wrong(
                "All entries of your quiet matrix are equal, and a tie is no match: the diagonal must win. (In float32 "
                "1 + 1e-9 is 1.)"
            )
        if wins < 1:
            raise Wrong(f"In your quiet matrix the diagonal wins only {wins:.2f} of the rows (n = {n}).")
        if score >= 2 / n:
            raise Wrong(
                f"Your quiet matrix scores {score:.2f} where less than 2/n = {2 / n:.2f} is asked: its diagonal wins "
                "by too much. The argmax does not mind by how little.",
                "print(quiet(9).softmax(dim=1).diagonal())",
            )
        h = tensor(ask(loud, n), (n, n), f"Your loud matrix for n = {n}")
        score, wins = both(h)
        if wins > 0:
            raise Wrong(f"In your loud matrix the diagonal wins {wins:.2f} of the rows (n = {n}), and it may win none.")
        if score <= 0.4:
            rivals = (h > h.diagonal()[:, None] - 1).sum(1).max().item() - 1
            many = (
                f" In one of its rows {rivals} rivals come close: one is enough to beat the diagonal."
                if rivals > 1
                else ""
            )
            raise Wrong(
                f"Your loud matrix scores {score:.2f} where more than 0.4 is asked: let the diagonal lose "
                f"by less.{many}",
                "print(loud(9).softmax(dim=1))",
            )
    return (
        "one wins every row and scores below twice chance; the other wins none and scores above 0.4 (n from 5 to 40)."
    )


def class_slips(h: Tensor) -> dict[str, float]:
    """What known mistakes make of the share: the words for each, and the number."""
    n = len(h)
    i = torch.arange(n)
    own = torch.eye(n).bool()
    alone = h.masked_fill(own, -torch.inf)
    kin = (i[:, None] - i) % MODULUS == 0
    kin_others = kin & ~own

    def share(scores: Tensor, same: Tensor, dim: int = 1) -> float:
        return same[scores.argmax(dim), i].double().mean().item()

    def average(where: Tensor) -> Tensor:
        return (h * where).sum(1) / where.sum(1)

    return {
        "You leave the diagonal in: who matches itself is of its own class anyway, and the control says nothing": (
            share(h, kin)
        ),
        "Rows are the tokens that ask: you look for the largest entry of each *column*": share(alone, kin, dim=0),
        "Your classes are neighbours (i // 5), and a class is what is equal modulo 5": (
            share(alone, i[:, None] // MODULUS == i // MODULUS)
        ),
        "Your classes are the residues of one token alone: a class holds where both are equal modulo 5": (
            (alone.argmax(1) % MODULUS == 0).double().mean().item()
        ),
        "You compare the means of rows: the question is where the *largest* entry lies": (
            (average(kin_others) > average(~kin)).double().mean().item()
        ),
        "You look for the smallest entry, and a match is the largest": share(-h.masked_fill(own, 1e9), kin),
        "You set the diagonal to 0, and that wins where all others are negative: take it out with -infinity": (
            share(h.masked_fill(own, 0), kin)
        ),
        "You leave the diagonal in and count rows that *another* of the class wins: where the token itself wins, the "
        "question is still which of the others is largest": share(h, kin_others),
        "You take the second largest of each row: the largest off the diagonal is the first, where it does not lie on "
        "the diagonal": kin[i, h.topk(2, 1).indices[:, 1]].double().mean().item(),
        "You add up the softmax of the class: the question is in how many rows the *largest* entry lies there": (
            (alone.softmax(1) * kin).sum(1).mean().item()
        ),
    }


SEE_CLASS = (
    "print(probe.matching_matrix(model, 1, tokens).masked_fill(torch.eye(50).bool(), -torch.inf).argmax(dim=1) + 1, "
    "tokens)"
)
COUNTED = "You return a number of rows, and a share of them is asked, from 0 to 1"


@check("03", "The token, or only its class?")
def class_share(g, answer):
    """Where the largest entry beside the diagonal lies, on made-up matrices with and without stripes."""
    found = []
    diagonals = dice(g).sample((3, 3, 3, -9, -9, -9), 6)  # both occur: who keeps a diagonal that loses makes no mistake
    for stripe, diagonal in zip((0.0, 0.5, 1.0, 1.5, 2.0, 2.5), diagonals):
        n = int(torch.randint(30, 60, (1,), generator=g))
        i = torch.arange(n)
        h = torch.randn(n, n, generator=g) + stripe * ((i[:, None] - i) % MODULUS == 0)
        h = h + torch.eye(n) * diagonal
        if stripe % 1:
            h = h - 9  # all entries are negative: what is largest does not change
        got = number(ask(answer, h), "Your share")
        right = sum(
            (max((x, j) for j, x in enumerate(row) if j != k)[1] - k) % MODULUS == 0 for k, row in enumerate(h.tolist())
        )
        found.append((got, right / n, class_slips(h) | {COUNTED: right}))
    if all(abs(got - right) < 1e-6 for got, right, _ in found):
        return "6 fresh matrices, with and without stripes and a diagonal: your share is that of a count row by row."
    if all(abs(100 * right - got) < 1e-4 for got, right, _ in found):
        raise Wrong("Your share is a percentage, and one from 0 to 1 is asked.")
    for words in found[0][2]:
        if all(abs(got - slips[words]) < 1e-6 for got, _, slips in found):
            raise Wrong(f"{words}.", SEE_CLASS)
    got, right, _ = next(case for case in found if abs(case[0] - case[1]) >= 1e-6)
    raise Wrong(f"Your share is {got:.4f} where a count row by row finds {right:.4f}.")
