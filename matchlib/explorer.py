"""A panel that shows what a task asks: its questions, their rule, and the guessers to beat."""

from functools import partial
from html import escape

import ipywidgets as widgets

from matchlib.chains import MODULUS, RESIDUES
from matchlib.data import KINDS, SPLITS, Batch, ChainTask
from matchlib.flow import chain_graph
from matchlib.panel import Panel, Shown, Unshown, control, row, table
from matchlib.train import seeded

LONGEST = 7  # edges of a chain: the rule's sequences of longer ones take seconds to list


class ChainExplorer(Panel):
    """See what a task asks: a question as graph and sequence, its label, its residues, and the guessers to beat.

    `task`, `batch` (of one), `baselines` and `figure` hold what is shown. The same seed gives the same question.
    """

    def __init__(self):
        super().__init__()
        self.task: ChainTask | None = None
        self.batch: Batch | None = None
        self.baselines: dict[str, float] = {}
        self.kind = control(widgets.Dropdown, "Task", "One chain, two, noise, or a ring", options=KINDS)
        slider = partial(control, widgets.IntSlider, continuous_update=False)
        self.n_edges = slider("Edges of a chain", "How long a chain is", min=2, max=LONGEST, value=6)
        self.hops = slider("Steps", "From the start to the answer", min=1, max=6, value=2)
        self.n_tokens = slider("Tokens", "How many are seen in training; as many are not", max=100, value=50)
        self.split = control(widgets.Dropdown, "Split", "The rule that the steps of a chain obey", options=SPLITS)
        self.seed = control(widgets.BoundedIntText, "Seed", "The same seed gives the same question", max=999_999)
        self.new_button = self.button("New question", "Go to the next seed", self._new, button_style="primary")
        self.words, self.tables, self._graph = widgets.HTML(), widgets.HTML(), Shown()
        self.on_change(self._draw, self.kind, self.n_edges, self.hops, self.n_tokens, self.split, self.seed)
        self.lay(
            row(self.kind, self.split, self.seed, self.new_button), row(self.n_edges, self.hops, self.n_tokens),
            self.message, self._graph, self.words, self.tables,
        )  # fmt: skip
        self.act(self._draw)

    def new_question(self) -> None:
        """Go to the next seed."""
        self.act(self._new)

    def _new(self) -> None:
        with self.quietly():
            self.seed.value = (self.seed.value + 1) % (self.seed.max + 1)
        self._draw()

    def _fit_sliders(self) -> str:
        """Keep the sliders within what the task allows; what had to change, in words."""
        room = ChainTask(self.kind.value, self.n_edges.value, 1, 16_000)
        most = room.n_edges - room.closed
        before = self.hops.value, self.n_tokens.value
        with self.quietly():
            self.hops.max, self.n_tokens.min = most, room.n_nodes
        changed = []
        if self.hops.value != before[0]:
            changed.append(f"Steps went from {before[0]} to {most}, the most that {room.n_edges} edges allow.")
        if self.n_tokens.value != before[1]:
            changed.append(f"Tokens went from {before[1]} to {room.n_nodes}, as many as one sequence needs.")
        return " ".join(changed)

    def _draw(self) -> None:
        changed = self._fit_sliders()
        hops = self.hops.value
        asked = tuple(range(1, hops + 1)) if "ordered" in self.kind.value else hops
        split = self.split.value
        self.say("Drawing a question …")
        try:
            task = ChainTask(self.kind.value, self.n_edges.value, asked, self.n_tokens.value)
            batch = task.sample(1, split, generator=seeded(self.seed.value, "chain explorer"))
            baselines = task.baselines(split)
        except ValueError as error:
            raise Unshown(str(error)) from None
        self.task, self.batch, self.baselines = task, batch, baselines
        self.figure = self._graph.show_once((task, split, self.seed.value), lambda: chain_graph(batch))
        self.words.value = escape(self._in_words(batch))
        guesses = [(name, f"{accuracy:.3f}") for name, accuracy in baselines.items()]
        residues = [(f"{a} → {b}", residue) for a, b, residue in self.residues()]
        tables = [
            table(f"Steps mod {MODULUS}: {rule(split)}", ["edge", "residue"], residues),
            table("Guessers on this split", ["names", "accuracy"], guesses),
        ]
        beside = "display: flex; flex-wrap: wrap; align-items: flex-start; gap: 2em"
        self.tables.value = f'<div style="{beside}">{"".join(tables)}</div>'
        self.say(changed)

    def _in_words(self, batch: Batch) -> str:
        tokens = " ".join(map(str, batch.tokens[0].tolist()))
        start, hops, answer = int(batch.path[0, 0]), int(batch.hops), int(batch.answer)
        words = f"Sequence: {tokens}. Start: {start}. Steps: {hops}. Label: {answer}."
        if self.task.has_order:
            words += f" The last token, {int(batch.tokens[0, -1])}, says how many steps: here 1 to {self.hops.value}."
        return words

    def residues(self) -> list[tuple[int, int, int]]:
        """The edges a -> b of the question, chain by chain with noise last, and (b - a) mod 5 of each."""
        question = self.batch
        edges = []
        for chain, noise, joint in zip(question.chain[0], question.noise[0], question.joint[0]):
            follows = chain.roll(-1) if self.task.closed else chain[1:]
            edges += zip(chain.tolist(), follows.tolist())
            edges += [(a, int(chain[j])) for a, j in zip(noise.tolist(), joint.tolist())]
        return [(a, b, (b - a) % MODULUS) for a, b in edges]


def rule(split: str) -> str:
    """What a split allows along an edge, in words."""
    if split in RESIDUES:
        return f"{split} allows {', '.join(map(str, RESIDUES[split]))}"
    return "only the last edge of the path obeys the test rule" if split == "ood" else "no rule"
