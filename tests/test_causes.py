"""The experiments of lesson 04: what they predict, on graphs; that the outcome is the model's and not the test's."""

from dataclasses import replace as with_fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib.causes import Arranged, Experiment, Setting, follow, investigate
from matchlib.completeness import complete, faithful, parts
from matchlib.construct import build, with_sink
from matchlib.data import ChainTask
from matchlib.evidence import CONTRADICTED, IN_PART, SUPPORTED, Finding
from matchlib.experiments import EXPERIMENTS
from matchlib.hooks import cache
from matchlib.model import Transformer
from matchlib.patch import candidates, circuit, cut, edges, keep_only, says, together
from matchlib.reading import exchanged, readings
from matchlib.runs import load_or_train
from matchlib.train import seeded

GOOD = ("post_g07", "post_g07_s2")  # one pairs hop 2 twice over, the other does not


def setting(model: Transformer, n: int = 300) -> Setting:
    task = load_or_train("post_g07").task
    batch, reference = (task.sample(k, "any", generator=seeded(k, "test of causes")) for k in (n, 3000))
    return Setting(model, batch, reference, seeded(9, "test of causes"))


@pytest.fixture(scope="module")
def trained() -> dict[str, Setting]:
    return {name: setting(load_or_train(name).model) for name in GOOD}


@pytest.fixture(scope="module")
def found(trained) -> dict[str, dict[str, Finding]]:
    return {
        name: {e.name: investigate(e, with_fields(s, generator=seeded(9, e.name)), name) for e in EXPERIMENTS.values()}
        for name, s in trained.items()
    }


@given(kind=st.sampled_from(["single", "ring", "double"]), steps=st.integers(0, 6), seed=st.integers(0, 999))
def test_to_follow_is_to_walk_the_chain(kind, steps, seed):
    task = ChainTask(kind=kind, n_edges=5, hops=2, n_tokens=30)
    batch = task.sample(5, "any", generator=torch.Generator().manual_seed(seed))
    got = follow(batch.tokens, batch.edge_pos.flatten(1), batch.path[:, 0], steps)
    for i in range(5):
        chain, at = batch.chain[i, batch.which[i]].tolist(), int(batch.start[i]) + steps
        at = at % len(chain) if kind == "ring" else at
        assert got[i] == (chain[at] if at < len(chain) else 0)


def test_the_other_is_off_the_path_and_goes_on_far_enough(trained):
    s = trained[GOOD[0]]
    for more in (0, 1, 2):
        where, other = s.another(more)
        assert torch.equal(s.batch.tokens[s.row, where], other)
        counts = s.after(other, more) > 0
        assert counts.float().mean() > 0.7
        assert not (other[:, None] == s.batch.path).any(dim=1)[counts].any()
        chain = s.batch.chain[:, 0]
        at = (chain == other[:, None]).float().argmax(dim=1)
        wanted = chain.gather(1, (at + more).clamp(max=6)[:, None])[:, 0]
        assert torch.equal(s.after(other, more)[counts], wanted[counts])


def test_the_runner_up_is_second_in_the_untouched_run(trained):
    s = trained[GOOD[0]]
    for layer in (1, 2):
        pattern = cache(s.model, s.batch.tokens)[1][f"blocks.{layer}.attn.pattern"][:, 0, -1]
        for i in range(20):
            order = [k for k in pattern[i].argsort(descending=True).tolist() if k != s.second[i, layer - 1]]
            assert s.runner_up(layer)[i] == s.batch.tokens[i, order[0]]


def test_only_predictions_that_can_tell_are_counted(trained):
    s = trained[GOOD[0]]
    answer = s.batch.answer
    predicted = torch.where(s.row % 3 == 0, 0, torch.where(s.row % 3 == 1, answer, s.batch.path[:, 1]))
    spoilt = cut(2, s.edge(-1, s.second[:, 1]))
    for counts_answer, n in ((False, 100), (True, 200)):
        arranged = Arranged({}, predicted, {"spoilt": spoilt}, counts_answer=counts_answer)
        got = investigate(Experiment("x", "h", "p", lambda s, a=arranged: a), s, "m")
        assert got.found.n == got.before.n == got.controls["spoilt"].n == n
        assert got.found.hits == (100 if counts_answer else 0), "the untouched model says the answer, never b"
        said = says(s.model, s.batch.tokens, spoilt)
        asked = (predicted > 0) & ((predicted != answer) | counts_answer)
        assert got.controls["spoilt"].hits == int((said == predicted)[asked].sum()) > 0


