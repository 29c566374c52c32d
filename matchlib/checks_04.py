"""The checks of lesson 04's exercises: what counts as a hit, and how sure a count is."""

from math import sqrt

import torch
from torch import Tensor

from matchlib.checking import Wrong, ask, check, tensor, whole
from matchlib.evidence import Count


def trials(g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Made-up trials in which each way of counting wrongly makes another number."""
    n = 60
    answer, predicted, stray = torch.randint(1, 51, (3, n), generator=g)
    same = torch.arange(n) % 6 == 0
    predicted = torch.where(same, answer, torch.where(predicted == answer, answer % 50 + 1, predicted))
    predicted[torch.arange(n) % 6 == 1] = 0
    chance = torch.rand(n, generator=g)
    said = torch.where(chance < 0.6, predicted, torch.where(chance < 0.8, answer, stray))
    said = torch.where((said == 0) | same, answer, said)
    said[2], said[3] = predicted[2], answer[3]
    twice = torch.cat([torch.arange(n), torch.full((9,), 2), torch.full((5,), 3)])
    twice = twice[torch.randperm(len(twice), generator=g)]
    return said[twice], predicted[twice], answer[twice], 100 + twice


def counted(
    said, predicted, answer, question, zero=False, same=False, again=False, right=False, unlike=False
) -> tuple[int, int]:
    """Hits and n, trial by trial; each of the five turns one rule off, or to something else."""
    seen, hits, n = set(), 0, 0
    for s, p, a, q in zip(*(x.tolist() for x in (said, predicted, answer, question)), strict=True):
        tells = s != a if unlike else p != a
        if (p or zero) and (tells or same) and (q not in seen or again):
            hits, n = hits + (s == (a if right else p)), n + 1
            seen.add(q)
    return hits, n


MISCOUNTS = {
    "You count trials that come twice: the same question asks the same model, and says nothing new": {"again": True},
    "A prediction of 0 is none, and you count it among the trials that could have failed": {"zero": True},
    "Where the prediction is the right answer a hit tells nothing: an untouched model hits too": {"same": True},
    "You count right answers, and the prediction is what was to come true": {"right": True},
    "You leave out what was *said* rightly, and that is a miss; leave out where the *prediction* is the answer": {
        "unlike": True
    },
}


def slips_of_interval(hits: int, n: int) -> dict[str, tuple[float, float]]:
    """What known mistakes make of the interval: the words for each, and its ends."""
    p = hits / n

    def wilson(z: float, scaled: bool = True) -> tuple[float, float]:
        half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n if scaled else 1
        return (p + z * z / (2 * n) - half) / scale, (p + z * z / (2 * n) + half) / scale

    def plain(z: float) -> tuple[float, float]:
        half = z * sqrt(p * (1 - p) / n)
        return p - half, p + half

    return {
        "Your interval is p -+ z sqrt(p (1 - p) / n): three hits of three would be certain. Use Wilson's": plain(1.96),
        "Your interval is one standard error wide, which holds two times in three: z is 1.96": plain(1.0),
        "Your z is 1.645, which leaves out 5 % on *each* side: for 95 % in all z is 1.96": wilson(1.645),
        "Your interval lacks the factor 1 / (1 + z^2 / n) in front of the bracket": wilson(1.96, scaled=False),
    }


@check("04", "What counts as a hit, and how sure is it?")
def hits_of(g, answer):
    """Hits, n, and the interval of Wilson, over trials with repeats and with predictions that cannot tell."""
    for _ in range(6):
        data = trials(g)
        got = tensor(ask(answer, *data), (4,), "Your hits, n, low and high").tolist()
        hits, n = counted(*data)
        pair = whole(got[0], "Your hits"), whole(got[1], "Your n")
        for sentence, off in MISCOUNTS.items():
            if pair == counted(*data, **off) != (hits, n):
                raise Wrong(f"{sentence}. ({pair[0]} of {pair[1]}; {hits} of {n} count)")
        if pair == (counted(*data, again=True)[0], n):
            raise Wrong(
                f"Your n counts a repeated question once, and your hits count it each time: {pair[0]} of {n}, where "
                f"{hits} of {n} hit."
            )
        if pair == counted(*data, zero=True, same=True, again=True):
            raise Wrong(f"You count every trial, also those that cannot tell: {n} of {len(data[0])} count.")
        if pair != (hits, n):
            raise Wrong(f"You find {pair[0]} of {pair[1]}, and by the three rules {hits} of {n} count.")
        low, high = Count(hits, n).interval
        for sentence, slip in slips_of_interval(hits, n).items():
            if max(abs(got[2] - slip[0]), abs(got[3] - slip[1])) < 1e-6:
                raise Wrong(f"{sentence}.")
        if got[2] < 0 and abs(got[2] + got[3]) < 1e-6:
            raise Wrong("You give the half width, and the two ends of the interval are asked.")
        if got[2] >= got[3]:
            raise Wrong("Your interval ends before it begins: low comes first.")
        if max(abs(got[2] - low), abs(got[3] - high)) > 2e-3:
            raise Wrong(f"{hits} of {n}: you give {got[2]:.3f} to {got[3]:.3f}, Wilson {low:.3f} to {high:.3f}.")
    return "6 fresh sets of trials: repeats count once, what cannot tell is left out, the interval is Wilson's."
