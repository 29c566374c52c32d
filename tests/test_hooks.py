"""One door to every activation: names, shapes, reading without a trace, and changes that do what they say."""

from dataclasses import replace

import pytest
import torch

from matchlib.hooks import cache, hook_names, intervene
from matchlib.model import ModelConfig, Transformer

CFG = ModelConfig(n_layers=3, d_model=8, d_head=4, d_mlp=12, n_heads=2, vocab_size=17, n_pos=7, gamma=0.4)
TOKENS = torch.randint(17, (5, 7), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["post", "pre"])
def model(request, generator) -> Transformer:
    return Transformer(replace(CFG, layernorm=request.param), generator=generator)


def test_names_are_complete_and_in_the_order_of_the_forward_pass(model):
    met = []
    model(TOKENS, positions="all", tap=lambda name, x: met.append(name) or x)
    assert met == hook_names(model.cfg)
    assert met[:2] == ["embed", "pos_embed"] and len(met) == 2 + 3 * 11
    wanted = "resid_pre attn.q attn.k attn.v attn.scores attn.pattern attn.z attn.out resid_mid mlp.out resid_post"
    assert met[13:24] == [f"blocks.1.{part}" for part in wanted.split()]
    _, seen = cache(model, TOKENS)
    assert list(seen) == met


def test_shapes_are_those_of_the_docstring(model):
    logits, seen = cache(model, TOKENS)
    assert logits.shape == (5, 7, 17) and not logits.requires_grad
    for name, x in seen.items():
        if name.endswith((".q", ".k", ".v", ".z")):
            assert x.shape == (5, 2, 7, 4), name
        elif name.endswith(("scores", "pattern")):
            assert x.shape == (5, 2, 7, 7), name
        else:
            assert x.shape == ((7, 8) if name == "pos_embed" else (5, 7, 8)), name


def test_what_is_read_is_what_the_model_used(model):
    logits, seen = cache(model, TOKENS)
    torch.testing.assert_close(logits, model(TOKENS, positions="all").detach())
    torch.testing.assert_close(seen["blocks.0.resid_pre"], seen["embed"] + seen["pos_embed"])
    for layer in range(3):
        at = f"blocks.{layer}.attn"
        torch.testing.assert_close(seen[f"{at}.pattern"], seen[f"{at}.scores"].softmax(dim=-1))
        torch.testing.assert_close(seen[f"{at}.pattern"].sum(-1), torch.ones(5, 2, 7))
        assert (seen[f"{at}.pattern"].triu(1) == 0).all()
        torch.testing.assert_close(seen[f"{at}.z"], seen[f"{at}.pattern"] @ seen[f"{at}.v"])
        if layer:
            assert torch.equal(seen[f"blocks.{layer}.resid_pre"], seen[f"blocks.{layer - 1}.resid_post"])


def test_only_what_was_asked_for_is_kept(model):
    asked = ["blocks.2.attn.pattern", "embed"]
    assert sorted(cache(model, TOKENS, asked)[1]) == sorted(asked)
    assert cache(model, TOKENS, [])[1] == {}


@pytest.mark.parametrize("positions", ["last", "all"])
def test_replacing_anything_by_itself_changes_nothing(model, positions):
    before = model(TOKENS, positions=positions)
    for name in hook_names(model.cfg):
        torch.testing.assert_close(intervene(model, TOKENS, {name: lambda x: x.clone()}, positions), before)
    kept = cache(model, TOKENS)[1]
    torch.testing.assert_close(intervene(model, TOKENS, kept), model(TOKENS, positions="all"))


def test_every_activation_can_change_the_answer(model):
    """None of the names is a dead end: what is put there is what the model goes on with."""
    before = model(TOKENS)
    for name in hook_names(model.cfg):
        after = intervene(model, TOKENS, {name: lambda x: x.flip(-1) + 1.0}, positions="last")
        assert (after - before).abs().max() > 1e-4, name


def test_a_replaced_pattern_changes_the_logits_as_a_recomputation_says(model, generator):
    pattern = torch.rand(5, 2, 7, 7, generator=generator).tril()
    pattern = pattern / pattern.sum(-1, keepdim=True)
    changed = intervene(model, TOKENS, {"blocks.2.attn.pattern": pattern}).detach()

    _, seen = cache(model, TOKENS)
    block, x = model.blocks[2], seen["blocks.2.resid_pre"]
    source = block.ln_attn(x) if model.cfg.layernorm == "pre" else x
    attended = sum(pattern[:, head] @ source @ model.w_vo(2, head) for head in range(2))
    if model.cfg.layernorm == "pre":
        y = x + attended
        x = model.ln_final(y + (block.ln_mlp(y) @ block.w_in).relu() @ block.w_out)
    else:
        y = block.ln_attn(x + attended)
        x = block.ln_mlp(y + (y @ block.w_in).relu() @ block.w_out)
    torch.testing.assert_close(changed, x @ model.w_u, atol=1e-5, rtol=1e-5)
    assert (changed - model(TOKENS, positions="all")).abs().max() > 1e-3


def test_a_cut_edge_hides_its_token(model):
    """With key 0 masked in every layer, the first token has no say in later positions."""

    def cut(scores):
        scores = scores.clone()
        scores[..., 1:, 0] = float("-inf")
        return scores

    changes = {f"blocks.{layer}.attn.scores": cut for layer in range(3)}
    other = TOKENS.clone()
    other[:, 0] = (other[:, 0] + 1) % 17
    one, two = intervene(model, TOKENS, changes), intervene(model, other, changes)
    torch.testing.assert_close(one[:, 1:], two[:, 1:])
    assert (one[:, 0] - two[:, 0]).abs().max() > 1e-3


def test_an_intervention_leaves_the_model_as_it_was(model):
    before = model(TOKENS)
    intervene(model, TOKENS, {"embed": torch.zeros(5, 7, 8)})
    assert torch.equal(model(TOKENS), before)


def test_wrong_names_and_shapes_are_refused_with_what_is_allowed(model):
    with pytest.raises(KeyError, match="'blocks.3.resid_pre' is no activation of this model: choose one of embed, .*"):
        cache(model, TOKENS, ["embed", "blocks.3.resid_pre"])
    with pytest.raises(KeyError, match="'pattern' is no activation"):
        intervene(model, TOKENS, {"pattern": lambda x: x})
    with pytest.raises(ValueError, match=r"attn.z has shape \(5, 2, 7, 4\) and its replacement \(5, 1, 7, 4\)"):
        intervene(model, TOKENS, {"blocks.0.attn.z": torch.zeros(5, 1, 7, 4)})
    with pytest.raises(ValueError, match="mlp.out has shape .* make them equal"):
        intervene(model, TOKENS, {"blocks.1.mlp.out": lambda x: x[:, :1]})
