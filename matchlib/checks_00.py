"""The checks of lesson 00's exercises: new chains, luck, and what the shipped model does when it is asked otherwise."""

from functools import cache
from itertools import pairwise

import torch

from matchlib.chains import RESIDUES
from matchlib.checking import Surprise, Wrong, ask, check, dice, number, tensor, wholes
from matchlib.hooks import intervene
from matchlib.runs import load_or_train


@cache
def shipped():
    """The model of lesson 00 and its task."""
    run = load_or_train("post_g07")
    return run.model, run.task


def tokens_of(chain: list[int], what: str) -> None:
    """Raises Wrong where a chain is not seven different tokens from 1 to 50."""
    if len(chain) != 7:
        raise Wrong(f"{what} has {len(chain)} tokens: six edges join seven.", "print(len(chain))")
    if outside := [token for token in chain if not 1 <= token <= 50]:
        raise Wrong(f"{what} holds {outside[0]}, and tokens run from 1 to 50: a step may also lead down.")
    if len(set(chain)) < 7:
        raise Wrong(f"{what} meets a token twice, and then two edges leave it.", "print(len(set(chain)))")


@check("00", "A chain that it has never met")
def new_chain(g, answer):
    """Seven different tokens from 1 to 50, the first as given, every step 2 or 3 modulo 5."""
    for first in dice(g).sample(range(1, 51), 25):
        chain = wholes(ask(answer, first), "Your chain")
        tokens_of(chain, f"Your chain from {first}")
        if chain[0] != first:
            raise Wrong(f"Your chain begins with {chain[0]} where {first} was given.")
        steps = [(b - a) % 5 for a, b in pairwise(chain)]
        if known := [i for i, step in enumerate(steps) if step in RESIDUES["train"]]:
            i = known[0]
            raise Wrong(
                f"The edge {chain[i]} -> {chain[i + 1]} may stand in the training: its step is {steps[i]} modulo 5.",
                f"({chain[i + 1]} - {chain[i]}) % 5",
            )
    return "25 chains from fresh first tokens, each of seven tokens, and no edge of them can occur in training."


def tail(right: int, asked: int, chance: float) -> float:
    """P(at least `right` of `asked`), one question after the other: how likely each count is so far."""
    so_far = torch.zeros(asked + 1, dtype=torch.float64)
    so_far[0] = 1
    for _ in range(asked):
        so_far = so_far * (1 - chance) + chance * so_far.roll(1).index_fill(0, torch.tensor([0]), 0)
    return so_far[right:].sum().item()


