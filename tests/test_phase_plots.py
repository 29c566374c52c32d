"""What the figures of lesson 05 hold: medians in cells, counts in bars, open marks for runs that are not there yet."""

from math import inf, nan

import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from phase_records import record

from matchlib.development import condensation, effective_rank
from matchlib.kinds import KINDS
from matchlib.ledger import load
from matchlib.phase_plots import (
    best_rates,
    development,
    horizons,
    kinds_map,
    measured,
    phase_diagram,
    rate_curves,
    seed_curves,
)
from matchlib.probe import kernel, normalised_trace
from matchlib.runs import SHIPPED, load_or_train
from matchlib.wording import Shades, share_text, text_of, tick, word

TESTS = {("post", 0.5): (0.2, 0.996, 0.97), ("post", 0.9): (0.3, 0.4, 0.9499), ("pre", 0.5): (0.1, 0.2, 1.0)}
PANELS = ("model.layernorm",)


@pytest.fixture
def sweep():
    """Two LayerNorms, two gammas, one decay: no run of pre-LN at gamma 0.9."""
    return [record(norm, gamma, seed=s, test=t) for (norm, gamma), ts in TESTS.items() for s, t in enumerate(ts)]


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split()).replace("\N{NON-BREAKING HYPHEN}", "-")


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text()]


def lines(ax) -> dict:
    return {line.get_label(): line for line in ax.lines}


# Words and colours


def test_a_share_is_cut_and_never_rounded_up():
    assert [share_text(x) for x in (0.996, 0.95, 0.29, 1.0, 0.0)] == ["0.99", "0.95", "0.29", "1.00", "0.00"]
    assert [text_of("generalised", x) for x in (900, 1450.5, inf)] == ["900", "1,451", "never"]
    assert text_of("ood_as_long", nan) == "–"


def test_values_are_named_as_a_reader_would():
    assert word("train.n_train", None) == "fresh sequences" and word("train.n_train", 1000) == "1,000 sequences"
    assert word("model.layernorm", "pre") == "pre-LN" and word("train.weight_decay", 0.01) == "weight decay 0.01"
    assert tick("train.lr", 1.6e-2) == "0.016" and word("model.d_head", 4) == "d head 4"


