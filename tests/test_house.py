"""The house rules that a machine can hold: floors, sizes, pins, one test command, and words that must not appear."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

import matchlib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((ROOT / "matchlib").glob("*.py"))
FILES = [path for path in PACKAGE if path.name != "__init__.py"]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
NOTEBOOKS = sorted(path for place in ("course", "solutions", "exercises") for path in (ROOT / place).glob("*.ipynb"))
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
UNSAFE_NAMES = {"torch.load", "torch.save", "joblib.load", "joblib.dump", "joblib.Memory", "joblib.memory"}
# Written so that this file does not match itself.
NOWHERE = {
    "a path of one machine": r"/(?:wor[k]|tm[p]|roo[t]|hom[e]|User[s])/\w|[A-Z]:\\User[s]",
    "a registry's address": r"pyp[i]\.org|pythonhoste[d]|download\.pytorc[h]\.org",
    "an issue's number": r"(?i)\bissu[e]s?\s+#?\d|\(#\d+\)",
}
NOT_FOR_READERS = {"the word for a sitting at work": r"(?i)\bsessio[n]s?\b"}


def floors(table: str) -> dict[str, int]:
    """The floor of each file of a '| floor | `file` | sentence |' table."""
    return {name: int(floor) for floor, name in re.findall(r"^\| (\d+) \| `(\w+\.py)` \| .+ \|$", table, re.MULTILINE)}


def imports(source: str) -> set[str]:
    """The dotted names that some code, anywhere in it, imports when it runs: not those for type checkers alone."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "write imports in full, from matchlib.… import …"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return found


def climbs(name: str, source: str, floor_of: dict[str, int]) -> list[str]:
    """The imports of a file that do not go down."""
    inside = {f"{n.split('.')[1]}.py" for n in imports(source) if n.startswith("matchlib.")}
    return sorted(other for other in inside & set(floor_of) if floor_of[other] >= floor_of[name])


def is_unsafe(name: str) -> bool:
    return any(name == unsafe or name.startswith(f"{unsafe}.") for unsafe in UNSAFE_NAMES)


def unsafe(source: str) -> list[str]:
    """Where some code could run what it reads from a file."""
    found = sorted(n for n in imports(source) if n.split(".")[0] in UNSAFE_MODULES or is_unsafe(n))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_unsafe(ast.unparse(node)):
            found.append(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found.append("allow_pickle")
    return found


def pins() -> dict[str, str]:
    """The version of each distribution that requirements.txt pins, by its normalised name."""
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    found = [line.split("==") for line in lines if line and line != "-e ."]
    assert all(len(pin) == 2 and re.fullmatch(r"[\w.]+", pin[1]) for pin in found), found
    return {normal(name): version for name, version in found}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def known() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def distributions(top: str) -> set[str]:
    """The installed distributions that a top-level import can come from."""
    return {normal(name) for name in known().get(top, [top])}


def unpinned(source: str) -> list[str]:
    """The distributions that some code imports and requirements.txt does not pin."""
    tops = {name.split(".")[0] for name in imports(source)} - set(sys.stdlib_module_names) - {"matchlib", "__main__"}
    tops -= {path.stem for path in TESTS}  # what several test files share
    wanted = {top: distributions(top) for top in tops}
    return sorted(top for top, names in wanted.items() if not names & set(pins()))


def code_of(path: Path) -> str:
    """Python as it stands in a file, or in the cells of a notebook, without magics."""
    if path.suffix == ".py":
        return path.read_text()
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    lines = "\n".join("".join(cell["source"]) for cell in cells).splitlines()
    return "\n".join("pass" if re.match(r"[%!]", line) else line for line in lines)


def text_of(path: Path) -> str:
    """All that a reader can see in a file; pictures left out."""
    return re.sub(r'"image/png": "[^"]*"', "", path.read_text())


def words_in(text: str, forbidden: dict[str, str]) -> list[str]:
    return [f"{what}: {hit[0]!r}" for what, pattern in forbidden.items() for hit in [re.search(pattern, text)] if hit]


def test_the_map_names_every_file_once():
    named = re.findall(r"^\| \d+ \| `(\w+\.py)`", matchlib.__doc__, re.MULTILINE)
    assert sorted(named) == [path.name for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_go_down(path):
    floor_of = floors(matchlib.__doc__)
    assert climbs(path.name, path.read_text(), floor_of) == [], f"{path.name} stands on floor {floor_of[path.name]}"


def test_an_import_that_climbs_is_seen():
    floor_of = {"model.py": 1, "hooks.py": 2, "train.py": 5, "record.py": 5}
    for source in (
        "from matchlib.train import fit",
        "def f():\n    import matchlib.train",
        "from matchlib import train",
    ):
        assert climbs("hooks.py", source, floor_of) == ["train.py"]
        assert climbs("record.py", source, floor_of) == ["train.py"], "the same floor is not below"
    assert climbs("hooks.py", "from matchlib.model import Transformer\nimport torch", floor_of) == []
    assert climbs("hooks.py", "if TYPE_CHECKING:\n    from matchlib.train import Step", floor_of) == []


def test_the_package_itself_defines_its_version_alone():
    tree = ast.parse((ROOT / "matchlib" / "__init__.py").read_text())
    assigned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert assigned == {"__version__"} and matchlib.__version__ == metadata.version("matchlib")
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body)


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: path.name)
def test_a_file_is_short_and_never_runs_what_it_reads(path):
    assert len(path.read_text().splitlines()) <= 300, "over 300 lines: look for the second idea"
    assert unsafe(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from joblib import load", "import joblib\njoblib.dump(1, 'x')",
     "from joblib.memory import Memory", "from joblib import Memory, Parallel", "from torch import load",
     "import torch\ntorch.save({}, 'x')",
     "import numpy as np\nnp.load('x', allow_pickle=True)"],
)  # fmt: skip
def test_code_that_runs_what_it_reads_is_seen(source):
    assert unsafe(source)
    assert not unsafe("import torch\nfrom safetensors.torch import load, save\nrun.save('x')")
    assert not unsafe("from joblib import Parallel, delayed")


