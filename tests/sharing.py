"""Which worker runs which tests, where they run side by side (pytest-xdist)."""

from xdist.scheduler import LoadFileScheduling

PANELS = "tests/browser/test_panels.py"


class Shares(LoadFileScheduling):
    """A file stays with one worker, and so a notebook in order; but each lesson in the browser is as long as a file."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(f"{PANELS}::") else super()._split_scope(nodeid)
