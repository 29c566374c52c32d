"""The checks of lesson 03's exercises: kernels by hand, two scores at odds, class or token, lengths, full marks."""

from copy import deepcopy
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from matchlib.chains import MODULUS
from matchlib.checking import Surprise, Wrong, ask, check, kind_of, number, tensor
from matchlib.probe import argmax_score, gaussian_tokens, matching_matrix, matching_score
from matchlib.runs import load_or_train
from matchlib.train import accuracy_of

Weights = list[Tensor]  # one matrix a layer, as nn.Linear keeps it: (out, in)


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
    right = first @ qk[layer] @ vo[0].T
    return {
        "Your kernel is transposed: rows are the tokens that ask, columns those that are stored": right.T,
        "W_vo(0) stands on the side of the key, where (y W_vo)^T = W_vo^T y^T: it lacks its transpose": (
            first @ qk[layer] @ vo[0]
        ),
        "In your W_qk the key comes first: the side that asks goes through the query": first @ qk[layer].T @ vo[0].T,
        "From layer 2 on the asker holds what the layer before wrote: the factor W_vo(l-1) is missing": (
            qk[layer] @ vo[0].T
        ),
        "The asker's token was written by the layer *before*, W_vo(l-1), and you take the layer's own": (
            vo[layer] @ qk[layer] @ vo[0].T
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
                "torch.nn.Linear(64, 16).weight.shape",
            )
        got = tensor(got, (d_model, d_model), f"Your kernel of layer {layer}").float()
        right = put_through(*weights, layer)
        if torch.allclose(got, right, rtol=1e-3, atol=1e-2):
            continue
        for words, slip in slips_of_kernel(*weights, layer).items():
            if torch.allclose(got, slip, rtol=1e-3, atol=1e-2):
                raise Wrong(f"{words}. (layer {layer})", "for x, y = two unit vectors: the score is x @ kernel @ y")
        raise Wrong(f"Your kernel of layer {layer} is not what unit vectors score that are put through the layers.")
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
            raise Wrong("All entries of your quiet matrix are equal, and a tie is no match: the diagonal must win.")
        if wins < 1:
            raise Wrong(f"In your quiet matrix the diagonal wins only {wins:.2f} of the rows (n = {n}).")
        if score >= 2 / n:
            raise Wrong(
                f"Your quiet matrix scores {score:.2f} where less than 2/n = {2 / n:.2f} is asked: its diagonal wins "
                "by too much. The argmax does not mind by how little.",
                "quiet(9).softmax(dim=1).diagonal()",
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
                "loud(9).softmax(dim=1)",
            )
    return (
        "one wins every row and scores below twice chance; the other wins none and scores above 0.4 (n from 5 to 40)."
    )


def class_slips(h: Tensor) -> dict[str, float]:
    """What known mistakes make of the share: the words for each, and the number."""
    n = len(h)
    i = torch.arange(n)
    alone = h.masked_fill(torch.eye(n).bool(), -torch.inf)
    kin = (i[:, None] - i) % MODULUS == 0
    kin_others = kin & ~torch.eye(n).bool()

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
        "You look for the smallest entry, and a match is the largest": share(
            -h.masked_fill(torch.eye(n).bool(), 1e9), kin
        ),
    }


@check("03", "The token, or only its class?")
def class_share(g, answer):
    """Where the largest entry beside the diagonal lies, on made-up matrices with and without stripes."""
    found = []
    for stripe in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5):
        n = int(torch.randint(30, 60, (1,), generator=g))
        i = torch.arange(n)
        h = torch.randn(n, n, generator=g) + stripe * ((i[:, None] - i) % MODULUS == 0)
        h = h + torch.eye(n) * (3 if torch.rand(1, generator=g) < 0.5 else -9)
        got = number(ask(answer, h), "Your share")
        right = sum(
            (max((x, j) for j, x in enumerate(row) if j != k)[1] - k) % MODULUS == 0 for k, row in enumerate(h.tolist())
        )
        found.append((got, right / n, class_slips(h)))
    if all(abs(got - right) < 1e-6 for got, right, _ in found):
        return "6 fresh matrices, with and without stripes and a diagonal: your share is that of a count row by row."
    if all(abs(100 * right - got) < 1e-4 for got, right, _ in found):
        raise Wrong("Your share is a percentage, and one from 0 to 1 is asked.")
    for words in found[0][2]:
        if all(abs(got - slips[words]) < 1e-6 for got, _, slips in found):
            raise Wrong(f"{words}.", "h.masked_fill(torch.eye(len(h)).bool(), -torch.inf).argmax(dim=1)")
    got, right, _ = next(case for case in found if abs(case[0] - case[1]) >= 1e-6)
    raise Wrong(f"Your share is {got:.4f} where a count row by row finds {right:.4f}.")


