"""What the figures of lesson 06 hold: medians, bands and marks as in the records, and titles that do not flatter."""

from dataclasses import replace
from itertools import permutations
from math import inf

import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from matchlib.arms import against_none, arm_of, arms, best_rate, by_chance, over_seeds, zone
from matchlib.cells import superiority
from matchlib.engines import train_one
from matchlib.ledger import Record
from matchlib.model import Transformer
from matchlib.noise_plots import (
    curves_with_bands,
    help_or_harm,
    rates,
    scalar_paths,
    spectra,
    time_to_generalise,
)
from matchlib.presets import PRESETS, Preset, RunSpec
from matchlib.style import VERMILLION

MINI, TINY = PRESETS["mini"], PRESETS["tiny"]
STEPS = list(range(0, 1001, 100))
pytestmark = pytest.mark.usefixtures("one_thread")


def made(
    noise="none", start=1.0, lr=4e-3, d_head=4, split="any", seed=100, at=500, end=0.99, steps=STEPS, status="done"
) -> Record:
    """A record whose test accuracy is 0.3 before step `at`, and `end` from there; None: never."""
    tests = [0.3 if at is None or step < at else end for step in steps]
    columns = {"step": list(steps), "loss": [1.0] * len(steps)}
    columns |= {name: tests for name in ("fit", "train", "test", "ood")}
    columns |= {name: [[0.9, t] for t in tests] for name in ("matching", "argmax")}
    if noise != "none":
        columns["alpha"] = [[start + 0.001 * step, start - 0.0005 * step] for step in steps]
        columns["beta"] = [[start, start + 0.0002 * step * (seed - 99), start] for step in steps]
    model = replace(MINI.model, noise=noise, alpha=start, beta=start, d_head=d_head)
    train = replace(MINI.train, steps=1000, lr=lr, split=split)
    return Record(f"{noise}{seed}", MINI.task, model, train, seed, columns, status, "", {}, {})


def seeds(*at: int | None, **rest) -> list[Record]:
    return [made(seed=100 + i, at=step, **rest) for i, step in enumerate(at)]


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def lines(ax, label: str) -> list:
    return [line for line in ax.lines if line.get_label() == label]


NONE = seeds(700, 900, None, None, 500)
HELPED = seeds(300, 300, 400, None, 200, noise="orthogonal")
HARMED = seeds(None, None, None, None, 900, noise="identity")
GROUPS = {"no rule, d_head 4": {"none": NONE, "identity, start 1": HARMED, "orthogonal, start 1": HELPED}}


# Runs, sorted and compared


def test_records_are_sorted_into_conditions_and_arms_and_failed_runs_stay():
    records = [*HELPED, made("gaussian", 0.3), *NONE, made(split="train", d_head=32), made(seed=7, status="failed")]
    found = arms(records)
    assert list(found) == ["no rule, d_head 4", "residue rule, d_head 32"]
    assert list(found["no rule, d_head 4"]) == ["none", "gaussian, start 0.3", "orthogonal, start 1"]
    assert [r.seed for r in found["no rule, d_head 4"]["none"]] == [7, 100, 101, 102, 103, 104]
    apart = replace(HELPED[0], model=replace(HELPED[0].model, beta=0.3))
    assert arm_of(apart) == "orthogonal, alpha 1, beta 0.3"


def test_the_best_rate_has_the_most_successes_then_the_fewest_steps_then_the_best_end():
    often = seeds(900, 900, lr=1e-3)
    once = seeds(100, None, lr=2e-3)
    sooner = seeds(800, 900, lr=8e-3)
    assert best_rate(often + once) == 1e-3
    assert best_rate(often + once + sooner) == 8e-3
    assert best_rate(seeds(500, lr=1e-3, end=0.5) + seeds(500, lr=2e-3, end=0.6) + seeds(None, lr=4e-3)) == 2e-3
    broken = replace(made(lr=2e-3), columns={name: [] for name in made().columns}, status="failed")
    assert best_rate([broken, made(lr=1e-3, at=None)]) == 1e-3
    with pytest.raises(ValueError, match="Without a record"):
        best_rate([])


