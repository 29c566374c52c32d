"""The phase panel, driven through its own widgets: the map shows the records, a cell opens, a run trains again."""

import asyncio
from dataclasses import replace
from html import unescape

import ipywidgets as widgets
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from phase_records import record

from matchlib.cells import MEASURES
from matchlib.engines import train_one
from matchlib.grids import Grid
from matchlib.ledger import Record
from matchlib.live import LiveTraining
from matchlib.panel import Press
from matchlib.phase import PhaseDiagram, free_axes
from matchlib.presets import Preset, preset
from matchlib.probe import argmax_score

TINY = preset("tiny")
GAMMAS, DECAYS, SIZES = (0.5, 0.9), (0.01, 0.1, 0.5), (1000, None)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def sweep() -> list[Record]:
    """Each LayerNorm at a rate of its own; post-LN on fresh data learns, the later the larger gamma is."""
    return [
        record(norm, gamma, decay, n, seed, int(1000 * gamma) + 100 * seed if learns else None, rate=rate)
        for norm, rate in (("post", 0.008), ("pre", 0.004)) for gamma in GAMMAS for decay in DECAYS for n in SIZES
        for learns in [norm == "post" and n is None] for seed in (1, 2, 3)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained() -> list[Record]:
    """Two LayerNorms, two gammas, two seeds, trained for 20 steps."""
    train = replace(TINY.train, steps=20, eval_every=10)
    axes = {"model.layernorm": ("post", "pre"), "model.gamma": GAMMAS}
    return [train_one(spec) for spec in Grid("few", "", Preset(TINY.task, TINY.model, train), axes, (3, 4)).specs()]


@pytest.fixture
def panel(sweep):
    return PhaseDiagram(sweep)


@pytest.fixture
def tiny(trained):
    """A panel over trained runs, with a cell open, that no test leaves training."""
    panel = PhaseDiagram(trained)
    panel.open(0.9, "pre")
    yield panel
    panel.close()


def cells_of(panel: PhaseDiagram) -> list[Press]:
    return [w for w in panel._grid.children if isinstance(w, Press)]


def said(panel) -> str:
    words = panel.message.value
    assert words.endswith(".") and "Traceback" not in words
    return unescape(words)


def heads(panel: PhaseDiagram) -> list[str]:
    return [w.value.removeprefix("<b>").removesuffix("</b>") for w in panel._grid.children if not isinstance(w, Press)]


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split()).replace("\N{NON-BREAKING HYPHEN}", "-")


# The map


def test_axes_are_what_varies_and_what_the_others_decide_is_no_choice(sweep, trained):
    assert free_axes(sweep) == ["model.layernorm", "model.gamma", "train.weight_decay", "train.n_train"]
    assert free_axes(trained) == ["model.layernorm", "model.gamma"]
    crossed = [record(norm, gamma=0.7, rate=rate) for norm in ("post", "pre") for rate in (0.001, 0.002)]
    assert free_axes(crossed) == ["model.layernorm", "train.lr"]
    assert free_axes([record(steps=steps, gamma=g) for steps in (300, 600) for g in GAMMAS]) == [
        "model.gamma", "train.steps",
    ]  # fmt: skip


def test_the_first_view_is_where_the_best_cell_is(panel):
    assert (panel.x.value, panel.y.value) == ("model.gamma", "train.weight_decay")
    assert panel.fixed["model.layernorm"].value == "post-LN" and panel.fixed["train.n_train"].value == "fresh"
    assert heads(panel) == ["", "gamma 0.5", "gamma 0.9", "weight decay 0.5", "weight decay 0.1", "weight decay 0.01"]
    assert "Test accuracy (post-LN, fresh sequences)" in said(panel)


def test_every_button_shows_the_median_of_its_records_in_words_too(panel, sweep):
    assert [b.description for b in cells_of(panel)] == ["0.99"] * 6
    panel.measure.value = "generalised"
    assert [b.description for b in cells_of(panel)] == ["700", "1,100"] * 3
    assert cells_of(panel)[0].tooltip == (
        "gamma 0.5, weight decay 0.5: 3 of 3 generalise, steps to generalise 600 to 800"
    )
    panel.fixed["train.n_train"].value = "1,000"
    assert {b.description for b in cells_of(panel)} == {"never"}
    assert "(post-LN, 1,000 sequences)" in said(panel)


def test_colours_follow_the_measure_and_text_stays_readable(panel):
    panel.measure.value = "generalised"
    early, late = (b.style.button_color for b in cells_of(panel)[:2])
    panel.fixed["model.layernorm"].value = "pre-LN"
    never = cells_of(panel)[0].style
    assert len({early, late, never.button_color}) == 3 and never.text_color == "#000000"


def test_axes_change_and_the_same_buttons_show_other_records(panel):
    before = {id(b) for b in cells_of(panel)}
    panel.y.value = "model.layernorm"
    assert heads(panel) == ["", "gamma 0.5", "gamma 0.9", "pre-LN", "post-LN"]
    assert [b.description for b in cells_of(panel)] == ["0.10", "0.10", "0.99", "0.99"]
    assert {id(b) for b in cells_of(panel)} < before
    assert panel.fixed["model.layernorm"].layout.display == "none"
    assert panel.fixed["train.weight_decay"].layout.display is None


