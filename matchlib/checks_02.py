"""The checks of lesson 02's exercises: a layer by hand, small and large starts, runs that never do."""

from math import inf, sqrt
from statistics import mean, median, median_high, median_low

import torch
import torch.nn.functional as F
from torch import Tensor

from matchlib.checking import Surprise, Wrong, ask, check, number, tensor
from matchlib.data import ChainTask
from matchlib.hooks import cache as read
from matchlib.model import Block, ModelConfig, Transformer
from matchlib.record import Evaluation

PARTS = ("q", "k", "v", "o", "in", "out")


def one_layer(x: Tensor, w: dict[str, Tensor], placement: str, slip: str = "") -> Tensor:
    """A layer with one mistake, named by `slip`; `Block` itself says what is right."""

    def norm(x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:])

    def attention(x: Tensor) -> Tensor:
        q, k = x @ w["q"], x @ w["k"]
        scores = (k if slip == "swapped" else q) @ (q if slip == "swapped" else k).mT
        scores = scores / {"unscaled": 1, "d_model": sqrt(x.shape[-1])}.get(slip, sqrt(q.shape[-1]))
        future = torch.ones(scores.shape[-2:]).triu(1).bool()
        future = {"open": future & False, "past": future.mT}.get(slip, future)
        if slip == "zero":
            return scores.masked_fill(future, 0).softmax(-1) @ x @ w["v"] @ w["o"]
        if slip == "late":
            return scores.softmax(-1).masked_fill(future, 0) @ x @ w["v"] @ w["o"]
        axis = -2 if slip == "columns" else -1
        return scores.masked_fill(future, -inf).softmax(axis) @ x @ w["v"] @ w["o"]

    def mlp(x: Tensor) -> Tensor:
        return (x @ w["in"] if slip == "straight" else (x @ w["in"]).relu()) @ w["out"]

    if slip == "alone":
        return norm(x + attention(x)) if placement == "post" else x + attention(norm(x))
    if slip == "bare":
        return norm(mlp(norm(attention(x)))) if placement == "post" else mlp(norm(attention(norm(x))))
    if (placement == "post") != (slip == "exchanged"):
        y = x + norm(attention(x)) if slip == "misplaced" else norm(x + attention(x))
        added = y + (norm(mlp(y)) if slip == "misplaced" else mlp(y))
        return added if slip in ("once", "misplaced") else norm(added)
    y = (norm(x) if slip.startswith("carried") else x) + attention(norm(x))
    return (norm(y) if slip == "carried twice" else y) + mlp(y if slip == "once" else norm(y))


SLIPS = {
    "open": "A position reads what comes after it: mask the scores, so that a query sees no later key",
    "past": "Your mask is the wrong way round: a query (row) may read itself and earlier keys (columns)",
    "zero": "A score of 0 is one like any other, and a softmax gives it weight: mask with -inf, which gets none",
    "late": "You mask after the softmax, so that the rows no longer sum to 1: put -inf into the scores before it",
    "columns": "Rows are queries: your softmax runs over the queries, and each *row* must sum to 1",
    "swapped": "Query and key are exchanged: the position that asks goes through q, the one that is read through k",
    "unscaled": "The scores lack their scale: divide them by the square root of d_head",
    "d_model": "You divide by the square root of d_model, and a score is a sum over d_head products",
    "straight": "The MLP lacks its ReLU, and is one matrix product then",
    "alone": "The MLP is missing: the second half of a layer adds mlp(...) to what attention has made",
    "bare": "Nothing is carried on: attention and MLP are each *added* to the residual stream",
    "exchanged": "You have post and pre exchanged: post acts on the sum, pre on what attention and MLP read",
    "once": "A layer has two LayerNorms, one for attention and one for the MLP: the second is missing",
    "carried": "Pre-LN lets the residual stream itself go on untouched: you carry the normalised one on",
    "carried twice": "Pre-LN lets the residual stream itself go on untouched: you carry the normalised one on, twice",
    "misplaced": "Post-LN acts on the *sum*: you normalise what is added, and the sum is free to grow",
}


