"""Where the records of the course lie, and the command that makes each of them again."""

from pathlib import Path

from matchlib.archive import packed
from matchlib.ledger import Record, load
from matchlib.record import Evaluation, Run, RunError
from matchlib.runs import RUNS


def command_for(name: str) -> str:
    """The command that makes a record of the course again."""
    stem, kind = name.split(".")
    by_module = {name: name for name in ("selection", "findings", "aloud")}
    by_module |= {"fresh": "selection", "climbs": "climb", "scaffold": "scaffold_train", "beyond": "beyond_train"}
    if stem in by_module:
        return f"python -m matchlib.{by_module[stem]}"
    if kind == "json":
        return "python -m matchlib.runs"
    pack = "" if stem == "seeds" else " --pack"
    return f"python -m matchlib sweep {stem} --folder course/runs{pack}"


def place(folder: Path, name: str) -> Path:
    """Where a record lies. Raises RunError, which names the command that makes it, where there is none."""
    if not (folder / name).exists() and not packed(folder / name).exists():
        raise RunError(f"{name} is missing from {folder}: make it with '{command_for(name)}'.")
    return folder / name


def records(folder: Path, name: str) -> list[Record]:
    return load(place(folder, name))


def named(group: str) -> tuple[str, ...]:
    """The files of the shipped runs of one setting."""
    return tuple(f"{name}.json" for name in RUNS if name.startswith(group))


def histories(folder: Path, group: str) -> dict[str, list[Evaluation]]:
    """What the shipped runs of one setting measured, by name."""
    paths = [place(folder, name).with_suffix("") for name in named(group)]
    return {path.name: Run.load(path).history for path in paths}
