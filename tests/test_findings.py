"""The record of the experiments: complete, repeatable, and what the README's scorecard says of it."""

import json
from math import ceil, floor

import pytest
import torch

from matchlib import findings
from matchlib.causes import Setting, investigate
from matchlib.claims import NEIGHBOUR, STEERING
from matchlib.evidence import SUPPORTED, Count, Finding
from matchlib.experiments import EXPERIMENTS
from matchlib.findings import HELD_OUT, SEEDS, load, shipped
from matchlib.record import provenance
from matchlib.runs import SHIPPED
from matchlib.train import seeded

FAILING = "post_g07_s4"
GOOD = [name for name in SEEDS if name != FAILING]
HELD = [f"held out {seed}" for seed in HELD_OUT]
FALLBACK = (
    "no answer read", "answer from the runner-up", "middle from the runner-up", "second predecessors, layer 0 alone",
)  # fmt: skip
README = " ".join((SHIPPED.parent.parent / "README.md").read_text().split())


def of(experiments, models):
    return [load()[experiment][model] for experiment in experiments for model in models]


def both_splits(names):
    return [f"{name}, {split}" for name in names for split in ("any", "test")]


def least(found):
    """Never rounded up."""
    return f"{floor(min(f.found.rate for f in found) * 100) / 100:.2f}"


def most(rates):
    """Never rounded down."""
    return f"{ceil(max(rates) * 100) / 100:.2f}"


def test_bounds_are_never_rounded_the_flattering_way():
    n = Count(0, 1000)
    assert least([Finding("", "", "", "", n, Count(979, 1000))]) == "0.97"
    assert most([0.191, 0.02]) == "0.20" and most([0.19]) == "0.19"


def test_the_record_begins_with_where_it_was_made():
    first, *rest = map(json.loads, findings.RECORD.read_text().splitlines())
    assert set(first) == {"provenance"} and set(first["provenance"]) == set(provenance(torch.device("cpu"), 0.0))
    assert first["provenance"]["seconds"] > 60
    assert len(rest) == sum(map(len, load().values())) and all("provenance" not in line for line in rest)


def test_every_experiment_was_put_to_every_model():
    models = {*both_splits(SEEDS), "untrained", "memoriser", "by hand", *HELD}
    assert {name for name, *_ in shipped()} | set(HELD) == models and len(SEEDS) == 7 and len(HELD) == 10
    assert set(load()) == set(EXPERIMENTS)
    for name, found in load().items():
        assert set(found) == models
        for one in found.values():
            assert (one.hypothesis, one.prediction) == (EXPERIMENTS[name].hypothesis, EXPERIMENTS[name].prediction)
            assert 0 < one.found.n <= findings.N


@pytest.mark.parametrize("name", ["middle by the weights", "no answer read", "second predecessors exchanged"])
def test_the_record_can_be_repeated(name):
    """Other processors round otherwise: a question in a hundred may fall differently."""
    for model, net, batch, reference in shipped():
        if model in ("post_g07_s1, test", "memoriser"):
            generator = seeded(0, "findings", model, name)
            again = investigate(EXPERIMENTS[name], Setting(net, batch, reference, generator), model)
            kept = load()[name][model]
            assert again.found.n == kept.found.n and again.found.rate == pytest.approx(kept.found.rate, abs=0.01)


def test_the_readme_says_what_was_steered():
    good = of(STEERING, both_splits(GOOD))
    assert f"in each of the {len(GOOD)} seeds that answer, {len(STEERING)} interventions send the answer" in README
    assert f"predicts in at least {least(good)} of 1,000 questions" in README
    controls = [c.rate for f in good for name, c in f.controls.items() if name != NEIGHBOUR]
    assert f"their controls in at most {most(controls)}, but for a neighbouring layer's matrix" in README
    near = [f.controls[NEIGHBOUR].rate for f in of(["middle by the weights"], both_splits(GOOD))]
    assert f"which steers {most(near)} at most" in README
    ignorant = [f.found.rate for f in of(STEERING, ["untrained", "memoriser"])]
    assert f"an untrained and a memorising model in at most {most(ignorant)}" in README
    failing = [f.found.rate for f in of(STEERING, both_splits([FAILING]))]
    assert f"the seed that does not answer in at most {most(failing)}" in README
    assert all(f.verdict == SUPPORTED for f in good)


def test_the_readme_says_what_held_on_held_out_seeds():
    answers = [name for name in HELD if load()["only the circuit"][name].before.rate >= 0.99]
    assert f"{len(answers)} of {len(HELD)} held-out seeds answer" in README
    found = of((*STEERING, "only the circuit"), answers)
    assert f"in each of these all {len(STEERING)} do so in at least {least(found)}" in README


def test_the_readme_says_what_the_cuts_did():
    told, amended = (of([name], both_splits(GOOD)) for name in ("the circuit as told", "only the circuit"))
    assert f"cutting all attention but the circuit as told leaves at least {least(told)} right" in README
    assert f"and {least(amended)} with it" in README
    again = [f.found.rate for f in of(["no second pair"], [f"{name}, any" for name in GOOD])]
    assert f"in {sum(rate > 0.5 for rate in again)} of them layer 1 pairs a second time" in README
    assert all(rate > 0.5 or rate < 0.25 for rate in again), "neither one nor the other: say so in the README"


def test_the_readme_says_what_came_true_only_in_part():
    low = least(of(FALLBACK, both_splits(GOOD)))
    assert f"{len(FALLBACK)} further predictions of a token come true in {low} to" in README
    named = {name for name in EXPERIMENTS if name in STEERING or name in FALLBACK}
    assert len(named) == len(STEERING) + len(FALLBACK)
