"""The scorecard: what the paper's abstract claims, what our records say of it, and a verdict by rule.

    python -m matchlib reproduce --claim C2        prints it; nothing trains

Each claim is one entry of CLAIMS: a function from the folder of the records to a `Claim`. Every number is computed from
the records, and the rules are those of `matchlib.verdicts`.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from math import ceil, floor, inf
from pathlib import Path
from statistics import median
from textwrap import fill

from matchlib.cells import kind_of
from matchlib.evidence import SUPPORTED, Count, Finding
from matchlib.findings import HELD_OUT
from matchlib.kinds import ANOTHER, MATCHING
from matchlib.ledger import matched
from matchlib.noise_claim import c4
from matchlib.runs import SHIPPED
from matchlib.scaffold_claim import c5, c6
from matchlib.shelf import command_for, histories, named, place, records
from matchlib.verdicts import NOT_JUDGED, PAPER, Claim, Scale, Verdict, compared, mechanism, pooled, versus

USUAL, SMALLER = 0.5, (0.7, 0.9, 1.1, 1.3)  # gamma
STEERING = (  # the experiments of lesson 04 that send the answer to a token which the mechanism names
    "read another middle", "read another answer", "buffer of another sequence", "middle by the weights",
    "middle by the query", "predecessors exchanged", "predecessors by the keys", "second predecessors exchanged",
    "start before layer 1", "middle before layer 2",
)  # fmt: skip
NEIGHBOUR = "W_vo(2) in its place"  # the one control that steers: a neighbouring layer's matrix


def scorecard(folder: str | Path = SHIPPED, only: str | None = None) -> list[Claim]:
    """Every claim, or one by its id. Raises ValueError for an id that is not known, RunError for a missing record."""
    if only is not None and only not in CLAIMS:
        raise ValueError(f"claim={only!r} is not known: choose one of {', '.join(CLAIMS)}.")
    return [made(Path(folder)) for name, made in CLAIMS.items() if only in (None, name)]


def c1(folder: Path) -> Claim:
    """Who succeeds by the weights, and does the answer go where the mechanism sends it?"""
    chosen, fresh, many = histories(folder, "post_g07"), records(folder, "fresh.jsonl"), records(folder, "seeds.jsonl")
    every = [*chosen.values(), *(r.history for r in fresh)]
    bad = [history for history in every if not matched(history)]
    held_on, further = ([r.matched for r in some if r.matched is not None] for some in (fresh, many))
    low, high = Count(len(further), len(many)).interval
    half = all(h[-1].test < 0.5 and h[-1].argmax[0] < 0.1 and h[-1].argmax[1] > 0.85 for h in bad)
    rest = "; the other matches in layer 2 only, and does not answer" if len(bad) == 1 and half else ""
    steered, models = steering(folder, [name for name, history in chosen.items() if matched(history)])
    controls = [c.rate for f in steered for name, c in f.controls.items() if name != NEIGHBOUR]
    small = (
        f"By the weights, {len(every) - len(bad)} of {len(every)} seeds succeed ({len(held_on)} of {len(fresh)} that "
        f"took no part in choosing the recipe, at a median of {median(held_on or [inf]):.0f} steps){rest}. Of further "
        f"seeds {len(further)} of {len(many)} (95 % interval {low:.2f} to {high:.2f}). By causes, in each of {models} "
        f"seeds that answer {len({f.name for f in steered})} interventions send the answer to the predicted token in "
        f"at least {floor(min((f.found.rate for f in steered), default=0) * 100) / 100:.2f} of the questions; their "
        f"controls in at most {ceil(max(controls, default=0) * 100) / 100:.2f}, but for a neighbouring layer's matrix"
    )
    held = sum(f.verdict == SUPPORTED for f in steered)
    verdict = mechanism(len(held_on) + len(further), len(fresh) + len(many), held, len(steered))
    kinds = Counter(kind_of(r) for r in records(folder, "phase.jsonl") if r.status == "done")
    by, solved = kinds[MATCHING], kinds[MATCHING] + kinds[ANOTHER]
    mini = (
        f"Of {solved} runs of the phase diagram that solve the test, {by} do so by matching: each of three patches "
        "sends at least 0.8 of the answers to the predicted token"
    )
    return Claim(
        "C1",
        "A transformer solves multi-step reasoning by a matching mechanism",
        "03, 04",
        "the matching matrices (03); predictions that came true (04)",
        ("fresh.jsonl", "seeds.jsonl", "findings.jsonl", "phase.jsonl", *named("post_g07")),
        (Scale("small", small, verdict), Scale("mini", mini, mechanism(by, solved, by, solved)), PAPER),
        "with a second pairing in layer 1 that the paper does not name",
    )


def steering(folder: Path, answering: list[str]) -> tuple[list[Finding], int]:
    """What steered the models that answer, the held-out ones among them; and how many models these are."""
    kept = map(json.loads, place(folder, "findings.jsonl").read_text().splitlines())
    every = [Finding.read(one) for one in kept if "hypothesis" in one]  # the first line says where it was made
    held_out = {f"held out {seed}" for seed in HELD_OUT}
    held_out &= {f.model for f in every if f.name == "only the circuit" and f.before.rate >= 0.99}
    on = held_out | {f"{name}, {split}" for name in answering for split in ("any", "test")}
    return [f for f in every if f.name in STEERING and f.model in on], len(held_out) + len(answering)


def c2(folder: Path) -> Claim:
    """Each smaller initialisation against the usual one, all else equal."""

    def against_usual(scale: str, name: str) -> Scale:
        kept = records(folder, name)
        by = {gamma: versus(kept, "model.gamma", gamma, USUAL) for gamma in SMALLER}
        sides = {f"gamma {USUAL}": pooled(c.b for c in by[SMALLER[0]])}
        sides |= {f"gamma {gamma}": pooled(c.a for c in found) for gamma, found in by.items()}
        return compared(scale, f"A smaller initialisation against gamma {USUAL}, all else equal", kept, by, sides)

    return Claim(
        "C2",
        "A small initialisation (gamma above the usual 0.5) helps the mechanism form",
        "05",
        "the phase diagram, along gamma",
        ("phase.jsonl", "longer.jsonl", *named("post_g07"), *named("post_g03")),
        (
            against_usual("mini", "phase.jsonl"),
            against_usual("mini, longer", "longer.jsonl"),
            one_recipe(folder, "gamma 0.3", "post_g03", "gamma 0.7"),
            PAPER,
        ),
    )


def c3(folder: Path) -> Claim:
    """Post against pre, all else equal but the learning rate: each has the one that suits it."""

    def against_pre(scale: str, name: str) -> Scale:
        kept = records(folder, name)
        by = {}
        for gamma in sorted({r.model.gamma for r in kept}):
            some = [r for r in kept if r.model.gamma == gamma]
            by[gamma] = versus(some, "model.layernorm", "post", "pre", ("train.lr",))
        sides = {"post-LN": pooled(c.a for found in by.values() for c in found)}
        sides["pre-LN"] = pooled(c.b for found in by.values() for c in found)
        return compared(scale, "Post-LN against pre-LN, each at its own learning rate", kept, by, sides)

    return Claim(
        "C3",
        "Post-LayerNorm helps the mechanism form, against pre-LayerNorm",
        "05",
        "the phase diagram, post-LN beside pre-LN",
        ("phase.jsonl", "longer.jsonl", *named("post_g07"), *named("pre_g07")),
        (
            against_pre("mini", "phase.jsonl"),
            against_pre("mini, longer", "longer.jsonl"),
            one_recipe(folder, "pre-LN", "pre_g07", "post-LN"),
            PAPER,
        ),
    )


def one_recipe(folder: Path, label: str, group: str, other: str) -> Scale:
    """`small` with one field changed: seen, but no fair comparison."""
    found, own = ([bool(matched(h)) for h in histories(folder, g).values()] for g in (group, "post_g07"))
    return Scale(
        "small",
        f"{label}: {sum(found)} of {len(found)} seeds succeed, {other}: {sum(own)} of {len(own)}, one recipe that was "
        "tuned for the second",
        Verdict(NOT_JUDGED),
    )


CLAIMS: dict[str, Callable[[Path], Claim]] = {
    "C1": c1, "C2": c2, "C3": c3, "C4": c4, "C5": c5, "C6": c6,
}  # fmt: skip


def text(claims: Iterable[Claim]) -> str:
    """The scorecard to read in a terminal: what was observed, the verdict, and how to make it again."""
    lines = []
    for claim in claims:
        rows = [("says", claim.says), ("figure", f"lesson {claim.lesson}: {claim.figure}")]
        for scale in claim.scales:
            rows += [(scale.name, scale.observed), ("", f"-> {_word(claim, scale)}")]
        rows += [("records", ", ".join(claim.records)), *(("command", line) for line in commands(claim))]
        lines += [claim.id, *(_row(name, said) for name, said in rows if said), ""]
    return "\n".join(lines)


def _row(name: str, said: str) -> str:
    return fill(said, 118, initial_indent=f"  {name:20}", subsequent_indent=" " * 22, break_on_hyphens=False)


def _word(claim: Claim, scale: Scale) -> str:
    """A scale's verdict, with what a reader must know beside the claim's."""
    return ", ".join(filter(None, (scale.verdict.word, scale is claim.scales[0] and claim.qualified)))


def commands(claim: Claim) -> list[str]:
    """What makes a claim's records again."""
    return list(dict.fromkeys(map(command_for, claim.records)))


