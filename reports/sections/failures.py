"""The failures of trials and promoted runs, grouped by cause."""

from __future__ import annotations

from collections import Counter

from reports.formatting import plural, shorten
from reports.markup import Section, code, esc, paragraph, table
from reports.record import StudyRecord

MAX_CAUSES = 50
MAX_TRIALS_NAMED = 12

Cause = tuple[str, str]


def section(record: StudyRecord) -> Section | None:
    """Failures by kind and cause, the most frequent first; None if nothing failed."""
    failed: dict[Cause, list[str]] = {}
    for trial in record.trials:
        if trial.status == "failed":
            cause = (trial.failure_kind or "unknown", _first_line(trial.failure_line or trial.reason))
            failed.setdefault(cause, []).append(str(trial.trial_id))
    for run in record.full_runs:
        if run.status == "failed":
            failed.setdefault(("promoted run", _first_line(run.reason)), []).append(run.folder)
    if not failed:
        return None
    causes = sorted(failed, key=lambda cause: (-len(failed[cause]), cause))
    rows = [_row(cause, failed[cause]) for cause in causes[:MAX_CAUSES]]
    kinds = Counter({kind: 0 for kind, _ in causes})
    for (kind, _), names in failed.items():
        kinds[kind] += len(names)
    counts = ", ".join(f"{count:,} × {esc(kind)}" for kind, count in kinds.most_common())
    more = len(causes) - len(rows)
    return Section(
        "Failures",
        paragraph(counts + ".")
        + table("Failures by cause", ("Kind", "Count", "Cause", "Trials"), rows, numeric=(1,), wide=(2,))
        + paragraph(f"{plural(more, 'less frequent cause')} not shown." if more else ""),
    )


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "no cause recorded")


def _row(cause: Cause, names: list[str]) -> tuple[str, str, str, str]:
    kind, line = cause
    named = ", ".join(shorten(name, 40) for name in names[:MAX_TRIALS_NAMED])
    more = f" and {len(names) - MAX_TRIALS_NAMED:,} more" if len(names) > MAX_TRIALS_NAMED else ""
    return esc(kind), f"{len(names):,}", code(shorten(line, 300)), esc(named + more)
