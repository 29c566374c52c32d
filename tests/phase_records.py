"""Records as a sweep over LayerNorm, gamma, weight decay and training sequences would make them, without training."""

from dataclasses import replace

from matchlib.ledger import Record
from matchlib.presets import PRESETS
from matchlib.record import Evaluation

MINI = PRESETS["mini"]
STEERED = {"middle": 0.95, "answer": 0.97, "pairs": 0.9}
SQUARE = {"renamed_twin": 0.8, "renamed_stranger": 0.75, "broken_twin": 0.125, "broken_stranger": 0.1}


def record(
    layernorm="post", gamma=0.7, decay=0.1, n_train=None, seed=100, reached=1000, test=0.99, rate=0.004, steps=3000,
    reason="", fit=None,
) -> Record:  # fmt: skip
    """A run whose test accuracy is 0.1 before the step `reached` (None: for ever) and `test` from then on."""
    history = []
    for step in range(0, steps + 1, 100):
        there = reached is not None and step >= reached
        now = test if there else 0.1
        train = max(now, 0.3)
        history.append(Evaluation(step, 1.0, fit or train, train, now, now / 2, (now, now / 2), (now, now / 2)))
    model = replace(MINI.model, layernorm=layernorm, gamma=gamma)
    train = replace(MINI.train, weight_decay=decay, n_train=n_train, lr=rate, steps=steps)
    return Record.of(MINI.task, model, train, seed, history, {}, reason, STEERED | SQUARE | {"ood_as_long": 0.4321})
