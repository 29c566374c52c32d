"""The named runs of the course: loaded where they are shipped, trained where they are not.

    run = load_or_train("post_g07")        MATCHLIB_RETRAIN=1 trains every one anew
    python -m matchlib.runs [NAME ...]     makes those (or all) that are missing from course/runs/

A shipped run is used only if its configs and seed are the ones asked for.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from warnings import warn

from matchlib.presets import PRESETS, Preset, RunSpec
from matchlib.record import Run, RunError, differences
from matchlib.train import fitted, pick_device, train

SHIPPED = Path(__file__).resolve().parent.parent / "course" / "runs"


def _spec(seed: int = 0, model: dict | None = None, train: dict | None = None, task: dict | None = None) -> RunSpec:
    """`small`, with some fields changed."""
    base = PRESETS["small"]
    asked = replace(base.task, **(task or {}))
    net = fitted(replace(base.model, **(model or {})), asked)
    return RunSpec(Preset(asked, net, replace(base.train, **(train or {}))), seed)


def _deep(hops: int, steps: int, seed: int) -> RunSpec:
    """One hop more for each layer more; 20 tokens and no residue rule, so that so small a model learns it."""
    task, model = {"hops": hops, "n_tokens": 20}, {"n_layers": hops + 1}
    return _spec(seed, model, {"steps": steps, "split": "any"}, task)


SNAPSHOTS = (0, 200, 400, 500, 600, 700, 750, 800, 850, 900, 950, 1000, 1050, 1100, 1200, 1350, 1500)
RUNS: dict[str, RunSpec] = {
    "post_g07": _spec(train={"snapshots": SNAPSHOTS}),
    **{f"post_g07_s{seed}": _spec(seed) for seed in (1, 2, 3, 4, 5, 6)},
    **{f"pre_g07_s{seed}": _spec(seed, model={"layernorm": "pre"}) for seed in (0, 1, 2)},
    **{f"post_g03_s{seed}": _spec(seed, model={"gamma": 0.3}) for seed in (0, 1, 2)},
    # For lesson 04: one that knows its training sequences by heart, and deeper ones for more hops.
    "memoriser": _spec(model={"gamma": 0.3}, train={"n_train": 2_000, "steps": 1_200}),
    **{f"hops3_L4_s{seed}": _deep(3, 3_000, seed) for seed in (0, 1, 2)},
    **{f"hops4_L5_s{seed}": _deep(4, 3_000, seed) for seed in (0, 1, 2)},
}


_retrained: set[str] = set()  # MATCHLIB_RETRAIN=1 trains a run once a process, however often a lesson asks for it


def load_or_train(name: str, device: str = "cpu", progress: bool = True) -> Run:
    """A named run of the course, from course/runs/ or trained now (and then kept there, where that can be written).

    Raises ValueError for an unknown name, RunError for files that are damaged or of another run.
    """
    if name not in RUNS:
        raise ValueError(f"run={name!r} is not a run of the course: choose one of {', '.join(RUNS)}.")
    spec, path = RUNS[name], SHIPPED / name
    retrain = os.environ.get("MATCHLIB_RETRAIN") == "1" and name not in _retrained
    if not retrain and path.with_name(f"{name}.json").exists():
        run = Run.load(path, device=str(pick_device(device)))
        check(run, spec, name)
        return run
    run = train(*spec.parts, device, progress)
    if run.provenance["steps"] < spec.preset.train.steps:  # interrupted, so not what the name stands for
        raise KeyboardInterrupt(f"The training of {name!r} was stopped; nothing of it is kept.")
    _retrained.add(name)
    try:
        run.save(path)
    except RunError as error:
        warn(f"{name} is trained but only this process has it: {error}", stacklevel=2)
    return run


def check(run: Run, spec: RunSpec, name: str) -> None:
    """Raises RunError where a run is not the one that its name stands for."""
    wanted = spec.preset
    pairs = ((wanted.task, run.task), (wanted.model, run.model_config), (wanted.train, run.train_config))
    found = [d for asked, kept in pairs for d in differences(asked, kept)]
    found += [f"seed: asked {spec.seed}, found {run.seed}"] if run.seed != spec.seed else []
    if found:
        raise RunError(f"The run {name!r} was made otherwise ({'; '.join(found)}): MATCHLIB_RETRAIN=1 trains it anew.")


if __name__ == "__main__":
    for name in sys.argv[1:] or RUNS:
        print(name)
        load_or_train(name)
