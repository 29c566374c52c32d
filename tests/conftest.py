"""Settings that every test file shares: tests side by side, repeatable property tests, GPU tests that say why not."""

import os

import pytest
import torch
from hypothesis import settings
from sharing import Shares

from matchlib import progress
from matchlib.checking import check

settings.register_profile("course", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("course")


def pytest_configure(config):
    """Where tests run side by side (pytest-xdist), each worker has a core: more threads would wait for each other."""
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the kernels and programs that tests start
        torch.set_num_threads(1)


def pytest_xdist_make_scheduler(config, log):
    return Shares(config, log) if config.getoption("dist") == "loadfile" else None


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
