"""The whole transformer on one page: decoder-only, learned positions, ReLU MLP, no biases, pre- or post-LayerNorm.

    X_0 = token embedding + position embedding
    post-LN:  Y = LN(X + attn(X)),  X' = LN(Y + mlp(Y))            no final LayerNorm
    pre-LN:   Y = X + attn(LN(X)),  X' = Y + mlp(LN(Y))            and a final LayerNorm
    attn(X) = softmax(mask(X W_q W_k^T X^T) / sqrt(d_head)) X W_v W_o,   mlp(X) = ReLU(X W_in) W_out

Weights act from the right (row vectors, x W). Initialisation: every weight matrix, embeddings included, is drawn from
N(0, (d_in^-gamma)^2), with d_in its number of rows (d_model for the embeddings): gamma = 0.5 is the usual scale, a
larger gamma is a *smaller* initialisation. Sources: arXiv 2405.15302 section 2 and appendix; post-LN Vaswani et al.
2017; pre-LN Xiong et al. 2020. The page's style owes to nanoGPT, its named activations to TransformerLens.

With `noise` a layer l has fixed random matrices added, and trained scalars alpha_l and beta_l that say how much:

    W_vo(l) + beta_l Z_l        W_qk(1) + alpha_1 Z_0        W_qk(l) + alpha_l Z_(l-1)^T Z_0  for l >= 2

Z_l is the identity, Gaussian or orthogonal. The transposes are such that the noise alone makes every kernel of
`matchlib.probe` a multiple of (nearly) the identity: our derivation of the method of arXiv 2405.15302, section 5.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

Tap = Callable[[str, Tensor], Tensor]  # sees every named activation, and returns what the model goes on with
LAYERNORMS = ("post", "pre")
NOISES = ("none", "identity", "gaussian", "orthogonal")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of one model. `d_head` is per head. alpha, beta: where the scalars of the noise start."""

    n_layers: int = 3
    d_model: int = 64
    d_head: int = 64
    d_mlp: int = 64
    n_heads: int = 1
    vocab_size: int = 101
    n_pos: int = 13
    layernorm: str = "post"
    gamma: float = 0.7
    noise: str = "none"
    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self):
        for name in ("n_layers", "d_model", "d_head", "d_mlp", "n_heads", "vocab_size", "n_pos"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number of at least 1.")
        if self.layernorm not in LAYERNORMS:
            raise ValueError(f"layernorm={self.layernorm!r} is not known: choose 'post' or 'pre'.")
        if not 0 <= self.gamma <= 3:
            raise ValueError(
                f"gamma={self.gamma!r} is out of range: choose 0..3 (0.5 is usual, larger starts smaller)."
            )
        if self.noise not in NOISES:
            raise ValueError(f"noise={self.noise!r} is not known: choose one of {', '.join(NOISES)}.")
        if self.noise != "none" and self.n_heads != 1:
            raise ValueError(f"noise={self.noise!r} with n_heads={self.n_heads} is not defined: use one head.")
        for name in ("alpha", "beta"):
            if not -100 <= getattr(self, name) <= 100:
                raise ValueError(f"{name}={getattr(self, name)!r} is out of range: choose -100..100.")


class Block(nn.Module):
    """One layer: attention, then MLP, each added to the residual stream."""

    def __init__(self, cfg: ModelConfig, layer: int, generator: torch.Generator):
        super().__init__()
        self.cfg, self.path, self.width = cfg, f"blocks.{layer}", cfg.n_heads * cfg.d_head
        self.w_q, self.w_k, self.w_v = (_draw(cfg.d_model, self.width, cfg, generator) for _ in range(3))
        self.w_o = _draw(self.width, cfg.d_model, cfg, generator)
        self.w_in = _draw(cfg.d_model, cfg.d_mlp, cfg, generator)
        self.w_out = _draw(cfg.d_mlp, cfg.d_model, cfg, generator)
        self.ln_attn, self.ln_mlp = nn.LayerNorm(cfg.d_model), nn.LayerNorm(cfg.d_model)
        self.register_buffer("z_qk", None)  # the noise of W_qk and of W_vo, where there is any
        self.register_buffer("z_vo", None)

    def w_qk(self) -> Float[Tensor, "d_model d_model"]:
        w = self.w_q @ self.w_k.T
        return w if self.z_qk is None else w + self.alpha * self.z_qk

    def w_vo(self) -> Float[Tensor, "d_model d_model"]:
        w = self.w_v @ self.w_o
        return w if self.z_vo is None else w + self.beta * self.z_vo

    def forward(
        self, x: Float[Tensor, "batch pos d_model"], tap: Tap, last: bool
    ) -> Float[Tensor, "batch query d_model"]:
        """`last`: compute the residual stream at the last position alone; keys and values are needed everywhere."""
        pre, path = self.cfg.layernorm == "pre", self.path
        x = tap(f"{path}.resid_pre", x)
        attn = self.attention(self.ln_attn(x) if pre else x, tap, last)
        y = (x[:, -1:] if last else x) + tap(f"{path}.attn.out", attn)
        y = tap(f"{path}.resid_mid", y if pre else self.ln_attn(y))
        mlp = F.relu((self.ln_mlp(y) if pre else y) @ self.w_in) @ self.w_out
        x = y + tap(f"{path}.mlp.out", mlp)
        return tap(f"{path}.resid_post", x if pre else self.ln_mlp(x))

    def attention(self, x: Tensor, tap: Tap, last: bool) -> Float[Tensor, "batch query d_model"]:
        noisy, narrow = self.z_vo is not None, self.cfg.d_model > 2 * self.cfg.d_head
        if tap is _unchanged and self.cfg.n_heads == 1 and (last or noisy or not narrow):
            return self.folded_attention(x, last)
        path, n_batch, x_q = f"{self.path}.attn", len(x), x[:, -1:] if last else x

        def heads(x: Tensor) -> Float[Tensor, "batch head pos d_head"]:
            return x.view(n_batch, x.shape[1], self.cfg.n_heads, -1).transpose(1, 2)

        if noisy:  # noise is as wide as the model, and so are q, k and v then
            q, k, v = heads(x_q @ self.w_qk()), heads(x), heads(x @ self.w_vo())
        else:
            q, k, v = heads(x_q @ self.w_q), heads(x @ self.w_k), heads(x @ self.w_v)
        q, k, v = tap(f"{path}.q", q), tap(f"{path}.k", k), tap(f"{path}.v", v)
        scores = q @ k.transpose(-1, -2) / sqrt(self.cfg.d_head)  # batch head query key
        scores = tap(f"{path}.scores", scores if last else _causal(scores))
        pattern = tap(f"{path}.pattern", scores.softmax(dim=-1))
        z = tap(f"{path}.z", pattern @ v)
        z = z.transpose(1, 2).flatten(2)
        return z if noisy else z @ self.w_o

    def folded_attention(self, x: Tensor, last: bool) -> Float[Tensor, "batch query d_model"]:
        """The same for one head through W_qk and W_vo, as the paper writes it: fewer products, but no q, k, v to see.

        Worth it where d_head is not small against d_model, and always where only the last position asks. Keys stand
        before queries here: a softmax over so few keys is several times faster where they are not the innermost axis.
        """
        n = x.shape[1]
        q = (x[:, -1:] if last else x) @ (self.w_qk() / sqrt(self.cfg.d_head))
        future = x.new_full((n, n), float("-inf")).tril(-1)  # key query: what a query must not see
        scores = torch.baddbmm(future[:, -1:] if last else future, x, q.transpose(-1, -2))  # batch key query
        pattern = scores.softmax(dim=-2)
        return pattern.transpose(-1, -2) @ x @ self.w_vo()


class Transformer(nn.Module):
    """Names the token that follows: logits over the vocabulary, at the last position unless all are asked for."""

    def __init__(self, cfg: ModelConfig, *, generator: torch.Generator, noise: torch.Generator | None = None):
        """`noise` draws the fixed matrices of the noise (default: `generator`, after the weights)."""
        super().__init__()
        self.cfg = cfg
        self.w_e = nn.Parameter(torch.randn(cfg.vocab_size, cfg.d_model, generator=generator) * cfg.d_model**-cfg.gamma)
        self.w_pos = nn.Parameter(torch.randn(cfg.n_pos, cfg.d_model, generator=generator) * cfg.d_model**-cfg.gamma)
        self.blocks = nn.ModuleList(Block(cfg, layer, generator) for layer in range(cfg.n_layers))
        self.ln_final = nn.LayerNorm(cfg.d_model) if cfg.layernorm == "pre" else nn.Identity()
        self.w_u = _draw(cfg.d_model, cfg.vocab_size, cfg, generator)
        if cfg.noise != "none":
            _add_noise(list(self.blocks), cfg, noise or generator)

    def forward(self, tokens: Int[Tensor, "batch pos"], positions: str = "last", tap: Tap | None = None) -> Tensor:
        """Logits "batch vocab" at the last position, or "batch pos vocab" with positions="all".

        The first form computes no more than it needs: the last layer's queries and MLP at one position. `tap` reads and
        changes named activations (see `matchlib.hooks`). Raises ValueError for tokens of the wrong shape or range.
        """
        if positions not in ("last", "all"):
            raise ValueError(f"positions={positions!r} is not known: choose 'last' or 'all'.")
        if tokens.dim() != 2 or not 1 <= tokens.shape[1] <= self.cfg.n_pos:
            raise ValueError(f"tokens of shape {tuple(tokens.shape)} do not fit: give (batch, 1..{self.cfg.n_pos}).")
        tap = tap or _unchanged
        x = tap("embed", self.embed_tokens(tokens)) + tap("pos_embed", self.w_pos[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x, tap, last=positions == "last" and block is self.blocks[-1])
        logits = self.ln_final(x) @ self.w_u
        return logits[:, -1] if positions == "last" else logits

    def embed_tokens(self, ids: Int[Tensor, "*n"]) -> Float[Tensor, "*n d_model"]:
        """Embeddings without positions. Raises ValueError for an id outside the vocabulary."""
        if ids.is_cuda and not torch.is_grad_enabled():  # a GPU would abort; to look is to wait, so not in training
            self._check_ids(ids)
        try:
            return F.embedding(ids, self.w_e)
        except IndexError:
            self._check_ids(ids)
            raise

    def _check_ids(self, ids: Tensor) -> None:
        low, high = (int(ids.min()), int(ids.max())) if ids.numel() else (0, 0)
        if low < 0 or high >= self.cfg.vocab_size:
            most = self.cfg.vocab_size - 1
            raise ValueError(f"Token ids {low}..{high} leave the vocabulary: allowed are 0..{most}.") from None

    def w_qk(self, layer: int, head: int | None = None) -> Float[Tensor, "d_model d_model"]:
        """W_qk = W_q W_k^T of a layer: x W_qk y^T is the score of query x and key y, before / sqrt(d_head).

        head: one of several, or None for their sum, with the noise. Raises IndexError for one that does not exist.
        """
        block, part = self._part(layer, head)
        return block.w_qk() if head is None else block.w_q[:, part] @ block.w_k[:, part].T

    def w_vo(self, layer: int, head: int | None = None) -> Float[Tensor, "d_model d_model"]:
        """W_vo = W_v W_o of a layer: what attention writes where it reads x is x W_vo. Arguments as in `w_qk`."""
        block, part = self._part(layer, head)
        return block.w_vo() if head is None else block.w_v[:, part] @ block.w_o[part]

    def noise_scalars(self) -> list[Float[Tensor, "layer"]]:
        """alpha of layers 1, 2, ... and beta of layers 0, 1, ..., where the model has noise; else nothing."""
        if self.cfg.noise == "none":
            return []
        alpha = [torch.stack([block.alpha for block in self.blocks[1:]])] if self.cfg.n_layers > 1 else []
        return [*alpha, torch.stack([block.beta for block in self.blocks])]

    def _part(self, layer: int, head: int | None) -> tuple[Block, slice]:
        for name, value, n in (("layer", layer, self.cfg.n_layers), ("head", head or 0, self.cfg.n_heads)):
            if type(value) is not int or not 0 <= value < n:
                raise IndexError(f"{name} {value!r} does not exist: this model has {name}s 0..{n - 1}.")
        size = self.cfg.d_head
        return self.blocks[layer], slice(None) if head is None else slice(head * size, (head + 1) * size)


def _draw(d_in: int, d_out: int, cfg: ModelConfig, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(d_in, d_out, generator=generator) * d_in**-cfg.gamma)


def _add_noise(blocks: list[Block], cfg: ModelConfig, generator: torch.Generator) -> None:
    """The fixed matrices, and the scalars: the transposes undo, in each kernel, what earlier layers wrote."""
    z = [_noise(cfg, generator) for _ in blocks]
    for layer, block in enumerate(blocks):
        block.z_vo, block.beta = z[layer], nn.Parameter(torch.tensor(cfg.beta))
        if layer:
            block.z_qk = z[0].clone() if layer == 1 else z[layer - 1].T @ z[0]
            block.alpha = nn.Parameter(torch.tensor(cfg.alpha))


def _noise(cfg: ModelConfig, generator: torch.Generator) -> Float[Tensor, "d_model d_model"]:
    if cfg.noise == "identity":
        return torch.eye(cfg.d_model)
    z = torch.randn(cfg.d_model, cfg.d_model, generator=generator)
    if cfg.noise == "gaussian":
        return z / sqrt(cfg.d_model)
    q, r = torch.linalg.qr(z)
    return q * r.diagonal().sign()  # without the signs some rotations would be more likely than others


def _causal(scores: Float[Tensor, "*batch query key"]) -> Float[Tensor, "*batch query key"]:
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(future, float("-inf"))


def _unchanged(name: str, x: Tensor) -> Tensor:
    return x
