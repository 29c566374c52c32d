"""Settings that every test file shares: repeatable property tests, and GPU tests that say why they are skipped."""

import pytest
import torch
from hypothesis import settings

from matchlib import progress
from matchlib.checking import check

settings.register_profile("course", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("course")


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device on this machine"))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """Panels train and draw little at a time: two threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trial():
    """A check that is taken out of the table again."""
    before = dict(progress.EXERCISES)
    yield check
    progress.EXERCISES.clear()
    progress.EXERCISES.update(before)
