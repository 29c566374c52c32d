"""exercises/ is what solutions/ makes, gives nothing away, and runs from top to bottom with nothing filled in."""

import json
import re

import checks_work as work
import nbformat
import pytest

from matchlib import __main__ as command
from matchlib import exercises

LESSONS = sorted(work.SOLUTIONS)


def notebook(*sources: str, tags=(), outputs=(), kind="code") -> dict:
    cells = []
    for i, source in enumerate(sources):
        cell = {"cell_type": kind, "id": f"c{i}", "metadata": {"tags": list(tags)}, "source": source.splitlines(True)}
        cells.append(cell | ({"execution_count": 1, "outputs": list(outputs)} if kind == "code" else {}))
    return {"cells": cells, "metadata": {"secret": "follow it"}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def house(tmp_path):
    """A folder of solutions with one notebook, and where its exercises go."""
    (tmp_path / "solutions").mkdir()
    source = "def f(x):\n    ### BEGIN SOLUTION: double it\n    return 2 * x\n    ### END SOLUTION\n"
    (tmp_path / "solutions" / "00_a.ipynb").write_text(json.dumps(notebook(source)))
    return tmp_path / "solutions", tmp_path / "exercises"


def test_the_exercises_are_what_the_solutions_make():
    assert LESSONS and exercises.differing() == {}, "run python -m matchlib exercises, and commit what it makes"
    for path in work.EXERCISES.values():
        made = nbformat.read(path, as_version=4)
        nbformat.validate(made)
        assert f"solutions/{path.name}" in made.cells[0].source and made.cells[0].source.startswith("*Made from")


@pytest.mark.parametrize("number", LESSONS)
def test_an_exercise_gives_nothing_away(number):
    text = work.EXERCISES[number].read_text(encoding="utf-8")
    made = nbformat.reads(text, as_version=4)
    shown = "\n".join(cell.source for cell in made.cells)
    hidden = 0
    for source in work.code_cells(work.SOLUTIONS[number]):
        for block in re.findall(r"### BEGIN SOLUTION.*?\n(.*?)### END SOLUTION", source, re.DOTALL):
            lines = [line.strip() for line in block.splitlines() if len(line.strip()) > 12]
            secret = [line for line in lines if line not in shown]
            assert secret or block.strip().startswith("return "), "all of this solution stands elsewhere on the page"
            assert not any(json.dumps(line)[1:-1] in text for line in secret)
            hidden += 1
    assert hidden >= 3
    for cell in made.cells:
        assert set(cell.metadata) == set() and cell.get("execution_count") is None
        assert not cell.get("outputs"), "a figure that a solution draws gives it away"
    assert set(made.metadata) == {"kernelspec", "language_info"} and made.metadata.language_info == {"name": "python"}


@pytest.mark.parametrize("number", LESSONS)
def test_an_empty_exercise_runs_through(number):
    """Every cell runs; every stub raises its sentence; every check says it, and not a traceback."""
    path = work.EXERCISES[number]
    names, printed = work.run(path)
    stubs, asked = {}, set()
    for source, out in zip(work.code_cells(path), printed):
        stubs |= work.todos_in(source)
        for name, given in work.asked_in(source):
            asked.add(name)
            assert out in {f"not yet: {stubs[f]}\n" for f in given}, "a check stands alone in its cell"
    assert len(asked) >= 3 and {f for s in work.code_cells(path) for _, fs in work.asked_in(s) for f in fs} == set(
        stubs
    )
    for name, todo in stubs.items():
        arguments = names[name].__code__.co_argcount
        with pytest.raises(NotImplementedError, match=re.escape(todo)):
            names[name](*[None] * arguments)


@pytest.mark.parametrize("number", LESSONS)
def test_an_exercise_says_what_it_takes(number):
    """Each has what a learner will be able to do, its difficulty, its minutes, hints in folds and what to notice."""
    made = nbformat.read(work.EXERCISES[number], as_version=4)
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    parts = re.split(r"^## (?=\d · )", text, flags=re.MULTILINE)[1:]
    asked = [name for cell in made.cells if cell.cell_type == "code" for name, _ in work.asked_in(cell.source)]
    assert len(parts) == len(asked) and 3 <= len(parts) <= 6
    assert sum("*find out*" in part.splitlines()[0] for part in parts) >= 2
    for part in parts:
        assert re.search(r"\*\*Difficulty\*\* [1-5] of 5\. \*\*Minutes\*\* \d+\.", part), part.splitlines()[0]
        for needed in ("**You will be able to**", "<summary>Hint 1</summary>", "<summary>What a good answer notices"):
            assert needed in part, (part.splitlines()[0], needed)
        assert part.count("<details>") == part.count("</details>")


def test_a_solution_becomes_a_stub():
    source = 'def f(x):\n    y = 1\n    ### BEGIN SOLUTION: say "é"\n    y = x\n    ### END SOLUTION\n    return y'
    assert exercises.stubs(source) == 'def f(x):\n    y = 1\n    raise NotImplementedError("say \\"é\\"")\n    return y'
    assert exercises.stubs("x = 1\n\n# a line") == "x = 1\n\n# a line"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f():\n    ### BEGIN SOLUTION: x\n    pass", "has no END"),
        ("def f():\n    pass\n    ### END SOLUTION", "has no partner"),
        ("def f():\n    ### BEGIN SOLUTION: x\n    ### BEGIN SOLUTION: y\n    ### END SOLUTION", "has no partner"),
        ("def f():\n    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION", "says nothing"),
        ("### BEGIN SOLUTION: x\ny = 1\n### END SOLUTION", "outside a function"),
        ("def f():\n    ## BEGIN SOLUTION: x\n    pass", "is no marker"),
    ],
)
def test_a_bad_marker_is_refused(source, said, house):
    with pytest.raises(ValueError, match=said):
        exercises.stubs(source)
    (house[0] / "00_a.ipynb").write_text(json.dumps(notebook(source)))
    with pytest.raises(ValueError, match=f"00_a.ipynb, cell 0: .*{said}"):
        exercises.make(False, *house)
    assert not house[1].exists()


