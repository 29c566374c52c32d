"""A panel that puts a chain of your own to a trained model, and cuts the attention of its layers."""

import re
from dataclasses import dataclass

import ipywidgets as widgets
import torch
from jaxtyping import Float
from torch import Tensor

from matchlib.data import Batch
from matchlib.flow import chain_graph, information_flow
from matchlib.hooks import intervene
from matchlib.model import Transformer
from matchlib.panel import Panel, Shown, Unshown, control, row, table
from matchlib.probe import flow
from matchlib.record import Run
from matchlib.train import seeded

# Spaces, commas, brackets, arrows, and a dash that is no minus: 7 - 12 and 7-12, but not 7 -12.
SEPARATORS = re.compile(r"(?:[\s,;:()\[\]{}]|[-=]+>|[→–—]|(?<=\d)-(?=[\d\s])|(?<=\s)-(?=\s))+")
LAST, ALL = "at the last position", "at every position"


@dataclass(frozen=True, eq=False)
class Answered:
    """One question, and what the model said: its three likeliest tokens with their probabilities, likeliest first."""

    batch: Batch
    top: list[tuple[int, float]]  # with the cuts
    uncut: list[tuple[int, float]]  # of the model as it was trained
    patterns: Float[Tensor, "layer query key"]  # attention, with the cuts, averaged over heads
    cuts: tuple[int, ...]  # layers whose attention is cut

    @property
    def answer(self) -> int:
        return int(self.batch.answer)

    @property
    def predicted(self) -> int:
        return self.top[0][0]

    @property
    def right(self) -> bool:
        return self.predicted == self.answer


@torch.no_grad()
def ask_with_cuts(
    model: Transformer, batch: Batch, layers: tuple[int, ...], everywhere: bool
) -> tuple[Float[Tensor, "vocab"], Float[Tensor, "layer query key"]]:
    """Probabilities at the last position, and attention, when the attention of some layers is set to zero."""
    seen: dict[int, Tensor] = {}

    def cut(layer: int):
        def change(pattern: Tensor) -> Tensor:
            if layer in layers:
                pattern = pattern.clone()
                pattern[:, :, slice(None) if everywhere else slice(-1, None)] = 0
            seen[layer] = pattern[0].mean(dim=0)
            return pattern

        return change

    changes = {f"blocks.{layer}.attn.pattern": cut(layer) for layer in range(model.cfg.n_layers)}
    logits = intervene(model, batch.tokens.to(model.w_e.device), changes)[0, -1]
    return logits.softmax(dim=-1).cpu(), torch.stack([seen[layer] for layer in sorted(seen)]).cpu()


