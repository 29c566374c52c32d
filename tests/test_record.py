"""Runs on disk: what comes back is what was saved, and nothing is left half-written whatever goes wrong."""

import builtins
import errno
import hashlib
import json
import os
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.record import Evaluation, Run, RunError, TrainConfig, differences, run_name, write_whole

TASK = ChainTask("ordered", 3, (1, 2), 12)
MODEL = ModelConfig(3, 8, 4, 8, 2, TASK.vocab_size, TASK.n_pos, "pre", 0.6)
TRAIN = TrainConfig(steps=20, batch_size=4, n_train=None, snapshots=(0, 10))


def a_run(seed: int = 0) -> Run:
    weights = [Transformer(MODEL, generator=torch.Generator().manual_seed(seed + i)) for i in range(3)]
    history = [Evaluation(s, 1 / (s + 3), 0.1, 0.2, 0.3, 0.4, (0.1, 1 / 7), (0.0, 1.0)) for s in (0, 10, 20)]
    snapshots = {step: weights[i].state_dict() for i, step in enumerate((0, 10))}
    return Run(TASK, MODEL, TRAIN, seed, weights[2], history, snapshots, {"device": "cpu", "seconds": 1.5})


def same_weights(one, two) -> bool:
    return set(one) == set(two) and all(torch.equal(one[k], two[k]) for k in one)


def test_what_comes_back_is_what_was_saved(tmp_path):
    run = a_run()
    run.save(tmp_path / "deep" / "one.v2")
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["one.v2.json", "one.v2.safetensors"]
    back = Run.load(tmp_path / "deep" / "one.v2")
    for name in ("task", "model_config", "train_config", "seed", "history", "provenance", "name", "configs"):
        assert getattr(back, name) == getattr(run, name), name
    assert same_weights(back.model.state_dict(), run.model.state_dict())
    assert list(back.snapshots) == [0, 10]
    for step in (0, 10):
        assert same_weights(back.at(step).state_dict(), run.snapshots[step])
    tokens = TASK.sample(5, generator=torch.Generator().manual_seed(1)).tokens
    assert torch.equal(back.model(tokens), run.model(tokens))
    assert not torch.equal(back.at(0)(tokens), back.at(10)(tokens))


def test_a_second_save_replaces_the_first(tmp_path):
    a_run(0).save(tmp_path / "one")
    a_run(5).save(tmp_path / "one")
    assert Run.load(tmp_path / "one").seed == 5


def test_a_step_without_a_snapshot_is_refused():
    with pytest.raises(KeyError, match=r"No snapshot of step 5 was kept: choose one of \[0, 10\]"):
        a_run().at(5)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def change_json(path: Path, change) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda j, w: j.unlink(), "There is no run at .*: one.json is missing"),
        (lambda j, w: w.unlink(), "There is no run at .*: one.safetensors is missing"),
        (lambda j, w: truncate(w), "one.safetensors is not what one.json describes, or cut short: train the run again"),
        (lambda j, w: truncate(j), "one.json cannot be read .* restore it, or train the run again"),
        (lambda j, w: j.write_bytes(b""), "one.json cannot be read"),
        (lambda j, w: j.write_bytes(b"\xff\xfe\x00"), "one.json cannot be read"),
        (lambda j, w: j.write_text("[1, 2]"), "one.json is not a run of this course"),
        (lambda j, w: j.write_text('{"epochs": 3}'), "one.json is not a run of this course"),
        (lambda j, w: change_json(j, lambda r: r.update(format="matchlib run 99")), "is not a run of this course"),
        (lambda j, w: change_json(j, lambda r: r.pop("history")), "do not fit this version .*'history'"),
        (lambda j, w: change_json(j, lambda r: r["model"].update(d_model=16)), "do not fit this version"),
        (lambda j, w: change_json(j, lambda r: r["model"].update(width=16)), "do not fit this version .*width"),
        (lambda j, w: change_json(j, lambda r: r["task"].update(kind="tree")), "do not fit this version .*kind='tree'"),
        (lambda j, w: save_file({"x": torch.zeros(2)}, w), "one.safetensors is not what one.json describes"),
    ],
)
def test_a_damaged_or_foreign_run_gives_one_sentence(tmp_path, damage, sentence):
    a_run().save(tmp_path / "one")
    damage(tmp_path / "one.json", tmp_path / "one.safetensors")
    with pytest.raises(RunError, match=sentence) as caught:
        Run.load(tmp_path / "one")
    assert caught.value.__context__ is None or caught.value.__suppress_context__, "a second traceback would be shown"


def test_halves_of_two_runs_are_no_run(tmp_path):
    a_run(0).save(tmp_path / "one")
    a_run(5).save(tmp_path / "two")
    os.replace(tmp_path / "two.safetensors", tmp_path / "one.safetensors")
    with pytest.raises(RunError, match="one.safetensors is not what one.json describes"):
        Run.load(tmp_path / "one")


def break_at(monkeypatch, where: str, nth: int, error: BaseException) -> None:
    """Let the n-th call of a system function fail, as a full disk or an interrupt would."""
    owner = builtins if where == "open" else os
    real, calls = getattr(owner, where), []

    def failing(target, *args, **kwargs):
        if where != "open" or "w" in (args[0] if args else kwargs.get("mode", "r")):
            calls.append(target)
            if len(calls) == nth:
                raise error
        return real(target, *args, **kwargs)

    monkeypatch.setattr(owner, where, failing)


FULL = OSError(errno.ENOSPC, "No space left on device")