def test_one_axis_twice_is_a_sentence_and_nothing_is_lost(panel):
    shown, drawn = [b.description for b in cells_of(panel)], title(panel.figure)
    panel.y.value = "model.gamma"
    assert said(panel) == "Both axes show gamma: choose another for one; the map stays as it was."
    assert [b.description for b in cells_of(panel)] == shown and title(panel.figure) == drawn
    panel.open(0.5, 0.1)  # the map that is still shown
    assert len(panel.opened) == 3
    panel.x.value = "train.n_train"
    assert heads(panel)[1:] == ["1,000 sequences", "fresh sequences", "gamma 0.9", "gamma 0.5"]


@pytest.mark.parametrize("measure", MEASURES)
def test_the_figure_is_the_map_in_view(panel, measure):
    panel.measure.value = measure
    panel.fixed["train.n_train"].value = "fresh"
    figure = panel.figure
    figure.draw_without_rendering()
    ax = figure.axes[0]
    shown = [t.get_text() for t in ax.texts][::2]
    at = {t.get_position()[:2]: None for t in ax.texts}
    assert len(at) == 12 and sorted(shown) == sorted(b.description for b in cells_of(panel))
    assert ax.get_title("left") == "post-LN, fresh sequences"


def test_the_figure_has_the_colours_of_the_buttons_wherever_the_map_is_cut(panel):
    panel.measure.value, panel.x.value = "generalised", "model.layernorm"
    panel.fixed["model.gamma"].value = "0.9"  # the soonest run of all has another gamma
    figure = panel.figure
    figure.draw_without_rendering()
    (image,) = figure.axes[0].images
    drawn = to_hex(image.cmap(image.norm(image.get_array()[0, 0])))
    assert drawn == cells_of(panel)[0].style.button_color


def test_every_control_has_a_label_and_a_tooltip(panel):
    named = [panel.measure, panel.x, panel.y, *panel.fixed.values(), panel.seed, panel.train_button, *cells_of(panel)]
    assert all(control.description and control.tooltip for control in named)


def test_a_missing_cell_cannot_be_pressed_and_says_so(sweep):
    there = [r for r in sweep if (r.model.gamma, r.train.weight_decay) != (0.9, 0.5)]
    panel = PhaseDiagram(there)
    missing = cells_of(panel)[1]
    assert missing.disabled and missing.description == "no run" and missing.tooltip.endswith("no run ended well")
    panel.open(0.9, 0.5)
    assert said(panel).startswith("No run ended well at gamma 0.9, weight decay 0.5, post-LN, fresh sequences")
    assert panel.opened == []


def test_records_without_a_map_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="vary along 1 axes: give those of a sweep along 2 or more"):
        PhaseDiagram([record(gamma=g) for g in GAMMAS])
    with pytest.raises(ValueError, match="no run that ended well"):
        PhaseDiagram([record(reason="It diverged.")])


# A cell


def test_a_press_opens_what_open_opens(panel):
    cells_of(panel)[1].click()  # the largest decay stands on top; second column
    pressed = panel.opened, panel._said.value, panel._table.value
    assert {(r.model.gamma, r.train.weight_decay, r.train.n_train) for r in panel.opened} == {(0.9, 0.5, None)}
    panel.open(0.5, 0.1)
    assert panel.opened != pressed[0]
    panel.open(0.9, 0.5)
    assert (panel.opened, panel._said.value, panel._table.value) == pressed
    assert "<b>gamma 0.9, weight decay 0.5, post-LN, fresh sequences</b>: 3 of 3 generalise" in panel._said.value


def test_the_open_cell_is_marked_in_words_and_by_a_frame_wherever_it_comes_into_view(panel):
    def marked():
        return [b for b in cells_of(panel) if b.description.startswith("▸ ")]

    assert marked() == []
    first, *_, last = cells_of(panel)
    first.click()
    assert marked() == [first] and first.tooltip.startswith("open: ") and "solid var(" in first.layout.border_top
    last.click()
    assert marked() == [last] and "transparent" in first.layout.border_top
    panel.measure.value = "ood"
    assert marked() == [last]
    panel.x.value, panel.y.value = panel.y.value, next(a for a in panel.axes if a not in (panel.x.value, panel.y.value))
    assert len(marked()) <= 1


def test_the_table_holds_a_row_a_seed_with_kind_scores_and_the_square(panel, sweep):
    failed = record("post", 0.5, 0.1, None, 4, rate=0.008, reason="It diverged at step 7.")
    panel = PhaseDiagram([*sweep, failed])
    panel.open(0.5, 0.1)
    rows = [r.split("</td>")[:-1] for r in panel._table.value.split("<tr>")[2:]]
    rows = [[unescape(cell.split(">")[-1]) for cell in r] for r in rows]
    assert rows[0] == ["1", "matching", "0.99", "0.49", "0.43", "0.99, 0.49", "600", "0.80, 0.75", "0.12, 0.10"]
    assert [r[0] for r in rows] == ["1", "2", "3", "4"] and rows[3][1] == "It diverged at step 7."
    assert len(rows[3]) == len(rows[0])
    assert panel.seed.options == (1, 2, 3)


