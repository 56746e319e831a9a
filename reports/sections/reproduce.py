"""What it takes to do the same again: the plan in words, the environment, the commands."""

from __future__ import annotations

from reports.markup import Section, command, definitions, esc, paragraph
from reports.record import StudyRecord


def section(record: StudyRecord) -> Section | None:
    """Plan, environment and commands, each only where the record knows it."""
    parts: list[str] = []
    if record.searched:
        parts += ["<h3>What was searched</h3>", definitions(record.searched)]
    if record.environment:
        parts += ["<h3>Environment</h3>", definitions(record.environment)]
    if record.next_steps:
        parts.append("<h3>Commands</h3>")
        parts += [paragraph(esc(why)) + command(line) for why, line in record.next_steps]
    return Section("Reproduce", "\n".join(parts)) if parts else None
