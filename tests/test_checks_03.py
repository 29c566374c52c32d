"""The mistakes that lesson 03's checks know by name."""

import pytest
import torch
from checks_work import can_be_seen, complete, held, rows

from matchlib.checks_03 import COUNTED, class_slips, put_through, slips_of_kernel
from matchlib.checks_03_sizes import IN_KERNEL
from matchlib.probe import factors
from matchlib.runs import load_or_train


def slipped_kernel(piece):
    """The kernel with the mistake whose words hold `piece`; the right one for layers where that changes nothing."""

    def kernel(*given):
        return next(matrix for words, matrix in slips_of_kernel(*given).items() if piece in words)

    return kernel


def slipped_class(piece):
    return lambda h: next(share for words, share in class_slips(h).items() if piece in words)


def neighbour(n):
    return torch.eye(n).roll(1, dims=1)


def good_quiet(n):
    return 0.1 * torch.eye(n)


def good_loud(n):
    return 20 * torch.eye(n) + 20.1 * neighbour(n)


def factor(**sizes):
    """`factor(b1_w_q=2)`: a function that resizes blocks.1.w_q."""
    return lambda: {f"blocks.{name[1]}.{name[3:]}": size for name, size in sizes.items()}


KERNEL = (
    "is transposed", "lacks its transpose", "the key comes first", "the factor W_vo(l-1) is missing",
    "you take the layer's own", "it needs no transpose", "you take the layer before", "the square root of d_head",
    "holds its token as it is", "W_vo(1) in front in every later layer", "every W_vo(1) ...", "every W_vo(l-1) ...",
)  # fmt: skip
CLASS = (
    "leave the diagonal in:", "each *column*", "i // 5", "residues of one token alone", "the means of rows",
    "the smallest entry", "the diagonal to 0", "that *another* of the class wins", "the second largest", "the softmax",
)  # fmt: skip


def how_many(h):
    n = len(h)
    best = h.masked_fill(torch.eye(n).bool(), -torch.inf).argmax(1)
    return int(((best - torch.arange(n)) % 5 == 0).sum())


MISTAKES = {
    "kernel_of_linears": [(slipped_kernel(piece), piece) for piece in KERNEL]
    + [
        (lambda query, key, value, out, layer: query[layer] @ key[layer].T, "nn.Linear keeps its matrix as"),
        (lambda query, key, value, out, layer: torch.eye(query[0].shape[1]), "is not what unit vectors score"),
        (lambda query, key, value, out, layer: query[layer], "is asked"),
    ],
    "two_scores": [
        ((lambda n: torch.zeros(n, n), good_loud), "a tie is no match"),
        ((lambda n: torch.ones(n, n) + 1e-9 * torch.eye(n), good_loud), "In float32 1 + 1e-9 is 1"),
        ((lambda n: neighbour(n), good_loud), "the diagonal wins only"),
        ((lambda n: torch.eye(n), good_loud), "its diagonal wins by too much"),
        ((good_quiet, lambda n: torch.eye(n)), "it may win none"),
        ((good_quiet, lambda n: 20 * neighbour(n)), "lose by less"),
        ((good_quiet, lambda n: 20 * torch.eye(n) + 20.1 * (neighbour(n) + neighbour(n).T)), "rivals come close"),
        ((good_quiet, lambda n: torch.eye(n)[0]), "is asked"),
    ],
    "class_share": [(slipped_class(piece), piece) for piece in CLASS]
    + [
        (how_many, COUNTED),
        (lambda h: 100 * how_many(h) / len(h), "is a percentage"),
        (lambda h: 0.5, "a count row by row finds"),
        (lambda h: h, "a number is asked"),
    ],
    "long_neighbours": [
        (lambda: "about as many as before", "that is what it ignores"),
        (lambda: "about half as many", "three times as wide"),
        (lambda: "none", "choose one of"),
    ],
    "full_marks": [
        (lambda: [("blocks.1.w_q", 2)], "a dict is asked"),
        (lambda: {}, "is empty"),
        (lambda: {"w_qk": 2}, "is no matrix of the model"),
        (factor(b2_w_v=0.1), "is no factor of a kernel"),
        (factor(b1_w_q=0), "a kernel is then nothing"),
        (factor(b1_w_q=-10), "turns the winner into the loser"),
        (factor(b1_w_q=0.01, b2_w_q=10), "saw it coming"),
        (factor(b1_w_q=10, b2_w_q=1.5), "asked in both. Larger?"),
        (factor(b1_w_v=100), "stands in Ker(1)"),
        (factor(b1_w_q=10), "stands in Ker(2)"),
        (factor(b1_w_q=10, b2_w_q=10), "sharper attention reads the same keys"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("03", MISTAKES)


@pytest.mark.parametrize("layer", IN_KERNEL)
def test_what_the_last_exercise_allows_is_what_stands_in_a_kernel(layer):
    """Resizing one of them, and no other matrix of attention, changes the size of a factor of this kernel."""
    model = load_or_train("post_g07").model
    before = [matrix.norm() for matrix in factors(model, layer).values()]
    for name, weight in model.named_parameters():
        if name.split(".")[-1] in ("w_q", "w_k", "w_v", "w_o"):
            weight.data *= 2
            after = [matrix.norm() for matrix in factors(model, layer).values()]
            weight.data /= 2
            assert any(a > 1.5 * b for a, b in zip(after, before)) == (name in IN_KERNEL[layer]), name


def test_brute_force_puts_the_rows_on_the_side_that_asks():
    """One unit vector asks one: a single number, with no matrix product of weights."""
    g = torch.Generator().manual_seed(0)
    query, key, value = ([torch.randn(3, 5, generator=g) for _ in range(3)] for _ in range(3))
    out = [torch.randn(5, 3, generator=g) for _ in range(3)]
    x, y = torch.eye(5)[1], torch.eye(5)[4]
    score = (query[2] @ (out[1] @ (value[1] @ x))) @ (key[2] @ (out[0] @ (value[0] @ y)))
    assert torch.allclose(put_through(query, key, value, out, 2)[1, 4], score, atol=1e-4)
