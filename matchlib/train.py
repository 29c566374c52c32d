"""One training loop, as a generator of immutable steps: look at each, leave at any time, go on where you left.

    state = TrainState.new(task, model_config, train_config, seed=0)
    for step in fit(state):        # updates state.model; leaving the loop loses nothing
        ...
    state.save("half_way"); fit(TrainState.load("half_way"))     # goes on, bit for bit on the same device

The data of step s is a function of (seed, s) alone, drawn on the CPU in blocks: a CPU and a GPU see the same sequences,
and a resumed training the same as an unbroken one. Data, weights and evaluation have seeds of their own.
"""

import ctypes
import hashlib
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from warnings import warn

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from matchlib.data import Batch, ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.probe import Questions, numbers
from matchlib.record import Evaluation, Run, TrainConfig, decays, learning_rate, provenance, undivided

FRESH_BLOCK = 64  # steps' worth of fresh data drawn at a time
FULL = "The GPU is busy or out of memory ({}): the CPU takes its place, and takes longer."


@dataclass(frozen=True, eq=False)
class Step:
    """One update: `step` counts from 1. `loss` is a tensor: reading its value waits for the device."""

    step: int
    lr: float
    loss: Tensor
    evaluation: Evaluation | None  # where this step was one to measure


def seeded(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator of its own for each purpose, e.g. seeded(7, "weights")."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def pick_device(device: str = "auto") -> torch.device:
    """The device by name; "auto" is a CUDA GPU where there is one that is free, and it warns where one is not.

    Raises ValueError for a device that is not there.
    """
    if device == "auto" and torch.cuda.is_available():
        try:
            return pick_device("cuda")
        except ValueError as error:
            warn(FULL.format(str(error.__cause__).splitlines()[0]), stacklevel=2)
    name = "cpu" if device == "auto" else device
    try:
        x = torch.zeros(1, device=name)
        x.item()  # a device without values, such as 'meta', cannot train
        return x.device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={device!r} is not available here: use 'auto' or 'cpu'.") from error


@dataclass(eq=False)
class TrainState:
    """All that a training needs to go on."""

    task: ChainTask
    model_config: ModelConfig
    train_config: TrainConfig
    seed: int
    model: Transformer
    optimizer: torch.optim.AdamW
    step: int = 0
    seconds: float = 0.0
    history: list[Evaluation] = field(default_factory=list)
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    losses: list[Tensor] = field(default_factory=list)  # since the last evaluation

    @classmethod
    def new(
        cls, task: ChainTask, model: ModelConfig, train: TrainConfig, seed: int = 0, device: str = "auto"
    ) -> "TrainState":
        """Before the first step. The sizes that the task decides (vocab_size, n_pos) are taken from it."""
        model = fitted(model, task)
        net = Transformer(model, generator=seeded(seed, "weights"), noise=seeded(seed, "noise"))
        state, where = cls(task, model, train, seed, net, _optimizer(net, train)), pick_device(device)
        try:
            net.to(where)
        except torch.OutOfMemoryError as error:  # it was free for a moment only
            state.leave_gpu(error)
        return state

    @property
    def device(self) -> torch.device:
        return self.model.w_e.device

    @property
    def done(self) -> bool:
        return self.step >= self.train_config.steps

    def leave_gpu(self, error: torch.OutOfMemoryError) -> None:
        """Go on on the CPU, which another program leaves free; what was learnt goes along. A warning says so."""
        warn(FULL.format(str(error).splitlines()[0]), stacklevel=2)
        self.model.cpu()
        self.optimizer.zero_grad(set_to_none=True)
        for p, moments in self.optimizer.state.items():  # those of a first step may be incomplete
            self.optimizer.state[p] = {k: v.cpu() for k, v in moments.items()} if "exp_avg_sq" in moments else {}
        self.losses = [loss.cpu() for loss in self.losses]

    def as_run(self) -> Run:
        """What there is so far, as a run that can be saved, probed and plotted."""
        known = provenance(self.device, self.seconds) | {"steps": self.step}
        configs = (self.task, self.model_config, self.train_config)
        return Run(*configs, self.seed, self.model, list(self.history), dict(self.snapshots), known)

    def save(self, path: str | Path) -> None:
        """Write all of it, as a run that also holds the optimiser's state."""
        run = self.as_run()
        moments = {
            f"{key}/{name}": self.optimizer.state[p][key]
            for name, p in self.model.named_parameters()
            for key in self.optimizer.state[p]
        }
        losses = {"losses": torch.stack(self.losses)} if self.losses else {}
        run.unfinished = moments | losses | {"step": torch.tensor(self.step)}
        run.save(path)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> "TrainState":
        """Read what `save` wrote. Raises RunError as `Run.load` does, and ValueError for a run without the state."""
        run = Run.load(path, device=str(pick_device(device)))
        if not run.unfinished:
            raise ValueError(f"{path} holds a finished run and nothing to go on from: use Run.load, or train anew.")
        kept = run.unfinished
        optimizer = _optimizer(run.model, run.train_config)
        for name, p in run.model.named_parameters():
            found = {k.split("/")[0]: v.clone() for k, v in kept.items() if k.endswith(f"/{name}")}
            if found:
                optimizer.state[p] = {k: v.to(p.device) for k, v in found.items()}
        losses = list(kept.get("losses", torch.empty(0)).to(run.model.w_e.device))
        configs = (run.task, run.model_config, run.train_config)
        done = run.provenance
        return cls(
            *configs, run.seed, run.model, optimizer, done["steps"], done["seconds"], run.history, run.snapshots, losses
        )


def fitted(model: ModelConfig, task: ChainTask) -> ModelConfig:
    """The config with the vocabulary and the positions that the task needs."""
    return replace(model, vocab_size=task.vocab_size, n_pos=task.n_pos)


def fit(state: TrainState) -> Iterator[Step]:
    """Train from where `state` stands to the end of its config, one step at a time; on the CPU where a GPU is full."""
    while True:
        try:
            return (yield from _fit(state))
        except torch.OutOfMemoryError as error:
            if state.device.type == "cpu":
                raise
            state.leave_gpu(error)


def _fit(state: TrainState) -> Iterator[Step]:
    cfg, model = state.train_config, state.model
    keep_freed_memory()
    parameters = list(model.parameters())
    supply = Supply(state)
    owed = state.step if state.done else state.step - state.step % cfg.eval_every  # not kept where a GPU was full
    if not state.history or state.history[-1].step < owed:
        state.history.append(supply.measure(state))
        state.losses.clear()
        _keep_snapshot(state)
    index, block = -1, None
    while not state.done:
        began = time.perf_counter()
        if state.step // supply.per_block != index:
            index = state.step // supply.per_block
            block = supply.block(index)
        at = state.step % supply.per_block * cfg.batch_size
        tokens, answer = (x[at : at + cfg.batch_size] for x in block)

        with undivided():  # an interrupt waits for the step and its measurement: nothing is lost or done twice
            lr = learning_rate(cfg, state.step)
            for group in state.optimizer.param_groups:
                group["lr"] = lr
            loss = F.cross_entropy(model(tokens), answer)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, cfg.clip, foreach=True)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            state.step += 1
            state.losses.append(loss.detach())

            measured = None
            if state.step % cfg.eval_every == 0 or state.done:
                measured = supply.measure(state)
                state.history.append(measured)
                state.losses.clear()
            _keep_snapshot(state)
            state.seconds += time.perf_counter() - began
        yield Step(state.step, lr, loss.detach(), measured)


