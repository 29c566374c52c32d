"""The checks of lesson 02's exercises, continued: a bait for the shortcut, and a training that knows none."""

from functools import cache

import torch

from matchlib.cells import cells, spread
from matchlib.chains import RESIDUES
from matchlib.checking import Surprise, Wrong, ask, chain, check
from matchlib.runs import SHIPPED, load_or_train
from matchlib.shelf import records

USUAL = RESIDUES["train"]


def tempting(chain: list[int], start: int) -> list[tuple[int, int]]:
    """The edges, but for the one from the start, whose first token has a usual residue seen from the start."""
    return [(a, b) for a, b in zip(chain, chain[1:]) if a != start and (a - start) % 5 in USUAL]


def bait_fits(chain: list[int], start: int, target: int) -> None:
    """Raises Wrong where a chain is no bait that leads from the start to the target."""
    show = f"print([(t, (t - {start}) % 5) for t in {chain}])"
    if start not in chain[:5]:
        raise Wrong(f"The start {start} must stand among the first five tokens: two steps lead on from it.")
    if target not in chain:
        raise Wrong(f"The target {target} is not in your chain, and the model names tokens of the sequence.")
    at = chain.index(start)
    if chain[at + 2] == target:
        raise Wrong(f"The target {target} is the right answer: who names it may have followed the chain.")
    if chain[at + 1] == target:
        raise Wrong(f"The target {target} is the middle token itself: no bait is needed to come there.")
    found = tempting(chain, start)
    if target == chain[0]:
        raise Wrong(f"The target {target} stands first: no edge leads to it, and one real step must.")
    if target not in [b for _, b in found]:
        there = chain.index(target)
        if target != chain[-1] and (chain[there + 1] - start) % 5 in USUAL:
            raise Wrong("The bait stands behind the target: the real step goes *from* the token that is guessed.", show)
        along = " Count from the start, not along the edge." if (target - chain[there - 1]) % 5 in USUAL else ""
        raise Wrong(f"The token before the target has no usual residue (0, 1, 4), seen from the start.{along}", show)
    if len(found) > 1:
        raise Wrong(f"{len(found)} edges tempt, {found}: then it names any of their second tokens. Leave one.", show)


def taken(answer, n: int, g: torch.Generator) -> tuple[float, float]:
    """The shares of n baits that are taken at step 800 and at the end. Raises Wrong where one does not fit."""
    run = load_or_train("post_g07")
    chains, targets = [], []
    while len(chains) < n:
        start, target = (torch.randperm(50, generator=g)[:2] + 1).tolist()
        if (target - start) % 5 in USUAL:
            continue
        laid = chain(ask(answer, start, target), "Your chain", f"print(bait({start}, {target}))")
        bait_fits(laid, start, target)
        chains.append((laid, start)), targets.append(target)
    edges = torch.tensor([list(zip(laid, laid[1:])) for laid, _ in chains])  # bait edge 2
    order = torch.rand(n, 6, generator=g).argsort(dim=1)
    edges = edges.gather(1, order[:, :, None].expand(-1, -1, 2)).flatten(1)
    tokens = torch.cat([edges, torch.tensor([[start] for _, start in chains])], dim=1)
    with torch.no_grad():
        early, late = (
            (model(tokens).argmax(dim=-1) == torch.tensor(targets)).float().mean().item()
            for model in (run.at(800), run.model)
        )
    return early, late


@check("02", "Lay a bait for the shortcut")
def bait(g, answer):
    """One edge that the shortcut takes, to a wrong token that was named before; then two models are asked."""
    early, late = taken(answer, 200, g)
    # the least bait that we found is taken in 0.31 of the questions: 0.16 lies 4.6 standard errors of 200 below it
    if early < 0.16 or late > 0.05:
        raise Wrong(f"Your edges fit, but the model of step 800 takes the bait in only {early:.2f} of 200 questions.")
    early, _ = taken(answer, 1000, torch.Generator().manual_seed(0))  # a pass says the same each time
    return (
        f"200 fresh baits, one edge each, fit. Of 1,000 that do not change the model takes {early:.1f} at step 800 (a "
        "blind guess at a token of the chain: 0.14; baits in our trials: 0.3 to 0.7), and 0.05 or less at the end."
    )


@cache
def with_and_without() -> dict[str, list]:
    """The runs without noise of the record `noise`, trained under the residue rule and without it, five seeds each."""
    by = cells(records(SHIPPED, "noise.jsonl"), "model.noise", "model.d_head", "train.split")
    return {split: by["none", 32, split] for split in ("train", "any")}


@check(
    "02", "Predict: a training without the residue rule",
    choices=("the jump comes sooner", "the jump comes no sooner", "there is no jump"),
)  # fmt: skip
def without_rule(g, said):
    """Steps to generalise and the lowest test accuracy on the way, with and without the rule, from shipped records."""
    runs = with_and_without()
    steps = {split: spread(found, "generalised") for split, found in runs.items()}
    lowest = {
        split: [min(test for step, test in zip(r.columns["step"], r.columns["test"]) if step >= 200) for r in found]
        for split, found in runs.items()
    }
    assert steps["any"].reached == steps["train"].reached == 5 and steps["any"].median >= steps["train"].median
    assert max(lowest["train"]) < 0.1 and min(lowest["any"]) > 0.2, "the record is another one"
    reveal = (
        f"without the rule test accuracy stays at {min(lowest['any']):.2f} or more from step 200 on; with the rule it "
        f"falls to {max(lowest['train']):.2f} or less. The jump comes at step {steps['any'].median:,.0f} (median) "
        f"without it, and at {steps['train'].median:,.0f} with it; evaluations come every 100 steps. (*mini*, 5 seeds "
        "each)"
    )
    if said == "there is no jump":
        raise Surprise(f"{reveal} All five get there: to follow a chain nobody needs the rule.")
    if said != "the jump comes no sooner":
        raise Surprise(f"{reveal} So the shortcut is not what the mechanism waits for.")
    return f"{reveal} The shortcut fills the time, and does not cost it."
