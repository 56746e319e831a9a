"""The table of all trials, best first, which can be sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from reports.curves import Curve, central_range, curves, thinned
from reports.formatting import MISSING, duration, finite, four_digits, metric_text, param_text, plural, shorten
from reports.markup import Section, chip, esc, paragraph, scroller
from reports.ranking import ordered
from reports.record import StudyRecord, Trial
from reports.sample_cards import anchor, roles_of

MAX_ROWS = 2_000
MAX_REASON = 200
SPARK_WIDTH, SPARK_HEIGHT, SPARK_POINTS = 84, 22, 16  # px, px, points


@dataclass(frozen=True)
class _Column:
    """A column: `cell` returns HTML, `key` the sort key if it is not the text of the cell."""

    head: str
    cell: Callable[[Trial], str]
    key: Callable[[Trial], float | None] | None = None
    kind: str = ""
    sortable: bool = True


@dataclass(frozen=True)
class _Scale:
    """The common scale of the small curves of all trials, which makes them comparable."""

    last_epoch: int
    low: float
    high: float

    def point(self, epoch: int, value: float) -> str:
        """The point in pixels as an SVG coordinate pair; values outside the scale are drawn on its edge."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        x = 2 + epoch / max(1, self.last_epoch) * (SPARK_WIDTH - 4)
        y = 2 + (1 - min(1.0, max(0.0, share))) * (SPARK_HEIGHT - 4)
        return f"{x:.4g},{y:.3g}"


