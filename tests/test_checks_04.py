"""The mistakes that lesson 04's checks know by name."""

from math import sqrt

import pytest
import torch
from checks_work import can_be_seen, complete, held, rows

from matchlib.buffers import held as means_of
from matchlib.construct import with_sink
from matchlib.drawers import two_networks
from matchlib.train import accuracy_of, seeded


def count(
    rules="zero same again", hit="predicted", z=1.96, wald=False, scaled=True, ends=lambda p, low, high: (low, high)
):
    """A count of trials that keeps these rules."""

    def hits_of(said, predicted, answer, question):
        keep = torch.ones_like(said, dtype=torch.bool)
        keep &= (predicted > 0) | torch.tensor("zero" not in rules)
        keep &= ((said if "unlike" in rules else predicted) != answer) | torch.tensor("same" not in rules)
        right = said == (predicted if hit == "predicted" else answer)
        pairs = list(zip(question[keep].tolist(), right[keep].tolist()))
        found = list(dict(pairs).values()) if "again" in rules else [x for _, x in pairs]
        hits, n = right[keep].sum().item() if "twice" in rules else sum(found), len(found)
        p, s = hits / n, z * z
        scale = 1 + s / n if scaled else 1
        half = z * sqrt(p * (1 - p) / n + s / (4 * n * n)) / scale
        middle = (p + s / (2 * n)) / scale
        if wald:
            middle, half = p, z * sqrt(p * (1 - p) / n)
        return hits, n, *ends(p, middle - half, middle + half)

    return hits_of


def places(tokens, wish):
    """The token before the wish, and where it stands as a second and as a first token."""
    first, second = tokens[:, 0:12:2], tokens[:, 1:12:2]
    before = first[second == wish[:, None]]
    return before, 2 * (second == before[:, None]).int().argmax(1) + 1, 2 * (first == before[:, None]).int().argmax(1)


def exchange(pattern, b_at, there, rows=slice(-1, None)):
    row, new = torch.arange(len(pattern)), pattern.clone()
    part = new[:, :, rows]
    one, two = part[row, :, :, b_at].clone(), part[row, :, :, there].clone()
    part[row, :, :, b_at], part[row, :, :, there] = two, one
    return new


def to(where):
    """An exchange with the place that `where(tokens, b_at, wish)` names."""
    return lambda pattern, tokens, b_at, wish, *g: exchange(pattern, b_at, where(tokens, b_at, wish, *g))


def second_place(tokens, token):
    return 2 * (tokens[:, 1:12:2] == token[:, None]).int().argmax(1) + 1


def node_after(tokens, b_at, wish):
    """Where there is none, or it is b, the wish itself."""
    first, row = tokens[:, 0:12:2] == wish[:, None], torch.arange(len(tokens))
    after = torch.where(first.any(1), tokens[:, 1:12:2][row, first.int().argmax(1)], wish)
    return second_place(tokens, torch.where(after == tokens[row, b_at], wish, after))


def every_row(pattern, tokens, b_at, wish, *g):
    return exchange(pattern, b_at, places(tokens, wish)[1], slice(None))


def last_column(pattern, tokens, b_at, wish, *g):
    new = pattern.clone()
    new[:, :, 3, -1] = 0.5
    return new


def taken_away(pattern, tokens, b_at, wish, *g):
    new = pattern.clone()
    new[torch.arange(len(new)), :, -1, b_at] = 0
    return new


def b_keeps(pattern, tokens, b_at, wish, *g):
    one, two = torch.where(b_at == 1, 3, 1), torch.where(b_at == 5, 7, 5)
    return exchange(pattern, one, two)


def in_all_questions(pattern, tokens, b_at, wish, *g):
    there, new = places(tokens, wish)[1], pattern.clone()
    new[:, :, -1, b_at], new[:, :, -1, there] = pattern[:, :, -1, there], pattern[:, :, -1, b_at]
    return new


def by_views(pattern, tokens, b_at, wish, *g):
    new = pattern.clone()
    for i, (one, two) in enumerate(zip(b_at.tolist(), places(tokens, wish)[1].tolist())):
        new[i, :, -1, one], new[i, :, -1, two] = new[i, :, -1, two], new[i, :, -1, one]
    return new


def not_given_back(pattern, tokens, b_at, wish, *g):
    row, new = torch.arange(len(tokens)), pattern.clone()
    new[row, :, -1, places(tokens, wish)[1]] = pattern[row, :, -1, b_at]
    return new


