"""The training loop: its updates, what it learns from, what it measures on, and what it says of both."""

from dataclasses import replace
from itertools import count
from math import cos, pi
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from matchlib import train as train_module
from matchlib.data import ChainTask
from matchlib.model import ModelConfig, Transformer
from matchlib.probe import argmax_score, matching_score
from matchlib.record import Run, TrainConfig
from matchlib.train import Supply, TrainState, accuracy_of, fit, keep_freed_memory, pick_device, seeded, train

TASK = ChainTask("single", 3, 1, 15)
MODEL = ModelConfig(n_layers=3, d_model=16, d_head=8, d_mlp=16, gamma=0.5)
FIXED = TrainConfig(
    steps=11, batch_size=8, lr=5e-3, warmup=3, n_train=28, eval_every=4, n_eval=20, snapshots=(0, 5, 11)
)  # 3 steps an epoch
FRESH = replace(FIXED, n_train=None)


def start(cfg: TrainConfig = FIXED, seed: int = 0, device: str = "cpu", task: ChainTask = TASK) -> TrainState:
    return TrainState.new(task, MODEL, cfg, seed, device)


def weights(model: Transformer) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return set(one) == set(two) and all(torch.equal(one[k], two[k]) for k in one)


def test_steps_say_where_they_stand():
    steps = list(fit(start()))
    assert [s.step for s in steps] == list(range(1, 12))
    assert [s.step for s in steps if s.evaluation] == [4, 8, 11]
    assert all(s.evaluation is None or s.evaluation.step == s.step for s in steps)
    assert steps[0].loss.shape == () and not steps[0].loss.requires_grad


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    cfg = replace(FIXED, steps=24, warmup=4, lr=8e-3, lr_start=2e-3, lr_end=1e-3)
    found = [step.lr for step in fit(start(cfg))]
    assert found[:5] == pytest.approx([3.5e-3, 5e-3, 6.5e-3, 8e-3, 8e-3])
    assert found[4 + 10] == pytest.approx((8e-3 + 1e-3) / 2)  # half-way down
    assert found[4:] == pytest.approx([1e-3 + 7e-3 * (1 + cos(pi * i / 20)) / 2 for i in range(20)])
    assert found[4:] == sorted(found[4:], reverse=True) and found[-1] < 1.1e-3


def test_a_step_is_adamw_with_clipping_and_the_rate_it_names():
    """The first two updates by hand: decay, then the normalised step, with the gradient clipped over all weights."""
    cfg = replace(FIXED, warmup=0, lr=1e-2, weight_decay=0.3, decay="all", clip=0.05)
    state = start(cfg)
    p0, seen = weights(state.model), []
    real = state.optimizer.step
    state.optimizer.step = lambda: (seen.append([p.grad.clone() for p in state.model.parameters()]), real())
    steps = fit(state)
    first = next(steps)
    norm = sum(float(g.square().sum()) for g in seen[0]) ** 0.5
    assert norm == pytest.approx(0.05, rel=1e-3)
    for (name, p), g in zip(state.model.named_parameters(), seen[0]):
        expected = p0[name] * (1 - first.lr * 0.3) - first.lr * g / (g.abs() + 1e-8)
        torch.testing.assert_close(p.detach(), expected, atol=2e-6, rtol=1e-4)


def unseen_embeddings(state: TrainState) -> Tensor:
    """Padding, and the tokens that only the OOD split shows."""
    return torch.cat([state.model.w_e[:1], state.model.w_e[TASK.n_tokens + 1 :]]).detach().clone()


def test_decay_on_matrices_leaves_unseen_embeddings_exactly_where_they_started():
    state = start(replace(FIXED, weight_decay=0.5))
    before, start_weights = unseen_embeddings(state), weights(state.model)
    for _ in fit(state):
        pass
    assert torch.equal(unseen_embeddings(state), before)
    moved = {name for name, w in weights(state.model).items() if not torch.equal(w, start_weights[name])}
    assert moved == set(start_weights)