def test_the_curves_are_those_of_the_open_cell(panel):
    panel.open(0.9, 0.1)
    assert title(panel.curves) == "Test accuracy at the end: 0.99 to 0.99 over 3 seeds"
    assert panel._curves.layout.display is None and "img" in panel._curves.value
    lines = {line.get_label(): line for line in panel.curves.axes[0].lines}
    assert list(lines["seed 3"].get_ydata()) == panel.opened[2].columns["test"]


@pytest.mark.parametrize("where", [(0.4, 0.1), (0.5, "fresh"), (None, None), ("0.5", 0.1)])
def test_a_cell_that_is_not_in_the_map_is_a_sentence(panel, where):
    panel.open(0.5, 0.1)
    before = panel.opened
    panel.open(*where)
    assert "is not in the map: choose one of 0." in said(panel) and panel.opened is before


# Train again


def test_again_trains_the_very_run_and_agrees_with_its_record(tiny, trained):
    kept = next(r for r in trained if (r.model.layernorm, r.model.gamma, r.seed) == ("pre", 0.9, 4))
    run = tiny.again(4)
    assert (run.model_config, run.train_config, run.seed) == (kept.model, kept.train, 4)
    assert [e.test for e in run.history] == pytest.approx(kept.columns["test"], abs=1e-5)
    assert tiny.training.agrees is True and "it agrees." in said(tiny.training)
    shown = f"argmax score {argmax_score(run.model, 2, torch.arange(1, 21)):.3f}"
    assert shown in tiny.training.matrices.axes[1].get_title("left")
    assert tiny.training.view in tiny._again.children and tiny.training._maps.layout.display is None
    assert tiny.again(4).model is run.model, "a run that is done is not trained again"


def test_a_record_that_says_otherwise_is_said_to_differ(trained):
    changed = [replace(r, columns=r.columns | {"test": [0.0, 0.0, 0.75]}) for r in trained]
    panel = PhaseDiagram(changed)
    panel.open(0.5, "post")
    panel.again(3)
    assert panel.training.agrees is False and "The record says 0.750: it differs by 0.6" in said(panel.training)


def test_only_seeds_of_the_open_cell_can_be_trained(tiny, trained):
    with pytest.raises(ValueError, match="seed=9 is not in the open cell; there are 3, 4"):
        tiny.again(9)
    with pytest.raises(ValueError, match="there are none: open a cell first"):
        PhaseDiagram(trained).again(3)


def test_without_a_loop_the_button_says_what_to_call(tiny):
    tiny.train_button.click()
    assert said(tiny) == "Nothing can run in the background here: call panel.again(seed)."


@pytest.fixture
def endless(trained):
    """A panel with a cell open whose runs would go on for very long."""
    panel = PhaseDiagram([replace(r, train=replace(r.train, steps=10**6)) for r in trained])
    panel.open(0.9, "pre")
    yield panel
    panel.close()


async def start(panel: PhaseDiagram) -> None:
    panel.train_button.click()
    for _ in range(5):  # at each pause the training does one step or more
        await asyncio.sleep(0)
    assert panel.training.training and panel.training.state.step > 2


def test_the_button_trains_in_the_background_to_the_end(tiny):
    async def page():
        tiny.seed.value = 3
        tiny.train_button.click()
        assert tiny.training.training
        await tiny.training.finished()

    asyncio.run(page())
    assert tiny.training.agrees and tiny.training.record.seed == 3 and tiny.training.matrices is not None


def test_stop_keeps_what_was_done_and_the_next_press_goes_on(endless):
    async def page():
        await start(endless)
        endless.training.stop_button.click()
        done = endless.training.state.step
        await asyncio.sleep(0)
        assert not endless.training.training and endless.training.state.step == done
        assert f"Stopped after {done:,} of 1,000,000 steps" in said(endless.training)
        assert endless.training.matrices is not None and endless.training.agrees is None
        await start(endless)
        assert endless.training.state.step > done and endless.training.matrices is None
        endless.close()
        assert not endless.training.training

    asyncio.run(page())


@pytest.mark.parametrize("how", ["another cell", "another seed", "another panel"])
def test_what_is_newer_stops_a_training(endless, how):
    async def page():
        await start(endless)
        first = endless.training
        if how == "another cell":
            endless.open(0.5, "post")
            assert endless.opened[0].model.gamma == 0.5 and endless._again.children == ()
        elif how == "another seed":
            endless.seed.value = 4
            endless.train_button.click()
            assert endless.training is not first and endless.training.training and endless.training.record.seed == 4
        else:
            LiveTraining(TINY.task, TINY.model, TINY.train, device="cpu")
        assert not first.training and first.state.step > 0

    asyncio.run(page())


def test_a_choice_that_changes_the_map_leaves_a_training_alone(endless):
    async def page():
        await start(endless)
        endless.measure.value = "ood"
        assert endless.training.training and isinstance(endless.view, widgets.VBox)

    asyncio.run(page())
