"""The notebooks of exercises/, made from those of solutions/, so that there is one source of both.

In a code cell of a solution, inside a function,

    ### BEGIN SOLUTION: return the token that stands two steps on
    ...
    ### END SOLUTION

becomes `raise NotImplementedError("return the token that stands two steps on")`. Every output goes, pictures too: what
a cell draws of a solution gives it away. A cell with the tag `solution` goes as a whole. Of the metadata only the
kernel's name stays, so that nothing of a solution can be found in it.
"""

import json
import re
from pathlib import Path

from matchlib.record import write_whole

SOURCE = Path(__file__).resolve().parent.parent / "solutions"
PLACE = SOURCE.with_name("exercises")
BEGIN, END = re.compile(r"^( *)### BEGIN SOLUTION\b:?(.*)$"), re.compile(r"^ *### END SOLUTION\s*$")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
NOTE = (
    "*Made from `solutions/{name}` by `python -m matchlib exercises`: to change an exercise, change that file. "
    "To solve it, write here.*"
)


def stubs(source: str, where: str = "a cell") -> str:
    """The code of a cell with a stub in place of each solution.

    Raises ValueError for a marker without its partner, without its sentence, or outside a function.
    """
    kept, inside = [], False
    for line in source.splitlines():
        begin, end = BEGIN.match(line), END.match(line)
        if not (begin or end) and "SOLUTION" in line and line.lstrip().startswith("#"):
            raise ValueError(f"{where}: {line.strip()!r} is no marker: write '### BEGIN SOLUTION: ...' or its end.")
        if bool(begin) and inside or bool(end) and not inside:
            raise ValueError(f"{where}: {line.strip()!r} has no partner: give each BEGIN one END, in this order.")
        if begin:
            indent, todo = begin[1], begin[2].strip()
            if not todo:
                raise ValueError(f"{where}: a BEGIN says nothing: write '### BEGIN SOLUTION: what to do'.")
            if not indent:
                raise ValueError(f"{where}: a solution outside a function would stop the notebook: put it in a def.")
            kept.append(f"{indent}raise NotImplementedError({json.dumps(todo, ensure_ascii=False)})")
        inside = not end and (inside or bool(begin))
        if not inside and not end:
            kept.append(line)
    if inside:
        raise ValueError(f"{where}: a BEGIN SOLUTION has no END.")
    return "\n".join(kept)


def made_cell(cell: dict, where: str) -> dict | None:
    """A cell as the learner gets it; None for one that is a solution as a whole."""
    tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
    if "solution" in tags:
        return None
    kept = {"cell_type": cell["cell_type"], "id": cell["id"], "metadata": {}}
    if cell["cell_type"] == "code":
        source = stubs(source, where)
        kept |= {"execution_count": None, "outputs": []}
    return kept | {"source": source.splitlines(keepends=True)}


def made(solution: Path) -> bytes:
    """The exercise notebook of a solution: the same bytes every time. Raises ValueError for bad markers."""
    try:
        notebook = json.loads(solution.read_text(encoding="utf-8"))
        cells = [made_cell(cell, f"{solution.name}, cell {i}") for i, cell in enumerate(notebook["cells"])]
    except KeyError as missing:
        raise ValueError(f"{solution.name} is no notebook of format 4.5: it lacks {missing}.") from None
    note = {"cell_type": "markdown", "id": "made", "metadata": {}, "source": [NOTE.format(name=solution.name)]}
    cells = [note, *(cell for cell in cells if cell is not None)]
    whole = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def worked_in(path: Path) -> bool:
    """Has somebody run a cell of this exercise? Then it is theirs."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError):
        return False
    return any(cell.get("execution_count") for cell in cells)


def differing(source: Path = SOURCE, place: Path = PLACE) -> dict[str, str]:
    """The files of `place` that are not what `source` makes: name and what is wrong. Raises ValueError for markers."""
    wanted = {path.name: made(path) for path in sorted(source.glob("*.ipynb"))}
    found = {path.name: path.read_bytes() for path in sorted(place.glob("*.ipynb"))}
    wrong = dict.fromkeys(found, "has no solution that makes it")
    wrong |= {name: "differs from its solution" if name in found else "is missing" for name in wanted}
    return {name: what for name, what in sorted(wrong.items()) if wanted.get(name) != found.get(name)}


def make(check: bool = False, source: Path = SOURCE, place: Path = PLACE) -> int:
    """Make what is missing or differs, a line each; or with `check` say so alone, and return 1 where anything is.

    Raises ValueError for bad markers, and before writing where an exercise has been worked in; RunError for a disk.
    """
    wrong = differing(source, place)
    if check:
        for name, what in wrong.items():
            print(f"{place.name}/{name} {what}.")
        return int(bool(wrong))
    write = [name for name in wrong if (source / name).exists()]
    if mine := [name for name in write if (place / name).exists() and worked_in(place / name)]:
        raise ValueError(
            f"{', '.join(mine)} holds work of yours, which would be lost: move it to another folder first."
        )
    for name in write:
        write_whole(place / name, made(source / name))
        print(f"{place.name}/{name} is made.")
    for name in sorted(set(wrong) - set(write)):
        print(f"{place.name}/{name} has no solution that makes it: remove it, or move it to another folder.")
    return 0
