"""Other people's transformers at our sizes: each takes tokens and gives logits at the last position.

They differ from ours in what a config cannot change, and `LIMITS` says how. Only those that are installed take part.
"""

from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec

import torch
from reference import PlainTransformer
from torch import Tensor, nn

from matchlib.model import ModelConfig, Transformer

LIMITS = {
    "straightforward": "same function and start, every position computed",
    "torch.nn.TransformerEncoder": "biases; d_head = d_model",
    "transformers GPT-2": "pre-LN, biases; d_head = d_model",
    "transformer-lens": "pre-LN, biases, hook points; computes every position's logits",
}


class Last(nn.Module):
    """A body that keeps positions, between embeddings and an unembedding at the last position."""

    def __init__(self, cfg: ModelConfig, body: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.body, self.call = body, call
        self.tokens, self.positions = nn.Embedding(cfg.vocab_size, cfg.d_model), nn.Embedding(cfg.n_pos, cfg.d_model)
        self.unembed = nn.Linear(cfg.d_model, cfg.vocab_size, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        return self.unembed(self.call(self.body, x)[:, -1])


class Whole(nn.Module):
    """A model that brings its embeddings, and how to ask it for logits at the last position."""

    def __init__(self, model: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.model, self.call = model, call

    def forward(self, tokens: Tensor) -> Tensor:
        return self.call(self.model, tokens)


def encoder(cfg: ModelConfig) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        cfg.d_model, cfg.n_heads, cfg.d_mlp, dropout=0.0, batch_first=True, norm_first=cfg.layernorm == "pre"
    )
    body = nn.TransformerEncoder(layer, cfg.n_layers, enable_nested_tensor=False)
    mask = nn.Transformer.generate_square_subsequent_mask(cfg.n_pos)
    return Last(cfg, body, lambda body, x: body(x, mask=mask, is_causal=True))


def gpt2(cfg: ModelConfig) -> nn.Module:
    hf = import_module("transformers")
    config = hf.GPT2Config(
        vocab_size=cfg.vocab_size, n_positions=cfg.n_pos, n_embd=cfg.d_model, n_layer=cfg.n_layers, n_head=cfg.n_heads,
        n_inner=cfg.d_mlp, activation_function="relu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = hf.GPT2LMHeadModel(config)
    return Whole(model, lambda model, tokens: model(tokens, logits_to_keep=1).logits[:, -1])


def lens(cfg: ModelConfig) -> nn.Module:
    tl = import_module("transformer_lens")
    config = tl.HookedTransformerConfig(
        n_layers=cfg.n_layers, d_model=cfg.d_model, n_ctx=cfg.n_pos, d_head=cfg.d_head, n_heads=cfg.n_heads,
        d_mlp=cfg.d_mlp, d_vocab=cfg.vocab_size, act_fn="relu", normalization_type="LN", device="cpu",
    )  # fmt: skip
    return Whole(tl.HookedTransformer(config), lambda model, tokens: model(tokens)[:, -1])


def models(cfg: ModelConfig) -> dict[str, Callable[[], nn.Module]]:
    """How to build each peer that is installed, by name."""
    ours = Transformer(cfg, generator=torch.Generator().manual_seed(0))
    found = {
        "straightforward": ("torch", lambda: PlainTransformer(ours)),
        "torch.nn.TransformerEncoder": ("torch", lambda: encoder(cfg)),
        "transformers GPT-2": ("transformers", lambda: gpt2(cfg)),
        "transformer-lens": ("transformer_lens", lambda: lens(cfg)),
    }
    if find_spec("transformer_lens") and int(metadata.version("transformer-lens").split(".")[0]) >= 4:
        del found["transformer-lens"]  # from 4.0 on it wraps other libraries' models and has none of its own
    return {name: build for name, (module, build) in found.items() if find_spec(module)}
