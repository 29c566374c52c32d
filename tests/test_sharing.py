"""Tests side by side: a notebook's cells stay together and in order, lessons in the browser are shared out."""

from pathlib import Path

import pytest
from sharing import PANELS, Shares


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("course/02_model.ipynb::Cell 0", "course/02_model.ipynb::Cell 1", True),
        ("course/02_model.ipynb::Cell 0", "course/03_matching.ipynb::Cell 0", False),
        (f"{PANELS}::test_a_lesson[00]", f"{PANELS}::test_a_lesson[01]", False),
        ("tests/browser/test_class.py::test_a", "tests/browser/test_class.py::test_b", True),
    ],
)
def test_who_stays_with_one_worker(one, other, together):
    shares = Shares.__new__(Shares)  # without a run to share out
    assert (shares._split_scope(one) == shares._split_scope(other)) == together


def test_the_lessons_in_the_browser_are_where_they_are_looked_for():
    assert (Path(__file__).parent.parent / PANELS).is_file()
