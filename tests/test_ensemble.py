"""Many trainings as one: each member is what it would be alone."""

import signal
from dataclasses import replace

import pytest
import torch

from matchlib import ensemble
from matchlib.data import ChainTask
from matchlib.ensemble import can_join, fit_together
from matchlib.model import ModelConfig
from matchlib.record import TrainConfig
from matchlib.train import TrainState, fit

TASK = ChainTask(n_edges=3, hops=2, n_tokens=20)
MODEL = ModelConfig(n_layers=3, d_model=16, d_head=16, d_mlp=16, gamma=0.5)
TRAIN = TrainConfig(steps=70, batch_size=16, lr=1e-2, warmup=10, n_train=None, eval_every=30, n_eval=64)
# Each member differs from the others in all that a member may have of its own.
OWN = (
    {"seed": 0, "gamma": 0.5, "lr": 1e-2, "clip": 1.0, "weight_decay": 0.1},
    {"seed": 1, "gamma": 0.7, "lr": 5e-3, "clip": 0.05, "weight_decay": 0.0, "warmup": 0},
    {"seed": 2, "gamma": 0.3, "lr": 2e-2, "clip": 0.2, "weight_decay": 1.0, "lr_start": 1e-3, "lr_end": 1e-3},
)


@pytest.fixture(autouse=True)
def double_precision():
    """Training magnifies rounding, some members more than others: in double precision what is left tells nothing."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def members(device="cpu", model=MODEL, **shared):
    found = []
    for own in OWN:
        kept = {k: v for k, v in own.items() if k not in ("seed", "gamma")}
        train = replace(TRAIN, **kept, **shared)
        found.append(TrainState.new(TASK, replace(model, gamma=own["gamma"]), train, own["seed"], device))
    return found


def assert_alike(one, other, within=1e-9):
    assert one.step == other.step
    for name, p in one.model.state_dict().items():
        torch.testing.assert_close(p, other.model.state_dict()[name], atol=within, rtol=within, msg=name)
    for a, b in zip(one.history, other.history, strict=True):
        assert (a.step, a.test, a.ood, a.argmax) == (b.step, b.test, b.ood, b.argmax)
        assert a.loss == pytest.approx(b.loss, abs=1e-9) and a.matching == pytest.approx(b.matching, abs=1e-9)


@pytest.mark.parametrize("layernorm", ["post", "pre"])
@pytest.mark.parametrize("n_train", [None, 100])
@pytest.mark.parametrize("decay", ["matrices", "all"])
def test_a_member_is_what_it_would_be_alone(layernorm, n_train, decay):
    model = replace(MODEL, layernorm=layernorm, d_head=4, n_heads=2) if n_train else replace(MODEL, layernorm=layernorm)
    together, alone = (members(model=model, n_train=n_train, decay=decay, snapshots=(0, 40)) for _ in range(2))
    steps = [step.step for step in fit_together(together)]
    assert steps == list(range(1, 71))
    for one, other in zip(together, alone):
        for _ in fit(other):
            pass
        assert_alike(one, other)
        assert list(one.snapshots) == [0, 40]
        for step in (0, 40):
            for name, p in one.snapshots[step].items():
                torch.testing.assert_close(p, other.snapshots[step][name], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("noise", ["identity", "gaussian", "orthogonal"])
def test_a_member_has_noise_of_its_own_and_scalars_of_its_own(noise):
    def states():
        starts = ((0.0, 1.0), (0.5, 0.2), (2.0, 0.0))
        return [
            TrainState.new(
                TASK, replace(MODEL, noise=noise, alpha=a, beta=b, d_head=4), replace(TRAIN, snapshots=(9,)), s
            )
            for s, (a, b) in enumerate(starts)
        ]

    together, alone = states(), states()
    for _ in fit_together(together):
        pass
    for one, other in zip(together, alone):
        for _ in fit(other):
            pass
        assert_alike(one, other)
        assert one.as_run().at(9).blocks[1].alpha.item() == pytest.approx(other.as_run().at(9).blocks[1].alpha.item())


def test_members_do_not_become_each_other():
    together = members()
    for _ in fit_together(together):
        pass
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert (together[a].model.w_e - together[b].model.w_e).abs().max() > 0.1


def test_the_losses_are_those_of_the_members():
    together, alone = members(), members()
    found = torch.stack([step.loss for step, _ in zip(fit_together(together), range(5))])
    expected = torch.stack([torch.stack([s.loss for s, _ in zip(fit(state), range(5))]) for state in alone])
    torch.testing.assert_close(found, expected.T)


def test_a_member_goes_on_alone_from_where_the_ensemble_was_left(tmp_path):
    together, alone = members(), members()
    for step in fit_together(together):
        if step.step == 37:
            break
    together[1].save(tmp_path / "half")
    resumed = TrainState.load(tmp_path / "half", device="cpu")
    for state in (resumed, alone[1]):
        for _ in fit(state):
            pass
    assert_alike(resumed, alone[1])


def test_an_ensemble_goes_on_from_where_it_was_left():
    left, whole = members(), members()
    for step in fit_together(left):
        if step.step == 37:
            break
    for states in (left, whole):
        for _ in fit_together(states):
            pass
    for one, other in zip(left, whole):
        assert_alike(one, other)


@pytest.mark.parametrize("where", ["_Stack.update", "_Stack.record"])
def test_an_interrupt_inside_a_step_loses_nothing_and_does_nothing_twice(where, monkeypatch):
    whole, states, calls = members(), members(), []
    owner, name = getattr(ensemble, where.split(".")[0]), where.split(".")[1]
    original = getattr(owner, name)

    def interrupted(*args):
        calls.append(where)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return original(*args)

    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        for _ in fit_together(states):
            pass
    assert 0 < states[0].step < TRAIN.steps
    monkeypatch.undo()
    for unfinished in (states, whole):
        for _ in fit_together(unfinished):
            pass
    for one, other in zip(states, whole):
        assert_alike(one, other)


def test_one_member_that_diverges_leaves_the_others_alone():
    together, alone = members(), members()
    wild = TrainState.new(TASK, MODEL, replace(TRAIN, lr=1e30, clip=1e30), 5, "cpu")
    for _ in fit_together([*together, wild]):
        pass
    for one, other in zip(together, alone):
        for _ in fit(other):
            pass
        assert_alike(one, other)
    assert not torch.isfinite(wild.model.w_u).all()


def test_what_may_differ_between_members_and_what_may_not():
    key = can_join(TASK, MODEL, TRAIN)
    own = replace(TRAIN, lr=1.0, warmup=3, clip=9.0, weight_decay=2.0, lr_end=0.5, lr_start=0.5)
    assert can_join(replace(TASK, hops=1), replace(MODEL, gamma=0.9), own) == key
    for other in (
        can_join(replace(TASK, n_edges=4), MODEL, TRAIN),
        can_join(replace(TASK, n_tokens=30), MODEL, TRAIN),
        can_join(TASK, replace(MODEL, layernorm="pre"), TRAIN),
        can_join(TASK, replace(MODEL, d_mlp=8), TRAIN),
        *(can_join(TASK, MODEL, replace(TRAIN, **x)) for x in ({"steps": 9}, {"batch_size": 8}, {"decay": "all"})),
        *(can_join(TASK, MODEL, replace(TRAIN, **x)) for x in ({"n_train": 99}, {"split": "any"}, {"eval_every": 9})),
    ):
        assert other != key


def test_trainings_that_cannot_be_one_are_refused_with_a_sentence():
    other = TrainState.new(TASK, replace(MODEL, d_mlp=8), TRAIN, 0, "cpu")
    with pytest.raises(ValueError, match="These 4 trainings are of 2 shapes and cannot be made as one"):
        next(fit_together([*members(), other]))
    with pytest.raises(ValueError, match="An ensemble of 0 members"):
        next(fit_together([]))
    ahead = members()
    next(fit(ahead[0]))
    with pytest.raises(ValueError, match="All members must stand at one step"):
        next(fit_together(ahead))


@pytest.mark.gpu
def test_an_ensemble_on_a_gpu_learns_what_its_members_learn_on_a_cpu():
    together, alone = members("cuda"), members("cpu")
    for _ in fit_together(together):
        pass
    for one, other in zip(together, alone):
        for _ in fit(other):
            pass
        for a, b in zip(one.history, other.history, strict=True):
            assert a.loss == pytest.approx(b.loss, abs=0.02) and a.test == pytest.approx(b.test, abs=0.1)
