"""The checks of lesson 01's exercises: a guesser's score, a leak between splits, a shortcut, and a control for it."""

import random
from math import isclose

import torch
from torch import Tensor

from matchlib.baselines import baselines
from matchlib.checking import Surprise, Wrong, ask, check, dice, kind_of, number, tensor, whole
from matchlib.data import Batch, ChainTask


@check("01", "Predict: the residue without a rule", choices=("more than on the test", "less", "the same"))
def residue_on_any(g, said):
    """What `right residue` scores on the split `any`, against the test: computed."""
    task = ChainTask("single", n_edges=6, hops=2, n_tokens=50)
    test, free = (baselines(task, split)["right residue"] for split in ("test", "any"))
    assert free < test
    reveal = f"it scores {test:.2f} on the test and {free:.2f} on any."
    why = (
        "under the test rule no token one or three steps from the answer shares its class. The two that are two steps "
        "away do half the time, but one of them is the start, which is not named, and the other often does not exist"
    )
    if said == "the same":
        raise Surprise(f"{reveal} It is told the class on both, but how many others share it differs: {why}.")
    if said == "more than on the test":
        raise Surprise(f"{reveal} Here the rule helps the guesser: {why}.")
    return f"{reveal} Fewer share the answer's class on the test: {why}."


@check("01", "What a guesser scores, computed")
def interior(g, answer):
    """Accuracy of naming a token from the middle, against every start written down."""
    cases = dice(g).sample([(e, k) for e in range(5, 13) for k in range(1, e - 2)], 20)
    got = [number(ask(answer, *case), "Your accuracy") for case in cases]
    for accuracy, (n_edges, hops) in zip(got, cases):
        if not 0 <= accuracy <= 1:
            raise Wrong(f"Your accuracy is {accuracy:.4g}, outside 0 to 1. (E={n_edges}, k={hops})")
    wrong = [i for i, case in enumerate(cases) if abs(got[i] - counted(*case)) > 1e-6]
    if not wrong:
        return "20 fresh tasks agree with every start written down. With 6 edges and 2 steps it scores 0.16."
    (e, k), yours = cases[wrong[0]], got[wrong[0]]
    shown = f"(With E={e} and k={k} yours is {yours:.4f}; writing down every start gives {counted(e, k):.4f}.)"
    see = f"print(interior({e}, {k}))"
    for name, slip in FORGOTTEN.items():
        if all(isclose(accuracy, slip(*case), rel_tol=1e-6) for accuracy, case in zip(got, cases)):
            raise Wrong(f"{name}. {shown}", see)
    if max(got) - min(got) < 1e-9:
        raise Wrong(f"Yours is {yours:g} whatever n_edges and hops are, and that is the score of one task alone.", see)
    raise Wrong(f"Your accuracy agrees with the count in {20 - len(wrong)} of 20 tasks. {shown}", see)


def counted(n_edges: int, hops: int) -> float:
    """How often the answer is in the middle, over every start, and the guesser then hits it."""
    middle = range(1, n_edges)  # nodes with an edge in and an edge out
    hits = [start + hops in middle for start in range(n_edges + 1 - hops)]
    return sum(hits) / len(hits) / len(middle)


FORGOTTEN = {
    "You forget that the answer may be the end, which this guesser never names": lambda e, k: 1 / (e - 1),
    "You let it choose among all nodes, and it does not name the two ends": lambda e, k: (
        counted(e, k) * (e - 1) / (e + 1)
    ),
    "It leaves out both ends, and so chooses among E - 1 of the E + 1 nodes": lambda e, k: counted(e, k) * (e - 1) / e,
    "That is how often the answer is in the middle; the guesser must still hit the right one": (
        lambda e, k: counted(e, k) * (e - 1)
    ),
    "You count starts with fewer than k steps left: none is asked": lambda e, k: (e - k) / (e + 1) / (e - 1),
    'That is "possible answer", which names none but tokens that can be an answer': lambda e, k: 1 / (e - k + 1),
    "That is how many of the middle tokens can be an answer, and it names one of them": lambda e, k: (e - k) / (e - 1),
    "You take each of the E + 1 nodes for the answer equally often, and the first k never are": lambda e, k: (
        1 / (e + 1)
    ),
}


def pairs(tokens: Tensor) -> set[tuple[int, int]]:
    return {(a, b) for row in tokens.tolist() for a, b in zip(row[:-1:2], row[1::2])}


