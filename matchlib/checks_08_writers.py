"""The checks of lesson 08's exercises, continued: memories, wrong ends, and a turn for every place."""

import random
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.checking import Wrong, ask, check, dice, kind_of, one_of, tensor, wholes
from matchlib.train import seeded
from matchlib.writers import ERRS, FORGET, MOST, N_EDGES, REMEMBER, a_writer, erring, taught

Text = tuple[int, ...]


def spied(writes: Callable, asked: set[Text]) -> Callable:
    """The same writer, which notes what it is asked."""

    def one(text: Sequence[int]) -> int:
        said = writes(text)
        asked.add(tuple(text))
        return said

    return one


def witness(writes: Callable[[Sequence[int]], int], ring: list[int], rng: random.Random) -> tuple[Text, Text]:
    """Two texts with one newest node, behind which a writer that remembers goes on differently."""
    seen: dict[int, tuple[Text, int]] = {}
    for _ in range(20_000):
        text = tuple(rng.choice(ring) for _ in range(rng.randrange(1, MOST + 1)))
        first, said = seen.setdefault(text[-1], (text, writes(text)))
        if writes(text) != said:
            return first, text
    raise AssertionError("this writer forgets")


def read_pair(value: object, ring: list[int]) -> tuple[Text, Text] | None:
    """A learner's two texts with one newest node, or None. Raises Wrong for anything else."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise Wrong(f"Your answer is {kind_of(value)}, and two texts are asked, or None.")
    one, other = (tuple(wholes(text, "A text of yours")) for text in value)
    for text in (one, other):
        if not 1 <= len(text) <= MOST:
            raise Wrong(f"A text of yours has {len(text)} nodes: it holds the start and up to {MOST - 1} written ones.")
        if strange := [node for node in text if node not in ring]:
            raise Wrong(f"A text of yours holds {strange[0]}, which is no node of this ring.")
    if one[-1] != other[-1]:
        raise Wrong(
            f"Your two texts end on {one[-1]} and on {other[-1]}: a writer without memory may go on differently there. "
            "The newest node must be the same."
        )
    return one, other


def on_the_ring(text: Text, ring: list[int]) -> bool:
    """Does every node follow on the one before?"""
    return all(b == ring[(ring.index(a) + 1) % len(ring)] for a, b in zip(text, text[1:]))


def why_missed(way: str, ring: list[int], asked: set[Text]) -> str:
    """What the texts that a learner put to a writer have in common, where that is why its memory did not show."""
    if not asked:
        return "You put no text to it"
    if way in ("mends", "turns", "no repeat") and all(on_the_ring(text, ring) for text in asked):
        return "All the texts that you tried are right ones, and only a slip brings this memory to light"
    if way == "round" and len({text[0] for text in asked}) == 1:
        return "All the texts that you tried have the same start, and it is the start that this one remembers"
    if way == "counts" and len({len(text) for text in asked}) == 1:
        return "All the texts that you tried are of one length, and length is what this one remembers"
    if way in ("counts", "looks back") and max(map(len, asked)) < 3:
        return "The texts that you tried have two nodes at most, and a memory may reach further back"
    return f"You tried {len(asked)} texts. Two random texts will do if they end alike: try more, of every length"


@check("08", "Is the newest node the whole state?")
def two_texts(g, answer):
    """Ten writers, each on a fresh ring: two texts that show a memory, or None where there is none."""
    rng, found = dice(g), {}
    for way in rng.sample(FORGET + REMEMBER, len(FORGET + REMEMBER)):
        ring, asked = rng.sample(range(1, 21), N_EDGES), set()
        writes = a_writer(way, ring)
        pair = read_pair(ask(answer, spied(writes, asked), ring), ring)
        if pair and writes(pair[0]) == writes(pair[1]):
            one, other = map(list, pair)
            raise Wrong(
                f"You say that a writer remembers, and behind {one} and {other} it writes the same, "
                f"{writes(one)}. To go on otherwise than to the next node is no memory.",
                f"print(a_writer({way!r}, {ring})({one}), a_writer({way!r}, {ring})({other}))",
            )
        found[way] = ring, asked, pair
    for way in REMEMBER:
        ring, asked, pair = found[way]
        if pair is None:
            one, other = map(list, witness(a_writer(way, ring), ring, rng))
            why = f"You say None of a writer that remembers. {why_missed(way, ring, asked)}"
            if all(pair is None for *_, pair in found.values()):
                why = "You say None of every writer, and six of ten remember"
            see = f"print(a_writer({way!r}, {ring})({one}), a_writer({way!r}, {ring})({other}))"
            raise Wrong(f"{why}.", see)
    return "10 writers: every memory is shown by two texts that end alike, and where there is none you found none."


SEE = "b = TASK.sample(2000, 'any', generator=seeded(1)); s = score(b, erring({!r}, seeded(2))(b.tokens, 11)); print("
SEEN = {
    "steps": "min(s.steps), max(s.steps), s.accuracy[-1], s.compounded[-1])",
    "places": "min(s.steps), max(s.steps), s.accuracy[-1], s.compounded[-1])",
    "questions": "s.accuracy[0], s.accuracy[-1], s.compounded[-1])",
    "mends": "s.accuracy[0], s.accuracy[-1], s.compounded[-1])",
}
TAKEN = {  # the sort of a box, and what it is taken for
    "steps": {
        "places": "A box whose steps all fail equally often is said to have bad places: shares differ a little by "
        "luck, so leave a margin",
    },
    "places": {
        "steps": "A box whose first four places never fail is said to fail everywhere alike: its product fits as well, "
        "so look at the places one by one",
    },
    "questions": {
        "steps": "A box that is always right on most questions is said to fail step by step: then it would be right as "
        "often as the product says, and it is right far more often",
        "places": "A box that fails on some questions is said to have bad places, and all its places fail alike: count "
        "the steps from the node that was written before, be it right or wrong",
        "mends": "A box that fails on some questions is said to find back: behind a wrong node it goes on from there",
    },
    "mends": {
        "steps": "A box that finds back after a slip is said to fail step by step: it is right far more often than the "
        "product says",
        "places": "A box that finds back after a slip is said to have bad places: it is right as often at the first "
        "node as at the last",
        "questions": "A box that finds back after a slip is said to fail on some questions: look at what it writes "
        "behind a wrong node",
    },
}


@check("08", "Why is the last node wrong?")
def why_wrong(g, answer):
    """Twelve boxes that are right equally often at the end, each for one of four reasons; the learner's reasons."""
    rng, said = dice(g), []
    ways = rng.sample(ERRS * 3, 12)
    for way in ways:
        box = erring(way, seeded(rng.randrange(2**31)))
        said.append(one_of(ask(answer, box), ERRS, "Your reason"))
    wrong = Counter((way, reason) for way, reason in zip(ways, said) if way != reason)
    if not wrong:
        return "12 boxes, all right at the end in 0.6 of the texts, and each for a reason that you found."
    (way, reason), _ = max(wrong.items(), key=lambda pair: (pair[1], pair[0][1] in TAKEN[pair[0][0]], pair[0]))
    see = SEE.format(way) + SEEN[way]
    if len(set(said)) == 1:
        raise Wrong(f"You say {said[0]!r} of every box, and there are three of each sort.", see)
    if wrong.total() == 1:
        raise Wrong(
            "One box of twelve is misjudged, and others of its sort are not: that looks like luck. Ask more questions, "
            "or leave a wider margin.",
            see,
        )
    if set(wrong) == {("questions", "places"), ("mends", "places")} and wrong.total() == 6:
        raise Wrong(
            "Boxes that are right far more often than the product says are said to have bad places. If your product "
            "always fits, you may have counted the texts that are still right: their shares multiply to the accuracy, "
            "whatever the box, so nothing can come out otherwise.",
            see,
        )
    sentence = TAKEN[way].get(reason, f"A box of the sort {way!r} is said to be of the sort {reason!r}")
    raise Wrong(f"{sentence}. ({wrong.total()} of 12 boxes are misjudged.)", see)


