"""The computed baselines against guessers that are written down plainly and let loose on sampled questions."""

from math import sqrt
from statistics import fmean, stdev

import pytest
import torch

from matchlib.baselines import baselines
from matchlib.data import KINDS, SPLITS, Batch, ChainTask


def possible_answers(task: ChainTask, chains: list[list[int]], ordered: int | None) -> set[int]:
    """Every node at which some question about this graph may end, by asking them all."""
    found = set()
    for chain in chains:
        for k in task.all_hops if ordered is None else [ordered]:
            if task.kind in ("double_end", "noised"):
                found.add(chain[-1])
            elif task.closed:
                found |= set(chain)
            else:
                found |= {chain[i + k] for i in range(len(chain) - k)}
    return found


def guesses(task: ChainTask, batch: Batch, i: int) -> dict[str, set[int]]:
    """What each guesser may name in question i, all equally likely."""
    chains, answer, start = batch.chain[i].tolist(), int(batch.answer[i]), int(batch.path[i, 0])
    nodes = {t for c in chains for t in c} | set(batch.noise[i].flatten().tolist())
    order = int(batch.tokens[i, -1]) - 2 * task.n_tokens if task.has_order else None
    return {
        "context token": nodes,
        "possible answer": possible_answers(task, chains, order),
        "chain end": set() if task.closed else {c[-1] for c in chains},
        "right residue": {t for t in nodes if t % 5 == answer % 5 and t != start},
        "seen token": {t for t in nodes if t <= task.n_tokens},
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_edges", "hops", "n_tokens"), [(4, 2, 18), (5, (1, 3), 23)])
def test_each_baseline_is_what_its_guesser_scores(kind, split, n_edges, hops, n_tokens):
    task, n = ChainTask(kind, n_edges, hops, n_tokens), 1_500
    batch = task.sample(n, split, generator=torch.Generator().manual_seed(1))
    answers, computed = batch.answer.tolist(), task.baselines(split)
    scored: dict[str, list[float]] = {name: [] for name in computed}
    for i in range(n):
        for name, named in guesses(task, batch, i).items():
            scored[name].append((answers[i] in named) / max(1, len(named)))
    assert set(scored) == {"context token", "possible answer", "chain end", "right residue", "seen token"}
    for name, values in scored.items():
        assert abs(fmean(values) - computed[name]) <= 5 * stdev(values) / sqrt(n) + 1e-9, name


@pytest.mark.parametrize("kind", KINDS)
def test_one_hop_out_of_distribution_starts_at_a_seen_token(kind):
    """At one hop the start is the node before the answer, so that excluding it excludes no unseen token."""
    task, n = ChainTask(kind, 4, 1, 16), 3_000
    batch = task.sample(n, "ood", generator=torch.Generator().manual_seed(2))
    values = [1 / len(guesses(task, batch, i)["right residue"]) for i in range(n)]
    assert abs(fmean(values) - task.baselines("ood")["right residue"]) < 5 * stdev(values) / sqrt(n)


def test_known_numbers_of_the_default_task():
    """Six edges and two hops: one of 7 nodes, one of 5 possible answers, and one question in five ends at the end."""
    known = ChainTask().baselines("test")
    assert known["context token"] == known["seen token"] == pytest.approx(1 / 7)
    assert known["possible answer"] == known["chain end"] == pytest.approx(1 / 5)
    assert ChainTask().baselines("ood")["seen token"] == 1 / 2
    assert ChainTask("ring").baselines("test")["chain end"] == 0
    assert ChainTask("double_end").baselines("train")["chain end"] == 1 / 2


def test_a_literal_guesser_lands_within_binomial_error():
    """The same again with dice: one guess a question, hits counted."""
    task, n, dice = ChainTask("noised", 4, 2, 20), 4_000, torch.Generator().manual_seed(3)
    batch = task.sample(n, "test", generator=dice)
    hits = dict.fromkeys(baselines(task, "test"), 0)
    for i in range(n):
        for name, named in guesses(task, batch, i).items():
            pick = int(torch.randint(len(named), (1,), generator=dice))
            hits[name] += sorted(named)[pick] == int(batch.answer[i])
    for name, p in task.baselines("test").items():
        assert abs(hits[name] / n - p) < 5 * sqrt(p * (1 - p) / n), name
