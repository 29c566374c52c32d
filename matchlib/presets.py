"""Four recipes: `tiny` for tests, `mini` for sweeps, `small` for the live lesson, `paper` after the authors."""

from dataclasses import dataclass

from matchlib.data import ChainTask
from matchlib.model import ModelConfig
from matchlib.record import TrainConfig, run_name
from matchlib.train import fitted


@dataclass(frozen=True)
class Preset:
    """A task, a model and a training that belong together."""

    task: ChainTask
    model: ModelConfig
    train: TrainConfig


@dataclass(frozen=True)
class RunSpec:
    """One run before it is trained: what to train, and the seed."""

    preset: Preset
    seed: int = 0

    @property
    def parts(self) -> tuple[ChainTask, ModelConfig, TrainConfig, int]:
        """In the order in which trainings and records take them."""
        return self.preset.task, self.preset.model, self.preset.train, self.seed

    @property
    def name(self) -> str:
        return run_name(*self.parts)


def _preset(task: ChainTask, model: ModelConfig, train: TrainConfig) -> Preset:
    return Preset(task, fitted(model, task), train)


PRESETS: dict[str, Preset] = {
    # Seconds, to see that everything runs: too short to learn the task.
    "tiny": _preset(
        ChainTask(n_edges=3, hops=2, n_tokens=20),
        ModelConfig(n_layers=3, d_model=16, d_head=16, d_mlp=16, gamma=0.5),
        TrainConfig(steps=60, batch_size=32, lr=1e-2, warmup=10, n_train=512, eval_every=20, n_eval=128),
    ),
    # For sweeps: a chain of four edges among 20 tokens, which a model of width 32 learns in 7 seconds on one core.
    "mini": _preset(
        ChainTask(n_edges=4, hops=2, n_tokens=20),
        ModelConfig(n_layers=3, d_model=32, d_head=32, d_mlp=32, gamma=0.8),
        TrainConfig(
            steps=3000, batch_size=64, lr=4e-3, warmup=300, weight_decay=0.1, n_train=None, eval_every=100, n_eval=500
        ),
    ),
    # The live lesson, chosen by `matchlib.selection`. After the paper: three layers, one head, post-LN, a chain of six
    # edges, two hops, AdamW with clipping and a cosine. It departs from the authors' notebook in size (d_model 64,
    # 50 tokens), in a smaller initialisation (gamma 0.7), a larger learning rate and decay, decay on matrices only, and
    # fresh sequences at every step in place of a fixed set.
    "small": _preset(
        ChainTask(n_edges=6, hops=2, n_tokens=50),
        ModelConfig(n_layers=3, d_model=64, d_head=64, d_mlp=64, gamma=0.7),
        TrainConfig(steps=1500, batch_size=256, lr=5e-3, warmup=300, weight_decay=0.1, n_train=None),
    ),
    # The authors' notebook (arXiv 2405.15302 and its public code): 100 tokens, 270,000 training sequences, batch 1000,
    # AdamW with decay 0.01, lr 5e-5 -> 2e-4 over 10 epochs, then a cosine over 190 more. It departs in three ways: our
    # generator is uniform over what the residue rule allows, embeddings keep their own d_in = d_model, and steps are
    # counted in whole batches (270 an epoch).
    "paper": _preset(
        ChainTask(n_edges=6, hops=2, n_tokens=100),
        ModelConfig(n_layers=3, d_model=400, d_head=64, d_mlp=1200, gamma=0.5),
        TrainConfig(
            steps=54_000, batch_size=1000, lr=2e-4, lr_start=5e-5, lr_end=1e-5, warmup=2_700, weight_decay=0.01,
            decay="all", n_train=270_000, eval_every=270, n_eval=2_000,
        ),
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """A preset by name. Raises ValueError for one that is not known."""
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} is not known: choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
