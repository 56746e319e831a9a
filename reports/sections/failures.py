"""What failed, how often and why."""

from __future__ import annotations

from collections import Counter

from reports.markup import Section, code, esc, paragraph, table
from reports.record import StudyRecord
from reports.words import plural, shorten

MAX_CAUSES = 50
MAX_TRIALS_NAMED = 12

Cause = tuple[str, str]


def section(record: StudyRecord) -> Section | None:
    """Failures by kind and cause, the most frequent first; None where nothing failed."""
    who: dict[Cause, list[str]] = {}
    for trial in record.trials:
        if trial.status == "failed":
            cause = (trial.failure_kind or "unknown", _first_line(trial.failure_line or trial.reason))
            who.setdefault(cause, []).append(str(trial.trial_id))
    for run in record.full_runs:
        if run.status == "failed":
            who.setdefault(("promoted run", _first_line(run.reason)), []).append(run.folder)
    if not who:
        return None
    causes = sorted(who, key=lambda cause: (-len(who[cause]), cause))
    rows = [_row(cause, who[cause]) for cause in causes[:MAX_CAUSES]]
    kinds = Counter({kind: 0 for kind, _ in causes})
    for (kind, _), names in who.items():
        kinds[kind] += len(names)
    words = ", ".join(f"{count:,} × {esc(kind)}" for kind, count in kinds.most_common())
    more = len(causes) - len(rows)
    return Section(
        "Failures",
        paragraph(words + ".")
        + table("Failures by cause", ("Kind", "Count", "Cause", "Trials"), rows, numeric=(1,), wide=(2,))
        + paragraph(f"And {plural(more, 'rarer cause')}." if more else ""),
    )


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "no cause recorded"


def _row(cause: Cause, names: list[str]) -> tuple[str, str, str, str]:
    kind, line = cause
    named = ", ".join(shorten(name, 40) for name in names[:MAX_TRIALS_NAMED])
    more = f" and {len(names) - MAX_TRIALS_NAMED:,} more" if len(names) > MAX_TRIALS_NAMED else ""
    return esc(kind), f"{len(names):,}", code(shorten(line, 300)), esc(named + more)
