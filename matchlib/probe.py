"""Does a model match? Kernels, matching matrices, scores, attention on the expected edge, and their controls.

Layer 0 pairs: the second token of an edge, b, takes up the first, a, through W_vo(0). Each later layer l matches: the
last position asks with the newest token it holds, written by W_vo(l-1) (or its own embedding at l = 1), and the keys
answer with the predecessor that they hold. Token x against token y then scores x Ker y^T, with

    Ker(1) = W_qk(1) W_vo(0)^T         Ker(l) = W_vo(l-1) W_qk(l) W_vo(0)^T  for l >= 2

LayerNorm, MLPs and positions are left out: a kernel describes the linear path alone, and lesson 04 tests whether that
path is what answers. Source: arXiv 2405.15302 section 3; the kernels for l >= 2 follow from its figures.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from matchlib.data import Batch
from matchlib.hooks import cache
from matchlib.model import ModelConfig, Transformer

Questions = tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch"]]  # tokens and answers
Tokens = Int[Tensor, "token"] | Float[Tensor, "token d_model"] | None


@torch.no_grad()
def kernel(model: Transformer, layer: int) -> Float[Tensor, "d_model d_model"]:
    """Ker of a matching layer, 1..n_layers-1, of the sum over heads. Raises IndexError for another."""
    ker = model.w_qk(check_layer(model.cfg, layer)) @ model.w_vo(0).T
    return ker if layer == 1 else model.w_vo(layer - 1) @ ker


def check_layer(cfg: ModelConfig, layer: int) -> int:
    """The layer, if it can match. Raises IndexError otherwise."""
    if type(layer) is not int or not 1 <= layer < cfg.n_layers:
        raise IndexError(
            f"layer {layer!r} has no kernel: matching happens in layers 1..{cfg.n_layers - 1}, layer 0 pairs."
            if cfg.n_layers > 1
            else f"layer {layer!r} has no kernel: a model of one layer can pair but not match."
        )
    return layer


@torch.no_grad()
def matching_matrix(model: Transformer, layer: int, tokens: Tokens = None) -> Float[Tensor, "query key"]:
    """h(X) = X Ker X^T: matching means that the diagonal is the largest entry of its row.

    tokens: ids; or vectors, e.g. from `gaussian_tokens`; or None for every token of the vocabulary but padding.
    """
    x = token_vectors(model, tokens)
    return x @ kernel(model, layer) @ x.T


@torch.no_grad()
def token_vectors(model: Transformer, tokens: Tokens = None) -> Float[Tensor, "token d_model"]:
    """The vectors that `tokens` stands for (see `matching_matrix`). Raises ValueError for a wrong shape."""
    device = model.w_e.device
    if tokens is None:
        tokens = torch.arange(1, model.cfg.vocab_size, device=device)
    if not tokens.is_floating_point():
        tokens = model.embed_tokens(tokens.to(device))
    if tokens.dim() != 2 or tokens.shape[1] != model.cfg.d_model:
        raise ValueError(f"vectors of shape {tuple(tokens.shape)} do not fit: give (n, {model.cfg.d_model}).")
    return tokens.to(device)


@torch.no_grad()
def gaussian_tokens(model: Transformer, n: int, generator: torch.Generator) -> Float[Tensor, "n d_model"]:
    """Tokens that never existed: Gaussian vectors with the standard deviation of the model's token embeddings."""
    return torch.randn(n, model.cfg.d_model, generator=generator).to(model.w_e.device) * model.w_e[1:].std()


def matching_score(model: Transformer, layer: int, tokens: Tokens = None) -> float:
    """Mean over rows of the diagonal of softmax(h(X)), in [0, 1]; 1 / n where h says nothing."""
    return score(matching_matrix(model, layer, tokens))


def argmax_score(model: Transformer, layer: int, tokens: Tokens = None) -> float:
    """Share of rows of h(X) whose largest entry is the diagonal, in [0, 1]. Unlike the softmax it ignores scale."""
    return argmax_of(matching_matrix(model, layer, tokens))


def score(h: Float[Tensor, "query key"]) -> float:
    """The matching score of any square matrix."""
    return both_scores(h)[0].item()


def argmax_of(h: Float[Tensor, "query key"]) -> float:
    """The argmax score of any square matrix: a tie is no match."""
    return both_scores(h)[1].item()


def both_scores(h: Float[Tensor, "query key"]) -> Float[Tensor, "2"]:
    """Matching score and argmax score of any square matrix, without waiting for the device."""
    others = h.masked_fill(torch.eye(len(h), dtype=torch.bool, device=h.device), float("-inf")).amax(dim=-1)
    return torch.stack([h.softmax(dim=-1).diagonal().mean(), (h.diagonal() > others).float().mean()])


