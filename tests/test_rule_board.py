"""The rule board, driven through its own controls: orders, layers, mistakes, and what a model answers beside them."""

from itertools import product

import ipywidgets as widgets
import pytest
import torch

from matchlib import board_plot, rule_board
from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.namings import ask_order, said_table
from matchlib.record import Run, TrainConfig
from matchlib.rule_board import DRAWN, RULES_ALONE, RuleBoard
from matchlib.rules import bounds, reach
from matchlib.style import Picture

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """The board's title alone; the board itself, which takes most of the time, only for tests that look at it."""

    def titled(order, n_layers, layer, start, answers, *, ring, receiver):
        picture = Picture()
        picture.suptitle(board_plot._board_title(order, n_layers, layer, start, ring))
        return picture

    if "real_pictures" not in request.fixturenames:
        monkeypatch.setattr(rule_board, "board", titled)
        monkeypatch.setattr(Picture, "_repr_png_", lambda figure: b"\x89PNG" + figure.get_suptitle().encode())


@pytest.fixture
def real_pictures():
    """For tests that look at pixels."""


class Oracle(torch.nn.Module):
    """Follows the printed edges for `steps`, whatever the positions and tokens; it stays where no edge leads on."""

    def __init__(self, task: ChainTask, steps: int):
        super().__init__()
        self.task, self.steps, self.w_e, self.seen = task, steps, torch.zeros(1), []

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.seen.append(tokens)
        logits = torch.zeros(len(tokens), self.task.vocab_size)
        for i, row in enumerate(tokens.tolist()):
            leads = dict(zip(row[0 : self.task.start_pos : 2], row[1 : self.task.start_pos : 2]))
            at = row[self.task.start_pos]
            for _ in range(self.steps):
                at = leads.get(at, at)
            logits[i, at] = 20.0
        return logits


def trained(task: ChainTask, steps: int, n_layers: int = 3) -> Run:
    """A run whose model is an oracle."""
    cfg = ModelConfig(n_layers=n_layers, d_model=8, d_head=8, d_mlp=8, vocab_size=task.vocab_size, n_pos=task.n_pos)
    return Run(task, cfg, TrainConfig(), 0, Oracle(task, steps), [])


@pytest.fixture
def board() -> RuleBoard:
    return RuleBoard()


def shown(panel: RuleBoard) -> str:
    return " ".join(panel._board.png[4:].decode().split())


def test_it_opens_on_the_rules_alone_and_every_control_has_a_label_and_a_tooltip(real_pictures):
    board = RuleBoard()
    assert board.order == list(range(6)) and board.reach == 3 and board.limits == (3, 4)
    words = " ".join(board.figure.get_suptitle().split())
    assert board._board.png.startswith(b"\x89PNG\r\n") and board._board.words == words
    assert board.model.layout.display == "none" and board.answers.value == "" and board.said == ()
    assert board.message.value == "In this order 3 layers reach 3 steps from node 0, the fewest of any order (3 to 4)."
    boxes = [child for box in board.view.children if isinstance(box, widgets.Box) for child in box.children]
    assert len(boxes) == 15 and all(box.description and box.tooltip for box in boxes)


def test_the_same_order_comes_by_typing_dragging_and_pressing(board):
    board.typed.value = "0, 1 -> 3 2 4 5"
    assert board.order == [0, 1, 3, 2, 4, 5] == list(board.tags.value) and board.reach == 4
    assert "the most of any order (3 to 4); 8 of 24 orders get as far (33.3 %)" in board.message.value
    board.tags.value = [0, 1, 2, 3, 4, 5]
    assert board.order == [0, 1, 2, 3, 4, 5] and board.typed.value == "0 1 2 3 4 5" and board.reach == 3
    board.edge.value = 3
    board.left_button.click()
    assert board.order == [0, 1, 3, 2, 4, 5] and list(board.tags.value) == board.order and board.edge.value == 3
    board.right_button.click()
    board.right_button.click()
    assert board.order == [0, 1, 2, 4, 3, 5]
    assert shown(board) == "3 layers reach 3 steps from node 0, the fewest of any order (3 to 4)"


