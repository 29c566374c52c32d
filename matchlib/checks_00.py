"""The checks of lesson 00's exercises: new chains, luck, and what the shipped model does when it is asked otherwise."""

from functools import cache
from itertools import pairwise
from math import isclose

import torch

from matchlib.chains import RESIDUES
from matchlib.checking import Surprise, Wrong, ask, chain, check, dice, number, tensor, wholes
from matchlib.hooks import intervene
from matchlib.runs import load_or_train


@cache
def shipped():
    """The model of lesson 00 and its task."""
    run = load_or_train("post_g07")
    return run.model, run.task


@check("00", "A chain that it has never met")
def new_chain(g, answer):
    """Seven different tokens from 1 to 50, the first as given, every step 2 or 3 modulo 5."""
    for first in dice(g).sample(range(1, 51), 25):
        see = f"print(new_chain({first}))"
        new = chain(ask(answer, first), f"Your chain from {first}", see)
        if new[0] != first:
            raise Wrong(f"Your chain begins with {new[0]} where {first} was given.", see)
        steps = [(b - a) % 5 for a, b in pairwise(new)]
        if known := [i for i, step in enumerate(steps) if step in RESIDUES["train"]]:
            i = known[0]
            raise Wrong(
                f"The edge {new[i]} -> {new[i + 1]} may stand in the training: its step is {steps[i]} modulo 5.",
                f"print(({new[i + 1]} - {new[i]}) % 5)",
            )
    return "25 chains from fresh first tokens, each of seven tokens, and no edge of them can occur in training."


def tail(right: int, asked: int, chance: float) -> float:
    """P(at least `right` of `asked`), one question after the other: how likely each count is so far."""
    so_far = torch.zeros(asked + 1, dtype=torch.float64)
    so_far[0] = 1
    for _ in range(asked):
        so_far = so_far * (1 - chance) + chance * so_far.roll(1).index_fill(0, torch.tensor([0]), 0)
    return so_far[right:].sum().item()


def slips_of_luck(right: int, asked: int, chance: float) -> dict[str, float]:
    """What is counted in place of at least so many right, and what comes out."""
    true, more = tail(right, asked, chance), tail(right + 1, asked, chance)
    uncounted = sum(chance**k * (1 - chance) ** (asked - k) for k in range(right, asked + 1))
    return {
        f"You count exactly {right} right, and a guesser that gets more was as lucky: add those cases": true - more,
        f"You count more than {right} right: exactly {right} belongs to it too": more,
        f"You leave out that all {asked} are right: range(a, b) ends before b": true - chance**asked,
        "You count a guesser that does worse: this is the other side": 1 - true,
        f"You count at most {right} right, and at least {right} is asked": 1 - more,
        "You ask for so many right in a row, and they may be any of those asked": chance**right,
        "Yours does not change with `chance`: you have written 1/5 down": tail(right, asked, 1 / 5),
        "You count each number right as one case, and it comes about in math.comb(asked, k) ways": uncounted,
    }