def test_decay_on_all_shrinks_unseen_embeddings_by_rate_times_decay():
    state, factor = start(replace(FIXED, weight_decay=0.5, decay="all")), 1.0
    before = unseen_embeddings(state)
    for step in fit(state):
        factor *= 1 - step.lr * 0.5
    torch.testing.assert_close(unseen_embeddings(state), factor * before)
    assert factor < 0.99


@pytest.mark.parametrize("decay", ["matrices", "all"])
def test_decay_reaches_the_matrices_of_attention_and_mlp(decay):
    """With and without decay from one start: what differs after one step is what was decayed."""
    ends = []
    for weight_decay in (0.0, 0.5):
        state = start(replace(FIXED, warmup=0, decay=decay, weight_decay=weight_decay))
        next(fit(state))
        ends.append(weights(state.model))
    decayed = {name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])}
    inner = {name for name, w in ends[0].items() if name.startswith("blocks.") and w.dim() == 2}
    zero_at_start = {name for name in ends[0] if name.endswith("bias")}  # decay of zero is zero
    assert decayed == (inner if decay == "matrices" else set(ends[0]) - zero_at_start)


def watch(monkeypatch) -> dict[bool, list[list[int]]]:
    """Every sequence that a model sees: True for those it learns from, False for those it is measured on."""
    seen: dict[bool, list[list[int]]] = {True: [], False: []}
    real = Transformer.forward

    def forward(self, tokens, *args, **kwargs):
        seen[torch.is_grad_enabled()] += tokens.tolist()
        return real(self, tokens, *args, **kwargs)

    monkeypatch.setattr(Transformer, "forward", forward)
    return seen


def steps_mod_5(row: list[int]) -> set[int]:
    return {(row[i + 1] - row[i]) % 5 for i in range(0, len(row) - 1, 2)}


@pytest.mark.parametrize("n_train", [40, None])
def test_what_is_measured_is_held_apart_from_what_is_learnt(monkeypatch, n_train):
    n_eval = n_train or 20  # as many as there are to learn from: one generator for both would draw the same
    task, cfg = ChainTask("single", 5, 2, 100), replace(FIXED, n_train=n_train, eval_every=11, n_eval=n_eval)
    seen = watch(monkeypatch)
    state = start(cfg, task=task)
    for _ in fit(state):
        pass
    learnt = {tuple(row) for row in seen[True]}
    assert len(seen[True]) == 11 * 8 and len(learnt) == (n_train or 88)
    assert all(steps_mod_5(row) <= {0, 1, 4} and max(row) <= 100 for row in learnt)
    measured = {tuple(row) for row in seen[False]}
    ood = {row for row in measured if max(row) > 100}
    test = {row for row in measured - ood if steps_mod_5(row) <= {2, 3}}
    again, fresh = (measured - ood - test) & learnt, (measured - ood - test) - learnt
    assert [len(rows) for rows in (ood, test, again, fresh)] == [n_eval] * 4
    assert all(steps_mod_5(row) <= {0, 1, 4} for row in again | fresh)
    assert all(sum(t <= 100 for t in set(row)) == 2 for row in ood)