@pytest.mark.parametrize("measure", ["test", "generalised"])
def test_the_text_of_every_shade_can_be_read(measure, sweep):
    shades, values = Shades(measure, sweep), [i / 100 for i in range(101)] if measure == "test" else [900, 2000, inf]

    def light(colour: str) -> float:
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    for value in values:
        dark, bright = sorted(map(light, shades(value)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, value
    assert shades(values[0])[0] != shades(values[1])[0]


# Phase diagram


def test_every_cell_shows_its_median_and_range_and_a_missing_one_says_so(sweep):
    post, pre = drawn(phase_diagram(sweep, panels=PANELS)).axes[:2]
    assert post.images[0].get_array().tolist() == [[0.97, 0.4]] and post.get_title("left") == "post-LN"
    assert pre.images[0].get_array().filled(-1).tolist() == [[0.2, -1]]
    assert texts(post) == ["0.97", ".20–.99", "0.40", ".30–.94"] and texts(pre) == ["0.20", ".10–1", "no run"]
    assert [t.get_text() for t in pre.get_xticklabels()] == ["0.5", "0.9"]


def test_the_title_counts_the_cells_of_each_row_of_panels(sweep):
    figure = phase_diagram(sweep, panels=PANELS)
    assert title(figure) == "Median test accuracy reaches 0.95 in 1 of 2 cells (post-LN), 0 of 1 (pre-LN)"
    assert "median over 3 seeds" in figure.get_supxlabel()
    assert title(phase_diagram(sweep[:3], panels=())) == "Median test accuracy reaches 0.95 in 1 of 1 cells"
    just_below = [record(gamma=g, test=0.9499) for g in (0.5, 0.9)]
    assert "reaches 0.95 in 0 of 2" in title(phase_diagram(just_below, panels=()))


def test_steps_that_most_seeds_never_took_are_hatched_and_counted(sweep):
    figure = drawn(phase_diagram(sweep, "generalised", panels=PANELS))
    post, pre = figure.axes[:2]
    assert texts(post) == ["1,000", "2/3", "never", "0/3"] and texts(pre) == ["never", "1/3", "no run"]
    assert [[p.get_xy(), p.get_hatch()] for p in post.patches if isinstance(p, Rectangle)] == [[(0.5, -0.5), "////"]]
    assert title(figure) == "More than half of the seeds generalise in 1 of 2 cells (post-LN), 0 of 1 (pre-LN)"


def test_panels_stand_in_rows_and_columns_and_larger_decay_higher():
    sweep = [
        record(norm, 0.7, decay, n, test=0.5 + decay)
        for norm in ("post", "pre") for decay in (0.01, 0.1) for n in (1000, None)
    ]  # fmt: skip
    axes = drawn(phase_diagram(sweep)).axes[:4]
    names = [f"{norm}-LN, {n} sequences" for norm in ("post", "pre") for n in ("1,000", "fresh")]
    assert [ax.get_title("left") for ax in axes] == names
    assert [t.get_text() for t in axes[0].get_yticklabels()] == ["0.01", "0.1"]
    assert axes[0].images[0].get_array().tolist() == [[0.51], [0.6]] and axes[0].images[0].origin == "lower"


def test_failed_runs_are_left_out_and_the_figure_says_how_many(sweep):
    broken = [record(seed=9, gamma=0.5, reason="It diverged.")]
    assert phase_diagram([*sweep, *broken], panels=PANELS).get_supxlabel().endswith("1 run that failed is left out.")
    assert "left out" not in phase_diagram(sweep, panels=PANELS).get_supxlabel()


def test_what_cannot_be_drawn_is_said_in_a_sentence(sweep):
    with pytest.raises(ValueError, match="measure='speed' is not known: choose one of test"):
        phase_diagram(sweep, "speed", panels=PANELS)
    with pytest.raises(ValueError, match="no run that ended well"):
        phase_diagram([record(reason="It diverged.")])
    with pytest.raises(ValueError, match=r"gamma 0.5, weight decay 0.1 mixes runs of several settings"):
        phase_diagram(sweep, panels=())
    with pytest.raises(ValueError, match="is not known"):
        phase_diagram(sweep, x="model.colour", panels=PANELS)


# Kinds, rates, horizons


def test_bars_hold_the_number_of_runs_of_each_kind(sweep):
    memory = [record("pre", 0.9, seed=s, reached=None, fit=1.0) for s in range(4)]
    figure = drawn(kinds_map([*sweep, *memory], panels=PANELS))
    heights = [{bars.get_label(): [b.get_height() for b in bars] for bars in ax.containers} for ax in figure.axes[:2]]
    assert heights[0] == dict.fromkeys(KINDS, [0, 0]) | {"matching": [2, 1], "not learned": [1, 2]}
    assert heights[1]["matching"] == [1, 0] and heights[1]["memorising"] == [0, 4]
    assert [t for t in texts(figure.axes[1]) if t.startswith("n=")] == ["n=3", "n=4"]
    assert title(figure) == "Matching is found by 3 of 6 runs (post-LN), 1 of 7 (pre-LN)"
    missing = [bars[1].get_height() for bars in kinds_map(sweep, panels=PANELS).axes[1].containers]
    assert missing == [0] * len(KINDS)
    looks = {(p.get_facecolor(), p.get_hatch()) for bars in figure.axes[0].containers for p in bars}
    assert len(looks) == len(KINDS)


def test_the_best_rate_is_the_one_with_the_highest_mean_over_gammas_and_seeds():
    values = {(0.001, 0.5): (0.9, 0.9), (0.001, 0.9): (0.1, 0.3), (0.004, 0.5): (0.6, 0.6), (0.004, 0.9): (0.6, 0.596)}
    sweep = [
        record(norm, gamma, seed=s, rate=rate if norm == "post" else 2 * rate, test=test)
        for norm in ("post", "pre") for (rate, gamma), of in values.items() for s, test in enumerate(of)
    ]  # fmt: skip
    assert best_rates(sweep) == {"post": (0.004, pytest.approx(0.599)), "pre": (0.008, pytest.approx(0.599))}
    figure = drawn(rate_curves(sweep))
    post, pre = map(lines, figure.axes[:2])
    assert list(post["mean of all"].get_xdata()) == [0.001, 0.004]
    assert list(post["mean of all"].get_ydata()) == pytest.approx([0.55, 0.599])
    assert list(post["gamma 0.9"].get_ydata()) == pytest.approx([0.2, 0.598])
    assert list(post["_best"].get_xdata()) == [0.004] * 2 and list(pre["_best"].get_xdata()) == [0.008] * 2
    assert title(figure).endswith("post-LN 0.59 at 0.004; pre-LN 0.59 at 0.008")
    assert figure.axes[0].get_xscale() == "log" and "4 runs" in figure.axes[0].get_title("left")
    with pytest.raises(ValueError, match="7 values of gamma: at most 6"):
        rate_curves([record(gamma=g / 10) for g in range(1, 8)])


def test_a_run_that_is_not_there_yet_is_an_open_arrow_at_its_horizon():
    short = [record(gamma=g, seed=s, reached=at) for g in (0.5, 0.9) for s, at in enumerate((700, None, 900))]
    long = [record(gamma=0.5, seed=s, reached=at, steps=12_000) for s, at in enumerate((800, 5000, None))]
    figure = drawn(horizons(short, long))
    ax = figure.axes[0]
    found = lines(ax)
    assert list(found["training of 3,000 steps"].get_ydata()) == [700, 900] * 2
    assert list(found["not yet after 3,000"].get_ydata()) == [3000, 3000]
    assert list(found["training of 12,000 steps"].get_ydata()) == [800, 5000]
    assert list(found["not yet after 12,000"].get_ydata()) == [12_000]
    assert found["not yet after 3,000"].get_markerfacecolor() == "white" and ax.get_yscale() == "log"
    assert [round(x) for x in found["training of 3,000 steps"].get_xdata()] == [0, 0, 1, 1]
    assert texts(ax) == ["● 2/3", "● 2/3", "■ 2/3", "■ 0/0"], "the legend's marks, not colour alone"
    assert title(figure).endswith("in 3,000 steps 4 of 6 (post-LN); in 12,000 steps 2 of 3 (post-LN)")
    with pytest.raises(ValueError, match="steps: give those of one length"):
        horizons([*short, record(gamma=1.1, steps=500)], long)


def test_the_curves_of_a_cell_are_those_of_its_seeds():
    runs = [record(seed=8, reached=900), record(seed=7, test=0.5), record(seed=9, reason="It diverged.")]
    figure = drawn(seed_curves(runs))
    top, low = figure.axes
    assert [name for name in lines(top) if name.startswith("seed")] == ["seed 7", "seed 8"]
    dashed = [line for line in top.lines if line.get_label() == "_train"]
    assert list(dashed[1].get_ydata()) == runs[0].columns["train"] and dashed[1].get_linestyle() == "--"
    assert list(lines(top)["seed 8"].get_ydata()) == runs[0].columns["test"]
    assert list(lines(low)["_seed 7"].get_ydata()) == [min(layers) for layers in runs[1].columns["argmax"]]
    assert title(figure) == "Test accuracy at the end: 0.50 to 0.99 over 2 seeds"
    with pytest.raises(ValueError, match="0 runs that ended well: give 1 to 6"):
        seed_curves(runs[2:])


# A run from inside


@pytest.fixture(scope="module")
def run():
    return load_or_train("post_g07", progress=False)


def test_what_is_measured_is_what_the_snapshots_hold(run):
    found = measured(run)
    assert found["step"] == sorted(run.snapshots) and {len(values) for values in found.values()} == {17}
    last, first = run.at(1500), run.at(0)
    assert found["trace Ker(2)"][-1] == pytest.approx(normalised_trace(kernel(last, 2)))
    assert found["norm W_vo(0)"][0] == 1
    assert found["norm W_vo(0)"][-1] == pytest.approx((last.w_vo(0).norm() / first.w_vo(0).norm()).item())
    assert found["cosine layer 1"][-1] > 2 * found["cosine layer 1"][0]


def test_random_matrices_are_where_the_figure_draws_them(generator):
    d = 64
    square = torch.randn(200, d, d, generator=generator)
    assert torch.tensor([normalised_trace(m) for m in square]).std().item() == pytest.approx(1 / d, rel=0.2)
    assert condensation(square[0]) == pytest.approx((2 / (torch.pi * d)) ** 0.5, rel=0.05)


def test_condensation_and_rank_at_their_extremes(generator):
    line, signs = torch.randn(16, 1, generator=generator), torch.tensor([[1.0, -2.0, 3.0]])
    assert condensation(line @ signs) == pytest.approx(1, abs=1e-5)
    assert condensation(torch.eye(16)) == pytest.approx(0, abs=1e-6)
    assert effective_rank(torch.eye(16)) == pytest.approx(1) and effective_rank(line @ line.T) < 0.08


def test_the_story_shows_a_column_a_run(run):
    figure = drawn(development({"a": run, "b": run}))
    assert len(figure.axes) == 8
    traces = lines(figure.axes[6])
    assert list(traces["Ker(1)"].get_ydata()) == measured(run)["trace Ker(1)"]
    band = figure.axes[6].patches[0]
    assert (band.get_y(), band.get_y() + band.get_height()) == (-2 / 64, 2 / 64)
    at = next(e.step for e in run.history if e.test >= 0.5)
    assert f"a step {at}, 0.28; b step {at}, 0.28" in title(figure)
    assert list(lines(figure.axes[0])["test: unseen edges"].get_ydata()) == [e.test for e in run.history]


def test_a_run_without_snapshots_has_no_story():
    bare = load_or_train("post_g07_s1", progress=False)
    with pytest.raises(ValueError, match="kept 0 snapshots of 3 layers"):
        measured(bare)
    with pytest.raises(ValueError, match="0 runs: give 1 to 3"):
        development({})


@pytest.mark.parametrize("measure", ["test", "generalised"])
def test_the_map_of_the_lesson_can_be_read_and_nothing_leaves_its_cell(measure):
    figure = phase_diagram(load(SHIPPED / "phase.jsonl"), measure)
    figure.draw_without_rendering()
    for ax in figure.axes[:6]:
        side = ax.transData.transform([(0, 0), (1, 1)])
        wide, high = side[1] - side[0]
        for text in ax.texts:
            box = text.get_window_extent()
            assert text.get_fontsize() >= 7.9 and box.width <= wide
            row, (bottom, top) = round(text.get_position()[1]), ax.transData.inverted().transform(box)[:, 1]
            assert row - 0.52 <= bottom and top <= row + 0.52
