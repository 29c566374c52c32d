"""How each experiment of lesson 04 changes a model, and the token that it predicts, for a -> b -> c asked at a.

The hypotheses and predictions in words stand in `matchlib.experiments`, under the same names. *The other* is a node of
the same sequence other than a, b and c, drawn at random, with as many nodes after it as the prediction needs.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.buffers import held, written
from matchlib.causes import Arranged, Setting
from matchlib.patch import (
    Changes,
    candidates,
    circuit,
    cut,
    exchange,
    keep_only,
    observe,
    possible_edges,
    random_edges,
    redirect,
    replace,
    through,
    together,
)


def read_another_middle(s: Setting) -> Arranged:
    where, other = s.another(more_steps=1)
    last, b = torch.full_like(where, s.last), s.second[:, 0]
    elsewhere = redirect(1, last, b, a_third(s, b, where))
    return Arranged(redirect(1, last, b, where), s.after(other), {"a third node in its place": elsewhere})


def read_another_answer(s: Setting) -> Arranged:
    where, other = s.another(more_steps=0)
    last, c = torch.full_like(where, s.last), s.second[:, 1]
    elsewhere = redirect(2, last, c, a_third(s, c, where))
    return Arranged(redirect(2, last, c, where), other, {"a third node in its place": elsewhere})


def buffer_of_another_sequence(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    chance = torch.rand(len(other), len(s.reference), generator=s.generator)
    alike = s.reference.path[:, 1] == other[:, None]
    out = held_there(s, "blocks.1.attn.out")
    donors = chance.masked_fill(~alike, -1).argmax(1)
    predicted = s.after(other).masked_fill(~alike.any(dim=1), 0)
    return Arranged(put(s, out[donors]), predicted, {"a sequence drawn at random": put(s, out[chance.argmax(1)])})


def middle_by_the_weights(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    name, step = "blocks.1.attn.out", s.by_weights(other)
    controls = {"random directions": s.add(name, s.as_long(step))}
    for layer in (0, 2):
        vectors = written(s.model, layer)
        wrong = vectors[other] - vectors[s.batch.path[:, 1]]
        as_long = wrong * (step.norm(dim=1) / wrong.norm(dim=1))[:, None]
        controls[f"W_vo({layer}) in its place"] = s.add(name, as_long)
    return Arranged(s.add(name, step), s.after(other), controls)


def middle_by_the_query(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    changes, query = s.add("blocks.1.attn.out", s.by_weights(other)), "blocks.2.attn.q"
    alone = through(s.model, s.batch.tokens, changes, {query: s.at(-1)})
    without = together(changes, replace(query, s.at(-1), s.clean[query]))
    return Arranged(alone, s.after(other), {"every way but the query": without})


def only_the_circuit(s: Setting) -> Arranged:
    kept, path = candidates(s.batch, 3, pair_again=True), circuit(s.batch, 3)
    missing = {"without the edges of the path": keep(kept & ~path), "as many edges at random": keep(scattered(s, kept))}
    return Arranged(keep(kept), s.batch.answer, missing, counts_answer=True)


def only_the_circuit_as_told(s: Setting) -> Arranged:
    return Arranged(keep(candidates(s.batch, 3)), s.batch.answer, counts_answer=True)


def answer_given_away(s: Setting) -> Arranged:
    only, astray = torch.zeros(2, len(s.batch), 3, s.last + 1, s.last + 1, dtype=torch.bool)
    only[:, 2], astray[:, 2] = s.edge(-1, s.second[:, 1]), elsewhere(s, 2)
    return Arranged(keep(only), s.batch.answer, {"another key": keep(astray)}, counts_answer=True)


def no_answer_read(s: Setting) -> Arranged:
    return Arranged(cut(2, s.edge(-1, s.second[:, 1])), s.batch.path[:, 1], {"another key": cut(2, elsewhere(s, 2))})


def answer_from_runner_up(s: Setting) -> Arranged:
    chosen = s.edge(-1, s.second[:, 1])
    controls = {"another key": cut(2, elsewhere(s, 2), "renormalise")}
    return Arranged(cut(2, chosen, "renormalise"), s.runner_up(2), controls)


def middle_from_runner_up(s: Setting) -> Arranged:
    chosen = s.edge(-1, s.second[:, 0])
    controls = {"another key": cut(1, elsewhere(s, 1), "renormalise")}
    return Arranged(cut(1, chosen, "renormalise"), s.after(s.runner_up(1)), controls)


def no_middle_read(s: Setting) -> Arranged:
    return by_chance(s, cut(1, s.edge(-1, s.second[:, 0])), 1 / (n_edges(s) - 1))


def no_first_pair(s: Setting) -> Arranged:
    b = s.second[:, 0]
    return by_chance(s, cut(0, s.edge(b, b - 1)), 1 / (n_edges(s) - 1))


def no_second_pair(s: Setting) -> Arranged:
    c = s.second[:, 1]
    return by_chance(s, cut(0, s.edge(c, c - 1)), 1 / n_edges(s))


def no_second_pair_twice(s: Setting) -> Arranged:
    c = s.second[:, 1]
    pair = s.edge(c, c - 1)
    return by_chance(s, together(cut(0, pair), cut(1, pair)), 1 / n_edges(s))


def predecessors_exchanged(s: Setting) -> Arranged:
    where, other = s.another(more_steps=1)
    b = s.second[:, 0]
    controls = {"the first tokens' instead": exchange("blocks.0.attn.out", b - 1, where - 1)}
    return Arranged(exchange("blocks.0.attn.out", b, where), s.after(other), controls)


def predecessors_by_the_keys(s: Setting) -> Arranged:
    where, other = s.another(more_steps=1)
    changes = exchange("blocks.0.attn.out", s.second[:, 0], where)
    every = torch.ones_like(s.at(-1))

    def felt_by(part: str) -> Changes:
        names = (f"blocks.{layer}.attn.{part}" for layer in (1, 2))
        return through(s.model, s.batch.tokens, changes, {name: every for name in names})

    return Arranged(felt_by("k"), s.after(other), {"the values instead": felt_by("v")})


def second_predecessors_exchanged(s: Setting) -> Arranged:
    where, other = s.another(more_steps=0)
    c, outs = s.second[:, 1], ("blocks.0.attn.out", "blocks.1.attn.out")
    controls = {"the first tokens' instead": together(*(exchange(out, c - 1, where - 1) for out in outs))}
    return Arranged(together(*(exchange(out, c, where) for out in outs)), other, controls)


def second_predecessors_in_layer_0(s: Setting) -> Arranged:
    where, other = s.another(more_steps=0)
    c, out = s.second[:, 1], "blocks.0.attn.out"
    return Arranged(exchange(out, c, where), other, {"the first tokens' instead": exchange(out, c - 1, where - 1)})


def start_before_layer_1(s: Setting) -> Arranged:
    _, other = s.another(more_steps=2)
    return swapped_at(s, 1, 0, other, s.after(other, 2))


def middle_before_layer_2(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    return swapped_at(s, 2, 1, other, s.after(other))


def stale_start_swapped(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    name = "blocks.2.resid_pre"
    controls = {"the middle instead": s.add(name, s.by_means(name, 1, other))}
    return Arranged(s.add(name, s.by_means(name, 0, other)), s.batch.answer, controls, counts_answer=True)


def stale_start_read(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    return swapped_at(s, 2, 0, other, s.after(other))


def first_start_read(s: Setting) -> Arranged:
    _, other = s.another(more_steps=1)
    step = s.by_means("blocks.1.resid_pre", 0, other)
    return Arranged(s.add("blocks.2.resid_pre", step), s.after(other))


def stale_start_removed(s: Setting) -> Arranged:
    name, (a, b) = "blocks.2.resid_pre", s.batch.path[:, :2].T
    start, middle = held(s.model, s.reference, name, 0), held(s.model, s.reference, name, 1)
    controls = {"the middle instead": s.add(name, -middle[b])}
    return Arranged(s.add(name, -start[a]), s.batch.answer, controls, counts_answer=True)


def middle_in_the_place_of_the_start(s: Setting) -> Arranged:
    name, (a, b) = "blocks.2.resid_pre", s.batch.path[:, :2].T
    start, middle = held(s.model, s.reference, name, 0), held(s.model, s.reference, name, 1)
    step = start[b] - start[a] - middle[b]
    return Arranged(s.add(name, step), s.batch.answer, counts_answer=True)


def swapped_at(s: Setting, layer: int, step: int, other: Tensor, predicted: Tensor) -> Arranged:
    """A token of the path becomes the other in what the last position holds at the input of a layer."""
    name = f"blocks.{layer}.resid_pre"
    change = s.by_means(name, step, other)
    return Arranged(s.add(name, change), predicted, {"random directions": s.add(name, s.as_long(change))})


def a_third(s: Setting, *taken: Tensor) -> Tensor:
    """Where the second token of yet another edge stands, drawn among those that are not taken."""
    seconds = s.batch.edge_pos[:, 0] + 1
    free = torch.stack([seconds != where[:, None] for where in taken]).all(dim=0)
    chance = torch.rand(seconds.shape, generator=s.generator).masked_fill(~free, -1)
    return seconds.gather(1, chance.argmax(dim=1, keepdim=True))[:, 0]


def n_edges(s: Setting) -> int:
    return s.batch.edge_pos.shape[2]


def by_chance(s: Setting, changes: Changes, rate: float) -> Arranged:
    return Arranged(changes, s.batch.answer, expected=rate, counts_answer=True)


def keep(chosen: Tensor) -> Changes:
    return together(*(keep_only(layer, chosen[:, layer]) for layer in range(chosen.shape[1])))


def scattered(s: Setting, kept: Tensor) -> Tensor:
    """As many edges in each layer, drawn among all that can reach the answer."""
    possible = possible_edges(*kept.shape[1:3])
    chance = torch.rand(kept.shape, generator=s.generator).masked_fill(~possible, -1).flatten(2)
    rank = chance.argsort(dim=-1, descending=True).argsort(dim=-1)
    return (rank < kept.flatten(2).sum(dim=-1, keepdim=True)).view_as(kept) & possible


def elsewhere(s: Setting, layer: int) -> Tensor:
    """Another edge of the last position than the expected one, drawn for each sequence."""
    return random_edges(circuit(s.batch, 3)[:, layer : layer + 1], s.generator)[:, 0]


def held_there(s: Setting, name: str) -> Tensor:
    """What an activation holds at the last position of the reference sequences."""
    return observe(s.model, s.reference.tokens, [name])[name][:, -1]


def put(s: Setting, content: Float[Tensor, "batch d_model"]) -> Changes:
    """In the place of what layer 1 writes at the last position."""
    return replace("blocks.1.attn.out", s.at(-1), content[:, None].expand(-1, s.last + 1, -1))