def test_against_none_is_the_superiority_of_each_arm():
    found = against_none(GROUPS)["no rule, d_head 4"]
    assert list(found) == ["identity, start 1", "orthogonal, start 1"]
    assert found["orthogonal, start 1"] == superiority([300, 300, 400, inf, 200], [700, 900, inf, inf, 500]) == 21 / 25
    assert found["identity, start 1"] == superiority([inf] * 4 + [900], [700, 900, inf, inf, 500])
    with pytest.raises(ValueError, match="'there' has no arm 'none' to compare with: add"):
        against_none({"there": {"orthogonal, start 1": HELPED}})


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_what_chance_calls_better_or_worse_is_counted_over_every_order(n):
    orders = list(permutations(range(2 * n)))
    called = [zone(superiority(order[:n], order[n:])) != "unclear" for order in orders]
    assert by_chance(n) == pytest.approx(sum(called) / len(orders))


def test_five_against_five_are_called_in_38_of_252_orders():
    assert by_chance(5) == pytest.approx(38 / 252)


@pytest.mark.parametrize(("share", "called"), [(0.8, "better"), (0.79, "unclear"), (0.21, "unclear"), (0.2, "worse")])
def test_zones_hold_their_edges(share, called):
    assert zone(share) == called


def test_the_steps_are_those_that_all_seeds_measured_and_failed_runs_are_left_out():
    short = made(seed=1, at=300, steps=(0, 200, 400))
    steps, least, middle, most = over_seeds("x", [*NONE, short, made(seed=2, at=0, status="failed")], "test")
    assert steps.tolist() == [0, 200, 400]
    assert least.tolist() == middle.tolist() == [0.3] * 3 and most.tolist() == [0.3, 0.3, 0.99]
    for broken in ([made(status="failed")], [made(steps=(0, 100)), made(steps=(50,))], []):
        with pytest.raises(ValueError, match="'x' has no run that ended, or its runs no step in common"):
            over_seeds("x", broken, "test")


# Curves


def test_a_curve_is_the_median_of_the_seeds_and_its_band_goes_from_least_to_most():
    figure = drawn(curves_with_bands({"none": NONE, "orthogonal": HELPED}, baselines={"guesser": 0.25}))
    ax = figure.axes[0]
    for label, records in (("none", NONE), ("orthogonal", HELPED)):
        values = np.array([r.columns["test"] for r in records])
        (line,) = lines(ax, f"{label} (n = 5)")
        assert line.get_xdata().tolist() == STEPS and line.get_ydata().tolist() == np.median(values, axis=0).tolist()
        edges = [edge.get_ydata().tolist() for edge in lines(ax, f"_edge {label}")]
        assert edges == [values.min(axis=0).tolist(), values.max(axis=0).tolist()]
        (band,) = [c for c in ax.collections if c.get_label() == f"_band {label}"]
        corners = band.get_paths()[0].vertices
        for i, step in enumerate(STEPS):
            at = corners[corners[:, 0] == step][:, 1]
            assert (at.min(), at.max()) == (values[:, i].min(), values[:, i].max())
    curves = [line for line in ax.lines if "(n" in line.get_label()]
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in curves]
    assert all(a != b for a, b in zip(*looks)), "no meaning by colour alone"
    assert "guesser 0.25" in [t.get_text() for t in ax.texts]


def test_the_title_never_rounds_up_an_accuracy_nor_down_a_loss():
    nearly = curves_with_bands({"none": [made(end=0.9996)]})
    assert title(nearly) == "Median test accuracy at the end: 0.999 (none)"
    assert title(curves_with_bands({"none": [made(end=0.29)]})).endswith("0.290 (none)")
    lossy = replace(made(), columns=made().columns | {"loss": [2.0] * 10 + [0.0101]})
    assert title(curves_with_bands({"none": [lossy]}, "loss")) == "Median loss at the end: 0.011 (none)"
    assert title(curves_with_bands({"none": [made()]}, title="Mine")) == "Mine"


def test_a_score_is_that_of_the_weaker_layer_and_failed_runs_are_counted():
    ax = drawn(curves_with_bands({"none": [made(), made(seed=2, status="failed")]}, "argmax")).axes[0]
    (line,) = lines(ax, "none (n = 1, 1 failed)")
    assert line.get_ydata().tolist() == [0.3] * 5 + [0.9] * 6


