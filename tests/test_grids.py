"""The grids of the lessons: what their constants were chosen by, and that the shipped records are theirs, complete."""

import pytest

from matchlib.arms import arms, best_rate
from matchlib.grids import BEST_RATE, GRIDS, REPORTED, VALIDATION
from matchlib.ledger import load
from matchlib.noise_rates import TUNED_ON
from matchlib.phase_plots import best_rates
from matchlib.runs import SHIPPED
from matchlib.train import seeded

SHIPPED_SWEEPS = (
    "seeds", "tuning", "phase", "longer", "noise_tuning", "noise", "noise_why", "noise_small_tuning", "noise_small",
    "noise_middle_tuning", "noise_middle",
)  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED_SWEEPS)
def test_the_shipped_records_are_those_of_the_grid_and_none_is_missing(name):
    records = load(SHIPPED / f"{name}.jsonl")
    assert sorted(r.key for r in records) == sorted(spec.name for spec in GRIDS[name].specs())
    assert all(r.status == "done" for r in records)


def test_each_layernorm_has_the_learning_rate_that_validation_chose():
    assert BEST_RATE == {place: rate for place, (rate, _) in best_rates(load(SHIPPED / "tuning.jsonl")).items()}


@pytest.mark.parametrize("sweep", TUNED_ON)
def test_each_way_to_add_noise_has_the_learning_rate_that_validation_chose(sweep):
    chosen = {}
    for by_arm in arms(load(SHIPPED / f"{sweep}.jsonl")).values():
        for runs in by_arm.values():
            of = runs[0]
            start = 0.0 if of.model.noise == "none" else of.model.alpha
            chosen[of.train.split, of.model.d_head, of.model.noise, start] = best_rate(runs)
    assert TUNED_ON[sweep].items() <= chosen.items()


def test_no_validation_sequence_is_trained_or_tested_on():
    """Seeds draw their own questions: the validation seeds' are neither trained on nor tested on by the others."""
    task = GRIDS["tuning"].base.task

    def drawn(seed: int, *purpose) -> set[tuple]:
        return {tuple(t) for t in task.sample(500, "test", generator=seeded(seed, *purpose)).tokens.tolist()}

    validation = set.union(*(drawn(seed, "held apart", "test") for seed in VALIDATION))
    reported = set.union(*(drawn(seed, "held apart", "test") for seed in REPORTED))
    assert len(validation) > 900 and len(validation & reported) <= 0.01 * len(reported)