def flipped(edges: set[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(b, a) for a, b in edges}


def planted(train: Tensor, test: Tensor, n: int, corners: bool, rng: random.Random) -> None:
    """Write n test edges into training sequences, and one reversed; with `corners` four more where rows and batches
    begin and end."""
    last = len(test) - 1
    rows = rng.sample(range(1, last), n + 2)  # from one to the next: never into the row of the same number
    for i, (row, place) in enumerate(zip(rows, rows[1:])):
        edge = test[row, 2:4]
        if i == n:  # the first whose reverse stands nowhere in the test
            row = next(row for row in range(len(test)) if tuple(test[row, 2:4].flip(0).tolist()) not in pairs(test))
            edge = test[row, 2:4].flip(0)
        train[place, 4:6] = edge
    if corners:
        for row in (0, last):
            for at in (0, 10):
                train[row, at : at + 2] = test[row, at : at + 2]


def sharing(task: ChainTask, n: int, corners: bool, g: torch.Generator, rng: random.Random) -> tuple[Tensor, Tensor]:
    """Training and test sequences with that many edges in common: where two of the planted are one, drawn again."""
    while True:
        train, test = (task.sample(60, split, generator=g).tokens for split in ("train", "test"))
        planted(train, test, n, corners, rng)
        if len(pairs(train) & pairs(test)) == n + 4 * corners:
            return train, test


def overlooked(train: Tensor, test: Tensor) -> dict[str, set[tuple[int, int]]]:
    """What is found where a part of each batch is left out: the sentence, and the edges."""
    kept = {
        "the last edge of each row": lambda x: torch.cat([x[:, :10], x[:, 12:]], dim=1),
        "the first edge of each row": lambda x: x[:, 2:],
        "the last row": lambda x: x[:-1],
        "the first row": lambda x: x[1:],
    }
    return {f"You leave out {what}": pairs(part(train)) & pairs(part(test)) for what, part in kept.items()}


@check("01", "Does a test edge occur in the training?")
def leak(g, answer):
    """The set of edges that two batches share, with some planted, also where rows and batches begin and end."""
    task, rng = ChainTask("single", n_edges=6, hops=2, n_tokens=50), dice(g)
    go_by_twos = "row = list(range(13)); print(list(zip(row[:-1:2], row[1::2])))"
    for n, corners in ((0, False), (1, False), (3, True)):
        train, test = sharing(task, n, corners, g, rng)
        ours, theirs = pairs(train), pairs(test)
        true, found = ours & theirs, edges(ask(answer, train, test))
        if found == true:
            continue
        extra = found - true
        shared = "1 edge is" if len(true) == 1 else f"{len(true)} edges are"
        count = f"{shared} shared here and you find {len(found)}"
        for what, some in overlooked(train, test).items():
            if found == some:
                raise Wrong(f"{count}. {what}.")
        if not found and not edges(ask(answer, test, test)):
            raise Wrong(
                f"{count}, and none even where both batches are the same one. Elements of a tensor are never equal in "
                "a set, even where their numbers are: use tolist().",
                "print({(x, x) for x in torch.ones(3)})",
            )
        if not found and len(edges(ask(answer, test, test.flip(0)))) < len(theirs) / 2:
            raise Wrong(f"{count}. You compare rows of the same number, and an edge may stand in any row of the other.")
        if not found:
            raise Wrong(f"{count}. A sequence as a whole hardly ever occurs twice: compare edge by edge, of every row.")
        if extra and extra <= ours | flipped(ours) and extra <= theirs | flipped(theirs):
            raise Wrong(f"{count}. You take an edge for its reverse: a -> b and b -> a are two.")
        if extra - ours:
            raise Wrong(f"{count}. The second of an edge and the next token are no edge: go by twos.", go_by_twos)
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
    task = ChainTask("double_end", n_edges=6, hops=2, n_tokens=50)
    batch = task.sample(1500, "test", generator=g)
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
    fixed = task.sample(1500, "test", generator=torch.Generator().manual_seed(0))
    score = (played(answer, fixed.tokens) == sides(fixed)[0]).float().mean().item()  # a pass says the same each time
    return (
        "above 0.62 on fresh test questions, where an end alone scores 0.5, and no edge was followed. On 1,500 that do "
        f"not change yours scores {score:.2f}."
    )


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
                f"old = {old}; print(set(old[:-1:2]) ^ set(control(list(old))[:-1:2]))",
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
