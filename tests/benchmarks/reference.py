"""The straightforward way to do what matchlib does: the same results, written for the reader and not for speed.

`python -m matchlib bench` measures matchlib against these, and `test_reference.py` holds both to the same results.
"""

import random
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer


class PlainLayer(nn.Module):
    """One layer as textbooks write it: linear maps, every query, a mask, a softmax over keys."""

    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.cfg, width = cfg, cfg.n_heads * cfg.d_head
        self.q, self.k, self.v = (nn.Linear(cfg.d_model, width, bias=False) for _ in range(3))
        self.o = nn.Linear(width, cfg.d_model, bias=False)
        self.up, self.down = (
            nn.Linear(cfg.d_model, cfg.d_mlp, bias=False),
            nn.Linear(cfg.d_mlp, cfg.d_model, bias=False),
        )
        self.norm_1, self.norm_2 = nn.LayerNorm(cfg.d_model), nn.LayerNorm(cfg.d_model)

    def forward(self, x: Tensor) -> Tensor:
        pre = self.cfg.layernorm == "pre"
        y = x + self.attention(self.norm_1(x) if pre else x)
        y = y if pre else self.norm_1(y)
        z = y + self.down(F.relu(self.up(self.norm_2(y) if pre else y)))
        return z if pre else self.norm_2(z)

    def attention(self, x: Tensor) -> Tensor:
        n, t, _ = x.shape
        q, k, v = (m(x).view(n, t, self.cfg.n_heads, self.cfg.d_head).transpose(1, 2) for m in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2) / sqrt(self.cfg.d_head)
        future = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        pattern = scores.masked_fill(future, float("-inf")).softmax(dim=-1)
        return self.o((pattern @ v).transpose(1, 2).reshape(n, t, -1))


class PlainTransformer(nn.Module):
    """The same function as `Transformer`, from the same weights: logits at the last position."""

    def __init__(self, model: Transformer):
        super().__init__()
        cfg = model.cfg
        self.tokens, self.positions = nn.Embedding(cfg.vocab_size, cfg.d_model), nn.Embedding(cfg.n_pos, cfg.d_model)
        self.layers = nn.ModuleList(PlainLayer(cfg) for _ in range(cfg.n_layers))
        self.norm = nn.LayerNorm(cfg.d_model) if cfg.layernorm == "pre" else nn.Identity()
        self.unembed = nn.Linear(cfg.d_model, cfg.vocab_size, bias=False)
        with torch.no_grad():
            self.tokens.weight.copy_(model.w_e)
            self.positions.weight.copy_(model.w_pos)
            self.unembed.weight.copy_(model.w_u.T)
            for plain, block in zip(self.layers, model.blocks):
                linears = (plain.q, plain.k, plain.v, plain.o, plain.up, plain.down)
                for linear, w in zip(linears, (block.w_q, block.w_k, block.w_v, block.w_o, block.w_in, block.w_out)):
                    linear.weight.copy_(w.T)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.unembed(self.norm(x))[:, -1]


def questions(task: ChainTask, n: int, split: str, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Tokens and answers of a `single` task, one after the other: draw a chain until the residue rule allows it.

    Each node is drawn among all tokens, and a chain that breaks the rule or repeats a token is thrown away at once.
    """
    allowed = {"train": (0, 1, 4), "test": (2, 3)}[split]
    tokens, answers = [], []
    while len(tokens) < n:
        chain = [rng.randint(1, task.n_tokens)]
        while len(chain) <= task.n_edges:
            node = rng.randint(1, task.n_tokens)
            if node in chain or (node - chain[-1]) % 5 not in allowed:
                break
            chain.append(node)
        if len(chain) <= task.n_edges:
            continue
        edges = list(zip(chain, chain[1:]))
        rng.shuffle(edges)
        start = rng.randint(0, task.n_edges - task.hops)
        tokens.append([node for edge in edges for node in edge] + [chain[start]])
        answers.append(chain[start + task.hops])
    return torch.tensor(tokens), torch.tensor(answers)
