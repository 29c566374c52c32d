"""The checks of lesson 07's exercises: one sender in place of all, and which orders are worst and best."""

import random
from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor

from matchlib.checking import Surprise, Wrong, ask, check, dice, tensor, whole
from matchlib.rules import bounds, reach

Choose = Callable[[set, list[set]], int]
Pairs = Collection[tuple[int, int]]


def most_new(own: set, heard: list[set]) -> int:
    """Which of the sets brings the most new nodes; the first of several."""
    return max(range(len(heard)), key=lambda k: len(heard[k] - own))


def last_written(own: set, heard: list[set]) -> int:
    """The set of the match that stands last."""
    return len(heard) - 1


def ranked(rng: random.Random) -> Choose:
    """An ear with a taste of its own: every node is worth something, or less than nothing."""
    worth = [rng.uniform(-1, 1) for _ in range(20)]
    return lambda own, heard: max(range(len(heard)), key=lambda k: sum(worth[node] for node in heard[k]))


def checked(choose: Choose) -> Choose:
    """The same ear, which says what it was given where that is no set and list of sets."""

    def one(own: set, heard: list[set]) -> int:
        if not (isinstance(own, set | frozenset) and isinstance(heard, list | tuple) and heard):
            raise ValueError("choose takes a set and a list of one set or more")
        if not all(isinstance(one, set | frozenset) for one in heard):
            raise ValueError("choose takes a list of sets: those that are held, not the numbers of their positions")
        return choose(set(own), [set(one) for one in heard])

    return one


def with_one_ear(
    order: Sequence[int], n_layers: int, choose: Choose, *,
    every=False, in_place=False, masked=True, itself=False, strangers=False, pairing=True, last=True,
    one=False, dropped=False, fresh=False, turned=False, blind=False,
) -> int:  # fmt: skip
    """Steps from node 0 where each position hears one match alone; the switches are what may be got wrong."""
    held = [{node} for edge in order for node in (edge, edge + 1)] + [{0}]
    for layer in range(1, n_layers + last):
        below = held if in_place else list(held)
        for i in range(len(held)):
            own = below[i]
            among = range(i + itself) if masked else [j for j in range(len(held)) if j != i or itself]
            heard = [below[j] for j in among if strangers or below[j] & own]
            heard = [x for x in heard if x - own] if fresh else heard[::-1] if turned else heard
            if layer == 1 and pairing:
                heard = [below[i - 1]] if i % 2 else []
            everything = every or one and i < len(held) - 1
            if heard and not everything and (layer > 1 or not pairing):
                heard = [heard[choose(set() if blind else own, heard)]]
            held[i] = set().union(*heard) if dropped and heard and layer > 1 else own.union(*heard)
    return max(held[-1])


EARS: dict[str, Callable[..., int]] = {
    "You hear every match, as the lesson's rules do: one of them is asked": partial(with_one_ear, every=True),
    "A set that is new is heard in the same layer: read from the sets below, and write to a list of its own": partial(
        with_one_ear, in_place=True
    ),
    "A position hears a later one: the causal mask leaves it those before it": partial(with_one_ear, masked=False),
    "You offer a position its own set, and it may hear itself alone": partial(with_one_ear, itself=True),
    "You offer sets that share no node with the position's own: they do not match": partial(
        with_one_ear, strangers=True
    ),
    "You make no step on any order: in layer 1 a second token hears the token before it, whatever matches; what a "
    "position held it keeps beside what it hears; `choose` says which match, which is not always the first": partial(
        with_one_ear, pairing=False
    ),
    "You go through a layer too few": partial(with_one_ear, last=False),
    "You let all positions but the last hear every match: each hears one": partial(with_one_ear, one=True),
    "A position loses what it held when it hears another: what is held is kept": partial(with_one_ear, dropped=True),
    "You leave out matches that bring nothing new: `choose` is offered every match": partial(with_one_ear, fresh=True),
    "You offer the matches last position first, and the first comes first": partial(with_one_ear, turned=True),
    "`choose` takes the position's own set, and you give it another": partial(with_one_ear, blind=True),
}