@pytest.mark.parametrize(
    ("groups", "column", "says"),
    [
        ({}, "test", "There are 0 curves: give 1 to 5"),
        ({str(i): NONE for i in range(6)}, "test", "There are 6 curves"),
        ({"none": NONE}, "alpha", "use scalar_paths"),
        ({"none": NONE}, "tset", "column='tset' is not kept: choose one of"),
        ({"none": []}, "test", "'none' has no run"),
    ],
)
def test_what_is_no_curve_is_said(groups, column, says):
    with pytest.raises(ValueError, match=says):
        curves_with_bands(groups, column)


# Steps


def test_each_seed_is_a_dot_at_its_steps_or_an_open_triangle_at_the_end():
    (ax,) = drawn(time_to_generalise(GROUPS)).axes
    assert [t.get_text() for t in ax.get_yticklabels()] == list(GROUPS["no rule, d_head 4"])
    there, never, ticks = (lines(ax, name) for name in ("_there", "_never", "_median"))
    assert [sorted(line.get_xdata()) for line in there] == [[500, 700, 900], [900], [200, 300, 300, 400]]
    assert [list(line.get_xdata()) for line in never] == [[1000] * 2, [1000] * 4, [1000]]
    assert {line.get_marker() for line in never} == {">"} and {line.get_mfc() for line in never} == {"white"}
    for row, dots in enumerate(zip(there, never)):
        y = [value for line in dots for value in line.get_ydata()]
        assert len(set(y)) == 5 and max(abs(value - row) for value in y) < 0.5, "seeds at one step all show"
    # Of `identity` one of five gets there: its median is no step.
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in ticks] == [([900], [0]), ([300], [2])]
    assert [t.get_text() for t in ax.texts] == ["3/5", "1/5", "4/5", "reach it"]
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] < 200 and ax.get_xlim()[1] > 1000
    assert ax.get_title(loc="left").endswith("first: orthogonal, start 1, median 300")


def test_the_title_counts_who_generalises_and_in_how_many_conditions_an_arm_is_first():
    assert title(time_to_generalise(GROUPS)) == "8 of 15 runs generalise. Fewest median steps: orthogonal, start 1"
    more = GROUPS | {"nobody": {"none": seeds(None, None)}, "both": {"none": [made()], "identity, start 1": [made()]}}
    figure = drawn(time_to_generalise(more))
    assert title(figure) == (
        "10 of 19 runs generalise. Fewest median steps: orthogonal, start 1 in 1; no arm in 1; 2 arms at once in 1 "
        "of 3 conditions"
    )
    assert [t.get_text() for t in figure.axes[1].texts] == ["0/2", "no runs", "no runs", "reach it"]


@pytest.mark.parametrize("groups", [{}, {"a": {}}, {"a": {"none": []}}])
def test_a_condition_without_runs_is_said(groups):
    for draw in (time_to_generalise, against_none):
        with pytest.raises(ValueError, match="A condition or an arm is empty: give"):
            draw(groups)


# Help or harm


def test_an_arm_is_a_mark_at_its_share_whose_form_says_better_or_worse():
    shares = {"one": {"a": 0.8, "b": 0.5, "c": 0.0}, "two": {"b": 0.799, "c": 0.201, "d": 1.0}}
    figure = drawn(help_or_harm(shares, 5))
    assert title(figure) == "Against no noise: better in 2 of 6 comparisons, worse in 1"
    marks = {}
    for ax, name in zip(figure.axes, shares):
        rows = [t.get_text() for t in ax.get_yticklabels()] or ["a", "b", "c", "d"]
        assert rows == ["a", "b", "c", "d"]
        for arm, share in shares[name].items():
            (line,) = lines(ax, f"_{arm}")
            assert (line.get_xdata()[0], line.get_ydata()[0]) == (share, rows.index(arm))
            marks[name, arm] = line.get_marker()
    assert [arm for arm, mark in marks.items() if mark == ">"] == [("one", "a"), ("two", "d")]
    assert [arm for arm, mark in marks.items() if mark == "<"] == [("one", "c")]
    assert [t.get_text() for t in figure.axes[1].texts][:3] == ["0.79", "0.21", "1.00"], "numbers lean to one half"
    assert {"better", "worse"} <= {t.get_text() for t in figure.axes[0].texts}
    assert "5 seeds against 5" in figure.get_supxlabel() and "about 15 of 100" in figure.get_supxlabel()


