"""Where slices run, by name: `"module:object"`, loaded when chosen. The contract stands in `slot.py`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

SLOTS: dict[str, str] = {
    "local": "orchestrator.slots.local:open_local_slots",
}


def opener(name: str) -> Any:
    """The function that opens slots of a kind."""
    module, _, function = SLOTS[name].partition(":")
    return getattr(import_module(module), function)
