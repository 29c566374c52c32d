"""Two networks by hand that both answer and store otherwise: buffers side by side, and one drawer written over.

A test of "side by side" that never met a network where it is false may be one that nothing can fail. "side by side" is
`construct.build`. In "written over" the MLP of layer 1 exchanges two drawers, at every position: what layer 1 wrote
then stands where the token itself stood, that moves to where nobody asks, and layer 2 asks as layer 1 does. Ours.
"""

from dataclasses import replace
from functools import cache

import torch

from matchlib.construct import build
from matchlib.data import ChainTask
from matchlib.model import Transformer


@cache
def two_networks() -> tuple[ChainTask, dict[str, Transformer]]:
    """A task of 20 tokens and two hops, and the two networks for it: 256 wide, with a sink, so ask `with_sink`."""
    task = ChainTask(n_tokens=20)
    side = build(task, 256, generator=torch.Generator().manual_seed(0))
    rank = side.cfg.vocab_size - 1
    cfg = replace(side.cfg, d_mlp=2 * rank)
    over = Transformer(cfg, generator=torch.Generator().manual_seed(0))
    own, one = over.state_dict(), torch.eye(256)
    over.load_state_dict(own | {k: v for k, v in side.state_dict().items() if v.shape == own[k].shape})
    with torch.no_grad():
        taken = torch.cat([side.w_e[1:], one[: cfg.n_pos], torch.ones(1, 256)])
        here = torch.linalg.svd(side.w_e, full_matrices=False).Vh[:rank]
        there = torch.linalg.svd(taken).Vh[len(taken) :][:rank]
        step = here - there
        swap = one - step.T @ step  # a reflection: orthogonal, and its own inverse
        for block in over.blocks:
            block.w_in.zero_()
            block.w_out.zero_()
        layer_1, layer_2 = over.blocks[1:]
        layer_1.w_o.copy_(swap)
        layer_1.w_in.copy_(torch.cat([step.T, -step.T], dim=1))  # ReLU(y) - ReLU(-y) = y, so x becomes x swap
        layer_1.w_out.copy_(torch.cat([-step, step]))
        layer_2.w_q.copy_(layer_1.w_q)
        layer_2.w_k.copy_(swap @ layer_2.w_k)
        layer_2.w_v.copy_(swap @ layer_2.w_v)
    return task, {"side by side": side, "written over": over}
