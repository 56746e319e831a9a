"""Where slices run, by name: `"module:object"`, loaded when chosen. The contract stands in `slot.py`."""

SLOTS: dict[str, str] = {
    "local": "orchestrator.slots.local:open_local_slots",
}
