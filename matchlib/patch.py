"""Causal experiments: change what flows inside a model, and hear what it then says. All go through `hooks.intervene`.

A function here returns `Changes`: what to do to which named activation, for a whole batch at once. `together` joins
several, `says` runs them. *Where* is always a mask, a place for each sequence: `Places` for what a position holds,
`Edges` for the attention of a query to a key. The one general change is `replace`; the others are names for its uses:

    cut, keep_only    take attention edges away, or all but these
    redirect          attention to one key goes to another
    ablate            project a subspace out, with zero, the mean or another sequence's content in its place
    exchange          two positions of a sequence change their content
    resend            path patching of an edge: what this edge alone carries comes from another run
    through           path patching: some changes, felt by the named activations alone

MLPs and LayerNorms always run as they are. Source: ours, after activation patching (arXiv 2202.05262) and path
patching (arXiv 2211.00593, 2304.05969).
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matchlib.data import Batch
from matchlib.hooks import intervene
from matchlib.model import Transformer

Changes = dict[str, Callable[[Tensor], Tensor]]
Places = Bool[Tensor, "batch pos"]
Edges = Bool[Tensor, "batch query key"]
CUTS = ("zero", "renormalise")
FILLS = ("zero", "mean", "resample")


@torch.no_grad()
def says(model: Transformer, tokens: Int[Tensor, "batch pos"], changes: Changes | None = None) -> Int[Tensor, "batch"]:
    """Which token does the model name at the last position, under these changes?"""
    return intervene(model, tokens, changes or {}, positions="last").argmax(dim=-1)


@torch.no_grad()
def observe(
    model: Transformer, tokens: Int[Tensor, "batch pos"], names: Iterable[str], changes: Changes | None = None
) -> dict[str, Tensor]:
    """The named activations, at all positions, as they are under these changes."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Tensor], Tensor]:
        return lambda x: seen.setdefault(name, x)

    intervene(model, tokens, together(changes or {}, {name: keep(name) for name in names}))
    return seen


def together(*several: Changes) -> Changes:
    """All of these changes; where two meet at one activation, in the order given."""
    joined: Changes = {}
    for changes in several:
        for name, change in changes.items():
            joined[name] = _then(joined[name], change) if name in joined else change
    return joined


def replace(
    name: str,
    where: Places | Edges,
    by: float | Tensor | Callable[[Tensor], Tensor],
    basis: Float[Tensor, "rank d"] | None = None,
) -> Changes:
    """At these places an activation becomes `by`; with a basis, its component in that subspace alone does.

    where: `Edges` for scores and patterns, `Places` for all else. by: a number, a tensor of the activation's shape, or
    a function of what stood there. basis: orthonormal rows. Raises ValueError, when run, for a mask of another shape.
    """

    def change(x: Tensor) -> Tensor:
        at, to_rows = _mask(name, where, x)
        new = by(x) if callable(by) else by
        new = to_rows(new) if isinstance(new, Tensor) else torch.full_like(x, new)
        return torch.where(at, new if basis is None else x + (new - x) @ basis.T @ basis, x)

    return {name: change}


def cut(layer: int, edges: Edges, how: str = "zero") -> Changes:
    """These attention edges carry nothing.

    how: zero         their weight is 0 and the others stay as they are: one message is missing
         renormalise  their score is minus infinity: the softmax hands their weight to the other keys
    Raises ValueError for another `how`. A query that loses every key attends evenly to all under "renormalise".
    """
    if how not in CUTS:
        raise ValueError(f"how={how!r} is no way to cut an edge: choose one of {', '.join(CUTS)}.")
    if how == "zero":
        return replace(f"blocks.{layer}.attn.pattern", edges, 0.0)
    return replace(f"blocks.{layer}.attn.scores", edges, torch.finfo(torch.float32).min)


def keep_only(layer: int, edges: Edges, how: str = "zero") -> Changes:
    """All attention edges of a layer but these carry nothing (see `cut`)."""
    return cut(layer, ~edges, how)


def redirect(
    layer: int, query: Int[Tensor, "batch"], key: Int[Tensor, "batch"], other: Int[Tensor, "batch"]
) -> Changes:
    """A query gives one key the attention that it pays to another, and the reverse; positions count from 0."""
    row = torch.arange(len(query), device=query.device)

    def change(pattern: Tensor) -> Tensor:
        changed, at = pattern.clone(), query - query.new_tensor(pattern.shape[3] - pattern.shape[2])
        changed[row, :, at, key], changed[row, :, at, other] = pattern[row, :, at, other], pattern[row, :, at, key]
        return changed

    return {f"blocks.{layer}.attn.pattern": change}


