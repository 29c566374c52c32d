"""Whoever ran a lesson's first code cell can go on from the start of any section: nothing that it uses is missing.

Read from the code, not by running it: a name must come from the first cell, from the section itself before it is used,
or from Python. What a function uses must be there at the end of the cell that defines it.
"""

import ast
import builtins
import re
import symtable
from pathlib import Path

import nbformat
import pytest

LESSONS = sorted((Path(__file__).resolve().parent.parent / "course").glob("*.ipynb"))
COMPREHENSIONS = {"listcomp", "setcomp", "dictcomp", "genexpr"}
KNOWN = set(dir(builtins)) | {"__name__"}


def uses(code: str) -> tuple[set[str], set[str], set[str]]:
    """The names that some code needs to run, those that its functions need once they run, and those that it binds."""
    top, walk = symtable.symtable(code, "cell", "exec"), ast.walk(ast.parse(code))
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    bound |= {node.target.id for node in walk if isinstance(node, ast.NamedExpr)}
    now = {s.get_name() for s in top.get_symbols() if s.is_referenced()} - bound
    later: set[str] = set()
    stack = [(child, False) for child in top.get_children()]
    while stack:
        scope, delayed = stack.pop()
        # A comprehension, and the body of a class, run where they stand; a function when it is called.
        delayed = delayed or (scope.get_type() == "function" and scope.get_name() not in COMPREHENSIONS)
        found = {s.get_name() for s in scope.get_symbols() if s.is_global() and s.is_referenced()}
        (later if delayed else now).update(found)
        stack += [(child, delayed) for child in scope.get_children()]
    return now - bound, later, bound


def missing(cells: list[str], there: set[str]) -> list[str]:
    """What these cells use and nobody has bound by then, when the names of `there` are bound before the first."""
    there, found = set(there) | KNOWN, []
    for cell in cells:
        delayed: set[str] = set()
        for statement in ast.parse(cell).body:
            now, later, bound = uses(ast.unparse(statement))
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:  # x = x + 1 needs an x
                now |= uses(ast.unparse(statement.value))[0]
            if isinstance(statement, ast.AugAssign):
                now |= {node.id for node in ast.walk(statement.target) if isinstance(node, ast.Name)}
            found += sorted(now - there)
            there |= bound
            delayed |= later
        found += sorted(delayed - there)
    return list(dict.fromkeys(found))


def sections(notebook) -> tuple[str, dict[str, list[str]]]:
    """The first code cell, and the code cells that stand under each heading of the second level."""
    first, found, title = None, {}, "before the first section"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for line in re.findall(r"^## (.+)$", cell.source, re.MULTILINE):
                title = line
        elif cell.cell_type == "code":
            if first is None:
                first = cell.source
            else:
                found.setdefault(title, []).append(cell.source)
    return first, found


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_every_section_needs_the_first_cell_alone(path):
    first, found = sections(nbformat.read(path, as_version=4))
    assert missing([first], set()) == []
    there = {name for statement in ast.parse(first).body for name in uses(ast.unparse(statement))[2]}
    lacks = {title: names for title, cells in found.items() if (names := missing(cells, there))}
    assert lacks == {}


@pytest.mark.parametrize(
    ("cells", "lacks"),
    [
        (["print(run)"], ["run"]),
        (["y = [x * a for a in range(3)]"], ["x"]),
        (["x = x + 1"], ["x"]),
        (["x += 1"], ["x"]),
        (["x = {}\nx |= {d: [d] for d in (1, 2)}"], []),
        (["print(x)\nx = 1"], ["x"]),
        (["def f():\n    return late\n\n\nf()", "late = 1"], ["late"]),
        (["def f():\n    return late\n\n\nlate = 1\nf()"], []),
        (["for i in range(3):\n    x = i\nprint(x, i)"], []),
        (["import torch.nn as nn", "nn.Linear(1, 1)"], []),
        (["{a: b for a, b in zip('ab', 'cd') if (c := a)}\nprint(c)"], []),
        (["f = lambda z: z + offset"], ["offset"]),
        (["class A:\n    n = size"], ["size"]),
        (["@styled\ndef f(a=start):\n    pass"], ["start", "styled"]),
    ],
)
def test_a_name_that_is_missing_is_seen(cells, lacks):
    assert missing(cells, set()) == lacks


def test_sections_are_told_by_their_headings():
    new = nbformat.v4
    cells = [new.new_code_cell("a"), new.new_code_cell("b"), new.new_markdown_cell("## One\n\n### deeper"),
             new.new_code_cell("c"), new.new_markdown_cell("text\n\n## Two"), new.new_code_cell("d")]  # fmt: skip
    found = sections(new.new_notebook(cells=cells))
    assert found == ("a", {"before the first section": ["b"], "One": ["c"], "Two": ["d"]})
