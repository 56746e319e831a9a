"""The contract between a study and its reports: plain data.

The orchestrator fills a `StudyRecord` from a study folder; everything in this package reads one and nothing else.
Every string may come from an untrusted file, so code that writes HTML or CSV must escape it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["completed", "pruned", "failed", "paused", "running"]

STATUSES: tuple[Status, ...] = ("completed", "pruned", "failed", "paused", "running")


@dataclass(frozen=True)
class Metric:
    """The primary metric: `name` in CSV files (`bleu`, `map`, `accuracy`, `loss`), `label` for people (`BLEU`).

    Its methods are the only place in the reports that knows which values are better. They take finite values.
    """

    name: str
    label: str
    direction: Literal["maximize", "minimize"]

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"

    def sort_key(self, value: float) -> float:
        """A key that sorts values from best to worst."""
        return -value if self.maximize else value


@dataclass(frozen=True)
class Rung:
    """A step of the budget. `epochs` is counted from the start of a trial; `images` is per epoch, 0 if unknown."""

    words: str
    epochs: int
    images: int = 0


@dataclass(frozen=True)
class Trial:
    """One configuration, from its first epoch to its last. Values are those at the highest rung it reached.

    `value`, `loss` and `best` are None before the first evaluation. `seconds` is the time of its `epochs`. `rung`
    counts from 1, `rung_words` describes it (`3 epochs, 500 images @160 px`). `folder` is relative to the study.
    `spared` maps a rung to `anchor` or `audit` if the trial was chosen at random to continue there. `full` is the mean
    over its completed runs at full budget, `full_deviation` their standard deviation.
    """

    trial_id: int
    status: Status
    params: Mapping[str, Any]
    value: float | None = None
    loss: float | None = None
    best: float | None = None
    epochs: int = 0
    rung: int = 1
    rung_words: str = ""
    seconds: float = 0.0
    reason: str = ""
    duplicate_of: int | None = None
    retries: int = 0
    checkpoint: str = ""
    failure_kind: str = ""
    failure_line: str = ""
    folder: str = ""
    spared: Mapping[int, str] = field(default_factory=dict)
    full: Estimate | None = None
    full_deviation: float | None = None
    full_seeds: int = 0


@dataclass(frozen=True)
class FullRun:
    """A promoted trial at full budget, one seed. `folder` is relative to the study (`full/0007-seed0`).

    `from_checkpoint`: it started from the weights of the search, with a new learning-rate schedule.
    """

    trial_id: int
    seed_index: int
    status: Status
    folder: str
    value: float | None = None
    loss: float | None = None
    best: float | None = None
    epochs: int = 0
    total_epochs: int = 0
    seconds: float = 0.0
    reason: str = ""
    from_checkpoint: bool = False


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a trial, or of a promoted run if `run` names its folder; `run` is empty in the search.

    `seconds` is the time since the previous evaluation. The evaluation was made in the slot named `slot` and ended
    `ended_at` seconds after the start of the study, not counting the time between two calls; they are empty and None
    in studies that did not record them. `evaluation_seconds` is the part of `seconds` spent on evaluating, None if
    unknown. `opening_seconds` (loading the trial before) and `checkpoint_seconds` (waiting after) come on top.
    """

    trial_id: int
    epoch: int
    step: int
    rung: int
    seconds: float
    metrics: Mapping[str, float]
    run: str = ""
    slot: str = ""
    ended_at: float | None = None
    opening_seconds: float = 0.0
    evaluation_seconds: float | None = None
    checkpoint_seconds: float = 0.0


@dataclass(frozen=True)
class Wasted:
    """Work of a slot that produced no evaluation, from `begin` to `end` in seconds of the study; `kind` says why."""

    slot: str
    trial_id: int
    begin: float
    end: float
    kind: str
    run: str = ""


@dataclass(frozen=True)
class Estimate:
    """A number and the ends of its 95 % interval; None if it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Decision:
    """A change of a trial's state and its reason. `sequence` is their order, `line` the line in the log."""

    sequence: int
    trial_id: int
    line: str


@dataclass(frozen=True)
class Box:
    """An object in an image. `place` is left, top, width, height in pixels of the file; references have no score."""

    label: str
    place: tuple[float, ...]
    score: float | None = None


