"""Every panel, driven through its own widgets, at its extremes and through a learner's mistakes."""

import asyncio
import re
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import replace
from itertools import count, pairwise
from math import inf

import ipywidgets as widgets
import pytest
import torch
from matplotlib.figure import Figure

from matchlib import ask, live, movie
from matchlib.ask import read_chain
from matchlib.chains import MODULUS, RESIDUES
from matchlib.data import KINDS, SPLITS, ChainTask
from matchlib.explorer import LONGEST
from matchlib.hooks import intervene
from matchlib.model import Block
from matchlib.panel import FADED, Mistake, Panel, Shown, Unshown
from matchlib.presets import preset
from matchlib.probe import argmax_score, cache
from matchlib.record import TrainConfig
from matchlib.style import Picture
from matchlib.train import fit, train
from matchlib.widgets import AskTheModel, ChainExplorer, LiveTraining, MatchingMovie

TINY = preset("tiny")
PNG = b"\x89PNG"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run():
    return train(TINY.task, TINY.model, replace(TINY.train, snapshots=(0, 20, 60)), device="cpu", progress=False)


@pytest.fixture
def training():
    """A live training of the tiny preset that no test leaves running."""
    panel = LiveTraining(TINY.task, TINY.model, TINY.train, device="cpu")
    yield panel
    panel.reset()


@pytest.fixture
def real_pictures():
    """For tests that look at pixels."""