def test_the_outcome_is_never_looked_at(trained):
    """Arranging needs no run of the changed model: the prediction is there before, and the same for a deaf model."""
    s = trained[GOOD[0]]
    deaf = Transformer(s.model.cfg, generator=torch.Generator().manual_seed(0))
    for name in ("read another middle", "buffer of another sequence", "start before layer 1", "predecessors exchanged"):
        one, two = (
            EXPERIMENTS[name].arrange(with_fields(s, model=m, generator=seeded(4, name))).predicted
            for m in (s.model, deaf)
        )
        assert torch.equal(one, two), name


def test_the_wrong_questions_are_refused():
    model = load_or_train("post_g07").model
    for task in (ChainTask(hops=3), ChainTask(kind="double", n_edges=3, hops=2)):
        batch = task.sample(4, "any", generator=seeded(0, "x"))
        with pytest.raises(ValueError, match="written for one chain, two hops and three layers"):
            Setting(model, batch, batch, seeded(0, "x"))


MOVES = (
    "read another middle", "read another answer", "buffer of another sequence", "middle by the weights",
    "middle by the query", "predecessors exchanged", "predecessors by the keys", "start before layer 1",
    "middle before layer 2", "second predecessors exchanged",
)  # fmt: skip
NEIGHBOUR = "W_vo(2) in its place"  # the buffers of layers 1 and 2 overlap: this control steers in part


@pytest.mark.parametrize("model", GOOD)
def test_the_answer_goes_where_the_mechanism_says(found, model):
    for name in MOVES:
        got = found[model][name]
        assert got.before.rate > 0.97 and got.found.rate > 0.95 and got.verdict == SUPPORTED, got
        assert got.controls and all(c.rate < 0.25 for n, c in got.controls.items() if n != NEIGHBOUR), got


@pytest.mark.parametrize("model", GOOD)
def test_a_direction_of_another_layer_steers_less(found, model):
    got = found[model]["middle by the weights"]
    assert got.controls[NEIGHBOUR].rate < 0.8 and got.controls["W_vo(0) in its place"].rate < 0.25


@pytest.mark.parametrize("model", GOOD)
def test_what_the_third_node_gets_the_other_does_not(found, model):
    """A control as large as the experiment: the same attention, handed to another node than the predicted one."""
    for name in ("read another middle", "read another answer"):
        assert found[model][name].controls["a third node in its place"].rate < 0.1


def test_the_second_predecessor_counts_in_layer_0_alone_where_layer_1_does_not_pair_again(found):
    name = "second predecessors, layer 0 alone"
    assert found["post_g07"][name].found.rate < 0.9 < 0.98 < found["post_g07_s2"][name].found.rate


@pytest.mark.parametrize("model", GOOD)
def test_the_circuit_answers_as_told_and_as_amended(found, model):
    assert found[model]["the circuit as told"].found.rate > 0.9
    assert found[model]["rival: the first start read"].found.rate < 0.1


@pytest.mark.parametrize("model", GOOD)
def test_cuts_end_where_the_mechanism_says(found, model):
    got = found[model]
    assert got["only the circuit"].found.rate > 0.97
    assert max(c.rate for c in got["only the circuit"].controls.values()) < 0.3
    for name in ("no middle read", "no first pair"):
        assert abs(got[name].found.rate - 0.2) < 0.1 and got[name].expected == pytest.approx(1 / 5), got[name]
    for name in ("no answer read", "answer from the runner-up", "middle from the runner-up"):
        assert got[name].found.rate > 0.4 and max(c.rate for c in got[name].controls.values()) < 0.1, got[name]
        assert got[name].verdict in (SUPPORTED, IN_PART)


