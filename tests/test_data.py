"""What a batch says of its questions, against a reader who sees the printed tokens alone; and what is refused."""

from dataclasses import fields

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from matchlib.data import KINDS, SPLITS, Batch, ChainTask

RULE = {"train": {0, 1, 4}, "test": {2, 3}, "ood": {2, 3}, "any": {0, 1, 2, 3, 4}}


@st.composite
def tasks(draw) -> ChainTask:
    kind, n_edges = draw(st.sampled_from(KINDS)), draw(st.integers(2, 6))
    most = n_edges - kind.endswith("ring")
    hops = draw(st.integers(1, most) | st.lists(st.integers(1, most), min_size=1, max_size=3, unique=True).map(tuple))
    return ChainTask(kind, n_edges, hops, draw(st.integers(20, 34)))


@st.composite
def drawn(draw, splits=SPLITS) -> tuple[ChainTask, str, Batch]:
    task, split = draw(tasks()), draw(st.sampled_from(splits))
    assume(not (task.closed and task.n_edges == 3 and split == "test"))  # three steps of 2 or 3 close no ring
    return task, split, task.sample(12, split, generator=torch.Generator().manual_seed(draw(st.integers(0, 999))))


def read(task: ChainTask, row: list[int]) -> tuple[dict[int, int], int, int | None]:
    """Where each printed edge leads, the start, and the order token's number of steps where there is one."""
    question = row[-2:] if task.has_order else row[-1:]
    edges = row[: len(row) - len(question)]
    leads_to = {edges[i]: edges[i + 1] for i in range(0, len(edges), 2)}
    assert len(leads_to) == len(edges) // 2, "two printed edges begin at one token"
    return leads_to, question[0], question[1] - 2 * task.n_tokens if len(question) == 2 else None


@given(drawn())
def test_the_answer_is_found_by_walking_the_printed_edges(case):
    task, _, batch = case
    for row, answer, hops in zip(batch.tokens.tolist(), batch.answer.tolist(), batch.hops.tolist()):
        leads_to, node, ordered = read(task, row)
        assert hops in task.all_hops and ordered in (None, hops)
        for _ in range(hops):
            node = leads_to[node]
        assert node == answer
        if task.kind in ("double_end", "noised"):
            assert answer not in leads_to


@given(drawn())
def test_nodes_are_distinct_and_all_tokens_have_a_place_in_the_vocabulary(case):
    task, _, batch = case
    for i, row in enumerate(batch.tokens.tolist()):
        nodes = batch.chain[i].flatten().tolist() + batch.noise[i].flatten().tolist()
        printed = set(row[:-2] if task.has_order else row)
        assert len(nodes) == len(set(nodes)) == task.n_nodes and printed == set(nodes)
        assert all(1 <= t < task.vocab_size for t in row) and len(row) == task.n_pos
        assert max(nodes) <= 2 * task.n_tokens


@given(drawn(splits=("train", "test", "any")))
def test_every_printed_edge_obeys_the_rule_of_its_split_noise_and_closing_edges_too(case):
    task, split, batch = case
    for row in batch.tokens.tolist():
        leads_to = read(task, row)[0]
        assert all((b - a) % 5 in RULE[split] for a, b in leads_to.items())
        assert all(t <= task.n_tokens for t in leads_to)


@given(drawn(splits=("ood",)))
def test_out_of_distribution_only_the_answer_and_the_node_before_it_were_ever_seen(case):
    task, _, batch = case
    for i, row in enumerate(batch.tokens.tolist()):
        leads_to, node, _ = read(task, row)
        for _ in range(int(batch.hops[i]) - 1):
            node = leads_to[node]
        answer = leads_to[node]
        assert {t for t in {*leads_to, *leads_to.values()} if t <= task.n_tokens} == {node, answer}
        assert (answer - node) % 5 in RULE["test"]


@given(drawn())
def test_positions_and_paths_agree_with_the_tokens(case):
    task, _, batch = case
    for i, row in enumerate(batch.tokens.tolist()):
        leads_to, start, _ = read(task, row)
        chains, places = batch.chain[i].tolist(), []
        for chain, edge_pos in zip(chains, batch.edge_pos[i].tolist()):
            assert len(edge_pos) == task.n_edges and len(chain) == task.chain_length
            for step, pos in enumerate(edge_pos):
                assert row[pos : pos + 2] == [chain[step], chain[(step + 1) % len(chain)]]
            places += edge_pos
        for chain, noise, joint, pos in zip(chains, batch.noise[i], batch.joint[i], batch.noise_pos[i]):
            for n, j, p in zip(noise.tolist(), joint.tolist(), pos.tolist()):
                assert row[p : p + 2] == [n, chain[j]] and chain[j] in chain[1:-1] and n not in chain
                places.append(p)
        assert sorted(places) == list(range(0, 2 * len(leads_to), 2))
        assert chains[int(batch.which[i])][int(batch.start[i])] == start

        hops, longest = int(batch.hops[i]), max(task.all_hops)
        walk = [start]
        for _ in range(hops):
            walk.append(leads_to[walk[-1]])
        assert batch.path[i].tolist() == walk + [0] * (longest - hops)
        path_pos = batch.path_pos[i].tolist()
        assert [row[p] for p in path_pos[:hops]] == walk[:-1] and path_pos[hops:] == [-1] * (longest - hops)
        assert [row[p + 1] for p in path_pos[:hops]] == walk[1:]


