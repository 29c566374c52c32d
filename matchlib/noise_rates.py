"""The learning rate that suits each noise best, by `matchlib.arms.best_rate` on validation seeds: a table a size.

A column is an arm: a noise, and where its scalars start. A row is a condition: the split trained on ("train" keeps the
residue rule, "any" does not) and d_head. Rates are in thousandths; "-" marks an arm that was not run.
"""

ARMS = (
    ("none", 0.0),
    *((noise, start) for noise in ("identity", "gaussian", "orthogonal") for start in (0.0, 0.3, 1.0)),
)


def _table(rows: dict[tuple[str, int], str]) -> dict[tuple[str, int, str, float], float]:
    """Rates by split, d_head, noise and start."""
    return {
        (*condition, *arm): float(rate) / 1000
        for condition, row in rows.items()
        for arm, rate in zip(ARMS, row.split(), strict=True)
        if rate != "-"
    }


#                  none    identity     gaussian    orthogonal
#                          0 0.3  1     0 0.3  1     0 0.3  1
MINI = _table({
    ("any", 4):   " 4      8  16 16    16   8 16     8   8  8",
    ("any", 32):  " 4      4   8 16     8   8  8     4   8  4",
    ("train", 4): " 8      8  16  2     8  16  8    16  16 16",
    ("train", 32): "8      4  16  2     4   8  8     8   8  8",
})  # fmt: skip
SMALL = _table({
    ("train", 8): " 2      2   -  -     -   -  2     -   -  1",
    ("train", 64): "4      2   -  1     4   -  8     4   -  4",
})  # fmt: skip
MIDDLE = _table({
    ("any", 16): "  4      2   -  -     -   -  2     -   -  4",
    ("any", 128): " 2      -   -  -     -   -  -     -   -  2",
})  # fmt: skip
TUNED_ON = {"noise_tuning": MINI, "noise_small_tuning": SMALL, "noise_middle_tuning": MIDDLE}
