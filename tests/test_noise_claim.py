"""Claim C4: which start is chosen, and whether the line and the verdict say all that a reader must know."""

from math import inf

import pytest
from claims_work import SEEDS, fill, noisy, write

from matchlib.claims import scorecard
from matchlib.noise_claim import SWEEPS, noise_arms
from matchlib.record import RunError
from matchlib.verdicts import NOT_REPRODUCED, PARTLY, REPRODUCED

FAST, SLOW = 500, 1500


def c4(folder):
    (claim,) = scorecard(folder, "C4")
    return claim


def test_noise_is_judged_by_orthogonal_and_its_rivals_are_told(tmp_path):
    def took(noise, start, split, d_head, seed):
        return {"orthogonal": FAST, "identity": FAST}.get(noise, SLOW) if split == "any" else SLOW

    fill(tmp_path, noise_steps=took)
    claim = c4(tmp_path)
    assert claim.verdict == PARTLY and (claim.scales[0].verdict.better, claim.scales[0].verdict.same) == (2, 2)
    for rival in ("identity, better in 0 of 4", "gaussian, better in 2 of 4"):
        assert f"orthogonal against {rival}" in claim.scales[0].observed
    for rival in ("identity against none, better in 2 of 4", "gaussian against none, better in 0 of 4"):
        assert rival in claim.scales[0].observed


def test_noise_has_a_verdict_at_each_size(tmp_path):
    fill(tmp_path)
    write(tmp_path, "noise_small.jsonl", noisy(lambda *_: FAST))
    scales = c4(tmp_path).scales
    assert [scale.name for scale in scales] == [*SWEEPS, "paper"]
    assert {s.name: s.verdict.word for s in scales[:-1]} == {size: REPRODUCED for size in SWEEPS} | {
        "small": NOT_REPRODUCED
    }


def test_validation_seeds_choose_where_noise_starts_whatever_the_reported_ones_say(tmp_path):
    def tuned(noise, start, *_):
        return {0.0: SLOW, 1.0: FAST}[start]

    def reported(noise, start, *_):
        return {0.0: FAST, 1.0: SLOW}[start]

    fill(tmp_path, noise_steps=reported, tuning_steps=tuned)
    kept = noise_arms(tmp_path)
    assert {(r.model.noise, r.model.alpha) for r in kept} == {
        (noise, 1.0) for noise in ("none", "identity", "gaussian", "orthogonal")
    }
    assert len(kept) == 4 * 4 * len(SEEDS) and c4(tmp_path).verdict == NOT_REPRODUCED


def test_the_line_says_from_which_start(tmp_path):
    """From 0 runs do as those without noise, from 1 they never generalise: the line must not hide which was chosen."""

    def took(noise, start, *_):
        return SLOW if noise == "none" or start == 0 else inf

    fill(tmp_path, noise_steps=took)
    claim = c4(tmp_path)
    for scale in claim.scales[: len(SWEEPS)]:
        assert (
            scale.observed.count("start 0: 5 of 5 (median 1,500") == 4 == scale.observed.count(", no difference;") + 1
        )
        assert [one.setting["noise.start"] for one in scale.judged] == [0] * 4
    assert claim.qualified == ""


def one_at_the_limit(start):
    """Steps with which orthogonal noise wins 20 of 25 pairs where heads are wide and no rule holds, from this start."""

    def took(noise, alpha, split, d_head, seed):
        if noise != "orthogonal":
            return 1000
        if (split, d_head) == ("any", 32):
            return (500 if seed < 104 else 1500) if alpha == start else 1000
        return FAST if d_head == 4 and alpha == start else 1000

    return took


def test_a_verdict_that_hangs_on_one_comparison_says_so(tmp_path):
    took = one_at_the_limit(0.0)
    fill(tmp_path, noise_steps=took)
    claim = c4(tmp_path)
    assert claim.verdict == REPRODUCED and "exactly 20 of 25 pairs" in claim.qualified
    assert claim.qualified.endswith("(d_head 32, split any, start 0)")
    (folder := tmp_path / "more").mkdir()
    fill(folder, noise_steps=lambda *x: FAST if took(*x) == 1500 else took(*x))
    assert c4(folder).verdict == REPRODUCED and c4(folder).qualified == ""


def test_a_start_that_was_added_later_is_left_out_for_the_first_word(tmp_path):
    took = one_at_the_limit(0.3)
    fill(tmp_path)
    for name, seeds in (("noise.jsonl", SEEDS), ("noise_tuning.jsonl", (10, 11))):
        write(tmp_path, name, noisy(took, seeds, (0.0, 0.3, 1.0)))
    claim = c4(tmp_path)
    assert claim.verdict == REPRODUCED and claim.qualified.endswith(f"run first, {NOT_REPRODUCED}")


def test_a_start_that_was_never_tuned_is_refused(tmp_path):
    fill(tmp_path)
    write(tmp_path, "noise_tuning.jsonl", [r for r in noisy(lambda *_: FAST, (10,)) if r.model.noise != "gaussian"])
    with pytest.raises(RunError, match="holds no run of .*gaussian.*noise_tuning --folder course/runs --pack --resume"):
        c4(tmp_path)
