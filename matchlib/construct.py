"""A network that nobody trained: every weight is written down, and it follows chains by matching.

    axes         position i is the unit vector of axis i; tokens are random vectors on the axes that are left
    buffers      Z(0), Z(1), ...: random orthogonal matrices. x Z(l) is x in buffer l, and (x Z(l)) Z(l)^T is x again
    layer 0      pairs: the second token of an edge, b, looks at the position before its own and takes up its token:
                     b  ->  b + a Z(0)                                W_qk joins p_i to p_(i-1), W_vo = Z(0)
    layer l      matches: the last position asks with the newest token it holds, W_q = 1 at l = 1 and Z(l-1)^T later;
                 each key answers with the predecessor it holds, W_k = Z(0)^T; what is found fills the next buffer:
                     a  ->  a + (b + a Z(0)) Z(1)  ->  ... + (c + b Z(0) + ...) Z(2)                W_vo = Z(l)
    unembedding  reads the last buffer alone, Z(L-1)^T E^T: so L layers take L - 1 hops, no more and no fewer.

MLPs are zero, and LayerNorm keeps its initial weights: it rescales, and removes the mean, one direction of d_model.
Values carry the token axes alone, so that no position is ever taken for a token.

Noise. Two random directions overlap by about 1 / sqrt(d_model), so whatever else a vector holds disturbs whoever reads
one buffer of it. Every position goes on matching, whether or not there is an edge to find, and fills its own buffers:
the match gets fainter from layer to layer (`match_share`), and only width brings it back above the noise. A Gaussian Z
gives a token back with an error as long as the token, x Z Z^T = x + noise; that, too, costs width.

The sink. A softmax must spend its weight somewhere. Position 0 sees itself alone: without a sink it takes up *its own*
token, as if an edge a -> a stood there, and whoever asks for a finds that edge beside the true one. The other first
tokens, who have no predecessor, take up the mean of all that they see. The remedy is a pad in front (`with_sink`): its
embedding is zero, first tokens look at it, and what it gives them is nothing.

Source: arXiv 2405.15302, the network built by hand. Positions on axes of their own, LayerNorm and `match_share`: ours.
"""

from dataclasses import replace
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.data import Batch, ChainTask
from matchlib.model import ModelConfig, Transformer

BUFFERS = ("orthogonal", "gaussian")


@torch.no_grad()
def build(
    task: ChainTask,
    d_model: int,
    *,
    buffers: str = "orthogonal",
    sink: bool = True,
    layernorm: str = "post",
    sharpness: float = 100.0,
    generator: torch.Generator,
) -> Transformer:
    """A network with hops + 1 layers that answers this task without training; all probes and hooks run on it.

    buffers: what each Z(l) is: orthogonal | gaussian, of variance 1 / d_model. sink: expect a pad in front of every
    question, from `with_sink`. sharpness: the attention score, in nats, of an exact match between whole vectors.
    Raises ValueError for a task without one fixed number of hops, and for a d_model that leaves tokens no axes.
    """
    n_pos = task.n_pos + sink
    _check(task, d_model, n_pos, buffers, sharpness)
    cfg = ModelConfig(
        n_layers=task.all_hops[0] + 1, d_model=d_model, d_head=d_model, d_mlp=1,
        vocab_size=task.vocab_size, n_pos=n_pos, layernorm=layernorm,
    )  # fmt: skip
    model = Transformer(cfg, generator=generator)
    one = torch.eye(d_model)
    z = [_buffer(d_model, buffers, generator) for _ in model.blocks]

    model.w_pos.copy_(one[:n_pos])
    model.w_e.copy_(_token_vectors(task.vocab_size, d_model, n_pos, generator))
    for block, written in zip(model.blocks, z, strict=True):
        block.w_v.copy_(one)
        block.w_v[:n_pos] = 0  # positions stay where they are
        block.w_o.copy_(written)
        block.w_in.zero_()
        block.w_out.zero_()

    # Attention divides scores by sqrt(d_head). Positions have length 1 where layer 0 reads them, and every later layer
    # reads vectors of length sqrt(d_model), from LayerNorm: these two factors make both score in units of `sharpness`.
    pairing, *matching = model.blocks
    pairing.w_q.copy_(sharpness * sqrt(d_model) * one)
    pairing.w_k.zero_()
    pairing.w_k[:n_pos, :n_pos] = _pairs(n_pos, sink).T
    for layer, block in enumerate(matching, start=1):
        newest = one if layer == 1 else z[layer - 1].T
        block.w_q.copy_(sharpness / sqrt(d_model) * newest)
        block.w_k.copy_(z[0].T)
    model.w_u.copy_(z[-1].T @ model.w_e.T)
    return model


