"""The scorecard: verdicts on records made for the purpose, missing records, and the table in the README."""

import json
from math import inf

import pytest
from claims_work import SEEDS, fill, made, phase, write

from matchlib import again, claims
from matchlib.claims import CLAIMS, SMALLER, as_json, brief, markdown, scorecard, text
from matchlib.record import RunError
from matchlib.runs import SHIPPED
from matchlib.shelf import records
from matchlib.verdicts import (
    NOT_JUDGED,
    NOT_MEASURED,
    NOT_REPRODUCED,
    PAPER,
    PARTLY,
    REPRODUCED,
    REVERSED,
    Claim,
    Scale,
    Verdict,
)

FAST, SLOW = 500, 1500


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("records"))


def c(folder, only):
    (claim,) = scorecard(folder, only)
    return claim


GAMMAS = {  # who generalises sooner than at gamma 0.5, and what that comes to
    REPRODUCED: lambda ln, gamma, seed: FAST if gamma > 0.6 else SLOW,
    PARTLY: lambda ln, gamma, seed: FAST if gamma == 0.7 else SLOW,
    NOT_REPRODUCED: lambda ln, gamma, seed: SLOW,
    REVERSED: lambda ln, gamma, seed: SLOW if gamma > 0.6 else FAST,
    NOT_MEASURED: lambda ln, gamma, seed: inf,
}


@pytest.mark.parametrize("word", GAMMAS)
def test_small_start_by_the_rule(word, folder, tmp_path):
    fill(tmp_path, GAMMAS[word])
    claim = c(tmp_path, "C2")
    assert claim.verdict == claim.scales[1].verdict.word == word
    assert len(claim.scales[0].judged) == 2 * len(SMALLER) and all(one.a.n == 5 for one in claim.scales[0].judged)


@pytest.mark.parametrize(
    ("pre", "post", "word"), [(SLOW, FAST, REPRODUCED), (FAST, SLOW, REVERSED), (FAST, FAST, NOT_REPRODUCED)]
)
def test_layernorm_by_the_rule_though_learning_rates_differ(pre, post, word, tmp_path):
    fill(tmp_path, lambda ln, gamma, seed: post if ln == "post" else pre)
    claim = c(tmp_path, "C3")
    assert claim.verdict == word and claim.scales[0].verdict.n == 6
    assert f"post-LN: 30 of 30 (median {post:,}" in claim.scales[0].observed


def test_a_longer_training_has_a_verdict_of_its_own(tmp_path):
    fill(tmp_path)
    write(tmp_path, "longer.jsonl", phase(lambda ln, gamma, seed: FAST))
    assert [scale.verdict.word for scale in c(tmp_path, "C2").scales] == [
        REPRODUCED, NOT_REPRODUCED, NOT_JUDGED, NOT_MEASURED,
    ]  # fmt: skip


def test_the_mechanism_is_judged_by_weights_and_causes(folder):
    claim = c(folder, "C1")
    assert claim.verdict == REPRODUCED and "second pairing" in claim.qualified
    assert "10 interventions" in claim.scales[0].observed and "93 of 100" in claim.scales[0].observed
    assert claim.scales[1].observed.startswith("Of 20 runs of the phase diagram that solve the test, 20 do so")


def test_runs_that_answer_another_way_count_against_the_mechanism(folder, tmp_path):
    fill(tmp_path)
    other = [made(s, 500, gamma=0.9) for s in SEEDS]
    for record in other[:3]:
        record.probed["middle"] = 0.1
    write(tmp_path, "phase.jsonl", other)
    scale = c(tmp_path, "C1").scales[1]
    assert scale.verdict.word == NOT_REPRODUCED and "solve the test, 2 do so" in scale.observed


def test_small_is_seen_but_not_judged(folder):
    for only, said in (("C2", "gamma 0.3: 0 of 3 seeds succeed, gamma 0.7: 6 of 7"), ("C3", "pre-LN: 0 of 3 seeds")):
        (small,) = [scale for scale in c(folder, only).scales if scale.name == "small"]
        assert small.verdict.word == NOT_JUDGED and said in small.observed


