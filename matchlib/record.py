"""What a training was asked to do, what was measured on the way, and both on disk.

A run is two files: NAME.safetensors (weights, and snapshots on the way) and NAME.json (configs, seed, history,
provenance, and the checksum of the first). Each is written to a temporary file beside its place and then renamed, so
an interrupt or a full disk leaves what stood there before. Nothing is ever pickled.
"""

import hashlib
import json
import os
import platform
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from importlib.metadata import version
from math import cos, pi
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer

FORMAT = "matchlib run 1"


@dataclass(frozen=True)
class TrainConfig:
    """How to train: AdamW with linear warm-up from `lr_start` to `lr`, then a cosine to `lr_end`.

    n_train: sequences of a fixed training set, drawn once and reshuffled every epoch; None draws fresh ones each step.
    split: the chains to train on, "train" or "any". decay: weight decay on "matrices" (attention and MLP, so that the
    embeddings of tokens that training never shows keep their start values) or on "all" parameters.
    eval_every, n_eval: measure every so many steps, on so many sequences a split, drawn apart from training.
    snapshots: steps at which the weights are kept.
    """

    steps: int = 1500
    batch_size: int = 256
    lr: float = 3e-3
    lr_start: float = 0.0
    lr_end: float = 0.0
    warmup: int = 300
    weight_decay: float = 0.1
    decay: str = "matrices"
    clip: float = 1.0
    n_train: int | None = 20_000
    split: str = "train"
    eval_every: int = 50
    n_eval: int = 1_000
    snapshots: tuple[int, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "snapshots", tuple(self.snapshots))
        for name in ("steps", "batch_size", "eval_every", "n_eval"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be a whole number of at least 1.")
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be greater than 0.")
        for name in ("lr_start", "lr_end", "warmup", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must not be negative.")
        if self.decay not in ("matrices", "all"):
            raise ValueError(f"decay={self.decay!r} is not known: choose 'matrices' or 'all'.")
        if self.split not in ("train", "any"):
            raise ValueError(f"split={self.split!r} is not for training: choose 'train' or 'any'.")
        if any(type(step) is not int or step < 0 for step in self.snapshots):
            raise ValueError(f"snapshots={self.snapshots} must be whole numbers of at least 0: steps of the training.")
        if self.n_train is not None and (type(self.n_train) is not int or self.n_train < self.batch_size):
            raise ValueError(f"n_train={self.n_train!r} must be None or at least batch_size={self.batch_size}.")


def learning_rate(cfg: TrainConfig, step: int) -> float:
    """Linear from lr_start to lr over `warmup` steps, then half a cosine that would reach lr_end at step `steps`."""
    if step < cfg.warmup:
        return cfg.lr_start + (cfg.lr - cfg.lr_start) * (step + 1) / cfg.warmup
    along = (step - cfg.warmup) / max(1, cfg.steps - cfg.warmup)
    return cfg.lr_end + (cfg.lr - cfg.lr_end) * (1 + cos(pi * along)) / 2


def decays(name: str, cfg: TrainConfig) -> bool:
    """Whether weight decay acts on a parameter: all of them, or the matrices of attention and MLP alone."""
    return cfg.decay == "all" or ".w_" in name


@dataclass(frozen=True)
class Evaluation:
    """What was measured after `step` updates. Accuracies and scores lie in [0, 1]."""

    step: int
    loss: float  # mean training loss since the last evaluation; at step 0, of the first sequences
    fit: float  # accuracy on training sequences that the optimiser sees
    train: float  # on fresh chains of the training split
    test: float  # on chains whose edges training never shows
    ood: float  # on chains of tokens that training never shows (all but two)
    matching: tuple[float, ...]  # matching score of layers 1, 2, ... over the tokens 1..n_tokens
    argmax: tuple[float, ...]  # argmax score of the same layers and tokens
    alpha: tuple[float, ...] = ()  # with noise: its scalars in W_qk of layers 1, 2, ...
    beta: tuple[float, ...] = ()  # and in W_vo of layers 0, 1, ...

    @classmethod
    def of(cls, step: int, found: Sequence[float], n_layers: int, loss: float | None = None) -> "Evaluation":
        """From what `probe.numbers` found on fit, train, test, ood. loss: None takes the one that stands in `found`."""
        first, accuracy, end = found[0], found[1:5], 5 + 2 * (n_layers - 1)
        scores, alpha, beta = found[5:end], found[end : end + n_layers - 1], found[end + n_layers - 1 :]
        first = first if loss is None else loss
        return cls(step, first, *accuracy, *map(tuple, (scores[::2], scores[1::2], alpha, beta)))


class RunError(Exception):
    """A run that cannot be saved, read or trusted: the message says what to do."""


@dataclass(eq=False)
class Run:
    """A trained model with all that is known of how it came to be."""

    task: ChainTask
    model_config: ModelConfig
    train_config: TrainConfig
    seed: int
    model: Transformer
    history: list[Evaluation]
    snapshots: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)
    unfinished: dict[str, Tensor] = field(default_factory=dict)  # what a training needs to go on (see TrainState.save)

    @property
    def name(self) -> str:
        return run_name(self.task, self.model_config, self.train_config, self.seed)

    @property
    def configs(self) -> dict:
        return {"task": asdict(self.task), "model": asdict(self.model_config), "train": asdict(self.train_config)}

    def at(self, step: int) -> Transformer:
        """The model as it stood after `step` updates. Raises KeyError where no snapshot was kept."""
        if step not in self.snapshots:
            raise KeyError(f"No snapshot of step {step} was kept: choose one of {sorted(self.snapshots)}.")
        model = Transformer(self.model_config, generator=torch.Generator())
        model.load_state_dict(self.snapshots[step])
        return model.to(self.model.w_e.device)

    def save(self, path: str | Path) -> None:
        """Write PATH.safetensors and PATH.json. Raises RunError where the disk refuses."""
        tensors = {f"model/{k}": v.cpu().contiguous() for k, v in self.model.state_dict().items()}
        for step, state in self.snapshots.items():
            tensors |= {f"snapshot/{step}/{k}": v.cpu().contiguous() for k, v in state.items()}
        tensors |= {f"unfinished/{k}": v.cpu().contiguous() for k, v in self.unfinished.items()}
        weights = dump_tensors(tensors)
        record = {
            "format": FORMAT,
            "seed": self.seed,
            **self.configs,
            "history": [asdict(e) for e in self.history],
            "provenance": self.provenance,
            "sha256": hashlib.sha256(weights).hexdigest(),
        }
        base = Path(path)
        text = (json.dumps(record, indent=1) + "\n").encode()
        write_whole(base.with_name(base.name + ".safetensors"), weights, (base.with_name(base.name + ".json"), text))

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "Run":
        """Read what `save` wrote. Raises RunError for files that are missing, truncated, foreign or not of one run."""
        base = Path(path)
        try:
            record = json.loads(base.with_name(base.name + ".json").read_text())
            weights = base.with_name(base.name + ".safetensors").read_bytes()
        except FileNotFoundError as error:
            raise RunError(f"There is no run at {base}: {Path(error.filename).name} is missing.") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{base}.json cannot be read ({error}): restore it, or train the run again.") from None
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise RunError(f"{base}.json is not a run of this course ({FORMAT!r}): choose another file.")
        if hashlib.sha256(weights).hexdigest() != record.get("sha256"):
            raise RunError(
                f"{base}.safetensors is not what {base.name}.json describes, or cut short: train the run again."
            )
        try:
            config = {"task": ChainTask, "model": ModelConfig, "train": TrainConfig}
            task, model_config, train_config = (make(made, record[key]) for key, made in config.items())
            tensors = load_tensors(weights)
            model = Transformer(model_config, generator=torch.Generator())
            model.load_state_dict({k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")})
            history = [make(Evaluation, e) for e in record["history"]]
            snapshots: dict[int, dict[str, Tensor]] = {}
            for key, tensor in tensors.items():
                if key.startswith("snapshot/"):
                    _, step, name = key.split("/", 2)
                    snapshots.setdefault(int(step), {})[name] = tensor
            snapshots = dict(sorted(snapshots.items()))
            rest = {k.removeprefix("unfinished/"): v for k, v in tensors.items() if k.startswith("unfinished/")}
            seed, provenance = record["seed"], record["provenance"]
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
            why = str(error).splitlines()[0]  # torch lists every parameter that does not fit
            raise RunError(
                f"{base}.json and its weights do not fit this version ({why}): train the run again."
            ) from None
        return cls(task, model_config, train_config, seed, model.to(device), history, snapshots, provenance, rest)


def make(made: type, values: dict):
    """A frozen dataclass from what JSON kept of it: lists are tuples again."""
    return made(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def run_name(task: ChainTask, model: ModelConfig, train: TrainConfig, seed: int) -> str:
    """A name that differs wherever a config or the seed does: what one wants to read, then a hash of it all.

    A field at its default is left out of the hash: a field that is added later changes no name of an older run.
    """
    changed = [
        {f.name: getattr(c, f.name) for f in fields(c) if getattr(c, f.name) != f.default} for c in (task, model, train)
    ]
    configs = json.dumps([*changed, seed], sort_keys=True)
    hops = "-".join(map(str, task.all_hops))
    return (
        f"{task.kind}_e{task.n_edges}_h{hops}_L{model.n_layers}_d{model.d_model}_{model.layernorm}_g{model.gamma:g}"
        f"_s{seed}_{hashlib.sha256(configs.encode()).hexdigest()[:8]}"
    )


def differences(asked, found) -> list[str]:
    """What sets two configs of one class apart, as 'field: asked X, found Y'."""
    assert is_dataclass(asked) and type(asked) is type(found)
    pairs = [(f.name, getattr(asked, f.name), getattr(found, f.name)) for f in fields(asked)]
    return [f"{name}: asked {a!r}, found {b!r}" for name, a, b in pairs if a != b]


def provenance(device: torch.device, seconds: float) -> dict:
    """Where, with what and how long: versions, device, threads, wall time in seconds."""
    return {
        **{name: version(name) for name in ("matchlib", "torch", "numpy")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 2),
    }


@contextmanager
def undivided() -> Iterator[None]:
    """Let Ctrl-C wait until the block has ended: what belongs together is done whole or not at all."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread is ever interrupted
        yield
        return
    waiting = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    if waiting:
        signal.raise_signal(signal.SIGINT)


def write_whole(path: Path, content: bytes, *more: tuple[Path, bytes]) -> None:
    """Write a file, or several that belong together, so that the old or the new content stands there, complete.

    All are on disk before the first takes its place: a disk that fills up at the second leaves the first as it was.
    Raises RunError with the reason where one cannot be written; the temporary files are gone in any case.
    """
    files = [(p, p.with_name(f".{p.name}.{os.getpid()}.tmp"), c) for p, c in ((path, content), *more)]
    try:
        for path, temporary, content in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        with undivided():  # an interrupt must not come between the two files of a run
            for path, temporary, _ in files:
                os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror}): free some space or choose another folder."
        ) from None
    finally:
        for _, temporary, _ in files:
            if os.path.exists(temporary):  # not where its folder is a file, or its name too long
                temporary.unlink()