def ablate(
    name: str,
    where: Places,
    basis: Float[Tensor, "rank d"],
    fill: str = "zero",
    generator: torch.Generator | None = None,
) -> Changes:
    """What these places hold in a subspace is taken away.

    fill: zero      nothing comes in its place
          mean      the mean over the places of the batch
          resample  what another of the places holds, drawn without replacement; needs a generator
    Raises ValueError for another fill, or a missing generator.
    """
    if fill not in FILLS:
        raise ValueError(f"fill={fill!r} is not known: choose one of {', '.join(FILLS)}.")
    if fill == "resample" and generator is None:
        raise ValueError("fill='resample' draws at random: give it a generator.")

    def by(x: Tensor) -> Tensor:
        at = where[:, -x.shape[1] :].to(x.device)
        if fill == "zero":
            return torch.zeros_like(x)
        if fill == "mean":
            return x[at].mean(dim=0).expand_as(x)
        mixed = x.clone()
        mixed[at] = x[at][torch.randperm(int(at.sum()), generator=generator).to(x.device)]
        return mixed

    return replace(name, where, by, basis)


def exchange(
    name: str, one: Int[Tensor, "batch"], two: Int[Tensor, "batch"], basis: Float[Tensor, "rank d"] | None = None
) -> Changes:
    """Two positions of each sequence change their content; with a basis, their content in that subspace."""
    row = torch.arange(len(one), device=one.device)

    def change(x: Tensor) -> Tensor:
        step = x[row, two] - x[row, one]
        step = step if basis is None else step @ basis.T @ basis
        changed = x.clone()
        changed[row, one] = x[row, one] + step
        changed[row, two] = x[row, two] - step
        return changed

    return {name: change}


def resend(layer: int, edges: Edges, donor: Mapping[str, Tensor] | None = None) -> Changes:
    """Path patching of edges: what they carry, weight times value, comes from another run; None: they carry nothing.

    donor: that run's `blocks.l.attn.pattern` and `blocks.l.attn.v` (from `hooks.cache` or `observe`); without the
    pattern its values arrive with the weights of the run at hand.
    """
    path, seen = f"blocks.{layer}.attn", {}

    def look(name: str) -> Callable[[Tensor], Tensor]:
        return lambda x: seen.update({name: x}) or x

    def carried(pattern: Tensor, v: Tensor) -> Tensor:
        at, to_rows = _mask(f"{path}.pattern", edges, seen["pattern"])
        return (to_rows(pattern) * at) @ v

    def change(z: Tensor) -> Tensor:
        z = z - carried(seen["pattern"], seen["v"])
        if donor is None:
            return z
        return z + carried(donor.get(f"{path}.pattern", seen["pattern"]), donor[f"{path}.v"])

    return {f"{path}.v": look("v"), f"{path}.pattern": look("pattern"), f"{path}.z": change}


def through(
    model: Transformer, tokens: Int[Tensor, "batch pos"], changes: Changes, receivers: Mapping[str, Places | Edges]
) -> Changes:
    """Path patching: what these changes do through the named activations, at these places, and by no other way."""
    felt = observe(model, tokens, receivers, changes)
    return together(*(replace(name, where, felt[name]) for name, where in receivers.items()))


def places(pos: Int[Tensor, "batch"] | int, n_batch: int, n_pos: int) -> Places:
    """The mask of one position a sequence. A negative number counts from the end."""
    pos = torch.as_tensor(pos).expand(n_batch) % n_pos
    return torch.arange(n_pos, device=pos.device) == pos[:, None]


def edges(query: Int[Tensor, "batch"] | int, key: Int[Tensor, "batch"] | int, n_batch: int, n_pos: int) -> Edges:
    """The mask of one attention edge a sequence. Negative numbers count from the end."""
    return places(query, n_batch, n_pos)[:, :, None] & places(key, n_batch, n_pos)[:, None, :]