def test_an_epoch_shows_each_sequence_once_in_an_order_of_its_own(monkeypatch):
    seen = watch(monkeypatch)
    for _ in fit(start(replace(FIXED, n_train=24, steps=9))):
        pass
    epochs = [seen[True][i : i + 24] for i in (0, 24, 48)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_training_set_depends_on_the_seed_and_neither_on_sizes_nor_on_how_often_one_measures(monkeypatch):
    seen = watch(monkeypatch)
    for cfg, model, seed in [
        (FIXED, MODEL, 0),
        (replace(FIXED, eval_every=11, n_eval=5, lr=1e-3), replace(MODEL, d_model=8, layernorm="pre"), 0),
        (FIXED, MODEL, 1),
    ]:
        for _ in fit(TrainState.new(TASK, model, cfg, seed, "cpu")):
            pass
    one, same_data, other = (seen[True][i : i + 88] for i in (0, 88, 176))
    assert one == same_data and one != other


def test_evaluations_say_what_the_model_scores():
    state = start()
    losses = [step.loss.item() for step in fit(state)]
    assert [e.step for e in state.history] == [0, 4, 8, 11]
    for evaluation, part in zip(state.history[1:], (losses[:4], losses[4:8], losses[8:])):
        assert evaluation.loss == pytest.approx(sum(part) / len(part), rel=1e-5)
    last, ids = state.history[-1], torch.arange(1, TASK.n_tokens + 1)
    assert last.matching == pytest.approx([matching_score(state.model, layer, ids) for layer in (1, 2)])
    assert last.argmax == pytest.approx([argmax_score(state.model, layer, ids) for layer in (1, 2)])
    assert all(0 <= x <= 1 for x in (last.fit, last.train, last.test, last.ood))


def test_snapshots_are_the_weights_of_their_step(tmp_path):
    state, kept = start(), {}
    kept[0] = weights(state.model)
    for step in fit(state):
        kept[step.step] = weights(state.model)
    run = state.as_run()
    assert list(run.snapshots) == [0, 5, 11]
    for step in run.snapshots:
        assert same(weights(run.at(step)), kept[step])
    run.save(tmp_path / "run")
    assert same(weights(Run.load(tmp_path / "run").at(5)), kept[5])


def test_the_tiny_task_is_learnt():
    """The answer is the next token on the chain: 300 steps of a small model are plenty for the training split."""
    task = ChainTask("single", 2, 1, 10)
    cfg = TrainConfig(steps=300, batch_size=64, lr=1e-2, warmup=20, n_train=None, eval_every=100, n_eval=200)
    run = train(task, replace(MODEL, n_layers=2, d_model=32, d_head=32), cfg, seed=0, device="cpu", progress=False)
    assert run.history[-1].loss < 0.5 * run.history[0].loss
    assert run.history[-1].train > 0.9 > 0.4 > run.history[0].train
    held_out = task.sample(200, "train", generator=seeded(5, "mine"))
    assert accuracy_of(run.model, held_out) > 0.9
    assert run.provenance["steps"] == 300 and run.provenance["device"] == "cpu" and run.provenance["seconds"] > 0


def test_accuracy_counts_right_answers(generator):
    batch = TASK.sample(40, generator=generator)
    model = start().model
    right = sum(int(model(batch.tokens[i : i + 1]).argmax()) == int(batch.answer[i]) for i in range(40))
    assert accuracy_of(model, batch) == pytest.approx(right / 40)


def test_an_interrupt_returns_the_run_so_far(monkeypatch):
    def interrupted(state):
        for step in fit(state):
            yield step
            if step.step == 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(train_module, "fit", interrupted)
    run = train(TASK, MODEL, FIXED, device="cpu", progress=False)
    assert run.provenance["steps"] == 5 and [e.step for e in run.history] == [0, 4]


def test_seeds_are_apart_for_each_purpose():
    first = {key: torch.rand(3, generator=seeded(*key)).tolist() for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]}
    assert len({tuple(v) for v in first.values()}) == 4
    assert torch.rand(3, generator=seeded(0, "a")).tolist() == first[0, "a"]


def test_sizes_that_the_task_decides_are_taken_from_it():
    state = start()
    assert (state.model_config.vocab_size, state.model_config.n_pos) == (TASK.vocab_size, TASK.n_pos)


def test_a_device_that_is_not_there_is_refused():
    assert pick_device("cpu").type == "cpu"
    for wrong in ["gpu9"] + ([] if torch.cuda.is_available() else ["cuda"]):
        with pytest.raises(ValueError, match=f"device='{wrong}' is not available here: use 'auto' or 'cpu'"):
            start(device=wrong)


def test_a_gpu_that_is_busy_or_full_gives_way_to_the_cpu_with_a_sentence(monkeypatch):
    made = torch.zeros

    def full(*sizes, device=None, **rest):
        if device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 MiB.")
        return made(*sizes, device=device, **rest)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", full)
    with pytest.warns(UserWarning, match=r"^The GPU is busy or out of memory \(CUDA out of memory\.\): the CPU takes"):
        assert pick_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="device='cuda' is not available here"):  # who asks for it by name is told
        pick_device("cuda")