def test_an_edge_at_an_end_stays_there(board):
    board.move(0, -1)
    board.move(5, 4)
    assert board.order == [0, 1, 2, 3, 4, 5]
    board.move(5, -9)
    assert board.order == [5, 0, 1, 2, 3, 4]


def test_reverse_and_shuffle(board):
    board.reverse()
    assert board.order == [5, 4, 3, 2, 1, 0] and board.reach == 3
    board.shuffle()
    assert sorted(board.order) == list(range(6)) != board.order and board.order != [5, 4, 3, 2, 1, 0]
    again = RuleBoard()
    again.shuffle()
    assert again.order == board.order, "the same first shuffle for every learner"


@pytest.mark.parametrize(("n_edges", "n_layers"), list(product((3, 7, 13), (2, 3, 4, 6))))
def test_slowest_and_fastest_attain_both_ends_from_every_start(board, n_edges, n_layers):
    for start in {0, n_edges // 2, n_edges - 1}:
        board.choose(n_edges=n_edges, n_layers=n_layers, start=start)
        low, high = (min(bound, n_edges - start) for bound in bounds(n_layers))
        board.fastest()
        assert board.reach == high == board.limits[1]
        board.slowest()
        assert board.reach == low == board.limits[0]


@pytest.mark.parametrize(
    "text", ["2 0 1", "0 1 2 3 4 4", "0 1 2 3 4 6", "0 1 x 3 4 5", "", "1.0 0 2 3 4 5", "9" * 5000]
)
def test_a_bad_order_is_one_sentence_and_what_was_shown_stays(board, text):
    board.fastest()
    before, order = shown(board), board.order
    board.typed.value = text or " "
    given = text or " " if len(text) <= 40 else text[:40] + "…"
    assert board.message.value == f"'{given}' is no order of 6 edges: write each of 0..5 once."
    assert shown(board) == before and board.order == order == list(board.tags.value)
    board.reorder(order[::-1])
    assert board.typed.value == " ".join(map(str, order[::-1])), "the next order takes its place"


@pytest.mark.parametrize("tags", [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6], [], [0, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, -1]])
def test_a_tag_that_was_deleted_or_added_is_put_back(board, tags):
    board.tags.value = tags
    assert board.message.value.startswith("Each edge stands in the order once, so this was put back")
    assert list(board.tags.value) == board.order == [0, 1, 2, 3, 4, 5]


def test_the_layers_are_stepped_through_and_the_slider_stays_at_its_end(board):
    board.choose(n_edges=7, n_layers=4)
    assert board.layer.value == board.layer.max == 4
    board.choose(layer=2)
    assert shown(board) == "After 2 of 4 layers: 1 step; after all: 7, as in every order"
    board.choose(layer=0)
    assert shown(board).startswith("After 0 of 4 layers: 0 steps")
    board.choose(layer=3)
    board.choose(n_layers=2)
    assert board.layer.value == board.layer.max == 2


def test_the_receiver_stays_with_the_start_until_another_is_chosen(board):
    assert board.receiver.value == 12
    board.choose(n_edges=8)
    assert board.receiver.value == board.receiver.max == 16
    board.choose(receiver=5)
    board.choose(n_edges=9)
    assert board.receiver.value == 5


def test_more_edges_stand_behind_and_fewer_keep_their_order(board):
    board.reorder([5, 0, 4, 1, 3, 2])
    board.choose(n_edges=8)
    assert board.order == [5, 0, 4, 1, 3, 2, 6, 7] and list(board.start.options) == list(range(8))
    board.choose(start=6)
    board.choose(n_edges=4)
    assert board.order == [0, 1, 3, 2] and board.start.value == 0 and board.receiver.max == 8


def test_the_share_of_orders_is_exact_or_drawn_and_is_said(board):
    board.choose(n_edges=13, n_layers=4)
    board.fastest()
    share = board.spread.at_least(13)
    assert not board.spread.exact and board.spread.n == DRAWN and abs(share.rate - 1 / 243) < 0.003
    assert f"; {share.hits} of 20,000 orders drawn get as far ({100 * share.rate:.3g} %)" in board.message.value
    board.choose(start=5)
    assert board.spread.exact and board.message.value.endswith("; the chain ends after 8 steps.")


