"""The model against its own docstring, worked out one position at a time with plain loops."""

from dataclasses import replace
from math import exp, sqrt

import pytest
import torch
from torch import Tensor

from matchlib.hooks import cache
from matchlib.model import ModelConfig, Transformer

SMALL = ModelConfig(n_layers=3, d_model=8, d_head=4, d_mlp=12, vocab_size=17, n_pos=7, gamma=0.4)
SHAPES = [(ln, heads) for ln in ("post", "pre") for heads in (1, 2)]


def build(layernorm: str = "post", n_heads: int = 1, seed: int = 0, **changes) -> Transformer:
    """A small model whose LayerNorms are not the identity of their start, so that leaving one out shows."""
    cfg = replace(SMALL, layernorm=layernorm, n_heads=n_heads, **changes)
    g = torch.Generator().manual_seed(seed)
    model = Transformer(cfg, generator=g)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p += 0.3 * torch.randn(p.shape, generator=g)
    return model


def some_tokens(n: int = 5, seed: int = 1, n_pos: int = 7) -> Tensor:
    return torch.randint(17, (n, n_pos), generator=torch.Generator().manual_seed(seed))


def layer_norm(x: Tensor, ln: torch.nn.LayerNorm) -> Tensor:
    mean = sum(x) / len(x)
    variance = sum((x - mean) ** 2) / len(x)
    return (x - mean) / sqrt(variance + 1e-5) * ln.weight.double() + ln.bias.double()


def slow_attention(xs: list[Tensor], block, cfg: ModelConfig) -> list[Tensor]:
    """Every query alone, every head alone, every key alone."""
    out = []
    for query in range(len(xs)):
        total = torch.zeros(cfg.d_model, dtype=torch.double)
        for head in range(cfg.n_heads):
            part = slice(head * cfg.d_head, (head + 1) * cfg.d_head)
            w_q, w_k, w_v = (w.double()[:, part] for w in (block.w_q, block.w_k, block.w_v))
            scores = [float((xs[query] @ w_q) @ (xs[key] @ w_k)) / sqrt(cfg.d_head) for key in range(query + 1)]
            parts = [exp(s) for s in scores]
            for key, share in enumerate(parts):
                total += share / sum(parts) * (xs[key] @ w_v @ block.w_o.double()[part])
        out.append(total)
    return out


@torch.no_grad()
def slow_logits(model: Transformer, row: list[int]) -> Tensor:
    """Logits at every position of one sequence, in double precision: the formulas of the module, line by line."""
    cfg = model.cfg
    xs = [model.w_e.double()[token] + model.w_pos.double()[pos] for pos, token in enumerate(row)]
    for block in model.blocks:
        w_in, w_out = block.w_in.double(), block.w_out.double()
        if cfg.layernorm == "post":
            attended = slow_attention(xs, block, cfg)
            ys = [layer_norm(x + a, block.ln_attn) for x, a in zip(xs, attended)]
            xs = [layer_norm(y + (y @ w_in).clamp(min=0) @ w_out, block.ln_mlp) for y in ys]
        else:
            attended = slow_attention([layer_norm(x, block.ln_attn) for x in xs], block, cfg)
            ys = [x + a for x, a in zip(xs, attended)]
            xs = [y + (layer_norm(y, block.ln_mlp) @ w_in).clamp(min=0) @ w_out for y in ys]
    if cfg.layernorm == "pre":
        xs = [layer_norm(x, model.ln_final) for x in xs]
    return torch.stack([x @ model.w_u.double() for x in xs])


@pytest.mark.parametrize(("layernorm", "n_heads"), SHAPES)
def test_the_model_computes_what_its_docstring_says(layernorm, n_heads):
    model, tokens = build(layernorm, n_heads), some_tokens()
    slow = torch.stack([slow_logits(model, row) for row in tokens.tolist()])
    fast = model(tokens, positions="all").detach().double()
    assert fast.shape == (5, 7, 17) and slow.std() > 0.1
    assert (fast - slow).abs().max() < 1e-5


