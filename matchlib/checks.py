"""The checks of the exercises, by one name: `from matchlib import checks`, then `checks.NAME(your_function)`.

    checks.progress()        what is passed so far, in every notebook; checks.progress("01") in one lesson
    checks.passed(name)      did this exercise pass when this kernel checked it last?
    checks.ProgressPanel()   the same as a panel

A check tries your function on fresh random inputs, stops it where it does not end, and says what passed, or which
misconception it recognises and how to see it. `matchlib.checking` says how, `matchlib.progress` what is kept.
"""

from matchlib.checks_00 import backwards, luck, new_chain, one_edge, twin
from matchlib.checks_01 import control, interior, leak, residue_on_any, shortcut
from matchlib.checks_02 import first_glance, layer_by_hand, typical_steps
from matchlib.checks_02_bait import bait, without_rule
from matchlib.checks_03 import class_share, kernel_of_linears, two_scores
from matchlib.checks_03_sizes import full_marks, long_neighbours
from matchlib.checks_04 import hits_of
from matchlib.checks_04_changes import empty_fall, like_control, steer
from matchlib.checks_04_drawers import matching_weights, which_drawer
from matchlib.checks_05 import false_alarms, how_often_faster
from matchlib.checks_05_fair import fair_rate, tell_apart, where_smaller_harms
from matchlib.checks_06 import gaussian_kernel, narrow_match, noise_for_path, own_address, still_possible
from matchlib.checks_07 import behind, one_ear, reversed_order
from matchlib.checks_07_rings import goes_beyond, knowing
from matchlib.checks_08 import smallest_sets, two_edges
from matchlib.checks_08_writers import gap_chances, two_texts, why_wrong
from matchlib.progress import ProgressPanel, passed, progress

__all__ = [
    "ProgressPanel", "passed", "progress",
    "backwards", "luck", "new_chain", "one_edge", "twin",
    "control", "interior", "leak", "residue_on_any", "shortcut",
    "bait", "first_glance", "layer_by_hand", "typical_steps", "without_rule",
    "class_share", "full_marks", "kernel_of_linears", "long_neighbours", "two_scores",
    "empty_fall", "hits_of", "like_control", "matching_weights", "steer", "which_drawer",
    "fair_rate", "false_alarms", "how_often_faster", "tell_apart", "where_smaller_harms",
    "gaussian_kernel", "narrow_match", "noise_for_path", "own_address", "still_possible",
    "behind", "goes_beyond", "knowing", "one_ear", "reversed_order",
    "gap_chances", "smallest_sets", "two_edges", "two_texts", "why_wrong",
]  # fmt: skip
