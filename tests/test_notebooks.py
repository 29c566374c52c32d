"""The notebooks are what a reader and nbval need: run in order, outputs kept, nothing hidden from the comparison.

nbval compares only cells that have an execution count, ignores pictures, and lets an unknown %magic pass: so an emptied
notebook would pass it. These guards, each shown to bite at the end, see to the rest.
"""

import copy
import re
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, comment_markers, metadata_tags

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted((ROOT / "course").glob("*.ipynb"))
NOTEBOOKS = LESSONS + sorted((ROOT / "solutions").glob("*.ipynb"))
RAISING = {"nbval-raises-exception", "raises-exception"}
REASON, VIEW = "not_compared", "application/vnd.jupyter.widget-view+json"
SEALED = re.compile(r"^\D*$|^[^:]*:$|^<Picture")  # a first line that tells no number: a head, a title, a picture
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"} | RAISING
PICTURES = {"application/vnd.jupyter.widget-view+json", "image/png", "image/svg+xml"}
MAGICS = {"matplotlib", "config"}
# What differs from one machine, or one run, to the next.
UNSTABLE = {
    "a time": re.compile(r"\d\s?(ms|µs|us|s|sec|secs|seconds?|min|minutes?)\b|\d\s?(it|steps?)/s|\b\d\d:\d\d\b"),
    "a device": re.compile(r"\b(cuda|cpu|gpu|mps|nvidia)\b", re.IGNORECASE),
    "a path": re.compile(r"(^|[\s'\"(=])(/[\w.-]+){2,}|[A-Z]:\\\w"),
    "an address in memory": re.compile(r"\b0x[0-9a-fA-F]{6,}"),
}


