"""The contract between a study and its reports: plain data, no behaviour.

`orchestrator.results.record` fills a `StudyRecord` from a study folder; everything in this package reads one
and nothing else. Every string may come from a file of a stranger, so whoever writes HTML or CSV escapes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Direction = Literal["maximize", "minimize"]
Status = Literal["completed", "pruned", "failed", "paused", "running"]

STATUSES: tuple[Status, ...] = ("completed", "pruned", "failed", "paused", "running")


@dataclass(frozen=True)
class Metric:
    """The primary metric: `name` in CSV (`bleu`, `map`, `accuracy`, `loss`), `label` to read (`BLEU`)."""

    name: str
    label: str
    direction: Direction


@dataclass(frozen=True)
class Rung:
    """A step of the budget. `epochs` count from a trial's start; `images` are those of one epoch, 0 where unknown."""

    words: str
    epochs: int
    images: int = 0


@dataclass(frozen=True)
class Trial:
    """One configuration, from first epoch to last. Values are at the highest rung that it reached.

    `value`, `loss` and `best` are None until an evaluation exists. `epochs` counts trained epochs, `seconds`
    the time they took. `rung` counts from 1, `rung_words` says what it is (`3 epochs, 500 images @160 px`).
    `folder` is relative to the study (`trials/0007`). `spared`: rung → `anchor` or `audit`, where it went on by lot.
    `full` is the mean over its completed runs at full budget, `full_deviation` their standard deviation.
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

    `from_checkpoint`: it started from the weights that the search had trained, under a schedule laid anew.
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
    """One evaluation of a trial, or of a promoted run, where `run` is its folder; empty in the search.

    `seconds` is the time since the evaluation before it. It was made in the place named `slot`, and ended `ended_at`
    seconds after the study began, the time between two calls left out; empty and None in studies that did not keep it.
    Of `seconds`, `evaluation_seconds` went into evaluating, None where unknown. On top of them, `opening_seconds` went
    into opening the trial before and `checkpoint_seconds` into waiting for the checkpoint after.
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
    """Between `begin` and `end`, in seconds of the study, a slot worked on a trial for nothing: `kind` says why."""

    slot: str
    trial_id: int
    begin: float
    end: float
    kind: str
    run: str = ""


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95 % interval; None where it cannot be had."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Decision:
    """A change of a trial's state and why. `sequence` orders them, `line` is what the log says."""

    sequence: int
    trial_id: int
    line: str


@dataclass(frozen=True)
class Box:
    """An object in an image. `place` is left, top, width, height in pixels of the file; a reference has no score."""

    label: str
    place: Sequence[float]
    score: float | None = None


@dataclass(frozen=True)
class Sample:
    """What a model made of a validation sample. `image` is a file, None where the sample has none.

    `references` and `predictions` are texts: captions, classes. Boxes, where there are any, say the same as the texts
    and are drawn in their place. `generated` is the file of an image that the model made, to be seen beside `image`.
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
    """How often a trial, or the promoted run in the folder `run`, took one class for another.

    `counts` has a row for each true class and a column for each predicted one, both in the order of `labels`.
    """

    trial_id: int
    labels: Sequence[str]
    counts: Sequence[Sequence[float]]
    run: str = ""


@dataclass(frozen=True)
class Agreement:
    """How well the order of trials at one budget (`lower`) foretells their order at another (`upper`).

    `seen` trials have a result on the lower, `compared` on both, of which `anchors` went on by lot. `naive` is
    Kendall's τ-b among the compared; `tau`, and Spearman's `rho`, are corrected for who went on. `method` is `all`
    (every trial went on), `anchors` (weighted by the chances of the lots) or `model` (a normal model; the least sure).
    `overlap` is the share of the `top` best that are the same; `regret`, in the metric, what choosing by the lower
    costs. `poor`: the whole interval says that the lower is of no use.
    """

    lower: str
    upper: str
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
    poor: bool = False
    lower_values: Mapping[int, float] = field(default_factory=dict)
    upper_values: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """Trials that would have rested or been pruned and were trained to the end: how often that would have been wrong.

    `wrong` of `audited` ended better than the best of those that came to the end by themselves, at most by `most`.
    `share` is their share among all that would have rested, with its interval.
    """

    audited: int
    wrong: int
    most: float
    share: Estimate


@dataclass(frozen=True)
class Choice:
    """The winner of the promoted runs: the best mean over seeds. `lead` is its difference to the runner-up.

    `tie`: the interval of the lead holds 0; None where there is no interval.
    """

    trial_id: int
    mean: Estimate
    seeds: int
    runner_up: int | None = None
    lead: Estimate | None = None
    tie: bool | None = None


@dataclass(frozen=True)
class StudyRecord:
    """All that a report may draw.

    `searched` and `environment` are label → words, in the order in which they should be read.
    `parameters` are the dotted keys that vary, in the order of the CSV's columns.
    `budget_words` is one trial's budget, `rungs` its steps, lowest first; `planned_trials` how many the study was to
    have; `epochs_per_trial` what an undisturbed trial trains. `next_steps` are (why, exact command) pairs.
    `noise` is the standard deviation from seed to seed of one configuration in full training.
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
