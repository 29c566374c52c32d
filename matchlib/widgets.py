"""Every panel of the course: ipywidgets around the floors below, and each works without a browser too.

    AskTheModel(run)              put a chain of your own to a trained model, and cut its attention
    ChainExplorer()               see what a task asks, and which guessers to beat
    LiveTraining(task, ...)       train a model while you watch; stop, and go on
    MatchingMovie(run)            matching matrices over training, beside accuracy and score
    PatchingLab({name: run})      break a model in one place, and hold a prediction to what it then says
    PhaseDiagram(records)         a map of hundreds of runs: open the cell, train one of its runs again
    NoiseLab(records)             a way to add noise, beside none: curves with bands, and its scalars
    RuleBoard({name: run})        reorder the edges and step the layers: how far the rules let the start hear

End a cell with the panel, or with `panel.view`; end the next with `panel.figure`, a plain picture for pages on which
widgets do not run. A panel's methods do what its buttons do: `panel.ask()`, `panel.advance(100)`.
"""

from matchlib.ask import AskTheModel
from matchlib.explorer import ChainExplorer
from matchlib.lab import PatchingLab
from matchlib.live import LiveTraining
from matchlib.movie import MatchingMovie
from matchlib.noise_lab import NoiseLab
from matchlib.phase import PhaseDiagram
from matchlib.rule_board import RuleBoard

__all__ = [
    "AskTheModel", "ChainExplorer", "LiveTraining", "MatchingMovie", "NoiseLab", "PatchingLab", "PhaseDiagram",
    "RuleBoard",
]  # fmt: skip
