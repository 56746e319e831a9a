"""What is needed to reproduce the study: the search space, the environment, the commands."""

from __future__ import annotations

from reports.markup import Section, command, definitions, esc, paragraph
from reports.record import StudyRecord


def section(record: StudyRecord) -> Section | None:
    """Search space, environment and commands, each if the record has it; None if it has none of them."""
    parts: list[str] = []
    if record.searched:
        parts += ["<h3>What was searched</h3>", definitions(record.searched)]
    if record.environment:
        parts += ["<h3>Environment</h3>", definitions(record.environment)]
    if record.next_steps:
        parts.append("<h3>Commands</h3>")
        parts += [paragraph(esc(reason)) + command(line) for reason, line in record.next_steps]
    return Section("Reproduce", "\n".join(parts)) if parts else None
