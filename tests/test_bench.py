"""The benchmarks' arithmetic, and that each case compares what it says. No test depends on speed."""

import json
import re
from itertools import count
from statistics import median

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from matchlib import bench, widgets
from matchlib.bench import CASES, Row, benchmarks, chosen, load, markdown, merged, side_by_side, stepper
from matchlib.model import Transformer
from matchlib.presets import PRESETS
from matchlib.runs import SHIPPED
from matchlib.style import Backdrop, Picture
from matchlib.train import seeded

TINY = PRESETS["tiny"]
REDRAW = benchmarks("redraw")
RECORD = SHIPPED / "bench.json"


def test_two_things_are_timed_in_turn_and_the_first_round_does_not_count(monkeypatch):
    clock, order = count(), []
    monkeypatch.setattr(bench, "perf_counter", lambda: float(next(clock)))
    ours, theirs = side_by_side(lambda: order.append("A"), lambda: order.extend(("B", next(clock))), 3)
    assert "".join(str(x) for x in order if isinstance(x, str)) == "ABABABAB"
    assert ours == [1.0] * 3 and theirs == [2.0] * 3


def test_a_ratio_is_taken_pair_by_pair_and_says_how_much_faster_ours_is():
    row = bench.row("x", "y", "ms", 1e3, [1.0, 2.0, 4.0], [3.0, 2.0, 2.0])
    assert row.ours == (2000.0, 1000.0, 4000.0) and row.theirs == (2000.0, 2000.0, 3000.0)
    assert row.ratio == (1.0, 0.5, 3.0) and row.n == 3
    done = bench.row("x", "y", "/s", 100, [1.0, 2.0, 4.0], [4.0, 8.0, 16.0], inverse=True)
    assert done.ours == (50.0, 25.0, 100.0) and done.ratio == (4.0, 4.0, 4.0)


def test_a_step_learns_on_the_batch_that_it_times():
    model = Transformer(TINY.model, generator=seeded(0, "bench"))
    batch = TINY.task.sample(TINY.train.batch_size, TINY.train.split, generator=seeded(0, "bench"))
    before = F.cross_entropy(model(batch.tokens), batch.answer).item()
    step = stepper(TINY, model)
    for _ in range(20):
        step()
    assert F.cross_entropy(model(batch.tokens), batch.answer).item() < before / 2
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["straightforward", "torch.nn.TransformerEncoder"])
def test_a_peer_answers_the_same_question_and_looks_back_only(name):
    built = benchmarks("peers").models(TINY.model)[name]()
    tokens = TINY.task.sample(5, generator=seeded(1, "bench")).tokens
    assert built(tokens).shape == (5, TINY.model.vocab_size)
    parts = list(built.parameters())
    assert sum(p.numel() for p in parts) >= sum(
        p.numel() for p in Transformer(TINY.model, generator=seeded(0)).parameters()
    )
    step = stepper(TINY, built)
    step()
    assert all(torch.isfinite(p).all() for p in parts)


def test_the_encoder_does_not_see_what_follows():
    built = benchmarks("peers").models(TINY.model)["torch.nn.TransformerEncoder"]()
    x = torch.randn(2, TINY.model.n_pos, TINY.model.d_model)
    changed = x.clone()
    changed[:, 3:] = 0
    assert torch.allclose(built.call(built.body, x)[:, :3], built.call(built.body, changed)[:, :3], atol=1e-6)


def test_a_case_has_a_row_for_every_peer_that_is_installed():
    rows = list(bench.steps("tiny", 2))
    assert [r.against for r in rows] == list(benchmarks("peers").models(TINY.model))
    assert all(r.n == 2 and r.ratio and r.ours[1] <= r.ours[0] <= r.ours[2] for r in rows)


def test_an_unknown_case_and_a_missing_folder_are_refused_with_a_sentence(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="case='speed' is not known: choose from small, compile, paper, generator"):
        chosen(["small", "speed"])
    assert chosen(["paper"]) == ["paper"] and chosen([]) == list(CASES)
    monkeypatch.setattr(bench, "PLACE", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="is missing: run the benchmark in a full copy of the course"):
        next(CASES["generator"]())


def test_the_table_shows_medians_with_their_ranges_and_what_is_not_there_as_nothing():
    rows = [Row("a step", "a peer", "ms", 9, (2.0, 1.0, 3.0), (1.0, 0.5, 1234.5), (0.5, 0.25, 0.75), "n.b."),
            Row("drawing", "", "", 3, (2e6, 1e6, 3e6))]  # fmt: skip
    assert markdown(rows).splitlines()[2:] == [
        "| a step | 2 ms (1–3) | a peer | 1 ms (0.5–1,234) | 0.5 × (0.25–0.75) | 9 | n.b. |",
        "| drawing | 2,000,000 (1,000,000–3,000,000) |  |  |  | 3 |  |",
    ]