@pytest.mark.parametrize("n_layers", [1, 2, 4])
@pytest.mark.parametrize(("layernorm", "n_heads"), SHAPES)
def test_the_short_way_to_the_last_position_equals_the_long_one(layernorm, n_heads, n_layers):
    model = build(layernorm, n_heads, n_layers=n_layers)
    for n_pos in (1, 4, 7):
        tokens = some_tokens(n_pos=n_pos)
        last, every = model(tokens), model(tokens, positions="all")
        assert last.shape == (5, 17)
        torch.testing.assert_close(last, every[:, -1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("layernorm", "n_heads"), SHAPES)
def test_both_ways_have_the_same_gradients(layernorm, n_heads):
    model, tokens, found = build(layernorm, n_heads), some_tokens(), []
    for logits in (model(tokens), model(tokens, positions="all")[:, -1]):
        model.zero_grad()
        logits.square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters()])
    for short, long in zip(*found):
        torch.testing.assert_close(short, long, atol=1e-4, rtol=1e-4)
    assert all(g.abs().sum() > 0 for g in found[0])


@pytest.mark.parametrize("layernorm", ["post", "pre"])
def test_later_tokens_leave_earlier_logits_alone(layernorm):
    model, tokens = build(layernorm), some_tokens()
    before = model(tokens, positions="all")
    for pos in range(1, 7):
        changed = tokens.clone()
        changed[:, pos:] = (tokens[:, pos:] + 3) % 17
        after = model(changed, positions="all")
        torch.testing.assert_close(after[:, :pos], before[:, :pos], atol=1e-6, rtol=0)
        assert (after[:, pos:] - before[:, pos:]).abs().amax(dim=(0, 2)).min() > 1e-3


def test_the_order_of_tokens_matters():
    model, tokens = build(), some_tokens()
    swapped = tokens[:, [1, 0, 2, 3, 4, 5, 6]]
    assert (model(tokens) - model(swapped)).abs().max() > 1e-3


@pytest.mark.parametrize("gamma", [0.3, 0.5, 0.7, 1.0])
def test_initial_weights_have_the_standard_deviation_that_gamma_names(gamma):
    cfg = ModelConfig(2, d_model=48, d_head=20, d_mlp=80, n_heads=2, vocab_size=60, n_pos=40, gamma=gamma)
    model = Transformer(cfg, generator=torch.Generator().manual_seed(0))
    matrices = {name: p for name, p in model.named_parameters() if p.dim() == 2}
    assert len(matrices) >= 3 + 2 * 4
    for name, w in ((name, p.detach()) for name, p in matrices.items()):
        d_in = cfg.d_model if name in ("w_e", "w_pos") else len(w)
        std, n = d_in**-gamma, w.numel()
        assert abs(float(w.std()) / std - 1) < 5 / sqrt(2 * n), name
        assert abs(float(w.mean())) < 5 * std / sqrt(n), name
    for name, p in model.named_parameters():
        if p.dim() == 1:
            assert (p == (0 if name.endswith("bias") else 1)).all(), name


