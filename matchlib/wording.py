"""How the axes, values and cells of a sweep are named and shaded on a page, in figures and panels alike.

A share is cut to two decimals and never rounded up; a cell that is shown holds one setting, seed after seed.
"""

from collections.abc import Iterable, Sequence
from math import ceil, floor, inf, isfinite, isnan

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize, to_hex, to_rgb

from matchlib.cells import MEASURES, Spread, cells, kind_of
from matchlib.ledger import Record

Cells = dict[tuple, list[Record]]
AXES = {  # what the axes of the course's sweeps are called
    "model.layernorm": "LayerNorm", "model.gamma": "gamma", "train.weight_decay": "weight decay",
    "train.n_train": "training sequences", "train.lr": "learning rate",
}  # fmt: skip
BLUES = LinearSegmentedColormap.from_list("blues", colormaps["Blues"](np.linspace(0.05, 0.95, 256)))
NEVER = "#F4F4F4"
HEAD = (
    "seed", "kind of solution", "test", "OOD", "as long", "argmax, by layer", "steps to generalise",
    "renamed: twin, stranger", "broken: twin, stranger",
)  # fmt: skip


def label(axis: str) -> str:
    """What an axis is called on the page."""
    return AXES.get(axis, axis.split(".")[-1].replace("_", " "))


def tick(axis: str, value) -> str:
    """A value of an axis, short: "0.9", "1,000", "fresh", "post-LN"."""
    if value is None:
        return "fresh" if axis == "train.n_train" else "none"
    if axis == "model.layernorm":
        return f"{value}-LN"
    return f"{value:,}" if type(value) is int else f"{value:g}" if isinstance(value, float) else str(value)


def word(axis: str, value) -> str:
    """A value that says of what: "gamma 0.9", "1,000 sequences", "post-LN"."""
    if axis == "train.n_train":
        return f"{tick(axis, value)} sequences"
    return tick(axis, value) if axis == "model.layernorm" else f"{label(axis)} {tick(axis, value)}"


def words(axes: Sequence[str], values: Sequence) -> str:
    return ", ".join(map(word, axes, values))


def among(axes: Sequence[str], counted: dict[tuple, tuple[int, int]], what: str = "") -> str:
    """Counts for a title: "17 of 54 cells (post-LN), 10 of 54 (pre-LN)", where no line breaks within a name."""
    said = [(f"{n} of {total}", f" ({words(axes, key)})" if axes else "") for key, (n, total) in counted.items()]
    counts = ", ".join(f"{n}{'' if k or not what else f' {what}'}{where}" for k, (n, where) in enumerate(said))
    return counts.replace("-LN", "\N{NON-BREAKING HYPHEN}LN")


def share_text(value: float) -> str:
    """A share cut to two decimals: 0.996 has not reached 1."""
    return f"{floor(round(100 * value, 6)) / 100:.2f}"


def text_of(measure: str, value: float) -> str:
    """A value of a measure as a cell shows it."""
    if isnan(value):
        return "–"
    if MEASURES[measure].top is not None:
        return share_text(value)
    return "never" if value == inf else f"{ceil(value):,}"


class Shades:
    """The colours of a measure: dark is good. Steps have a logarithmic scale, and `never` a colour apart."""

    def __init__(self, measure: str, records: Iterable[Record]):
        self.norm, self.colours = Normalize(0, 1), BLUES
        if MEASURES[measure].top is None:
            records = [record for record in records if record.status == "done"]
            most = max((r.train.steps for r in records), default=10)
            least = min((s for s in map(MEASURES[measure].of, records) if 0 < s < most), default=most / 10)
            self.norm, self.colours = LogNorm(least, most), BLUES.reversed()

    def __call__(self, value: float) -> tuple[str, str]:
        """Background and text, as hex colours whose contrast is at least 4.5 to 1."""
        back = to_hex(self.colours(float(self.norm(max(value, self.norm.vmin))))) if isfinite(value) else NEVER
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(back))
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        return back, "#FFFFFF" if luminance < 0.179 else "#000000"


def ended(records: Iterable[Record], *axes: str) -> Cells:
    """The cells of these axes. Raises ValueError where no run ended well."""
    if found := cells(records, *axes):
        return found
    raise ValueError("There is no run that ended well: give the records of a sweep, from `ledger.load`.")


def settled(records: Iterable[Record], *axes: str) -> Cells:
    """The cells of these axes. Raises ValueError for none, or for a cell that mixes settings."""
    for key, of in (found := ended(records, *axes)).items():
        if len({(r.task, r.model, r.train) for r in of}) > 1:
            raise ValueError(
                f"The cell of {words(axes, key) or 'all runs'} mixes runs of several settings: choose axes and panels "
                "that tell them apart, or give the records of one setting a cell."
            )
    return found


def left_out(records: Iterable[Record]) -> str:
    """A sentence on the runs that no cell holds, where there are any."""
    n = sum(record.status != "done" for record in records)
    return f" {n} {'run' if n == 1 else 'runs'} that failed {'is' if n == 1 else 'are'} left out." if n else ""


def count_text(sizes: Iterable[int], what: str = "seed") -> str:
    least, most = min(sizes := set(sizes)), max(sizes)
    return f"{least if least == most else f'{least} to {most}'} {what}{'' if most == 1 else 's'}"


def below(measure: str, of: Spread) -> str:
    """What stands under a median: the range, or of steps how many seeds got there."""
    if MEASURES[measure].top is None:
        return f"{of.reached}/{of.n}"
    least, most = (share_text(value).replace("0.", ".").replace("1.00", "1") for value in of.range)
    return f"{least}–{most}" if isfinite(of.median) else ""


def as_row(record: Record) -> list[str]:
    """A run as a row of a table under `HEAD`."""
    last, probed = {name: values[-1] for name, values in record.columns.items()}, record.probed

    def asked(*names: str) -> str:
        return ", ".join(share_text(probed[name]) for name in names) if set(names) <= set(probed) else "–"

    return [
        str(record.seed), kind_of(record) if probed else "not asked", share_text(last["test"]), share_text(last["ood"]),
        asked("ood_as_long"), ", ".join(map(share_text, last["argmax"])),
        text_of("generalised", MEASURES["generalised"].of(record)),
        asked("renamed_twin", "renamed_stranger"), asked("broken_twin", "broken_stranger"),
    ]  # fmt: skip