def drawn_on(figure: Figure) -> str:
    """What tells one of our figures from another: its words, and the values of its heat maps."""
    maps = [float(image.get_array().sum()) for ax in figure.axes for image in ax.images]
    return f"{figure.get_suptitle()} {[t.get_text() for ax in figure.axes for t in ax.texts]} {maps}"


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Every figure is made; its pixels, which take most of the time, only for tests that look at them."""
    if "real_pictures" not in request.fixturenames:
        monkeypatch.setattr(Picture, "_repr_png_", lambda figure: PNG + drawn_on(figure).encode())


def pictures(panel: Panel) -> list[Shown]:
    return [w for w in panel.view.children if isinstance(w, Shown) and w.layout.display != "none"]


def controls(box: widgets.Box) -> list[widgets.Widget]:
    found = []
    for child in box.children:
        found += controls(child) if isinstance(child, widgets.Box) else [child]
    return [w for w in found if not isinstance(w, widgets.HTML)]


def pixels(panel: Panel) -> list[bytes]:
    """What a page that shows the panel receives."""
    return [b64decode(image.value.split("base64,")[1].split('"')[0]) for image in pictures(panel)]


def one_sentence(panel: Panel) -> str:
    words = panel.message.value
    assert words and "Traceback" not in words and words.rstrip()[-1] in ".…", words
    return words


# What all panels share


@pytest.mark.parametrize("make", ["ask", "explore", "live", "movie"])
def test_every_control_has_a_label_and_a_tooltip_and_every_picture_words(make, run, training, real_pictures):
    panel = {"ask": AskTheModel, "movie": MatchingMovie}.get(make, lambda run: training)(run)
    panel = ChainExplorer() if make == "explore" else panel
    if make == "live":
        panel.advance(1)
    for control in controls(panel.view):
        assert control.tooltip, control
        assert control.description or isinstance(control, widgets.Play), control
    assert pictures(panel) and all(f'alt="{image.words[:5]}' in image.value for image in pictures(panel))
    assert all(len(png) > 1000 and png.startswith(PNG) for png in pixels(panel))
    assert isinstance(panel.figure, Figure)
    shown = [w.value for w in panel.view.children if isinstance(w, widgets.HTML)]
    assert not any("color:" in html for html in shown)  # the page has its own, light or dark


def test_a_button_and_a_slider_raise_what_their_action_raises_and_say_it():
    class Broken(Panel):
        def fail(self):
            raise ZeroDivisionError("by hand")

    panel, slider = Broken(), widgets.IntSlider()
    panel.on_change(panel.fail, slider)
    for event in (panel.button("Break", "Raises", panel.fail).click, lambda: setattr(slider, "value", 3)):
        panel.say("")
        with pytest.raises(ZeroDivisionError):
            event()
        assert "ZeroDivisionError: by hand" in one_sentence(panel)


def test_words_of_a_learner_are_shown_as_text():
    panel = Panel()
    panel.say("<script>alert(1)</script> is no number.")
    assert "<script>" not in panel.message.value and "&lt;script&gt;" in panel.message.value


def test_events_of_another_thread_act_in_the_panels_own_and_the_newest_value_wins():
    async def page():
        panel, slider, seen = Panel(), widgets.IntSlider(max=50), []

        def draw():
            seen.append((slider.value, threading.get_ident()))

        panel.on_change(draw, slider)

        def drag():
            for value in range(1, 51):
                slider.value = value

        hand = threading.Thread(target=drag)
        hand.start()
        hand.join()  # the loop was busy all the while
        assert seen == []
        await asyncio.sleep(0)
        return seen

    assert asyncio.run(page()) == [(50, threading.get_ident())]


def test_the_words_of_a_picture_are_one_line_and_a_narrow_page_scrolls_before_it_cannot_be_read():
    image = Shown()
    image.show(PNG, "a title that\nwas broken  for its width")
    assert image.words == "a title that was broken for its width" and f'alt="{image.words}"' in image.value
    assert "max-width: max(100%, 560px)" in image.value and image.layout.overflow == "auto"


def test_where_widgets_do_not_run_a_sentence_stands_in_place_of_the_panel(training):
    data = training.view._repr_mimebundle_()
    assert data["text/plain"] == "A panel: run this notebook to use it. What it shows stands on this page as well."
    assert "application/vnd.jupyter.widget-view+json" in data


def test_every_panel_brings_the_sheet_of_its_looks_once_and_out_of_sight():
    explorer = ChainExplorer()
    sheets = [child for child in explorer.view.children if "<style>" in getattr(child, "value", "")]
    assert len(sheets) == 1 and sheets[0].layout.display == "none" and "matchlib-panel" in explorer.view._dom_classes
    assert "<style>" not in repr(explorer.view)[:200], "what a page without widgets prints of it"


def test_a_picture_is_out_of_sight_until_it_is_shown():
    image = Shown()
    assert image.layout.display == "none"
    image.show(PNG, 'words, "quoted" & <set>')
    assert image.layout.display is None
    assert 'alt="words, &quot;quoted&quot; &amp; &lt;set&gt;"' in image.value
    assert b64encode(PNG).decode() in image.value
    image.hide()
    assert image.layout.display == "none"


# Ask the model


@pytest.fixture
def asking(run) -> AskTheModel:
    return AskTheModel(run)


def test_a_chain_with_any_separator_is_answered_as_the_model_would(asking, run):
    asking.start.value = asking.start.options[0]
    asking.chain.value = "1, 4->7 → 3"
    asking.start.value = 4
    assert asking.message.value == ""
    found = asking.answered
    assert found.batch.chain[0, 0].tolist() == [1, 4, 7, 3] and int(found.batch.path[0, 0]) == 4 and found.answer == 3
    probabilities = run.model(found.batch.tokens)[0].softmax(-1)
    assert found.predicted == int(probabilities.argmax()) and found.right == (found.predicted == 3)
    assert [t for t, _ in found.top] == probabilities.topk(3).indices.tolist()
    assert found.top[0][1] == pytest.approx(probabilities.max().item(), abs=1e-5)
    sequence = " ".join(map(str, found.batch.tokens[0].tolist()))
    assert sequence in asking.verdict.value and ("right" if found.right else "the answer is 3") in asking.verdict.value
    assert "3" in asking.figure.get_suptitle() and str(found.top[2][0]) in asking.likeliest.value


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ("1 4 seven 3", "'seven' is not a whole number"),
        ("1 4 7.5 3", "'7.5' is not a whole number"),
        ("1 4 " + "9" * 5000 + " 3", "is not a whole number"),
        ("<b>1</b> 4 7 3", "&lt;b&gt;"),
        ("", "empty"),
        (" , -> ", "empty"),
        ("1 4 7", "has 3 tokens and the model was trained on 4"),
        ("1 4 7 3 9", "has 5 tokens and the model was trained on 4"),
        ("1 4 4 3", "Token 4 occurs twice"),
        ("0 4 7 3", "0 is not a token of this task: use whole numbers from 1 to 40"),
        ("-1 4 7 3", "-1 is not a token"),
        ("1 -4 7 3", "-4 is not a token"),
        ("[1, -4, 7, 3]", "-4 is not a token"),
        ("1 4 41 3", "41 is not a token"),
    ],
)
def test_a_mistake_in_the_chain_is_one_sentence_and_the_last_answer_stays(asking, chain, says):
    asking.chain.value = "1 4 7 3"
    kept, figure, words = asking.answered, asking.figure, asking.verdict.value
    asking.chain.value = chain
    assert says in one_sentence(asking)
    asking.ask_button.click()
    assert says in one_sentence(asking)
    assert asking.answered is kept and asking.figure is figure and asking.verdict.value == words
    assert FADED in asking.view._dom_classes, "what is shown answers another question"
    asking.chain.value = "1 4 7 2"
    assert asking.message.value == "" and asking.answered is not kept
    assert FADED not in asking.view._dom_classes


@pytest.mark.parametrize(
    "text", ["1 4 7 3", "[1, 4, 7, 3]", "(1; 4; 7; 3)", "1-4-7-3", "1 - 4 - 7 - 3", "1 => 4 --> 7 → 3", "1 – 4: 7\n3"]
)
def test_a_chain_is_read_however_its_tokens_are_kept_apart(text):
    assert read_chain(text) == [1, 4, 7, 3]


def test_a_start_with_too_few_steps_left_is_one_sentence_that_says_which_will_do(asking):
    asking.chain.value = "1 4 7 3"
    kept = asking.answered
    asking.start.value = 7
    assert "From 7 the chain has no 2 steps left: choose one of 1, 4." in one_sentence(asking)
    assert asking.answered is kept
    with pytest.raises(widgets.trait_types.traitlets.TraitError):
        asking.start.value = 9  # not in the chain: the list does not offer it


def test_a_start_that_leaves_the_chain_gives_way_to_one_that_can_be_asked(asking):
    asking.chain.value = "1 4 7 3"
    asking.chain.value = "9 8 6 1"
    assert asking.start.options == (9, 8, 6, 1) and asking.start.value == 9 and asking.message.value == ""


def test_shuffling_writes_the_same_edges_in_another_order(asking):
    before = asking.answered.batch
    orders = set()
    for _ in range(8):
        asking.shuffle_button.click()
        after = asking.answered.batch
        assert torch.equal(after.chain, before.chain) and after.answer == before.answer
        orders.add(tuple(after.tokens[0].tolist()))
    assert len(orders) > 1


def test_unseen_tokens_are_all_but_the_answer_and_the_token_before_it(asking):
    for _ in range(3):
        asking.unseen_button.click()
        batch, n = asking.answered.batch, asking.task.n_tokens
        seen = {t for t in batch.chain.flatten().tolist() if t <= n}
        assert seen == {int(batch.path[0, -2]), int(batch.path[0, -1])}
        assert asking.chain.value == " ".join(map(str, batch.chain[0, 0].tolist()))


@pytest.mark.parametrize("where", [ask.LAST, ask.ALL])
@pytest.mark.parametrize("layers", [(0,), (2,), (0, 1, 2)])
def test_a_cut_layer_attends_to_nothing_and_the_answer_is_of_the_cut_model(asking, run, layers, where):
    untouched = asking.answered.top
    for layer in layers:
        asking.cuts[layer].value = True
    asking.where.value = where
    found = asking.answered

    def cut(pattern):
        cut = pattern.clone()
        cut[:, :, slice(None) if where == ask.ALL else slice(-1, None)] = 0
        return cut

    changes = {f"blocks.{layer}.attn.pattern": cut for layer in layers}
    expected = intervene(run.model, found.batch.tokens, changes)[0, -1].softmax(-1)
    assert found.cuts == layers and found.uncut == untouched
    assert [p for _, p in found.top] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-5)
    assert found.top != untouched
    for layer in range(3):
        assert (found.patterns[layer, -1].sum() == 0) == (layer in layers)
        assert (found.patterns[layer, 0].sum() == 0) == (layer in layers and where == ask.ALL)
    assert f"cut in layer {', '.join(map(str, layers))} {where}" in asking.verdict.value
    assert "without the cut" in asking.likeliest.value
    for box in asking.cuts:
        box.value = False
    assert asking.answered.top == untouched and "cut" not in asking.verdict.value


def test_the_flow_is_shown_on_request_with_the_attention_of_the_model(asking, run, monkeypatch):
    assert asking.flow_figure is None and len(pictures(asking)) == 1
    asking.with_flow.value = True
    assert isinstance(asking.flow_figure, Figure) and len(pictures(asking)) == 2
    names = [f"blocks.{layer}.attn.pattern" for layer in range(3)]
    patterns = cache(run.model, asking.answered.batch.tokens, names)[1]
    expected = torch.stack([patterns[name][0].mean(0) for name in names])
    torch.testing.assert_close(asking.answered.patterns, expected)
    seen, hide = [], asking._flow.hide
    monkeypatch.setattr(asking._flow, "hide", lambda: (seen.append("hidden"), hide()))
    asking.shuffle()
    assert seen == [], "the page would jump"
    asking.with_flow.value = False
    assert asking.flow_figure is None and len(pictures(asking)) == 1 and seen


@pytest.mark.parametrize("task", [ChainTask("ring", 4, 2, 20), ChainTask("ordered", 4, (1, 2, 3), 20)])
def test_other_tasks_of_one_chain_can_be_asked(task):
    brief = replace(TINY.train, steps=1, n_train=32, n_eval=8)
    panel = AskTheModel(train(task, TINY.model, brief, device="cpu", progress=False))
    panel.start.value = panel.start.options[0]
    for hops in task.all_hops:
        panel.hops.value = hops
        assert panel.message.value == "" and int(panel.answered.batch.hops) == hops
    if task.closed:
        panel.start.value = panel.start.options[-1]
        assert panel.message.value == ""


def test_a_task_of_two_chains_is_refused():
    brief = replace(TINY.train, steps=1, n_train=32, n_eval=8)
    run = train(ChainTask("double", 3, 2, 20), TINY.model, brief, device="cpu", progress=False)
    with pytest.raises(ValueError, match="two chains"):
        AskTheModel(run)


# Chain explorer


def test_every_kind_and_split_shows_a_question_of_that_kind_and_split():
    panel = ChainExplorer()
    for kind in KINDS:
        panel.kind.value = kind
        for split in SPLITS:
            panel.split.value = split
            assert panel.message.value == "", (kind, split)
            assert panel.task.kind == kind
            if split in RESIDUES:
                assert {r for _, _, r in panel.residues()} <= set(RESIDUES[split])
            assert panel.baselines == panel.task.baselines(split)
            assert f"{panel.baselines['right residue']:.3f}" in panel.tables.value
            assert f"Label: {int(panel.batch.answer)}." in panel.words.value
            edges = {(a, b) for a, b, _ in panel.residues()}
            tokens = panel.batch.tokens[0, : panel.task.start_pos].view(-1, 2).tolist()
            assert edges == {tuple(edge) for edge in tokens}
            assert all((b - a) % MODULUS == r for a, b, r in panel.residues())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_edges", [2, LONGEST])
def test_the_sliders_ends_are_allowed_or_explained(kind, n_edges):
    panel = ChainExplorer()
    panel.split.value = "test"
    panel.kind.value, panel.n_edges.value = kind, n_edges
    ends = (panel.hops.max, panel.n_tokens.min), (panel.hops.min, panel.n_tokens.max)
    for hops, n_tokens in ends:
        panel.hops.value, panel.n_tokens.value = hops, n_tokens
        if panel.message.value == "":
            shown = panel.task
            assert (shown.n_edges, shown.n_tokens, max(shown.all_hops)) == (n_edges, n_tokens, hops)
        else:
            assert n_tokens == panel.n_tokens.min and "use more tokens" in one_sentence(panel)


def test_a_value_that_no_longer_fits_is_lowered_or_raised_and_the_panel_says_so():
    panel = ChainExplorer()
    panel.hops.value = 6
    panel.n_edges.value = 3
    assert panel.hops.value == panel.hops.max == 3 and "Steps went from 6 to 3" in one_sentence(panel)
    panel.n_tokens.value = 4
    panel.kind.value = "double"
    assert panel.n_tokens.value == 8 and "Tokens went from 4 to 8" in one_sentence(panel)


def test_a_combination_that_cannot_be_is_one_sentence_and_the_last_question_stays():
    panel = ChainExplorer()
    panel.split.value, panel.kind.value = "test", "ring"
    kept = panel.figure, panel.batch, panel.task, panel.words.value
    panel.n_edges.value = 3
    assert "No ring of 3 edges closes with steps of (2, 3) mod 5" in one_sentence(panel)
    assert (panel.figure, panel.batch, panel.task, panel.words.value) == kept
    panel.n_edges.value = 5
    assert panel.message.value == "" and panel.task.n_edges == 5 and panel.batch is not kept[1]


def test_the_same_seed_gives_the_same_question_and_new_ones_differ():
    first, second = ChainExplorer(), ChainExplorer()
    assert torch.equal(first.batch.tokens, second.batch.tokens)
    first.new_button.click()
    assert first.seed.value == 1 and not torch.equal(first.batch.tokens, second.batch.tokens)
    first.seed.value = 0
    assert torch.equal(first.batch.tokens, second.batch.tokens)
    first.seed.value = first.seed.max
    first.new_question()
    assert first.seed.value == 0


# Live training


def test_advancing_is_the_training_of_fit(training, run):
    for n in (1, 19, 1000):
        training.advance(n)
    assert training.state.done and not training.training
    assert [(e.step, e.test) for e in training.history] == [(e.step, e.test) for e in run.history]
    assert training.progress.value == training.progress.max == 60
    assert one_sentence(training).startswith("Finished after 60 steps") and training.start_button.disabled
    assert training.run.history == training.history


def test_advancing_stops_where_it_is_told(training):
    training.advance(7)
    assert training.state.step == training.progress.value == 7 and not training.start_button.disabled
    assert one_sentence(training).startswith("Stopped after 7 of 60 steps")
    assert isinstance(training.figure, Figure) and training.layernorm.disabled and training.gamma.disabled
    for wrong in (0, -1, 2.5, None):
        with pytest.raises(ValueError, match="whole number"):
            training.advance(wrong)
    assert training.state.step == 7


def test_nothing_was_trained_before_the_first_step(training):
    assert training.figure is None and pictures(training) == [] and training.history == []
    assert training.stop_button.disabled and training.reset_button.disabled and not training.start_button.disabled
    with pytest.raises(ValueError, match="Nothing has been trained"):
        _ = training.run
    training.stop_button.click()
    assert one_sentence(training) == "Ready for 60 steps: press Start."


def test_without_a_loop_start_says_what_to_do(training):
    training.start_button.click()
    assert "advance(n_steps)" in one_sentence(training) and training.state is None


@pytest.mark.parametrize(("layernorm", "gamma"), [("post", 0.3), ("pre", 1.1)])
def test_the_choices_reach_the_model_and_count_from_the_next_reset(training, layernorm, gamma):
    training.layernorm.value, training.gamma.value = layernorm, gamma
    training.advance(2)
    config = training.state.model_config
    assert config.layernorm == layernorm and config.gamma == pytest.approx(gamma)
    training.gamma.value = 0.7
    assert "next Reset" in one_sentence(training) and training.state.model_config.gamma == pytest.approx(gamma)
    training.reset_button.click()
    assert training.state is None and training.figure is None and pictures(training) == []
    assert training.progress.value == 0 and not training.gamma.disabled
    training.advance(1)
    assert training.state.model_config.gamma == pytest.approx(0.7)


def test_start_trains_in_the_background_to_the_end(training, run):
    async def page():
        training.start_button.click()
        assert training.training and training.start_button.disabled and not training.stop_button.disabled
        with pytest.raises(RuntimeError, match="background"):
            training.advance(1)
        training.start()
        assert "already" in one_sentence(training)
        await training.finished()

    asyncio.run(page())
    assert training.state.done and not training.training and one_sentence(training).startswith("Finished")
    assert [e.test for e in training.history] == [e.test for e in run.history]
    assert training.start_button.disabled and training.stop_button.disabled and not training.reset_button.disabled

    async def again():
        training.start()
        await training.finished()

    asyncio.run(again())
    assert "press Reset" in one_sentence(training)


LONG = TrainConfig(steps=100_000, batch_size=32, n_train=64, warmup=1, eval_every=10, n_eval=16)


@pytest.fixture
def endless():
    panel = LiveTraining(TINY.task, TINY.model, LONG, device="cpu")
    yield panel
    panel.reset()


async def until(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(0)


def test_stop_is_heard_at_once_keeps_what_was_learnt_and_start_goes_on(endless):
    async def page():
        endless.start_button.click()
        await until(lambda: endless.state is not None and endless.state.step > 5)
        waiting = asyncio.create_task(endless.finished())
        await asyncio.sleep(0)
        step = endless.state.step
        endless.stop_button.click()
        assert not endless.training
        await waiting
        await asyncio.sleep(0.15)
        assert endless.state.step == step > 5 and one_sentence(endless).startswith(f"Stopped after {step:,}")
        endless.start()
        await until(lambda: endless.state.step > step)
        endless.stop()

    asyncio.run(page())
    reference = train(TINY.task, TINY.model, replace(LONG, steps=20), device="cpu", progress=False)
    assert endless.history[0].test == reference.history[0].test


def press_elsewhere(button) -> None:
    """As JupyterLab does it: the event comes in a thread of its own while a step is under way."""
    thread = threading.Thread(target=button.click)
    thread.start()
    thread.join()


@pytest.mark.parametrize("inside", ["forwards", "backwards", "the first measurement", "a measurement"])
@pytest.mark.parametrize("button", ["stop_button", "reset_button"])
def test_stop_is_heard_inside_a_step_which_then_leaves_no_trace(button, inside, monkeypatch):
    """Pressed while the first layer runs, forwards or backwards: the second one, which comes next, does not."""
    cfg = replace(TINY.train, steps=12, eval_every=5, snapshots=(7,))
    panel, ran, ends = LiveTraining(TINY.task, TINY.model, cfg, device="cpu"), [], []
    at = {"forwards": 7, "backwards": 7, "the first measurement": 0, "a measurement": 5}[inside]
    first = TINY.model.n_layers - 1 if inside == "backwards" else 0
    through = Block.forward

    def layer(block, x, tap, last):
        number = int(block.path.split(".")[1])
        out = through(block, x, tap, last)
        asked = panel.state.step == at and out.requires_grad == ("measurement" not in inside)

        def passed(*_):
            if ran or (asked and number == first):
                ran.append(number)
            if ran == [first]:
                press_elsewhere(getattr(panel, button))

        if inside != "backwards":
            passed()
        elif asked:
            x.register_hook(passed)  # the gradient has come through this layer
        return out

    async def page():
        panel.start_button.click()
        await panel.finished()
        await asyncio.sleep(0)
        ends.append((list(ran), panel.training, panel.state and panel.state.step, panel.start_button.disabled))

    with monkeypatch.context() as patch:
        patch.setattr(Block, "forward", layer)
        asyncio.run(page())
    assert ends == [([first], False, at if button == "stop_button" else None, False)]
    if button == "stop_button":
        assert not any(block._forward_pre_hooks or block._forward_hooks for block in panel.state.model.blocks)
        assert all(p.grad is None for p in panel.state.model.parameters())
    panel.advance(12)
    whole = train(TINY.task, TINY.model, cfg, device="cpu", progress=False)
    assert [(e.step, e.test, e.loss) for e in panel.history] == [(e.step, e.test, e.loss) for e in whole.history]
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(panel.run.model.state_dict()[name], weights), name
    assert list(panel.run.snapshots) == [7]
    panel.reset()


@pytest.fixture
def ticking(monkeypatch):
    """A clock that is a second on at every look; and no picture is drawn meanwhile."""
    clock = count()
    monkeypatch.setattr(live, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(live, "REDRAW", inf)


@pytest.mark.usefixtures("ticking")
def test_a_slice_ends_with_the_step_that_fills_it_and_after_a_stop_there_is_none(endless):
    """By that clock every step fills a slice: the page has a turn, and the buttons are heard, after each step."""
    steps = []

    async def page():
        endless.start()
        for _ in range(12):
            await asyncio.sleep(0)
            steps.append(endless.state.step)
        endless.stop_button.click()
        for _ in range(3):
            await asyncio.sleep(0)
            steps.append(endless.state.step)

    asyncio.run(page())
    assert steps[11] > 5 and max(b - a for a, b in pairwise(steps)) == 1
    assert steps[11:] == [steps[11]] * 4 and endless.run.provenance["steps"] == steps[11]
    assert live.SLICE <= 0.1


@pytest.mark.usefixtures("ticking")
def test_the_time_left_is_that_of_the_steps_left_at_the_pace_so_far(endless):
    """By that clock a step takes 3 seconds: it is looked at before, after the step, and after the slice."""

    async def page():
        endless.start()
        for _ in range(40):
            await asyncio.sleep(0)
        return endless.message.value, endless.state.step

    words, step = asyncio.run(page())
    told = re.match(rf"Training: step {step} of 100,000, about (\d+) s left; ", words)
    assert 3 <= int(told[1]) / (LONG.steps - step) < 3.1


def test_a_stopped_training_goes_on_as_an_unbroken_one(training, run):
    async def page():
        training.advance(25)
        training.start()
        await until(lambda: training.state.step > 25 or training.state.done)
        training.stop()

    asyncio.run(page())
    training.advance(60)
    assert [e.test for e in training.history] == [e.test for e in run.history]


def test_the_page_gets_a_turn_and_the_curves_grow_while_it_trains(endless, monkeypatch):
    drawn = count(1)
    monkeypatch.setattr(live, "REDRAW", 0.0)
    monkeypatch.setattr(Picture, "_repr_png_", lambda figure: PNG + bytes([next(drawn)]))

    async def page():
        endless.start()
        values, turns = set(), 0
        end = time.monotonic() + 60
        while len(values) < 3 or not endless.message.value.startswith("Training: step"):
            assert time.monotonic() < end, len(values)
            values |= set(pixels(endless))
            turns += 1
            await asyncio.sleep(0)
        assert "s left" in one_sentence(endless) and endless.progress.value > 0 and turns > 3
        endless.stop()

    asyncio.run(page())


@pytest.mark.parametrize(("device", "is_said"), [("auto", True), ("cpu", False)])
def test_where_a_gpu_is_busy_the_panel_says_that_the_cpu_trains(device, is_said, monkeypatch):
    panel = LiveTraining(TINY.task, TINY.model, TINY.train, device=device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("matchlib.train.pick_device", lambda device: torch.device("cpu"))
    for _ in range(2):  # stopped, and finished
        panel.advance(30)
        assert ("The GPU is busy or out of memory, so it is the CPU" in one_sentence(panel)) == is_said
    panel.reset()
    assert "GPU" not in one_sentence(panel)


def test_one_panel_trains_at_a_time(endless):
    async def page():
        endless.start()
        await until(lambda: endless.state is not None)
        other = LiveTraining(TINY.task, TINY.model, LONG, device="cpu")  # the cell is run again
        assert not endless.training and one_sentence(endless).startswith("Stopped")
        other.start()
        endless.start()
        assert endless.training and not other.training
        endless.reset()
        await asyncio.sleep(0)
        assert not endless.training and endless.state is None
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(page())


@pytest.mark.parametrize("close", [lambda p: p.close(), lambda p: p.view.close()])
def test_closing_the_panel_ends_its_training(endless, close):
    async def page():
        endless.start()
        await until(lambda: endless.state is not None and endless.state.step > 0)
        close(endless)
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert not endless.training and endless.state.step > 0

    asyncio.run(page())


def test_a_page_that_ends_leaves_a_panel_that_can_go_on(endless):
    async def page():
        endless.start()
        await until(lambda: endless.state is not None and endless.state.step > 0)

    asyncio.run(page())  # cancels what still runs
    assert not endless.training and one_sentence(endless).startswith("Stopped") and endless.stop_button.disabled
    step = endless.state.step
    endless.advance(3)
    assert endless.state.step == step + 3


def test_an_error_while_training_is_a_sentence_and_is_raised_to_who_waits(training, monkeypatch):
    def broken(state):
        for step in fit(state):
            if step.step == 5:
                raise FloatingPointError("no number")
            yield step

    monkeypatch.setattr(live, "fit", broken)

    async def page():
        training.start()
        with pytest.raises(FloatingPointError):
            await training.finished()

    asyncio.run(page())
    assert "FloatingPointError: no number" in one_sentence(training) and not training.training
    assert not training.start_button.disabled
    monkeypatch.undo()
    training.advance(100)
    assert training.state.done
    training.reset()
    monkeypatch.setattr(live, "fit", broken)
    with pytest.raises(FloatingPointError):
        training.advance(10)
    assert "FloatingPointError" in one_sentence(training)


# Matching movie


def test_the_movie_shows_the_scores_of_the_snapshot_at_every_step(run):
    panel = MatchingMovie(run)
    assert panel.step == 0
    for index, step in enumerate((0, 20, 60)):
        panel.play.value = index
        assert panel.slider.value == panel.step == step
        ids = torch.arange(1, run.task.n_tokens + 1)
        assert panel.scores == {f"layer {n}": argmax_score(run.at(step), n, ids) for n in (1, 2)}
        assert f"Step {step}" in one_sentence(panel) and len(pictures(panel)) == 2
        assert isinstance(panel.figure, Figure)
        line = [text.get_text() for text in panel.curves.axes[0].texts]
        assert f"step {step}" in line
    images = pixels(panel)
    panel.slider.index = 0
    assert panel.play.value == 0 and all(a != b for a, b in zip(images, pixels(panel)))


def test_the_movie_matches_the_tokens_and_the_layer_that_are_chosen(run):
    panel = MatchingMovie(run)
    panel.slider.value = 60
    n, frames = run.task.n_tokens, set()
    for choice, ids in ((movie.TRAINED, range(1, n + 1)), (movie.UNSEEN, range(n + 1, 2 * n + 1))):
        panel.tokens.value = choice
        assert panel.scores["layer 1"] == argmax_score(run.model, 1, torch.tensor(ids))
        frames.add(pixels(panel)[1])
    panel.tokens.value = movie.GAUSSIAN
    again = MatchingMovie(run)
    again.slider.value, again.tokens.value = 60, movie.GAUSSIAN
    assert panel.scores == again.scores  # the same vectors each time
    frames.add(pixels(panel)[1])
    panel.layer.value = (2,)
    assert list(panel.scores) == ["layer 2"] and panel.scores["layer 2"] == again.scores["layer 2"]
    frames.add(pixels(panel)[1])
    assert len(frames) == 4


def test_dragging_over_frames_that_were_drawn_draws_nothing_anew(run, monkeypatch):
    panel = MatchingMovie(run)
    for step in (20, 60):
        panel.slider.value = step
    shown = pixels(panel)[1]

    def drawn_again(*args):
        raise AssertionError("drawn again")

    for name in ("matching_matrices", "score_and_accuracy", "_mark"):
        monkeypatch.setattr(movie, name, drawn_again)
    for step in (0, 20, 0, 60):
        panel.slider.value = step
    assert pixels(panel)[1] == shown


def test_the_movie_keeps_a_bounded_number_of_frames(run, monkeypatch):
    monkeypatch.setattr(movie, "KEPT", 2)
    panel = MatchingMovie(run)
    for step in (20, 60, 0, 20):
        panel.slider.value = step
        assert len(panel._frames) <= 2 and panel.scores


def test_a_run_without_snapshots_or_matching_layers_is_refused(run):
    with pytest.raises(ValueError, match="kept no snapshots"):
        MatchingMovie(replace(run, snapshots={}))
    brief = replace(TINY.train, steps=1, n_train=32, n_eval=8, snapshots=(0,))
    shallow = train(TINY.task, replace(TINY.model, n_layers=1), brief, device="cpu", progress=False)
    with pytest.raises(ValueError, match="at least 2 layers"):
        MatchingMovie(shallow)


def test_a_mistake_is_a_sentence_and_not_an_exception():
    panel = Panel()

    def wrong():
        raise Mistake("Choose another.")

    panel.act(wrong)
    assert panel.message.value == "Choose another."


@pytest.mark.parametrize(
    ("kind", "answered", "fades"), [(Mistake, True, False), (Unshown, True, True), (Unshown, False, False)]
)
def test_what_answers_an_earlier_choice_fades_until_the_next_answer(kind, answered, fades):
    panel = Panel()
    if answered:
        panel.act(lambda: None)

    def wrong():
        raise kind("Choose another.")

    panel.act(wrong)
    assert (FADED in panel.view._dom_classes) == fades
    panel.act(wrong)
    panel.act(lambda: None)
    assert FADED not in panel.view._dom_classes and "matchlib-panel" in panel.view._dom_classes