def test_every_declared_package_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normal(re.match(r"[\w.-]+", line)[0]) for line in project["dependencies"]}
    assert declared <= set(pins()), sorted(declared - set(pins()))
    assert "-e ." in (ROOT / "requirements.txt").read_text().splitlines()
    for path in PACKAGE:
        tops = {n.split(".")[0] for n in imports(path.read_text())} - set(sys.stdlib_module_names) - {"matchlib"}
        missing = sorted(top for top in tops if not distributions(top) & declared)
        assert missing == [], f"{path.name} imports what pyproject.toml does not declare"


@pytest.mark.parametrize("path", PACKAGE + TESTS + NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_import_is_pinned(path):
    assert unpinned(code_of(path)) == [], "pin it in requirements.txt"


def test_an_import_without_a_pin_is_seen():
    assert unpinned("import sklearn.svm, torch, os\nfrom no_such_package import x") == ["no_such_package", "sklearn"]


def test_the_readme_names_the_command_that_is_run():
    blocks = re.findall(r"```(?:bash|sh)?\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    commands = [line.strip() for block in blocks for line in block.splitlines() if "pytest" in line]
    last = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.strip()][-1]
    assert commands and commands[0] == last


def test_the_readme_shows_the_same_floors():
    assert floors((ROOT / "README.md").read_text()) == floors(matchlib.__doc__) != {}


@pytest.mark.parametrize(
    "path",
    [
        *(ROOT / name for name in ("README.md", "requirements.txt", "pyproject.toml", ".ci/run")),
        *PACKAGE,
        *TESTS,
        *NOTEBOOKS,
    ],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_nothing_of_the_workshop_is_left_lying(path):
    text = text_of(path)
    assert words_in(text, NOWHERE) == []
    if path not in TESTS:
        assert words_in(text, NOT_FOR_READERS) == []


def test_what_must_not_lie_about_is_seen():
    joined = "".join  # in halves, so that this file does not show what it forbids
    paths = (("see /wor", "k/main"), ("C:", "\\Users\\me"))
    for halves in (*paths, ("py", "pi.org"), ("issu", "e 12"), ("done (#", "3)")):
        assert words_in(joined(halves), NOWHERE), halves
    assert words_in(joined(("in this sessio", "n")), NOT_FOR_READERS)
    assert words_in("a path course/runs, a work of #000000", NOWHERE | NOT_FOR_READERS) == []
