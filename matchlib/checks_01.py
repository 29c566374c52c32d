"""The checks of lesson 01's exercises: a guesser's score, a leak between splits, a shortcut, and a control for it."""

import random

import torch
from torch import Tensor

from matchlib.baselines import baselines
from matchlib.checking import Surprise, Wrong, ask, check, kind_of, number, tensor, whole
from matchlib.data import Batch, ChainTask


@check("01", "Predict: the residue without a rule", choices=("more than on the test", "less", "the same"))
def residue_on_any(g, said):
    """What `right residue` scores on the split `any`, against the test: computed."""
    task = ChainTask("single", n_edges=6, hops=2, n_tokens=50)
    test, free = (baselines(task, split)["right residue"] for split in ("test", "any"))
    assert free < test
    reveal = f"it scores {test:.2f} on the test and {free:.2f} on any."
    why = "under the test rule neighbours never share a class, and one two steps away often does: but that is the start"
    if said == "the same":
        raise Surprise(f"{reveal} It is told the class on both, but how many others share it differs: {why}.")
    if said == "more than on the test":
        raise Surprise(f"{reveal} Here the rule helps the guesser: {why}.")
    return f"{reveal} Fewer share the answer's class on the test: {why}."


@check("01", "What a guesser scores, computed")
def interior(g, answer):
    """Accuracy of naming a token from the middle, against every start written down."""
    rng = random.Random(int(torch.randint(2**31, (1,), generator=g)))
    # not k = 2, where two of the misconceptions below score the same
    for n_edges, hops in rng.sample([(e, k) for e in range(5, 13) for k in range(1, e - 2) if k != 2], 20):
        got = number(ask(answer, n_edges, hops), "Your accuracy")
        middle = range(1, n_edges)  # nodes with an edge in and an edge out
        hits = [start + hops in middle for start in range(n_edges + 1 - hops)]
        often = sum(hits) / len(hits)
        true = often / len(middle)
        case = f"E={n_edges}, k={hops}"
        for rival, name in {
            1 / len(middle): "You forget that the answer may be the end, which this guesser never names",
            often / (n_edges + 1): "You let it choose among all nodes, and it does not name the two ends",
            often: "That is how often the answer is in the middle; the guesser must still hit the right one",
            sum(hits) / (n_edges + 1) / len(middle): "You count starts with fewer than k steps left: none is asked",
        }.items():
            if abs(got - rival) < 1e-9 < abs(true - rival):
                raise Wrong(f"{name}. ({case})", f"interior({n_edges}, {hops}), and {true:.4f} by writing it down")
        if not 0 <= got <= 1:
            raise Wrong(f"Your accuracy is {got:.4g}, outside 0 to 1. ({case})")
        if abs(got - true) > 1e-6:
            raise Wrong(f"Your accuracy is {got:.4f} where writing down every start gives {true:.4f}. ({case})")
    return "20 fresh tasks agree with every start written down. With 6 edges and 2 steps it scores 0.16."


def pairs(tokens: Tensor) -> set[tuple[int, int]]:
    return {(a, b) for row in tokens.tolist() for a, b in zip(row[:-1:2], row[1::2])}


def flipped(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(b, a) for a, b in edges}


@check("01", "Does a test edge occur in the training?")
def leak(g, answer):
    """The set of edges that two batches share, with some planted."""
    task = ChainTask("single", n_edges=6, hops=2, n_tokens=50)
    rng = random.Random(int(torch.randint(2**31, (1,), generator=g)))
    for planted in (0, 1, 3):
        train, test = (task.sample(60, split, generator=g).tokens for split in ("train", "test"))
        rows = rng.sample(range(30, 60), planted)
        odd = next(row for row in range(60) if tuple(test[row, 2:4].flip(0).tolist()) not in pairs(test))
        for i, row in enumerate([*rows, odd]):  # test edges written into training sequences; the last one reversed
            train[i, 4:6] = test[row, 2:4] if i < planted else test[row, 2:4].flip(0)
        train, test = train[torch.randperm(60, generator=g)], test[torch.randperm(60, generator=g)]
        true = pairs(train) & pairs(test)
        got = ask(answer, train, test)
        found = edges(got)
        if found == true:
            continue
        ours, theirs, extra = pairs(train), pairs(test), found - true
        count = f"{len(true)} edges are shared here and you find {len(found)}"
        if not found:
            raise Wrong(f"{count}. A sequence as a whole hardly ever occurs twice: compare edge by edge, of every row.")
        if extra and extra <= ours | flipped(ours) and extra <= theirs | flipped(theirs):
            raise Wrong(f"{count}. You take an edge for its reverse: a -> b and b -> a are two.")
        if extra - ours:
            see = "list(zip(row[:-1:2], row[1::2]))"
            raise Wrong(f"{count}. The second of an edge and the first of the next one are no edge: go by twos.", see)
        if extra:
            raise Wrong(f"{count}: {min(extra)} occurs in the training alone.")
        raise Wrong(f"{count}. Some are missing: look at every sequence, and at every edge of it.")
    return "in three fresh pairs of batches you find the edges that both hold, and no others."