@pytest.mark.parametrize(("shares", "n"), [({}, 5), ({"a": {}}, 5), ({"a": {"b": 1.1}}, 5), ({"a": {"b": 0.5}}, 0)])
def test_what_cannot_be_compared_is_said(shares, n):
    with pytest.raises(ValueError, match="do not fit: give shares in 0..1, and n of at least 1"):
        help_or_harm(shares, n)


# Learning rates


def sweep() -> list[Record]:
    found = [r for lr, at in ((1e-3, (None, None)), (2e-3, (500, None)), (4e-3, (300, 700))) for r in seeds(*at, lr=lr)]
    return found + [r for lr in (1e-3, 2e-3, 4e-3) for r in seeds(900, 900, lr=lr, noise="gaussian", start=0.3)]


def test_a_line_is_the_median_at_each_rate_and_a_ring_marks_the_chosen_one():
    (ax,) = drawn(rates(sweep())).axes
    (none,), (noisy,) = lines(ax, "none"), lines(ax, "start 0.3")
    assert list(none.get_xdata()) == list(noisy.get_xdata()) == [1e-3, 2e-3, 4e-3]
    assert list(none.get_ydata()) == pytest.approx([0.3, 0.645, 0.99]) and list(noisy.get_ydata()) == [0.99] * 3
    dots = sorted(zip(*lines(ax, "_seeds none")[0].get_data()))
    assert dots == [(1e-3, 0.3), (1e-3, 0.3), (2e-3, 0.3), (2e-3, 0.99), (4e-3, 0.99), (4e-3, 0.99)]
    (ring,), (other,) = lines(ax, "_chosen none"), lines(ax, "_chosen start 0.3")
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (4e-3, 0.99) and other.get_xdata()[0] == 1e-3
    assert ax.get_xscale() == "log" and [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "4"]
    assert same_color(ring.get_markerfacecolor(), "none")


def test_the_title_says_how_many_chosen_rates_stand_at_the_edge_and_another_rule_may_choose():
    words = "The chosen learning rates lie between {}; {} of 2 stand at the edge of what was tried"
    assert title(rates(sweep())) == words.format("0.001 and 0.004", 2)
    assert title(rates(sweep(), best=lambda records: 2e-3)) == words.format("0.002 and 0.002", 0)
    assert "2 a rate" in rates(sweep()).legends[0].get_title().get_text()


def test_a_condition_is_a_row_and_a_noise_a_column():
    more = sweep() + [r for lr in (1e-3, 2e-3) for r in seeds(900, lr=lr, noise="identity", split="train")]
    figure = drawn(rates(more))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["identity", "gaussian", "", ""]
    assert [bool(lines(ax, "start 0.3")) for ax in figure.axes] == [False, True, False, False]
    assert [bool(lines(ax, "start 1")) for ax in figure.axes] == [False, False, True, False]
    assert figure.axes[2].get_ylabel().startswith("residue rule\nd_head 4")


def test_records_that_hold_no_choice_of_a_rate_are_said():
    with pytest.raises(ValueError, match="There are 1 learning rates here: give the records of a sweep over train.lr"):
        rates(NONE)
    with pytest.raises(ValueError, match="measure='generalised' is no share: choose one of test, "):
        rates(sweep(), "generalised")
    many = [made("identity", start, lr=lr) for start in (0, 1, 2, 3, 4, 5) for lr in (1e-3, 2e-3)]
    with pytest.raises(ValueError, match="There are 6 starts"):
        rates(many)


# Scalars and spectra


