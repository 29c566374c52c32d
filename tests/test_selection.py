"""The choice of `small`: the rule that picks, and the record that it was applied to."""

import json
from dataclasses import replace
from statistics import median

import pytest

from matchlib import selection
from matchlib.evidence import Count
from matchlib.grids import GAMMAS, GRIDS, LEARNING_RATES
from matchlib.presets import PRESETS
from matchlib.record import Evaluation, Run
from matchlib.runs import RUNS, SHIPPED
from matchlib.selection import FRESH_SEEDS, SEEDS, chosen, fresh, winner
from matchlib.sweep import Record, load, matched, run_grid


def evaluation(step, test, argmax):
    return Evaluation(step, 0.1, 1.0, 1.0, test, 0.5, (0.1, 0.1), argmax)


def record(cell, seed, at=None):
    """A run of a cell of the grid (learning rate, gamma) that succeeds at a step, or never."""
    lr, gamma = cell
    history = [evaluation(s, *((1.0, (1.0, 1.0)) if at and s >= at else (0.5, (0.2, 0.2)))) for s in (50, 100, 150)]
    small = PRESETS["small"]
    return Record.of(small.task, replace(small.model, gamma=gamma), replace(small.train, lr=lr), seed, history, {})


@pytest.mark.parametrize(
    ("test", "argmax", "hit"),
    [(0.99, (0.95, 0.95), True), (0.98, (1.0, 1.0), False), (1.0, (0.94, 1.0), False), (1.0, (1.0, 0.9), False)],
)
def test_success_needs_the_accuracy_and_every_layer(test, argmax, hit):
    assert matched([evaluation(0, 0.0, (0.0, 0.0)), evaluation(50, test, argmax)]) == (50 if hit else None)


def test_the_winner_succeeds_most_often_and_then_soonest():
    cells = [(lr, g) for lr in LEARNING_RATES for g in GAMMAS]
    slow, fast, lucky = cells[:3]
    records = [record(slow, s, at=150) for s in SEEDS] + [record(fast, s, at=100) for s in SEEDS]
    records += [record(lucky, SEEDS[0], at=50)] + [record(lucky, s) for s in list(SEEDS)[1:]]
    assert winner(records) == fast


def test_seeds_kept_for_the_report_have_no_say():
    cells = [(lr, g) for lr in LEARNING_RATES for g in GAMMAS]
    records = [record(cells[0], s, at=100) for s in SEEDS] + [record(cells[1], s, at=50) for s in FRESH_SEEDS]
    assert winner(records) == cells[0]
    assert not set(SEEDS) & set(FRESH_SEEDS)


def test_small_is_the_winner_of_the_record():
    small = PRESETS["small"]
    assert sorted(r.key for r in chosen()) == sorted(spec.name for spec in GRIDS["selection"].specs())
    assert winner(chosen()) == (small.train.lr, small.model.gamma)


def test_small_holds_on_nine_of_ten_fresh_seeds():
    assert [r.key for r in sorted(fresh(), key=lambda r: r.seed)] == [spec.name for spec in GRIDS["fresh"].specs()]
    assert sum(r.matched is not None for r in fresh()) >= 9


def test_the_readme_says_how_long_small_takes():
    (row,) = json.loads((SHIPPED / "bench.json").read_text())["matching"]["rows"]
    text = " ".join((SHIPPED.parent.parent / "README.md").read_text().split())
    assert (
        f"success on {row['note'].split(' seeds')[0]} fresh seeds, at a median of {row['ours'][0]:.0f} seconds" in text
    )


@pytest.mark.parametrize("path", [selection.RECORD, selection.FRESH_RECORD], ids=lambda path: path.stem)
def test_a_complete_record_is_left_as_it_is(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())

    def engine(specs):
        yield from (pytest.fail(f"{spec.name} was started") for spec in specs)

    kept = run_grid(GRIDS[path.stem], tmp_path, engine, resume=True, progress=False)
    assert sorted(r.key for r in kept) == sorted(r.key for r in load(path))
    assert copy.read_bytes() == path.read_bytes()


def test_the_readme_says_how_often_small_succeeds_on_a_hundred_seeds():
    small = PRESETS["small"]
    records = load(SHIPPED / "seeds.jsonl")
    assert sorted(r.seed for r in records) == list(GRIDS["seeds"].seeds) and len(records) == 100
    assert {(r.task, r.model, r.train) for r in records} == {(small.task, small.model, small.train)}
    steps = [r.matched for r in records if r.matched is not None]
    low, high = Count(len(steps), len(records)).interval
    text = " ".join((SHIPPED.parent.parent / "README.md").read_text().split())
    assert f"{len(steps)} of {len(records)} further seeds succeed (95 % interval {low:.2f} to {high:.2f})" in text
    assert f"between steps {min(steps):,} and {max(steps):,}, at a median of {median(steps):,.0f}" in text
    good = [r.history for r in records if r.matched is not None]
    earlier = sum(first(h, lambda e: e.argmax[1]) < first(h, lambda e: e.argmax[0]) for h in good)
    assert f"and in {earlier} of the {len(good)} further ones layer 2 matches *before* layer 1" in text
    assert all(first(h, lambda e: e.argmax[1]) <= first(h, lambda e: e.argmax[0]) for h in good)


def first(history, value):
    return next((e.step for e in history if value(e) >= 0.5), None)


def test_the_scorecard_says_what_the_records_say():
    """Every number of the README's scorecard, counted again."""
    tenfold = {r.seed: r.history for r in fresh()}
    named = {name: Run.load(SHIPPED / name) for name in RUNS}
    kept = {run.seed: run.history for name, run in named.items() if name.startswith("post_g07")}
    every = kept | tenfold
    good = {seed: history for seed, history in every.items() if matched(history)}
    hits = [matched(history) for history in tenfold.values() if matched(history)]
    text = " ".join((SHIPPED.parent.parent / "README.md").read_text().split())
    assert f"{len(good)} of {len(every)} seeds succeed ({len(hits)} of {len(FRESH_SEEDS)} that took no part" in text
    assert f"at a median of {median(hits):.0f} steps" in text
    for history in (every[seed] for seed in every.keys() - good.keys()):
        assert history[-1].test < 0.5 and history[-1].argmax[0] < 0.1 and history[-1].argmax[1] > 0.85
    assert len(every) - len(good) == 1 and "the other matches in layer 2 only, and does not answer" in text
    own = f"{sum(bool(matched(h)) for h in kept.values())} of {len(kept)}"
    for label, group in (("gamma 0.3: ", "post_g03"), ("pre-LN: ", "pre_g07")):
        found = [bool(matched(run.history)) for name, run in named.items() if name.startswith(group)]
        other = "gamma 0.7" if group == "post_g03" else "post-LN"
        assert f"{label}{sum(found)} of {len(found)} seeds succeed, {other}: {own}" in text
    assert f"In all {len(good)} runs that succeed layer 2 matches *before* layer 1" in text
    for history in good.values():
        assert first(history, lambda e: e.argmax[1]) < first(history, lambda e: e.argmax[0])
