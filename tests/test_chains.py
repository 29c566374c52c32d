"""Which graphs are drawn: the residue rules, and uniformity, against lists of all graphs written out one by one."""

from collections import Counter
from itertools import permutations
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib.chains import class_sizes, draw_free
from matchlib.data import KINDS, SPLITS, ChainTask

ALLOWED = {"train": {0, 1, 4}, "test": {2, 3}, "any": {0, 1, 2, 3, 4}}


def printed_edges(task: ChainTask, tokens: list[int]) -> list[tuple[int, int]]:
    """The edges as a reader of the sequence sees them: two tokens each, up to the question."""
    end = len(tokens) - (2 if task.has_order else 1)
    return [(tokens[i], tokens[i + 1]) for i in range(0, end, 2)]


def edge_list(task: ChainTask, chain: tuple[int, ...]) -> list[tuple[int, int]]:
    """The edges of one chain, or of one ring, in order."""
    closing = [(chain[-1], chain[0])] if task.closed else []
    return list(zip(chain, chain[1:])) + closing


def obeys(edges: list[tuple[int, int]], split: str) -> bool:
    return all((b - a) % 5 in ALLOWED[split] for a, b in edges)


def all_graphs(task: ChainTask, split: str) -> list[tuple[int, ...]]:
    """Every (nodes of each chain, its noise node last, then each joint) that the rule allows, grown node by node."""
    length = task.chain_length + task.n_noise

    def grow(nodes: tuple[int, ...]) -> list[tuple[int, ...]]:
        if len(nodes) == task.n_nodes:
            return [nodes]
        place, found = len(nodes) % length, []
        for token in set(range(1, task.n_tokens + 1)) - set(nodes):
            edges = [(nodes[-1], token)] if 0 < place < task.chain_length else []
            if task.closed and place == length - 1:
                edges.append((token, nodes[-place]))
            if obeys(edges, split):
                found += grow((*nodes, token))
        return found

    graphs = grow(())
    for chain in range(task.n_chains * task.n_noise):
        start = chain * length
        graphs = [
            (*g, joint)
            for g in graphs
            for joint in range(1, task.n_edges)
            if obeys([(g[start + length - 1], g[start + joint])], split)
        ]
    return graphs


def drawn_graphs(task: ChainTask, split: str, n: int, seed: int) -> list[tuple[int, ...]]:
    batch = task.sample(n, split, generator=torch.Generator().manual_seed(seed))
    nodes = torch.cat([batch.chain, batch.noise], dim=2).flatten(1)
    return [tuple(row) for row in torch.cat([nodes, batch.joint.flatten(1)], dim=1).tolist()]


def assert_uniform(drawn: Counter, cases: list, weights: list[float] | None = None) -> None:
    """Pearson's chi-square within five standard deviations of its mean, and nothing that is not a case."""
    weights = weights or [1.0] * len(cases)
    n, total = sum(drawn.values()), sum(weights)
    assert set(drawn) <= set(cases)
    expected = [n * w / total for w in weights]
    assert min(expected) > 5, "the sample is too small for the bound to mean anything"
    chi = sum((drawn[c] - e) ** 2 / e for c, e in zip(cases, expected))
    df = len(cases) - 1
    assert abs(chi - df) < 5 * sqrt(2 * df) + 10, f"chi-square {chi:.0f} at {df} degrees of freedom"


@pytest.mark.parametrize(
    ("kind", "n_edges", "n_tokens", "split"),
    [
        ("single", 2, 6, "train"),
        ("single", 3, 7, "train"),
        ("single", 3, 8, "test"),
        ("single", 2, 11, "test"),
        ("single", 2, 6, "any"),
        ("ordered", 3, 7, "test"),
        ("ring", 3, 7, "train"),
        ("ring", 4, 8, "test"),
        ("ring", 3, 7, "any"),
        ("double", 1, 7, "train"),
        ("double", 2, 7, "train"),
        ("double_end", 2, 7, "test"),
        ("noised", 2, 8, "train"),
        ("noised", 2, 9, "test"),
        ("noised", 3, 10, "test"),
    ],
)
def test_every_graph_the_rule_allows_is_equally_likely(kind, n_edges, n_tokens, split):
    task = ChainTask(kind, n_edges, 1, n_tokens)
    graphs = all_graphs(task, split)
    assert_uniform(Counter(drawn_graphs(task, split, max(2_000, 30 * len(graphs)), seed=1)), graphs)


@pytest.mark.parametrize(("kind", "hops"), [("single", 1), ("ordered", (1, 2)), ("ring", 2)])
def test_every_order_of_edges_and_every_start_is_equally_likely(kind, hops):
    """The whole printed sequence against its full list, orders, starts and hops included."""
    task, cases, weights = ChainTask(kind, 3, hops, 6), [], []
    for graph in all_graphs(task, "train"):
        for order in permutations(edge_list(task, graph)):
            printed = tuple(token for edge in order for token in edge)
            for k in task.all_hops:
                starts = graph if kind == "ring" else graph[: len(graph) - k]
                for start in starts:
                    cases.append((*printed, start) + ((12 + k,) if kind == "ordered" else ()))
                    weights.append(1 / len(starts))
    if kind == "ring":  # a ring is written once for each node that it may begin at
        assert Counter(cases).most_common()[-1][1] == 3
        cases, weights = list(set(cases)), None
    batch = task.sample(20 * len(cases), "train", generator=torch.Generator().manual_seed(2))
    assert_uniform(Counter(map(tuple, batch.tokens.tolist())), cases, weights)


