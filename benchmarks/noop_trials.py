"""What a trial costs beside its training: trials that train nothing, reported five times and recorded for good.

    python benchmarks/noop_trials.py [--trials 100] [--rounds 5]

The real driver, policy, ledger and files, one warm slot in a process of its own, and a run in it that reports five
evaluations at once. Beside it, in the same run and in turns: Optuna's own loop with five reports for each trial, on
SQLite as it comes and with a write-ahead log; and what a slot's process costs that is made for one trial, as a copy of
the fork server. Milliseconds of wall time per trial, median over rounds.
"""

from __future__ import annotations

import argparse
from statistics import median


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    said = parser.parse_args()
    # Here, because a slot's process imports the program that started it.
    from noop_ways import REPORTS, WAYS, NoopSlot, ours

    ours(2, NoopSlot)  # starts the fork server, and draws the built-in data where they are not there yet
    took: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(said.rounds):
        for name, way in WAYS.items():
            took[name].append(way(said.trials))
    print(
        f"{said.trials} trials of {REPORTS} reports, median of {said.rounds} rounds (lowest to highest): ms per trial"
    )
    for name, found in took.items():
        print(f"{name:40} {median(found):7.1f}  ({min(found):.1f} to {max(found):.1f})")


if __name__ == "__main__":
    main()
