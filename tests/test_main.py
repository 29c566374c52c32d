"""The commands: what they print, what they keep, and one sentence for every request that cannot be met."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import claims_work
import pytest
import sweep_work
import torch

from matchlib import __main__ as command
from matchlib import again, claims, doctor, engines, record, runs, sweep
from matchlib import train as training
from matchlib.cells import Spread
from matchlib.grids import GRIDS
from matchlib.presets import PRESETS, RunSpec
from matchlib.record import Run
from matchlib.verdicts import Comparison

TINY = ["train", "--preset", "tiny", "--device", "cpu"]


def last_json(text: str) -> dict:
    return json.loads(text.splitlines()[-1])


def refused(capsys, *argv: str) -> str:
    """The one sentence that a request is refused with."""
    assert command.main(list(argv)) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.rstrip().endswith(".")
    return err


def test_train_ends_with_its_result_as_json(capsys):
    assert command.main([*TINY, "--seed", "7", "--json"]) == 0
    result = last_json(capsys.readouterr().out)
    assert list(result) == ["test_accuracy", "matching_score", "argmax_score", "ood_accuracy", "steps", "seconds"]
    assert result["steps"] == PRESETS["tiny"].train.steps
    assert len(result["matching_score"]) == len(result["argmax_score"]) == PRESETS["tiny"].model.n_layers - 1
    shares = [result["test_accuracy"], result["ood_accuracy"], *result["matching_score"], *result["argmax_score"]]
    assert all(0 <= share <= 1 for share in shares) and result["seconds"] > 0


def test_the_seed_decides_the_result(capsys):
    found = []
    for seed in ("3", "3", "4"):
        assert command.main([*TINY, "--steps", "4", "--seed", seed, "--json"]) == 0
        result = last_json(capsys.readouterr().out)
        found.append((result["matching_score"], result["test_accuracy"]))
    assert found[0] == found[1] != found[2]


def test_saved_run_is_the_one_that_was_reported(tmp_path, capsys):
    path = tmp_path / "new" / "out"
    assert command.main([*TINY, "--steps", "5", "--seed", "7", "--json", "--save", str(path)]) == 0
    result, run = last_json(capsys.readouterr().out), Run.load(path)
    assert (run.seed, run.train_config.steps, run.provenance["steps"]) == (7, 5, 5)
    assert (
        list(run.history[-1].matching) == result["matching_score"] and run.history[-1].test == result["test_accuracy"]
    )
    assert sorted(p.name for p in path.parent.iterdir()) == ["out.json", "out.safetensors"]


def test_without_json_every_number_has_its_name(capsys):
    assert command.main([*TINY, "--steps", "2"]) == 0
    names = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert names == ["test accuracy", "matching score", "argmax score", "ood accuracy", "steps", "seconds"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["train", "--preset", "huge"], "preset='huge' is not known: choose one of tiny"),
        ([*TINY, "--seed", "-1"], "seed=-1 is negative"),
        ([*TINY, "--seed", "seven"], "Argument --seed: invalid int value: 'seven'"),
        ([*TINY, "--steps", "0"], "steps=0 must be"),
        ([*TINY, "--device", "abacus"], "device='abacus' is not available here"),
        ([*TINY, "--device", "meta"], "device='meta' is not available here"),
        ([*TINY, "--save", "."], "save='.' names no file"),
        ([*TINY, "--save", ""], "save='' names no file"),
        ([*TINY, "--save", "o" * 300], "cannot be written (File name too long)"),
        ([*TINY, "--sede", "1"], "Unrecognized arguments: --sede 1"),
        (["sweep"], "Which grid is to run: give one of tiny, "),
        (["sweep", "nine"], "grid='nine' is not known: choose one of tiny, "),
        (["sweep", "tiny", "--workers", "0"], "workers=0 must be at least 1"),
        (["sweep", "tiny", "--engine", "abacus"], "engine='abacus' is not known"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "The following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_gets_one_sentence(given, sentence, capsys):
    assert sentence in refused(capsys, *given)


def test_a_path_that_cannot_be_written_is_refused_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda state: pytest.fail("trained before the path was tried"))
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, *TINY, "--save", str(tmp_path / "file" / "out"))
    (tmp_path / "out.json").mkdir()
    assert "out.json is a folder" in refused(capsys, *TINY, "--save", str(tmp_path / "out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "out.json"]


def test_a_disk_that_fills_up_still_gets_a_sentence_and_the_result(tmp_path, capsys, monkeypatch):
    def full(path, content, *more):
        if content:
            raise record.RunError(f"{path} cannot be written (No space left on device): free some space.")
        path.touch()

    monkeypatch.setattr(record, "write_whole", full)
    assert command.main([*TINY, "--steps", "2", "--json", "--save", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert last_json(out)["steps"] == 2 and "No space left" in err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_without_save_says_that_nothing_is_kept(capsys, monkeypatch):
    whole = training.fit

    def interrupted(state):
        for step in whole(state):
            yield step
            if step.step == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", interrupted)
    assert command.main([*TINY, "--json"]) == 130
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith("Interrupted after 2 of 60 steps; nothing is kept")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
def test_ctrl_c_keeps_what_was_learnt(tmp_path):
    path = tmp_path / "out"
    argv = [*TINY, "--steps", "1000000", "--save", str(path)]
    # One thread: on a busy machine several wait for each other at every step.
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen([sys.executable, "-m", "matchlib", *argv], stdout=stderr, stderr=stderr, env=env)
        deadline = time.monotonic() + 90
        while "test=" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130, log.read_text()
    said = log.read_text().splitlines()[-1]
    assert said.startswith("Interrupted after ") and "is kept in" in said and "Traceback" not in log.read_text()
    run = Run.load(path)
    assert f"after {run.provenance['steps']} of" in said and run.history[-1].step > 0
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


@pytest.mark.parametrize(("ok", "status"), [(True, 0), (False, 1)])
def test_doctor_prints_a_line_a_check_and_fails_with_any(ok, status, capsys, monkeypatch):
    checks = (doctor.Check("first", ok, "found", "do this"), doctor.Check("second", True, "fine"))
    monkeypatch.setattr(doctor, "diagnose", lambda: iter(checks))
    assert command.main(["doctor"]) == status
    first = "ok   first found" if ok else "FAIL first: found: do this"
    assert capsys.readouterr().out.splitlines() == [first, "ok   second fine"]


def test_an_interrupted_doctor_says_so(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "diagnose", interrupted)
    assert command.main(["doctor"]) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_the_command_starts_as_a_module():
    script = Path(command.__file__).parent.name
    done = subprocess.run([sys.executable, "-m", script, "train", "--preset", "huge"], capture_output=True, text=True)
    assert done.returncode == 2 and "huge" in done.stderr and "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(monkeypatch, capsys):
    """As in `python -m matchlib doctor | head -1`."""

    def closed():
        raise BrokenPipeError

    moved = []
    monkeypatch.setattr(command, "doctor", closed)
    monkeypatch.setattr(os, "dup2", lambda source, target: moved.append(target))
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    assert command.main(["doctor"]) == 0
    assert moved == [1] and capsys.readouterr().err == ""


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """The command that sweeps `tiny` into a folder, with an engine that trains nothing; and the folder."""
    monkeypatch.setitem(sweep.ENGINES, "processes", lambda workers: sweep_work.here)
    return ["sweep", "tiny", "--engine", "processes", "--folder", str(tmp_path)], tmp_path / "tiny.jsonl"


def test_sweep_lists_the_grids(capsys):
    assert command.main(["sweep", "--list"]) == 0
    listed = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(GRIDS)


def test_a_dry_run_says_what_is_left_and_for_how_long(swept, capsys):
    argv, file = swept
    assert command.main([*argv, "--dry-run"]) == 0
    untold = "8 to do, and how long it takes can be told when a run has ended."
    assert capsys.readouterr().out == f"tiny: 8 runs, 0 done, 0 failed, in {file}; {untold}\n"
    specs = GRIDS["tiny"].specs()
    for kept in (*map(sweep_work.measured, specs[:2]), sweep_work.measured(specs[2], "It stopped.")):
        sweep.Ledger(file).append(kept)
    assert command.main([*argv, "--dry-run", "--workers", "5", "--retry-failed"]) == 0
    out, err = capsys.readouterr()
    left = "6 to do, about 7 seconds with 5 at a time (6 seconds a run so far)."
    said = f"tiny: 8 runs, 2 done, 1 failed, in {file} (--retry-failed runs those again); {left}"
    assert (out, err) == (f"{said}\n", "") and len(sweep.load(file)) == 3


def test_sweep_ends_with_what_there_is_and_refuses_to_begin_again(swept, capsys):
    argv, file = swept
    assert command.main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    assert last_json(out) == {"grid": "tiny", "runs": 8, "done": 8, "failed": 0, "file": str(file)}
    assert err.startswith("Engine: ") and len(sweep.load(file)) == 8
    assert command.main(argv) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{file} already holds 8 of the 8 runs of 'tiny': go on with --resume")
    assert command.main([*argv, "--resume"]) == 0
    assert capsys.readouterr().out == f"tiny: 8 runs, 8 done, 0 failed, in {file}.\n"


@pytest.mark.parametrize(("asked", "why"), [([], "for no CUDA device is free"), (["--device", "cpu"], "as asked")])
def test_train_says_where_it_trains_and_why(asked, why, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command.main(["train", "--preset", "tiny", "--steps", "2", *asked]) == 0
    assert f"Training tiny alone on cpu, {why}; 'sweep' trains many." in capsys.readouterr().err


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """A folder of records that no training made, in place of the shipped ones."""
    monkeypatch.setattr(runs, "SHIPPED", claims_work.fill(tmp_path))
    return tmp_path


def test_reproduce_prints_a_claim_with_its_numbers_command_and_records(scored, capsys):
    assert command.main(["reproduce", "--claim", "C2"]) == 0
    out, err = capsys.readouterr()
    said = " ".join(out.split())
    assert out.startswith("C2\n") and "C3" not in out and err == ""
    assert "5 seeds a side, 3,000 steps: better in 4 of 4 settings" in said and "-> reproduced" in said
    assert "records phase.jsonl, longer.jsonl" in said
    assert "command python -m matchlib sweep phase --folder course/runs" in said


def test_reproduce_ends_with_json(scored, capsys):
    assert command.main(["reproduce", "--json"]) == 0
    kept = last_json(capsys.readouterr().out)
    assert list(kept) == ["claims"] and [claim["id"] for claim in kept["claims"]] == list(claims.CLAIMS)


def test_reproduce_refuses_in_one_sentence(scored, capsys):
    assert "claim='C9' is not known: choose one of C1, " in refused(capsys, "reproduce", "--claim", "C9")
    (scored / "noise.jsonl").unlink()
    said = refused(capsys, "reproduce", "--fast")
    assert "noise.jsonl is missing" in said and "sweep noise --folder course/runs" in said


@pytest.fixture
def quickly(scored, monkeypatch):
    """A part of one claim that takes seconds: two short runs of `mini`, held to what they came to before."""
    mini = PRESETS["mini"]
    short = replace(mini, train=replace(mini.train, steps=20, warmup=5, eval_every=10, n_eval=50))
    kept = [engines.train_one(RunSpec(short, seed)) for seed in (1, 2)]
    whole = Comparison({}, Spread((100.0,)), Spread((200.0,)))
    part = again.Part("C2", "one short run against another", (kept[0],), (kept[1],), whole)
    monkeypatch.setattr(again, "parts", lambda folder, only: [part] if only in (None, "C2") else [])
    return part


def test_reproduce_fast_trains_and_says_whether_it_agrees(quickly, capsys):
    assert command.main(["reproduce", "--claim", "C2", "--fast"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("  C2 agrees with the records: one short run against another: silent (effect 0.50)")
    assert last.endswith("2 of 2 runs end in the same kind of solution.")
    assert command.main(["reproduce", "--claim", "C2", "--fast", "--json"]) == 0
    (answer,) = last_json(capsys.readouterr().out)["fast"]
    assert (answer["claim"], answer["agrees"], answer["runs"], answer["same_kind"]) == ("C2", True, 2, 2)


def test_reproduce_fast_fails_where_a_part_does_not_agree(quickly, capsys, monkeypatch):
    monkeypatch.setattr(again, "answer", lambda part, found: again.Answer("C2", False, "it came out otherwise", 2, 0))
    assert command.main(["reproduce", "--claim", "C2", "--fast"]) == 1
    assert "  C2 does not agree with the records: it came out otherwise." in capsys.readouterr().out


def test_reproduce_fast_has_no_small_part_of_a_climb(quickly, capsys):
    assert command.main(["reproduce", "--claim", "C5", "--fast"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "No claim that was asked for has a part to train."


def test_an_interrupted_reproduce_says_what_was_done(quickly, capsys, monkeypatch):
    def stopped(specs):
        yield quickly.a[0]
        raise KeyboardInterrupt

    monkeypatch.setattr(again, "processes", lambda specs, workers: stopped(specs))
    assert command.main(["reproduce", "--claim", "C2", "--fast"]) == 130
    out, err = capsys.readouterr()
    assert "agrees" not in out and "Traceback" not in err
    assert err.splitlines()[-1] == (
        "Interrupted: 1 of 2 runs were trained, 0 of 1 claims can be told; nothing is kept."
    )
