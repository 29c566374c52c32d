"""The experiments of lesson 04 put to many models: the same questions for each, and lines that round outwards."""

import pytest
import torch

from matchlib import inquiry
from matchlib.evidence import Count, Finding
from matchlib.experiments import EXPERIMENTS
from matchlib.hooks import cache
from matchlib.inquiry import PAIRING, RATES, SECOND, STALE, SWAPS, TOKENS, Inquiry, least, most, rates_of, report
from matchlib.runs import load_or_train


@pytest.fixture(scope="module")
def asked():
    runs = {name: load_or_train(name) for name in ("post_g07", "post_g07_s3")}
    return Inquiry({name: run.model for name, run in runs.items()}, runs["post_g07"].task)


def test_every_group_names_experiments_and_none_twice():
    every = [*SWAPS, *PAIRING, *RATES, *TOKENS, *SECOND, *STALE]
    assert set(every) <= set(EXPERIMENTS) and len(set(every)) == len(every)


def test_every_model_gets_the_same_questions_experiment_by_experiment(asked, monkeypatch):
    seen = []
    monkeypatch.setattr(inquiry, "investigate", lambda *asked_for: seen.append(asked_for))
    asked.ask((name for name in asked.models), PAIRING, split="any")
    assert [(e.name, name) for e, _, name in seen] == [(e, name) for e in PAIRING for name in asked.models]
    first = seen[0][1]
    for _, setting, name in seen:
        assert setting.model is asked.models[name]
        assert torch.equal(setting.batch.tokens, first.batch.tokens) and len(setting.batch) == 300
        assert torch.equal(setting.reference.tokens, first.reference.tokens) and len(setting.reference) == 1500
    residues = (first.batch.chain[:, 0].diff(dim=1) % 5).unique().tolist()
    assert residues == [0, 1, 2, 3, 4], "the split without a rule"
    residues = (asked.setting("post_g07").batch.chain[:, 0].diff(dim=1) % 5).unique().tolist()
    assert residues == [2, 3], "the test, by default"


def test_a_second_pairing_is_attention_to_what_it_would_store_and_a_kernel_that_finds_it(asked):
    s, model = asked.setting("post_g07", "any"), asked.models["post_g07"]
    pattern = cache(model, s.batch.tokens, ["blocks.1.attn.pattern"])[1]["blocks.1.attn.pattern"][:, 0]
    by_hand = [pattern[i, at + 1, at].item() for i, at in enumerate(s.batch.path_pos[:, 1].tolist())]
    attention, matched = asked.pairs_again("post_g07")
    assert attention == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-5) and matched > 0.8
    twice = {name: asked.pairs_twice(name) for name in asked.models}
    assert twice == {name: asked.pairs_again(name)[0] > 0.8 for name in asked.models}
    assert sorted(twice.values()) == [False, True], "these two models differ"


@pytest.mark.parametrize(
    ("rates", "low", "high"),
    [([0.96, 0.99], "0.95", "1.00"), ([0.953], "0.90", "1.00"), ([0.2], "0.15", "0.25"), ([0.0], "0.00", "0.05"),
     ([1.0], "0.95", "1.00"), ([0.5, 0.31], "0.30", "0.55")],
)  # fmt: skip
def test_rates_are_rounded_outwards_and_stay_shares(rates, low, high):
    assert (least(rates), most(rates)) == (low, high)


def found(name: str, model: str, hits: int, **controls: int) -> Finding:
    of = {control: Count(n, 100) for control, n in controls.items()}
    return Finding(name, "why", "what", model, Count(100, 100), Count(hits, 100), controls=of)


def test_the_report_is_a_line_an_experiment(capsys):
    findings = [found("one", "a", 98, other=10), found("one", "b", 60, other=22), found("two", "a", 3)]
    assert rates_of(findings, "one") == [0.98, 0.6]
    report(findings)
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "one 0.55 to 1.00 control at most 0.25 1 supported, 1 in part",
        "two 0.00 to 0.05 no control 1 contradicted",
    ]
