"""The kinds of slots, by name."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

from orchestrator.slots.slot import Slots

# Name, as `--slots` takes it → "module:function"; loaded when chosen.
SLOTS: dict[str, str] = {
    "local": "orchestrator.slots.local:open_local_slots",
}
USUAL = "local"


def open_slots(kind: str, workers: int, threads: int, log_file: Path, stall_seconds: float) -> Slots:
    """`workers` slots of a kind, with `threads` CPU threads each; `log_file` receives what their processes print.

    A slice without progress for `stall_seconds` is killed.
    """
    slots: Slots = resolve_name(SLOTS[kind])(workers, threads, log_file, stall_seconds)
    return slots