def test_one_run_pairs_twice_and_the_other_does_not(found):
    once, twice = found["post_g07_s2"], found["post_g07"]
    assert once["no second pair"].found.rate < 0.2 and twice["no second pair"].found.rate > 0.7
    assert twice["no second pair"].verdict == CONTRADICTED
    assert max(f["no second pair, twice"].found.rate for f in (once, twice)) < 0.2


@pytest.mark.parametrize("model", GOOD)
def test_buffers_stand_side_by_side_and_the_rival_is_contradicted(found, model):
    got = found[model]
    for name in ("stale start swapped", "stale start removed"):
        assert got[name].found.rate > 0.97 and got[name].controls["the middle instead"].rate < 0.3, got[name]
    for name in ("rival: stale start read", "rival: middle in the start's place"):
        assert got[name].found.rate < 0.15 and got[name].verdict == CONTRADICTED, got[name]


def test_to_keep_the_edge_to_the_answer_gives_it_away(found):
    """The trap that makes a faithful circuit cheap: far above chance with nothing left to reason with."""
    assert all(found[model]["trap: the answer given away"].found.rate > 0.5 for model in GOOD)


def test_a_model_that_never_trained_and_one_that_does_not_match_obey_no_prediction():
    untrained = Transformer(load_or_train("post_g07").model_config, generator=torch.Generator().manual_seed(1))
    for model in (untrained, load_or_train("post_g07_s4").model):
        s = setting(model)
        for name in MOVES:
            assert investigate(EXPERIMENTS[name], s).found.rate < 0.5, name
    s = setting(untrained)
    assert all(investigate(EXPERIMENTS[name], s).found.rate < 0.1 for name in MOVES)


def test_the_network_built_by_hand_obeys_every_prediction():
    """Here the mechanism is known to be all there is, so a prediction that fails would be a wrong prediction."""
    task = load_or_train("post_g07").task
    model = build(task, 192, generator=seeded(0, "by hand"))
    batch, reference = (with_sink(task.sample(n, "any", generator=seeded(n, "by hand"))) for n in (200, 1000))
    s = Setting(model, batch, reference, seeded(1, "by hand"))
    for name in (*MOVES, "only the circuit", "stale start swapped"):
        got = investigate(EXPERIMENTS[name], s)
        assert got.before.rate > 0.95 and got.found.rate > 0.9 and got.verdict == SUPPORTED, got
    for name in ("no first pair", "no second pair", "no second pair, twice"):
        got = investigate(EXPERIMENTS[name], s)
        assert abs(got.found.rate - got.expected) < 0.1, got
    assert investigate(EXPERIMENTS["rival: stale start read"], s).found.rate < 0.1


def test_the_reading_table_is_a_diagonal(trained):
    for s in trained.values():
        table = {(r.layer, r.step): r for r in readings(s.model, s.batch, s.reference, seeded(3, "reading"))}
        assert sorted(table) == [(layer, step) for layer in range(3) for step in range(2)]
        for where, r in table.items():
            reads = where in ((0, 0), (1, 0), (2, 1))  # the start enters at layer 0 and waits for layer 1
            assert (r.moved.rate > 0.95 and r.stayed.rate < 0.05) if reads else r.stayed.rate > 0.95, (where, r)
        assert table[2, 0].told.rate > 0.95, "the stale start is still there"
        assert table[1, 1].told.rate < 0.35, "the middle is not there before layer 1 writes it"


@pytest.mark.parametrize("name", ["post_g07", "hops3_L4_s0"])
def test_the_first_hop_is_chosen_by_attention_to_its_place_or_by_attention_to_all_others(name):
    run = load_or_train(name)
    batch = run.task.sample(300, "any", generator=seeded(6, "exchanged"))
    got = exchanged(run.model, batch, 1, 1, seeded(7, "exchanged"))
    assert got.moved.rate > 0.8 and got.stayed.rate < 0.1
    assert got.attention > 0.8 if name == "post_g07" else got.attention < 0.05
    control = exchanged(run.model, batch, 0, 1, seeded(7, "exchanged"))
    assert control.moved.rate < 0.1 and control.stayed.rate > 0.9, "layer 0 chooses nothing at the last position"