@check("03", "Predict: among longer ones", choices=("about as many as before", "about half as many", "almost none"))
def long_neighbours(g, said):
    """Of fifty Gaussian vectors half are made three times as long: how many of the others still match themselves?"""
    model = load_or_train("post_g07").model
    alike, short, long = ([] for _ in range(3))
    for _ in range(20):
        x = gaussian_tokens(model, 50, g)
        for layer in (1, 2):
            alike.append(argmax_score(model, layer, x))
            h = matching_matrix(model, layer, torch.cat([3 * x[:25], x[25:]]))
            wins = (h.argmax(1) == torch.arange(50)).float()
            long.append(wins[:25].mean()), short.append(wins[25:].mean())
    alike, short, long = (torch.tensor(shares).mean().item() for shares in (alike, short, long))
    # means of 40: the bounds lie 6 of their standard errors off, or more
    assert alike > 0.5 and short < 0.06 and long > alike, "the shipped model matches otherwise now"
    reveal = (
        "of the short ones fewer than 6 in 100 match themselves, of vectors of one length more than half, and of the "
        "long ones more still."
    )
    if said == "about as many as before":
        raise Surprise(
            f"{reveal} One factor for *all* changes no argmax, and that is what it ignores. Here the rows of the short "
            "hold entries of long neighbours, three times as large."
        )
    if said == "about half as many":
        raise Surprise(f"{reveal} A chance product with a long neighbour is three times as wide, and 25 of them try.")
    return f"{reveal} A match is won against neighbours: who they are, and how long, belongs to the measurement."


IN_KERNELS = {
    f"blocks.{layer}.{name}"
    for layer, names in enumerate((("w_v", "w_o"), ("w_q", "w_k", "w_v", "w_o"), ("w_q", "w_k")))
    for name in names
}


@check("03", "Full marks, and no answer")
def full_marks(g, answer):
    """The shipped model with resized matrices of its kernels: both scores high in both layers, and the test failed."""
    run = load_or_train("post_g07")
    factors = ask(answer)
    if not isinstance(factors, dict):
        raise Wrong(f"Your factors are {kind_of(factors)}, and a dict is asked: name of a matrix to its factor.")
    model = deepcopy(run.model)
    parameters = dict(model.named_parameters())
    for name, factor in factors.items():
        if not isinstance(name, str) or name not in parameters:
            raise Wrong(f"{kind_of(name)} is no matrix of the model.", "[name for name, _ in model.named_parameters()]")
        if name not in IN_KERNELS:
            raise Wrong(
                f"{name} is no factor of a kernel: that the scores miss what they do not look at is no surprise. "
                "Resize one that they do look at."
            )
        if (factor := number(factor, f"The factor of {name}")) == 0:
            raise Wrong(f"The factor of {name} is 0, and a kernel is then nothing: choose another size.")
        parameters[name].data *= factor
    if not factors:
        raise Wrong("Your dict is empty: then nothing has changed.")
    tokens = torch.arange(1, run.task.n_tokens + 1)
    with torch.no_grad():
        right = accuracy_of(model, run.task.sample(500, "test", generator=g))
        wins, score = (min(f(model, layer, tokens) for layer in (1, 2)) for f in (argmax_score, matching_score))
    see = "probe.matching_score(model, layer, tokens)"
    if wins < 0.95:
        raise Wrong(f"The argmax score falls to {wins:.2f}: a negative factor turns the winner into the loser.", see)
    if score < 0.9 and right < 0.3:
        raise Wrong(
            f"The answers are gone, and the matching score saw it coming: {score:.2f} in one layer, where 0.9 is "
            "asked. Small factors flatten attention. Make something larger instead.",
            see,
        )
    if score < 0.9:
        raise Wrong(f"The matching score is {score:.2f} in one layer, where 0.9 is asked in both. Larger?", see)
    if right > 0.2:
        raise Wrong(
            f"Both scores are high, and the model still answers {right:.2f} of the test: sharper attention reads "
            "the same keys. What else does a matrix of a kernel do, beside scoring?",
            see,
        )
    return "in both layers argmax score 0.95 or more, matching score 0.9 or more; the model answers 0.2 or less."