@given(drawn())
def test_question_writes_what_sample_writes_for_the_same_graph(case):
    task, _, batch = case
    for i in range(3):
        row, chains = batch[i : i + 1], batch.chain[i].tolist()
        noise = [
            (int(nodes[0]), chain[joint[0]])
            for chain, nodes, joint in zip(chains, batch.noise[i], batch.joint[i])
            if task.kind == "noised"
        ]
        order = torch.cat([batch.edge_pos[i], batch.noise_pos[i]], dim=1).flatten() // 2
        own = task.question(
            chains if task.n_chains == 2 else chains[0],
            start=int(batch.path[i, 0]), hops=int(batch.hops[i]), noise=noise, order=order.tolist(),
        )  # fmt: skip
        for f in fields(Batch):
            assert torch.equal(getattr(own, f.name), getattr(row, f.name)), f.name


def test_question_as_the_lesson_prints_it():
    batch = ChainTask().question([7, 12, 30, 41, 5, 19, 22], start=12)
    assert batch.tokens.tolist() == [[7, 12, 12, 30, 30, 41, 41, 5, 5, 19, 19, 22, 12]]
    assert (batch.answer.item(), batch.path.tolist(), batch.path_pos.tolist()) == (41, [[12, 30, 41]], [[2, 4]])
    assert len(batch) == 1
    ring = ChainTask("ring", 3, 2, 10).question([4, 2, 9], start=9, order=[2, 0, 1])
    assert (ring.tokens.tolist(), ring.answer.item()) == ([[2, 9, 9, 4, 4, 2, 9]], 2)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_hops_and_both_chains_come_in_equal_parts(kind, generator):
    task = ChainTask(kind, 5, (1, 2, 4), 30)
    batch = task.sample(6_000, generator=generator)
    assert (batch.hops.bincount(minlength=5) - torch.tensor([0, 2000, 2000, 0, 2000])).abs().max() < 5 * 37
    assert (batch.which.bincount() - 6_000 / task.n_chains).abs().max() < 5 * 39
    for k in task.all_hops:
        starts = set(batch.start[batch.hops == k].tolist())
        shapes = {"ring": range(5), "ordered_ring": range(5), "double_end": [5 - k], "noised": [5 - k]}
        allowed = shapes.get(kind, range(6 - k))
        assert starts == set(allowed)


@pytest.mark.parametrize("n_edges", [1, 2, 6, 9])
def test_lengths_and_vocabulary_are_those_of_the_paper(n_edges):
    n_pos = {"single": 2, "ordered": 2, "double": 4, "double_end": 4}
    extra = {"single": 1, "ordered": 2, "double": 1, "double_end": 1}
    for kind in n_pos:
        task = ChainTask(kind, n_edges, 1, 100)
        assert task.n_pos == n_pos[kind] * n_edges + extra[kind]
        assert task.vocab_size == (202 if kind.startswith("ordered") else 201)
    if n_edges > 1:
        assert ChainTask("noised", n_edges, 1, 100).n_pos == 4 * n_edges + 5
        assert ChainTask("ring", n_edges, 1, 100).n_pos == 2 * n_edges + 1
    assert ChainTask("ordered", 6, (1, 3), 100).vocab_size == 204