@check("07", "One ear: the rules with a single sender")
def one_ear(g, answer):
    """Steps on fresh orders, with the exercise's way to choose and with ears of another taste, against the rules."""
    rng, cases = dice(g), []
    for n_edges, n_layers in ((3, 1), (3, 2), (5, 2), (4, 3), (5, 3), (6, 3), (7, 3), (8, 3), (10, 4), (12, 4)) * 3:
        cases += [(rng.sample(range(n_edges), n_edges), n_layers, ear) for ear in (most_new, last_written, ranked(rng))]
    got = [whole(ask(answer, order, n, checked(ear)), "Your number of steps") for order, n, ear in cases]
    true = [with_one_ear(*case) for case in cases]
    if got == true:
        return "30 orders, one to four layers, and three ways to choose: each position hears one match, and no more."
    for sentence, rival in EARS.items():
        if got == [rival(*case) for case in cases]:
            raise Wrong(f"{sentence}.", told_apart(rival, rng))
    first = (
        "Up to two layers you are right, and beyond you are not. "
        if (all(a == b for a, b, (_, n, _) in zip(got, true, cases) if n < 3))
        else ""
    )
    i = next(i for i, (a, b) in enumerate(zip(got, true)) if a != b)
    order, n_layers, _ = cases[i]
    raise Wrong(
        f"{first}With {n_layers} layers and the order {order} you come to {got[i]} steps, and the rules to {true[i]}."
    )


def told_apart(rival: Callable[..., int], rng: random.Random) -> str:
    """Code that shows a learner's steps on an order where they differ, and the right ones; empty if none."""
    for _ in range(1000):  # a set of the position's own is seen by the second ear alone, what brings much by the first
        n_edges, ear = rng.randrange(3, 8), rng.choice((most_new, last_written))
        order = rng.sample(range(n_edges), n_edges)
        if rival(order, 3, ear) != (true := with_one_ear(order, 3, ear)):
            return f"print(one_ear({order}, 3, {ear.__name__}), 'and the rules say', {true})"
    return ""


@check("07", "Predict: the edges in order, and reversed", choices=("in order", "reversed", "the same"))
def reversed_order(g, said):
    """Both orders give the lower bound, from any start with enough edges ahead."""
    rng = dice(g)
    for n_layers in (3, 4, 5):
        fewest = bounds(n_layers)[0]
        start, more = rng.randrange(5), rng.randrange(5)
        order = list(range(start + fewest + 1 + more))
        found = reach(order, n_layers, start), reach(order[::-1], n_layers, start)
        assert found == (fewest, fewest), "the rules are others"
    reveal = (
        "both make the fewest steps that any order makes, 7 with four layers. In order a position hears the edge that "
        "comes before its own on the chain, and its run of nodes grows backwards; reversed it hears the one that comes "
        "after, and its run grows forwards. The run doubles either way, and the start takes over a whole run."
    )
    if said == "in order":
        raise Surprise(f"{reveal} To be written along the chain does not help: all hear at once, none waits its turn.")
    if said == "reversed":
        raise Surprise(f"{reveal} To hear from one side is no better than to hear from the other: what helps is both.")
    return reveal