def circuit(batch: Batch, n_layers: int) -> Bool[Tensor, "batch layer query key"]:
    """The edges that the mechanism needs for these questions, and no others.

    Layer 0: from the second token of each edge of the path to its first. Layer l: from the last position to the second
    token of the l-th edge. Raises ValueError where the path has more steps than there are matching layers.
    """
    n, n_pos = batch.tokens.shape
    if int(batch.hops.max()) >= n_layers:
        raise ValueError(
            f"A path of {int(batch.hops.max())} steps needs as many matching layers and {n_layers} layers have "
            f"{n_layers - 1}: ask for fewer steps."
        )
    found = torch.zeros(n, n_layers, n_pos, n_pos, dtype=torch.bool, device=batch.tokens.device)
    for hop, pos in enumerate(batch.path_pos.T):
        there = (pos >= 0)[:, None, None]
        found[:, 0] |= edges(pos + 1, pos, n, n_pos) & there
        found[:, hop + 1] |= edges(-1, pos + 1, n, n_pos) & there
    return found


def candidates(batch: Batch, n_layers: int, pair_again: bool = False) -> Bool[Tensor, "batch layer query key"]:
    """The circuit with its choices left open: every edge of the graph is paired, every second token may be read.

    To keep the one edge that reads the answer is to give the answer away; these edges say nothing about the question.
    pair_again: layer 1 pairs too.
    """
    n, n_pos = batch.tokens.shape
    found = torch.zeros(n, n_layers, n_pos, n_pos, dtype=torch.bool, device=batch.tokens.device)
    for pos in torch.cat([batch.edge_pos.flatten(1), batch.noise_pos.flatten(1)], dim=1).T:
        found[:, : 1 + pair_again] |= edges(pos + 1, pos, n, n_pos)[:, None]
        found[:, 1:] |= edges(-1, pos + 1, n, n_pos)[:, None]
    return found


def possible_edges(n_layers: int, n_pos: int, device: str | torch.device = "cpu") -> Bool[Tensor, "layer query key"]:
    """Every edge that can reach the answer: the causal ones, in the last layer those of the last position alone."""
    causal = torch.ones(n_pos, n_pos, dtype=torch.bool, device=device).tril()
    found = causal.repeat(n_layers, 1, 1)
    found[-1, :-1] = False
    return found


def random_edges(
    chosen: Bool[Tensor, "batch layer query key"], generator: torch.Generator
) -> Bool[Tensor, "batch layer query key"]:
    """A control of equal size: for each chosen edge another key of the same query, drawn among those not chosen.

    A query with two chosen keys gets one other.
    """
    n_pos = chosen.shape[-1]
    free = ~chosen & torch.ones(n_pos, n_pos, dtype=torch.bool, device=chosen.device).tril()
    draw = torch.rand(chosen.shape, generator=generator).to(chosen.device).masked_fill(~free, -1)
    best = draw.argmax(dim=-1, keepdim=True)
    picked = torch.zeros_like(chosen).scatter_(-1, best, free.gather(-1, best))
    return picked & chosen.any(dim=-1, keepdim=True)


@torch.no_grad()
def edge_map(model: Transformer, batch: Batch, how: str = "zero") -> Bool[Tensor, "batch layer query key"]:
    """Is the answer still right when this one edge is cut? For every edge of every layer, one pass of the batch each.

    Edges that cannot reach the answer (see `possible_edges`) keep the value of the untouched model.
    """
    batch = batch.to(model.w_e.device)
    n, n_pos = batch.tokens.shape
    right = (says(model, batch.tokens) == batch.answer)[:, None, None, None]
    right = right.repeat(1, model.cfg.n_layers, n_pos, n_pos)
    for layer, query, key in possible_edges(model.cfg.n_layers, n_pos).nonzero().tolist():
        said = says(model, batch.tokens, cut(layer, edges(query, key, n, n_pos).to(batch.tokens.device), how))
        right[:, layer, query, key] = said == batch.answer
    return right


def _then(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: second(first(x))


def _mask(name: str, where: Tensor, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The mask in the shape of an activation, and how to bring a full tensor to it.

    A pass that needs the last position alone computes the last layer's queries there alone: rows count from the end.
    """
    rows = x.shape[-2]
    of_edges = name.endswith(("attn.scores", "attn.pattern"))
    if where.dim() != (3 if of_edges else 2) or len(where) != len(x) or where.shape[1] < rows:
        wanted = "(batch, query, key)" if of_edges else "(batch, position)"
        raise ValueError(f"A mask of shape {tuple(where.shape)} does not fit {name} {tuple(x.shape)}: give {wanted}.")
    at = where[:, -rows:].to(x.device)
    at = at if of_edges else at[:, :, None]
    return at[:, None] if x.dim() == 4 else at, lambda full: full[..., -rows:, :].to(x.device)