def half_more(pattern, tokens, b_at, wish, *g):
    row, new = torch.arange(len(tokens)), pattern.clone()
    new[row, :, -1, places(tokens, wish)[1]] += 0.5
    return new


def shuffled(pattern, *rest):
    return torch.cat([pattern[:, :, :-1], pattern[:, :, -1:].roll(1, 3)], dim=2)


def drawn(allowed, dice=lambda g: g):
    """An exchange with a place drawn among those that `allowed(there, b_at, position)` leaves."""

    def change(pattern, tokens, b_at, wish, g):
        there, position = places(tokens, wish)[1][:, None], torch.arange(13)
        chance = torch.rand(len(tokens), 13, generator=dice(g))
        free = allowed(there, b_at[:, None], position) & torch.ones(len(tokens), 13, dtype=torch.bool)
        return exchange(pattern, b_at, chance.masked_fill(~free, -1).argmax(1))

    return change


def always_the_first(pattern, tokens, b_at, wish, g):
    _, there, _ = places(tokens, wish)
    pairs = zip(b_at.tolist(), there.tolist(), strict=True)
    return exchange(pattern, b_at, torch.tensor([next(p for p in range(1, 12, 2) if p not in pair) for pair in pairs]))


def strangers(batch, g):
    strange = (batch.path[:, None] != batch.path[None]).all(-1)
    return torch.rand(strange.shape, generator=g).masked_fill(~strange, -1).argmax(1)


def the_first_stranger(batch, g):
    return (batch.path[:, None] != batch.path[None]).all(-1).int().argmax(1)


def fall(name="blocks.0.attn.q", donors=strangers):
    return lambda model, batch, g: (name, donors(batch, g))


def alike(batch, g):
    same = (batch.path[:, None] == batch.path[None]).any(-1) & ~torch.eye(len(batch), dtype=torch.bool)
    return torch.where(same.any(1), same.int().argmax(1), torch.arange(len(batch)).roll(1))


def step(layer=1, hop=0, gone=1, size=1.0, on="reference"):
    """From a token of the path to the other, as the input of a layer holds what stands at this hop."""

    def change(model, batch, reference, other):
        x = means_of(model, batch if on == "batch" else reference, f"blocks.{layer}.resid_pre", hop)
        return size * (x[other] - (0 if gone is None else x[batch.path[:, gone]]))

    return change


def layer(qk=lambda z, newest: newest.T @ z[0], vo=lambda z, number: z[number]):
    """W_qk of the buffer in which the newest token stands, and W_vo."""
    return lambda z, number: (qk(z, torch.eye(len(z[0])) if number == 1 else z[number - 1]), vo(z, number))


def later(qk):
    """The same, with layer 1 as it should be."""
    return lambda z, number: layer()(z, number) if number == 1 else layer(qk)(z, number)


