"""Read and change any named activation of a model, through one door: the `tap` of its forward pass.

Names are paths. With L layers: `embed`, `pos_embed`, and for each layer l `blocks.l.` followed by `resid_pre`,
`attn.q`, `attn.k`, `attn.v`, `attn.scores`, `attn.pattern`, `attn.z`, `attn.out`, `resid_mid`, `mlp.out`, `resid_post`.
Shapes: residual-like "batch pos d_model", q k v z "batch head pos d_head", scores and pattern "batch head query key".
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matchlib.model import ModelConfig, Transformer

PARTS = (
    "resid_pre", "attn.q", "attn.k", "attn.v", "attn.scores", "attn.pattern", "attn.z", "attn.out", "resid_mid",
    "mlp.out", "resid_post",
)  # fmt: skip


def hook_names(cfg: ModelConfig) -> list[str]:
    """Every name, in the order in which a forward pass meets them."""
    return ["embed", "pos_embed"] + [f"blocks.{layer}.{part}" for layer in range(cfg.n_layers) for part in PARTS]


@torch.no_grad()
def cache(
    model: Transformer, tokens: Int[Tensor, "batch pos"], names: Iterable[str] | None = None
) -> tuple[Float[Tensor, "batch pos vocab"], dict[str, Tensor]]:
    """Logits at all positions, and the activations of these names (default: all).

    Raises KeyError for an unknown name.
    """
    wanted = set(hook_names(model.cfg) if names is None else names)
    _check(wanted, model.cfg)
    seen: dict[str, Tensor] = {}

    def read(name: str, x: Tensor) -> Tensor:
        if name in wanted:
            seen[name] = x
        return x

    return model(tokens, positions="all", tap=read), seen


def intervene(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    changes: Mapping[str, Tensor | Callable[[Tensor], Tensor]],
    positions: str = "all",
) -> Tensor:
    """Logits when named activations are replaced: by a tensor, or by a function of what stood there.

    A replacement must have the shape of what it replaces. Raises KeyError for an unknown name, ValueError for a shape.
    """
    _check(changes, model.cfg)

    def change(name: str, x: Tensor) -> Tensor:
        if name not in changes:
            return x
        new = changes[name](x) if callable(changes[name]) else changes[name]
        if new.shape != x.shape:
            raise ValueError(
                f"{name} has shape {tuple(x.shape)} and its replacement {tuple(new.shape)}: make them equal."
            )
        return new

    return model(tokens, positions=positions, tap=change)


def _check(names: Iterable[str], cfg: ModelConfig) -> None:
    known = hook_names(cfg)
    if unknown := [n for n in names if n not in known]:
        raise KeyError(f"{unknown[0]!r} is no activation of this model: choose one of {', '.join(known)}.")
