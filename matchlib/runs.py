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
from matchlib.train import pick_device, train

SHIPPED = Path(__file__).resolve().parent.parent / "course" / "runs"


def _spec(seed: int = 0, model: dict | None = None, train: dict | None = None) -> RunSpec:
    base = PRESETS["small"]
    return RunSpec(Preset(base.task, replace(base.model, **(model or {})), replace(base.train, **(train or {}))), seed)


SNAPSHOTS = (0, 200, 400, 500, 600, 700, 750, 800, 850, 900, 950, 1000, 1050, 1100, 1200, 1350, 1500)
RUNS: dict[str, RunSpec] = {
    "post_g07": _spec(train={"snapshots": SNAPSHOTS}),
    **{f"post_g07_s{seed}": _spec(seed) for seed in (1, 2, 3, 4)},
    **{f"pre_g07_s{seed}": _spec(seed, model={"layernorm": "pre"}) for seed in (0, 1, 2)},
    **{f"post_g03_s{seed}": _spec(seed, model={"gamma": 0.3}) for seed in (0, 1, 2)},
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
    run = train(spec.preset.task, spec.preset.model, spec.preset.train, spec.seed, device, progress)
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