@torch.no_grad()
def numbers(model: Transformer, asked: Sequence[Questions], ids: Int[Tensor, "token"]) -> Float[Tensor, "number"]:
    """The loss on the first of some sets of questions, the accuracy on each, then both scores of each matching layer.

    Last come the scalars of the noise, where there is any: alpha of layers 1, 2, ..., and beta of layers 0, 1, ...
    One tensor, in the order of `record.Evaluation.of`: to read it is the one wait for the device.
    """
    logits = [model(tokens) for tokens, _ in asked]
    loss = F.cross_entropy(logits[0], asked[0][1])
    accuracy = [(x.argmax(dim=-1) == answer).float().mean() for x, (_, answer) in zip(logits, asked)]
    scores = [both_scores(matching_matrix(model, layer, ids)) for layer in range(1, model.cfg.n_layers)]
    return torch.cat([torch.stack([loss, *accuracy]), *scores, *model.noise_scalars()])


@torch.no_grad()
def normalised_trace(matrix: Float[Tensor, "d d"]) -> float:
    """tr(M) / (sqrt(d) ||M||_F), in [-1, 1]: 1 for the identity, near 0 (about 1 / d) for a random matrix."""
    return (matrix.trace() / (len(matrix) ** 0.5 * matrix.norm())).item()


@torch.no_grad()
def factors(model: Transformer, layer: int) -> dict[str, Float[Tensor, "d_model d_model"]]:
    """The matrices whose product is the kernel, by name and in order: none of them need be diagonal itself."""
    parts = {f"W_vo({layer - 1})": model.w_vo(layer - 1)} if check_layer(model.cfg, layer) > 1 else {}
    return parts | {f"W_qk({layer})": model.w_qk(layer), "W_vo(0)^T": model.w_vo(0).T}


def controls(model: Transformer, layer: int, generator: torch.Generator) -> dict[str, Float[Tensor, "d_model d_model"]]:
    """The kernel beside what must not match: each factor alone, and the kernel of a model that never trained."""
    untrained = Transformer(model.cfg, generator=generator).to(model.w_e.device)
    return {"kernel": kernel(model, layer)} | factors(model, layer) | {"untrained kernel": kernel(untrained, layer)}


@torch.no_grad()
def expected_attention(model: Transformer, batch: Batch) -> Float[Tensor, "layer"]:
    """Mean attention on the edge that the mechanism expects, averaged over heads, in [0, 1].

    Layer 0: from the second token of every edge to the first. Layer l >= 1: from the last position to the second token
    of the l-th edge of the path. Only layers that the path is long enough for are returned.
    """
    batch = batch.to(model.w_e.device)
    names = [f"blocks.{layer}.attn.pattern" for layer in range(model.cfg.n_layers)]
    patterns = [p.mean(dim=1) for p in cache(model, batch.tokens, names)[1].values()]  # batch query key
    first = batch.edge_pos.flatten(1)
    row = torch.arange(len(batch), device=first.device)
    found = [patterns[0][row[:, None], first + 1, first].mean()]
    for layer in range(1, min(model.cfg.n_layers, int(batch.hops.min()) + 1)):
        found.append(patterns[layer][row, -1, batch.path_pos[:, layer - 1] + 1].mean())
    return torch.stack(found)


def flow(
    model: Transformer, batch: Batch, i: int = 0
) -> tuple[Float[Tensor, "layer query key"], list[tuple[int, int, int]]]:
    """Attention of question `i` in every layer (mean over heads), and the edges (layer, query, key) that are expected.

    In layer 0 each edge of the path pairs its two tokens; in layer l the last position reads the l-th of them.
    """
    one = batch[i : i + 1].to(model.w_e.device)
    names = [f"blocks.{layer}.attn.pattern" for layer in range(model.cfg.n_layers)]
    patterns = torch.cat([p.mean(dim=1) for p in cache(model, one.tokens, names)[1].values()])
    first = one.path_pos[0, : int(one.hops)].tolist()
    pairs = [(0, pos + 1, pos) for pos in first]
    last = one.tokens.shape[1] - 1
    return patterns, pairs + [
        (layer, last, pos + 1) for layer, pos in enumerate(first[: model.cfg.n_layers - 1], start=1)
    ]


@torch.no_grad()
def with_trained_length(model: Transformer, n_tokens: int) -> Transformer:
    """A copy in which every token that training never showed is as long, on average, as those that it did show.

    Ids above `n_tokens` (the unseen block) are scaled by one common factor; directions and all else stay. Training
    lengthens the embeddings that it uses, and a matching score is quadratic in length: this tells direction from size.
    """
    changed = deepcopy(model)
    length = changed.w_e.norm(dim=1)
    seen, unseen = slice(1, n_tokens + 1), slice(n_tokens + 1, 2 * n_tokens + 1)
    changed.w_e[unseen] *= length[seen].mean() / length[unseen].mean()
    return changed
