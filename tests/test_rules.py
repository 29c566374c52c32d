"""How far the set-union rules reach: against the rules played out on the tokens themselves, and the known answers."""

from collections import Counter
from fractions import Fraction
from itertools import permutations, product
from math import factorial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib.data import ChainTask
from matchlib.rules import (
    all_orders,
    bounds,
    fastest,
    fastest_share,
    random_orders,
    reach,
    reach_distribution,
    reaches,
    senders,
    sets,
    slowest,
)


def play(tokens: list[int], n_layers: int, masked: bool = True, at_once: bool = True) -> list[list[set[int]]]:
    """The slow and obvious way, from the printed sequence alone: what each position holds, layer by layer."""
    held = [{token} for token in tokens]
    layers = [held]
    for layer in range(1, n_layers + 1):
        new = [set(own) for own in held]
        below = held if at_once else new
        for i in range(len(tokens)):
            others = range(i) if masked else range(len(tokens))
            for j in others:
                if (j == i - 1 and i % 2 == 1) if layer == 1 else bool(held[i] & below[j]):
                    new[i] |= below[j]
        held = new
        layers.append(held)
    return layers


def printed(order, start: int, ring: bool = False) -> list[int]:
    n_nodes = len(order) + (not ring)
    return [node % n_nodes for edge in order for node in (edge, edge + 1)] + [start]


def steps_on(held: set[int], start: int) -> int:
    """How many nodes behind the start are held, with no gap."""
    steps = 0
    while start + steps + 1 in held:
        steps += 1
    return steps


@st.composite
def questions(draw, most_edges: int = 9, layers=(1, 5)):
    n_edges = draw(st.integers(1, most_edges))
    order = draw(st.permutations(range(n_edges)))
    return order, draw(st.integers(*layers)), draw(st.integers(0, n_edges))


@given(questions())
def test_the_fast_way_is_the_obvious_way(question):
    order, n_layers, start = question
    assert reach(order, n_layers, start) == steps_on(play(printed(order, start), n_layers)[-1][-1], start)


@given(questions(most_edges=7, layers=(1, 4)))
def test_the_sets_are_those_of_the_printed_sequence(question):
    order, n_layers, start = question
    played, shown = play(printed(order, start), n_layers), sets(order, n_layers, start)
    assert [[set(own) for own in layer] for layer in shown] == played
    for layer in range(1, n_layers + 1):
        for i, heard in enumerate(senders(shown[layer - 1], layer)):
            assert all(j < i for j in heard)
            assert shown[layer][i] == shown[layer - 1][i].union(*(shown[layer - 1][j] for j in heard))


def test_a_board_written_out_by_hand():
    """Edges 0 -> 1 and 2 -> 3 stand before 1 -> 2: the third edge hears of both in layer 2, the start in layer 3."""
    start, pairs, joined, read = ([sorted(own) for own in layer] for layer in sets((0, 2, 1), 3))
    assert start == [[0], [1], [2], [3], [1], [2], [0]]
    assert pairs == [[0], [0, 1], [2], [2, 3], [1], [1, 2], [0]]
    assert joined == [[0], [0, 1], [2], [2, 3], [0, 1], [0, 1, 2, 3], [0, 1]]
    assert read[-1] == [0, 1, 2, 3]
    assert senders(sets((0, 2, 1), 1)[1], 2) == ((), (0,), (), (2,), (1,), (1, 2, 3, 4), (0, 1))


@given(questions())
def test_every_set_is_an_interval_and_a_second_token_holds_what_the_first_holds(question):
    for layer in sets(*question)[1:]:
        assert all(max(own) - min(own) + 1 == len(own) for own in layer)
        assert all(first <= second for first, second in zip(layer[:-1:2], layer[1::2]))


@pytest.mark.parametrize(("n_layers", "n_edges", "fewest", "most"), [(1, 4, 0, 0), (2, 5, 1, 1), (3, 6, 3, 4)])
def test_over_all_orders_both_bounds_are_met_and_none_is_passed(n_layers, n_edges, fewest, most):
    found = reaches(all_orders(n_edges), n_layers)
    assert (int(found.min()), int(found.max())) == (fewest, most) == bounds(n_layers)