POINTS = [("open", 1), ("open", 2), ("fsync", 1), ("fsync", 2), ("replace", 1)]


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full disk", "interrupt"])
@pytest.mark.parametrize(("where", "nth"), POINTS)
def test_a_save_that_fails_leaves_the_old_run_and_no_other_file(tmp_path, monkeypatch, where, nth, error):
    """Also where the first of the two files is written and the second is not."""
    a_run(0).save(tmp_path / "one")
    with monkeypatch.context() as patch:
        break_at(patch, where, nth, error)
        with pytest.raises(RunError if error is FULL else KeyboardInterrupt) as caught:
            a_run(5).save(tmp_path / "one")
    if error is FULL:
        assert "cannot be written (No space left on device): free some space" in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.json", "one.safetensors"]
    assert Run.load(tmp_path / "one").seed == 0


@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full disk", "interrupt"])
@pytest.mark.parametrize("where", ["open", "fsync", "replace"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch, where, error):
    path = tmp_path / "a.txt"
    write_whole(path, b"old")
    with monkeypatch.context() as patch:
        break_at(patch, where, 1, error)
        with pytest.raises(RunError if error is FULL else KeyboardInterrupt):
            write_whole(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    write_whole(path, b"new")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match="cannot be written .* choose another folder"):
        a_run().save(tmp_path / "file" / "one")
    with pytest.raises(RunError, match="file"):
        Run.load(tmp_path / "file" / "one")


def other(value):
    """A different value of the same kind."""
    known = {"train": "any", "matrices": "all", "pre": "post", "ordered": "single", "none": "identity", None: 500}
    return known[value] if value in known else (*value, 3) if isinstance(value, tuple) else value + 1


def test_a_run_is_named_after_every_field_of_its_configs_and_its_seed():
    configs = {"task": TASK, "model": MODEL, "train": TRAIN, "seed": 0}
    names = [run_name(**configs), run_name(**configs | {"seed": 1})]
    for part, config in list(configs.items())[:3]:
        for f in fields(config):
            one_head = {"n_heads": 1} if f.name == "noise" else {}  # noise is not defined for more
            changed = replace(config, **{f.name: other(getattr(config, f.name))} | one_head)
            names.append(run_name(**configs | {part: changed}))
    assert len(names) == len(set(names)) == 2 + 4 + 12 + len(fields(TrainConfig))
    assert names[0] == run_name(**configs)
    assert names[0].startswith("ordered_e3_h1-2_L3_d8_pre_g0.6_s0_")


def test_a_field_at_its_default_has_no_part_in_the_name():
    plain = hashlib.sha256(b"[{}, {}, {}, 7]").hexdigest()[:8]
    assert run_name(ChainTask(), ModelConfig(), TrainConfig(), 7).endswith(f"_s7_{plain}")
    changed = hashlib.sha256(b'[{}, {"alpha": 0.5}, {}, 7]').hexdigest()[:8]
    assert run_name(ChainTask(), ModelConfig(alpha=0.5), TrainConfig(), 7).endswith(changed)


def test_the_defaults_that_names_leave_out_stay_what_they_are():
    """To change one would give runs of another kind the names of old ones: add a field instead."""
    defaults = {f.name: f.default for made in (ChainTask, ModelConfig, TrainConfig) for f in fields(made)}
    assert defaults == {
        "kind": "single", "n_edges": 6, "hops": 2, "n_tokens": 50,
        "n_layers": 3, "d_model": 64, "d_head": 64, "d_mlp": 64, "n_heads": 1, "vocab_size": 101, "n_pos": 13,
        "layernorm": "post", "gamma": 0.7, "noise": "none", "alpha": 1.0, "beta": 1.0,
        "steps": 1500, "batch_size": 256, "lr": 3e-3, "lr_start": 0.0, "lr_end": 0.0, "warmup": 300,
        "weight_decay": 0.1, "decay": "matrices", "clip": 1.0, "n_train": 20_000, "split": "train", "eval_every": 50,
        "n_eval": 1_000, "snapshots": (),
    }  # fmt: skip


def test_differences_name_the_fields():
    assert differences(TRAIN, TRAIN) == []
    assert differences(TRAIN, replace(TRAIN, lr=0.1, split="any")) == [
        "lr: asked 0.003, found 0.1",
        "split: asked 'train', found 'any'",
    ]


def test_a_config_from_json_equals_the_one_that_was_written(tmp_path):
    """Tuples come back as tuples: a loaded config can be compared with the one asked for."""
    a_run().save(tmp_path / "one")
    record = json.loads((tmp_path / "one.json").read_text())
    assert record["train"] == json.loads(json.dumps(asdict(TRAIN))) and record["task"]["hops"] == [1, 2]
    assert Run.load(tmp_path / "one").train_config == TRAIN and Run.load(tmp_path / "one").task == TASK


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
        ({"eval_every": 0}, "eval_every=0 must be"),
        ({"n_eval": -3}, "n_eval=-3 must be"),
        ({"lr": 0.0}, "lr=0.0 must be greater than 0"),
        ({"lr": float("nan")}, "lr=nan must be greater than 0"),
        ({"clip": -1.0}, "clip=-1.0 must be greater than 0"),
        ({"lr_start": -1e-3}, "lr_start=-0.001 must not be negative"),
        ({"lr_end": -1e-3}, "lr_end=-0.001 must not be negative"),
        ({"warmup": -1}, "warmup=-1 must not be negative"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must not be negative"),
        ({"decay": "some"}, "decay='some' is not known: choose 'matrices' or 'all'"),
        ({"split": "test"}, "split='test' is not for training: choose 'train' or 'any'"),
        ({"n_train": 100}, "n_train=100 must be None or at least batch_size=256"),
        ({"n_train": 1e4}, "n_train=10000.0 must be None or at least"),
    ],
)
def test_a_wrong_training_is_refused_with_what_is_allowed(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrainConfig(**wrong)
