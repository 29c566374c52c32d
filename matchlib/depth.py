"""Does a trained model keep to the rules of parallel reasoning, and do its other positions reason too?

What is asked of a model that was trained on one number of hops, of its own questions (ring, or one chain):

    allowed, forbidden   right answers, and questions: where the order of the edges lets the rules reach it, or not
    open                 the same, by how many nodes are left open for one who knows all that the rules let the start
                         hold (`left_open`); entry 0 is `allowed`, and at n open nodes such a guesser is right in 1/n
    narrowed             what this guesser scores on the forbidden ones
    jumps_cut            right answers with the attention cut that goes between places of the path, not to the question
    others_cut           with all other attention cut, but for that of the question: the control
    alone                with both cut: only the question may attend, so that a layer is a step
    by_path, by_others   in the last layer the question sees only the places of the path, or only all other places: does
                         it find the answer where it stands, or by ruling out what stands elsewhere?
    moved                in the last layer the answer's place and another node's exchange the question's attention;
                         how often the model then says the other: it chooses by place, be it to look or to look away
    behind, ahead        for three hops or more: the path's last edge stands behind the one before it, or ahead of it
    hop_cut              of those behind: in layer 1 the answer's place no longer sees the place before it on the path,
                         one attention edge of all: the jump that a node other than the question makes
    hop_other            of those behind: the same at another place, which can look one step back too: the control
    hop_looks            mean attention of the edge that is cut, and of the control's
    on_ring              for a chain: the same model asked on rings of as many edges, where no end is to be seen
    at_end, elsewhere    for a chain: where the answer is the chain's end, and elsewhere

The first three cuts are those of layers 1 and above: layer 0 pairs the tokens of an edge, and stays. A count is
[right, questions]; for a cut there are two, of the questions that the rules allow and of those that they do not, but
for the last two, where there is one.
Source: ours.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matchlib.data import Batch, ChainTask
from matchlib.model import Transformer
from matchlib.patch import Changes, Edges, cut, observe, redirect, says, together
from matchlib.record import Run
from matchlib.rules import reaches
from matchlib.train import TrainState, seeded

N = 2_000  # questions asked of each model
INNER, OF_QUESTION = ("jumps_cut", "others_cut", "alone"), ("by_path", "by_others")


def asks(task: ChainTask) -> bool:
    """Whether the questions above are defined for this task: a ring, or a chain on which more than two hops are asked.

    (Two hops on a chain are the business of `matchlib.kinds`.)
    """
    return len(task.all_hops) == 1 and (task.kind == "ring" or (task.kind == "single" and task.all_hops[0] > 2))


def examine(run: Run | TrainState) -> dict[str, float | list]:
    """All that is asked of a trained model, by name; nothing for tasks that the questions do not fit."""
    task, model = run.task, run.model.cpu()
    if not asks(task):
        return {}
    batch = task.sample(N, run.train_config.split, generator=seeded(run.seed, "depth"))
    nodes = left_open(batch, model.cfg.n_layers, task.closed)
    reached = nodes == 0
    right = says(model, batch.tokens) == batch.answer
    found = {
        "allowed": count(right[reached]),
        "forbidden": count(right[~reached]),
        "open": [count(right[nodes == n]) for n in range(int(nodes.max()) + 1)],
        "narrowed": (1 / nodes[~reached]).mean().item() if not reached.all() else 0.0,
    }
    for name, changes in experiments(model, batch).items():
        right_now = says(model, batch.tokens, changes) == batch.answer
        found[name] = [count(right_now[reached]), count(right_now[~reached])]
    changes, other = exchanged(batch, model.cfg.n_layers - 1, seeded(run.seed, "depth", "others"))
    said = says(model, batch.tokens, changes) == other
    found["moved"] = [count(said[reached]), count(said[~reached])]
    if task.hops > 2 and model.cfg.n_layers > 2:
        behind, hop, other = hops_of_the_answer(batch, seeded(run.seed, "depth", "hop"))
        found |= {"behind": count(right[behind]), "ahead": count(right[~behind])}
        for name, edges in (("hop_cut", hop), ("hop_other", other)):
            found[name] = count((says(model, batch.tokens, cut(1, edges)) == batch.answer)[behind])
        pattern = observe(model, batch.tokens, ["blocks.1.attn.pattern"])["blocks.1.attn.pattern"].mean(1)[behind]
        found["hop_looks"] = [round(float(pattern[edges[behind]].mean()), 3) for edges in (hop, other)]
    if not task.closed:
        ring = ChainTask("ring", task.n_edges, task.hops, task.n_tokens)
        other = ring.sample(N, run.train_config.split, generator=seeded(run.seed, "depth", "ring"))
        found["on_ring"] = count(says(model, other.tokens) == other.answer)
        ends = batch.answer == batch.chain[:, 0, -1]
        found |= {"at_end": count(right[ends]), "elsewhere": count(right[~ends])}
    return found


def left_open(batch: Batch, n_layers: int, closed: bool) -> Int[Tensor, "batch"]:
    """How many nodes may still be the answer for one who knows all that the rules let the start hold: 0, it is held.

    On a ring the answer may come in by either way, and what lies before the start is ruled out as what comes after is.
    """
    n_edges, order = batch.edge_pos.shape[2], order_of(batch)
    n_nodes = n_edges + (not closed)
    ahead = reaches(order, n_layers, batch.start, closed)
    behind = reaches(n_edges - 1 - order, n_layers, (n_edges - batch.start) % n_nodes, closed)  # counted from the end
    held = ahead >= batch.hops
    if closed:
        held |= behind >= n_edges - batch.hops
    return torch.where(held, 0, n_nodes - 1 - ahead - behind)


def order_of(batch: Batch) -> Int[Tensor, "batch edge"]:
    """The number of the edge at each place, as `matchlib.rules` takes it."""
    return batch.edge_pos[torch.arange(len(batch)), batch.which].argsort(dim=1)


def experiments(model: Transformer, batch: Batch) -> dict[str, Changes]:
    """What each experiment changes, by name."""
    layers = range(1, model.cfg.n_layers)
    edges = attention_cuts(batch)
    changes = {name: together(*(cut(layer, edges[name]) for layer in layers)) for name in INNER}
    return changes | {name: cut(layers[-1], edges[name]) for name in OF_QUESTION}


def exchanged(batch: Batch, layer: int, generator: torch.Generator) -> tuple[Changes, Int[Tensor, "batch"]]:
    """Exchange the question's attention between the answer's place and another node's; and which node that is.

    The other is a second token that is neither the answer nor the start.
    """
    row, last = torch.arange(len(batch)), torch.full((len(batch),), batch.tokens.shape[1] - 1)
    places = batch.edge_pos[row, batch.which] + 1
    nodes = batch.tokens.gather(1, places)
    free = (nodes != batch.answer[:, None]) & (nodes != batch.path[:, :1])
    drawn = torch.rand(free.shape, generator=generator).masked_fill(~free, -1).argmax(dim=1)
    return redirect(layer, last, batch.path_pos[:, -1] + 1, places[row, drawn]), nodes[row, drawn]


def hops_of_the_answer(batch: Batch, generator: torch.Generator) -> tuple[Bool[Tensor, "batch"], Edges, Edges]:
    """Where the last edge of the path stands behind the one before it; its jump; and the same jump of another place.

    The jump is the attention edge from the answer's place (the second token of its edge) to the place before it on the
    path. The other leads from a drawn place to the one before it on the ring or chain, where that stands earlier;
    without such a place nothing is cut.
    """
    n, n_pos = batch.tokens.shape
    row = torch.arange(n)
    places = batch.edge_pos[row, batch.which] + 1
    one_back = places.roll(1, dims=1)
    answer, before = batch.path_pos[:, -1] + 1, batch.path_pos[:, -2] + 1
    free = (one_back < places) & (places != answer[:, None])
    if batch.chain.shape[2] > places.shape[1]:  # a chain: nothing lies before its first edge
        free[:, 0] = False
    drawn = torch.rand(free.shape, generator=generator).masked_fill(~free, -1).argmax(dim=1)
    hop, other = (torch.zeros(n, n_pos, n_pos, dtype=torch.bool) for _ in range(2))
    hop[row, answer, before] = before < answer
    other[row, places[row, drawn], one_back[row, drawn]] = free.any(1)
    return before < answer, hop, other


def seen(model: Transformer, batch: Batch) -> Float[Tensor, "layer query key"]:
    """Mean attention between the second tokens of the edges, counted from the start, and the question (the last one).

    Query or key 0 is the edge from the start to the node one step on, and so on round the ring. Raises ValueError for
    questions that are not of a ring.
    """
    n, n_edges = len(batch), batch.edge_pos.shape[2]
    if batch.chain.shape[1:] != (1, n_edges):
        raise ValueError("Only on a ring does every start have the same edges ahead: give questions of a ring.")
    along = (batch.start[:, None] + torch.arange(n_edges)) % n_edges
    question = torch.full((n, 1), batch.tokens.shape[1] - 1)
    at = torch.cat([batch.edge_pos[:, 0].gather(1, along) + 1, question], dim=1)
    names = [f"blocks.{layer}.attn.pattern" for layer in range(model.cfg.n_layers)]
    patterns = observe(model, batch.tokens, names)
    row = torch.arange(n)[:, None, None]
    return torch.stack([patterns[name].mean(1)[row, at[:, :, None], at[:, None, :]].mean(0) for name in names])


def attention_cuts(batch: Batch) -> dict[str, Edges]:
    """Which attention edges each experiment cuts. A position always sees itself."""
    n, n_pos = batch.tokens.shape
    places = torch.stack([batch.path_pos, batch.path_pos + 1]).permute(1, 0, 2).flatten(1)
    on_path = torch.zeros(n, n_pos, dtype=torch.bool).scatter(1, places, True)
    question = torch.arange(n_pos) == n_pos - 1
    other = ~torch.eye(n_pos, dtype=torch.bool)
    inner = (other & ~question[:, None]).expand(n, n_pos, n_pos)
    asking = (other & question[:, None]).expand(n, n_pos, n_pos)
    jumps = on_path[:, :, None] & on_path[:, None, :]
    return {
        "jumps_cut": inner & jumps,
        "others_cut": inner & ~jumps,
        "alone": inner,
        "by_path": asking & ~on_path[:, None, :],
        "by_others": asking & on_path[:, None, :],
    }


def count(right: Bool[Tensor, "n"]) -> list[int]:
    return [int(right.sum()), len(right)]
