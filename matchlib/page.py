"""What does a model that writes need of the page? One edge, the newest node, and nothing older: six experiments.

A two-layer model can match once: layer 0 pairs, and in layer 1 the newest written node asks for the place that stores
it as its predecessor. What is found there leaves as the next token, and comes back in as the next query. So there is
one buffer, that of layer 0, and the page does the work of all others. If that is so, then

    edges alone       layer 1 may read nothing but second tokens of edges, all of them: the writing stays right
    one edge          it may read nothing but the second token of the newest node's edge: it stays right
    another edge      the newest node's edge and another exchange attention: the other's second token is written
    another newest    the newest node becomes another node of the ring: the model goes on from there, to the page's end
    nothing older     written places may not see older written ones, in any layer: it stays right
    circuit alone     pairing in layer 0, second tokens in layer 1, all other attention cut: it stays right

The last part of each finding is its controls: the same question after a change of the same size elsewhere. Every change
is made at all written places, for the whole text. Source: ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from matchlib.data import Batch
from matchlib.evidence import Count, Finding
from matchlib.model import Transformer
from matchlib.patch import Changes, Edges, cut, edges, keep_only, random_edges, redirect, together
from matchlib.writing import successor, write

SWAPPED_AT = 3  # nodes written before the page is changed
Tokens = Int[Tensor, "batch pos"]


@dataclass(frozen=True, eq=False)
class Page:
    """A model that writes on these questions: rings, all of one size. `generator` draws what the controls change."""

    model: Transformer
    batch: Batch
    generator: torch.Generator

    def __post_init__(self):
        if self.model.cfg.n_layers != 2 or self.room <= SWAPPED_AT + 1:
            raise ValueError(
                f"A model of {self.model.cfg.n_layers} layers with places for {self.room} nodes does not fit: these "
                f"experiments are for two layers and at least {SWAPPED_AT + 2} nodes."
            )

    @property
    def n_edges(self) -> int:
        return self.batch.chain.shape[2]

    @cached_property
    def before(self) -> Count:
        """How often the untouched model is right."""
        return self.right()

    @property
    def room(self) -> int:
        """Nodes that can be written."""
        return self.model.cfg.n_pos - self.batch.tokens.shape[1] + 1

    def edge_of(self, node: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """Where the edge that begins with this node has its second token; its place is 1 for a token of no edge."""
        firsts = self.batch.tokens[:, : 2 * self.n_edges : 2]
        return 2 * (firsts == node[:, None]).int().argmax(1) + 1

    def other_edge(self, node: Int[Tensor, "batch"], *also: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """The second token of another edge than those that begin with these nodes, drawn at random."""
        draw = torch.rand(len(node), self.n_edges, generator=self.generator)
        for one in (node, *also):
            draw[torch.arange(len(node)), (self.edge_of(one) - 1) // 2] = -1
        return 2 * draw.argmax(1) + 1

    def at(self, place: Int[Tensor, "batch"]) -> Int[Tensor, "batch"]:
        """The tokens of the question that stand at these places."""
        return self.batch.tokens.gather(1, place[:, None])[:, 0]

    def written(self, tokens: Tokens) -> Bool[Tensor, "pos"]:
        """The places of the start and of what was written."""
        return torch.arange(tokens.shape[1]) >= 2 * self.n_edges

    def to_seconds(self, tokens: Tokens) -> Edges:
        """From every written place to the second token of every edge."""
        place = torch.arange(tokens.shape[1])
        second = (place < 2 * self.n_edges) & (place % 2 == 1)
        return (self.written(tokens)[:, None] & second).expand(len(tokens), -1, -1)

    def to_one(self, tokens: Tokens, chosen: Callable[[Tensor], Tensor]) -> Edges:
        """From every written place to the one place that is chosen for the node that stands there."""
        n, n_pos = tokens.shape
        found = torch.zeros(n, n_pos, n_pos, dtype=torch.bool)
        for query in range(2 * self.n_edges, n_pos):
            found |= edges(query, chosen(tokens[:, query]), n, n_pos)
        return found

    def pairs(self, tokens: Tokens) -> Edges:
        """From the second token of every edge to its first."""
        place = torch.arange(tokens.shape[1])
        second = (place < 2 * self.n_edges) & (place % 2 == 1)
        return (second[:, None] & (place[:, None] - 1 == place)).expand(len(tokens), -1, -1)

    def to_older(self, tokens: Tokens) -> Edges:
        """From every written place to all written ones before it."""
        written, place = self.written(tokens), torch.arange(tokens.shape[1])
        older = written[:, None] & written & (place < place[:, None])
        return older.expand(len(tokens), -1, -1)

    def right(self, changes: Callable[[Tokens], Changes] | None = None) -> Count:
        """How often is the last node that fits right, the one `room` steps from the start?"""
        last = write(self.model, self.batch.tokens, self.room, changes)[:, -1]
        return Count.of(last == self.batch.path[:, self.room])


def edges_alone(page: Page) -> tuple[Count, dict[str, Count]]:
    found = page.right(lambda tokens: keep_only(1, page.to_seconds(tokens)))
    return found, {"all but the edges' second tokens": page.right(lambda tokens: cut(1, page.to_seconds(tokens)))}


def one_edge(page: Page) -> tuple[Count, dict[str, Count]]:
    found = page.right(lambda tokens: keep_only(1, page.to_one(tokens, page.edge_of)))
    return found, {"another edge alone": page.right(lambda tokens: keep_only(1, page.to_one(tokens, page.other_edge)))}


def another_edge(page: Page) -> tuple[Count, dict[str, Count]]:
    """After SWAPPED_AT right nodes: which node comes next?"""
    tokens, newest = _half_written(page)
    query = torch.full_like(newest, tokens.shape[1] - 1)
    own, other = page.edge_of(newest), page.other_edge(newest)
    third = page.other_edge(newest, page.at(other - 1))

    def predicted(one: Tensor, two: Tensor) -> Count:
        said = write(page.model, tokens, 1, lambda _: redirect(1, query, one, two))[:, 0]
        return Count.of(said == page.at(other))

    return predicted(own, other), {"two edges that are not asked for": predicted(third, other)}


def another_newest(page: Page) -> tuple[Count, dict[str, Count]]:
    """After SWAPPED_AT right nodes: does all that follows, to the end of the page, follow on the node put there?"""
    tokens, newest = _half_written(page)
    put = page.at(page.other_edge(newest, tokens[:, -2]) - 1)
    n = page.room - SWAPPED_AT
    expected = [successor(page.batch, put)]
    for _ in range(n - 1):
        expected.append(successor(page.batch, expected[-1]))

    def goes_on(place: int) -> Count:
        changed = tokens.clone()
        changed[:, place] = put
        return Count.of((write(page.model, changed, n) == torch.stack(expected, dim=1)).all(1))

    return goes_on(-1), {"put one place earlier": goes_on(-2)}


def nothing_older(page: Page) -> tuple[Count, dict[str, Count]]:
    def blind(tokens: Tokens) -> Changes:
        return together(*(cut(layer, page.to_older(tokens)) for layer in (0, 1)))

    def as_many(tokens: Tokens) -> Changes:
        drawn = torch.rand(tokens.shape[0], page.n_edges, generator=page.generator).argsort(1)
        place = torch.arange(tokens.shape[1])
        age = (place - 2 * page.n_edges).clamp(min=0)  # so many older places
        hit = torch.zeros(len(tokens), tokens.shape[1], tokens.shape[1], dtype=torch.bool)
        hit[:, :, 1 : 2 * page.n_edges : 2] = drawn[:, None, :] < age[None, :, None]
        return together(*(cut(layer, hit) for layer in (0, 1)))

    return page.right(blind), {"as many second tokens of edges": page.right(as_many)}


def circuit_alone(page: Page) -> tuple[Count, dict[str, Count]]:
    def only(tokens: Tokens) -> Changes:
        return together(keep_only(0, page.pairs(tokens)), keep_only(1, page.to_seconds(tokens)))

    def unpaired(tokens: Tokens) -> Changes:
        other = random_edges(page.pairs(tokens), page.generator)
        return together(keep_only(0, other), keep_only(1, page.to_seconds(tokens)))

    return page.right(only), {"paired with a random token before it": page.right(unpaired)}


def _half_written(page: Page) -> tuple[Tokens, Int[Tensor, "batch"]]:
    """The questions with SWAPPED_AT right nodes, and the newest of these."""
    tokens = torch.cat([page.batch.tokens, page.batch.path[:, 1 : SWAPPED_AT + 1]], dim=1)
    return tokens, tokens[:, -1]


STAYS = "The writing stays right to the end of the page."
EXPERIMENTS: dict[str, tuple[str, str, Callable[[Page], tuple[Count, dict[str, Count]]]]] = {
    "edges alone": ("What comes next is read off the edges.", STAYS, edges_alone),
    "one edge": ("One edge, the newest node's, says what comes next.", STAYS, one_edge),
    "another edge": ("What layer 1 reads is what is written.", "The other's second token is written.", another_edge),
    "another newest": ("The newest node is the whole state.", "All that follows goes on from it.", another_newest),
    "nothing older": ("Older nodes have no say.", STAYS, nothing_older),
    "circuit alone": ("Pairing, then one match: no more is needed.", STAYS, circuit_alone),
}  # fmt: skip


@torch.no_grad()
def experiment(name: str, page: Page, model: str) -> Finding:
    """Make one of the experiments. Raises ValueError for a name that is not known."""
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment={name!r} is not known: choose one of {', '.join(EXPERIMENTS)}.")
    hypothesis, prediction, make = EXPERIMENTS[name]
    found, controls = make(page)
    return Finding(name, hypothesis, prediction, model, page.before, found, 1.0, controls)