@pytest.mark.parametrize("n_tokens", [6, 7])
def test_ood_graphs_are_equally_likely(n_tokens):
    """Answer and predecessor are an edge of the test rule between seen tokens, all other nodes any unseen tokens."""
    task, unseen = ChainTask("single", 3, 2, n_tokens), range(n_tokens + 1, 2 * n_tokens + 1)
    seen_edges = [e for e in permutations(range(1, n_tokens + 1), 2) if obeys([e], "test")]
    cases = [(u, *e, v) for u, v in permutations(unseen, 2) for e in seen_edges]
    cases += [(u, v, *e) for u, v in permutations(unseen, 2) for e in seen_edges]
    graphs = [g[:4] for g in drawn_graphs(task, "ood", 30 * len(cases), seed=3)]
    assert_uniform(Counter(graphs), cases)


@pytest.mark.parametrize("kind", KINDS)
def test_no_edge_of_the_test_split_ever_occurs_in_training(kind):
    """For a small vocabulary every edge that each split allows is seen, and the two sets have none in common."""
    task = ChainTask(kind, 4, 2, 13)
    seen = {}
    for split in SPLITS:
        batch = task.sample(2_500, split, generator=torch.Generator().manual_seed(4))
        seen[split] = {e for row in batch.tokens.tolist() for e in printed_edges(task, row)}
    pairs = set(permutations(range(1, 14), 2))
    assert seen["train"] == {e for e in pairs if (e[1] - e[0]) % 5 in (0, 1, 4)}
    assert seen["test"] == {e for e in pairs if (e[1] - e[0]) % 5 in (2, 3)}
    assert seen["any"] == pairs
    assert not seen["train"] & (seen["test"] | seen["ood"])
    assert pairs & seen["ood"] == seen["test"]


@pytest.mark.parametrize("split", ["train", "test", "any"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_token_is_equally_frequent(kind, split):
    """With a multiple of 5 tokens the rule treats all alike: none is left out at the top or thin at the bottom."""
    task = ChainTask(kind, 4, 2, 20)
    batch = task.sample(6_000, split, generator=torch.Generator().manual_seed(5))
    for drawn, n in [(batch.chain, task.n_chains * task.chain_length), (batch.answer, 1), (batch.path[:, 0], 1)]:
        frequency = drawn.flatten().bincount(minlength=21)[1:] / (6_000 * n)
        assert (frequency - 1 / 20).abs().max() < 5 * sqrt(1 / 20 / (6_000 * n))


@pytest.mark.parametrize("n_tokens", [12, 14, 23])
def test_every_token_occurs_also_where_the_vocabulary_is_no_multiple_of_5(n_tokens):
    for kind in KINDS:
        for split in SPLITS:
            drawn = ChainTask(kind, 4, 2, n_tokens).sample(2_000, split, generator=torch.Generator().manual_seed(6))
            seen = set(range(1, n_tokens + 1))
            assert set(drawn.answer.tolist()) == seen
            nodes = set(torch.cat([drawn.chain, drawn.noise], dim=2).flatten().tolist())
            assert nodes == (seen | set(range(n_tokens + 1, 2 * n_tokens + 1)) if split == "ood" else seen)


@given(st.integers(1, 60))
def test_class_sizes_count_the_tokens(n_tokens):
    assert class_sizes(n_tokens).tolist() == [len([t for t in range(1, n_tokens + 1) if t % 5 == c]) for c in range(5)]


def test_free_draws_are_distinct_and_uniform(generator):
    drawn = [tuple(column) for column in draw_free(3, 5, 6_000, generator).T.tolist()]
    assert_uniform(Counter(drawn), list(permutations(range(5), 3)))


@pytest.mark.parametrize(
    ("kind", "n_edges", "n_tokens", "split"),
    [("ring", 5, 5, "test"), ("double", 3, 8, "train"), ("noised", 3, 10, "test")],
)
def test_a_full_vocabulary_is_still_drawn_exactly(kind, n_edges, n_tokens, split):
    """As many nodes as tokens: a sampler that draws and retries would hang here."""
    task = ChainTask(kind, n_edges, 1, n_tokens)
    batch = task.sample(500, split, generator=torch.Generator().manual_seed(7))
    nodes = torch.cat([batch.chain, batch.noise], dim=2).flatten(1).sort(dim=1).values
    assert (nodes == torch.arange(1, n_tokens + 1)).all()
    assert all(obeys(printed_edges(task, row), split) for row in batch.tokens.tolist())


def test_a_rule_that_no_chain_obeys_is_refused(generator):
    task = ChainTask("single", 2, 1, 3)
    assert all_graphs(task, "test") == []
    with pytest.raises(ValueError, match="No chain of distinct tokens obeys .* n_tokens=3: use more tokens"):
        task.sample(1, "test", generator=generator)
    with pytest.raises(ValueError, match="No edge obeys the test rule with n_tokens=2: use more tokens"):
        ChainTask("single", 1, 1, 2).sample(1, "ood", generator=generator)
    assert all_graphs(ChainTask("ring", 3, 1, 11), "test") == []
    with pytest.raises(ValueError, match="No ring of 3 edges closes .* use more or fewer"):
        ChainTask("ring", 3, 1, 11).sample(1, "test", generator=generator)


def test_a_chain_too_long_to_list_is_refused_and_any_still_works(generator):
    task = ChainTask("single", 30, 2, 100)
    with pytest.raises(ValueError, match="n_edges=30 is too long .* use fewer edges, or split='any'"):
        task.sample(1, "train", generator=generator)
    assert len(set(task.sample(1, "any", generator=generator).chain.flatten().tolist())) == 31
