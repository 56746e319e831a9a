"""The configuration explained, from its keys: commented YAML, Markdown, older files in canonical form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.config.keys import Key, known_keys
from trainer.config.registry import TASKS
from trainer.config.resolve import assumptions, merged_values, scalar, task_of
from trainer.config.yaml import dump_yaml

_KINDS = {
    "int": "whole number",
    "float": "number",
    "bool": "true/false",
    "str": "text",
    "path": "path",
    "list": "list",
}


def commented_yaml(task: str) -> str:
    """Every key of a task with type, constraint, default and meaning, as YAML that can be edited and used."""
    lines = [f"# Every key of task {task}: kind, constraint, meaning; the value is the default."]
    open_sections: list[str] = []
    for path, key in known_keys(task).items():
        *parents, name = path.split(".")
        while open_sections != parents[: len(open_sections)]:
            open_sections.pop()
        for section in parents[len(open_sections) :]:
            lines.append(f"{'  ' * len(open_sections)}{section}:")
            open_sections.append(section)
        indent = "  " * len(parents)
        lines.append(f"{indent}# {describe(key)}")
        lines.append(f"{indent}{name}: {scalar(key.default)}")
    return "\n".join(lines) + "\n"


def describe(key: Key) -> str:
    """Kind, constraint and meaning of a key in one line."""
    kind = " | ".join(map(str, key.choices)) if key.kind == "choice" else _KINDS[key.kind]
    kind = " or ".join([kind, *(str(single).lower() for single in key.also)])
    parts = [f"{kind} or null" if key.nullable else kind, key.constraint]
    return f"{', '.join(part for part in parts if part)}: {key.meaning}"


def configuration_markdown(tasks: Iterable[str] = TASKS) -> str:
    """Every key of tasks, as the page `docs/configuration.md`."""
    lines = [
        "# Configuration",
        "",
        "Written by `python -m trainer config --markdown`; do not edit. Keys may be nested YAML or dotted",
        "(`training.optimizer.lr`); older spellings are listed in `trainer/config/renames.py`.",
    ]
    for task in tasks:
        lines += ["", f"## {task}"]
        section = None
        for path, key in known_keys(task).items():
            if path.rpartition(".")[0] != section:
                section = path.rpartition(".")[0]
                lines += ["", f"### {section or 'at the top'}", "", "| key | default | what |", "|---|---|---|"]
            cells = (f"`{path}`", f"`{scalar(key.default)}`", describe(key).replace("|", "\\|"))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def canonical_yaml(source: Mapping[str, Any], overrides: Mapping[str, Any]) -> str:
    """An older configuration in canonical form; only the keys of the file, in the order of the schema."""
    task = task_of(source, overrides)
    values = {**merged_values(source, task, overrides), "task": task}
    nested: dict[str, Any] = {}
    order = {path: place for place, path in enumerate(known_keys(task))}
    for path in sorted(values, key=lambda path: order.get(path, len(order))):
        *parents, name = path.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = str(values[path]) if isinstance(values[path], Path) else values[path]
    return "".join(f"# {line}\n" for line in assumptions(source, task, overrides, block=True)) + dump_yaml(nested)