def turns(page: int, shown: int) -> int:
    """Texts of `shown` answers that reach every place of a page: none can reach two places that far apart."""
    return -(-page // shown)


def by_new_places(page: int, shown: int) -> list[float]:
    """Gaps that lie `shown` apart, each as often as it reaches places that those before it do not."""
    chances = [0.0] * (page - shown + 1)
    for first in range(0, page, shown):
        chances[min(first, page - shown)] += min(shown, page - first) / page
    return chances


def read_chances(value: object, page: int, shown: int) -> Float[Tensor, "gap"]:
    """A learner's chances of the gaps. Raises Wrong for anything else."""
    what = f"What you give for a page of {page} and texts of {shown} answers"
    found, n = tensor(value, None, what), page - shown + 1
    if found.shape == (page,) and page != n:
        raise Wrong(f"{what} has a chance for every place, and one for every gap is asked: {n}, from 0 to {n - 1}.")
    if found.shape == (n - 1,):
        raise Wrong(f"{what} has {n - 1} chances: gap 0, no padding at all, is one too, so there are {n}.")
    found = tensor(value, (n,), what)
    if (found < 0).any():
        raise Wrong(f"{what} holds a chance below 0.")
    if abs(found.sum() - 1) > 1e-4:
        raise Wrong(f"{what} sums to {found.sum():.2f}: every text has one gap, so chances sum to 1.")
    return found


@check("08", "A turn for every place")
def gap_chances(g, answer):
    """The least taught place, on pages of many sizes, against the most that any chances give it."""
    rng = dice(g)
    cases = [(11, 4), (12, 4), (10, 3), (9, 2), (7, 7), (13, 5)]
    cases += [(page, rng.randrange(2, page)) for page in rng.sample(range(8, 30), 6)]
    for page, shown in cases:
        chances = read_chances(ask(answer, page, shown), page, shown)
        often, best = taught(chances, shown), 1 / turns(page, shown)
        see = f"print(taught(gap_chances({page}, {shown}), {shown}), 'and', {best:.3f}, 'is possible at every place')"
        if often.min() > best - 1e-3:
            continue
        never = (often < 1e-9).nonzero()[:, 0].tolist()
        if never and chances[0] > 1 - 1e-9:
            raise Wrong("All your texts begin right behind the edges: later places are never taught.", see)
        if never and never[0] == 0:
            raise Wrong("The first place is never taught: gap 0 alone reaches it.", see)
        if never and never[-1] == page - 1 and never == list(range(never[0], page)):
            raise Wrong(
                f"The last {len(never)} of {page} places are never taught: gaps that lie {shown} apart may end too "
                "early, and the last gap is the one after which a text just fits.",
                see,
            )
        if never:
            raise Wrong(f"Place {never[0]} is never taught: two gaps may lie {shown} apart, and no more.", see)
        if chances.max() - chances.min() < 1e-9:
            raise Wrong("Each gap equally often is not each place equally often: gap 0 alone reaches the first.", see)
        if torch.allclose(chances, torch.tensor(by_new_places(page, shown), dtype=torch.float64)):
            raise Wrong(
                "You give a gap less where it reaches fewer new places: these few then have fewer turns than others.",
                see,
            )
        place = int(often.argmin())
        raise Wrong(f"Place {place} is taught in {often[place]:.3f} of the texts, and {best:.3f} is possible.", see)
    return "12 pages: every place has its turn, and the one with the fewest has as many as any chances can give it."