@check("02", "A layer with nothing hidden")
def layer_by_hand(g, answer):
    """Both placements of LayerNorm with a causal mask, against the model's own layer."""
    for placement in ("post", "pre") * 2:
        d_model, d_head, d_mlp, n = (int(torch.randint(a, a + 5, (1,), generator=g)) for a in (18, 6, 30, 4))
        cfg = ModelConfig(1, d_model, d_head, d_mlp, vocab_size=9, n_pos=n, layernorm=placement, gamma=0.4)
        block = Block(cfg, 0, g)
        w = {part: getattr(block, f"w_{part}").detach() for part in PARTS}
        x = torch.randn(3, n, d_model, generator=g) * 2 + 0.5
        got = ask(answer, x, w, placement)
        if isinstance(got, Tensor) and got.shape == x.shape and got.isnan().any():
            raise Wrong(
                "Your layer holds NaN: a row of scores that is -inf throughout has no softmax. Let each position "
                "read itself, and mask above the diagonal alone.",
                "print(torch.full((3,), -torch.inf).softmax(0))",
            )
        got = tensor(got, tuple(x.shape), f"Your {placement}-LN layer").float()
        with torch.no_grad():
            right = block(x, lambda name, x: x, last=False)
        if torch.allclose(got, right, atol=1e-3, rtol=1e-3):
            continue
        source = "import inspect; print(inspect.getsource(Block))"
        for slip, words in SLIPS.items():
            if torch.allclose(got, one_layer(x, w, placement, slip), atol=1e-3, rtol=1e-3):
                other = "pre" if placement == "post" else "post"
                if slip == "exchanged" and torch.equal(
                    got, tensor(ask(answer, x, w, other), tuple(x.shape), "It").float()
                ):
                    words = f"{other.capitalize()} is right, and for {placement} you return the same: use `placement`"
                raise Wrong(f"{words}. ({placement}-LN)", source)
        raise Wrong(
            f"Your {placement}-LN layer differs from the model's by up to {(got - right).abs().max():.2g}.", source
        )
    return "post and pre, of fresh sizes, agree with the model's own layer; no position reads what comes after it."


@check("02", "Predict: the first glance of a large start", choices=("all much the same", "one key", "its own place"))
def first_glance(g, said):
    """Where the last position looks in layer 1 of fresh post-LN models with gamma 0.3, beside 0.9."""
    tokens = ChainTask().sample(50, "any", generator=g).tokens
    most, own = {}, {}
    for gamma in (0.3, 0.9):
        last = []
        for _ in range(4):
            model = Transformer(ModelConfig(gamma=gamma), generator=g)
            last.append(read(model, tokens, ["blocks.1.attn.pattern"])[1]["blocks.1.attn.pattern"][:, 0, -1])
        last = torch.cat(last)
        most[gamma], own[gamma] = last.amax(-1).mean().item(), last[:, -1].mean().item()
    # means of four models: the bounds lie 6 of their standard errors off, or more
    assert most[0.3] > 0.45 and most[0.9] < 0.12 and own[0.3] < 0.4, "fresh models no longer look as they did"
    reveal = (
        "the key that it reads most gets more than 0.45 of its attention, on average over models and questions; "
        "with gamma 0.9 it gets less than 0.12, where an even share is 0.077."
    )
    if said == "all much the same":
        raise Surprise(
            f"{reveal} A score is a product of two vectors and two matrices: large weights make scores far apart, and "
            "a softmax of these chooses, though nothing has been learnt. Even glances belong to a small start."
        )
    if said == "its own place":
        raise Surprise(f"{reveal} But chance decides which: W_q and W_k are drawn apart, so no place knows itself.")
    return f"{reveal} Which key it is, nobody has taught it: a large start chooses before it has learnt anything."


def steps_of(value) -> float:
    """A learner's number of steps, which may be infinity."""
    if isinstance(value, float) and value == inf:
        return inf
    if isinstance(value, Tensor) and value.numel() == 1 and bool((value == inf).all()):
        return inf
    return number(value, "Your number of steps")


def a_run(reaches: bool, falls: bool, bar: float, g: torch.Generator) -> list[Evaluation]:
    """A made-up history: training chains are solved early; the test late, where at all, and it falls back at once.

    Where it `falls`, it does so again at the end. So no two of the slips below agree on five runs of which one falls.
    """
    n, every = int(torch.randint(12, 20, (1,), generator=g)), 50
    test = torch.rand(n, generator=g) * (bar - 0.05)
    at = int(torch.randint(4, n - 4, (1,), generator=g))
    if reaches:
        test[at:] = bar + (1 - bar) * torch.rand(n - at, generator=g) + 1e-3
        test[at + 1 : at + 4] = torch.tensor([bar + (1 - bar) / 100, bar / 2, 1.0])
    if reaches and falls:
        test[-1] = bar / 2
    test = test.tolist()
    if reaches:
        test[at] = bar
    return [Evaluation(i * every, 1.0, 1.0, 1.0 if i > 2 else 0.1, test[i], 0.1, (0.1,), (0.1,)) for i in range(n)]