@pytest.mark.parametrize("n_edges", [4, 6, 8])
def test_at_three_layers_exactly_one_order_in_three_allows_four_steps(n_edges):
    orders = all_orders(n_edges)
    found = reaches(orders, 3)
    assert found.bincount().tolist() == [0, 0, 0, 2 * factorial(n_edges) // 3, factorial(n_edges) // 3]
    place = orders.argsort(1)
    assert torch.equal(found == 4, (place[:, 2] > place[:, 1]) & (place[:, 2] > place[:, 3]))


def test_at_four_layers_seven_to_thirteen_steps_are_possible(generator):
    found = reaches(random_orders(20_000, 16, generator), 4)
    assert set(found.tolist()) == set(range(7, 14)) and bounds(4) == (7, 13)


@pytest.mark.parametrize("n_layers", range(1, 7))
def test_both_ends_are_attained_by_construction(n_layers):
    low, high = bounds(n_layers)
    room = list(range(high, high + 5))  # edges that nobody needs, in front and behind
    assert sorted(slowest(n_layers)) == sorted(fastest(n_layers)) == list(range(max(1, high)))
    assert reach(slowest(n_layers), n_layers) == reach(slowest(n_layers)[::-1], n_layers) == low
    assert reach(fastest(n_layers), n_layers) == high
    if high:
        for order in (room + list(fastest(n_layers)), list(fastest(n_layers)) + room):
            assert reach(order, n_layers) == high
        assert reach(list(slowest(n_layers)) + room, n_layers) == low


@pytest.mark.parametrize("n_layers", [2, 3, 4])
def test_both_ends_are_attained_on_the_tokens_too(n_layers):
    for order, steps in ((slowest(n_layers), bounds(n_layers)[0]), (fastest(n_layers), bounds(n_layers)[1])):
        assert steps_on(play(printed(order, 0), n_layers)[-1][-1], 0) == steps


@pytest.mark.parametrize("n_layers", [5, 6])
def test_every_order_drawn_stays_between_the_bounds_where_the_chain_is_long(n_layers, generator):
    low, high = bounds(n_layers)
    found = reaches(random_orders(500, high, generator), n_layers)
    assert low <= found.min() and found.max() <= high


def test_bounds_are_the_published_ones():
    assert [bounds(n) for n in range(1, 7)] == [(0, 0), (1, 1), (3, 4), (7, 13), (15, 40), (31, 121)]


@given(questions())
def test_one_layer_more_never_reaches_less_and_the_bounds_hold_up_to_the_end(question):
    order, n_layers, start = question
    here, left = reach(order, n_layers, start), len(order) - start
    assert here <= reach(order, n_layers + 1, start)
    low, high = bounds(n_layers)
    assert min(low, left) <= here <= min(high, left)


@pytest.mark.parametrize("n_edges", [3, 4, 5, 6])
def test_only_the_order_among_the_edges_from_start_to_answer_decides(n_edges):
    orders = all_orders(n_edges)
    for n_layers, start in product(range(1, 6), range(n_edges)):
        whole = reaches(orders, n_layers, start)
        for steps in range(1, n_edges - start + 1):
            between = orders[(orders >= start) & (orders < start + steps)].view(-1, steps) - start
            assert torch.equal(reaches(between, n_layers), whole.clamp(max=steps))


@given(st.integers(10, 40), st.integers(3, 5), st.integers(0, 2**32), st.data())
def test_only_those_edges_decide_on_long_chains_too(n_edges, n_layers, seed, data):
    start = data.draw(st.integers(0, n_edges - 1))
    steps = data.draw(st.integers(1, n_edges - start))
    orders = random_orders(100, n_edges, torch.Generator().manual_seed(seed))
    between = orders[(orders >= start) & (orders < start + steps)].view(-1, steps) - start
    assert torch.equal(reaches(between, n_layers), reaches(orders, n_layers, start).clamp(max=steps))


@given(st.integers(10, 13), st.integers(1, 3), st.data())
def test_a_ring_is_a_chain_that_begins_at_the_start(n_edges, n_layers, data):
    order, start = data.draw(st.permutations(range(n_edges))), data.draw(st.integers(0, n_edges - 1))
    held = play(printed(order, start, ring=True), n_layers)[-1][-1]  # at most 9 nodes: the ring is not yet closed
    forwards = {(node - start) % n_edges for node in held}
    assert reach(order, n_layers, start, ring=True) == steps_on(forwards, 0)


def test_a_ring_too_small_lets_nodes_in_by_the_other_way_round():
    order = (1, 3, 2, 5, 7, 6, 0, 4, 8)  # 4 steps both ways
    assert reach(order, 3, ring=True) == 4
    assert play(printed(order, 0, ring=True), 3)[-1][-1] == set(range(9))


def test_steps_on_a_ring_end_where_they_began():
    assert reach((0, 1, 2), 5, start=2, ring=True) == 3


def test_without_the_mask_every_order_attains_the_upper_bound():
    for order in permutations(range(5)):
        assert steps_on(play(printed(order, 0), 3, masked=False)[-1][-1], 0) == 4


def test_in_place_one_layer_runs_to_the_end():
    assert steps_on(play(printed(range(9), 0), 2, at_once=False)[-1][-1], 0) == 9


def test_from_one_sender_a_layer_every_order_reaches_just_the_lower_bound():
    """All choices of a sender for each second token in layer 2, and then the best for the start: L=3."""
    for order in permutations(range(4)):
        place = {edge: s for s, edge in enumerate(order)}
        pairs = [{e, e + 1} for e in range(4)]
        earlier = [[own, *(own | pairs[n] for n in (e - 1, e + 1) if place.get(n, 9) < place[e])]
                   for e, own in enumerate(pairs)]  # fmt: skip
        best = max(steps_on({0, 1} | held, 0) for choice in product(*earlier) for held in choice if held & {0, 1})
        assert best == bounds(3)[0] == 3


def test_the_share_of_fastest_orders_is_exact():
    assert [fastest_share(n) for n in (1, 2, 3, 4, 5)] == [1, 1, Fraction(1, 3), Fraction(1, 243), Fraction(1, 3**18)]
    assert fastest_share(3) == Fraction(int((reaches(all_orders(4), 3) == 4).sum()), factorial(4))


def test_the_share_at_four_layers_is_that_of_orders_in_which_every_block_is_filled(generator):
    """Which comparisons of places decide, written out; and their share, within five standard deviations."""
    n = 50_000
    orders = random_orders(n, 13, generator)
    place = orders.argsort(1)

    def last(edge: int, *others: int) -> torch.Tensor:
        return (place[:, [edge]] > place[:, list(others)]).all(1)

    filled = last(2, 1, 3) & last(5, 4, 6) & last(8, 4, 5, 6, 7, 9, 10, 11, 12) & last(11, 10, 12)
    assert torch.equal(reaches(orders, 4) == 13, filled)
    share = float(fastest_share(4))
    assert abs(int(filled.sum()) / n - share) < 5 * (share * (1 - share) / n) ** 0.5


def test_a_distribution_that_can_be_listed_is_exact():
    """Brute force over the whole chain, though only some of the edges are listed."""
    for n_edges, n_layers, start in ((4, 3, 0), (6, 3, 1), (6, 4, 0), (6, 3, 2), (5, 5, 1), (5, 2, 5), (3, 1, 0)):
        found = reach_distribution(n_edges, n_layers, start)
        brute = [steps_on(play(printed(o, start), n_layers)[-1][-1], start) for o in permutations(range(n_edges))]
        assert found.exact and len(found.counts) == max(brute) + 1
        for steps in range(max(brute) + 2):
            share = sum(b >= steps for b in brute) / len(brute)
            assert found.at_least(steps).rate == pytest.approx(share, abs=1e-12)
            assert found.interval(steps) == (found.at_least(steps).rate,) * 2
        assert found.mean == pytest.approx(sum(brute) / len(brute))
    assert reach_distribution(1_000, 3).counts == (0, 0, 0, 16, 8), "a long chain is cut where the bound ends"
    assert reach_distribution(4, 3, start=1).counts == (0, 0, 0, 6), "the chain's end cuts the fourth step"


# Of the 13! orders of 13 edges, so many reach 7, 8, ... 13 steps in four layers: `grown(13)`, which takes a minute.
FOUR_LAYERS = (1_245_404_160, 1_747_025_280, 1_393_941_120, 1_031_631_744, 591_317_376, 192_075_520, 25_625_600)


def grown(n_edges: int) -> list[int]:
    """How many orders reach 0, 1, 2, ... steps at L=4, with no list: the sequence grows, and like states are joined.

    A state: what each edge that stands holds after layer 2, which depends on its neighbours alone; and how far a set
    goes after layer 3 that the start can hear of if it has got as far as node 3, or 4.
    """
    states = Counter({((None,) * n_edges, 0, 0): 1})
    for _ in range(n_edges):
        longer = Counter()
        for (pairs, from_3, from_4), n in states.items():
            for e in (e for e in range(n_edges) if pairs[e] is None):
                low = e - (e > 0 and pairs[e - 1] is not None)
                high = e + 1 + (e + 1 < n_edges and pairs[e + 1] is not None)
                heard = [p for p in pairs[max(0, e - 4) : e + 5] if p and p[0] <= high and p[1] >= low]
                left, right = min([low, *(p[0] for p in heard)]), max([high, *(p[1] for p in heard)])
                now = (*pairs[:e], (low, high), *pairs[e + 1 :])
                longer[now, max(from_3, right * (left <= 3)), max(from_4, right * (left <= 4))] += n
        states = longer
    found = Counter()
    for (pairs, from_3, from_4), n in states.items():
        after_3 = max(high for low, high in pairs if low <= 1)
        found[from_3 if after_3 == 3 else from_4] += n
    return [found[steps] for steps in range(max(found) + 1)]


@pytest.mark.parametrize("n_edges", [4, 7, 9])
def test_counting_without_a_list_comes_to_the_same(n_edges):
    assert grown(n_edges) == list(reach_distribution(n_edges, 4).counts)


def test_at_four_layers_the_orders_drawn_are_spread_as_all_orders_are(generator):
    """Pearson's chi-square within five standard deviations of its mean; and the exact ends."""
    n = 40_000
    found = reaches(random_orders(n, 15, generator), 4).bincount().tolist()[7:]
    expected = [n * count / factorial(13) for count in FOUR_LAYERS]
    assert sum(FOUR_LAYERS) == factorial(13) and Fraction(FOUR_LAYERS[-1], factorial(13)) == fastest_share(4)
    assert Fraction(FOUR_LAYERS[0], factorial(13)) == Fraction(reach_distribution(9, 4).counts[7], factorial(9))
    assert sum((f - e) ** 2 / e for f, e in zip(found, expected, strict=True)) < 6 + 5 * 12**0.5


def test_beyond_that_it_is_drawn_and_says_how_sure_it_is(generator):
    drawn, cut = reach_distribution(30, 4, generator=generator, n_orders=20_000), reach_distribution(9, 4)
    assert not drawn.exact and drawn.n == 20_000 and cut.exact and cut.n == factorial(9)
    for steps in (8, 9):  # up to here nine edges decide; five standard deviations, where the interval has two
        low, high = drawn.interval(steps)
        share = cut.at_least(steps).rate
        assert abs(drawn.at_least(steps).rate - share) < 5 * (high - low) / 3.92
        assert low < drawn.at_least(steps).rate < high < low + 0.02
    again = reach_distribution(30, 4, generator=torch.Generator().manual_seed(0), n_orders=20_000)
    assert again == drawn


@pytest.mark.parametrize("n_edges", [1, 3, 5])
def test_all_orders_are_listed_once(n_edges):
    assert sorted(map(tuple, all_orders(n_edges).tolist())) == sorted(permutations(range(n_edges)))


def test_random_orders_are_uniform(generator):
    drawn = [tuple(row) for row in random_orders(24_000, 4, generator).tolist()]
    counts = [drawn.count(order) for order in permutations(range(4))]
    assert sum(counts) == 24_000 and sum((c - 1_000) ** 2 / 1_000 for c in counts) < 23 + 5 * 46**0.5


@pytest.mark.parametrize("kind", ["single", "double", "ring"])
def test_a_batch_of_a_task_can_be_asked_as_it_is(kind, generator):
    """Two chains share no node, so the other one changes nothing."""
    batch = ChainTask(kind, 10, 2, 50).sample(40, "any", generator=generator)
    order = batch.edge_pos[torch.arange(len(batch)), batch.which].argsort(1)
    found = reaches(order, 3, batch.start, ring=kind == "ring")
    for i in range(len(batch)):
        held = play(batch.tokens[i].tolist(), 3)[-1][-1]
        nodes = batch.chain[i, batch.which[i]].tolist()
        begin = int(batch.start[i])
        walk = nodes[begin:] + (nodes[:begin] if kind == "ring" else [])
        assert int(found[i]) == next((k - 1 for k, node in enumerate(walk) if node not in held), len(walk) - 1)


def test_chunks_and_starts_of_their_own_change_nothing(generator):
    orders = random_orders(9_000, 6, generator)
    start = torch.randint(0, 7, (9_000,), generator=generator)
    found = reaches(orders, 3, start)
    assert found.dtype == torch.long and reaches(orders[:0], 3).tolist() == []
    for s in range(7):
        assert torch.equal(found[start == s], reaches(orders[start == s], 3, s))


def test_a_long_chain_does_not_overflow():
    for n_edges in (126, 127, 128, 200, 40_000):  # where numbers of one byte end, and of two
        order = torch.tensor([e for e in range(n_edges - 3, n_edges)] + list(range(n_edges - 3)))
        if n_edges < 1_000:
            assert reach(order, 4, n_edges - 3) == 3 and reach(order, 4) == 7
        assert reach(order, 2, n_edges - 1) == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: bounds(0), "n_layers=0 must be a whole number of at least 1"),
        (lambda: reach((0, 1), 2.0), "n_layers=2.0 must be a whole number"),
        (lambda: fastest(-1), "n_layers=-1 must be"),
        (lambda: slowest(True), "n_layers=True must be"),
        (lambda: fastest_share(0), "n_layers=0 must be"),
        (lambda: senders(({0},), 0), "layer=0 must be"),
        (lambda: reach((0, 0, 1), 3), r"\[0, 0, 1\] is no order of 3 edges: each of 0..2 must stand in it once"),
        (lambda: reach((1, 2, 3), 3), r"\[1, 2, 3\] is no order of 3 edges"),
        (lambda: sets((1, 2), 3), r"\[1, 2\] is no order of 2 edges"),
        (lambda: reach((), 3), "cannot be read: give whole numbers, one row an order of at least one edge"),
        (lambda: reach((0.0, 1.0), 3), "type torch.float32 cannot be read"),
        (lambda: reaches(torch.arange(3), 3), r"Orders of shape \(3,\)"),
        (lambda: reach((0, 1), 3, start=3), "start=3 is not a node: choose one of 0..2"),
        (lambda: reach((0, 1), 3, start=2, ring=True), "start=2 is not a node: choose one of 0..1"),
        (lambda: sets((0, 1), 3, start=-1), "start=-1 is not a node"),
        (lambda: reaches(torch.tensor([[0, 1]]), 3, torch.tensor([0, 1])), r"shape \(2,\), do not fit: give 1, each"),
        (lambda: reaches(torch.tensor([[0, 1]]), 3, torch.tensor([3])), "each one of 0..2"),
        (lambda: all_orders(10), "n_edges=10 cannot be listed: choose 1..9, or draw `random_orders`"),
        (lambda: reach_distribution(0, 3), "n_edges=0 must be"),
        (lambda: reach_distribution(5, 3, start=6), "start=6 is not a node: choose one of 0..5"),
        (lambda: reach_distribution(30, 4), r"13 edges have too many orders .* give a torch.Generator"),
        (lambda: reach_distribution(30, 4, n_orders=0), "n_orders=0 must be"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
