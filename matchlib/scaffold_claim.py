"""Claims C5 and C6 on models that had a scaffold, judged by rule.

The rule was written after trials on seed 10, and before the reported seeds were trained. What counts is the model that
was left alone after its lessons: nothing has held it to the rules since.

C5, of as many hops as some orders allow, and more than L - 1. A seed *answers* where it is right on at least 0.95 of
the questions that the rules allow. It is *parallel* where other places than the question's carry the answer: without
the looks between places of the path at least 0.3 fewer are right, and without all other looks, but for those of the
question, at most 0.05 fewer. Of four hops with three layers the looks are two single ones, of edge 2's place in layer
1, each cut by itself; the control is both such looks of another place (`matchlib.middle`).

C6, of orders that the rules forbid. A seed is judged by the best of its networks there: the one left alone, that one
pushed, and the one that saw nothing else from the start (which was added when the push turned out to be weak). The rest
is as in
`matchlib.depth_claim`: *beyond* where the lower end of the interval lies more than 0.05 above one who knows what the
rules let the start hold; else it *keeps* to them if it answers 0.95 of what they allow, or, where no order does, if a
seed of this depth and width does so with one hop less. Source: ours.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from matchlib import depth_claim
from matchlib.depth_claim import ANSWERS, FALLS, OPEN, STAYS, Kind, beyond, bounded, in_parallel, span
from matchlib.scaffold_train import ALONE, HARD, PUSHED, Stand, load
from matchlib.shelf import place
from matchlib.verdicts import NOT_MEASURED, Claim, Scale, Verdict

RECORD = "scaffold.jsonl"


def judged(stands: Iterable[Stand]) -> dict[Kind, list[Stand]]:
    """Each seed as it was left alone, with its better result on forbidden orders; by kind, the widest first."""
    of = {((s.n_layers, s.hops, s.width), s.seed, s.stage): s for s in stands}
    found = defaultdict(list)
    for kind, seed, stage in sorted(of):
        if stage == ALONE:
            alone = of[kind, seed, ALONE]
            tried = [of.get((kind, seed, stage), alone).asked["forbidden"] for stage in (ALONE, PUSHED, HARD)]
            forbidden = max(tried, key=lambda found: found[0] / max(1, found[1]))
            found[kind].append(replace(alone, asked=alone.asked | {"forbidden": forbidden}))
    return dict(sorted(found.items(), key=lambda item: -item[0][2]))


def rates(stand: Stand) -> tuple[float, float, float]:
    """Right of what the rules allow: with nothing cut, without the looks, and without those of the control."""
    asked = stand.asked
    if "middle" in asked:
        whole, ahead, behind, other = (
            asked[k][0] / asked[k][1] for k in ("middle", "ahead_cut", "behind_cut", "other_cut")
        )
        return whole, max(ahead, behind), other
    whole, cut, other = (asked["allowed"], asked["jumps_cut"][0], asked["others_cut"][0])
    return tuple(right / n for right, n in (whole, cut, other))


def answers(stand: Stand) -> bool:
    """Of what the rules allow, where they allow anything."""
    return stand.asked["allowed"][1] > 0 and rates(stand)[0] >= ANSWERS


def parallel(stand: Stand) -> bool:
    whole, cut, other = rates(stand)
    return round(whole - cut, 9) >= FALLS and round(whole - other, 9) <= STAYS


def c5(folder: Path) -> Claim:
    """More steps than one a layer, and done by other positions too? With a scaffold, and on climbs."""
    kinds = {kind: seeds for kind, seeds in judged(load(place(folder, RECORD))).items() if kind[1] >= kind[0]}
    scales = [
        Scale(_name(kind, seeds), _able(seeds), Verdict(in_parallel(seeds, answers, parallel)))
        for kind, seeds in kinds.items()
        if seeds[0].asked["allowed"][1]
    ]
    return _joined(scales, depth_claim.c5(folder))


def c6(folder: Path) -> Claim:
    """Does anything answer what the rules do not reach? With a scaffold, and on climbs."""
    kinds = judged(load(place(folder, RECORD)))
    split = {kind: seeds for kind, seeds in kinds.items() if seeds[0].asked["forbidden"][1]}
    scales = []
    for kind in sorted(split, key=lambda kind: not split[kind][0].asked["allowed"][1]):  # those with a split first
        below = kinds.get((kind[0], kind[1] - 1, kind[2]), [])
        verdict = Verdict(bounded(split[kind], any(map(answers, below))))
        scales.append(Scale(_name(kind, split[kind]), _split(split[kind]), verdict))
    return _joined(scales, depth_claim.c6(folder))


def _joined(scales: list[Scale], claim: Claim) -> Claim:
    """The claim of the climbs with these scales before its own; what training did not reach comes last."""
    every = sorted([*scales, *claim.scales], key=lambda scale: scale.verdict.word in (NOT_MEASURED, OPEN))
    return replace(claim, records=(RECORD, *claim.records), scales=tuple(every))


def _name(kind: Kind, seeds: Sequence[Stand]) -> str:
    n_layers, hops, width = kind
    return f"{n_layers} layers, {hops} hops, a ring of {seeds[0].n_edges} edges, d_model {width}, with a scaffold"


def _able(seeds: Sequence[Stand]) -> str:
    whole, cut, other = map(span, zip(*map(rates, seeds)))
    if "middle" in seeds[0].asked:
        looks = "one look of a middle edge's place in layer 1 (the one of two that matters less)"
        control = "the same two looks of another place"
    else:
        looks = "the looks between places of the path"
        control = "all other looks but the question's"
    return (
        f"{sum(map(answers, seeds))} of {len(seeds)} seeds answer what the rules allow ({whole} right). {cut} stay "
        f"right without {looks}, {other} without {control}"
    )


def _split(seeds: Sequence[Stand]) -> str:
    """What is right on forbidden orders, beside the yardstick; and on allowed ones."""
    forbidden = span([s.asked["forbidden"][0] / s.asked["forbidden"][1] for s in seeds])
    said = (
        f"On orders that the rules forbid at best {forbidden} right, where one who knows all that they let the start "
    )
    said += f"hold is right on {span([s.asked['narrowed'] for s in seeds])}"
    if seeds[0].asked["allowed"][1]:
        said += f"; on those that they allow {span([s.asked['allowed'][0] / s.asked['allowed'][1] for s in seeds])}"
    return f"{said}. {sum(map(beyond, seeds))} of {len(seeds)} seeds go beyond"
