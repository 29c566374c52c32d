"""A class: many kernels on one server, a kernel that is restarted, no network, and a course that cannot be written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import LESSONS, ROOT
from jupyter_page import CELLS, PATIENCE

LEARNERS = int(os.environ.get("MATCHLIB_LEARNERS", "6"))
# The page lists the kernels now and then. While one starts, Jupyter Server may have no time of its last activity and
# answers with an error; the page asks again.
LISTED = re.compile(r"console: Failed to load resource: .* 500 .*/api/kernels\?\d+\)")
# One kernel for each learner, as JupyterLab starts and talks to them; the words that each cell prints, or an error.
RUN = """async ([learners, cells, restart]) => {
    const manager = window.jupyterapp.serviceManager;
    const learn = async name => {
        const session = await manager.sessions.startNew(
            {path: `${name}.ipynb`, name, type: 'notebook', kernel: {name: 'python3'}},
            {kernelConnectionOptions: {handleComms: false}});  // no page shows these kernels' widgets
        const kernel = session.kernel, said = [];
        for (const code of cells) {
            if (code === restart) { await kernel.restart(); continue; }
            let words = '';
            const asked = kernel.requestExecute({code});
            asked.onIOPub = message => {
                if (message.header.msg_type == 'stream') words += message.content.text;
                if (message.header.msg_type == 'error') words += `${message.content.ename}: ${message.content.evalue}`;
            };
            await asked.done;
            said.push(words);
        }
        await session.shutdown();
        return said;
    };
    return await Promise.all(learners.map(learn));
}"""
RESTART = "restart here"
FIRST = LESSONS[0]


@pytest.fixture(scope="module")
def lab(open_notebook):
    """A window of JupyterLab from which kernels are started."""
    opened = open_notebook("")
    opened.page.wait_for_function("window.jupyterapp?.serviceManager.isReady", polling=300, timeout=PATIENCE)
    yield opened
    opened.close()


def code(path: Path) -> list[tuple[str, str]]:
    """The source of each code cell, and the words that it printed when it was committed."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [(cell.source, "".join(o.get("text", "") for o in cell.outputs)) for cell in cells]


def run(lab, learners: list[str], cells: list[str]) -> list[list[str]]:
    lab.page.set_default_timeout(CELLS)
    return lab.page.evaluate(RUN, [learners, cells, RESTART])


def test_learners_who_begin_at_once_all_see_what_is_committed(lab):
    cells = code(FIRST)
    found = run(lab, [f"learner {n}" for n in range(LEARNERS)], [source for source, _ in cells])
    assert len(found) == LEARNERS
    for said in found:
        assert said == [words for _, words in cells]
    assert [complaint for complaint in lab.complaints if not LISTED.fullmatch(complaint)] == []


def test_two_lessons_run_side_by_side(lab):
    """Cells of both in turn, each in a kernel of its own on one server; the second knows nothing of the first."""
    cells = [source for source, _ in code(FIRST)[:4]]
    both = lab.page.evaluate(
        f"async pairs => Promise.all(pairs.map(([name, cells]) => ({RUN})([[name], cells, '{RESTART}'])))",
        [["one", cells], ["other", [code(LESSONS[1])[0][0], "print('panel' in globals())"]]],
    )
    assert both[0][0] == [words for _, words in code(FIRST)[:4]]
    assert both[1][0][-1] == "False\n"


def test_a_kernel_that_is_restarted_goes_on_from_the_start_of_any_section(lab):
    """The first cell, then one section, for some of the first lesson, backwards; test_sections.py reads them all."""
    notebook, first, sections = nbformat.read(FIRST, as_version=4), None, []
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and re.search("^## ", cell.source, re.MULTILINE):
            sections.append([])
        if cell.cell_type == "code":
            first = first or cell.source
            if sections:
                sections[-1].append((cell.source, "".join(o.get("text", "") for o in cell.outputs)))
    cells, wanted = [source for source, _ in code(FIRST)[:3]], [words for _, words in code(FIRST)[:3]]
    for section in [s for s in sections if s][::-2]:
        cells += [RESTART, first, *(source for source, _ in section)]
        wanted += [code(FIRST)[0][1], *(words for _, words in section)]
    assert len(sections) > 4 and run(lab, ["who jumps"], cells) == [wanted]
    assert lab.complaints == []


def test_no_kernel_asked_for_the_network(lab, server):
    """The server's kernels refuse and write down what is asked for; that they do is tried last."""
    assert server.asked.read_text() == ""
    ask = "import urllib.request\nurllib.request.urlopen('http://example.invalid')"
    assert "no network here: example.invalid" in run(lab, ["asks"], [ask])[0][0]
    assert server.asked.read_text() == "example.invalid\n"
    server.asked.write_text("")


READ_ONLY = """
import json, sys
from pathlib import Path
from matchlib import runs
from matchlib.doctor import folders
from matchlib.presets import PRESETS
from matchlib.record import Run
from matchlib.train import train
from matchlib.widgets import AskTheModel

runs.SHIPPED, tiny = Path(sys.argv[1]), PRESETS["tiny"]
panel = AskTheModel(runs.load_or_train("post_g07_s1"))
train(tiny.task, tiny.model, tiny.train, device="cpu", progress=False).save("mine")
print(json.dumps([panel.answered.right, Run.load("mine").history[-1].step, str(folders())]))
"""
# To root no folder is closed. This starts a program as a root that can read everything, and write where a mode lets it.
OBEY = ["setpriv", "--bounding-set=-dac_override"]


@pytest.mark.skipif(os.name != "posix", reason="folders are closed in another way on this system")
def test_a_course_that_cannot_be_written_is_read_and_runs_go_to_the_users_own_folder(tmp_path):
    """A lesson's run is loaded, a new one saved at home, and the doctor says what cannot be written."""
    shipped, home = tmp_path / "runs", tmp_path / "home"
    home.mkdir()
    shipped.mkdir()
    for path in (ROOT / "course" / "runs").glob("post_g07_s1.*"):
        shutil.copy(path, shipped)
    shipped.chmod(0o555)
    obey = OBEY if os.geteuid() == 0 else []
    if obey and (not shutil.which(obey[0]) or subprocess.run([*obey, "true"]).returncode):
        pytest.skip("root may write everywhere, and setpriv cannot change that here")
    command = [*obey, sys.executable, "-c", READ_ONLY, str(shipped)]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    right, steps, folders = json.loads(done.stdout.splitlines()[-1])
    assert right and steps > 0 and (home / "mine.safetensors").exists()
    assert folders.startswith("FAIL folders") and "make the course's folder writable" in folders
    assert {path.suffix for path in shipped.iterdir()} == {".json", ".safetensors"}
