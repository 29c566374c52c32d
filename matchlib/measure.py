"""What is measured of a model on its way: accuracy on four splits, and how well each of its layers matches."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from matchlib.model import Transformer
from matchlib.probe import both_scores, matching_matrix
from matchlib.record import Evaluation

SPLITS = ("fit", "train", "test", "ood")  # fit: sequences that the optimiser sees; the others are held apart

Questions = tuple[Int[Tensor, "batch pos"], Int[Tensor, "batch"]]  # tokens and answers


@torch.no_grad()
def numbers(model: Transformer, asked: Sequence[Questions], ids: Int[Tensor, "token"]) -> Float[Tensor, "number"]:
    """The loss on the first of `SPLITS`, the accuracy on each, then both scores of each matching layer over `ids`.

    One tensor: to read it is the one wait for the device.
    """
    logits = [model(tokens) for tokens, _ in asked]
    loss = F.cross_entropy(logits[0], asked[0][1])
    accuracy = [(x.argmax(dim=-1) == answer).float().mean() for x, (_, answer) in zip(logits, asked)]
    scores = [both_scores(matching_matrix(model, layer, ids)) for layer in range(1, model.cfg.n_layers)]
    return torch.cat([torch.stack([loss, *accuracy]), *scores])


def evaluation(step: int, found: Sequence[float], loss: float | None = None) -> Evaluation:
    """What `numbers` found after `step` updates. loss: the mean over the updates since the last time, if there were."""
    first, accuracy, scores = found[0], found[1 : 1 + len(SPLITS)], found[1 + len(SPLITS) :]
    loss = first if loss is None else loss
    return Evaluation(step, loss, *accuracy, matching=tuple(scores[::2]), argmax=tuple(scores[1::2]))
