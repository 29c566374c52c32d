"""The mistakes that lesson 01's checks know by name."""

import random

import pytest
import torch
from checks_work import can_be_seen, complete, held, rows


def pairs(row):
    return list(zip(row[:-1:2], row[1::2]))


def edges_of(batch):
    return {edge for row in batch.tolist() for edge in pairs(row)}


def in_whole_rows(train, test):
    """The edges of whole sequences that stand in both."""
    return {edge for row in test.tolist() if row in train.tolist() for edge in pairs(row)}


def of_tensors(train, test):
    ours, theirs = ({edge for row in batch for edge in pairs(row)} for batch in (train, test))
    return ours & theirs


def row_by_row(train, test):
    return {edge for one, other in zip(train, test) for edge in edges_of(one[None]) & edges_of(other[None])}


def of_part(part):
    """The edges shared by a part of each batch: `part` takes the edges, and may not see the start."""
    return lambda train, test: edges_of(add_start(part(train[:, :-1]))) & edges_of(add_start(part(test[:, :-1])))


def add_start(edges):
    return torch.cat([edges, edges[:, :1]], dim=1)


def all_but_one(train, test):
    shared = sorted(edges_of(train) & edges_of(test))
    return set(shared[1:] if len(shared) > 1 else shared)


def one_too_many(train, test):
    ours, theirs = edges_of(train), edges_of(test)
    return ours & theirs | {min((a, b) for a, b in ours - theirs if (b, a) not in theirs)}


def neighbours(batch):
    return {edge for row in batch.tolist() for edge in zip(row, row[1:])}


def unordered(batch):
    return {tuple(sorted(edge)) for edge in edges_of(batch)}


def ends(tokens):
    return [b for b in tokens[1::2] if b not in tokens[:-1:2]]


def by_residue(tokens, liked=(0, 1, 4)):
    return max(ends(tokens), key=lambda end: (end - tokens[-1]) % 5 in liked)


def followed(tokens):
    after = dict(pairs(tokens))
    return after[after[tokens[-1]]]


def shuffled(tokens):
    edges = pairs(tokens)
    random.shuffle(edges)
    return [token for edge in edges for token in edge] + tokens[-1:]


def other_start(tokens):
    """The start that stands before the other end."""
    before = {b: a for a, b in pairs(tokens)}
    (other,) = set(ends(tokens)) - {followed(tokens)}
    return [*tokens[:-1], before[before[other]]]


def backwards(tokens):
    return [token for a, b in pairs(tokens) for token in (b, a)] + tokens[-1:]


def into_the_middle(tokens):
    """The end is exchanged with the second of an edge that leads to no end."""
    after, new = dict(pairs(tokens)), list(tokens)
    i = tokens.index(followed(tokens), 1)
    near = {tokens[-1], after[tokens[-1]], *ends(tokens)}
    j = next(j for j in range(1, 24, 2) if tokens[j] not in near and after[tokens[j]] not in near)
    new[i], new[j] = new[j], new[i]
    return new


MISTAKES = {
    "residue_on_any": [
        (lambda: "the same", "It is told the class on both"),
        (lambda: "more than on the test", "Here the rule helps the guesser"),
        (lambda: 0.5, "choose one of"),
    ],
    "interior": [
        (lambda e, k: 1 / (e - 1), "the answer may be the end"),
        (lambda e, k: (e - k) / (e - k + 1) / (e + 1), "choose among all nodes"),
        (lambda e, k: (e - k) / (e - k + 1), "hit the right one"),
        (lambda e, k: (e - k) / (e + 1) / (e - 1), "none is asked"),
        (lambda e, k: (e - k) / (e - k + 1) / e, "chooses among E - 1 of the E + 1 nodes"),
        (lambda e, k: 1 / (e - k + 1), "names none but tokens that can be an answer"),
        (lambda e, k: (e - k) / (e - 1), "how many of the middle tokens can be an answer"),
        (lambda e, k: 1 / (e + 1), "the first k never are"),
        (lambda e, k: 0.16, "whatever n_edges and hops are"),
        (lambda e, k: 1 / (e + 2), "agrees with the count in "),
        (lambda e, k: -1, "outside 0 to 1"),
    ],
    "leak": [
        (in_whole_rows, "compare edge by edge"),
        (of_tensors, "never equal in a set"),
        (row_by_row, "any row of the other"),
        (of_part(lambda x: x[:, :10]), "leave out the last edge"),
        (of_part(lambda x: x[:, 2:]), "leave out the first edge"),
        (of_part(lambda x: x[:-1]), "leave out the last row"),
        (of_part(lambda x: x[1:]), "leave out the first row"),
        (lambda train, test: neighbours(train) & neighbours(test), "are no edge: go by twos"),
        (lambda train, test: unordered(train) & unordered(test), "an edge for its reverse"),
        (all_but_one, "Some are missing"),
        (lambda train, test: bool(edges_of(train) & edges_of(test)), "the edges themselves"),
        (lambda train, test: set(train.flatten().tolist()) & set(test.flatten().tolist()), "each edge is a pair"),
        (one_too_many, "in the training alone"),
    ],
    "shortcut": [
        (followed, "This follows edges"),
        (lambda tokens: ends(tokens)[0], "as a coin between the ends"),
        (lambda tokens: by_residue(tokens, (2, 3)), "prefer the wrong end"),
        (lambda tokens: (tokens[-1] + 4) % 5, "name the token that has it"),
        (lambda tokens: random.choice(tokens), "the answer is always one"),
        (lambda tokens: 99, "does not stand in the sequence"),
    ],
    "control": [
        (lambda tokens: tokens, "nothing has changed"),
        (shuffled, "shuffled edges are the same two chains"),
        (other_start, "hold it fixed"),
        (backwards, "now come second"),
        (lambda tokens: [t % 50 + 1 for t in tokens], "has other tokens"),
        (into_the_middle, "no longer lead to an end"),
    ],
}


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("01", MISTAKES)


def test_an_order_of_edges_and_lots_are_no_following():
    """A guesser that breaks ties by order, or draws lots, is not taken for one that follows."""
    held("shortcut", (lambda tokens: random.choice(ends(tokens)),), "as a coin between the ends")