@pytest.mark.parametrize(
    ("only", "name", "command"),
    [
        ("C1", "findings.jsonl", "python -m matchlib.findings"),
        ("C1", "fresh.jsonl", "python -m matchlib.selection"),
        ("C1", "seeds.jsonl", "python -m matchlib sweep seeds --folder course/runs"),
        ("C1", "post_g07.json", "python -m matchlib.runs"),
        ("C2", "phase.jsonl", "python -m matchlib sweep phase --folder course/runs --pack"),
        ("C3", "longer.jsonl", "python -m matchlib sweep longer --folder course/runs --pack"),
        ("C4", "noise.jsonl", "python -m matchlib sweep noise --folder course/runs --pack"),
        ("C4", "noise_tuning.jsonl", "python -m matchlib sweep noise_tuning --folder course/runs --pack"),
        ("C4", "noise_small.jsonl", "python -m matchlib sweep noise_small --folder course/runs --pack"),
    ],
)
def test_a_missing_record_names_what_makes_it(only, name, command, tmp_path):
    fill(tmp_path)
    assert name in c(tmp_path, only).records
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=f"^{name} is missing from .*: make it with '{command}'.$"):
        scorecard(tmp_path, only)


@pytest.mark.parametrize("only", ["C1", "C2", "C3", "C4"])
def test_every_file_that_a_claim_names_is_read(only, folder, tmp_path):
    """`records` is what a reader would check: nothing stands there that has no part in the claim."""
    fill(tmp_path)
    for name in c(folder, only).records:
        (tmp_path / name).rename(tmp_path / "aside")
        with pytest.raises(RunError, match=f"^{name} is missing"):
            scorecard(tmp_path, only)
        (tmp_path / "aside").rename(tmp_path / name)


def test_every_claim_has_an_entry_and_the_last_two_are_judged_by_rings(folder):
    assert list(CLAIMS) == ["C1", "C2", "C3", "C4", "C5", "C6"]
    for only in ("C5", "C6"):
        claim = c(folder, only)
        assert (claim.lesson, claim.records) == ("07", ("scaffold.jsonl", "climbs.jsonl"))
        assert claims.commands(claim) == ["python -m matchlib.scaffold_train", "python -m matchlib.climb"]


def test_an_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="claim='C9' is not known: choose one of C1, C2, C3, C4, C5, C6."):
        scorecard(only="C9")


def test_text_holds_every_claim_number_and_command(folder):
    card = scorecard(folder)
    said = " ".join(text(card).split())
    for claim in card:
        parts = (claim.says, *claims.commands(claim), *(scale.observed for scale in claim.scales))
        assert all(part in said for part in parts)
    assert f"-> {REPRODUCED}, with a second pairing" in said and "paper not run: needs a GPU" in said
    assert max(map(len, text(card).splitlines())) <= 120


def test_json_keeps_all_of_it(folder):
    kept = json.loads(json.dumps(as_json(scorecard(folder)), allow_nan=False))
    assert [claim["id"] for claim in kept] == list(CLAIMS)
    assert {"says", "lesson", "figure", "records", "commands", "scales", "qualified", "verdict"} <= set(kept[1])
    one = kept[1]["scales"][0]
    assert one["verdict"] == REPRODUCED and len(one["comparisons"]) == one["better"] + one["silent"] == 8
    never = next(x for x in one["comparisons"] if x["outcome"] == "silent")
    assert never["a"] == [None] * 5 and set(never["setting"]) >= {"model.gamma", "model.layernorm"}


def test_the_table_has_five_columns_whatever_is_said(folder):
    rows = markdown(scorecard(folder)).splitlines()
    assert all(row.count("|") == 6 for row in rows)
    assert rows[-1] == "| C1, C2, C3, C4 |  |  | *paper*: not run: needs a GPU | not yet measured |"
    assert sum(row.startswith("| C2 |") for row in rows) == 1


