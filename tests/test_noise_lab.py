"""The noise lab, driven through its own controls: what is in view, what is said, and what the records lack."""

import ipywidgets as widgets
import pytest
from test_noise_plots import drawn, lines, made, seeds, title

from matchlib import noise_lab
from matchlib.noise_lab import NoiseLab
from matchlib.style import Picture

pytestmark = pytest.mark.usefixtures("one_thread")
PNG = b"\x89PNG"


@pytest.fixture
def real_pictures():
    """For tests that look at pixels."""


@pytest.fixture(autouse=True)
def quick_pictures(request, monkeypatch):
    """Every figure is made; its pixels, which take most of the time, only for tests that look at them."""
    if "real_pictures" not in request.fixturenames:
        monkeypatch.setattr(Picture, "_repr_png_", lambda figure: PNG + title(figure).encode())


def sweep() -> list:
    """None does best at 0.001, orthogonal at 0.004; identity has one rate alone, and d_head 32 no identity."""
    found = seeds(700, None, lr=1e-3) + seeds(None, None, lr=4e-3)
    for start in (0.3, 1.0):
        found += seeds(900, 900, lr=1e-3, noise="orthogonal", start=start)
        found += seeds(300, 400, lr=4e-3, noise="orthogonal", start=start)
    found += seeds(None, 500, lr=1e-3, noise="identity")
    found += seeds(200, 200, lr=4e-3, d_head=32) + seeds(100, 100, lr=4e-3, d_head=32, noise="orthogonal")
    found += seeds(None, None, lr=4e-3, split="train") + seeds(800, 900, lr=4e-3, split="train", noise="orthogonal")
    return found


@pytest.fixture
def lab() -> NoiseLab:
    return NoiseLab(sweep())


def shown(panel: NoiseLab) -> list[str]:
    """What the page holds: the words of each picture in sight."""
    return [" ".join(place.words.split()) for place in (panel._curves, panel._paths) if place.layout.display != "none"]


def test_the_controls_offer_what_the_records_hold(lab):
    assert lab.split.options == (("any chain", "any"), ("the residue rule", "train"))
    assert lab.d_head.options == (4, 32) and lab.noise.options == ("none", "identity", "orthogonal")
    assert lab.start.options == (("0.3", 0.3), ("1", 1.0)) and lab.lr.options == (("0.001", 1e-3), ("0.004", 4e-3))
    assert all(box.tooltip and box.description for box in lab._boxes.values())


def test_a_choice_shows_its_arm_beside_none_at_its_own_best_rate_and_says_how_many_generalise(lab):
    lab.choose(noise="orthogonal", start=1.0, lr=4e-3, d_head=4, split="any")
    assert lab.sentence == (
        "Orthogonal, start 1, learning rate 0.004: 2 of 2 generalise, median step 350; "
        "none, learning rate 0.001: 1 of 2 generalise, fewer than the median needs."
    )
    assert lab.message.value == lab.sentence
    assert [(r.model.noise, r.train.lr) for runs in lab.runs.values() for r in runs] == [
        ("orthogonal", 4e-3), ("orthogonal", 4e-3), ("none", 1e-3), ("none", 1e-3),
    ]  # fmt: skip
    ax = drawn(lab.figure).axes[0]
    (mine,) = lines(ax, "orthogonal, start 1, learning rate 0.004 (n = 2)")
    (none,) = lines(ax, "none, learning rate 0.001 (n = 2)")
    assert list(mine.get_ydata())[2:5] == pytest.approx([0.3, 0.645, 0.99]) and none.get_ydata()[-1] == 0.645
    assert "possible answer 0.33" in [t.get_text() for t in ax.texts]
    assert lines(drawn(lab.paths).axes[0], "start")[0].get_ydata()[0] == 1.0
    assert shown(lab) == [title(lab.figure), title(lab.paths)]


def test_unticked_none_stands_at_the_same_rate(lab):
    lab.choose(noise="orthogonal", start=0.3, lr=4e-3)
    lab.fair.value = False
    assert lab.sentence.endswith("; none, learning rate 0.004: 0 of 2 generalise.")
    assert {r.train.lr for runs in lab.runs.values() for r in runs} == {4e-3}


def test_without_noise_there_is_no_start_and_no_second_picture(lab):
    assert len(shown(lab)) == 2
    lab.noise.value = "none"
    assert lab.start.disabled and lab.paths is None and shown(lab) == [title(lab.figure)]
    lab.choose(fair=False, lr=4e-3)
    assert list(lab.runs) == ["none, learning rate 0.004"]
    lab.noise.value = "orthogonal"
    assert not lab.start.disabled and len(shown(lab)) == 2