def test_the_generator_alone_decides_the_weights():
    one, same, other = (build(seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert not torch.equal(one["w_e"], other["w_e"])


def test_pre_and_post_differ_as_stated():
    tokens, post, pre = some_tokens(), build("post"), build("pre")
    logits, seen = cache(post, tokens)
    torch.testing.assert_close(logits, seen["blocks.2.resid_post"] @ post.w_u)  # no final LayerNorm
    for layer, block in enumerate(post.blocks):
        stream = seen[f"blocks.{layer}.resid_pre"] + seen[f"blocks.{layer}.attn.out"]
        torch.testing.assert_close(seen[f"blocks.{layer}.resid_mid"], block.ln_attn(stream))
        stream = seen[f"blocks.{layer}.resid_mid"] + seen[f"blocks.{layer}.mlp.out"]
        torch.testing.assert_close(seen[f"blocks.{layer}.resid_post"], block.ln_mlp(stream))
    logits, seen = cache(pre, tokens)
    torch.testing.assert_close(logits, pre.ln_final(seen["blocks.2.resid_post"]) @ pre.w_u)
    for layer in range(3):  # the residual stream is a plain sum
        total = seen[f"blocks.{layer}.resid_pre"] + seen[f"blocks.{layer}.attn.out"] + seen[f"blocks.{layer}.mlp.out"]
        torch.testing.assert_close(seen[f"blocks.{layer}.resid_post"], total)
    n_norms = {model.cfg.layernorm: sum(p.dim() == 1 for p in model.parameters()) // 2 for model in (post, pre)}
    assert n_norms == {"post": 6, "pre": 7}


@pytest.mark.parametrize("n_heads", [1, 3])
def test_w_qk_and_w_vo_are_the_circuits_that_the_forward_pass_uses(n_heads):
    model, tokens = build("post", n_heads), some_tokens()
    _, seen = cache(model, tokens)
    for layer in range(3):
        x, path = seen[f"blocks.{layer}.resid_pre"], f"blocks.{layer}.attn"
        visible = torch.ones(7, 7, dtype=torch.bool).tril()
        written = torch.zeros_like(x)
        for head in range(n_heads):
            scores = x @ model.w_qk(layer, head) @ x.transpose(1, 2) / sqrt(model.cfg.d_head)
            torch.testing.assert_close(seen[f"{path}.scores"][:, head][:, visible], scores[:, visible])
            written += seen[f"{path}.pattern"][:, head] @ x @ model.w_vo(layer, head)
        torch.testing.assert_close(seen[f"{path}.out"], written, atol=1e-5, rtol=1e-5)
        for circuit in (model.w_qk, model.w_vo):
            torch.testing.assert_close(circuit(layer), sum(circuit(layer, head) for head in range(n_heads)))


def test_a_tap_that_looks_changes_nothing():
    for layernorm, n_heads in SHAPES:
        model, tokens = build(layernorm, n_heads), some_tokens()
        for positions in ("last", "all"):
            seen = []
            looked = model(tokens, positions=positions, tap=lambda name, x: seen.append(name) or x)  # noqa: B023
            torch.testing.assert_close(looked, model(tokens, positions=positions), atol=1e-5, rtol=0)
            assert seen[0] == "embed" and seen[-1] == "blocks.2.resid_post"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_layers": 0}, "n_layers=0 must be a whole number of at least 1"),
        ({"d_model": 6.5}, "d_model=6.5 must be a whole number"),
        ({"layernorm": "both"}, "layernorm='both' is not known: choose 'post' or 'pre'"),
        ({"gamma": -0.1}, "gamma=-0.1 is out of range: choose 0..3"),
        ({"gamma": float("nan")}, "gamma=nan is out of range"),
        ({"noise": "pink"}, "noise='pink' is not known: choose one of none, identity, gaussian, orthogonal"),
    ],
)
def test_a_wrong_config_is_refused_with_what_is_allowed(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        ModelConfig(**wrong)


def test_wrong_tokens_and_layers_are_refused_with_what_is_allowed():
    model = build(n_heads=2)
    with pytest.raises(ValueError, match=r"shape \(2, 8\) do not fit: give \(batch, 1..7\)"):
        model(torch.zeros(2, 8, dtype=torch.long))
    with pytest.raises(ValueError, match=r"shape \(7,\) do not fit"):
        model(torch.zeros(7, dtype=torch.long))
    for wrong in (17, -1):
        with pytest.raises(ValueError, match="leave the vocabulary: allowed are 0..16"):
            model(torch.tensor([[1, wrong, 2]]))
    with pytest.raises(ValueError, match="positions='first' is not known: choose 'last' or 'all'"):
        model(some_tokens(), positions="first")
    for circuit in (model.w_qk, model.w_vo):
        for layer in (3, -1, 1.0):
            with pytest.raises(IndexError, match=f"layer {layer} does not exist: this model has layers 0..2"):
                circuit(layer)
        with pytest.raises(IndexError, match="head 2 does not exist: this model has heads 0..1"):
            circuit(0, 2)


@pytest.mark.gpu
@pytest.mark.parametrize(("layernorm", "n_heads"), SHAPES)
def test_cpu_and_gpu_agree(layernorm, n_heads):
    model, tokens = build(layernorm, n_heads), some_tokens()
    on_cpu = model(tokens).detach()
    torch.testing.assert_close(model.cuda()(tokens.cuda()).detach().cpu(), on_cpu, atol=1e-4, rtol=1e-4)