def with_sink(batch: Batch) -> Batch:
    """The same questions with a pad, token 0, in front: what a network with a sink reads.

    All positions move up by one, so probes find their edges; `chain_graph` draws the batch without the pad.
    """
    moved = {name: getattr(batch, name) for name in ("edge_pos", "noise_pos", "path_pos")}
    moved = {name: torch.where(pos < 0, pos, pos + 1) for name, pos in moved.items()}
    return replace(batch, tokens=torch.nn.functional.pad(batch.tokens, (1, 0)), **moved)


def match_share(layer: int, layernorm: str = "post") -> float:
    """How loud is a match still in layer 1, 2, ...? Its score over `sharpness`, where every position writes in full.

    A score is the product of two shares: how much of the query is its newest token, and how much of the key is its
    predecessor. At l = 1 these are 1 and 1 / sqrt(2). Post-LN then divides all that stands by sqrt(2) in every layer,
    which makes 2^-l; pre-LN adds up vectors of one length, which makes 1 / (l sqrt(l + 1)). A position that spreads
    its attention, or spends it on the sink, writes less and dilutes less: this is a floor. Noise is 1 / sqrt(d_model),
    so each further hop asks for up to four times the width with post-LN, for less with pre-LN.
    Source: ours. Raises ValueError for a layer below 1 or an unknown placement.
    """
    if type(layer) is not int or layer < 1:
        raise ValueError(f"layer={layer!r} does not match anything: give a whole number of at least 1.")
    if layernorm not in ("post", "pre"):
        raise ValueError(f"layernorm={layernorm!r} is not known: choose 'post' or 'pre'.")
    if layernorm == "pre" or layer == 1:
        return 1 / (layer * sqrt(layer + 1))
    return 2.0**-layer


def _buffer(d_model: int, kind: str, generator: torch.Generator) -> Float[Tensor, "d_model d_model"]:
    gaussian = torch.randn(d_model, d_model, generator=generator)
    return torch.linalg.qr(gaussian).Q if kind == "orthogonal" else gaussian / sqrt(d_model)


def _token_vectors(n: int, d_model: int, n_pos: int, generator: torch.Generator) -> Float[Tensor, "n d_model"]:
    """Random directions on the token axes, of mean zero and length sqrt(d_model), as LayerNorm would leave them.

    Token 0, padding, is the zero vector: it says nothing.
    """
    directions = torch.randn(n, d_model - n_pos, generator=generator)
    directions -= directions.mean(dim=1, keepdim=True)
    directions *= sqrt(d_model) / directions.norm(dim=1, keepdim=True)
    directions[0] = 0
    return torch.nn.functional.pad(directions, (n_pos, 0))


def _pairs(n_pos: int, sink: bool) -> Float[Tensor, "query key"]:
    """Which position looks at which in layer 0: second tokens at the first of their edge, all others at the sink.

    Without a sink the others look nowhere: their scores are all zero, and their attention is even.
    """
    looks_at = torch.zeros(n_pos, n_pos)
    second = torch.arange(1 + sink, n_pos, 2)
    if sink:
        looks_at[:, 0] = 1
        looks_at[second, 0] = 0
    looks_at[second, second - 1] = 1
    return looks_at


def _check(task: ChainTask, d_model: int, n_pos: int, buffers: str, sharpness: float) -> None:
    if task.has_order or len(task.all_hops) != 1:
        raise ValueError(
            f"A {task.kind} task with hops={task.hops!r} has no network by hand: each layer takes one hop, "
            "so choose another kind than 'ordered' and a single number of hops."
        )
    if type(d_model) is not int or d_model < n_pos + 2:
        raise ValueError(
            f"d_model={d_model!r} is too few: {n_pos} positions need an axis each and tokens at least 2, "
            f"so choose a whole number of at least {n_pos + 2}."
        )
    if buffers not in BUFFERS:
        raise ValueError(f"buffers={buffers!r} is not known: choose 'orthogonal' or 'gaussian'.")
    if not sharpness > 0:
        raise ValueError(f"sharpness={sharpness!r} must be positive: 100 is usual, 0 would attend evenly.")
