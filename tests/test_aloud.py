"""The record of models that write and of models asked at once: made, gone on with, read, and what it says."""

from dataclasses import replace
from statistics import median

import pytest

from matchlib import aloud
from matchlib.aloud import HOPS, JOBS, MODEL, ONE_PASS, SEEDS, SHIPPED_WAY, TASK, Job, Told, load, main, make, tell
from matchlib.record import Run, RunError
from matchlib.runs import SHIPPED
from matchlib.train import seeded
from matchlib.writing import WAYS, score, write

FEW_JOBS = (Job("shifted", 7), Job("few", 7), Job(ONE_PASS, 7, 2))


@pytest.fixture
def short(monkeypatch):
    """Trainings of two steps, and a list of those that were made."""
    train = replace(aloud.TRAIN, steps=2, batch_size=4, eval_every=1, n_eval=10, warmup=1)
    monkeypatch.setattr(aloud, "TRAIN", train)
    monkeypatch.setattr(aloud, "AT_ONCE", replace(train, eval_every=2))
    monkeypatch.setattr(aloud, "N", 20)
    monkeypatch.setattr(aloud, "N_CAUSES", 10)
    monkeypatch.setattr(aloud, "EXPERIMENTS", ["another edge"])
    made, tell_one = [], aloud.tell
    monkeypatch.setattr(aloud, "tell", lambda job: made.append(job) or tell_one(job))
    return made


@pytest.fixture(scope="module")
def shipped():
    return load()


def test_a_record_is_read_as_it_was_written_and_what_is_there_is_not_made_again(short, tmp_path):
    first = make(FEW_JOBS, tmp_path, progress=False)
    assert load(tmp_path / "aloud.jsonl") == first == make(FEW_JOBS, tmp_path, progress=False)
    assert short == list(FEW_JOBS)


def test_a_record_that_was_stopped_goes_on_and_lacks_nothing_that_ended(short, tmp_path, monkeypatch, capsys):
    tell_one = aloud.tell
    monkeypatch.setattr(aloud, "JOBS", FEW_JOBS)
    monkeypatch.setattr(aloud, "make", lambda folder: make(FEW_JOBS, folder, progress=False))

    def stopped(job: Job):
        if job.way == "few":
            raise KeyboardInterrupt
        return tell_one(job)

    monkeypatch.setattr(aloud, "tell", stopped)
    assert main([str(tmp_path)]) == 130
    assert "The same command goes on from there" in capsys.readouterr().out
    assert [told.job for told in load(tmp_path / "aloud.jsonl")] == [FEW_JOBS[0]]
    monkeypatch.setattr(aloud, "tell", tell_one)
    assert main([str(tmp_path)]) == 0
    assert [told.job for told in load(tmp_path / "aloud.jsonl")] == list(FEW_JOBS)
    assert short == list(FEW_JOBS)


def test_a_line_made_with_other_settings_is_refused(short, tmp_path, monkeypatch, capsys):
    make(FEW_JOBS, tmp_path, progress=False)
    monkeypatch.setattr(aloud, "SIZES", replace(aloud.SIZES, gamma=0.9))
    monkeypatch.setattr(aloud, "make", lambda folder: make(FEW_JOBS, folder, progress=False))
    assert main([str(tmp_path)]) == 1
    assert "'shifted, seed 7', made with other settings: delete the file" in capsys.readouterr().out


def test_a_model_that_is_gone_is_made_again_with_its_line(short, tmp_path):
    make(FEW_JOBS, tmp_path, progress=False)
    (tmp_path / "aloud.json").unlink()
    make(FEW_JOBS, tmp_path, progress=False)
    assert short == [*FEW_JOBS, FEW_JOBS[0]] and Run.load(tmp_path / "aloud").seed == 7


def test_a_record_that_cannot_be_read_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match="There is no record at .*: make it with 'python -m matchlib.aloud'"):
        load(tmp_path / "aloud.jsonl")
    (tmp_path / "aloud.jsonl").write_text('{"job": 3}\n')
    with pytest.raises(RunError, match="cannot be read .*: delete it and make it again"):
        load(tmp_path / "aloud.jsonl")


def test_at_once_a_model_is_asked_for_the_node_so_many_steps_on(short):
    told, run = tell(Job(ONE_PASS, 7, 3))
    assert run.task.all_hops == (3,) and run.model_config.n_layers == 2 and len(told.score.reached) == 1
    batch = run.task.sample(20, "any", generator=seeded(7, "aloud"))
    assert told.score.reached[0] == int((run.model(batch.tokens).argmax(-1) == batch.path[:, 3]).sum())


def test_the_shipped_record_is_complete_and_says_where_it_comes_from(shipped):
    assert [told.job for told in shipped] == list(JOBS) and len(SEEDS) >= 3
    for told in shipped:
        assert told.configs == aloud.configs(told.job)
        assert {"torch", "device", "seconds", "threads", "python"} <= set(told.provenance)
        assert told.provenance["steps"] == told.configs["train"]["steps"] and told.score.n == aloud.N
        assert (told.job.way == ONE_PASS) == (not told.findings)
        assert (told.job.way == "few") == (told.lent is not None)


def test_the_shipped_model_writes_what_its_line_says(shipped):
    told = next(t for t in shipped if t.job == Job(SHIPPED_WAY, SEEDS[0]))
    run = Run.load(MODEL)
    assert run.configs == Run(run.task, run.model_config, aloud.TRAIN, run.seed, run.model, []).configs
    assert sum(MODEL.with_name(f"aloud.{end}").stat().st_size for end in ("json", "safetensors")) <= 500_000
    batch = TASK.sample(aloud.N, "any", generator=seeded(SEEDS[0], "aloud"))[:500]
    found = score(batch, write(run.model, batch.tokens, TASK.hops))
    assert found.accuracy == pytest.approx(told.score.accuracy, abs=0.03)
    assert MODEL.parent == SHIPPED


def test_writing_carries_further_than_any_single_pass(shipped):
    written = [t.score.accuracy[-1] for t in shipped if t.job.way == "all"]
    at_once = {
        hops: [t.score.accuracy[0] for t in shipped if t.job == replace(t.job, way=ONE_PASS, hops=hops)]
        for hops in HOPS
    }
    assert median(written) >= 0.9 and median(at_once[1]) >= 0.9
    assert all(max(at_once[hops]) < 0.5 for hops in HOPS if hops > 1)


def test_every_experiment_was_made_on_every_model_that_writes(shipped):
    for told in shipped:
        assert [f.name for f in told.findings] == (list(aloud.EXPERIMENTS) if told.job.way in WAYS else [])


def test_one_line_of_text_a_training_without_losing_a_number(shipped):
    assert "\n" not in shipped[0].line and Told.read(shipped[0].line) == shipped[0]
