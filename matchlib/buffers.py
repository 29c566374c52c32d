"""What a position holds: a token's buffer as vectors and as a subspace, how far buffers overlap, and reading them back.

Two definitions. *By the weights*: attention of layer l writes token t as e_t W_vo(l), and nothing else is asked. *By
means*: what an activation holds on average where token t plays a part, over many sequences, less the mean of all. The
first knows no LayerNorm, MLP or position; the second knows them all, and tells no cause. `scale_of` says how far the
one explains the other. Source: W_vo as a buffer arXiv 2405.15302; the measures are ours.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matchlib.data import Batch
from matchlib.evidence import Count
from matchlib.hooks import cache
from matchlib.model import Transformer


@torch.no_grad()
def written(model: Transformer, layer: int) -> Float[Tensor, "vocab d_model"]:
    """What attention of a layer writes for each token where it reads it: e_t W_vo(layer), up to scale."""
    return model.w_e @ model.w_vo(layer)


def at_last(model: Transformer, batch: Batch, name: str) -> Float[Tensor, "batch d"]:
    """What a named activation holds at the last position of these questions."""
    return cache(model, batch.tokens.to(model.w_e.device), [name])[1][name][:, -1].cpu()


def means(x: Float[Tensor, "batch d"], token: Int[Tensor, "batch"], vocab_size: int) -> Float[Tensor, "vocab d"]:
    """The mean of x where this token plays the part, less the mean of all; zero for tokens that never do."""
    total = torch.zeros(vocab_size, x.shape[-1]).index_add_(0, token.cpu(), x - x.mean(dim=0))
    return total / torch.bincount(token.cpu(), minlength=vocab_size)[:, None].clamp(min=1)


def held(model: Transformer, reference: Batch, name: str, step: int) -> Float[Tensor, "vocab d"]:
    """What an activation at the last position holds on average for each token at this step of the path (0: the start).

    Measured on the reference sequences: see `means`.
    """
    return means(at_last(model, reference, name), reference.path[:, step], model.cfg.vocab_size)


def scale_of(written: Float[Tensor, "n d"], held: Float[Tensor, "n d"]) -> tuple[float, float]:
    """By which factor is what is held what was written, and which share of its variance does that explain, 0 to 1?

    Least squares over the rows, each table less its mean row.
    """
    w, h = written - written.mean(dim=0), held - held.mean(dim=0)
    factor = (w * h).sum() / (w * w).sum()
    return factor.item(), (1 - ((h - factor * w) ** 2).sum() / (h * h).sum()).item()


def span(vectors: Float[Tensor, "n d"], rank: int) -> Float[Tensor, "rank d"]:
    """An orthonormal basis (rows) of the leading directions of some vectors, less their mean.

    Raises ValueError for a rank that they do not have.
    """
    centred = vectors - vectors.mean(dim=0)
    most = int(torch.linalg.matrix_rank(centred))
    if type(rank) is not int or not 1 <= rank <= most:
        raise ValueError(f"rank={rank!r} does not fit: these vectors span {most} dimensions, so choose 1..{most}.")
    return torch.linalg.svd(centred, full_matrices=False).Vh[:rank]


def random_span(rank: int, d: int, generator: torch.Generator) -> Float[Tensor, "rank d"]:
    """A random subspace of this rank, as an orthonormal basis: the control for any other of the same rank."""
    return torch.linalg.qr(torch.randn(d, rank, generator=generator)).Q.T


def principal_cosines(one: Float[Tensor, "rank d"], two: Float[Tensor, "rank d"]) -> Float[Tensor, "least_rank"]:
    """Cosines of the angles between two subspaces, largest first: 1 where they share a direction, 0 where they do not.

    Beware of chance: two random subspaces of rank r in d dimensions share directions surely once 2 r > d.
    """
    return torch.linalg.svdvals(one @ two.T)


def readable(
    x: Float[Tensor, "batch d"],
    mean_of: Float[Tensor, "vocab d"],
    nodes: Int[Tensor, "batch node"],
    token: Int[Tensor, "batch"],
) -> Count:
    """How often can this token be told among the nodes of its graph from what a position holds?

    x and mean_of (from `means`, of other sequences) each less the mean of all. Names the node whose mean is nearest:
    chance is one in the number of nodes.
    """
    nearest = (x[:, None] - mean_of[nodes]).norm(dim=-1).argmin(dim=1, keepdim=True)
    return Count.of(nodes.gather(1, nearest)[:, 0] == token)
