"""The experiments of lesson 04, each with its hypothesis and its prediction, for a -> b -> c asked at a.

Read with `matchlib.causes`, which runs them. In the words below *the other* is a node of the same sequence other than
a, b and c, drawn at random, with as many nodes after it as the prediction needs.

Ask questions of the split "any": where a prediction is a rate, it is that of a guess among what is possible, and a
guess by the residues of training is right less often than that on the split "test".
"""

import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.buffers import held
from matchlib.causes import Arranged, Experiment, Setting
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
    last = torch.full_like(where, s.last)
    elsewhere = redirect(1, last, where, where - 1)
    return Arranged(redirect(1, last, s.second[:, 0], where), s.after(other), {"two keys not expected": elsewhere})


def read_another_answer(s: Setting) -> Arranged:
    where, other = s.another(more_steps=0)
    last = torch.full_like(where, s.last)
    elsewhere = redirect(2, last, where, where - 1)
    return Arranged(redirect(2, last, s.second[:, 1], where), other, {"two keys not expected": elsewhere})


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
    return Arranged(s.add(name, step), s.after(other), {"random directions": s.add(name, s.as_long(step))})


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


PAIRS = "Layer 0 stores each token's predecessor beside it, and the later layers look for it there."
READS_B = "Layer 1 reads b at the last position."
READS_C = "Layer 2 reads c at the last position, asking with what layer 1 wrote."
SIDE = "Buffers stand side by side: what layer 1 writes leaves the start in its place, and layer 2 reads its own."
ONE_SPACE = (
    "One space is written over: the newest token stands where the last one stood, and every layer asks from there."
)

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in (
        Experiment("read another middle", READS_B,
            "Give the other node the attention of layer 1 that b gets: the answer is the node after the other.",
            read_another_middle),
        Experiment("read another answer", "What layer 2 reads at the last position is what the model says.",
            "Give the other node the attention of layer 2 that c gets: the answer is the other.",
            read_another_answer),
        Experiment("buffer of another sequence", "What layer 1 writes stands for b and not for this sequence.",
            "Put what layer 1 wrote in another sequence, whose middle is the other: the answer is the node after it.",
            buffer_of_another_sequence),
        Experiment("middle by the weights", "Layer 1 writes b as e_b W_vo(1), and layer 2 asks with that.",
            "Add k (e_other - e_b) W_vo(1), k measured on other questions: the answer is the node after the other.",
            middle_by_the_weights),
        Experiment("middle by the query", "What layer 1 wrote acts as the query of layer 2, and not otherwise.",
            "The same, felt by the query of layer 2 alone: the answer is the node after the other.",
            middle_by_the_query),
        Experiment("predecessors exchanged", PAIRS,
            "Exchange what layer 0 adds at b and at the other: the answer is the node after the other.",
            predecessors_exchanged),
        Experiment("predecessors by the keys", "The stored predecessor is a key: it is found by, and not passed on.",
            "The same, felt by the keys of layers 1 and 2 alone: the answer is the node after the other.",
            predecessors_by_the_keys),
        Experiment("only the circuit", "Pairing, and reads of second tokens by the last position, carry the answer.",
            "Cut all other attention, whatever the question: the answer stays.",
            only_the_circuit),
        Experiment("trap: the answer given away", "To keep the one edge that reads the answer is no test of reasoning.",
            "Cut all attention but layer 2's edge to c: the model says c, with nothing to find it by.",
            answer_given_away),
        Experiment("no answer read", "The output reads every buffer, and the newest is loudest.",
            "Cut layer 2's edge to c: the newest buffer is b's, so the model says b.",
            no_answer_read),
        Experiment("answer from the runner-up", READS_C,
            "Hand layer 2's attention to c to the rest: the model says the token that had most of that rest.",
            answer_from_runner_up),
        Experiment("middle from the runner-up", READS_B,
            "Hand layer 1's attention to b to the rest: the answer is the node after what had most of that rest.",
            middle_from_runner_up),
        Experiment("no middle read", READS_B,
            "Cut layer 1's edge to b: the middle is unknown, so right one time in five, the possible answers.",
            no_middle_read),
        Experiment("no first pair", PAIRS,
            "Cut layer 0's edge from b to a: b is not found, so right one time in five, the possible answers.",
            no_first_pair),
        Experiment("no second pair", PAIRS,
            "Cut layer 0's edge from c to b: c is not found, so right one time in six, the second tokens.",
            no_second_pair),
        Experiment("no second pair, twice", "Layer 1 pairs as well, a second time.",
            "Cut the edge from c to b in layers 0 and 1: right one time in six, the second tokens.",
            no_second_pair_twice),
        Experiment("start before layer 1", "Layer 1 asks with the start.",
            "Turn a into the other at the input of layer 1: the answer is two nodes after the other.",
            start_before_layer_1),
        Experiment("middle before layer 2", "Layer 2 asks with the middle token.",
            "Turn b into the other at the input of layer 2: the answer is the node after the other.",
            middle_before_layer_2),
        Experiment("stale start swapped", SIDE,
            "Turn a into the other at the input of layer 2: nobody reads it any more, and the answer stays.",
            stale_start_swapped),
        Experiment("stale start removed", SIDE,
            "Take a away at the input of layer 2: nobody reads it any more, and the answer stays.",
            stale_start_removed),
        Experiment("rival: stale start read", ONE_SPACE,
            "Turn a into the other at the input of layer 2: the answer is the node after the other.",
            stale_start_read),
        Experiment("rival: middle in the start's place", ONE_SPACE,
            "Move b at the input of layer 2 to where the start's token stands: the answer stays.",
            middle_in_the_place_of_the_start),
    )
}  # fmt: skip