def test_what_stays_of_a_cell():
    text = {"output_type": "stream", "name": "stdout", "text": "42"}
    data = {"image/png": "AAAA", "text/plain": "42"}
    picture = {"output_type": "execute_result", "execution_count": 1, "data": data, "metadata": {"x": "42"}}
    for tags in ((), ("expected",)):
        cell = notebook("f(1)", tags=tags, outputs=[text, picture])["cells"][0]
        made = exercises.made_cell(cell, "here")
        assert made["outputs"] == [] and "42" not in json.dumps(made) and "AAAA" not in json.dumps(made)
    assert exercises.made_cell(notebook("f(1)", tags=["solution"])["cells"][0], "here") is None
    words = exercises.made_cell(notebook("# Why?", kind="markdown")["cells"][0], "here")
    assert words == {"cell_type": "markdown", "id": "c0", "metadata": {}, "source": ["# Why?"]}


def test_make_and_check(house, capsys):
    source, place = house
    assert exercises.make(True, source, place) == 1 and not place.exists()
    assert capsys.readouterr().out == "exercises/00_a.ipynb is missing.\n"
    assert exercises.make(False, source, place) == 0 and exercises.make(True, source, place) == 0
    path = place / "00_a.ipynb"
    first = path.read_bytes()
    assert b"double it" in first and b"2 * x" not in first and b"follow it" not in first
    path.write_bytes(first.replace(b"double", b"treble"))
    (place / "01_b.ipynb").write_bytes(first)
    capsys.readouterr()
    assert exercises.make(True, source, place) == 1
    assert capsys.readouterr().out == (
        "exercises/00_a.ipynb differs from its solution.\nexercises/01_b.ipynb has no solution that makes it.\n"
    )
    assert exercises.make(False, source, place) == 0 and path.read_bytes() == first
    assert (place / "01_b.ipynb").exists() and "remove it" in capsys.readouterr().out


def test_a_learners_work_is_never_written_over(house):
    source, place = house
    exercises.make(False, source, place)
    path = place / "00_a.ipynb"
    mine = path.read_bytes().replace(b'"execution_count": null', b'"execution_count": 3')
    path.write_bytes(mine)
    with pytest.raises(ValueError, match="00_a.ipynb holds work of yours"):
        exercises.make(False, source, place)
    assert path.read_bytes() == mine


def test_the_command(monkeypatch, house, capsys):
    monkeypatch.setattr(exercises.make, "__defaults__", (False, *house))
    assert command.main(["exercises", "--check"]) == 1 and "00_a.ipynb is missing" in capsys.readouterr().out
    assert command.main(["exercises"]) == 0 and (house[1] / "00_a.ipynb").exists()
    assert command.main(["exercises", "--check"]) == 0
    (house[0] / "00_a.ipynb").write_text(json.dumps(notebook("### BEGIN SOLUTION: x")))
    capsys.readouterr()
    assert command.main(["exercises"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "outside a function" in err
