"""How good a configuration is found with a budget of epochs, on learning curves that are known beforehand.

    python benchmarks/search_efficiency.py --data DIR --instances A,B --methods M,N --seeds K --first-seed S \
        --multiples 5,10,20 --out FILE.csv

One simulated slot trains one epoch at a time; a trial that continues pays its additional epochs only. A multiple is the
budget over the epochs of one full training. Each (method, instance, seed) is one run up to the largest multiple, read
off at each: the trial in training then counts as far as it got.

regret = (best known − value of what the method would promote) / (best known − median of random), both values in full
training. A method promotes the trial at the highest rung, among those the one with the best value there. `configs`
counts the configurations tried, `epochs` those spent, `seconds` the wall time of the method itself, without the data's.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curves import DataError, Params, Problem, open_problems
from peers import PEERS, Method, Progress, Training, random_configurations

from orchestrator.policies.halving import REDUCTION_FACTOR, HalvingPolicy
from orchestrator.policies.policy import Setting
from orchestrator.policies.simulate import simulate
from orchestrator.policies.supply import Supply
from orchestrator.study.ladder import Rung, derived_ladder
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState
from trainer.api import Metric

COLUMNS = ("method", "instance", "seed", "multiple", "regret", "configs", "epochs", "seconds")


def halving(problem: Problem, seed: int, budget: int) -> Iterator[Progress]:
    """Ours as `run` drives it: the policy, the derived ladder and the reduction factor, with a random sampler."""
    rungs = derived_ladder(Rung(problem.full_epochs, None, 1, None), REDUCTION_FACTOR, 1, 1)
    supply = Supply(listed=0, n_trials=budget, sampled=True)  # a trial costs an epoch at least: never too few
    metric = Metric("value", "value", "maximize")
    policy = HalvingPolicy(Setting(metric, rungs, supply, {"reduction_factor": REDUCTION_FACTOR}))
    configurations = random_configurations(problem, seed)
    trainings: dict[int, Training] = {}
    trained: list[tuple[TrialState, Progress]] = []

    def propose(number: int, _state: StudyState) -> Params:
        params = next(configurations)
        trainings[number] = Training(problem, number, params)
        return params

    def curve(trial: TrialState, _epoch: int) -> float:
        trained.append((trial, trainings[trial.number].epoch()))
        return trained[-1][1].value

    for _ in simulate(policy, rungs, propose, curve):
        trial, progress = trained.pop()
        yield replace(progress, rung=rungs[trial.reached - 1].epochs if trial.reached else 0)


METHODS: dict[str, Method] = {"halving": halving, **PEERS}


@dataclass(frozen=True)
class Reading:
    """A run as it stands when a multiple is reached."""

    multiple: float
    regret: float
    configs: int
    epochs: int
    seconds: float


class Ledger:
    """What is known of a run's trials. `standing` is [trial] → (rung, value there, value in full training)."""

    def __init__(self) -> None:
        self.epochs = 0
        self.standing: dict[int, tuple[int, float, float]] = {}

    def enter(self, progress: Progress) -> None:
        self.epochs += 1
        known = self.standing.get(progress.trial)
        if known is None or progress.rung > known[0] or progress.rung == 0:
            self.standing[progress.trial] = (progress.rung, progress.value, progress.final)

    def promoted(self) -> float:
        """The value in full training of the trial that would be promoted; of equals the first."""
        return max(self.standing.values(), key=lambda known: known[:2])[2]


def read_off(method: Method, problem: Problem, seed: int, multiples: Sequence[float]) -> Iterator[Reading]:
    """One run. A method that ends before the budget is read off as it ended."""
    budgets = [max(1, round(multiple * problem.full_epochs)) for multiple in multiples]
    ledger, seconds = Ledger(), 0.0
    steps = iter(method(problem, seed, max(budgets)))
    for multiple, budget in sorted(zip(multiples, budgets, strict=True)):
        while ledger.epochs < budget:
            started, data_before = time.perf_counter(), problem.seconds
            progress = next(steps, None)
            seconds += time.perf_counter() - started - (problem.seconds - data_before)
            if progress is None:
                break
            ledger.enter(progress)
        regret = problem.scale.regret(ledger.promoted())
        yield Reading(multiple, regret, len(ledger.standing), ledger.epochs, seconds)


def run(
    problems: Sequence[Problem], methods: Sequence[str], seeds: Sequence[int], multiples: Sequence[float], out: Path
) -> None:
    """All runs, written row by row; then the mean regrets in words."""
    regrets: dict[tuple[str, float], list[float]] = defaultdict(list)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for problem in problems:
            for name in methods:
                for seed in seeds:
                    for one in read_off(METHODS[name], problem, seed, multiples):
                        cells = (f"{one.multiple:g}", f"{one.regret:.6f}", one.configs, one.epochs)
                        table.writerow((name, problem.instance, seed, *cells, f"{one.seconds:.4f}"))
                        regrets[name, one.multiple].append(one.regret)
                    file.flush()
    for (name, multiple), values in regrets.items():
        print(f"{name} at {multiple:g}×: mean regret {sum(values) / len(values):.3f} over {len(values)} runs")


def _names(text: str) -> list[str]:
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("names, separated by commas")
    return names


def _methods(text: str) -> list[str]:
    names = _names(text)
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    return names


def _multiples(text: str) -> list[float]:
    try:
        multiples = [float(name) for name in _names(text)]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"numbers, separated by commas, not {text}") from error
    if not all(0 < multiple < float("inf") for multiple in multiples):
        raise argparse.ArgumentTypeError("a multiple is above 0")
    return sorted(set(multiples))


def _whole(low: int) -> type[int]:
    class Whole(int):
        def __new__(cls, text: str) -> Whole:
            if int(text) < low:
                raise ValueError(text)
            return super().__new__(cls, text)

    Whole.__name__ = f"whole number from {low}"  # argparse's message: "invalid … value"
    return Whole


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder in the format of LCBench or TaskSet")
    parser.add_argument("--instances", type=_names, required=True, help="task ids or file stems, with commas")
    parser.add_argument("--methods", type=_methods, default=list(METHODS), help=", ".join(METHODS))
    parser.add_argument("--seeds", type=_whole(1), default=10, help="how many")
    parser.add_argument("--first-seed", type=_whole(0), default=0)
    parser.add_argument("--multiples", type=_multiples, default=[5.0, 10.0, 20.0])
    parser.add_argument("--out", type=Path, required=True, help="the CSV")
    asked = parser.parse_args(arguments)
    try:
        problems = open_problems(asked.data, asked.instances)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    run(problems, asked.methods, seeds, asked.multiples, asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
