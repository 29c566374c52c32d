"""What the benchmark compares gives the same results: else the faster one might only do less."""

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from reference import PlainTransformer, questions

from matchlib.data import ChainTask
from matchlib.presets import PRESETS
from matchlib.train import Supply, TrainState, fit, learning_rate

TINY = PRESETS["tiny"]


@pytest.mark.parametrize("layernorm", ["post", "pre"])
@pytest.mark.parametrize(("d_head", "n_heads"), [(16, 1), (4, 1), (4, 2)])
def test_the_plain_model_trains_to_the_same_losses(layernorm, d_head, n_heads):
    model = replace(TINY.model, layernorm=layernorm, d_head=d_head, n_heads=n_heads)
    config = replace(TINY.train, steps=20)
    state = TrainState.new(TINY.task, model, config, 3, "cpu")
    plain = PlainTransformer(state.model)
    matrices = [p for layer in plain.layers for name, p in layer.named_parameters() if "norm" not in name]
    rest = [p for p in plain.parameters() if not any(p is m for m in matrices)]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": config.weight_decay},
                                   {"params": rest, "weight_decay": 0.0}])  # fmt: skip
    tokens, answers = Supply(state).block(0)
    expected = []
    for step in range(15):  # the fixed set of tiny has 16 batches of 32
        part = slice(step * config.batch_size, (step + 1) * config.batch_size)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        optimizer.zero_grad()
        loss = F.cross_entropy(plain(tokens[part]), answers[part])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), config.clip)
        optimizer.step()
        expected.append(loss.item())
    found = [step.loss.item() for _, step in zip(range(15), fit(state))]
    assert found == pytest.approx(expected, abs=1e-4)
    assert expected[-1] < expected[0] - 0.1


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_plain_generator_draws_the_same_distribution(split):
    task = ChainTask(n_edges=3, hops=2, n_tokens=20)
    tokens, answers = questions(task, 4000, split, random.Random(0))
    batch = task.sample(4000, split, generator=torch.Generator().manual_seed(0))
    assert tokens.shape == batch.tokens.shape
    for ours, theirs in ((batch.tokens.flatten(), tokens.flatten()), (batch.answer, answers)):
        p, q = (x.bincount(minlength=21).double() / len(x) for x in (ours, theirs))
        assert (p - q).abs().max() < 0.02
    for row, answer in zip(tokens[:200].tolist(), answers[:200].tolist()):
        step = dict(zip(row[:-1:2], row[1::2]))
        assert step[step[row[-1]]] == answer