def must(first: int, size: int) -> list[tuple[int, int]]:
    """Which edge must stand behind which, that one position holds all `size` edges from `first` on: size is 3^m."""
    if size == 1:
        return []
    third, middle = size // 3, first + size // 2
    here = [(middle, first + third // 2), (middle, first + 2 * third + third // 2)]
    return here + [pair for k in range(3) for pair in must(first + k * third, third)]


def fastest_pairs(n_layers: int) -> list[tuple[int, int]]:
    """The pairs (later, earlier) that an order keeps just where it attains the upper bound: those of every block."""
    sizes = [3**i for i in range(n_layers - 1)]
    return [pair for i, size in enumerate(sizes) for pair in must(sum(sizes[:i]), size)]


def implied(pairs: Pairs, n_edges: int) -> Bool[Tensor, "later earlier"]:
    """All that follows from some pairs: a behind b and b behind c puts a behind c."""
    after = torch.zeros(n_edges, n_edges, dtype=torch.bool)
    for later, earlier in pairs:
        after[later, earlier] = True
    for k in range(n_edges):
        after |= after[:, k : k + 1] & after[k]
    return after


def laid(pairs: Pairs, n_edges: int, rng: random.Random) -> list[int]:
    """An order that keeps all the pairs, by chance. Raises ValueError where none does."""
    after, order = implied(pairs, n_edges), []
    while len(order) < n_edges:
        free = [e for e in range(n_edges) if e not in order and set(after[e].nonzero()[:, 0].tolist()) <= set(order)]
        if not free:
            raise ValueError("No order keeps these pairs: they run in a circle.")
        order.append(rng.choice(free))
    return order


def read_pairs(value, n_layers: int, n_edges: int) -> list[tuple[int, int]]:
    """A learner's pairs of edges. Raises Wrong for anything else."""
    value = list(value) if isinstance(value, set | frozenset) else value
    found = tensor(value, None, f"What you give for {n_layers} layers")
    if found.numel() == 0:
        return []
    if found.dim() != 2 or found.shape[1] != 2:
        raise Wrong("A list of pairs is asked, each of two edges, such as [(2, 1), (2, 3)].")
    pairs = [tuple(whole(x, "A number of your pairs") for x in row) for row in found.tolist()]
    if outside := [x for pair in pairs for x in pair if not 0 <= x < n_edges]:
        raise Wrong(
            f"With {n_layers} layers the edges that matter are 0 to {n_edges - 1}: edge i leads from node i to node "
            f"i + 1, and you name {outside[0]}."
        )
    return pairs


@check("07", "Which edge must stand behind which?")
def behind(g, answer):
    """The learner's pairs, against all that the upper bound needs and nothing more; each fault shown by an order."""
    rng, given = dice(g), {}
    for n_layers in (3, 4):
        most = bounds(n_layers)[1]
        given[n_layers] = read_pairs(ask(answer, n_layers), n_layers, most)
    for n_layers, pairs in given.items():
        most, needed = bounds(n_layers)[1], fastest_pairs(n_layers)
        yours, true = implied(pairs, most), implied(needed, most)
        if torch.equal(yours, true):
            continue
        if yours.diagonal().any():
            raise Wrong(f"Your pairs for {n_layers} layers run in a circle: no order keeps them all.")
        if pairs and torch.equal(yours, true.T):
            raise Wrong("You name the pairs the other way round: the edge that stands behind comes first in a pair.")
        strict, lax = (yours & ~true).nonzero().tolist(), (true & ~yours).nonzero().tolist()
        if strict:
            later, earlier = rng.choice(strict)
            order = laid([*needed, (earlier, later)], most, rng)
            kept = f"here edge {earlier} stands behind edge {later}, and all the same {most} steps are made"
            why = "An order that needs not be"
            if len(strict) + true.sum() == most * (most - 1) // 2:
                why = "You wrote down one order, and there are others"
            elif in_other_blocks(later, earlier):
                why = "The start hears these two in different layers, so neither needs the other"
            raise Wrong(f"You ask for too much. {why}: {kept}.", f"print(reach({order}, {n_layers}))")
        order = laid([*pairs, rng.choice(lax)[::-1]], most, rng)
        why = f"{len(lax)} of {true.sum()} that follow from the full list do not follow from yours"
        if not pairs:
            why = "without any pair every order would do"
        elif n_layers == 4 and pairs == given[3]:
            why = "these are the pairs of three layers, and nine more edges wait for the fourth"
        elif not lax_in_blocks(lax, most):
            why = "each block of three edges is right, and what must become of three such blocks is missing"
        raise Wrong(
            f"You ask for too little: {why}. This order keeps all your pairs and makes {reach(order, n_layers)} steps.",
            f"print(reach({order}, {n_layers}), 'and', {most}, 'are asked')",
        )
    return "what you ask for is what the upper bound needs, at three and at four layers: not a pair more, nor less."


def in_other_blocks(a: int, b: int) -> bool:
    """Are two edges taken over by the start in different layers? Those of layer l are 3^(l-2) in a row."""
    return sum(a >= bounds(n)[1] for n in range(2, 6)) != sum(b >= bounds(n)[1] for n in range(2, 6))


def lax_in_blocks(lax: Sequence[Sequence[int]], most: int) -> bool:
    """Does a missing pair lie inside a block of three edges, 1 to 3, 4 to 6, and so on?"""
    return any((a - 1) // 3 == (b - 1) // 3 for a, b in lax)