@dataclass(frozen=True)
class Sample:
    """The output of a model for one validation sample. `image` is a file, None if the sample has no image.

    `references` and `predictions` are texts: captions or class names. If there are boxes, they hold the same as the
    texts and are drawn instead. `generated` is the file of an image generated by the model, shown beside `image`.
    """

    trial_id: int
    image: Path | None
    title: str
    references: Sequence[str] = ()
    predictions: Sequence[str] = ()
    run: str = ""
    reference_boxes: Sequence[Box] = ()
    predicted_boxes: Sequence[Box] = ()
    generated: Path | None = None


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix of a trial, or of the promoted run in the folder `run`.

    `counts` has one row per true class and one column per predicted class, both in the order of `labels`.
    """

    trial_id: int
    labels: Sequence[str]
    counts: Sequence[Sequence[float]]
    run: str = ""


@dataclass(frozen=True)
class Ranks:
    """How well the ranking of trials at one budget predicts their ranking at a larger one.

    `seen` trials have a result at the lower budget, `compared` at both; `anchors` of these were chosen at random.
    `naive` is Kendall's τ-b over the compared trials; `tau` and Spearman's `rho` are corrected for the selection:
    `method` is `all` (every trial continued), `anchors` (weighted by the probability of being chosen) or `model` (a
    normal model; the least certain). `overlap` is the share of the `top` best that both budgets have in common;
    `regret`, in units of the metric, is the loss from choosing at the lower budget.
    """

    seen: int
    compared: int
    anchors: int
    method: Literal["all", "anchors", "model"]
    naive: Estimate
    tau: Estimate
    rho: Estimate
    top: int
    overlap: float
    regret: float

    @property
    def poor(self) -> bool:
        """Whether even the upper end of the interval is too low to be of use; a normal model cannot prove that."""
        return self.method != "model" and self.tau.high is not None and self.tau.high < 0.3


@dataclass(frozen=True)
class Agreement(Ranks):
    """The `Ranks` of two budgets, with their names and the values of the trials by trial id."""

    lower: str
    upper: str
    lower_values: Mapping[int, float]
    upper_values: Mapping[int, float]


@dataclass(frozen=True)
class Audit:
    """Trials chosen at random that were trained to the end instead of being paused or pruned.

    Of the `audited` trials, `wrong` ended better than the best of the others, by at most `most`: stopping them would
    have been a mistake. `share` estimates their share among all stopped trials.
    """

    audited: int
    wrong: int
    most: float
    share: Estimate


@dataclass(frozen=True)
class Choice:
    """The winner of the promoted runs: the best mean over seeds. `lead` is its difference from the runner-up.

    `tie`: the interval of the lead contains 0; None if there is no interval.
    """

    trial_id: int
    mean: Estimate
    seeds: int
    runner_up: int | None = None
    lead: Estimate | None = None
    tie: bool | None = None


@dataclass(frozen=True)
class StudyRecord:
    """Everything that a report may show.

    `searched` and `environment` map labels to texts, in reading order. `parameters` are the dotted keys that vary, in
    the order of the CSV columns. `budget_words` describes the budget of one trial, `rungs` are its steps, lowest
    first. `planned_trials` is the planned number of trials, `epochs_per_trial` the epochs of a trial that is never
    stopped. `next_steps` are (reason, exact command) pairs. `noise` is the standard deviation between seeds of one
    configuration in full training.
    """

    name: str
    task: str
    metric: Metric
    budget_words: str = ""
    rungs: Sequence[Rung] = ()
    planned_trials: int = 0
    epochs_per_trial: int = 0
    searched: Mapping[str, str] = field(default_factory=dict)
    parameters: Sequence[str] = ()
    log_parameters: Sequence[str] = ()
    trials: Sequence[Trial] = ()
    full_runs: Sequence[FullRun] = ()
    evaluations: Sequence[Evaluation] = ()
    wasted: Sequence[Wasted] = ()
    decisions: Sequence[Decision] = ()
    samples: Sequence[Sample] = ()
    matrices: Sequence[Matrix] = ()
    agreements: Sequence[Agreement] = ()
    audit: Audit | None = None
    choice: Choice | None = None
    noise: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    next_steps: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    generated_at: str = ""
    in_progress: bool = False
