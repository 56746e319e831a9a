"""What this machine offers, found out without importing torch or touching CUDA."""

from __future__ import annotations

import os
from pathlib import Path


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Names of the GPUs that CUDA may use."""
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        return [name for name in said.split(",") if name.strip() not in ("", "-1")]
    return [str(number) for number in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def usual_workers(slots_per_gpu: int) -> int:
    """Slots where nobody says how many: so many per visible GPU, else one per two cores."""
    gpus = visible_gpus()
    return len(gpus) * slots_per_gpu if gpus else max(1, cores() // 2)
