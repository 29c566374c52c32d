"""Noise in attention: it makes every kernel nearly the identity, by its transposes and by nothing else."""

from dataclasses import replace
from math import sqrt

import pytest
import torch

from matchlib.hooks import cache, intervene
from matchlib.model import ModelConfig, Transformer
from matchlib.presets import PRESETS
from matchlib.probe import argmax_score, kernel, normalised_trace
from matchlib.record import Run
from matchlib.train import TrainState, fit

NOISES = ("identity", "gaussian", "orthogonal")
CONFIG = ModelConfig(n_layers=5, d_model=128, d_head=16, d_mlp=16, vocab_size=61, n_pos=9, noise="orthogonal")


def built(cfg=CONFIG, seed=0):
    return Transformer(cfg, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def bare(noise, alpha=1.0, beta=1.0):
    """Nothing but noise."""
    model = built(replace(CONFIG, noise=noise, alpha=alpha, beta=beta))
    for block in model.blocks:
        for w in (block.w_q, block.w_k, block.w_v, block.w_o):
            w.zero_()
    return model


def random_tokens(seed=1):
    return torch.randint(1, 61, (7, 9), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_the_noise_alone_makes_every_kernel_the_identity(layer):
    eye = torch.eye(CONFIG.d_model)
    for noise in ("identity", "orthogonal"):
        torch.testing.assert_close(kernel(bare(noise), layer), eye, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            kernel(bare(noise, 0.5, 2.0), layer), eye * (1 if layer == 1 else 2), atol=1e-5, rtol=0
        )
    trace = normalised_trace(kernel(bare("gaussian"), layer))
    assert 0.4 < trace < 0.95 and argmax_score(bare("gaussian"), layer) > 0.9


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
@torch.no_grad()
def test_with_another_transpose_it_does_not(layer):
    for noise in ("gaussian", "orthogonal"):
        model = bare(noise)
        model.blocks[layer].z_qk = model.blocks[layer].z_qk.T
        assert abs(normalised_trace(kernel(model, layer))) < 0.1 and argmax_score(model, layer) < 0.2


@pytest.mark.parametrize("layer", [2, 3, 4])
@torch.no_grad()
def test_each_layer_undoes_the_noise_of_the_layer_before_it_and_of_no_other(layer):
    model = bare("orthogonal")
    model.blocks[layer].z_qk = model.blocks[layer - 2].z_vo.T @ model.blocks[0].z_vo
    assert abs(normalised_trace(kernel(model, layer))) < 0.1


def test_orthogonal_matrices_are_orthogonal_and_gaussian_ones_nearly():
    eye = torch.eye(CONFIG.d_model)
    z = built().blocks[2].z_vo
    torch.testing.assert_close(z @ z.T, eye, atol=1e-5, rtol=0)
    g = built(replace(CONFIG, noise="gaussian")).blocks[2].z_vo
    assert 0.5 < ((g @ g.T - eye).norm() / sqrt(CONFIG.d_model)).item() < 1.5
    assert g.std().item() == pytest.approx(CONFIG.d_model**-0.5, rel=0.05)


def test_rotations_are_drawn_without_a_favourite():
    """QR alone would give the first row's first entry one sign; over many draws the mean of Z must be zero."""
    small = replace(CONFIG, d_model=3, d_head=1, n_layers=1)
    z = torch.stack([built(small, seed).blocks[0].z_vo for seed in range(600)])
    assert z.mean(dim=0).abs().max() < 5 / sqrt(3 * 600)
    assert (z.square().mean(dim=0) - 1 / 3).abs().max() < 0.08


@pytest.mark.parametrize("noise", NOISES)
def test_only_the_scalars_are_new_parameters_and_the_weights_are_those_without_noise(noise):
    plain, noisy = built(replace(CONFIG, noise="none")), built(replace(CONFIG, noise=noise))
    old, new = dict(plain.named_parameters()), dict(noisy.named_parameters())
    added = new.keys() - old.keys()
    layers = range(CONFIG.n_layers)
    assert added == {f"blocks.{i}.beta" for i in layers} | {f"blocks.{i}.alpha" for i in layers if i}
    assert all(new[name].shape == () for name in added)
    assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("layernorm", ["post", "pre"])
@pytest.mark.parametrize("d_head", [16, 128])
@torch.no_grad()
def test_attention_is_that_of_the_noisy_matrices_computed_plainly(layernorm, d_head):
    cfg = replace(CONFIG, layernorm=layernorm, d_head=d_head, alpha=0.7, beta=0.4)
    model, tokens = built(cfg), random_tokens()
    logits, seen = cache(model, tokens)
    torch.testing.assert_close(model(tokens), logits[:, -1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model(tokens, positions="all"), logits, atol=1e-4, rtol=1e-4)
    for layer, block in enumerate(model.blocks):
        x = seen[f"blocks.{layer}.resid_pre"]
        x = block.ln_attn(x) if layernorm == "pre" else x
        qk = block.w_q @ block.w_k.T + (0.7 * block.z_qk if layer else 0)
        vo = block.w_v @ block.w_o + 0.4 * block.z_vo
        scores = torch.einsum("bqd,de,bke->bqk", x, qk, x) / sqrt(d_head)
        scores = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), float("-inf"))
        torch.testing.assert_close(seen[f"blocks.{layer}.attn.pattern"][:, 0], scores.softmax(-1), atol=1e-5, rtol=1e-4)
        expected = scores.softmax(-1) @ x @ vo
        torch.testing.assert_close(seen[f"blocks.{layer}.attn.out"], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.w_qk(layer), qk)
        torch.testing.assert_close(model.w_vo(layer), vo)


def test_with_scalars_of_zero_it_answers_as_without_noise():
    plain = built(replace(CONFIG, noise="none"))
    noisy = built(replace(CONFIG, alpha=0.0, beta=0.0))
    torch.testing.assert_close(plain(random_tokens()), noisy(random_tokens()), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_a_head_carries_can_still_be_taken_away():
    model, tokens = built(), random_tokens()
    gone = intervene(model, tokens, {"blocks.4.attn.z": lambda z: torch.zeros_like(z)}, positions="last")
    direct = intervene(model, tokens, {"blocks.4.attn.out": lambda x: torch.zeros_like(x)}, positions="last")
    torch.testing.assert_close(gone, direct)
    assert (gone - model(tokens)).abs().max() > 1e-3


@pytest.mark.parametrize("noise", NOISES)
def test_noise_stays_the_scalars_learn_and_both_are_kept_with_the_run(noise, tmp_path):
    tiny = PRESETS["tiny"]
    model = replace(tiny.model, noise=noise, alpha=0.3, beta=0.6)
    state = TrainState.new(tiny.task, model, replace(tiny.train, steps=12, snapshots=(0, 6)), 0, "cpu")
    before = {name: x.clone() for name, x in state.model.state_dict().items()}
    for _ in fit(state):
        pass
    after = state.model.state_dict()
    for name, x in before.items():
        assert torch.equal(x, after[name]) == (".z_" in name), name
    run = state.as_run()
    run.save(tmp_path / "run")
    kept = Run.load(tmp_path / "run")
    assert kept.model_config == replace(model, vocab_size=41, n_pos=7)
    assert all(torch.equal(x, kept.model.state_dict()[name]) for name, x in after.items())
    assert kept.at(0).blocks[1].alpha.item() == pytest.approx(0.3)
    assert torch.equal(kept.at(6).blocks[1].z_qk, after["blocks.1.z_qk"])


def test_noise_has_a_seed_of_its_own_and_differs_between_seeds():
    tiny = PRESETS["tiny"]
    model = replace(tiny.model, noise="orthogonal")
    one, again, other = (TrainState.new(tiny.task, model, tiny.train, seed, "cpu").model for seed in (0, 0, 1))
    assert torch.equal(one.blocks[0].z_vo, again.blocks[0].z_vo)
    assert not torch.allclose(one.blocks[0].z_vo, other.blocks[0].z_vo)
    assert not torch.allclose(one.blocks[0].z_vo, one.blocks[1].z_vo)


def test_a_generator_of_its_own_draws_the_noise_and_leaves_the_weights_alone():
    def drawn(noise_seed):
        weights, noise = (torch.Generator().manual_seed(s) for s in (0, noise_seed))
        return Transformer(CONFIG, generator=weights, noise=noise)

    one, other = drawn(1), drawn(2)
    assert torch.equal(one.w_u, other.w_u) and torch.equal(drawn(1).blocks[2].z_vo, one.blocks[2].z_vo)
    assert not torch.allclose(one.blocks[2].z_vo, other.blocks[2].z_vo)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_heads": 2}, "noise='orthogonal' with n_heads=2 is not defined: use one head"),
        ({"alpha": 1e9}, "alpha=1000000000.0 is out of range: choose -100..100"),
        ({"beta": float("nan")}, "beta=nan is out of range"),
    ],
)
def test_noise_that_cannot_be_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(CONFIG, **wrong)