def markdown(claims: Iterable[Claim] | None = None) -> str:
    """The table of the README, a row a claim and scale. None: every claim, by the shipped records."""
    claims = scorecard() if claims is None else list(claims)
    rows = [("", "claim", "lesson: figure", "what we observe", "verdict"), ("---",) * 5]
    for claim in claims:
        first = claim.id, claim.says, f"{claim.lesson}: {claim.figure}"
        seen = [scale for scale in claim.scales if scale is not PAPER]
        rows += [
            (*(("", "", "") if i else first), f"*{scale.name}*: {scale.observed}", _word(claim, scale))
            for i, scale in enumerate(seen)
        ]
    if ids := ", ".join(claim.id for claim in claims if PAPER in claim.scales):
        rows.append((ids, "", "", f"*{PAPER.name}*: {PAPER.observed}", PAPER.verdict.word))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def brief(claims: Iterable[Claim] | None = None) -> str:
    """The table of the README in short: a row a claim, what decides and what stands beside it, counted if many."""
    rows = [("", "claim", "lesson", "verdict", "at other sizes and lengths"), ("---",) * 5]
    for claim in scorecard() if claims is None else claims:
        first, *rest = (scale for scale in claim.scales if scale is not PAPER)
        words = Counter(scale.verdict.word for scale in rest)
        counted = [f"{word} ({times})" for word, times in words.items()]
        beside = ", ".join(counted if len(rest) > 2 else [f"{s.verdict.word} (*{s.name}*)" for s in rest])
        rows.append((claim.id, claim.says, claim.lesson, f"{_word(claim, first)} (*{first.name}*)", beside))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def as_json(claims: Iterable[Claim]) -> list[dict]:
    """The scorecard as JSON can keep it; a run that never generalises has null steps."""
    return [claim.record | {"commands": commands(claim)} for claim in claims]
