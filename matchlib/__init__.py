"""How small transformers reason in steps by matching: the code behind the notebooks of `course/`.

A file imports only from floors below its own.

| floor | file | one sentence |
|---|---|---|
| 1 | `chains.py` | chains of distinct tokens, drawn uniformly from all that a residue rule allows |
| 1 | `model.py` | the whole transformer on one page: config, LayerNorm placement, initialisation, named activations |
| 1 | `style.py` | how every figure looks: palette, fonts and sizes, set once |
| 1 | `evidence.py` | how an experiment is written down: hypothesis, prediction, hits, controls, a verdict by rule |
| 1 | `noise_rates.py` | the learning rate that suits each noise best, by validation seeds |
| 1 | `places.py` | where the axes of a panel's pictures stand: found once for those that are alike, so nothing jumps |
| 2 | `baselines.py` | what a guesser scores that follows no chain, computed exactly |
| 2 | `hooks.py` | read (`cache`) and change (`intervene`) any named activation |
| 2 | `panel.py` | what every panel shares: controls that act, one line of words, pictures |
| 2 | `rules.py` | how many steps fit in one pass: the set-union rules of parallel reasoning, and their bounds |
| 2 | `halt.py` | a stop that is heard inside a step: at the next layer, forwards, backwards or in a measurement |
| 3 | `data.py` | chain tasks as tensors: tokens, answers, the graph they came from, splits |
| 3 | `board_plot.py` | the board of the rules: which nodes each position holds, layer by layer, and from whom |
| 3 | `ring_boxes.py` | boxes that answer on a ring, each in a way of its own, for the exercises of lesson 07 |
| 4 | `writers.py` | hops that some layers take, and writers of many ways, for the exercises of lesson 08 |
| 4 | `probe.py` | kernels, matching matrices and scores, attention on the expected edge, controls |
| 4 | `record.py` | what a training was asked to do and what it measured, in memory and on disk |
| 4 | `buffers.py` | what a position holds: buffers as vectors and subspaces, how far they overlap, reading them back |
| 4 | `construct.py` | the network built by hand: weights written down from orthogonal matrices, nothing trained |
| 4 | `flow.py` | the figures of one question: its graph, and the way of information through the layers |
| 5 | `train.py` | one loop as a generator of immutable steps; schedules; stop and resume |
| 5 | `patch.py` | cut, redirect, exchange and ablate what flows inside, and hear what the model then says |
| 5 | `maps.py` | heat maps: which token matches which, and is a kernel diagonal where its factors are not? |
| 5 | `archive.py` | a complete file of records, packed: the same text in a fifth of the space |
| 5 | `namings.py` | what a model answers for one order of the edges, under many names of the tokens |
| 5 | `progress.py` | what a learner has passed so far: a small file beside the exercises, a table, and a panel |
| 5 | `exercises.py` | the notebooks of exercises/, made from those of solutions/ |
| 5 | `drawers.py` | two networks by hand that both answer and store otherwise: side by side, or written over |
| 5 | `watched.py` | a learner's calls in a thread of their own: stopped where they do not end; prints kept |
| 6 | `ledger.py` | the records of many runs in one file: appended so that a kill loses none, and read fast |
| 6 | `presets.py` | four recipes by name: `tiny`, `mini`, `small`, `paper`; a run to do: a recipe and a seed |
| 6 | `causes.py` | what an experiment is: a change, and the token that a hypothesis then predicts |
| 6 | `reading.py` | which layer reads which token of the path: a table for any number of hops and layers |
| 6 | `completeness.py` | is the circuit all of it? faithfulness and completeness, over every part of the circuit |
| 6 | `ensemble.py` | many trainings as one, along a `member` axis, each equal to its solo run |
| 6 | `plots.py` | every figure by one name: takes arrays and records, returns a matplotlib Figure, trains nothing |
| 6 | `ask.py` | a panel that puts a chain of your own to a trained model, and cuts its attention |
| 6 | `explorer.py` | a panel that shows what a task asks, and the guessers to beat |
| 6 | `kinds.py` | which kind of solution did a training find? probes and patches decide |
| 6 | `checking.py` | how an exercise is checked: a learner's code within a time limit, judged in words |
| 6 | `made_up.py` | made-up runs, and boxes that answer in a way of their own, for the exercises of lesson 05 |
| 6 | `depth.py` | does a trained model keep to the rules? accuracy by what they allow, and what others add |
| 6 | `writing.py` | one step at a time: a model writes node after node, and is taught to |
| 6 | `beyond.py` | do deeper models on richer tasks match? by steps: cut, exchanged, stored, and asked elsewhere |
| 6 | `scaffold.py` | teach each layer what the rules let it hold: a scaffold for training, taken away later |
| 7 | `interventions.py` | how each experiment of lesson 04 changes a model, and the token that it predicts |
| 7 | `causal_plots.py` | figures of causes: predictions that came true, which layer reads what, what width buys |
| 7 | `grids.py` | the named grids: a preset, the fields that are varied, and the seeds |
| 7 | `engines.py` | where many runs are trained: processes of this machine, or a Dask cluster |
| 7 | `live.py` | a panel that trains a model while you watch |
| 7 | `movie.py` | a panel that plays the matching matrices of a run over its training |
| 7 | `runs.py` | the named runs of the course: loaded where they are shipped, trained where they are not |
| 7 | `cells.py` | the runs of a sweep as cells: the seeds of one setting, a measure of each, and their spread |
| 7 | `development.py` | how a run comes to be, from inside: norms, condensation and kernels at its snapshots |
| 7 | `rule_board.py` | a panel to reorder the edges and step the layers, with a model's answers beside the rules |
| 7 | `page.py` | what a model that writes needs of the page: one edge, the newest node, nothing older |
| 7 | `beyond_verdicts.py` | what matching predicts of deeper models, and how often it comes true |
| 7 | `middle.py` | four hops with three layers: does the place of a middle edge carry the answer? |
| 8 | `experiments.py` | the experiments of lesson 04, each with its hypothesis and its prediction |
| 8 | `result.py` | the figure on the first page, drawn from a shipped run |
| 8 | `sweep.py` | hundreds of runs that survive: a grid, an engine, and a file that keeps every run that ended |
| 8 | `doctor.py` | is this machine ready for the course? one check a line, with the remedy |
| 8 | `verdicts.py` | how a claim is judged: comparisons of settings that differ in one field, and a verdict by rule |
| 8 | `arms.py` | runs with noise, sorted: which belong together, which learning rate suits them, who is faster |
| 8 | `wording.py` | how the axes, values and cells of a sweep are named and shaded on a page |
| 8 | `shelf.py` | where the records of the course lie, and the command that makes each of them again |
| 8 | `climb.py` | many hops, learnt by stages: small rings first, each stage from where the last one ended |
| 8 | `rules_plots.py` | figures of the rules: reach over orders, steps against depth, the split by what they allow |
| 8 | `aloud.py` | two layers that write the steps, against two asked at once: the record of both |
| 8 | `beyond_plots.py` | figures of deeper models: which layer takes which hop, which predictions came true |
| 8 | `beyond_train.py` | deeper models learnt by stages, and the record of what is found of them |
| 9 | `findings.py` | what the experiments of lesson 04 found on the shipped models |
| 9 | `trials.py` | questions put to a changed model: what is predicted, what is said, and the count |
| 9 | `selection.py` | how the preset `small` was chosen, and whether it holds on fresh seeds |
| 9 | `phase_plots.py` | figures of "when does it form?": phase diagrams, kinds, learning rates, horizons |
| 9 | `noise_weights.py` | figures of what noise does to the weights: its scalars over training, the rank of W_qk |
| 9 | `noise_claim.py` | claim C4: every noise at its best start and learning rate, at each size that was run |
| 9 | `depth_plots.py` | figures of trained models and the rules: what they leave open, cuts, who looks at whom |
| 9 | `depth_claim.py` | claims C5 and C6: rings that were climbed, judged by rule |
| 9 | `aloud_plots.py` | figures of "one step at a time": how far writing carries, how its errors add up |
| 9 | `inquiry.py` | the experiments of lesson 04 put to many models, and what came out, a line an experiment |
| 9 | `scaffold_train.py` | as many hops as the rules allow and one more, learnt with a scaffold; and the record of it |
| 10 | `noise_plots.py` | figures of "can we help it form?": who generalises when, and at which learning rate |
| 10 | `lab.py` | a panel that breaks a model in one place, and holds a prediction to what it then says |
| 10 | `bench.py` | how fast is it, and against what? ratios side by side |
| 10 | `phase.py` | a panel that opens the runs behind a cell of a phase diagram, and trains one of them again |
| 10 | `checks_00.py` | checks of lesson 00: new chains, luck, and what the shipped model does when asked otherwise |
| 10 | `checks_01.py` | checks of lesson 01: a guesser's score, a leak between splits, a shortcut and its control |
| 10 | `checks_02.py` | checks of lesson 02: a layer by hand, the first glance, runs that never do |
| 10 | `checks_02_bait.py` | checks of lesson 02, continued: a bait for the shortcut, a training that knows none |
| 10 | `checks_03.py` | checks of lesson 03: kernels by hand, two scores at odds, class or token |
| 10 | `checks_03_sizes.py` | checks of lesson 03, continued: what size does to a score, and what a score does not see |
| 10 | `checks_04.py` | checks of lesson 04: what counts as a hit, and how sure a count is |
| 10 | `checks_04_changes.py` | checks of lesson 04, continued: steering and its control, fair ablation |
| 10 | `checks_04_drawers.py` | checks of lesson 04, continued: an experiment that can fail, and a layer by hand |
| 10 | `checks_06.py` | checks of lesson 06: transposes, nearly an identity, narrow heads, addresses, never |
| 10 | `checks_07.py` | checks of lesson 07: one sender in place of all, which orders are worst and best |
| 10 | `checks_07_rings.py` | checks of lesson 07, continued: what ruling out can do, and who does more than that |
| 10 | `checks_08.py` | checks of lesson 08: which layers take a hop, and a node that two edges leave |
| 10 | `checks_08_writers.py` | checks of lesson 08, continued: memories, wrong ends, and a turn for every place |
| 10 | `checks_05.py` | checks of lesson 05: who is faster, and how often luck looks like a difference |
| 10 | `checks_05_fair.py` | checks of lesson 05, continued: a fair rate, all else equal, questions that tell |
| 10 | `scaffold_claim.py` | claims C5 and C6 on models that had a scaffold, judged by rule |
| 11 | `noise_lab.py` | a panel that sets an arm with noise beside none: curves, and its scalars over training |
| 11 | `checks.py` | every check by one name: from matchlib import checks, then checks.NAME(your_function) |
| 11 | `claims.py` | the scorecard: what the paper claims, what our records say, and how to make them again |
| 12 | `widgets.py` | every panel by one name: ipywidgets around the floors below, each works without a browser too |
| 12 | `again.py` | a small part of each claim trained again from nothing, and held to the records |
| 13 | `__main__.py` | the commands: `python -m matchlib doctor`, `train`, `sweep`, `reproduce` and `bench` |
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("matchlib")
except PackageNotFoundError:  # a checkout before its installation: the doctor must still start, and say so
    __version__ = "0+not.installed"