def tags_of(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def compared(notebook) -> list:
    """The code cells whose text output nbval holds to what is committed."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and not tags_of(cell) & UNCOMPARED and any(texts_of(cell, beside_pictures=False))
    ]


def texts_of(cell, beside_pictures: bool = True) -> list[str]:
    """Every text among the outputs of a code cell; the words that stand in for a picture only if asked for."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        if not beside_pictures and PICTURES & set(data):
            continue
        found += [output["text"]] if "text" in output else [v for k, v in data.items() if k.startswith("text/")]
    return found


def complaints(notebook) -> list[str]:
    """Everything that is wrong with a notebook, as one sentence each."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    counts = [cell.execution_count for cell in code]
    if not code or counts != list(range(1, len(code) + 1)):
        found.append(f"The execution counts are {counts}: run it from top to bottom, and commit the outputs.")
    if "widgets" in notebook.metadata:
        found.append("metadata.widgets is there: GitHub calls such a notebook invalid.")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("The kernelspec is not python3.")
    if not compared(notebook):
        found.append("No cell is compared: show a number.")
    for number, cell in enumerate(code, start=1):
        found += [f"Code cell {number}: {complaint}" for complaint in complaints_of_cell(cell)]
    return found


def unfolded(notebook) -> list[str]:
    """What follows a **Predict** is folded away until its cell runs, and nothing else is; a panel never is."""
    asked, found = None, []
    for cell in [*notebook.cells, nbformat.v4.new_markdown_cell("**Predict**")]:
        if cell.cell_type == "markdown" and "**Predict" in cell.source:
            found += [f"Below {asked!r} no output is folded (jupyter.outputs_hidden)."] if asked else []
            asked = cell.source[-60:]
        elif cell.metadata.get("jupyter", {}).get("outputs_hidden"):
            found += [] if asked else [f"The output of {cell.source[:60]!r} is folded, and no **Predict** is above it."]
            found += [f"Folded, it gives away {line!r}." for line in first_line(cell) if not SEALED.search(line)]
            found += ["A panel is folded away."] if any(VIEW in o.get("data", {}) for o in cell.outputs) else []
            asked = None
    return found


def first_line(cell) -> list[str]:
    """What JupyterLab shows beside the fold: the first line of the first output."""
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs[:1]]
    return [text.split("\n")[0] for text in texts]


def complaints_of_cell(cell) -> list[str]:
    found, lines = [], [line.strip() for line in cell.source.splitlines()]
    of_nbval = {tag for tag in tags_of(cell) if tag in metadata_tags or tag.startswith("nbval")}
    if of_nbval - UNCOMPARED:
        found.append(f"the tags {sorted(of_nbval - UNCOMPARED)} are not among {sorted(UNCOMPARED)}.")
    if bool(of_nbval) != bool(re.match(r"\w", cell.metadata.get(REASON, ""))):
        found.append(
            f"the metadata {REASON!r} must give a reason for the tags {sorted(of_nbval)}, and for nothing else."
        )
    if any(line.lstrip("# ") in comment_markers for line in lines if line.startswith("#")):
        found.append("a comment steers nbval: use a tag, and say why.")
    if "execution" in cell.metadata:
        found.append("its metadata holds the times of a run: execute with record_timing=False.")
    if any(o.output_type == "error" for o in cell.outputs) and not of_nbval & RAISING:
        found.append("its output is an error.")
    for line in lines:
        magic = re.match(r"%%?(\w+)|!\w", line)
        if magic and magic[1] not in MAGICS:
            found.append(f"{line!r} is a magic or a shell command: nbval passes those that do not exist.")
    if not of_nbval & UNCOMPARED:
        for what, pattern in UNSTABLE.items():
            hits = [hit[0].strip() for text in texts_of(cell) for hit in [pattern.search(text)] if hit]
            found += [f"its output shows {what} ({hit!r}), which differs elsewhere." for hit in hits]
    return found


def test_there_is_something_to_check():
    assert LESSONS, "course/ holds no notebook: the comparison would be empty"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_notebook_is_in_order(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert complaints(notebook) + (unfolded(notebook) if path in LESSONS else []) == []
    assert path.stat().st_size < 2_000_000, "over 2 MB: fewer or smaller pictures"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_lesson_opens_with_its_question_its_minutes_and_its_needs(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    for what, pattern in {"question": r"\?", "minutes": r"\d\s*min|minutes\D{1,20}\d", "needs": r"\bneeds?\b"}.items():
        assert re.search(pattern, first.source, re.IGNORECASE), f"the first cell does not give its {what}"


def test_shipped_runs_stay_small():
    total = sum(path.stat().st_size for path in (ROOT / "course" / "runs").rglob("*") if path.is_file())
    assert total <= 20_000_000, f"course/runs holds {total / 1e6:.1f} MB, more than 20"


def test_the_whole_command_runs_every_notebook(request):
    """`pytest` without a path collects each code cell of each lesson, under --nbval and not its lax form."""
    chosen = [vars(request.config.option).get(name) for name in ("keyword", "markexpr", "deselect", "lf", "stepwise")]
    if set(request.config.args) != set(request.config.getini("testpaths")) or any(chosen):
        pytest.skip("only a part of the tests was asked for")
    assert request.config.option.nbval and not request.config.option.nbval_lax
    found = {path: 0 for path in LESSONS}
    for item in request.session.items:
        if isinstance(item, IPyNbCell) and item.path in found:
            found[item.path] += 1
    written = {path: sum(c.cell_type == "code" for c in nbformat.read(path, as_version=4).cells) for path in LESSONS}
    assert found == written and sum(found.values()) > 0


# Each guard bites: a notebook in order, and what is said when one thing about it is broken.


def in_order():
    new = nbformat.v4
    output = new.new_output("stream", name="stdout", text="accuracy 0.99\n")
    nothing = new.new_code_cell("x = 1", execution_count=2)
    cells = [new.new_markdown_cell("# Why?"), new.new_code_cell("show()", execution_count=1, outputs=[output]), nothing]
    return new.new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})


def shows(text: str):
    def change(notebook):
        notebook.cells[1].outputs[0]["text"] = text

    return change


PREDICT = nbformat.v4.new_markdown_cell("**Predict** it.")
PANEL = nbformat.v4.new_output("display_data", data={VIEW: {}})


def folded(notebook) -> list:
    """The cells, with a question before the first that shows something, and its output folded away."""
    notebook.cells.insert(1, PREDICT)
    notebook.cells[2].metadata["jupyter"] = {"outputs_hidden": True}
    return notebook.cells


def is_tagged(*tags: str, source: str = "show()", reason: str | None = None):
    def change(notebook):
        metadata = {"tags": list(tags)} | ({} if reason is None else {REASON: reason})
        notebook.cells[2].update(metadata=nbformat.from_dict(metadata), source=source)

    return change


def says(source: str):
    return is_tagged(source=source)


BROKEN = {
    "stripped": (lambda n: n.cells[1].update(execution_count=None), "execution counts are [None, 2]"),
    "run out of order": (lambda n: n.cells[1].update(execution_count=3), "execution counts are [3, 2]"),
    "no code": (lambda n: n.update(cells=n.cells[:1]), "execution counts are []"),
    "times": (lambda n: n.cells[1].metadata.update(execution={}), "times of a run"),
    "widgets": (lambda n: n.metadata.update(widgets={}), "metadata.widgets"),
    "kernel": (lambda n: n.metadata.kernelspec.update(name="matchlib-env"), "kernelspec"),
    "nothing compared": (lambda n: n.cells[1].update(outputs=[]), "No cell is compared"),
    "all ignored": (
        lambda n: n.cells[1].update(metadata={"tags": ["nbval-ignore-output"], REASON: "random"}),
        "No cell is compared",
    ),
    "unknown tag": (is_tagged("nbval-chek-output"), "['nbval-chek-output'] are not among"),
    "tag without a reason": (is_tagged("nbval-ignore-output"), "must give a reason for the tags"),
    "an empty reason": (is_tagged("nbval-skip", reason=" "), "must give a reason for the tags"),
    "a reason without a tag": (is_tagged(reason="random"), "and for nothing else"),
    "an answer below its question": (
        lambda n: n.cells.insert(1, PREDICT),
        "Below '**Predict** it.' no output is folded",
    ),
    "two questions": (lambda n: (folded(n), n.cells.insert(1, PREDICT)), "Below '**Predict** it.' no output is folded"),
    "folded for nothing": (lambda n: (folded(n), n.cells.pop(1)), "is folded, and no **Predict** is above it"),
    "a fold that tells": (lambda n: folded(n), "Folded, it gives away 'accuracy 0.99'"),
    "a folded panel": (lambda n: folded(n)[2].update(outputs=[PANEL]), "A panel is folded away"),
    "comment marker": (says("# NBVAL_SKIP\nshow()"), "a comment steers nbval"),
    "error": (
        lambda n: n.cells[2].update(outputs=[nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])]),
        "its output is an error",
    ),
    "magic": (says("%tiem show()"), "'%tiem show()' is a magic"),
    "cell magic": (says("%%capture\nshow()"), "'%%capture' is a magic"),
    "shell": (says("!pip list"), "'!pip list' is a magic"),
    "time": (shows("trained in 12.3 s"), "shows a time ('3 s')"),
    "progress": (shows("1500/1500 [00:21<00:00]"), "shows a time"),
    "device": (shows("trained on CUDA"), "shows a device"),
    "beside a picture": (
        lambda n: n.cells[1].update(
            outputs=[
                nbformat.v4.new_output(
                    "display_data", data={"image/png": "", "text/plain": "<Panel at 0x7f72b4d78a50>"}
                ),
                nbformat.v4.new_output("stream", name="stdout", text="accuracy 0.99\n"),
            ]
        ),
        "shows an address in memory",
    ),
    "only a picture": (
        lambda n: n.cells[1].update(
            outputs=[nbformat.v4.new_output("display_data", data={"image/png": "", "text/plain": "<Figure>"})]
        ),
        "No cell is compared",
    ),
    "path": (shows("saved to /data/mine/out.json"), "shows a path"),
    "address": (shows("<object at 0x7f72b4d78a50>"), "shows an address in memory"),
}


def test_a_notebook_in_order_gets_no_complaint():
    assert complaints(in_order()) == []
    explained = in_order()
    is_tagged("nbval-ignore-output", "hide-input", reason="a widget")(explained)
    shows("Of 1,000 questions:\naccuracy 0.99\n")(explained)
    folded(explained)
    assert complaints(explained) + unfolded(explained) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_notebook_gets_its_complaint(name):
    change, expected = BROKEN[name]
    notebook = copy.deepcopy(in_order())
    change(notebook)
    found = complaints(notebook) + unfolded(notebook)
    assert any(expected in complaint for complaint in found), found
