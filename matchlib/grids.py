"""The named grids: a preset, the fields that are varied, and the seeds. Every sweep of the course is one of these."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from re import fullmatch

from matchlib import noise_rates
from matchlib.presets import PRESETS, Preset, RunSpec
from matchlib.train import fitted

DECIDED_BY_THE_TASK = ("model.vocab_size", "model.n_pos")


@dataclass(frozen=True)
class Grid:
    """Every combination of some values, on every seed. axes: values by field, e.g. {"model.gamma": (0.5, 0.7)}.

    Fields that are joined by "+" take the same value: "model.alpha+model.beta".
    """

    name: str
    about: str  # one line: what is it run for?
    base: Preset
    axes: Mapping[str, Sequence]
    seeds: Sequence[int]

    def __post_init__(self):
        if not isinstance(self.name, str) or not fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"name={self.name!r} must be small letters, digits and '_': it names the records' file.")
        object.__setattr__(self, "axes", {axis: tuple(values) for axis, values in self.axes.items()})
        object.__setattr__(self, "seeds", tuple(self.seeds))
        known = [f"{f.name}.{g.name}" for f in fields(Preset) for g in fields(getattr(self.base, f.name))]
        known = [axis for axis in known if axis not in DECIDED_BY_THE_TASK]
        for axis, values in self.axes.items():
            if not set(axis.split("+")) <= set(known):
                raise ValueError(f"axis={axis!r} is not a field that can vary: choose from {', '.join(known)}.")
            if not values:
                raise ValueError(f"axis={axis!r} has no values: give at least one, or leave it out.")
            if len(set(values)) < len(values):
                raise ValueError(f"axis={axis!r} holds a value twice in {values}: give each once.")
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ValueError(f"seeds={self.seeds!r} must be whole numbers of at least 0: give at least one.")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={self.seeds!r} holds a seed twice: give each once.")
        self.presets()  # a value that its config refuses is refused here, with the config's own sentence

    def presets(self) -> list[Preset]:
        """The settings, the last axis fastest, each with the vocabulary and positions that its task needs."""
        made = []
        for values in product(*self.axes.values()):
            changed = {f.name: {} for f in fields(Preset)}
            for axis, value in zip(self.axes, values):
                for part in axis.split("+"):
                    config, name = part.split(".")
                    changed[config][name] = value
            task, model, train = (replace(getattr(self.base, config), **new) for config, new in changed.items())
            made.append(Preset(task, fitted(model, task), train))
        return made

    def specs(self) -> list[RunSpec]:
        """Every run: the seeds of the first setting, then those of the next."""
        return [RunSpec(preset, seed) for preset in self.presets() for seed in self.seeds]


@dataclass(frozen=True)
class Joined:
    """Several grids as one sweep, in one file: where a setting decides what another field may be."""

    name: str
    about: str
    grids: tuple[Grid, ...]

    def specs(self) -> list[RunSpec]:
        """Every run, grid by grid."""
        return [spec for grid in self.grids for spec in grid.specs()]


LEARNING_RATES, GAMMAS = (3e-3, 5e-3, 8e-3), (0.6, 0.7, 0.8)
_EVERY = (
    Grid("tiny", "does a sweep run here? seconds", PRESETS["tiny"], {"model.gamma": (0.4, 0.6)}, range(4)),
    Grid(
        "selection",
        "how `small` was chosen: learning rate and gamma on three seeds",
        PRESETS["small"],
        {"train.lr": LEARNING_RATES, "model.gamma": GAMMAS},
        range(3),
    ),
    Grid("fresh", "does `small` hold on ten seeds that had no say?", PRESETS["small"], {}, range(100, 110)),
    Grid("seeds", "how often does `small` succeed? a hundred seeds", PRESETS["small"], {}, range(1000, 1100)),
)
VALIDATION = (10, 11)  # seeds that choose learning rates: their chains are in no training and no test of the others
REPORTED = range(100, 105)  # seeds whose tests are reported
RATES, PHASE_GAMMAS = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2), (0.3, 0.5, 0.7, 0.9, 1.1, 1.3)
CONDITIONS = {"train.split": ("train", "any"), "model.d_head": (4, 32)}  # the residue rule; the rank of W_qk and W_vo
ARMS = {"model.noise": ("identity", "gaussian", "orthogonal"), "model.alpha+model.beta": (0.0, 0.3, 1.0)}
_MINI = PRESETS["mini"]
BEST_RATE = {"post": 4e-3, "pre": 4e-3}  # by `tuning`: the highest mean over gamma and seeds
SIZES, DECAYS = (1_000, 10_000, None), (0.01, 0.1, 0.5)


def _placed(name: str, about: str, base: Preset, axes: Mapping[str, Sequence]) -> Joined:
    """Both LayerNorm placements, each at its own learning rate, on the seeds that are reported."""
    grids = (
        Grid(f"{name}_{place}", "", base, {"model.layernorm": (place,), "train.lr": (rate,), **axes}, REPORTED)
        for place, rate in BEST_RATE.items()
    )
    return Joined(name, about, tuple(grids))


_MIDDLE = replace(
    PRESETS["small"],
    model=replace(PRESETS["small"].model, d_model=128, d_mlp=128),
    train=replace(PRESETS["small"].train, batch_size=128, steps=2500),
)
TWO_STARTS = tuple(arm for arm in noise_rates.ARMS if arm[1] != 0.3)
MIDDLE_ARMS = (  # each noise from the start that helped narrow heads most at `mini`
    *((("any", 16), arm) for arm in (("none", 0.0), ("identity", 0.0), ("gaussian", 1.0), ("orthogonal", 1.0))),
    *((("any", 128), arm) for arm in (("none", 0.0), ("orthogonal", 1.0))),
)


def _longer(base: Preset, eval_every: int) -> Preset:
    return replace(base, train=replace(base.train, steps=12_000, eval_every=eval_every))


def _arm(base: Preset, rates: Sequence[float], seeds: Sequence[int], condition: tuple[str, int], arm: tuple) -> Grid:
    """One way to add noise, in one condition."""
    axes = {"train.split": condition[:1], "model.d_head": condition[1:], "model.noise": arm[:1], "train.lr": rates}
    axes |= {} if arm[0] == "none" else {"model.alpha+model.beta": arm[1:]}
    return Grid(f"{arm[0]}_{condition[0]}", "", base, axes, seeds)


def _tuned(name: str, about: str, base: Preset, seeds: Sequence[int], arms: Iterable[tuple]) -> Joined:
    """Some arms, each in its condition, at every learning rate, on validation seeds."""
    return Joined(name, about, tuple(_arm(base, RATES, seeds, *arm) for arm in arms))


def _noise(name: str, about: str, base: Preset, best: Mapping[tuple, float]) -> Joined:
    """Every noise and start of a table at its own learning rate, on the seeds that are reported."""
    return Joined(name, about, tuple(_arm(base, (best[k],), REPORTED, k[:2], k[2:]) for k in best))


def _pair(name: str, axes: Mapping[str, Sequence]) -> tuple[Grid, Grid]:
    """No noise and orthogonal noise that starts at 1, each at the learning rate that suits it without a rule."""
    none = {"model.noise": ("none",), "train.lr": (noise_rates.MINI["any", 4, "none", 0.0],), **axes}
    noise = {"model.noise": ("orthogonal",), "train.lr": (noise_rates.MINI["any", 4, "orthogonal", 1.0],), **axes}
    return Grid(f"{name}_none", "", _MINI, none, REPORTED), Grid(f"{name}_noise", "", _MINI, noise, REPORTED)


_LOW = {  # orthogonal noise where the rank is low
    "train.split": ("any",), "model.d_head": (4,), "model.noise": ("orthogonal",),
    "train.lr": (noise_rates.MINI["any", 4, "orthogonal", 1.0],),
}  # fmt: skip
_EVERY += (
    Grid(
        "tuning",
        "lesson 05: which learning rate suits each LayerNorm? validation seeds",
        _MINI,
        {"model.layernorm": ("post", "pre"), "train.lr": RATES, "model.gamma": PHASE_GAMMAS},
        VALIDATION,
    ),
    _placed(
        "phase",
        "lesson 05: when does matching form? initialisation, LayerNorm, weight decay and data",
        _MINI,
        {"model.gamma": PHASE_GAMMAS, "train.weight_decay": DECAYS, "train.n_train": SIZES},
    ),
    _placed(
        "longer",
        "lesson 05: later, or never? fresh data, four times as long",
        _longer(_MINI, 100),  # as often as `phase`: on a coarser grid the fast ones all look alike
        {"model.gamma": PHASE_GAMMAS},
    ),
    Joined(
        "noise_tuning",
        "lesson 06: which learning rate suits each noise and start? validation seeds",
        (
            Grid("none", "", _MINI, {**CONDITIONS, "train.lr": RATES}, VALIDATION),
            Grid("noise", "", _MINI, {**CONDITIONS, **ARMS, "train.lr": RATES}, VALIDATION),
        ),
    ),
    _noise(
        "noise",
        "lesson 06: every noise and start at its own learning rate, seeds that chose nothing",
        _MINI,
        noise_rates.MINI,
    ),
    _tuned(
        "noise_small_tuning",
        "lesson 06: the same at `small`, with the residue rule: learning rates",
        PRESETS["small"],
        VALIDATION[:1],
        product((("train", 8), ("train", 64)), TWO_STARTS),
    ),
    _noise("noise_small", "lesson 06: the same at `small`, reported", PRESETS["small"], noise_rates.SMALL),
    _tuned(
        "noise_middle_tuning",
        "lesson 06: the same at width 128, without the rule: learning rates",
        _MIDDLE,
        VALIDATION[:1],
        MIDDLE_ARMS,
    ),
    _noise("noise_middle", "lesson 06: the same at width 128, reported", _MIDDLE, noise_rates.MIDDLE),
    Joined(
        "noise_why",
        "lesson 06: is it the rank, the start, the shortcut, the data, the words, or only time?",
        (
            *_pair("rank", {"train.split": ("any",), "model.d_head": (2, 8, 16)}),
            *_pair("words", {"train.split": ("any",), "task.n_tokens": (40, 80)}),
            *_pair("usual", {"train.split": ("any",), "model.gamma": (0.5,), "model.d_head": (4, 32)}),
            *_pair("fixed", {"train.n_train": (10_000,), "model.d_head": (4, 32)}),
            *_pair("pre", {"train.split": ("any",), "model.layernorm": ("pre",)}),
            Grid("read", "", _MINI, {**_LOW, "model.alpha": (1.0,), "model.beta": (0.0,)}, REPORTED),
            Grid("write", "", _MINI, {**_LOW, "model.alpha": (0.0,), "model.beta": (1.0,)}, REPORTED),
            Grid("scale", "", _MINI, {**_LOW, "model.alpha+model.beta": (0.1, 3.0)}, REPORTED),
            Grid("time", "", _longer(_MINI, 400), {"train.split": ("train", "any"), "model.d_head": (4,)}, REPORTED),
        ),
    ),
)
GRIDS: dict[str, Grid | Joined] = {grid.name: grid for grid in _EVERY}


def named_grid(name: str) -> Grid:
    """A grid by name. Raises ValueError for one that is not known."""
    if name not in GRIDS:
        raise ValueError(f"grid={name!r} is not known: choose one of {', '.join(GRIDS)}.")
    return GRIDS[name]