def edges(value) -> set[tuple[int, int]]:
    """A learner's set of edges. Raises Wrong for anything else."""
    if not isinstance(value, set | frozenset):
        raise Wrong(f"You return {kind_of(value)}: return the edges themselves, as a set of pairs (a, b).")
    found = set()
    for pair in value:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise Wrong(f"Your set holds {kind_of(pair)}: each edge is a pair (a, b) of tokens.")
        found.add(tuple(whole(x, "A token of your edges") for x in pair))
    return found


def sides(batch: Batch) -> tuple[Tensor, Tensor]:
    """The end that is the answer, and the other."""
    n = torch.arange(len(batch))
    return batch.chain[n, batch.which, -1], batch.chain[n, 1 - batch.which, -1]


def crossed(batch: Batch) -> Tensor:
    """The tokens with the first tokens of the two last edges exchanged: each chain now ends in the other's end."""
    tokens = batch.tokens.clone()
    n = torch.arange(len(batch))
    ours, theirs = (batch.edge_pos[n, which, -1] for which in (batch.which, 1 - batch.which))
    tokens[n, ours], tokens[n, theirs] = batch.tokens[n, theirs], batch.tokens[n, ours]
    return tokens


def played(answer, tokens: Tensor) -> Tensor:
    """What a learner's guesser names for each row."""
    return torch.tensor([whole(ask(answer, row), "The token that you name") for row in tokens.tolist()])


@check("01", "A shortcut that beats the ends")
def shortcut(g, answer):
    """A guesser of 1,500 test questions on two chains to the end, which must not change where only edges do."""
    batch = ChainTask("double_end", n_edges=6, hops=2, n_tokens=50).sample(1500, "test", generator=g)
    named, (right, other) = played(answer, batch.tokens), sides(batch)
    score = (named == right).float().mean().item()
    ends = ((named == right) | (named == other)).float().mean().item()
    moved, chance = (
        (played(answer, tokens) != named).float().mean() for tokens in (crossed(batch), batch.tokens)
    )  # one that draws lots names another token also where nothing has changed
    if moved > chance + 0.1:
        raise Wrong(f"This follows edges: with who leads to which end exchanged, {moved:.0%} of its answers change.")
    if (named < 5).all():
        raise Wrong("You name a residue: name the token that has it.")
    if not torch.isin(named, batch.tokens).all() or (named[:, None] != batch.tokens).all(1).any():
        raise Wrong("You name a token that does not stand in the sequence.")
    if ends < 0.9:
        raise Wrong(
            f"You name an end in {ends:.0%} of the questions; the answer is always one: a second that is no first."
        )
    # 1,500 draws: a standard error of 0.012 where the residues reach 0.70, or 0.75 with the more frequent preferred
    if score < 0.42:
        raise Wrong(f"You are right in {score:.0%}: you prefer the wrong end. Two steps of 2 or 3 add up to 4, 5 or 6.")
    if score < 0.62:
        raise Wrong(f"You are right in {score:.0%}, as a coin between the ends: what does the start's residue tell?")
    return "above 0.62 on fresh test questions, where an end alone scores 0.5, and no edge was followed."


@check("01", "A control for the shortcut")
def control(g, answer):
    """The same tokens at the same kind of place, the same start, and another answer."""
    task = ChainTask("double_end", n_edges=6, hops=2, n_tokens=50)
    batch = task.sample(200, "test", generator=g)
    right, other = sides(batch)
    got = [tensor(ask(answer, row), (task.n_pos,), "Your sequence").long() for row in batch.tokens.tolist()]
    for old, new, end, rival in zip(batch.tokens.tolist(), got, right.tolist(), other.tolist()):
        new = new.tolist()
        if new == old:
            raise Wrong("Your sequence is the one that was given: nothing has changed.")
        if sorted(new[:-1]) != sorted(old[:-1]):
            raise Wrong("Your sequence has other tokens: a shortcut on the tokens may then answer otherwise too.")
        if new[-1] != old[-1]:
            raise Wrong("You change the start, and the shortcut reads it: hold it fixed.")
        if set(new[:-1:2]) != set(old[:-1:2]):
            raise Wrong(
                "Tokens that came first now come second: then the ends can be other tokens, and the shortcut sees it.",
                "set(new[:-1:2]) == set(old[:-1:2])",
            )
        after = dict(zip(new[:-1:2], new[1::2]))
        reached = after.get(after.get(new[-1]))
        if reached == end:
            raise Wrong(
                "Two steps from the start still lead to the same token: shuffled edges are the same two chains."
            )
        if reached != rival:
            raise Wrong(
                "Two steps from the start no longer lead to an end, so the shortcut is wrong for another reason."
            )
    return "in 200 fresh questions nothing but who follows whom has changed, and the answer is now the other end."
