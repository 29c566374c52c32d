"""Buffers where the answer is known: planted means, planted subspaces, and what each token is told by."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from matchlib.buffers import (
    at_last,
    held,
    means,
    principal_cosines,
    random_span,
    readable,
    scale_of,
    span,
    written,
)
from matchlib.data import ChainTask
from matchlib.hooks import cache
from matchlib.model import ModelConfig, Transformer
from matchlib.patch import observe, replace

TASK = ChainTask(n_edges=3, hops=2, n_tokens=12)
CFG = ModelConfig(n_layers=3, d_model=8, d_head=8, d_mlp=8, vocab_size=TASK.vocab_size, n_pos=TASK.n_pos)


def test_means_are_those_of_a_loop_over_tokens(generator):
    x, token = torch.randn(60, 5, generator=generator), torch.randint(1, 8, (60,), generator=generator)
    found = means(x, token, 10)
    for t in range(10):
        own = x[token == t]
        wanted = own.mean(0) - x.mean(0) if len(own) else torch.zeros(5)
        torch.testing.assert_close(found[t], wanted, atol=1e-6, rtol=1e-5)


def test_what_is_held_is_read_at_the_last_position_for_the_asked_step(generator):
    model, batch = Transformer(CFG, generator=generator), TASK.sample(50, "any", generator=generator)
    name = "blocks.1.attn.out"
    x = cache(model, batch.tokens)[1][name][:, -1]
    assert torch.equal(at_last(model, batch, name), x)
    for step in range(3):
        torch.testing.assert_close(held(model, batch, name, step), means(x, batch.path[:, step], CFG.vocab_size))


@torch.no_grad()
def test_what_is_written_is_what_attention_adds_where_it_reads_that_token(generator):
    """All attention on position 0, whose content is made the bare embedding: attn.out is e_t W_vo."""
    model, batch = Transformer(CFG, generator=generator), TASK.sample(9, "any", generator=generator)
    on_first = torch.zeros(TASK.n_pos, TASK.n_pos)
    on_first[:, 0] = 1
    every = torch.ones(9, TASK.n_pos, dtype=torch.bool)
    bare = replace("blocks.1.resid_pre", every, model.embed_tokens(batch.tokens))
    look = {"blocks.1.attn.pattern": lambda p: on_first.expand_as(p)}
    out = observe(model, batch.tokens, ["blocks.1.attn.out"], bare | look)["blocks.1.attn.out"]
    torch.testing.assert_close(out[:, -1], written(model, 1)[batch.tokens[:, 0]], atol=1e-5, rtol=1e-4)


def test_the_scale_of_a_planted_copy_and_what_it_explains(generator):
    w = torch.randn(40, 6, generator=generator)
    factor, explained = scale_of(w, 3 * w + torch.tensor([5.0, 0, 0, 0, 0, -2]))  # a common shift is no matter
    assert factor == pytest.approx(3, rel=1e-4) and explained == pytest.approx(1, abs=1e-5)
    assert abs(scale_of(w, torch.randn(40, 6, generator=generator))[1]) < 0.1


@given(seed=st.integers(0, 999), rank=st.integers(1, 6))
def test_spans_are_orthonormal_and_hold_the_leading_directions(seed, rank):
    generator = torch.Generator().manual_seed(seed)
    plant = random_span(rank, 12, generator)
    torch.testing.assert_close(plant @ plant.T, torch.eye(rank), atol=1e-5, rtol=0)
    strong = 10 * torch.randn(50, rank, generator=generator) @ plant
    found = span(strong + 0.01 * torch.randn(50, 12, generator=generator) + 7, rank)  # 7: a mean, which is left out
    torch.testing.assert_close(found @ found.T, torch.eye(rank), atol=1e-5, rtol=0)
    assert principal_cosines(found, plant).min() > 0.99


def test_a_rank_that_is_not_there_is_refused(generator):
    vectors = torch.randn(20, 3, generator=generator) @ random_span(3, 8, generator)
    with pytest.raises(ValueError, match=r"rank=4 does not fit: these vectors span 3 dimensions, so choose 1\.\.3"):
        span(vectors, 4)


def test_principal_cosines_of_known_spaces():
    e = torch.eye(6)
    tilted = torch.stack([e[0], (e[1] + e[4]) / 2**0.5])
    torch.testing.assert_close(principal_cosines(e[:2], tilted), torch.tensor([1.0, 0.5**0.5]))
    assert principal_cosines(e[:2], e[2:5]).abs().max() == 0


def test_a_planted_token_is_told_and_noise_is_told_by_chance(generator):
    batch = TASK.sample(2000, "any", generator=generator)
    mean_of, nodes, token = torch.randn(CFG.vocab_size, 30, generator=generator), batch.chain[:, 0], batch.path[:, 1]
    x = mean_of[token] + 0.3 * torch.randn(2000, 30, generator=generator)
    assert readable(x, mean_of, nodes, token).rate > 0.99
    low, high = readable(torch.randn(2000, 30, generator=generator), mean_of, nodes, token).interval
    assert low < 1 / 4 < high
