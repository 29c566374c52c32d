"""The experiments of lesson 04 put to many models, and what came out, a line an experiment.

Each section of the lesson can begin here: the groups of experiments by name, the question sets with their seeds, and
numbers rounded outwards, so that another processor prints the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor

import torch

from matchlib.causes import Setting, investigate
from matchlib.data import ChainTask
from matchlib.evidence import CONTRADICTED, IN_PART, SUPPORTED, Finding
from matchlib.experiments import EXPERIMENTS
from matchlib.model import Transformer
from matchlib.probe import argmax_of
from matchlib.train import seeded

SWAPS = ("read another middle", "read another answer", "buffer of another sequence", "middle by the weights",
         "middle by the query")  # fmt: skip
PAIRING = ("predecessors exchanged", "predecessors by the keys")
RATES = ("no middle read", "no first pair", "no second pair")
TOKENS = ("no answer read", "answer from the runner-up", "middle from the runner-up")
SECOND = ("second predecessors, layer 0 alone", "second predecessors exchanged")
STALE = ("start before layer 1", "middle before layer 2", "stale start swapped", "stale start removed",
         "rival: stale start read", "rival: the first start read", "rival: middle in the start's place")  # fmt: skip


@dataclass(frozen=True)
class Inquiry:
    """Models by name, and the task whose questions are put to them."""

    models: Mapping[str, Transformer]
    task: ChainTask

    def setting(self, name: str, split: str = "test", n: int = 300) -> Setting:
        """A model, `n` questions to put to it, and 1,500 others to measure on: the same for every model."""
        batch, reference = (self.task.sample(k, split, generator=seeded(k, "lesson 04")) for k in (n, 1500))
        return Setting(self.models[name], batch, reference, seeded(2, "lesson 04"))

    def ask(self, names: Iterable[str], experiments: Iterable[str], split: str = "test") -> list[Finding]:
        """Every experiment on every one of these models, experiment by experiment."""
        names = list(names)
        return [investigate(EXPERIMENTS[e], self.setting(name, split), name) for e in experiments for name in names]

    def pairs_again(self, name: str) -> tuple[float, float]:
        """Does layer 1 of a model pair a second time? Two shares in [0, 1], over the tokens that training shows.

        Its attention from the place of c to the token before it, on questions without the residue rule; and how many
        tokens the kernel W_vo(1) W_qk(2) W_vo(1)^T matches, by which layer 2 would find what that stores.
        """
        s, m = self.setting(name, "any"), self.models[name]
        c_at, x = s.second[:, 1], m.embed_tokens(torch.arange(1, self.task.n_tokens + 1)).detach()
        attention = s.clean["blocks.1.attn.pattern"][s.row, 0, c_at, c_at - 1].mean().item()
        return attention, argmax_of(x @ (m.w_vo(1) @ m.w_qk(2) @ m.w_vo(1).T).detach() @ x.T)

    def pairs_twice(self, name: str) -> bool:
        """Does layer 1 of a model look firmly at what a second pairing would store?"""
        return self.pairs_again(name)[0] > 0.8


def least(rates: Iterable[float]) -> str:
    """The lowest, rounded down to a twentieth; one question in two hundred more or less does not tell."""
    return f"{max(0.0, floor(20 * (min(rates) - 0.005)) / 20):.2f}"


def most(rates: Iterable[float]) -> str:
    """The highest, rounded up to a twentieth."""
    return f"{min(1.0, ceil(20 * (max(rates) + 0.005)) / 20):.2f}"


def rates_of(found: Iterable[Finding], name: str) -> list[float]:
    """The hit rates of an experiment, model by model."""
    return [f.found.rate for f in found if f.name == name]


def report(found: Sequence[Finding]) -> None:
    """Print one line an experiment: hits over the models, the most that a control gets, and the verdicts."""
    for e in dict.fromkeys(f.name for f in found):
        of, x = [f for f in found if f.name == e], rates_of(found, e)
        controls, verdicts = [c.rate for f in of for c in f.controls.values()], [f.verdict for f in of]
        counts = [f"{verdicts.count(v)} {v}" for v in (SUPPORTED, IN_PART, CONTRADICTED) if v in verdicts]
        control = f"control at most {most(controls)}" if controls else "no control"
        print(f"{e:34}  {least(x)} to {most(x)}   {control:20}   {', '.join(counts)}")