class AskTheModel(Panel):
    """Put a chain of your own to a trained model, and cut the attention of its layers.

    `answered` holds the last good answer, `figure` the graph of its question, `flow_figure` the flow where it is shown.
    Raises ValueError for a run whose task has two chains.
    """

    def __init__(self, run: Run):
        if run.task.n_chains != 1:
            raise ValueError(f"A task of two chains ({run.task.kind!r}) does not fit this panel: use a run of another.")
        super().__init__()
        self.run, self.task = run, run.task
        self.answered: Answered | None = None
        self.flow_figure = None
        self._generator = seeded(run.seed, "ask the model")
        self._order = self._new_order()
        wide = {"layout": widgets.Layout(width="26em"), "continuous_update": False}
        self.chain = control(widgets.Text, "Chain", "The tokens in order, between spaces, commas or arrows", **wide)
        self.start = control(widgets.Dropdown, "Start", "The token from which to follow the chain")
        self.hops = control(widgets.Dropdown, "Steps", "How many steps to follow", options=self.task.all_hops)
        self.ask_button = self.button("Ask", "Put this question to the model", self._ask, button_style="primary")
        self.shuffle_button = self.button("Shuffle the edges", "The same chain, in another order", self._shuffle)
        tip = "A chain of tokens that training never showed, but for the answer and the token before it"
        self.unseen_button = self.button("Use unseen tokens", tip, self._use_unseen)
        self.cuts = tuple(
            control(widgets.Checkbox, f"cut layer {layer}", f"Let layer {layer} attend to nothing", indent=False)
            for layer in range(run.model_config.n_layers)
        )
        for box in self.cuts:
            box.layout.width = "8em"
        self.where = control(widgets.Dropdown, "Cut", "Where the attention is cut", options=(LAST, ALL))
        self.with_flow = control(widgets.Checkbox, "show the information flow", "Who attends to whom", indent=False)
        self.verdict, self.likeliest = widgets.HTML(), widgets.HTML()
        self._graph, self._flow = Shown(), Shown()
        self._use(self.task.sample(1, "test", generator=self._generator))
        self.on_change(self._ask, self.chain, self.start, self.hops, self.where, self.with_flow, *self.cuts)
        steps = [self.hops] if len(self.task.all_hops) > 1 else []
        self.lay(
            row(self.chain, self.start, *steps),
            row(self.ask_button, self.shuffle_button, self.unseen_button),
            row(*self.cuts, self.where, self.with_flow),
            self.message, self.verdict, self.likeliest, self._graph, self._flow,
        )  # fmt: skip
        self.ask()

    def ask(self) -> None:
        """Put the question in the controls to the model."""
        self.act(self._ask)

    def shuffle(self) -> None:
        """Write the same edges in another order, and ask."""
        self.act(self._shuffle)

    def use_unseen(self) -> None:
        """Take a chain of tokens that training never showed, and ask."""
        self.act(self._use_unseen)

    def _shuffle(self) -> None:
        self._order = self._new_order()
        self._ask()

    def _use_unseen(self) -> None:
        self._use(self.task.sample(1, "ood", generator=self._generator))
        self._ask()

    def _new_order(self) -> list[int]:
        return torch.randperm(self.task.start_pos // 2, generator=self._generator).tolist()

    def _use(self, batch: Batch) -> None:
        """Fill the controls with a question."""
        chain = batch.chain[0, 0].tolist()
        with self.quietly():
            self.chain.value = " ".join(map(str, chain))
            self.start.options = chain
            self.start.value, self.hops.value = chain[int(batch.start)], int(batch.hops)

    def _question(self) -> Batch:
        chain = read_chain(self.chain.value)
        if len(chain) != (length := self.task.chain_length):
            raise Unshown(f"This chain has {len(chain)} tokens and the model was trained on {length}: write {length}.")
        hops, distinct = self.hops.value, len(set(chain)) == len(chain)
        last = len(chain) - 1 if self.task.closed else self.task.n_edges - hops  # place of the last good start
        if distinct and list(self.start.options) != chain:
            kept = self.start.value if self.start.value in chain[: last + 1] else chain[0]
            with self.quietly():
                self.start.options = chain
                self.start.value = kept
        start = self.start.value
        if distinct and start in chain[last + 1 :]:
            allowed = ", ".join(map(str, chain[: last + 1]))
            raise Unshown(f"From {start} the chain has no {hops} steps left: choose one of {allowed}.")
        try:
            return self.task.question(chain, start, hops, order=self._order)
        except ValueError as error:
            raise Unshown(str(error)) from None

    def _ask(self) -> None:
        batch = self._question()
        self.say("The model is reading …")
        layers = tuple(layer for layer, box in enumerate(self.cuts) if box.value)
        uncut, patterns = ask_with_cuts(self.run.model, batch, (), False)
        probabilities = uncut
        if layers:
            probabilities, patterns = ask_with_cuts(self.run.model, batch, layers, self.where.value == ALL)
        self.answered = Answered(batch, _top(probabilities), _top(uncut), patterns, layers)
        self._show(self.answered)
        self.say("")

    def _show(self, found: Answered) -> None:
        verdict = "right" if found.right else f"wrong: the answer is {found.answer}"
        cut = f" with attention cut in layer {', '.join(map(str, found.cuts))} {self.where.value}" if found.cuts else ""
        sequence = " ".join(map(str, found.batch.tokens[0].tolist()))
        words = f"The model reads <code>{sequence}</code> and says <b>{found.predicted}</b>{cut}: {verdict}."
        self.verdict.value = words
        columns = [found.top, found.uncut] if found.cuts else [found.top]
        rows = [(i + 1, *(f"{t} ({p:.3f})" for t, p in tokens)) for i, tokens in enumerate(zip(*columns))]
        head = ["rank", "token (probability)"] + ["without the cut"] * bool(found.cuts)
        self.likeliest.value = table("The three likeliest tokens", head, rows)
        asked = sequence, *found.batch.chain.flatten().tolist(), int(found.batch.start), int(found.batch.hops)
        self.figure = self._graph.show_once(asked, lambda: chain_graph(found.batch))
        if not self.with_flow.value:
            self.flow_figure = None
            self._flow.hide()
        else:  # the picture before stays until this one is drawn: the page would jump
            expected = flow(self.run.model, found.batch.to(self.run.model.w_e.device))[1]
            drawn = found.patterns, found.batch.tokens[0], expected, found.answer, found.predicted
            key = *asked, found.cuts, self.where.value
            self.flow_figure = self._flow.show_once(key, lambda: information_flow(*drawn))


def read_chain(text: str) -> list[int]:
    """The numbers of a chain such as "7 12, 30 -> 41". Raises Unshown for a word that is no whole number."""
    words = [word for word in SEPARATORS.split(text) if word]
    for word in words:
        if not re.fullmatch(r"[+-]?[0-9]{1,12}", word):
            shown = word if len(word) <= 20 else word[:20] + "…"
            raise Unshown(f"{shown!r} is not a whole number: write the chain as numbers, such as 7 12 30.")
    if not words:
        raise Unshown("The chain is empty: write its tokens in order, such as 7 12 30.")
    return list(map(int, words))


def _top(probabilities: Float[Tensor, "vocab"]) -> list[tuple[int, float]]:
    best = probabilities.topk(3)
    return list(zip(best.indices.tolist(), best.values.tolist()))
