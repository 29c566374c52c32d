"""The checks of lesson 08's exercises: which layers take a hop, and a node that two edges leave."""

from collections.abc import Callable, Collection
from itertools import combinations

import torch

from matchlib import aloud
from matchlib.checking import Surprise, Wrong, ask, check, dice, kind_of, whole
from matchlib.patch import says
from matchlib.record import Run
from matchlib.writers import LAYERS, MOVES, a_hop, forked

Moved = Callable[[Collection[int]], float]
Sets = set[frozenset[int]]


def subsets(layers: Collection[int], sizes: Collection[int] | None = None) -> list[frozenset[int]]:
    """The sets of one layer and more, small ones first."""
    sizes = sizes or range(1, len(layers) + 1)
    return [frozenset(one) for size in sizes for one in combinations(layers, size)]


def smallest(moved: Moved, sizes: Collection[int] | None = None, least: float = MOVES) -> Sets:
    """The sets that move the answer, but for those that hold another."""
    hit = [one for one in subsets(LAYERS, sizes) if moved(one) >= least]
    return {one for one in hit if not any(other < one for other in hit)}


def of_fewest(found: Sets) -> Sets:
    return {one for one in found if len(one) == min(map(len, found))}


def best_alone(moved: Moved) -> Sets:
    return {max(subsets(LAYERS, [1]), key=moved)}


LOOKS: dict[str, Callable[[Moved], Sets]] = {
    "You exchange in one layer at a time: where each of two layers can take the hop without the other, an exchange in "
    "one of them moves nothing": lambda moved: smallest(moved, [1]),
    "You exchange in all layers at once: that tells that some layer takes the hop, and not which": lambda moved: (
        smallest(moved, [len(LAYERS)])
    ),
    "You stop at pairs of layers, and a hop may be taken by three": lambda moved: smallest(moved, [1, 2]),
    "You give every set that moves the answer, also those that can spare a layer": lambda moved: {
        one for one in subsets(LAYERS) if moved(one) >= MOVES
    },
    "You keep the sets of the fewest layers alone: a larger set that can spare none of its layers is asked too": (
        lambda moved: of_fewest(smallest(moved))
    ),
    "You count half as moved: 0.9 of the answers must go where they are sent": lambda moved: smallest(moved, None, 0.5),
    "You name the best single layer, whatever it does: the best of four may be nearly nothing": best_alone,
    "You put all sets into one: each of them must do by itself": lambda moved: (
        {frozenset().union(*smallest(moved))} if smallest(moved) else set()
    ),
}


def read_sets(value: object) -> Sets:
    """A learner's sets of layers. Raises Wrong for anything else."""
    what = "Your answer"
    if not isinstance(value, list | tuple | set | frozenset):
        raise Wrong(f"{what} is {kind_of(value)}, and a list of sets of layers is asked, such as [{{1}}, {{2, 4}}].")
    if no_sets := [one for one in value if not isinstance(one, list | tuple | set | frozenset)]:
        raise Wrong(f"{what} holds {kind_of(no_sets[0])} in place of a set of layers: one layer alone is {{2}}, not 2.")
    found = {frozenset(whole(layer, "A layer of yours") for layer in one) for one in value}
    if frozenset() in found:
        raise Wrong(f"{what} holds an empty set: to exchange nowhere moves nothing. Where no set does, return [].")
    if outside := sorted(frozenset().union(*found) - set(LAYERS)):
        raise Wrong(f"You name layer {outside[0]}, and the question can be changed in the layers {list(LAYERS)}.")
    return found


@check("08", "Which layers take the hop?")
def smallest_sets(g, answer):
    """The learner's sets for hops of ten sorts, on layers drawn anew, against those that each was made of."""
    rng, boxes = dice(g), []
    for sort in ("a", "ab", "ab+", "a b", "a bc", "ab bc", "ab cd", "abc+", "abcd", ""):
        names = dict(zip("abcd", rng.sample(LAYERS, 4)))
        made = [{names[x] for x in one if x != "+"} for one in sort.split()]
        boxes.append((made, 0.6 if "+" in sort else 0.0, rng.randrange(1000)))
    rng.shuffle(boxes)
    hops = [a_hop(*box) for box in boxes]
    got = [read_sets(ask(answer, moved, list(LAYERS))) for moved in hops]
    true = [{frozenset(one) for one in made} for made, _, _ in boxes]
    if got == true:
        return "10 hops: taken by one layer, by several in one another's place, in a row, and by none."
    made, part, seed = next(box for box, a, b in zip(boxes, got, true) if a != b)
    see = f"print(smallest_sets(a_hop({made}, {part}, {seed}), {list(LAYERS)}), 'and', {made}, 'is right')"
    for sentence, rival in LOOKS.items():
        if got == [rival(moved) for moved in hops]:
            raise Wrong(f"{sentence}.", see)
    if all(a <= b and len(a) == min(1, len(b)) for a, b in zip(got, true)):
        raise Wrong("You stop at the first set that you find: there may be others that can spare no layer.", see)
    bad = sum(a != b for a, b in zip(got, true))
    raise Wrong(f"{bad} of {len(boxes)} hops have other sets than yours.", see)


@check("08", "Predict: two edges leave the newest node", choices=("the earlier", "the later", "either", "neither"))
def two_edges(g, said):
    """The shipped model on fresh pages whose newest node has two edges: which end does it write?"""
    model = Run.load(aloud.MODEL).model
    batch = aloud.TASK.sample(2000, "any", generator=g)
    pages, earlier, later = forked(torch.cat([batch.tokens, batch.path[:, 1:4]], dim=1), g)
    writes = says(model, pages)
    shares = [(writes == node).float().mean() for node in (earlier, later)]
    assert min(shares) > 1 / 4 and sum(shares) > 0.9, "the model does otherwise"
    reveal = (
        "it writes either, each on more than a quarter of the pages, and hardly ever a third node. The newest node "
        "asks by what is stored, two places now store it, and each gets about half of its attention. It leans "
        "to the later one, by about three pages to two; why, matching does not say."
    )
    if said == "the earlier":
        raise Surprise(f"{reveal} It does not read from left to right and stop: all places are seen at once.")
    if said == "the later":
        raise Surprise(f"{reveal} No edge writes over an older one: each has a place of its own.")
    if said == "neither":
        raise Surprise(f"{reveal} Half of one node and half of another is nearer to each of them than to a third.")
    return reveal
