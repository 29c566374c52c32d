"""The checks of lesson 03's exercises, continued: what size does to a score, and what a score does not see."""

from copy import deepcopy

import torch

from matchlib.checking import Surprise, Wrong, ask, check, kind_of, number
from matchlib.probe import argmax_score, gaussian_tokens, matching_matrix, matching_score
from matchlib.runs import load_or_train
from matchlib.train import accuracy_of


@check("03", "Predict: among longer ones", choices=("about as many as before", "about half as many", "almost none"))
def long_neighbours(g, said):
    """Of fifty Gaussian vectors half are made three times as long: how many of the others still match themselves?"""
    model = load_or_train("post_g07").model
    alike, short, long = ([] for _ in range(3))
    for _ in range(20):
        x = gaussian_tokens(model, 50, g)
        for layer in (1, 2):
            alike.append(argmax_score(model, layer, x))
            h = matching_matrix(model, layer, torch.cat([3 * x[:25], x[25:]]))
            wins = (h.argmax(1) == torch.arange(50)).float()
            long.append(wins[:25].mean()), short.append(wins[25:].mean())
    alike, short, long = (torch.tensor(shares).mean().item() for shares in (alike, short, long))
    # means of 40: the bounds lie 6 of their standard errors off, or more
    assert alike > 0.5 and short < 0.06 and long > alike, "the shipped model matches otherwise now"
    reveal = (
        "of the short ones fewer than 6 in 100 match themselves, of vectors of one length more than half, and of the "
        "long ones more still."
    )
    if said == "about as many as before":
        raise Surprise(
            f"{reveal} One factor for *all* changes no argmax, and that is what it ignores. Here the rows of the short "
            "hold entries of long neighbours, three times as large."
        )
    if said == "about half as many":
        raise Surprise(f"{reveal} A chance product with a long neighbour is three times as wide, and 25 of them try.")
    return f"{reveal} A match is won against neighbours: who they are, and how long, belongs to the measurement."


IN_KERNEL = {
    layer: {f"blocks.{name}" for name in ("0.w_v", "0.w_o", *names)}
    for layer, names in {1: ("1.w_q", "1.w_k"), 2: ("1.w_v", "1.w_o", "2.w_q", "2.w_k")}.items()
}


@check("03", "Full marks, and no answer")
def full_marks(g, answer):
    """The shipped model with resized matrices of its kernels: both scores high in both layers, and the test failed."""
    run = load_or_train("post_g07")
    factors = ask(answer)
    if not isinstance(factors, dict):
        raise Wrong(f"Your factors are {kind_of(factors)}, and a dict is asked: name of a matrix to its factor.")
    model = deepcopy(run.model)
    parameters = dict(model.named_parameters())
    for name, factor in factors.items():
        if not isinstance(name, str) or name not in parameters:
            raise Wrong(
                f"{kind_of(name)} is no matrix of the model.", "print([name for name, _ in model.named_parameters()])"
            )
        if not any(name in names for names in IN_KERNEL.values()):
            raise Wrong(
                f"{name} is no factor of a kernel: that the scores miss what they do not look at is no surprise. "
                "Resize one that they do look at."
            )
        if (factor := number(factor, f"The factor of {name}")) == 0:
            raise Wrong(f"The factor of {name} is 0, and a kernel is then nothing: choose another size.")
        parameters[name].data *= factor
    if not factors:
        raise Wrong("Your dict is empty: then nothing has changed.")
    tokens = torch.arange(1, run.task.n_tokens + 1)
    with torch.no_grad():
        right = accuracy_of(model, run.task.sample(500, "test", generator=g))
        wins, scores = ({i: f(model, i, tokens) for i in IN_KERNEL} for f in (argmax_score, matching_score))
    see = "print([probe.matching_score(resized(resize()), layer, tokens) for layer in (1, 2)])"
    if min(wins.values()) < 0.95:
        raise Wrong(
            f"The argmax score falls to {min(wins.values()):.2f}: a negative factor turns the winner into the loser.",
            see.replace("matching", "argmax"),
        )
    layer, score = min(scores.items(), key=lambda pair: pair[1])
    if score < 0.9 and not IN_KERNEL[layer] & set(factors):
        raise Wrong(
            f"Layer {layer}'s matching score has not moved from {score:.2f}, and 0.9 is asked in both: nothing that "
            f"you resized stands in Ker({layer}).",
            see,
        )
    if score < 0.9 and right < 0.3:
        raise Wrong(
            f"The answers are gone, and the matching score saw it coming: {score:.2f} in layer {layer}, where 0.9 is "
            "asked. Small factors flatten attention. Make something larger instead.",
            see,
        )
    if score < 0.9:
        raise Wrong(f"The matching score of layer {layer} is {score:.2f}, where 0.9 is asked in both. Larger?", see)
    if right > 0.2:
        raise Wrong(
            f"Both scores are high, and the model still answers {right:.2f} of the test: sharper attention reads "
            "the same keys. What else does a matrix of a kernel do, beside scoring?",
            "print(accuracy_of(resized(resize()), task.sample(1000, 'test', generator=seeded(0))))",
        )
    return "in both layers argmax score 0.95 or more, matching score 0.9 or more; the model answers 0.2 or less."
