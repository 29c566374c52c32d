"""Deeper models on richer tasks: does matching explain these too? What is asked of each, and what matching predicts.

Five layers learn one, two and three hops, mixed, on the tasks `ordered`, `double_end` and `noised`. A step of a
question is (hops, step): of two hops, the first. Its *own* node is the one that the step leads to; the *other* is a
node from which the graph goes on long enough: of the other chain where there are two. A count is [hits, questions].

    right       by hops: right answers
    walked      by step: in every layer from 1 on the question exchanges its attention to the own node and the other;
                how often is the node said that lies as many steps after the other as remained?
    walked_at   by layer 1, 2, ... and step: the same in one layer alone
    by_start, by_order   by step, `ordered`: the same for one of the question's two places alone, start or order token
    instead     by step: how often `walked` brings the right answer, the node that the step sets out from, or the other
    beside      by step: both this and `stored`, so that the question reads the own node, but beside it stands the wrong
                predecessor: how often is the right answer said, and the node that the step sets out from?
    stored      by step: what attention wrote at the own node and at the other is exchanged, in every layer but the
                last; the same node is predicted
    stored_at   by layer 0, 1, ... and step: the same in one layer alone
    aside       by hops: the question exchanges its attention to two nodes off the path: still right? the control
    cut         by step: the question may not attend to the edge of the own node, from layer 1 on: still right?
    alone       by layer 1, 2, ... and hops: from this layer on no place but the question's may attend: still right?
    most, least by layer 1, 2, ..., what it asks with (the token as it is, or what layer 0, 1, ... writes of it) and
                what is stored (what layer 0, 1, ... writes): argmax and argmin score of the kernel that compares them
    unsaid      by layer 1, 2, ... and what is stored (as in `most`): argmin score of what the layer, where it reads
                this, says of every token: 1 where each lowers itself most, and so the node that the question stands on
    further     double chains: asked from the chain's first node, one hop more than in training: right answers
    unnoised    `noised`, by hops: nobody may attend to the noise edges, in any layer: still right?
    from_noise  `noised`, by 2, 3, 4 hops: asked from the noise node of a chain, which training never does: right?

Source: ours; the tasks are those of arXiv 2405.15302, appendix.
"""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from matchlib.data import Batch, ChainTask
from matchlib.model import Transformer
from matchlib.patch import Changes, cut, exchange, redirect, says, together
from matchlib.probe import argmax_of, token_vectors
from matchlib.record import Run
from matchlib.train import TrainState, seeded

TASKS, HOPS, N_LAYERS = ("ordered", "double_end", "noised"), (1, 2, 3), 5
STEPS = tuple((hops, step) for hops in HOPS for step in range(1, hops + 1))
N = 900  # questions asked of each model


def asks(task: ChainTask, n_layers: int) -> bool:
    """Whether the questions above are defined for this task and model."""
    return task.kind in TASKS and task.all_hops == HOPS and n_layers == N_LAYERS and task.n_edges > max(HOPS)


def examine(run: Run | TrainState) -> dict[str, list]:
    """All that is asked of a trained model, by name; nothing for tasks and models that the questions do not fit."""
    task, model = run.task, run.model.cpu()
    if not asks(task, model.cfg.n_layers):
        return {}
    batch = task.sample(N, run.train_config.split, generator=seeded(run.seed, "beyond"))
    generator = seeded(run.seed, "beyond", "others")
    asked = [batch[batch.hops == hops] for hops in HOPS]
    found = {name: [] for name in ("right", "aside")}
    for of_hops in asked:
        for name, change in (("right", {}), ("aside", off_path(model, of_hops, generator))):
            found[name].append(count(says(model, of_hops.tokens, change) == of_hops.answer))
    layers = range(1, model.cfg.n_layers)
    found["alone"] = [[count(says(model, b.tokens, alone(model, b, m)) == b.answer) for b in asked] for m in layers]
    found |= by_step(model, asked, generator)
    tokens = torch.arange(1, task.n_tokens + 1)
    found["most"], found["least"] = kernel_scores(model, tokens)
    found["unsaid"] = unsaid(model, tokens)
    if task.n_chains == 2:
        first = batch.chain[torch.arange(N), batch.which, 0]
        found["further"] = count(says(model, asked_at(batch, first)) == batch.answer)
    if task.n_noise:
        found |= of_noise(model, batch, asked)
    return found