def test_the_short_table_says_what_decides_and_what_stands_beside_it():
    few = Claim(
        "C1",
        "It matches",
        "03",
        scales=(Scale("mini", "", Verdict("partly")), Scale("small", "", Verdict("open")), PAPER),
    )
    rest = [Scale(str(n), "", Verdict(word)) for n, word in enumerate(("open", "partly", "open"))]
    many = Claim("C2", "It helps", "05", scales=(Scale("mini", "", Verdict("partly")), *rest), qualified="by luck")
    assert brief([few, many]).splitlines()[2:] == [
        "| C1 | It matches | 03 | partly (*mini*) | open (*small*) |",
        "| C2 | It helps | 05 | partly, by luck (*mini*) | open (2), partly (1) |",
    ]
    assert [row.split(" | ")[0] for row in brief().splitlines()[2:]] == [f"| {name}" for name in CLAIMS]


def test_the_readme_shows_the_scorecard_in_short_and_whole():
    readme = (SHIPPED.parent.parent / "README.md").read_text()
    for name, now in (("in short", brief()), ("scorecard", markdown())):
        _, _, rest = readme.partition(f"<!-- {name} -->\n")
        table, _, _ = rest.partition(f"\n<!-- /{name} -->")
        assert table.strip() == now


def test_a_part_is_three_seeds_a_side_of_the_records(folder):
    parts = again.parts(folder)
    assert [part.claim for part in parts] == ["C1", "C2", "C3", "C4"]
    assert [(len(part.a), len(part.b)) for part in parts] == [(2, 0), (3, 3), (3, 3), (3, 3)]
    keys = {r.key for name in ("phase.jsonl", "noise.jsonl") for r in records(folder, name)}
    asked = again.specs(parts)
    assert {one.name for one in asked} <= keys and len(asked) == len({one.name for one in asked}) == 17
    (mine,) = again.parts(folder, "C3")
    assert {r.train.lr for r in mine.a} == {4e-3} and {r.train.lr for r in mine.b} == {2e-3}
    assert again.parts(folder, "C5") == []


def test_the_noise_is_tried_again_where_the_records_say_most(tmp_path):
    def took(noise, start, split, d_head, seed):
        return FAST if noise == "orthogonal" and (split, d_head) == ("any", 32) else SLOW

    fill(tmp_path, noise_steps=took)
    (part,) = again.parts(tmp_path, "C4")
    assert {(r.train.split, r.model.d_head) for r in (*part.a, *part.b)} == {("any", 32)}


def test_records_without_the_runs_to_compare_are_refused(tmp_path):
    fill(tmp_path)
    write(tmp_path, "phase.jsonl", phase(lambda *_: FAST, n_train=1000))
    for only in ("C1", "C2", "C3"):
        with pytest.raises(RunError, match="complete its sweep with --resume"):
            again.parts(tmp_path, only)


def test_the_same_runs_agree_and_others_do_not(folder, monkeypatch):
    monkeypatch.setattr(again, "_untrained", lambda spec: 0.05)
    parts = again.parts(folder)
    new = {r.key: r for part in parts for r in (*part.a, *part.b)}
    for part in parts:
        answer = again.answer(part, new)
        assert answer.agrees and answer.same_kind == answer.runs == len(part.specs)
    assert "0.05" in again.answer(parts[0], new).said
    never = {r.key: made(r.seed) for r in new.values()}
    for part in parts:
        answer = again.answer(part, never)
        assert not answer.agrees and f"{answer.same_kind} of {answer.runs} runs end in the same kind" in answer.said
        lacking = {key: r for key, r in new.items() if key != part.a[0].key}
        assert again.answer(part, lacking) is None


def test_an_untrained_model_that_patches_steer_as_well_is_no_control(folder, monkeypatch):
    monkeypatch.setattr(again, "_untrained", lambda spec: 1.0)
    (part,) = again.parts(folder, "C1")
    assert not again.answer(part, {r.key: r for r in part.a}).agrees


def test_patches_hardly_steer_an_untrained_model(folder):
    (part,) = again.parts(folder, "C1")
    assert again._untrained(part.specs[0]) < 0.3


def test_runs_come_back_as_they_end_and_a_stop_ends_the_engine(folder):
    ended = []

    def engine(specs):
        try:
            yield from (made(s.seed) for s in specs)
        finally:
            ended.append(True)

    (part,) = again.parts(folder, "C1")
    assert [r.seed for r in again.trained(part.specs, engine)] == [100, 101]
    coming = again.trained(part.specs, engine)
    next(coming)
    coming.close()
    assert ended == [True, True]