@check("00", "Skill or luck?")
def luck(g, answer):
    """The chance that a guesser gets at least so many right, against a count built up question by question."""
    rng, cases = dice(g), []
    few, chances = rng.randint(3, 5), rng.sample([1 / 7, 1 / 5, 1 / 3] * 3, 8)
    for asked, chance in zip((few, *rng.sample(range(7, 30), 7)), chances):  # of few, all right is no small part
        case = rng.randint(1, asked // 2), asked, chance
        cases.append((case, number(ask(answer, *case), "Your probability")))
    for (right, asked, chance), got in cases:
        if not -1e-9 <= got <= 1 + 1e-9:
            raise Wrong(f"Your probability is {got:.4g}, outside 0 to 1. ({right} of {asked}, chance {chance:.3f})")
    wrong = [(case, got) for case, got in cases if not isclose(got, tail(*case), rel_tol=1e-5)]
    if not wrong:
        return "8 fresh cases agree with a count, question by question. Of ten, six right is luck once in 157 at 1/5."
    (right, asked, chance), got = wrong[0]
    true = tail(right, asked, chance)
    shown = f"(For {right} of {asked} at a chance of {chance:.3f} yours is {got:.6g}; counting gives {true:.6g}.)"
    for i, name in enumerate(slips_of_luck(right, asked, chance)):
        if all(isclose(got, list(slips_of_luck(*case).values())[i], rel_tol=1e-5) for case, got in cases):
            raise Wrong(f"{name}. {shown}", f"print(luck({right}, {asked}, {chance:.3f}))")
    raise Wrong(f"Your probability is another in {len(wrong)} of 8 cases. {shown}")


@check("00", "A question's twin")
def twin(g, answer):
    """The same tokens in another chain, so that the same start leads elsewhere; then the model is asked both."""
    model, task = shipped()
    rng, asked = dice(g), []
    for place in rng.sample(list(range(5)) * 4, 20):
        old = rng.sample(range(1, 51), 7)
        start = old[place]
        given = wholes(ask(answer, old, start), "Your twin")
        asked += [(old, start), (given, start)]
    unchanged = sum(old == other for (old, _), (other, _) in zip(asked[::2], asked[1::2]))
    for (old, start), (other, _) in zip(asked[::2], asked[1::2]):
        see = f"print({old}, twin({old}, {start}))"
        if set(other) != set(old) and len(other) == 7:
            raise Wrong("Your twin has other tokens: whatever changes, the new numbers may be the reason.", see)
        there = chain(other, "Your twin", see).index(start)
        if there > 4:
            left = "1 step is" if there == 5 else "no step is"
            raise Wrong(f"In your twin {left} left from the start, and two are asked.", see)
        if other == old and unchanged < 20:
            raise Wrong("Here your chain comes back unchanged: the answer already stood where you put it.", see)
        if other[there + 2] == old[old.index(start) + 2]:
            same = " It is the same chain: another order of the edges is no other chain." if other == old else ""
            raise Wrong(
                f"From {start} your twin leads to the same answer, so one who ignores the edges passes both.{same}", see
            )
    places = [rng.sample(range(6), 6) for _ in asked]
    with torch.no_grad():
        right = [
            bool(model(q.tokens).argmax() == q.answer)
            for question, order in zip(asked, places)
            for q in [task.question(*question, order=order)]
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
        new = "p = torch.rand(2, 2, 13, 13).tril(); new = only_the_most_read(p); print("
        if torch.equal(got, pattern):
            raise Wrong(
                "Your pattern is the one that was given: nothing is cut. The query is axis 2, the key axis 3, and what "
                "the last position reads is [:, :, -1].",
                f"{new}new[0, 0, -1])",
            )
        if not torch.equal(got[:, :, :-1], pattern[:, :, :-1]):
            raise Wrong(
                "You change what earlier positions read, and only the last is asked.",
                f"{new}(new != p).nonzero()[:, 2])",
            )
        if torch.equal(last[..., :-1], pattern[:, :, -1, :-1]):
            raise Wrong("You change the last column, who reads the last position. Rows are queries: it is [:, :, -1].")
        if (last == 0).all():
            raise Wrong("The last position reads nothing at all: that is the cut of the lesson, keep one key.")
        kept = last != 0
        if (kept.sum(-1) == 12).all() and not kept.gather(-1, top).any():
            raise Wrong("You cut the key that is read most, and keep the others: it is the other way round.")
        show = f"{new}new[:, :, -1].count_nonzero(-1))"
        if (kept.sum(-1) == 0).any():
            raise Wrong(
                "In some questions no key is left: take the largest of each row, not of the whole batch, and in each "
                "head.",
                show,
            )
        if (kept.sum(-1) != 1).any():
            raise Wrong(f"The last position still reads {int(kept.sum(-1).max())} keys: keep one, in each head.", show)
        if not kept.gather(-1, top).all():
            raise Wrong(
                "One key is left, but not always the one that its own row reads most.",
                f"{new}p[:, :, -1].argmax(-1), new[:, :, -1].argmax(-1))",
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
