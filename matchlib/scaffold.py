"""Teach each layer what the rules let it hold: a scaffold for a training, which is taken away later.

A pass that does several steps at once needs places that are not asked about: after layer 1 the place of a middle edge
should know its neighbours. The answer's loss says this from far away. The scaffold says it on the spot: after the
first two layers (but never the last one) each second token, and the question, has to name the nodes that it holds
*newly* by the rules of parallel reasoning (`matchlib.rules`), through linear maps that are trained beside the model and
then thrown away. Later layers are taught by the answer alone. The idea is deep supervision (Lee et al. 2015, arXiv
1409.5185); what is supervised here is ours.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from matchlib.data import Batch
from matchlib.model import ModelConfig, Transformer
from matchlib.train import seeded

LAYERS = 2  # that have a scaffold; one fewer where the second is the last
Holding = Bool[Tensor, "layer batch place node"]


def holds(batch: Batch, n_layers: int) -> Holding:
    """Which nodes each place holds after 1, 2, ... layers, by the rules; nodes are counted from the start.

    Place i is the second token of edge i from the start, the last place is the question. The rules word for word, for
    many questions at once. Raises ValueError for questions that are not of a ring.
    """
    n, n_edges = len(batch), batch.edge_pos.shape[2]
    if batch.chain.shape[1:] != (1, n_edges):
        raise ValueError("Only on a ring does every start have the same edges ahead: give questions of a ring.")
    own = torch.eye(n_edges)
    held = torch.cat([own + own.roll(1, dims=1), own[:1]])[None].repeat(n, 1, 1)
    at = torch.cat([places(batch), batch.tokens.shape[1] * torch.ones(n, 1)], dim=1)
    earlier = at[:, None, :] < at[:, :, None]  # batch place sender
    layers = [held > 0]
    for _ in range(1, n_layers):
        heard = (held @ held.transpose(1, 2) > 0) & earlier
        held = ((held + heard.float() @ held) > 0).float()
        layers.append(held > 0)
    return torch.stack(layers)


def places(batch: Batch) -> Tensor:
    """Where the second token of each edge stands, "batch edge", counted from the start."""
    n_edges = batch.edge_pos.shape[2]
    along = (batch.start[:, None] + torch.arange(n_edges)) % n_edges
    return batch.edge_pos[:, 0].gather(1, along) + 1


class Scaffold(nn.Module):
    """Linear maps from what a place holds after a layer to the tokens that it should name: a map a layer and distance.

    A distance is how far a node lies from the place's own, along the ring.
    """

    def __init__(self, cfg: ModelConfig, n_edges: int, seed: int):
        super().__init__()
        draw = seeded(seed, "scaffold")
        self.n_layers = min(LAYERS, cfg.n_layers - 1)
        shape = (self.n_layers, n_edges, cfg.d_model, cfg.vocab_size)
        self.maps = nn.Parameter(torch.randn(shape, generator=draw) * cfg.d_model**-cfg.gamma)

    def losses(self, model: Transformer, batch: Batch) -> list[Float[Tensor, ""]]:
        """The loss of the answer, and of each layer with a scaffold.

        The latter is a sum of mean cross entropies, one a distance, of the edges' places and of the question: with one
        mean over both, the question, which is one place of many, weighs too little, and layer 1 learns half of it.
        """
        seen: dict[str, Tensor] = {}

        def keep(name: str, x: Tensor) -> Tensor:
            seen[name] = x
            return x

        answer = F.cross_entropy(model(batch.tokens, tap=keep), batch.answer)
        n, n_edges = len(batch), batch.edge_pos.shape[2]
        row, held = torch.arange(n)[:, None], holds(batch, self.n_layers)
        at = torch.cat([places(batch), torch.full((n, 1), batch.tokens.shape[1] - 1)], dim=1)
        nodes = batch.chain[row, 0, (batch.start[:, None] + torch.arange(n_edges)) % n_edges]  # tokens from the start
        own = torch.cat([torch.arange(1, n_edges + 1), torch.zeros(1, dtype=torch.long)])  # of each place
        known = F.one_hot(own % n_edges, n_edges).bool().expand(n, -1, -1)
        question, losses = torch.arange(n_edges + 1) == n_edges, [answer]
        for layer, holding in enumerate(held):
            x, new = seen[f"blocks.{layer}.resid_post"][row, at], holding & ~known
            terms = []
            for distance in range(1, n_edges):
                wanted = (own + distance) % n_edges
                asked = new[:, torch.arange(n_edges + 1), wanted]
                for where in (asked & ~question, asked & question):
                    if where.any():
                        said = x[where] @ self.maps[layer, distance]
                        terms.append(F.cross_entropy(said, nodes[:, wanted][where]))
            losses.append(torch.stack(terms).sum())
            known = holding
        return losses
