"""Two methods of `search_efficiency.py` side by side: mean regret at every multiple, and how sure the difference is.

    python benchmarks/compare.py FILE.csv [FILE.csv …] halving tpe_hyperband

The difference (first − second; below 0 the first is better) is taken within pairs of the same instance and seed. Its
95 % intervals are percentiles of the bootstrap (Efron 1979) over these pairs and, wider, over instances and then the
seeds within each: the first speaks of these instances, the second of others like them.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Regrets = dict[tuple[str, str], float]  # [instance, seed]
RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    multiple: float
    first: float
    second: float
    pairs: int
    better: int  # pairs in which the first is strictly better
    over_pairs: tuple[float, float]
    over_instances: tuple[float, float]


def read(paths: Sequence[Path]) -> dict[tuple[str, float], Regrets]:
    """[method, multiple] → regret by instance and seed. A later file replaces the rows of an earlier."""
    found: dict[tuple[str, float], Regrets] = {}
    for path in paths:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                key = row["method"], float(row["multiple"])
                found.setdefault(key, {})[row["instance"], row["seed"]] = float(row["regret"])
    return found


def compare(first: Regrets, second: Regrets, multiple: float) -> Comparison:
    """Over the instances and seeds that both have."""
    common = sorted(set(first) & set(second))
    one, other = (np.array([regrets[pair] for pair in common]) for regrets in (first, second))
    difference = one - other
    instances = [pair[0] for pair in common]
    groups = [difference[[i for i, at in enumerate(instances) if at == name]] for name in sorted(set(instances))]
    random = np.random.default_rng(0)
    return Comparison(
        multiple,
        float(one.mean()),
        float(other.mean()),
        len(common),
        int((difference < 0).sum()),
        _interval(random.choice(difference, (RESAMPLES, len(difference))).mean(axis=1)),
        _interval(_over_groups(groups, random)),
    )


def _over_groups(groups: Sequence[NDArray[np.float64]], random: np.random.Generator) -> NDArray[np.float64]:
    """Means of resampled groups, each place in a resample with its own resample of the group's members: [resamples]."""
    drawn = random.integers(len(groups), size=(RESAMPLES, len(groups)))
    sums, counts = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    for number, group in enumerate(groups):
        rows, _ = np.nonzero(drawn == number)
        np.add.at(sums, rows, random.choice(group, (len(rows), len(group))).sum(axis=1))
        np.add.at(counts, rows, len(group))
    return sums / counts


def _interval(means: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.csv")
    parser.add_argument("first")
    parser.add_argument("second")
    asked = parser.parse_args(arguments)
    try:
        found = read(asked.files)
    except (OSError, KeyError, ValueError) as error:
        print(f"error: not a table of search_efficiency.py: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    methods = {method for method, _ in found}
    if unknown := sorted({asked.first, asked.second} - methods):
        print(f"error: no method {', '.join(unknown)}; there are {', '.join(sorted(methods))}", file=sys.stderr)
        return 2
    multiples = sorted({at for _, at in found})
    shared = [at for at in multiples if set(found.get((asked.first, at), ())) & set(found.get((asked.second, at), ()))]
    if not shared:
        print("error: the two have no instance, seed and multiple in common", file=sys.stderr)
        return 2
    print(f"mean regret; difference {asked.first} − {asked.second}, 95 % over pairs | over instances and seeds")
    for at in shared:
        one = compare(found[asked.first, at], found[asked.second, at], at)
        intervals = " | ".join(f"[{low:+.3f}, {high:+.3f}]" for low, high in (one.over_pairs, one.over_instances))
        print(
            f"{at:g}×: {asked.first} {one.first:.3f}, {asked.second} {one.second:.3f}, "
            f"difference {one.first - one.second:+.3f} {intervals}, better in {one.better} of {one.pairs}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
