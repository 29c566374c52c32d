"""What is asked of deeper models, against slow references and on a network by hand, where the mechanism is known."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib import beyond
from matchlib.beyond import HOPS, N_LAYERS, STEPS, TASKS, N
from matchlib.construct import build, with_sink
from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.presets import PRESETS
from matchlib.probe import argmax_score, token_vectors
from matchlib.train import TrainState

MIXED = {kind: ChainTask(kind, 5 if kind == "ordered" else 4, HOPS, 20) for kind in TASKS}


def drawn(kind: str, n: int = 200, seed: int = 0):
    return MIXED[kind].sample(n, "any", generator=torch.Generator().manual_seed(seed))


def links(tokens: list[int], batch) -> dict[int, int]:
    """Where each edge of a sequence leads."""
    first = sorted(torch.cat([batch.edge_pos[0].flatten(), batch.noise_pos[0].flatten()]).tolist())
    return {tokens[p]: tokens[p + 1] for p in first}


def follow(after: dict[int, int], token: int, steps: int) -> int:
    for _ in range(steps):
        token = after.get(token, 0)
    return token


@given(st.sampled_from(TASKS), st.sampled_from(STEPS), st.integers(0, 99))
def test_the_node_that_is_predicted_is_where_exchanged_links_lead(kind, of_step, seed):
    hops, step = of_step
    batch = drawn(kind, 60, seed)
    batch = batch[batch.hops == hops]
    other, predicted = beyond.another(batch, step, torch.Generator().manual_seed(seed))
    for i, tokens in enumerate(batch.tokens.tolist()):
        if not predicted[i]:
            continue
        after, own = links(tokens, batch), int(batch.path[i, step])
        found = tokens[int(other[i])]
        before = {node: token for token, node in after.items() if token not in batch.noise[i].flatten().tolist()}
        after[before[own]], after[before[found]] = found, own
        assert follow(after, int(batch.path[i, 0]), hops) == predicted[i] != batch.answer[i]
        assert tokens[int(other[i]) - 1] == before[found], "where it is a second token"


def test_most_questions_have_another_node_and_each_such_node_is_drawn():
    batch = drawn("ordered", 3000)
    for hops, step in STEPS:
        asked = batch[batch.hops == hops]
        other, predicted = beyond.another(asked, step, torch.Generator().manual_seed(0))
        assert (predicted > 0).float().mean() > (0.5 if hops == 3 else 0.8)
        node = asked.tokens[torch.arange(len(asked)), other]
        index = (asked.chain[:, 0] == node[:, None]).float().argmax(dim=1)[predicted > 0]
        start = asked.start[predicted > 0]
        far = index - start > step
        assert far.any() and (index[~far] < start[~far]).all(), "beyond the own node, or before the start"
        if hops == 1:
            assert set(index[start == 2].tolist()) == {1, 4, 5}


def test_questions_of_several_lengths_are_refused():
    with pytest.raises(ValueError, match=r"Questions of \[1, 2, 3\] hops do not fit"):
        beyond.another(drawn("double_end"), 1, torch.Generator())


@pytest.fixture(scope="module")
def by_hand():
    """Three hops in four layers, one a layer, by the question alone; two chains and their ends."""
    task = ChainTask("double_end", 4, 3, 20)
    model = build(task, 512, generator=torch.Generator().manual_seed(0))
    return model, with_sink(task.sample(80, "any", generator=torch.Generator().manual_seed(1)))


def test_a_network_that_matches_does_all_that_matching_predicts(by_hand):
    model, batch = by_hand
    found = beyond.by_step(model, [batch], torch.Generator().manual_seed(2))
    for name in ("walked", "stored"):
        assert all(hits >= 0.9 * n == 72 for hits, n in found[name]), name
    for layer, of_layer in enumerate(found["walked_at"], start=1):
        for step, (hits, n) in enumerate(of_layer, start=1):
            assert hits >= 0.9 * n if step == layer else hits <= 0.05 * n, (layer, step)
    for layer, of_layer in enumerate(found["stored_at"]):
        assert all(hits >= 0.9 * n if layer == 0 else hits <= 0.05 * n for hits, n in of_layer), layer
    assert [max(instead) <= 8 for instead in found["instead"]] == [True, True, False], "the other of the last is said"
    assert all(right >= 72 and stays <= 8 for right, stays in found["beside"]), "it reads its buffers apart"
    assert all(right <= 0.2 * n for right, n in found["cut"])
    heard = beyond.says(model, batch.tokens, beyond.alone(model, batch))
    assert beyond.count(heard == batch.answer)[0] >= 72
    aside = beyond.off_path(model, batch, torch.Generator().manual_seed(3))
    assert (beyond.says(model, batch.tokens, aside) == batch.answer).sum() >= 72
    most, least = beyond.kernel_scores(model, torch.arange(1, 21))
    for layer, of_layer in enumerate(most, start=1):
        for asks_with, row in enumerate(of_layer):
            for store, found_score in enumerate(row):
                asked = asks_with == (0 if layer == 1 else layer)
                assert found_score == 1 if asked and store == 0 else found_score < 0.4, (layer, asks_with, store)
    assert max(max(row) for of_layer in least for row in of_layer) < 0.4


def test_an_untrained_model_is_asked_everything_and_nothing_comes_true():
    tiny = PRESETS["tiny"]
    wanted = {"right", "aside", "alone", "walked", "stored", "cut", "instead", "beside"}
    more = {"ordered": {"by_start", "by_order"}, "double_end": {"further"}}
    more["noised"] = more["double_end"] | {"unnoised", "from_noise"}
    wanted |= {"most", "least", "unsaid", "walked_at", "stored_at"}
    for kind, task in MIXED.items():
        cfg = replace(tiny.model, n_layers=N_LAYERS)
        found = beyond.examine(TrainState.new(task, cfg, replace(tiny.train, split="any"), 0, "cpu"))
        assert set(found) == wanted | more[kind]
        assert sum(n for _, n in found["right"]) == N and all(right < 0.3 * n for right, n in found["right"])
        assert len(found["walked"]) == len(STEPS) and all(hits < 0.3 * n for hits, n in found["walked"])
        assert [len(row) for row in found["most"]] == [2, 3, 4, 5], "layer l asks with a token or what l layers wrote"
        assert all(len(row) == layer for layer, of in enumerate(found["most"], start=1) for row in of)
        assert [len(found[name]) for name in ("walked_at", "stored_at", "alone")] == [4, 4, 4]


def test_only_what_the_questions_fit_is_asked():
    ordered = MIXED["ordered"]
    assert beyond.asks(ordered, 5)
    for task in (replace(ordered, hops=3), replace(ordered, n_edges=3), ChainTask("double", 4, HOPS, 20)):
        assert not beyond.asks(task, 5)
    assert not beyond.asks(ordered, 4)
    assert beyond.examine(TrainState.new(*PRESETS["tiny"].__dict__.values(), 0, "cpu")) == {}


@pytest.mark.parametrize("kind", TASKS)
def test_the_question_is_the_start_and_the_order_token(kind):
    batch = drawn(kind, 5)
    places = beyond.question(batch)
    assert (batch.tokens[:, places[0]] == batch.path[:, 0]).all() and places[0] == MIXED[kind].start_pos
    assert len(places) == 1 + (kind == "ordered") and places[-1] == batch.tokens.shape[1] - 1
    moved = with_sink(batch)
    assert beyond.question(moved) == [at + 1 for at in places]


def cut_edges(changes: dict, batch) -> dict[int, set[tuple[int, int, int]]]:
    """(question, query, key) whose attention becomes 0, by layer."""
    n, n_pos = batch.tokens.shape
    found = {}
    for name, change in changes.items():
        gone = change(torch.ones(n, 1, n_pos, n_pos))[:, 0] == 0
        found[int(name.split(".")[1])] = set(map(tuple, gone.nonzero().tolist()))
    return found


@pytest.mark.parametrize("kind", TASKS)
def test_each_cut_takes_the_attention_that_its_name_says(kind):
    batch, model = drawn(kind, 4), Transformer(ModelConfig(n_layers=3), generator=torch.Generator())
    n_pos, start = batch.tokens.shape[1], MIXED[kind].start_pos
    inner = {(i, q, k) for i in range(4) for q in range(start) for k in range(n_pos) if q != k}
    assert cut_edges(beyond.alone(model, batch), batch) == {1: inner, 2: inner}
    assert cut_edges(beyond.alone(model, batch, 2), batch) == {2: inner}
    own = batch.path_pos[:, 0] + 1
    edge = {(i, q, int(own[i]) - side) for i in range(4) for q in range(start, n_pos) for side in (0, 1)}
    assert cut_edges(beyond.cut_edge(model, batch, own), batch) == {1: edge, 2: edge}


def test_the_exchange_is_the_questions_alone_and_leaves_the_start_in_peace_where_nobody_reads_it():
    batch, model = drawn("ordered", 3), Transformer(ModelConfig(n_layers=3), generator=torch.Generator())
    own, other = torch.tensor([1, 3, 5]), torch.tensor([7, 9, 1])
    changes, n_pos = beyond.walk(model, batch, own, other), batch.tokens.shape[1]
    pattern = torch.arange(n_pos).expand(3, 1, n_pos, n_pos)
    for name, rows, moved in (("blocks.1.attn.pattern", n_pos, (10, 11)), ("blocks.2.attn.pattern", 1, (0,))):
        changed = changes[name](pattern[:, :, :rows])[:, 0]
        for i in range(3):
            for query in range(rows):
                expected = list(range(n_pos))
                if query in moved:
                    expected[own[i]], expected[other[i]] = int(other[i]), int(own[i])
                assert changed[i, query].tolist() == expected
    one = beyond.walk(model, batch, own, other, places=[10], layers=[1, 2])
    assert list(one) == ["blocks.1.attn.pattern"], "the last layer computes no row of the start's"


@pytest.mark.parametrize("kind", TASKS)
def test_the_control_exchanges_two_nodes_off_the_path(kind, generator):
    batch, model = drawn(kind, 100), Transformer(ModelConfig(n_layers=2), generator=torch.Generator())
    batch = batch[batch.hops == 3]
    n_pos = batch.tokens.shape[1]
    pattern = torch.arange(n_pos).expand(len(batch), 1, 1, n_pos)
    changed = beyond.off_path(model, batch, generator)["blocks.1.attn.pattern"](pattern)[:, 0, 0]
    for i, row in enumerate(changed.tolist()):
        moved = [at for at in range(n_pos) if row[at] != at]
        assert len(moved) == 2 and all(at in (batch.edge_pos[i].flatten() + 1) for at in moved)
        assert not {int(batch.tokens[i, at]) for at in moved} & set(batch.path[i, 1:].tolist())


def test_who_follows_links_is_right_from_every_start(monkeypatch):
    """One who goes to the end of the chain, wherever asked; and who looks at what is cut."""
    batch = drawn("noised", 300)

    def to_the_end(model, tokens, changes=None):
        said = []
        for row in tokens.tolist():
            after, token = links(row, batch), row[-1]
            while token in after:
                token = after[token]
            said.append(token)
        return torch.tensor(said)

    monkeypatch.setattr(beyond, "says", to_the_end)
    model = Transformer(ModelConfig(n_layers=2), generator=torch.Generator())
    asked = [batch[batch.hops == hops] for hops in HOPS]
    found = beyond.of_noise(model, batch, asked)
    assert [hits for hits, _ in found["from_noise"]] == [n for _, n in found["from_noise"]]
    steps = 5 - batch.joint[torch.arange(300), batch.which, 0]
    assert [n for _, n in found["from_noise"]] == [int((steps == k).sum()) for k in (2, 3, 4)]
    tokens = beyond.asked_at(batch, batch.chain[torch.arange(300), batch.which, 0])
    assert (to_the_end(None, tokens) == batch.answer).all() and (tokens[:, :-1] == batch.tokens[:, :-1]).all()


def test_noise_edges_are_out_of_sight_for_all_in_every_layer(monkeypatch):
    batch, model = drawn("noised", 6), Transformer(ModelConfig(n_layers=2), generator=torch.Generator())
    heard = []
    monkeypatch.setattr(beyond, "says", lambda model, tokens, changes=None: heard.append(changes) or tokens[:, 0])
    beyond.of_noise(model, batch, [batch])
    n_pos = batch.tokens.shape[1]
    first = [batch.noise_pos[i].flatten().tolist() for i in range(6)]
    keys = [{p + side for p in of for side in (0, 1)} for of in first]
    unseen = {(i, q, k) for i in range(6) for k in keys[i] for q in range(n_pos) if q != k}
    assert cut_edges(heard[0], batch) == {0: unseen, 1: unseen}


def test_the_kernels_of_lesson_03_are_among_those_that_are_scored(generator):
    model = Transformer(ModelConfig(n_layers=4, d_model=16, d_head=16, d_mlp=16), generator=generator)
    with torch.no_grad():  # weights that match in one place, so that not every score is near 0
        model.blocks[2].w_q.copy_(model.w_vo(1).inverse())
        model.blocks[2].w_k.copy_(model.w_vo(0).inverse())
    ids = torch.arange(1, 21)
    most, least = beyond.kernel_scores(model, ids)
    of_lesson = [argmax_score(model, layer, ids) for layer in (1, 2, 3)]
    assert [most[0][0][0], most[1][-1][0], most[2][-1][0]] == pytest.approx(of_lesson, abs=1e-3)
    assert of_lesson[1] > 0.6 > max(of_lesson[0], of_lesson[2]) and most != least
    x = model.embed_tokens(ids)
    by_hand = (x @ model.w_vo(1)) @ model.w_qk(3) @ (x @ model.w_vo(2)).T
    assert most[2][2][2] == pytest.approx((by_hand.argmax(dim=1) == torch.arange(20)).float().mean().item(), abs=1e-3)
    assert least[2][2][2] == pytest.approx((by_hand.argmin(dim=1) == torch.arange(20)).float().mean().item(), abs=1e-3)


def test_a_layer_that_lowers_what_was_stored_is_found_with_its_store(generator):
    model = Transformer(ModelConfig(n_layers=N_LAYERS, d_model=16, d_head=16, d_mlp=16), generator=generator)
    tokens = torch.arange(1, 13)
    path = token_vectors(model, tokens) @ model.w_vo(0) @ model.w_vo(2)
    for sign, score in ((-1, 1.0), (1, 0.0)):
        model.w_u.data[:, tokens] = sign * torch.linalg.pinv(path)
        scores = beyond.unsaid(model, tokens)
        assert scores[1][0] == score and [len(row) for row in scores] == [1, 2, 3, 4]
        assert all(
            x < 0.6 for layer, row in enumerate(scores) for store, x in enumerate(row) if (layer, store) != (1, 0)
        )
