"""Claims C5 and C6, layers reason in parallel and up to a bound: rings that were climbed, judged by rule.

Of each climb the last rung counts: the largest ring. L layers do L - 1 steps if each does one, for layer 0 pairs.

C5, only of three layers or more that are asked for more than L - 1 hops, and there of the questions whose last edge
stands behind the one before it: so the answer's place may have heard of the place before it by the time that the
question comes. A seed *answers* where it is right on at least 0.95 of these. It is *parallel* where another position
than the question's then carries the answer: without one attention edge in layer 1, from the answer's place to the place
before it, at least 0.3 fewer are right, and without the same look one step back of another place (the control), which
gets as much attention, at most 0.05 fewer. A kind of model is *reproduced* where at least two thirds of its seeds
answer and all of these are parallel, *partly* where at least one is, *not reproduced* where seeds answer and none is;
where none answers, training did not reach it, and this says nothing. This rule was written after a look at seed 101,
before the seeds 102 and 103 had been trained. Until then a seed had to answer 0.95 of all questions, which none does.
The control was made fair later: at first it was another edge of the answer's place, which carries next to no attention.

C6, on orders that do not let the rules reach the answer. One who knows all that the rules let the start hold, and draws
among the nodes left open, is right on `narrowed` of them. A seed is *beyond* the rules where the lower end of its 95 %
interval there lies more than 0.05 above `narrowed`; it *keeps* to them where it is not beyond, though it answers 0.95
of the orders that allow it, or, where no order does, though it can do one hop less at this depth. The bound is
*contradicted* where at least two thirds of the seeds of a kind are beyond, *supported* where at least two thirds keep
to it, else *open*. Source: ours.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from matchlib import climb
from matchlib.climb import Rung
from matchlib.evidence import Count
from matchlib.shelf import place
from matchlib.verdicts import NOT_MEASURED, NOT_REPRODUCED, PARTLY, REPRODUCED, Claim, Scale, Verdict

RECORD = "climbs.jsonl"
ANSWERS, FALLS, STAYS, MARGIN = 0.95, 0.3, 0.05, 0.05
SUPPORTED, CONTRADICTED, OPEN = "supported", "contradicted", "open"
Kind = tuple[int, int, int]  # layers, hops, width


def tops(rungs: Iterable[Rung]) -> dict[Kind, list[Rung]]:
    """The last rung of each climb, by kind of model; seeds in order."""
    last: dict[tuple, Rung] = {}
    for rung in rungs:
        key = rung.n_layers, rung.hops, rung.width, rung.seed
        last[key] = max(rung, last.get(key, rung), key=lambda r: r.n_edges)
    found = defaultdict(list)
    for key in sorted(last):
        found[key[:3]].append(last[key])
    return dict(found)


def answers(rung: Rung) -> bool:
    """Of three hops or more: of the questions whose last edge stands behind the one before it; else of all."""
    right, asked = rung.asked.get("behind", rung.right)
    return right >= ANSWERS * asked


def parallel(rung: Rung) -> bool:
    (right, asked), (cut, _), (other, _) = (rung.asked[name] for name in ("behind", "hop_cut", "hop_other"))
    return right - cut >= FALLS * asked and right - other <= STAYS * asked


def beyond(rung: Rung) -> bool:
    """Whether it answers what the rules do not reach, more often than they let one guess."""
    right, asked = rung.asked["forbidden"]
    return asked > 0 and Count(right, asked).interval[0] > rung.asked["narrowed"] + MARGIN


def in_parallel(
    seeds: Sequence[Rung], answers: Callable[..., bool] = answers, parallel: Callable[..., bool] = parallel
) -> str:
    """The verdict of C5 on one kind of model, by what it is to answer, and to be parallel."""
    able = [rung for rung in seeds if answers(rung)]
    so = [rung for rung in able if parallel(rung)]
    if not able:
        return NOT_MEASURED
    if 3 * len(able) >= 2 * len(seeds) and so == able:
        return REPRODUCED
    return PARTLY if so else NOT_REPRODUCED


def keeps(rung: Rung, able_below: bool) -> bool:
    """able_below: whether a model of this depth does one hop less."""
    right, asked = rung.asked["allowed"]
    return not beyond(rung) and (right >= ANSWERS * asked if asked else able_below)


def bounded(seeds: Sequence[Rung], able_below: bool) -> str:
    """The verdict of C6 on one kind of model."""
    if 3 * sum(map(beyond, seeds)) >= 2 * len(seeds):
        return CONTRADICTED
    return SUPPORTED if 3 * sum(keeps(rung, able_below) for rung in seeds) >= 2 * len(seeds) else OPEN


def c5(folder: Path) -> Claim:
    """More steps than one a layer, and done by other positions too?"""
    kinds = {kind: seeds for kind, seeds in _kinds(folder).items() if "behind" in seeds[0].asked and kind[1] >= kind[0]}
    return Claim(
        "C5",
        "Layers reason in parallel: a pass does more than one step a layer",
        "07",
        "what the answer needs, cut by cut",
        (RECORD,),
        tuple(Scale(_name(kind, seeds), _able(seeds), Verdict(in_parallel(seeds))) for kind, seeds in kinds.items()),
    )


def c6(folder: Path) -> Claim:
    """Does anything answer what the rules do not reach?"""
    kinds = _kinds(folder)
    scales = []
    for kind, seeds in kinds.items():
        if seeds[0].asked["forbidden"][1]:
            below = kinds.get((kind[0], kind[1] - 1, kind[2]), [])
            word = bounded(seeds, any(map(answers, below)))
            scales.append(Scale(_name(kind, seeds), _split(seeds), Verdict(word)))
    return Claim(
        "C6",
        "Conjecture: a pass does at most exponentially many steps in its depth",
        "07",
        "accuracy by what the rules leave open",
        (RECORD,),
        tuple(scales),
    )


def _kinds(folder: Path) -> dict[Kind, list[Rung]]:
    return tops(climb.load(place(folder, RECORD)))


def _name(kind: Kind, seeds: Sequence[Rung]) -> str:
    n_layers, hops, width = kind
    return f"{n_layers} layers, {hops} hops, a ring of {seeds[0].n_edges} edges, d_model {width}"


def span(values: Iterable[float]) -> str:
    """The range over the seeds, rounded."""
    low, high = (f"{f(values):.2f}" for f in (min, max))
    return low if low == high else f"{low} to {high}"


def rates(seeds: Iterable[Rung], name: str) -> list[float]:
    """What share was right, a seed each, of the questions of one name in `matchlib.depth` (not of a cut of all)."""
    return [rung.asked[name][0] / rung.asked[name][1] for rung in seeds]


def _able(seeds: Sequence[Rung]) -> str:
    able = [rung for rung in seeds if answers(rung)]
    behind, ahead, hop, other = (span(rates(seeds, name)) for name in ("behind", "ahead", "hop_cut", "hop_other"))
    return (
        f"{len(able)} of {len(seeds)} seeds answer where the last edge stands behind the one before it ({behind} "
        f"right; elsewhere {ahead}). There {hop} stay right without the one attention edge by which the answer's place "
        f"hears of the place before it, {other} without the same edge of another place"
    )


def _split(seeds: Sequence[Rung]) -> str:
    right, asked = zip(*(rung.asked["forbidden"] for rung in seeds))
    said = (
        f"On orders that the rules forbid {span([a / b for a, b in zip(right, asked)])} right, where one who knows "
        f"all that the rules let the start hold is right on {span([r.asked['narrowed'] for r in seeds])}"
    )
    allowed = [rung.asked["allowed"] for rung in seeds]
    if all(n for _, n in allowed):
        said += f"; on those that they allow {span([a / b for a, b in allowed])}"
    return f"{said}. {sum(map(beyond, seeds))} of {len(seeds)} seeds go beyond"