MISTAKES = {
    "hits_of": [
        (count("zero same"), "says nothing new"),
        (count("same again"), "A prediction of 0 is none"),
        (count("zero again"), "an untouched model hits too"),
        (count(hit="answer"), "You count right answers"),
        (count(""), "You count every trial"),
        (count("zero same again unlike"), "You leave out what was *said* rightly"),
        (count("zero same again twice"), "your hits count it each time"),
        (count(z=1.645), "on *each* side"),
        (count(scaled=False), "in front of the bracket"),
        (count("again"), "by the three rules"),
        (count(wald=True), "three hits of three would be certain"),
        (count(z=1.0, wald=True), "two times in three"),
        (count(ends=lambda p, low, high: (high, low)), "ends before it begins"),
        (count(ends=lambda p, low, high: ((low - high) / 2, (high - low) / 2)), "the half width"),
        (count(z=2.58), "Wilson 0."),
        (lambda *given: 0.9, "is asked"),
    ],
    "steer": [
        (lambda pattern, *rest: pattern, "nothing is changed"),
        (every_row, "Rows are queries"),
        (last_column, "what other positions read"),
        (taken_away, "something is taken away"),
        (half_more, "something is added"),
        (in_all_questions, "the same places in every question"),
        (by_views, "a slice is a view"),
        (not_given_back, "each needs what the *other* had"),
        (b_keeps, "b keeps its attention"),
        (shuffled, "more than two weights"),
        (to(lambda tokens, b_at, wish: second_place(tokens, wish)), "You read the wish itself"),
        (to(lambda tokens, b_at, wish: places(tokens, wish)[2]), "at the wrong place"),
        (to(node_after), "walk against the arrows"),
        (to(lambda tokens, b_at, wish: torch.where(b_at == 1, 3, 1)), "leads to it"),
        (lambda pattern, *rest: pattern[:, 0], "is asked"),
    ],
    "like_control": [
        (lambda pattern, *rest: pattern, "a control that does nothing"),
        (taken_away, "damage alone"),
        (every_row, "Rows are queries"),
        (drawn(lambda there, b, p: (p % 2 == 1) & (p != b)), "predicts the wish as well"),
        (to(lambda tokens, b_at, wish, g: places(tokens, wish)[1]), "In 120 of 120"),
        (drawn(lambda there, b, p: (p % 2 == 1) & (p != there)), "changes nothing"),
        (drawn(lambda there, b, p: (p % 2 == 0) & (p < 12)), "the kind of its place"),
        (to(lambda tokens, b_at, wish, g: torch.full_like(b_at, 12)), "reads the question itself"),
        (always_the_first, "the same places each time"),
        (drawn(lambda there, b, p: (p % 2 == 1) & (p != b) & (p != there), lambda g: None), "but not with g"),
    ],
    "empty_fall": [
        (fall(donors=lambda batch, g: torch.arange(len(batch))), "donate to themselves"),
        (fall(donors=alike), "share a token of the path"),
        (fall(donors=lambda batch, g: torch.full((len(batch),), 3)), "1 question(s) donate to all"),
        (fall(donors=the_first_stranger), "for each, among all its strangers"),
        (fall("pos_embed"), "one for all questions"),
        (fall(donors=lambda batch, g: strangers(batch, g)[:-1]), "one donor for each"),
        (fall("blocks.2.mlp.out"), "no fall to explain"),
        (fall("blocks.1.attn.out"), "something that the answer needs"),
        (fall("blocks.9.attn.q"), "choose one of"),
        (lambda model, batch, g: "blocks.0.attn.q", "return the name"),
    ],
    "which_drawer": [
        (step(gone=0), "You take a away"),
        (step(gone=2), "You take c away"),
        (step(gone=None), "take nothing away"),
        (step(2, 1), "Both hypotheses predict that"),
        (step(2, 0, 0), "that it stays elsewhere is no evidence"),
        (step(size=-1.0), "the other way round"),
        (step(size=0.0), "Your step is zero"),
        (step(on="batch"), "the very questions that you then test"),
        (step(size=100.0), "your step damages"),
        (lambda model, batch, reference, other: torch.zeros(3), "where (100, 256) is asked"),
    ],
    "matching_weights": [
        (layer(lambda z, newest: z[0].T @ newest), "transposed: queries act from the left"),
        (later(lambda z, newest: z[0].T @ z[0]), "which holds the predecessor"),
        (lambda z, number: (z[0], z[number]), "the plain token, which is the start"),
        (lambda z, number: (z[number].T @ z[0], z[number]), "about to fill"),
        (layer(lambda z, newest: newest.T), "the key's own token"),
        (layer(lambda z, newest: newest @ z[0]), "you do not transpose the query's"),
        (later(lambda z, newest: newest.T @ z[0].T), "Z(0) stands in W_qk as it is"),
        (layer(lambda z, newest: 2 * newest.T @ z[0]), "your scores are 2.00"),
        (layer(vo=lambda z, number: z[0]), "into buffer 0, where keys hold"),
        (layer(vo=lambda z, number: z[max(number - 1, 1)]), "into the buffer before"),
        (layer(vo=lambda z, number: z[number].T), "whoever reads the buffer"),
        (layer(vo=lambda z, number: torch.eye(len(z[0]))), "where the start stands"),
        (layer(vo=lambda z, number: 2 * z[number]), "is not x again"),
        (lambda z, number: z[number], "return W_qk and W_vo"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "wrong", "said"), rows(MISTAKES))
def test_a_mistake_gets_its_own_words(name, wrong, said):
    can_be_seen(name, wrong, held(name, wrong, said))


def test_every_check_has_its_mistakes():
    complete("04", MISTAKES)


def test_both_networks_answer_and_one_asks_from_the_drawer_of_the_start():
    task, networks = two_networks()
    batch, side = with_sink(task.sample(200, "any", generator=seeded(1))), networks["side by side"]
    for name, model in networks.items():
        assert accuracy_of(model, batch) > 0.9, name
        x = means_of(model, batch, "blocks.2.resid_pre", 1)[1:21]  # what stands for the middle when layer 2 asks
        plain = torch.cosine_similarity(x, side.w_e[1:21] - side.w_e[1:21].mean(0)).mean().item()
        assert (plain > 0.5) == (name == "written over"), (name, plain)
