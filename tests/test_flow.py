"""The graph of a question and the flow to its answer: nodes, paths, line widths and labels. Pixels are not compared."""

import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import same_color, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

from matchlib import plots
from matchlib.data import KINDS, ChainTask
from matchlib.style import VERMILLION


def texts(ax) -> list[str]:
    return [t.get_text() for t in ax.texts]


def title(figure: Figure) -> str:
    return " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hops", [1, (1, 2, 3)])
def test_chain_graph_shows_every_node_once_and_the_sequence_as_it_stands(kind, hops):
    task = ChainTask(kind, 5, hops, n_tokens=60)
    batch = task.sample(5, "any", generator=torch.Generator().manual_seed(3))
    for i in range(len(batch)):
        graph, strip = plots.chain_graph(batch, i).axes
        nodes = batch.chain[i].flatten().tolist() + batch.noise[i].flatten().tolist()
        assert sorted(t for t in texts(graph) if t.isdigit()) == sorted(map(str, nodes))
        in_boxes = [t.get_text() for t in strip.texts if t.get_zorder() == 4]
        assert in_boxes == [str(t) for t in batch.tokens[i].tolist()]
        assert texts(strip).count("?") == 1
        assert (f"k = {int(batch.hops[i])}" in texts(strip)) == kind.startswith("ordered")
    plots.chain_graph(batch, 0).draw_without_rendering()


@pytest.mark.parametrize("kind", KINDS)
def test_chain_graph_highlights_the_path_and_nothing_else(kind):
    task = ChainTask(kind, 6, (1, 2, 3), n_tokens=60)
    batch = task.sample(5, "any", generator=torch.Generator().manual_seed(4))
    for i in range(len(batch)):
        hops, path = int(batch.hops[i]), batch.path[i].tolist()
        figure = plots.chain_graph(batch, i)
        graph, strip = figure.axes
        arrows = [t for t in graph.texts if isinstance(t, Annotation) and t.arrow_patch]
        thick = [t for t in arrows if same_color(t.arrow_patch.get_edgecolor(), VERMILLION)]
        assert len(thick) == hops and all(t.arrow_patch.get_linewidth() > 2 for t in thick)
        places = {t.get_text(): t.get_position() for t in graph.texts if t.get_text().isdigit()}
        steps = {(t.xyann, t.xy) for t in thick}  # tail, head
        assert steps == {(places[str(a)], places[str(b)]) for a, b in zip(path[:hops], path[1:], strict=False)}
        dashed = [t for t in arrows if t.arrow_patch.get_linestyle() == "--"]
        assert len(dashed) == batch.noise[i].numel()

        boxes = [p for p in strip.patches if isinstance(p, Rectangle)]
        marked = {p for p, box in enumerate(boxes) if same_color(box.get_edgecolor(), VERMILLION)}
        first = batch.path_pos[i, :hops].tolist()
        assert marked == {task.start_pos} | {p + d for p in first for d in (0, 1)}
        assert {t for t in texts(strip) if t.startswith("hop")} == {f"hop {h}" for h in range(1, hops + 1)}
        assert f"from {path[0]} " in title(figure) and title(figure).endswith(f"to {int(batch.answer[i])}")


def test_chain_graph_refuses_a_question_that_is_not_there():
    batch = ChainTask().sample(2, generator=torch.Generator())
    for i in (2, -1, "0"):
        with pytest.raises(IndexError, match=r"choose 0\.\.1"):
            plots.chain_graph(batch, i)


def flow_lines(figure: Figure) -> dict:
    return {c.get_label(): c for c in figure.axes[0].collections if not isinstance(c, PathCollection)}


def test_flow_draws_lines_as_wide_as_the_attention_and_leaves_out_the_faint_ones():
    patterns = torch.tensor([[[1.0, 0, 0], [0.75, 0.25, 0], [0.05, 0.45, 0.5]]])
    lines = flow_lines(plots.information_flow(patterns, [7, 8, 9], expected=[(0, 1, 0)]))
    plain, expected = lines["attention"], lines["expected attention"]
    assert len(plain.get_segments()) == 4 and len(lines["residual"].get_segments()) == 3
    seen = {tuple(map(tuple, s.tolist())): w for s, w in zip(plain.get_segments(), plain.get_linewidths(), strict=True)}
    unit = seen[(0, 0), (0, 1)]
    assert seen == {
        ((0, 0), (0, 1)): unit, ((1, 0), (1, 1)): 0.25 * unit, ((1, 0), (2, 1)): pytest.approx(0.45 * unit),
        ((2, 0), (2, 1)): 0.5 * unit,
    }  # fmt: skip
    assert expected.get_segments()[0].tolist() == [[0, 0], [1, 1]]
    assert expected.get_linewidths()[0] == pytest.approx(0.75 * unit)
    assert same_color(expected.get_color()[0][:3], to_rgb(VERMILLION))
    assert lines["residual"].get_linestyle()[0][1] is not None, "residual lines are dashed"


def test_flow_title_counts_and_an_unused_edge_is_dotted_not_hidden():
    patterns = torch.zeros(2, 4, 4)
    patterns[0, 1, 0], patterns[1, 3, 1], patterns[1, 3, 2] = 0.9, 0.05, 0.95
    edges = [(0, 1, 0), (1, 3, 1)]
    figure = plots.information_flow(patterns, list("abcd"), edges, answer=5, predicted=6)
    assert title(figure) == "Wrong: 1 of 2 expected edges hold more than half of their query's attention"
    assert texts(figure.axes[0]) == ["answer 5, predicted 6"]
    unused = flow_lines(figure)["expected, not used"]
    assert [s.tolist() for s in unused.get_segments()] == [[[1, 1], [3, 2]]]
    right = plots.information_flow(patterns, list("abcd"), edges, answer=5, predicted=5)
    assert title(right).startswith("Right: 1 of 2")
    assert [t.get_text() for t in right.axes[0].get_xticklabels()] == ["a\n0", "b\n1", "c\n2", "d\n3"]