def full_gpu(monkeypatch, holder, name: str, at: int):
    """The machine's only device passes for a GPU until a call of this function finds it full; which call, from 0."""
    real, calls, left = getattr(holder, name), count(), TrainState.leave_gpu

    def found(*args, **rest):
        if next(calls) == at:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 MiB.")
        return real(*args, **rest)

    here = ["cuda"]
    monkeypatch.setattr(TrainState, "device", property(lambda state: SimpleNamespace(type=here[0])))
    monkeypatch.setattr(TrainState, "leave_gpu", lambda state, error: (here.__setitem__(0, "cpu"), left(state, error)))
    monkeypatch.setattr(Supply, "__init__", supply_on_the_cpu)
    monkeypatch.setattr(holder, name, found)


def supply_on_the_cpu(supply: Supply, state: TrainState, real=Supply.__init__):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainState, "device", torch.device("cpu"))
        real(supply, state)


@pytest.mark.parametrize("cfg", [FIXED, FRESH], ids=["fixed", "fresh"])
@pytest.mark.parametrize(
    ("holder", "name", "at"),
    [(Transformer, "to", 0), (train_module, "numbers", 0), (Transformer, "forward", 0),
     (torch.nn.utils, "clip_grad_norm_", 6), (train_module, "numbers", 2), (train_module, "numbers", 3),
     (Supply, "block", 1)],
    ids=["the first weights", "the first measurement", "the first batch", "after a gradient", "a measurement",
         "the last measurement", "data"],
)  # fmt: skip
def test_a_gpu_that_is_full_in_mid_training_gives_way_and_nothing_is_lost(monkeypatch, holder, name, at, cfg):
    unbroken = start(cfg)
    for _ in fit(unbroken):
        pass
    full_gpu(monkeypatch, holder, name, at)
    with pytest.warns(UserWarning, match=r"^The GPU is busy or out of memory \(CUDA out of memory\.\): the CPU takes"):
        state = start(cfg)
        for _ in fit(state):
            pass
    assert same(weights(state.model), weights(unbroken.model)) and state.step == cfg.steps
    assert [(e.step, e.test, e.loss) for e in state.history] == [(e.step, e.test, e.loss) for e in unbroken.history]
    assert sorted(state.snapshots) == [0, 5, 11]


def test_a_step_that_no_memory_holds_is_no_endless_training(monkeypatch):
    def full(*args, **rest):
        raise torch.OutOfMemoryError("out of memory")

    state = start()
    monkeypatch.setattr(Transformer, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        next(fit(state))


def test_moments_of_a_first_step_that_are_not_whole_are_made_anew():
    state = start()
    next(fit(state))
    first = next(iter(state.optimizer.state))
    state.optimizer.state[first] = {"step": torch.tensor(1.0)}
    with pytest.warns(UserWarning, match="The GPU is busy"):
        state.leave_gpu(torch.OutOfMemoryError("CUDA out of memory."))
    assert state.optimizer.state[first] == {} and list(fit(state))[-1].step == 11


@pytest.mark.gpu
@pytest.mark.parametrize("cfg", [FIXED, FRESH], ids=["fixed", "fresh"])
def test_cpu_and_gpu_see_the_same_sequences_and_lose_alike(monkeypatch, cfg):
    seen, losses, rows = watch(monkeypatch), [], []
    for device in ("cpu", "cuda"):
        losses.append([step.loss.item() for step in fit(start(cfg, device=device))])
        rows.append(seen[True][:])
        seen[True].clear()
    assert rows[0] == rows[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize(("library", "asked"), [("glibc", [(-3, 2**25), (-1, 2**28)]), ("", [])])
def test_freed_memory_is_kept_under_glibc_and_nothing_is_touched_elsewhere(library, asked, monkeypatch):
    class Library:
        calls: ClassVar[list] = []

        def mallopt(self, option, n_bytes):
            self.calls.append((option, n_bytes))

    monkeypatch.setattr("platform.libc_ver", lambda: (library, "2.36"))
    monkeypatch.setattr("ctypes.CDLL", lambda name: Library())
    keep_freed_memory.__wrapped__()
    assert Library.calls == asked
