"""The same config and seed, the same run, to the bit: unbroken, repeated, or left and gone on with."""

import pydoc
import signal
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.record import RunError, TrainConfig
from matchlib.train import TrainState, fit, train

TASK = ChainTask("single", 3, 1, 15)
MODEL = ModelConfig(n_layers=3, d_model=16, d_head=8, d_mlp=16, gamma=0.5)
FIXED = TrainConfig(
    steps=11, batch_size=8, lr=5e-3, warmup=3, n_train=28, eval_every=4, n_eval=20, snapshots=(0, 5, 11)
)  # 3 steps an epoch
FRESH = replace(FIXED, n_train=None)


def start(cfg: TrainConfig = FIXED, seed: int = 0, device: str = "cpu") -> TrainState:
    return TrainState.new(TASK, MODEL, cfg, seed, device)


def weights(model: Transformer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return set(one) == set(two) and all(torch.equal(one[k], two[k]) for k in one)


def assert_same_end(one: TrainState, two: TrainState) -> None:
    assert one.step == two.step and one.history == two.history
    assert same(weights(one.model), weights(two.model))
    assert list(one.snapshots) == list(two.snapshots)
    assert all(same(one.snapshots[step], two.snapshots[step]) for step in one.snapshots)


@pytest.mark.parametrize("cfg", [FIXED, FRESH], ids=["fixed", "fresh"])
def test_the_same_config_and_seed_give_the_same_run_to_the_bit(cfg):
    states, losses = [start(cfg), start(cfg), start(cfg, seed=1)], []
    for state in states:
        losses.append([step.loss.item() for step in fit(state)])
    assert losses[0] == losses[1] and losses[0] != losses[2]
    assert_same_end(states[0], states[1])
    assert not same(weights(states[0].model), weights(states[2].model))
    run = train(TASK, MODEL, cfg, seed=0, device="cpu", progress=False)
    assert run.history == states[0].history and same(weights(run.model), weights(states[0].model))


@pytest.mark.parametrize("cfg", [FIXED, FRESH], ids=["fixed", "fresh"])
def test_a_training_left_after_any_step_goes_on_to_the_bit(cfg, tmp_path):
    """Through disk, at every step: in an epoch and at its edge, at an evaluation and between two."""
    whole = start(cfg)
    losses = [step.loss.item() for step in fit(whole)]
    for left_after in range(1, cfg.steps + 1):
        state = start(cfg)
        for step in fit(state):
            if step.step == left_after:
                break
        state.save(tmp_path / "half")
        state = TrainState.load(tmp_path / "half", device="cpu")
        assert state.step == left_after and state.done == (left_after == cfg.steps)
        assert [step.loss.item() for step in fit(state)] == losses[left_after:]
        assert_same_end(state, whole)


def test_fresh_data_goes_on_to_the_bit_across_the_blocks_it_is_drawn_in(tmp_path):
    cfg = TrainConfig(steps=140, batch_size=2, warmup=5, n_train=None, eval_every=70, n_eval=5)
    whole, state = start(cfg), start(cfg)
    losses = [step.loss.item() for step in fit(whole)]
    for left_after in (63, 64, 65, 127, 128, 130):
        for step in fit(state):
            if step.step == left_after:
                break
        state.save(tmp_path / "half")
        state = TrainState.load(tmp_path / "half", device="cpu")
    assert [step.loss.item() for step in fit(state)] == losses[130:]
    assert_same_end(state, whole)


def test_a_training_goes_on_in_memory_too_and_twice_finished_is_once_finished():
    whole, state = start(), start()
    for _ in fit(whole):
        pass
    for _ in range(3):
        for step in fit(state):
            if step.step % 4 == 3:
                break
    assert_same_end(state, whole)
    assert list(fit(state)) == [] and state.history == whole.history


def test_a_damaged_or_finished_run_cannot_be_gone_on_from(tmp_path):
    state = start()
    for _ in fit(state):
        pass
    state.as_run().save(tmp_path / "run")
    with pytest.raises(ValueError, match="holds a finished run and nothing to go on from: use Run.load"):
        TrainState.load(tmp_path / "run", device="cpu")
    with pytest.raises(RunError, match="There is no run at"):
        TrainState.load(tmp_path / "none", device="cpu")


@pytest.mark.gpu
def test_a_training_begun_on_a_gpu_goes_on_there_to_the_bit(tmp_path):
    whole, state = start(device="cuda"), start(device="cuda")
    losses = [step.loss.item() for step in fit(whole)]
    for step in fit(state):
        if step.step == 5:
            break
    state.save(tmp_path / "half")
    assert [step.loss.item() for step in fit(TrainState.load(tmp_path / "half", device="cuda"))] == losses[5:]


@pytest.mark.parametrize(
    "where", ["torch.nn.utils.clip_grad_norm_", "torch.optim.AdamW.step", "matchlib.train.numbers"]
)
def test_an_interrupt_inside_a_step_loses_nothing_and_does_nothing_twice(where, monkeypatch):
    """Ctrl-C while gradients are clipped, while the weights change, while the run is measured."""
    whole, state, calls = start(), start(), []
    module, name = where.rsplit(".", 1)
    owner = pydoc.locate(module)
    original = getattr(owner, name)

    def interrupted(*args, **rest):
        calls.append(where)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **rest)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        for _ in fit(state):
            pass
    assert 0 < state.step < state.train_config.steps
    monkeypatch.undo()
    for unfinished in (state, whole):
        for _ in fit(unfinished):
            pass
    assert_same_end(state, whole)
