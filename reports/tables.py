"""The CSV files and data frames of a study. Their columns are part of the public contract."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from reports.formatting import canonical_json
from reports.record import Agreement, Evaluation, StudyRecord, Trial

if TYPE_CHECKING:
    import pandas as pd

# A spreadsheet treats a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")

# Columns with the names of their attributes: the last ones of a trial, the first ones of an evaluation.
TRIAL_COLUMNS = ("epochs", "rung", "seconds", "reason", "duplicate_of", "retries", "checkpoint")
EVALUATION_COLUMNS = ("trial_id", "epoch", "rung", "slot", "seconds", "ended_at", "run")

Cell = int | float | str | None


def columns(record: StudyRecord) -> list[str]:
    """The names of the columns of `trials.csv`, in order."""
    name = record.metric.name
    return [
        "trial_id",
        "status",
        *dict.fromkeys((f"final_{name}", "final_loss")),
        *(f"param_{key}" for key in record.parameters),
        f"best_{name}",
        *TRIAL_COLUMNS,
        *([f"full_{name}_mean", f"full_{name}_std", "seeds"] if _promoted(record) else []),
    ]


def _promoted(record: StudyRecord) -> bool:
    """Whether any trial has completed a run at full budget."""
    return any(trial.full_seeds for trial in record.trials)


def trials_frame(record: StudyRecord) -> pd.DataFrame:
    """One row per trial in the order of the record; missing values are NA.

    Integers stay integers (`Int64`), a parameter with values of several types keeps them (`object`), lists, mappings,
    booleans and null become JSON texts.
    """
    return _frame(columns(record), [_row(record, trial) for trial in record.trials])


def trials_csv(record: StudyRecord) -> str:
    """The text of `trials.csv`. Texts that a spreadsheet would treat as formulas get a leading apostrophe."""
    return _lines(columns(record), (_row(record, trial) for trial in record.trials))


def metric_columns(record: StudyRecord) -> list[str]:
    """The names of the columns of `metrics.csv`, in order: the primary metric is the first of the metrics."""
    recorded = dict.fromkeys(name for evaluation in record.evaluations for name in evaluation.metrics)
    primary = [record.metric.name] if record.metric.name in recorded else []
    metrics = dict.fromkeys([*primary, *recorded])
    return [*EVALUATION_COLUMNS, *(name for name in metrics if name not in EVALUATION_COLUMNS)]


def metrics_frame(record: StudyRecord) -> pd.DataFrame:
    """One row per evaluation in the order of the record; `run` is the folder of a promoted run, NA in the search."""
    names = metric_columns(record)
    return _frame(names, [_evaluation_row(names, evaluation) for evaluation in record.evaluations])


def metrics_csv(record: StudyRecord) -> str:
    """The text of `metrics.csv`: all evaluations, with the same protection against formulas."""
    names = metric_columns(record)
    return _lines(names, (_evaluation_row(names, point) for point in record.evaluations))


AGREEMENT_COLUMNS = (
    "lower", "upper", "seen", "compared", "anchors", "method", "naive_tau", "naive_tau_low", "naive_tau_high",
    "tau", "tau_low", "tau_high", "rho", "rho_low", "rho_high", "top", "overlap", "regret",
)  # fmt: skip


def agreement_csv(record: StudyRecord) -> str:
    """The text of `agreement.csv`: how well each budget predicts the next, one row per pair of budgets."""
    return _lines(AGREEMENT_COLUMNS, map(_agreement_row, record.agreements))


def _agreement_row(pair: Agreement) -> list[Cell]:
    estimates: list[Cell] = [number for e in (pair.naive, pair.tau, pair.rho) for number in (e.value, e.low, e.high)]
    counts: list[Cell] = [pair.lower, pair.upper, pair.seen, pair.compared, pair.anchors, pair.method]
    return [*counts, *estimates, pair.top, pair.overlap, pair.regret]


def decisions_frame(record: StudyRecord) -> pd.DataFrame:
    """One row per decision in the order in which they were made."""
    decisions = sorted(record.decisions, key=lambda decision: decision.sequence)
    rows: list[list[Cell]] = [[decision.sequence, decision.trial_id, decision.line] for decision in decisions]
    return _frame(("sequence", "trial_id", "line"), rows)


def _evaluation_row(names: list[str], point: Evaluation) -> list[Cell]:
    fixed = [_known(getattr(point, name)) for name in EVALUATION_COLUMNS]
    return [*fixed, *(_known(point.metrics.get(name)) for name in names[len(fixed) :])]


def _row(record: StudyRecord, trial: Trial) -> list[Cell]:
    if record.metric.name == "loss":
        finals = [trial.loss if trial.value is None else trial.value]
    else:
        finals = [trial.value, trial.loss]
    return [
        trial.trial_id,
        trial.status,
        *map(_known, finals),
        *(_param(trial.params[key]) if key in trial.params else None for key in record.parameters),
        _known(trial.best),
        *(_known(getattr(trial, name)) for name in TRIAL_COLUMNS),
        *(_full(trial) if _promoted(record) else []),
    ]


def _full(trial: Trial) -> list[Cell]:
    mean = trial.full.value if trial.full is not None else None
    return [mean, trial.full_deviation, trial.full_seeds or None]


def _known(value: Cell) -> Cell:
    """The value, or None for an empty text or NaN."""
    return None if value == "" or value != value else value


def _param(value: Any) -> Cell:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return canonical_json(value)


def _lines(names: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    return "".join(_line(cells) for cells in (names, *rows))


def _line(cells: Iterable[Cell]) -> str:
    line = io.StringIO()
    # This terminator makes it quote cells with either line end.
    csv.writer(line, lineterminator="\r\n").writerow(map(_text, cells))
    return f"{line.getvalue()[:-2]}\n"


def _text(cell: Cell) -> str:
    """The cell as CSV text. `repr` of a float is the shortest text that is parsed back to the same float."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
    return repr(cell)


def _frame(names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> pd.DataFrame:
    import pandas as pd  # slow to import, and not needed to write the CSV files

    return pd.DataFrame({name: _series([row[index] for row in rows]) for index, name in enumerate(names)})


def _series(cells: list[Cell]) -> pd.Series[Any]:
    """The dtype is chosen here: pandas would turn 4 and 4.5 into 4.0 and 4.5, and 4 and a gap into 4.0 and NaN."""
    import pandas as pd

    types = {type(cell) for cell in cells if cell is not None}
    if types == {int} and all(cell is None or abs(int(cell)) < 2**63 for cell in cells):
        return pd.Series(cells, dtype="Int64")
    if types == {float}:
        return pd.Series(cells, dtype="float64")
    return pd.Series(cells, dtype="object")