def section(record: StudyRecord) -> Section | None:
    """All trials by highest rung, then value, failed ones last; None before the first trial."""
    trials = ordered(record)
    if not trials:
        return None
    columns = _columns(record)
    rows = "".join(_row(columns, trial) for trial in trials[:MAX_ROWS])
    heads = "".join(_head(column) for column in columns)
    caption = "Best first: by highest rung, then by value; failed trials last."
    note = ""
    if len(trials) > MAX_ROWS:
        note = f"The first {MAX_ROWS:,} of {plural(len(trials), 'trial')}; trials.csv has all of them."
    table = (
        f'<table class="trials" id="trials-table"><caption class="quiet">{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )
    return Section("Trials", _filter_html() + scroller("Table of trials", table) + paragraph(note, kind="quiet"))


def _filter_html() -> str:
    # Hidden until the script that it needs has run.
    return (
        '<p class="filter" hidden><label for="trials-filter">Filter</label> '
        '<input type="search" id="trials-filter" autocomplete="off" spellcheck="false" '
        'placeholder="words, such as pruned adamw" aria-controls="trials-table"> '
        '<output for="trials-filter" aria-live="polite"></output></p>'
    )


def _columns(record: StudyRecord) -> list[_Column]:
    metric = record.metric
    by_trial = {curve.trial_id: curve for curve in curves(record) if not curve.run}
    values = [value for curve in by_trial.values() for value in curve.values]
    scale = _Scale(
        max((curve.epochs[-1] for curve in by_trial.values()), default=1),
        *(central_range(values) if values else (0.0, 1.0)),
    )
    columns = [
        _Column("Trial", _trial, lambda trial: trial.trial_id, kind="num"),
        _Column("Status", lambda trial: chip(trial.status)),
        _number(metric.label, lambda trial: trial.value, lambda value: metric_text(metric, value), "num strong"),
        _number("Best", lambda trial: trial.best, lambda value: metric_text(metric, value)),
        _Column("Curve", lambda trial: _spark(record, by_trial.get(trial.trial_id), scale), sortable=False),
        *([_samples_column(record)] if record.samples else []),
        *(_param_column(key) for key in record.parameters),
    ]
    if metric.name != "loss":
        columns.append(_number("Loss", lambda trial: trial.loss, four_digits))
    return [
        *columns,
        _Column("Rung", _rung, lambda trial: trial.rung),
        _number("Epochs", lambda trial: trial.epochs, lambda value: f"{value:,.0f}"),
        _number("Time", lambda trial: trial.seconds, duration),
        _Column("Reason", _reason, kind="wide"),
    ]


def _samples_column(record: StudyRecord) -> _Column:
    """Links to the samples in this page, and to their files, if the report is in the study folder."""
    with_samples = {sample.trial_id for sample in record.samples if not sample.run}
    shown = {trial_id for trial_id, run in roles_of(record) if not run}

    def cell(trial: Trial) -> str:
        links = [f'<a href="#{anchor(trial.trial_id)}">shown</a>'] if trial.trial_id in shown else []
        if trial.trial_id in with_samples and trial.folder:
            links.append(f'<a href="{esc(quote(trial.folder))}/samples/">files</a>')
        return " ".join(links) or MISSING

    return _Column("Samples", cell, sortable=False)


def _number(
    head: str, value: Callable[[Trial], float | None], text: Callable[[float], str], kind: str = "num"
) -> _Column:
    def cell(trial: Trial) -> str:
        number = value(trial)
        return MISSING if number is None else esc(text(number))

    return _Column(head, cell, lambda trial: finite(value(trial)), kind)


def _param_column(key: str) -> _Column:
    def number(trial: Trial) -> float | None:
        value: Any = trial.params.get(key)
        return finite(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def cell(trial: Trial) -> str:
        return esc(shorten(param_text(trial.params[key]), 60)) if key in trial.params else MISSING

    return _Column(key, cell, number, "param")


def _trial(trial: Trial) -> str:
    """The number of the trial, with a link to its folder, if the report is in the study folder."""
    if not trial.folder:
        return str(trial.trial_id)
    return f'<a href="{esc(quote(trial.folder))}/" title="folder of the trial">{trial.trial_id}</a>'


def _rung(trial: Trial) -> str:
    description = f' <span class="quiet">{esc(shorten(trial.rung_words, 60))}</span>' if trial.rung_words else ""
    return f"{trial.rung}{description}"


def _reason(trial: Trial) -> str:
    reason = trial.reason or "".join(trial.failure_line.strip().splitlines()[:1])
    notes = [shorten(reason, MAX_REASON)] if reason else []
    if trial.duplicate_of is not None:
        notes.append(f"same as trial {trial.duplicate_of}")
    if trial.retries:
        notes.append(plural(trial.retries, "retry", "retries"))
    return esc("; ".join(notes)) or MISSING


def _head(column: _Column) -> str:
    name = esc(shorten(column.head, 48))
    label = f'<button type="button" title="{esc(column.head)}">{name}</button>' if column.sortable else name
    sort = ' aria-sort="none"' if column.sortable else ""
    return f'<th scope="col"{_kind(column)}{sort}>{label}</th>'


def _row(columns: Sequence[_Column], trial: Trial) -> str:
    first, *rest = columns
    cells = "".join(f"<td{_kind(column)}{_key(column, trial)}>{column.cell(trial)}</td>" for column in rest)
    return f'<tr><th scope="row"{_kind(first)}>{first.cell(trial)}</th>{cells}</tr>'


def _kind(column: _Column) -> str:
    return f' class="{column.kind}"' if column.kind else ""


def _key(column: _Column, trial: Trial) -> str:
    key = column.key(trial) if column.key else None
    return "" if key is None else f' data-v="{key:.9g}"'


def _spark(record: StudyRecord, curve: Curve | None, scale: _Scale) -> str:
    """A curve as a small inline SVG."""
    if curve is None:
        return MISSING
    shown = curve.at(thinned(len(curve.values), SPARK_POINTS))
    points = list(map(scale.point, shown.epochs, shown.values))
    first, last = (metric_text(record.metric, curve.values[end]) for end in (0, -1))
    label = f"from {first} to {last} in {plural(len(curve.values), 'evaluation')}"
    x, y = points[-1].split(",")
    return (
        f'<svg class="spark" viewBox="0 0 {SPARK_WIDTH} {SPARK_HEIGHT}" role="img" aria-label="{esc(label)}">'
        f'<polyline points="{" ".join(points)}"/><circle cx="{x}" cy="{y}" r="2"/></svg>'
    )