def train(
    task: ChainTask, model: ModelConfig, train_config: TrainConfig | None = None, seed: int = 0, device: str = "auto",
    progress: bool = True,
) -> Run:  # fmt: skip
    """Train from nothing to the end of `train_config`, with a progress bar. An interrupt returns the run so far."""
    state = TrainState.new(task, model, train_config or TrainConfig(), seed, device)
    if not run_to_end(state, progress):
        kept = f"Stopped after {state.step} of {state.train_config.steps} steps; what was learnt is returned."
        tqdm.write(kept, file=sys.stderr)
    return state.as_run()


def run_to_end(state: TrainState, progress: bool = True) -> bool:
    """Train from where `state` stands to its end, with a progress bar. False where Ctrl-C stopped it before."""
    with tqdm(total=state.train_config.steps, initial=state.step, disable=not progress, unit="step") as bar:
        try:
            for step in fit(state):
                bar.update()
                if step.evaluation:
                    bar.set_postfix(test=f"{step.evaluation.test:.3f}", loss=f"{step.evaluation.loss:.3f}")
        except KeyboardInterrupt:
            return False
    return True


def _optimizer(model: Transformer, cfg: TrainConfig) -> torch.optim.AdamW:
    """AdamW with its decay on the parameters that the config names."""
    decayed, rest = ([p for n, p in model.named_parameters() if decays(n, cfg) is yes] for yes in (True, False))
    groups = [{"params": decayed, "weight_decay": cfg.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=cfg.lr, fused=True)


def _keep_snapshot(state: TrainState) -> None:
    if state.step in state.train_config.snapshots:
        state.snapshots[state.step] = {k: v.detach().clone() for k, v in state.model.state_dict().items()}


class Supply:
    """The sequences of one training: what it learns from, in blocks, and what it is measured on."""

    def __init__(self, state: TrainState):
        self.task, self.cfg, self.seed, self.device = state.task, state.train_config, state.seed, state.device
        cfg, n = self.cfg, self.cfg.n_train
        self.per_block = FRESH_BLOCK if n is None else n // cfg.batch_size  # steps
        self.fixed = None if n is None else self._draw(n, cfg.split, "fixed")
        fit = self.fixed or self.block(0)
        splits = {"train": cfg.split, "test": "test" if cfg.split == "train" else "any", "ood": "ood"}
        self.asked: list[Questions] = [(fit[0][: cfg.n_eval], fit[1][: cfg.n_eval])]
        self.asked += [self._draw(cfg.n_eval, split, "held apart", name) for name, split in splits.items()]
        self.ids = torch.arange(1, self.task.n_tokens + 1, device=self.device)

    def block(self, index: int) -> Questions:
        """The next fresh sequences, or an epoch of the fixed set in a new order."""
        if self.fixed is None:
            return self._draw(FRESH_BLOCK * self.cfg.batch_size, self.cfg.split, "batches", index)
        order = torch.randperm(len(self.fixed[1]), generator=seeded(self.seed, "epoch", index)).to(self.device)
        return self.fixed[0][order], self.fixed[1][order]

    def measure(self, state: TrainState) -> Evaluation:
        """What there is to say of the model as it stands."""
        loss = torch.stack(state.losses).mean().item() if state.losses else None
        found = numbers(state.model, self.asked, self.ids).tolist()
        return Evaluation.of(state.step, found, state.model_config.n_layers, loss)

    def _draw(self, n: int, split: str, *purpose: str | int) -> Questions:
        drawn = self.task.sample(n, split, generator=seeded(self.seed, *purpose))
        return drawn.tokens.to(self.device), drawn.answer.to(self.device)


@torch.no_grad()
def accuracy_of(model: Transformer, batch: Batch) -> float:
    """Share of questions whose likeliest token is the answer, in [0, 1]."""
    batch = batch.to(model.w_e.device)
    return (model(batch.tokens).argmax(dim=-1) == batch.answer).float().mean().item()


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that a step frees, for the next step.

    glibc, the C library of most Linux systems, otherwise hands it back to the system and takes it again, page by page:
    a tenth of a small step's time. Elsewhere nothing is changed.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, n_bytes in ((-3, 2**25), (-1, 2**28)):  # M_MMAP_THRESHOLD, at its maximum; M_TRIM_THRESHOLD
            libc.mallopt(option, n_bytes)