def test_the_readme_says_what_a_step_of_paper_costs():
    paper, notes = PRESETS["paper"], [r.note for r in load(json.loads(RECORD.read_text())) if "paper" in r.what]
    step = stepper(paper, Transformer(paper.model, generator=seeded(0)))
    with FlopCounterMode(display=False) as counted:
        step()
    best = median(int(re.search(r"of (\d+) GFLOP/s", note)[1]) for note in notes)
    needed = counted.get_total_flops() / 1e9
    text = " ".join((SHIPPED.parent.parent / "README.md").read_text().split())
    assert f"the {needed:.0f} GFLOP of a step of `paper` cannot take less than {needed / best:.2f} s" in text
    assert f"runs at {best:.0f} GFLOP/s" in text


def test_a_record_keeps_the_cases_that_were_not_run_again():
    row = Row("a step", "a peer", "ms", 9, (2.0, 1.0, 3.0), (1.0, 0.5, 4.0), (0.5, 0.25, 0.75), "n.b.")
    other = Row("drawing", "", "", 3, (2e6, 1e6, 3e6))
    kept = json.loads(json.dumps(merged(merged({}, "generator", [other]), "small", [row])))
    assert list(kept) == ["small", "generator"] and load(kept) == [row, other]
    again = json.loads(json.dumps(merged(kept, "generator", [row, row])))
    assert load(again) == [row, row, row] and again["small"] == kept["small"]
    assert {"torch", "device", "threads"} <= set(again["generator"]["provenance"])


def test_the_readme_shows_the_record_that_is_kept():
    kept = json.loads(RECORD.read_text())
    assert list(kept) == list(CASES)
    assert markdown(load(kept)) in (SHIPPED.parent.parent / "README.md").read_text()


def test_the_readme_says_what_is_slower():
    kept, text = json.loads(RECORD.read_text()), (SHIPPED.parent.parent / "README.md").read_text()
    (compiled,), (together,) = (load({case: kept[case]}) for case in ("compile", "ensemble"))
    assert compiled.ratio[0] > 1 and compiled.note == "compiling took 20 s"
    assert "`torch.compile` makes the small step slower and takes 20 seconds to start" in text
    assert together.ratio[0] < 1 and "on a CPU it is slower than its members one by one" in text


# What a panel draws


@pytest.fixture
def drawn(monkeypatch):
    """The pictures that are made from now on; their pixels take the time, so there are none."""
    made = []
    for kind, name in ((Picture, "_repr_png_"), (Backdrop, "png_with")):
        monkeypatch.setattr(kind, name, lambda *args: made.append(args) or b"\x89PNG")
    return made


def test_every_panel_of_the_course_is_timed():
    assert set(REDRAW.PANELS) == {*widgets.__all__, "ProgressPanel"}


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", REDRAW.PANELS)
def test_what_a_panel_showed_before_is_not_drawn_again_and_what_is_new_is(name, drawn):
    for change in REDRAW.PANELS[name]():
        pictures = 0 if change.control in ("look again", "the map") else 1  # those two are of text and buttons
        change.new()
        drawn.clear()
        change.again()
        assert drawn == [], change.control
        change.new()
        assert len(drawn) >= pictures, change.control


def test_the_readme_says_what_the_slowest_redraw_takes_and_none_is_above_its_limit():
    kept = json.loads((SHIPPED / "redraw.json").read_text())["rows"]
    assert {row["what"].split(":")[0] for row in kept} == set(REDRAW.PANELS) and len(kept) == 14
    assert {(row["n"], row["note"]) for row in kept} == {(REDRAW.N, "")}
    new, again = (max(row[side][0] for row in kept) for side in ("theirs", "ours"))
    said = f"at the median at most {new:.0f} ms and {again:.0f} ms, each of the 14 changes nine times"
    assert said in (SHIPPED.parent.parent / "README.md").read_text()


def test_what_takes_too_long_is_named(monkeypatch):
    monkeypatch.setattr(REDRAW, "PANELS", {"a": lambda: iter([REDRAW.Change(None, "x", None, None)])})
    for again, new, said in ((0.1, 0.4, ""), (0.2, 0.4, "shown before"), (0.1, 0.6, "new")):
        monkeypatch.setattr(REDRAW, "side_by_side", lambda *_, pair=(again, new): tuple([t] * 9 for t in pair))
        (row,) = REDRAW.timed("a")
        assert row.note == said and (said or "no") in REDRAW.markdown([row]).splitlines()[-1]