@pytest.mark.parametrize("split", SPLITS)
def test_the_generator_alone_decides(split):
    task = ChainTask("noised", 4, (1, 2), 30)
    one, same, other = (task.sample(50, split, generator=torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert all(torch.equal(getattr(one, f.name), getattr(same, f.name)) for f in fields(Batch))
    assert not torch.equal(one.tokens, other.tokens)


def test_a_batch_can_be_sliced_and_moved(generator):
    batch = ChainTask().sample(6, generator=generator)
    part = batch[2:4].to("cpu")
    assert len(part) == 2 and torch.equal(part.tokens, batch.tokens[2:4]) and torch.equal(part.path, batch.path[2:4])
    assert torch.equal(batch[torch.tensor([5, 0])].answer, batch.answer[[5, 0]])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "triple"}, "kind='triple' is not a task: choose one of single, ordered, .*, ring"),
        ({"n_edges": 0}, "n_edges=0 must be a whole number of at least 1"),
        ({"n_edges": 2.0}, "n_edges=2.0 must be a whole number"),
        ({"n_tokens": "50"}, "n_tokens='50' must be a whole number"),
        ({"hops": 7}, "hops=7 does not fit: a single task of 6 edges allows 1..6"),
        ({"kind": "ring", "hops": 6}, "hops=6 does not fit: a ring task of 6 edges allows 1..5"),
        ({"hops": 0}, "hops=0 does not fit"),
        ({"hops": True}, "hops=True does not fit"),
        ({"hops": ()}, r"hops=\(\) does not fit"),
        ({"hops": (1, 9)}, r"hops=\(1, 9\) does not fit.* allows 1..6"),
        ({"n_tokens": 6}, "n_tokens=6 does not fit: this task writes 7 distinct tokens a sequence, so choose 7..16000"),
        ({"n_tokens": 16_001}, "choose 7..16000"),
        ({"kind": "noised", "n_tokens": 15}, "n_tokens=15 does not fit: this task writes 16"),
        ({"kind": "noised", "n_edges": 1, "hops": 1}, "n_edges=1 is too few for a noised task: use at least 2"),
        ({"kind": "ring", "n_edges": 1, "hops": 1}, "n_edges=1 is too few for a ring task: use at least 2"),
    ],
)
def test_a_wrong_task_is_refused_with_what_is_allowed(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        ChainTask(**wrong)


def test_an_unknown_split_is_refused(generator):
    for ask in (lambda: ChainTask().sample(1, "valid", generator=generator), lambda: ChainTask().baselines("valid")):
        with pytest.raises(ValueError, match="split='valid' is not known: choose one of train, test, ood, any"):
            ask()


CHAIN = [1, 2, 3, 4, 5, 6, 7]
SECOND = [11, 12, 13, 14, 15, 16, 17]


@pytest.mark.parametrize(
    ("task", "asked", "sentence"),
    [
        ({}, {"chain": CHAIN[:-1], "start": 1}, r"needs 1 chain\(s\) of 7 tokens .* have \[6\]"),
        ({}, {"chain": CHAIN, "start": 1, "noise": [(9, 3)]}, r"needs .* 0 noise edge\(s\)"),
        ({}, {"chain": [*CHAIN[:-1], 101], "start": 1}, "101 is not a token .* use whole numbers from 1 to 100"),
        ({}, {"chain": [0, *CHAIN[1:]], "start": 2}, "0 is not a token of this task"),
        ({}, {"chain": [1.5, *CHAIN[1:]], "start": 2}, "1.5 is not a token of this task"),
        ({}, {"chain": ["a", *CHAIN[1:]], "start": 2}, "'a' is not a token of this task"),
        ({}, {"chain": [1, 2, 3, 4, 5, 6, 2], "start": 1}, "Token 2 occurs twice: every node .* different"),
        ({}, {"chain": CHAIN, "start": 9}, r"start 9 is not a node of the chain: choose one of \[1, 2, .* 7\]"),
        ({}, {"chain": CHAIN, "start": 6}, r"From 6 only 1 step\(s\) are left and the question asks for 2"),
        ({}, {"chain": CHAIN, "start": 1, "hops": 3}, r"hops=3 is not asked in this task: choose one of \[2\]"),
        ({"hops": (1, 2)}, {"chain": CHAIN, "start": 1}, r"hops=None is not asked .* one of \[1, 2\]"),
        ({}, {"chain": CHAIN, "start": 1, "order": [0, 1, 2]}, "must hold each of 0..5 once"),
        ({}, {"chain": CHAIN, "start": 1, "order": [0, 1, 2, 3, 4, 4]}, "must hold each of 0..5 once"),
        ({"kind": "double"}, {"chain": [CHAIN], "start": 1}, r"needs 2 chain\(s\) of 7"),
        ({"kind": "double"}, {"chain": [CHAIN, CHAIN], "start": 1}, "Token 1 occurs twice"),
        ({"kind": "noised"}, {"chain": [CHAIN, SECOND], "start": 1}, r"2 noise edge\(s\)"),
        (
            {"kind": "noised"},
            {"chain": [CHAIN, SECOND], "start": 5, "noise": [(8, 12), (9, 2)]},
            "Each noise edge must point at an interior node of its own chain",
        ),
        (
            {"kind": "noised"},
            {"chain": [CHAIN, SECOND], "start": 5, "noise": [(8, 7), (9, 12)]},
            "must point at an interior node",
        ),
    ],
)
def test_a_wrong_question_is_refused_with_what_is_allowed(task, asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        ChainTask(**task).question(**asked)