def test_where_an_arm_lacks_a_rate_the_nearest_stands_in_and_is_said(lab):
    lab.choose(noise="identity", start=1.0, lr=4e-3)
    assert lab.sentence.startswith("Identity, start 1, learning rate 0.001: 1 of 2")
    assert lab.sentence.endswith(". Identity, start 1 was not run at 0.004: this is its nearest rate, 0.001.")
    every = [r for rate in (1e-3, 1.1e-3, 4e-3) for r in seeds(500, lr=rate, noise="gaussian")] + seeds(500, lr=2e-3)
    panel = NoiseLab(every)
    panel.choose(lr=4e-3, fair=False)
    assert panel.sentence.endswith("None was not run at 0.004: this is its nearest rate, 0.002.")
    apart = [r for rate in (1e-3, 9e-3) for r in seeds(500, lr=rate, noise="gaussian")]
    panel = NoiseLab(apart + seeds(1, lr=3.5e-3))
    panel.choose(lr=3.5e-3)
    assert "nearest rate, 0.009" in panel.sentence, "by ratio 0.009 is nearer to 0.0035 than 0.001 is"


def test_what_the_records_lack_is_one_sentence_and_the_last_picture_stays(lab):
    lab.choose(noise="orthogonal", start=1.0, d_head=32, lr=4e-3)
    before, words = shown(lab), lab.sentence
    lab.noise.value = "identity"
    says = "The records hold no run of identity, start 1, trained on any chain, d_head 32: choose another."
    assert lab.message.value == says
    assert shown(lab) == before == [title(lab.figure), title(lab.paths)] and lab.sentence == words
    assert lab.noise.value == "identity" and list(lab.runs)[0].startswith("orthogonal")
    lab.d_head.value = 4
    assert lab.sentence == lab.message.value and list(lab.runs)[0].startswith("identity")


def test_runs_without_noise_may_be_lacking_and_failed_runs_are_counted():
    panel = NoiseLab([made("gaussian"), made("gaussian", seed=2, at=None, status="failed")])
    assert panel.sentence == (
        "Gaussian, start 1, learning rate 0.004: 1 of 2 generalise, fewer than the median needs. There are no runs "
        "without noise to compare with."
    )
    (line,) = lines(drawn(panel.figure).axes[0], "gaussian, start 1, learning rate 0.004 (n = 1, 1 failed)")
    assert line.get_ydata()[-1] == 0.99
    panel = NoiseLab([made("gaussian", status="failed")])
    assert panel.message.value.startswith("Every run of this choice failed") and panel.figure is None
    assert panel.paths is None and panel.runs == {} and shown(panel) == []


def test_every_choice_can_be_driven_and_a_picture_is_drawn_once(lab, monkeypatch):
    made_figures = []
    real = noise_lab.curves_with_bands
    monkeypatch.setattr(noise_lab, "curves_with_bands", lambda *a, **k: made_figures.append(a) or real(*a, **k))

    def drag() -> None:
        for split in ("any", "train"):
            for d_head in (4, 32):
                for noise in ("none", "identity", "orthogonal"):
                    for lr in (1e-3, 4e-3):
                        lab.choose(split=split, d_head=d_head, noise=noise, lr=lr, start=1.0)
                        assert lab.message.value and lab.message.value[-1] == "."

    drag()
    first = len(made_figures)
    drag()
    assert len(made_figures) == first > 5


def test_it_says_that_it_draws_and_a_choice_that_was_drawn_does_not(lab, monkeypatch):
    said, say = [], lab.say
    monkeypatch.setattr(lab, "say", lambda words: (said.append(words), say(words)))
    lab.choose(noise="none")
    lab.choose(noise="orthogonal")
    assert said == ["Drawing …", said[1], said[2]] and said[1].startswith("None") and said[2] == lab.message.value


def test_only_so_many_pictures_are_kept(lab, monkeypatch):
    monkeypatch.setattr(noise_lab, "KEPT", 2)
    for rate in (1e-3, 4e-3):
        for start in (0.3, 1.0):
            lab.choose(lr=rate, start=start)
    assert len(lab._views) == 2


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ({"noise": "white"}, "noise='white' is not offered here: it offers none, identity, orthogonal"),
        ({"lr": 3e-3}, "lr=0.003 is not offered here: it offers 0.001, 0.004"),
        ({"fair": "yes"}, "fair='yes' is not offered here: it offers True, False"),
        ({"rate": 1}, "'rate' is no control of this panel: choose among split, d_head, noise, start, lr, fair"),
    ],
)
def test_a_choice_that_is_not_there_is_refused_and_nothing_moves(lab, choice, says):
    before = [box.value for box in lab._boxes.values()]
    with pytest.raises(ValueError, match=says):
        lab.choose(start=0.3, **choice)
    assert [box.value for box in lab._boxes.values()] == before


def test_records_that_cannot_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="There is no record to look at"):
        NoiseLab([])
    with pytest.raises(ValueError, match="Seed 100 of none at learning rate 0.004 is there twice: give the records"):
        NoiseLab([made(), made()])


def test_the_pictures_are_pictures_with_words_and_take_no_colour_from_us(lab, real_pictures):
    lab.choose(noise="orthogonal", start=0.3, lr=1e-3)
    for place in (lab._curves, lab._paths):
        assert place.png.startswith(PNG) and len(place.png) > 5000 and f'alt="{place.words[:5]}' in place.value
    assert not any("color:" in w.value for w in lab.view.children if isinstance(w, widgets.HTML))
