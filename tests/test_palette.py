"""Colours that hold for everyone: told apart under three kinds of colour blindness, and readable on both themes.

Colour blindness is simulated in linear light (Machado, Oliveira, Fernandes 2009, complete loss of one cone); distances
are those of OKLab (Ottosson 2020), where 0.02 is about the least that is seen side by side.
"""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from matchlib.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION, canvas

MARKS = {"orange": ORANGE, "sky": SKY, "green": GREEN, "blue": BLUE, "vermillion": VERMILLION, "purple": PURPLE,
         "ink": INK, "grey": GREY}  # fmt: skip
SEEN_BY = {
    "everyone else": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_CONES = [[0.412221, 0.536333, 0.051446], [0.211903, 0.680700, 0.107397], [0.088302, 0.281719, 0.629979]]
TO_LAB = [[0.210454, 0.793618, -0.004072], [1.977998, -2.428592, 0.450594], [0.025904, 0.782772, -0.808676]]
APART = 0.07  # more than three times what is just seen, and every mark has a shape or a line of its own besides


def light(colour: str) -> np.ndarray:
    """A colour as linear light, red, green and blue."""
    c = np.array(to_rgb(colour))
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """Of luminances, as WCAG 2 counts it: 1 to 21."""
    low, high = sorted(light(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def distance(one: str, other: str, seen: np.ndarray) -> float:
    lab = [np.array(TO_LAB) @ np.cbrt(TO_CONES @ np.clip(seen @ light(c), 0, 1)) for c in (one, other)]
    return float(np.linalg.norm(lab[0] - lab[1]))


@pytest.mark.parametrize("who", SEEN_BY)
def test_any_two_marks_are_told_apart(who):
    near = {(a, b): d for a, b in combinations(MARKS, 2) if (d := distance(MARKS[a], MARKS[b], SEEN_BY[who])) < APART}
    assert near == {}


@pytest.mark.parametrize(
    ("who", "pair"),
    [("deuteranopia", ("#C03030", "#6F7020")), ("protanopia", ("#804040", "#4C5040")),
     ("tritanopia", ("#0080FF", "#008F90"))],
)  # fmt: skip
def test_colours_that_only_others_tell_apart_are_seen(who, pair):
    assert distance(*pair, SEEN_BY["everyone else"]) > APART > distance(*pair, SEEN_BY[who])


def test_black_on_white_is_all_the_contrast_there_is():
    assert contrast("black", "white") == pytest.approx(21) and contrast("white", "white") == 1


@pytest.mark.parametrize("name", MARKS)
def test_marks_and_words_stand_out_from_the_paper(name):
    """Pictures bring white paper into either theme: words at 4.5 to 1, marks, which are lines and dots, at 2.2."""
    assert contrast(MARKS[name], "white") >= (4.5 if name in ("ink", "grey") else 2.2)


def test_the_paper_is_white_and_opaque_whatever_the_theme():
    pixels = imread(BytesIO(canvas(2.0, "A title")[0]._repr_png_()))
    assert pixels.shape[-1] == 4 and (pixels[..., 3] == 1).all() and (pixels[0, 0, :3] == 1).all()
