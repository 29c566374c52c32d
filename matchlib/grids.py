"""The named grids: a preset, the fields that are varied, and the seeds. Every sweep of the course is one of these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from re import fullmatch

from matchlib.presets import PRESETS, Preset, RunSpec
from matchlib.train import fitted

DECIDED_BY_THE_TASK = ("model.vocab_size", "model.n_pos")


@dataclass(frozen=True)
class Grid:
    """Every combination of some values, on every seed. axes: values by field, e.g. {"model.gamma": (0.5, 0.7)}."""

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
            if axis not in known:
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
                config, name = axis.split(".")
                changed[config][name] = value
            task, model, train = (replace(getattr(self.base, config), **new) for config, new in changed.items())
            made.append(Preset(task, fitted(model, task), train))
        return made

    def specs(self) -> list[RunSpec]:
        """Every run: the seeds of the first setting, then those of the next."""
        return [RunSpec(preset, seed) for preset in self.presets() for seed in self.seeds]


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
GRIDS: dict[str, Grid] = {grid.name: grid for grid in _EVERY}


def named_grid(name: str) -> Grid:
    """A grid by name. Raises ValueError for one that is not known."""
    if name not in GRIDS:
        raise ValueError(f"grid={name!r} is not known: choose one of {', '.join(GRIDS)}.")
    return GRIDS[name]