def by_step(model: Transformer, asked: list[Batch], generator: torch.Generator) -> dict[str, list]:
    """What is counted by step."""
    n_layers, places = model.cfg.n_layers, question(asked[0])
    layers, stores = range(1, n_layers), range(n_layers - 1)
    found = {"walked": [], "stored": [], "cut": [], "instead": [], "beside": []}
    found |= {"by_start": [], "by_order": []} if len(places) > 1 else {}
    found |= {"walked_at": [[] for _ in layers], "stored_at": [[] for _ in stores]}
    for batch in asked:
        for step in range(1, int(batch.hops[0]) + 1):
            own, (other, predicted) = batch.path_pos[:, step - 1] + 1, another(batch, step, generator)
            there = predicted > 0
            swaps = [exchange(f"blocks.{layer}.attn.out", own, other) for layer in stores]
            changes = {"walked": walk(model, batch, own, other), "stored": together(*swaps)}
            if len(places) > 1:
                changes |= {n: walk(model, batch, own, other, [at]) for n, at in zip(("by_start", "by_order"), places)}
            said = {name: says(model, batch.tokens, change) for name, change in changes.items()}
            for name, tokens in said.items():
                found[name].append(count((tokens == predicted)[there]))
            instead = (batch.answer, batch.path[:, step - 1], batch.tokens[torch.arange(len(batch)), other])
            mixed = says(model, batch.tokens, together(changes["walked"], changes["stored"]))
            for name, tokens, among in (("instead", said["walked"], instead), ("beside", mixed, instead[:2])):
                found[name].append([int((tokens == token)[there].sum()) for token in among])
            walks = [walk(model, batch, own, other, layers=[layer]) for layer in layers]
            for name, each in (("walked_at", walks), ("stored_at", swaps)):
                for of_layer, change in zip(found[name], each):
                    of_layer.append(count((says(model, batch.tokens, change) == predicted)[there]))
            found["cut"].append(count(says(model, batch.tokens, cut_edge(model, batch, own)) == batch.answer))
    return found


def another(batch: Batch, step: int, generator: torch.Generator) -> tuple[Int[Tensor, "batch"], Int[Tensor, "batch"]]:
    """Another node than the one that a step leads to: where it stands as a second token, and what is then predicted.

    On two chains it is the node as far along the other chain. On one it is drawn among those from which the way never
    crosses the exchange again: beyond the own node, or before the start and short of it. The prediction lies as many
    steps after it as remain; 0 where there is no such node. Raises ValueError for questions of several lengths.
    """
    if len(lengths := set(batch.hops.tolist())) != 1:
        raise ValueError(f"Questions of {sorted(lengths)} hops do not fit: give those of one number of hops.")
    row, left, own = torch.arange(len(batch)), batch.hops - step, batch.start + step
    if batch.chain.shape[1] == 2:
        chain = 1 - batch.which
        return batch.edge_pos[row, chain, own - 1] + 1, batch.chain[row, chain, own + left]
    node, own, left = torch.arange(batch.chain.shape[2]), own[:, None], left[:, None]
    short = (node < batch.start[:, None]) & (node + left < own)
    allowed = (node > 0) & ((node > own) | short) & (node + left < batch.chain.shape[2])
    drawn = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, -1).argmax(dim=1)
    end = (drawn + left[:, 0]).clamp(max=batch.chain.shape[2] - 1)
    predicted = batch.chain[row, 0, end].where(allowed.any(dim=1), 0)
    return batch.edge_pos[row, 0, (drawn - 1).clamp(min=0)] + 1, predicted


def walk(
    model: Transformer,
    batch: Batch,
    own: Int[Tensor, "batch"],
    other: Int[Tensor, "batch"],
    places: list[int] | None = None,
    layers: list[int] | None = None,
) -> Changes:
    """The question exchanges its attention to two places, in these layers (default: 1, 2, ...).

    places: those of the question that do so (default: all). The start of an `ordered` question is not asked in the last
    layer: nobody would read what it finds there.
    """
    last = model.cfg.n_layers - 1
    pairs = [
        (layer, at)
        for layer in layers or range(1, last + 1)
        for at in places or question(batch)
        if layer < last or at == batch.tokens.shape[1] - 1
    ]
    return together(*(redirect(layer, torch.full_like(own, at), own, other) for layer, at in pairs))


def off_path(model: Transformer, batch: Batch, generator: torch.Generator) -> Changes:
    """The question exchanges its attention to two second tokens that are not on the path, in every layer from 1 on."""
    place = batch.edge_pos.flatten(1) + 1
    on_path = (place[:, :, None] == batch.path_pos[:, None] + 1).any(dim=2)
    two = torch.rand(place.shape, generator=generator).masked_fill(on_path, -1).topk(2).indices
    return walk(model, batch, *place.gather(1, two).T)