def test_a_choice_is_drawn_once(board, monkeypatch):
    drawn = []
    monkeypatch.setattr(rule_board, "board", lambda *a, **k: drawn.append(a) or Picture())
    for order in ([1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [1, 0, 2, 3, 4, 5]):
        board.reorder(order)
    assert len(drawn) == 1, "the first order was drawn when the panel was made"
    board.choose(layer=1)
    assert len(drawn) == 2


def test_what_a_callback_raises_is_raised_and_said(board, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("no ink")

    monkeypatch.setattr(rule_board, "board", broken)
    with pytest.raises(RuntimeError, match="no ink"):
        board.reverse()
    with pytest.raises(RuntimeError, match="no ink"):
        board.layer.value = 1
    assert "RuntimeError: no ink" in board.message.value


CHAIN, RING = ChainTask("single", 6, 2, 30), ChainTask("ordered_ring", 9, (1, 2, 3, 4), 30)


@pytest.fixture
def asked() -> RuleBoard:
    models = {"two steps": trained(CHAIN, 2), "three steps on a ring": trained(RING, 3), "deep": trained(CHAIN, 2, 4)}
    return RuleBoard(models)


def test_a_model_brings_its_edges_and_layers_and_its_answers(asked):
    assert asked.model.value == RULES_ALONE and asked.model.layout.display is None
    asked.choose(n_layers=5, n_edges=13)
    asked.choose(model="two steps")
    assert (asked.n_edges.value, asked.n_layers.value) == (6, 3) and asked.n_edges.disabled and asked.n_layers.disabled
    (said,) = asked.said
    assert (said.hops, said.asked, said.named) == (2, 2, 2) and said.right.hits == said.right.n == 64
    assert said.probability > 0.99 and "allow it" in asked.answers.value and "64 of 64" in asked.answers.value
    with pytest.raises(ValueError, match="n_edges=7 is not offered here: it offers 6, which the model fixes"):
        asked.choose(n_edges=7)
    asked.choose(start=5)
    assert asked.said == () and "none: the chain ends before" in asked.answers.value
    asked.choose(model="deep")
    assert asked.n_layers.value == 4
    asked.choose(model=RULES_ALONE, n_edges=7)
    assert asked.said == () and asked.answers.value == "" and not asked.n_layers.disabled


def test_a_ring_closes_and_hops_are_told_apart(asked):
    asked.choose(model="three steps on a ring", start=7)
    asked.slowest()
    assert asked.ring and asked.order == [7, 8, 0, 1, 2, 3, 4, 5, 6] and asked.reach == 3
    assert [(s.hops, s.asked, s.named) for s in asked.said] == [(1, 8, 1), (2, 0, 1), (3, 1, 1), (4, 2, 1)]
    assert [s.right.hits for s in asked.said] == [0, 0, 64, 0] and asked.said[2].times.hits == 64
    assert asked.answers.value.count("allow it") == 3 and asked.answers.value.count("forbid it") == 1
    asked.fastest()
    assert asked.reach == 4 and asked.order[:4] == [7, 8, 1, 0] and "forbid" not in asked.answers.value


def test_a_model_reads_the_order_on_the_board_and_the_namings_differ(asked):
    asked.choose(model="three steps on a ring", start=2)
    asked.reorder([8, 0, 3, 1, 2, 7, 6, 5, 4])
    tokens = asked._models["three steps on a ring"].model.seen[-1]
    assert tokens.shape == (4 * 64, 20) and len({tuple(row) for row in tokens.tolist()}) == 4 * 64
    assert int(tokens[:, :19].min()) >= 1 and int(tokens[:, :19].max()) <= 30
    assert tokens[::64, 19].tolist() == [61, 62, 63, 64]
    for row in tokens.tolist():
        node = {token: edge for edge, token in zip(asked.order, row[0:18:2])}
        assert len(set(node)) == 9 and node[row[18]] == 2
        assert [node[token] for token in row[1:18:2]] == [(edge + 1) % 9 for edge in asked.order]


def test_a_token_outside_the_sequence_is_no_node():
    class Silent(Oracle):
        def forward(self, tokens):
            logits = torch.zeros(len(tokens), self.task.vocab_size)
            logits[:, 0] = 9.0  # padding
            return logits

    found = ask_order(Silent(CHAIN, 0), CHAIN, [0, 1, 2, 3, 4, 5], 0, 10, torch.Generator().manual_seed(0))
    assert found[0].named is None and found[0].times.hits == 10 and found[0].right.hits == 0
    assert "no node, 10 of 10" in said_table(found, CHAIN, frozenset({0, 1}), 1)


def test_a_real_model_answers_as_it_does_elsewhere():
    task = ChainTask("ordered", 4, (1, 2), 20)
    cfg = ModelConfig(n_layers=2, d_model=16, d_head=16, d_mlp=16, vocab_size=task.vocab_size, n_pos=task.n_pos)
    model = Transformer(cfg, generator=torch.Generator().manual_seed(3))
    g = torch.Generator().manual_seed(5)
    found = ask_order(model, task, [3, 1, 0, 2], 1, 8, g)
    names = torch.rand(8, 20, generator=torch.Generator().manual_seed(5)).argsort(1)[:, :5] + 1
    for said in found:
        batches = [task.question(row, row[1], said.hops, order=[2, 1, 3, 0]) for row in names.tolist()]
        each = [model(b.tokens).softmax(-1)[0, int(b.answer)].item() for b in batches]
        assert said.probability == pytest.approx(sum(each) / 8, abs=1e-6)


def test_a_node_the_other_way_round_is_told_apart():
    said = ask_order(Oracle(RING, 1), RING, list(range(9)), 0, 4, torch.Generator().manual_seed(0))
    table = said_table(said, RING, frozenset({0, 1, 2, 4}), 2)
    assert table.count("allow it, the other way round") == 1 and table.count("forbid it") == 1


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (trained(ChainTask("double", 4, 2, 30), 2), "has two chains"),
        (trained(ChainTask("single", 17, 2, 30), 2), "has 3 layers and 17 edges and does not fit this board"),
        (trained(CHAIN, 2, n_layers=7), "has 7 layers and 6 edges"),
        (trained(ChainTask("single", 2, 1, 30), 1), "has 3 layers and 2 edges"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(run, sentence):
    with pytest.raises(ValueError, match=sentence):
        RuleBoard({"wrong": run})
    if run.task.n_chains == 2:
        with pytest.raises(ValueError, match="two chains"):
            ask_order(run.model, run.task, [0], 0, 1, torch.Generator())


def test_a_long_task_widens_the_slider_while_its_model_is_chosen():
    panel = RuleBoard({"long": trained(ChainTask("ring", 16, 2, 30), 2)})
    panel.choose(model="long")
    assert panel.n_edges.value == 16 and len(panel.order) == 16
    panel.choose(model=RULES_ALONE)
    assert panel.n_edges.value == panel.n_edges.max == 13 and sorted(panel.order) == list(range(13))


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"colour": 1}, "'colour' is no control of this panel"),
        ({"n_layers": 7}, "n_layers=7 is not offered here: it offers 2, 3, 4, 5, 6"),
        ({"start": 6}, "start=6 is not offered here"),
        ({"layer": 4}, "layer=4 is not offered"),
        ({"edge": 9}, "edge=9 is not offered"),
    ],
)
def test_a_choice_that_is_not_there_is_refused(board, choices, sentence):
    with pytest.raises(ValueError, match=sentence):
        board.choose(**choices)


@pytest.mark.parametrize(("n_edges", "n_layers"), [(3, 6), (13, 2)])
def test_every_extreme_is_drawn(real_pictures, n_edges, n_layers):
    board = RuleBoard()
    board.choose(n_edges=n_edges, n_layers=n_layers)
    for start, layer, receiver in ((0, 0, 0), (n_edges - 1, n_layers, 2 * n_edges)):
        with board.quietly():
            board.choose(start=start, layer=layer, receiver=receiver)
        board.shuffle()
        assert board._board.png.startswith(b"\x89PNG\r\n")
        who = "the start" if receiver == 2 * n_edges else f"position {receiver}"
        assert who in [ax.get_title("left") for ax in board.figure.axes]
        assert board.reach == reach(board.order, n_layers, start) and "In this order" in board.message.value