def test_scalars_of_each_layer_are_drawn_from_their_start():
    figure = drawn(scalar_paths({"orthogonal": seeds(1, 1, 1, noise="orthogonal", start=0.3)}))
    alpha, beta = figure.axes
    assert alpha.get_title(loc="left") == "orthogonal: alpha (n = 3)" and beta.get_ylabel() == "beta"
    assert not lines(alpha, "layer 0"), "layer 0 has no alpha"
    ends = [lines(alpha, f"layer {k}")[0].get_ydata()[-1] for k in (1, 2)]
    ends += [lines(beta, f"layer {k}")[0].get_ydata()[-1] for k in (0, 1, 2)]
    assert ends == pytest.approx([1.3, -0.2, 0.3, 0.7, 0.3])  # the seed in the middle
    (band,) = [c for c in beta.collections if c.get_label() == "_band 1"]
    last = band.get_paths()[0].vertices
    last = last[last[:, 0] == 1000][:, 1]
    assert (last.min(), last.max()) == pytest.approx((0.5, 0.9))
    for ax in figure.axes:
        (mark,) = lines(ax, "start")
        assert (mark.get_xdata()[0], mark.get_ydata()[0]) == (0, 0.3)
        assert set(lines(ax, "_zero")[0].get_ydata()) == {0} and set(lines(ax, "_start")[0].get_ydata()) == {0.3}
    assert title(figure) == "The median ends farther from zero than it starts in 1 of 2 alphas and 1 of 3 betas"


def test_a_real_record_has_scalars_of_every_layer():
    model = replace(TINY.model, noise="gaussian", alpha=0.5, beta=0.25)
    record = train_one(RunSpec(Preset(TINY.task, model, replace(TINY.train, steps=20))))
    alpha, beta = drawn(scalar_paths({"gaussian": [record]})).axes
    assert lines(alpha, "layer 2")[0].get_ydata().tolist() == [row[1] for row in record.columns["alpha"]]
    assert lines(beta, "layer 0")[0].get_ydata().tolist() == [row[0] for row in record.columns["beta"]]
    assert lines(alpha, "start")[0].get_ydata()[0] == 0.5 and lines(beta, "start")[0].get_ydata()[0] == 0.25


@pytest.mark.parametrize("groups", [{}, {"none": NONE}])
def test_runs_without_noise_have_no_scalars_to_draw(groups):
    with pytest.raises(ValueError, match="Runs without noise have no alpha and beta"):
        scalar_paths(groups)


def model_of(noise: str, generator: torch.Generator, **rest) -> Transformer:
    return Transformer(replace(MINI.model, noise=noise, d_head=4, **rest), generator=generator)


def test_without_noise_w_qk_has_d_head_singular_values_and_with_it_d_model(generator):
    models = {"plain": model_of("none", generator), "noisy": model_of("orthogonal", generator)}
    figure = drawn(spectra(models))
    plain, noisy = figure.axes
    assert not lines(plain, "with noise") and len(lines(plain, "without noise")[0].get_ydata()) == 4
    (line,) = lines(noisy, "with noise")
    expected = torch.linalg.svdvals(models["noisy"].w_qk(1).detach())
    assert list(line.get_ydata()) == pytest.approx(expected.tolist(), rel=1e-4) and len(line.get_ydata()) == 32
    learned = models["noisy"].blocks[1].w_q @ models["noisy"].blocks[1].w_k.T
    without = lines(noisy, "without noise")[0]
    assert list(without.get_ydata()) == pytest.approx(torch.linalg.svdvals(learned.detach())[:4].tolist(), rel=1e-4)
    assert same_color(without.get_color(), VERMILLION) and noisy.get_yscale() == "log"
    assert title(figure) == "W_qk(1) has 4 singular values above zero without its noise, 32 with it, of 32"


def test_noise_that_starts_at_zero_adds_no_singular_value(generator):
    figure = spectra({"orthogonal": model_of("orthogonal", generator, alpha=0.0)}, layer=2)
    assert title(figure) == "W_qk(2) has 4 singular values above zero without its noise, 4 with it, of 32"


def test_spectra_of_nothing_or_of_a_layer_that_is_not_there_are_said(generator):
    with pytest.raises(ValueError, match="There is no model to draw"):
        spectra({})
    with pytest.raises(IndexError, match="layer 3 does not exist"):
        spectra({"plain": model_of("none", generator)}, layer=3)