def cut_edge(model: Transformer, batch: Batch, own: Int[Tensor, "batch"]) -> Changes:
    """From layer 1 on the question may not attend to the edge whose second token stands at `own`."""
    edge = asking(batch)[:, :, None] & places_of(batch, torch.stack([own - 1, own], dim=1))[:, None]
    return together(*(cut(layer, edge) for layer in range(1, model.cfg.n_layers)))


def alone(model: Transformer, batch: Batch, first: int = 1) -> Changes:
    """From this layer on every place but the question's sees only itself."""
    away = ~torch.eye(batch.tokens.shape[1], dtype=torch.bool)
    inner = ~asking(batch)[:, :, None] & away
    return together(*(cut(layer, inner) for layer in range(first, model.cfg.n_layers)))


def of_noise(model: Transformer, batch: Batch, asked: list[Batch]) -> dict[str, list]:
    """What is asked of a task with noise nodes alone."""
    found, away = {"unnoised": [], "from_noise": []}, ~torch.eye(batch.tokens.shape[1], dtype=torch.bool)
    for of_hops in asked:
        first = of_hops.noise_pos.flatten(1)
        unseen = places_of(of_hops, torch.cat([first, first + 1], dim=1))[:, None] & away
        changes = together(*(cut(layer, unseen) for layer in range(model.cfg.n_layers)))
        found["unnoised"].append(count(says(model, of_hops.tokens, changes) == of_hops.answer))
    row, n_edges = torch.arange(len(batch)), batch.edge_pos.shape[2]
    steps = 1 + n_edges - batch.joint[row, batch.which, 0]
    right = says(model, asked_at(batch, batch.noise[row, batch.which, 0])) == batch.answer
    found["from_noise"] = [count(right[steps == n]) for n in range(2, n_edges + 1)]
    return found


@torch.no_grad()
def kernel_scores(model: Transformer, tokens: Int[Tensor, "token"]) -> tuple[list, list]:
    """Argmax and argmin scores by layer, by what it asks with and by what is stored (see the head of this file).

    A layer that waits asks with what an older layer wrote, and where layer 1 pairs again it stores: `probe.kernel`,
    which takes the layer before and layer 0, misses both.
    """
    x = token_vectors(model, tokens)
    most, least = [], []
    for layer in range(1, model.cfg.n_layers):
        written = [x @ model.w_vo(m) for m in range(layer)]
        h = [[q @ model.w_qk(layer) @ k.T for k in written] for q in (x, *written)]
        most.append([[round(argmax_of(m), 3) for m in row] for row in h])
        least.append([[round(argmax_of(-m), 3) for m in row] for row in h])
    return most, least


@torch.no_grad()
def unsaid(model: Transformer, tokens: Int[Tensor, "token"]) -> list[list[float]]:
    """How surely a layer that reads what is stored speaks against that very token (see the head of this file).

    The straight way alone: without LayerNorms and MLPs.
    """
    x, spoken = token_vectors(model, tokens), model.w_u[:, tokens]
    layers = range(1, model.cfg.n_layers)
    direct = [[x @ model.w_vo(store) @ model.w_vo(layer) @ spoken for store in range(layer)] for layer in layers]
    return [[round(argmax_of(-h), 3) for h in row] for row in direct]


def question(batch: Batch) -> list[int]:
    """The places of the question: the start, and the order token where there is one."""
    edges = torch.cat([batch.edge_pos[0].flatten(), batch.noise_pos[0].flatten()])
    return list(range(int(edges.max()) + 2, batch.tokens.shape[1]))


def asking(batch: Batch) -> Bool[Tensor, "batch pos"]:
    """Which places are the question's."""
    return (torch.arange(batch.tokens.shape[1]) >= question(batch)[0]).expand(batch.tokens.shape)


def places_of(batch: Batch, at: Int[Tensor, "batch k"]) -> Bool[Tensor, "batch pos"]:
    return torch.zeros(batch.tokens.shape, dtype=torch.bool).scatter(1, at, True)


def asked_at(batch: Batch, start: Int[Tensor, "batch"]) -> Int[Tensor, "batch pos"]:
    """The same graphs with another start."""
    tokens = batch.tokens.clone()
    tokens[:, question(batch)[0]] = start
    return tokens


def count(hits: Bool[Tensor, "n"]) -> list[int]:
    return [int(hits.sum()), len(hits)]