def reached(history: list[Evaluation], bar: float, slip: str = "") -> float:
    """The first evaluated step with a test accuracy of `bar`, or what a slip makes of it."""
    bar = float(slip.removeprefix("own ")) if slip.startswith("own ") else bar
    hits = [getattr(e, "train" if slip == "train" else "test") >= bar for e in history]
    if slip == "above":
        hits = [e.test > bar for e in history]
    if slip == "stays":
        hits = [all(hits[i:]) for i in range(len(hits))]
    if slip == "final":
        hits = [False] * (len(hits) - 1) + hits[-1:]
    if True not in hits:
        return {"last": float(history[-1].step), "zero": 0.0}.get(slip, inf)
    at = len(hits) - 1 - hits[::-1].index(True) if slip == "latest" else hits.index(True)
    return at if slip == "index" else float(history[at].step)


def typical(histories: list, bar: float, slip: str = "") -> float:
    found = [reached(history, bar, slip) for history in histories]
    if slip.startswith("left out"):
        found = [steps for steps in found if steps < inf] or [inf]
    return MIDDLES.get(slip, median)(found)


MIDDLES = {
    "mean": mean,
    "best": min,
    "unsorted": lambda found: found[len(found) // 2],
    "left out, high": median_high,
    "left out, low": median_low,
}
LEFT_OUT = "You leave out the runs that never got there, and the rest flatter the recipe: they count as infinity"
OWN_BAR = "You compare with a number of your own: the accuracy to reach is `bar`"
CENSORED = {
    "last": "A run that never gets there counts as its last step, which says that it did: it is infinity, not yet",
    **dict.fromkeys(("left out", "left out, high", "left out, low"), LEFT_OUT),
    "zero": "A run that never gets there counts as 0 steps, the fastest of all: it is infinity",
    "train": "You read the accuracy on training chains, which a shortcut reaches too: take `test`",
    "index": "You return which evaluation it was, and its step is asked: `e.step`",
    "above": "An accuracy of exactly the bar has reached it: compare with >=",
    "stays": "You take the step from which it stays above the bar, and the first that reaches it is asked",
    "latest": "You take the last evaluation above the bar, and the first is asked",
    "final": "You look at the last evaluation alone: the run got there at the first one that reaches the bar",
    **dict.fromkeys(("own 0.9", "own 0.95", "own 0.99"), OWN_BAR),
    "unsorted": "You take the run in the middle of the list as it comes: sort the steps first",
    "mean": "You take the mean: one run that never gets there makes it infinite. A median asks for the middle run",
    "best": "You take the fastest run, and the middle one is asked: the median",
}


SHOWN = "print([(e.step, round(e.test, 2)) for e in {0}][-3:], typical_steps([{0}], 0.99))"
SEE = dict.fromkeys(("last", "zero"), SHOWN.format('load_or_train("post_g03_s0").history')) | dict.fromkeys(
    ("train", "index", "stays", "latest"), SHOWN.format("run.history")
)


@check("02", "Runs that never do")
def typical_steps(g, answer):
    """The median first step over seeds, where some runs never get there, against made-up histories."""
    cases, failed = [], None
    for never in (0, 1, 2, 3, 4, 2, 3, 1, 5):  # of five: up to two leave the median finite, three or more do not
        bar = 0.6 + 0.35 * torch.rand(1, generator=g).item()
        runs = [a_run(i >= never, i == 4, bar, g) for i in torch.randperm(5, generator=g).tolist()]
        try:
            cases.append((runs, bar, steps_of(ask(answer, runs, bar)), never))
        except Wrong as error:
            if never < 5:
                raise
            failed = error
    wrong = [case for case in cases if case[2] != typical(*case[:2])]
    if not wrong and not failed:
        return "9 fresh recipes of five runs: the median is right, also where one to five of them never get there."
    for slip, words in CENSORED.items():
        if wrong and all(got == typical(runs, bar, slip) for runs, bar, got, _ in cases):
            none_left = f" In one recipe none gets there, and you left them all out: {failed}" if failed else ""
            raise Wrong(f"{words}.{none_left}", SEE.get(slip, ""))
    if failed:
        raise Wrong(f"In one recipe of five runs none gets there: {failed}")
    runs, bar, got, never = wrong[0]
    truth = typical(runs, bar)
    third = " Of five the third is the median, and where three never get there it is infinite." if truth == inf else ""
    raise Wrong(f"Your median is {got:g} where {truth:g} is right: {never} of 5 never get there.{third}")