@pytest.mark.parametrize("n_layers", [1, 2, 5])
@pytest.mark.parametrize("n_pos", [1, 13, 29, 45])
def test_flow_labels_do_not_touch_and_layers_are_named(n_layers, n_pos):
    patterns = torch.full((n_layers, n_pos, n_pos), 1 / n_pos)
    figure = plots.information_flow(patterns, torch.arange(100, 100 + n_pos))
    figure.draw_without_rendering()
    (ax,) = figure.axes
    boxes = sorted((t.get_window_extent() for t in ax.get_xticklabels()), key=lambda b: b.x0)
    assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:], strict=False))
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["embedding"] + [f"after layer {layer}" for layer in range(n_layers)]


def test_flow_refuses_what_does_not_fit():
    patterns = torch.rand(2, 4, 4)
    with pytest.raises(ValueError, match="averaged over heads"):
        plots.information_flow(patterns[None], "abcd")
    with pytest.raises(ValueError, match="3 tokens"):
        plots.information_flow(patterns, "abc")
    for edge in ((2, 0, 0), (0, 4, 0), (0, -1, 0)):
        with pytest.raises(ValueError, match="expected edge"):
            plots.information_flow(patterns, "abcd", [edge])


def at(figure: Figure, label: str) -> list[list[float]]:
    """Where the marks of this label stand."""
    (marks,) = [c for c in figure.axes[0].collections if c.get_label() == label]
    return marks.get_offsets().tolist()


def test_flow_draws_what_an_intervention_cuts_gives_and_changes_each_with_a_mark_of_its_own():
    patterns = torch.zeros(2, 4, 4)
    patterns[0, 1, 0], patterns[1, 3, 2] = 0.9, 0.95
    edges = [(0, 1, 0), (1, 3, 1)]
    figure = plots.information_flow(
        patterns, list("abcd"), [*edges, (0, 2, 0)], cut=[(1, 3, 1)], given=[(1, 3, 2)], changed=[(3, 2), (0, 0)]
    )
    lines = flow_lines(figure)
    assert [s.tolist() for s in lines["cut"].get_segments()] == [[[1, 1], [3, 2]]]
    assert [s.tolist() for s in lines["given"].get_segments()] == [[[2, 1], [3, 2]]]
    unused = [s.tolist() for s in lines["expected, not used"].get_segments()]
    assert unused == [[[0, 0], [2, 1]]], "a cut edge is no edge that the model leaves alone"
    assert at(figure, "cut here") == [[2, 1.5]] and at(figure, "given here") == [[2.5, 1.5]]
    assert at(figure, "changed here") == [[3, 2], [0, 0]]
    markers = [c.get_paths()[0].vertices.tolist() for c in figure.axes[0].collections if c.get_label().endswith("here")]
    assert len(markers) == 3 and markers[0] != markers[1] != markers[2] != markers[0], "not told apart by colour alone"
    assert title(figure).endswith("query's attention; 1 edge cut; 1 edge given attention; 2 places changed")
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert {"cut", "given", "changed"} <= set(legend)
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1, "the legend leaves the page"
    given, expected = (lines[name].get_linewidths()[0] for name in ("given", "expected attention"))
    assert given == pytest.approx(0.95 / 0.9 * expected), "as wide as the attention that it gets"
    plain = [s.tolist()[0] for s in lines["attention"].get_segments()]
    assert [2, 1] not in plain, "under a black line blue is not seen"
    named = plots.information_flow(patterns, list("abcd"), edges, cut=edges, title="Hit.")
    assert title(named) == "Hit." and "given" not in [t.get_text() for t in named.legends[0].get_texts()]


def test_flow_draws_many_cuts_finer_than_few():
    every = [(0, query, key) for query in range(6) for key in range(query + 1)]
    few, many = (plots.information_flow(torch.eye(6)[None], "abcdef", cut=every[:n]) for n in (12, 13))
    thin, thinner = (flow_lines(figure)["cut"].get_linewidths()[0] for figure in (few, many))
    marks = [next(c for c in f.axes[0].collections if c.get_label() == "cut here") for f in (few, many)]
    assert thinner < thin and marks[1].get_sizes()[0] < marks[0].get_sizes()[0]


def test_flow_leaves_room_above_only_for_words_that_stand_there():
    tops = [plots.information_flow(torch.eye(3)[None], "abc", answer=n).axes[0].get_ylim()[1] for n in (None, 3)]
    assert 1 < tops[0] < tops[1]


def test_flow_without_an_intervention_speaks_of_none():
    figure = plots.information_flow(torch.eye(3)[None], "abc", [(0, 1, 1)])
    assert not {"cut", "given", "changed"} & {t.get_text() for t in figure.legends[0].get_texts()}
    assert ";" not in title(figure) and at(figure, "cut here") == []


def test_flow_refuses_cuts_and_places_that_are_not_there():
    patterns = torch.rand(2, 4, 4)
    for name in ("cut", "given"):
        for edge in ((2, 0, 0), (0, 4, 0), (0, 1)):
            with pytest.raises(ValueError, match=f"{name} edge .*give"):
                plots.information_flow(patterns, "abcd", **{name: [edge]})
    plots.information_flow(patterns, "abcd", changed=[(3, 2)])
    for place in ((4, 0), (0, 3), (-1, 0), (1,)):
        with pytest.raises(ValueError, match=r"changed place .*position 0\.\.3, level 0\.\.2"):
            plots.information_flow(patterns, "abcd", changed=[place])