def test_readings_need_one_open_chain():
    model = load_or_train("post_g07").model
    for task in (ChainTask(hops=(1, 2)), ChainTask(kind="ring", n_edges=6), ChainTask(kind="double", n_edges=3)):
        batch = task.sample(40, "any", generator=seeded(0, "x"))
        with pytest.raises(ValueError, match="one open chain and one number of hops"):
            readings(model, batch, batch, seeded(0, "x"))
        with pytest.raises(ValueError, match="one open chain and one number of hops"):
            exchanged(model, batch, 1, 1, seeded(0, "x"))


def test_parts_are_the_edges_of_the_circuit(trained):
    batch = trained[GOOD[0]].batch
    path = parts(batch, 3)
    assert [(p.name, p.layer) for p in path] == [("pair 1", 0), ("read 1", 1), ("pair 2", 0), ("read 2", 2)]
    joined = torch.zeros_like(circuit(batch, 3))
    for part in path:
        assert (part.edges.flatten(1).sum(1) == 1).all()
        joined[:, part.layer] |= part.edges
    assert torch.equal(joined, circuit(batch, 3))
    *same, extra = parts(batch, 3, pair_again=True)
    assert [p.name for p in same] == [p.name for p in path]
    assert (extra.name, extra.layer) == ("pair 2 again", 1) and torch.equal(extra.edges, path[2].edges)
    with pytest.raises(ValueError, match="ask for one number of hops, below the number of layers"):
        parts(batch, 2)


def test_the_circuit_is_complete_only_with_the_second_pairing(trained):
    s = trained["post_g07"]
    gaps = {}
    for again in (False, True):
        path, kept = parts(s.batch, 3, again), candidates(s.batch, 3, again)
        found = complete(s.model, s.batch, kept, path)
        assert len(found) == len({m.parts for m in found}) == 2 ** len(path)
        gaps[again] = max(abs(m.gap) for m in found)
        whole = next(m for m in found if m.parts == ())
        assert whole.model.rate > 0.97 and whole.circuit == faithful(s.model, s.batch, kept)
    assert gaps[False] > 0.5 and gaps[True] < 0.15
    part = next(m for m in found if m.parts == ("pair 2", "pair 2 again"))
    pair = edges(s.second[:, 1], s.second[:, 1] - 1, *s.batch.tokens.shape)
    without = together(cut(0, pair), cut(1, pair))
    assert part.model.hits == int((says(s.model, s.batch.tokens, without) == s.batch.answer).sum())
    alone = together(*(keep_only(layer, kept[:, layer]) for layer in range(3)), without)
    assert part.circuit.hits == int((says(s.model, s.batch.tokens, alone) == s.batch.answer).sum())


@pytest.mark.parametrize("fill", ["zero", "mean", "resample"])
def test_the_circuit_alone_is_faithful_and_nothing_is_not(trained, fill):
    for s in trained.values():
        kept = candidates(s.batch, 3, pair_again=True)
        assert faithful(s.model, s.batch, kept, fill, seeded(5, "fill")).rate > 0.97
        assert faithful(s.model, s.batch, kept & ~circuit(s.batch, 3), fill, seeded(5, "fill")).rate < 0.3
        assert faithful(s.model, s.batch, torch.ones_like(kept), fill, seeded(5, "fill")).rate > 0.97


def test_faithful_refuses_what_it_cannot_do(trained):
    s = trained[GOOD[0]]
    with pytest.raises(ValueError, match="'noise' is not known: choose one of zero, mean, resample"):
        faithful(s.model, s.batch, candidates(s.batch, 3), "noise")
    with pytest.raises(ValueError, match="draws at random: give it a generator"):
        faithful(s.model, s.batch, candidates(s.batch, 3), "resample")
