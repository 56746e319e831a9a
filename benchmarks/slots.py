"""Two slots of one thread against one slot of two threads: the same trials on two cores.

    python benchmarks/slots.py [--trials 8] [--rounds 3]

`python -m orchestrator run` on the built-in shapes scenes, in turns; the data are drawn and cached before. Prints
trials per hour, medians of rounds, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
WAYS = {"2 slots × 1 thread": (2, 1), "1 slot × 2 threads": (1, 2)}


def seconds_of(folder: Path, name: str, workers: int, threads: int) -> float:
    """Of one whole study, from the command to its end."""
    words = ["run", "trials.json", "--base-config", str(ROOT / "configs" / "default.yaml"), "--study", name]
    words += ["--budget-epochs", "3", "--budget-subset", "300", "--pruner", "none"]
    words += ["--workers", str(workers), "--threads-per-slot", str(threads)]
    environment = {**os.environ, "RUNGWISE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    command = [sys.executable, "-m", "orchestrator", *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        trials = [{"training.optimizer.lr": 1e-3 * (n + 1)} for n in range(said.trials)]
        (folder / "trials.json").write_text(json.dumps(trials[:1]), encoding="utf-8")
        seconds_of(folder, "warm-up", 1, 2)
        (folder / "trials.json").write_text(json.dumps(trials), encoding="utf-8")
        for number in range(said.rounds):
            for way, (workers, threads) in WAYS.items():
                took[way].append(seconds_of(folder, f"{number}-{workers}", workers, threads))
    rates = {way: said.trials * 3600.0 / median(found) for way, found in took.items()}
    for way, rate in rates.items():
        print(f"{way:20} {rate:7.0f} trials per hour  ({min(took[way]):.1f} to {max(took[way]):.1f} s)")
    both = list(rates.values())
    print(f"ratio {both[0] / both[1]:.2f}")


if __name__ == "__main__":
    main()