@check("00", "Skill or luck?")
def luck(g, answer):
    """The chance that a guesser gets at least so many right, against a count built up question by question."""
    rng = dice(g)
    for asked in rng.sample(range(7, 30), 8):
        right, chance = rng.randint(1, asked // 2), rng.choice((1 / 7, 1 / 5, 1 / 3))
        got = number(ask(answer, right, asked, chance), "Your probability")
        true, more = tail(right, asked, chance), tail(right + 1, asked, chance)
        case = f"{right} of {asked} at a chance of {chance:.3f}"
        for name, rival in {
            f"You count exactly {right} right, and a guesser that gets more was as lucky: add those cases": true - more,
            f"You count more than {right} right: exactly {right} belongs to it too": more,
            "You count a guesser that does worse: this is the other side": 1 - true,
            "You ask for so many right in a row, and they may be any of those asked": chance**right,
        }.items():
            if abs(got - rival) < 1e-6 < abs(true - rival):
                raise Wrong(f"{name}. ({case})", f"luck({right}, {asked}, {chance:.3f})")
        if not -1e-9 <= got <= 1 + 1e-9:
            raise Wrong(f"Your probability is {got:.4g}, outside 0 to 1. ({case})")
        if abs(got - true) > 1e-6:
            raise Wrong(f"Your probability is {got:.6f} where counting gives {true:.6f}. ({case})")
    return "8 fresh cases agree with a count, question by question. Of ten, six right is luck once in 157 at 1/5."


@check("00", "A question's twin")
def twin(g, answer):
    """The same tokens in another chain, so that the same start leads elsewhere; then the model is asked both."""
    model, task = shipped()
    rng, asked = dice(g), []
    for _ in range(20):
        chain = rng.sample(range(1, 51), 7)
        start = rng.choice(chain[:5])
        other = wholes(ask(answer, chain, start), "Your twin")
        if set(other) != set(chain) and len(other) == 7:
            raise Wrong("Your twin has other tokens: whatever changes, the new numbers may be the reason.")
        tokens_of(other, "Your twin")
        there = other.index(start)
        if there > 4:
            raise Wrong(f"In your twin {6 - there} step(s) are left from the start, and two are asked.")
        if other[there + 2] == chain[chain.index(start) + 2]:
            same = " It is the same chain: another order of the edges is no other chain." if other == chain else ""
            raise Wrong(
                f"From {start} your twin leads to the same answer, so one who ignores the edges passes both.{same}",
                f"print({chain}, twin({chain}, {start}))",
            )
        asked += [(chain, start), (other, start)]
    places = [rng.sample(range(6), 6) for _ in asked]
    with torch.no_grad():
        right = [
            bool(model(q.tokens).argmax() == q.answer)
            for chain, order in zip(asked, places)
            for q in [task.question(*chain, order=order)]
        ]
    both = sum(a and b for a, b in zip(right[::2], right[1::2]))
    said = f"The model answers both of a pair in {'most' if both > 10 else 'few'} of them"
    return f"20 pairs with the same tokens and start and another answer. {said}; a rule on the set of tokens cannot."


@check("00", "Predict: every edge written backwards", choices=("the answer", "two steps back", "neither"))
def backwards(g, said):
    """Test questions with the two tokens of each edge exchanged, where two tokens stand before the start."""
    model, task = shipped()
    batch = task.sample(1000, "test", generator=g)
    batch = batch[batch.start >= 2]
    tokens = batch.tokens.clone()
    tokens[:, 0:12:2], tokens[:, 1:12:2] = batch.tokens[:, 1:12:2], batch.tokens[:, 0:12:2]
    with torch.no_grad():
        named = model(tokens).argmax(dim=-1)
    back = batch.chain[:, 0].gather(1, batch.start[:, None] - 2)[:, 0]
    assert (named == back).float().mean() > 0.95, "the shipped model no longer reads edges as they are written"
    reveal = (
        "where two tokens stand before the start, it names the one two steps back, in at least 95 of 100 questions."
    )
    if said == "the answer":
        raise Surprise(f"{reveal} It does not know the pair as a pair: it goes from the first token to the second.")
    if said == "neither":
        raise Surprise(
            f"{reveal} It is not lost: backwards edges make a chain like any other, and it follows that one."
        )
    return f"{reveal} It goes from the first token of a written edge to the second."


@check("00", "How little of the attention is enough?")
def one_edge(g, answer):
    """Attention whose last position keeps the one key that it reads most; then the model is put to it."""
    model, task = shipped()
    for heads in (1, 2, 3):
        pattern = torch.rand(4, heads, 13, 13, generator=g).tril()
        pattern = pattern / pattern.sum(-1, keepdim=True)
        got = tensor(ask(answer, pattern), (4, heads, 13, 13), "Your pattern").to(pattern.dtype)
        top = pattern[:, :, -1].argmax(dim=-1, keepdim=True)
        most, last = pattern[:, :, -1].gather(-1, top), got[:, :, -1]
        if torch.equal(got, pattern):
            raise Wrong("Your pattern is the one that was given: nothing is cut.")
        if not torch.equal(got[:, :, :-1], pattern[:, :, :-1]):
            raise Wrong("You change what earlier positions read, and only the last is asked.", "(new != old).nonzero()")
        if torch.equal(last[..., :-1], pattern[:, :, -1, :-1]):
            raise Wrong("You change the last column, who reads the last position. Rows are queries: it is [:, :, -1].")
        if (last == 0).all():
            raise Wrong("The last position reads nothing at all: that is the cut of the lesson, keep one key.")
        kept = last != 0
        if (kept.sum(-1) == 12).all() and not kept.gather(-1, top).any():
            raise Wrong("You cut the key that is read most, and keep the others: it is the other way round.")
        if (kept.sum(-1) != 1).any():
            raise Wrong(f"The last position still reads {int(kept.sum(-1).max())} keys: keep one, in each head.")
        if not kept.gather(-1, top).all():
            raise Wrong(
                "One key is left, but not always the one that its own row reads most.", "pattern[:, :, -1].argmax(-1)"
            )
        if not torch.allclose(last.gather(-1, top), most):
            raise Wrong("The key that is left has another weight than before: then two things have changed at once.")

    def put(pattern):
        return tensor(ask(answer, pattern), tuple(pattern.shape), "Your pattern").to(pattern.dtype)

    batch = task.sample(500, "test", generator=g)
    with torch.no_grad():
        logits = intervene(model, batch.tokens, {"blocks.2.attn.pattern": put}, positions="last")
    right = (logits.argmax(dim=-1) == batch.answer).float().mean()
    assert right > 0.95, "the shipped model no longer answers from one key"
    return "of 13 keys one is left, its weight untouched, and in layer 2 the model still answers 95 of 100 or more."
