"""What a search method is in the benchmark, and the methods of other people: Optuna's own classes, used as documented.

A method is a function `(problem, seed, budget) → Iterator[Progress]`: it trains one epoch at a time in the one slot
there is, and yields what each epoch brought. Who iterates counts the epochs and stops at the budget.

`random`, `tpe` and `gp` train every configuration in full. `tpe_hyperband` is TPE (Bergstra et al., NeurIPS 2011) with
Hyperband (Li et al., arXiv 1603.06560) over one to all epochs, reduction factor 3: Optuna's pruners stop a trial for
good. Optuna's samplers draw their first configurations from a `RandomSampler` of their own seed, so that with one seed
all methods begin with the same random configurations.

Where Syne Tune is installed, `syne_asha` is its asynchronous successive halving (Li et al., arXiv 1810.05934) with its
defaults on those random configurations: there, what does not go on at once is stopped for good.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec

import optuna
from curves import Params, Problem
from optuna.trial import TrialState

# Optuna draws a trial's bracket from the study's name: a generated name would be another Hyperband in every run.
STUDY_NAME = "search_efficiency"


@dataclass(frozen=True)
class Progress:
    """One epoch of one trial, from `epoch - 1` to `epoch`.

    `rung` is the highest rung that the trial has reached, in epochs, 0 below the first; where a method compares after
    every epoch, each is a rung. `final` is what the configuration is worth in full training: for the benchmark only.
    """

    trial: int
    epoch: int
    value: float
    rung: int
    final: float


class Training:
    """A trial in training: paused between two calls of `epoch`, it loses nothing."""

    def __init__(self, problem: Problem, trial: int, params: Params) -> None:
        self.trial, self.epochs = trial, 0
        self._curve = problem.curve(params)

    def epoch(self) -> Progress:
        """Train one epoch more, as if each were a rung."""
        self.epochs += 1
        value, final = float(self._curve[self.epochs - 1]), float(self._curve[-1])
        return Progress(self.trial, self.epochs, value, self.epochs, final)


Method = Callable[[Problem, int, int], Iterator[Progress]]


def random_configurations(problem: Problem, seed: int) -> Iterator[dict[str, float]]:
    """The endless series of random configurations that the peers begin with, too."""
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study, distributions = _study(sampler), problem.distributions()
    trial = optuna.trial.create_trial(state=TrialState.RUNNING)
    while True:
        yield {name: sampler.sample_independent(study, trial, name, kind) for name, kind in distributions.items()}


def _study(sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    optuna.logging.set_verbosity(logging.WARNING)
    pruner = pruner or optuna.pruners.NopPruner()
    return optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner, study_name=STUDY_NAME)


def _optuna(
    problem: Problem, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner | None = None
) -> Iterator[Progress]:
    study, distributions = _study(sampler, pruner), problem.distributions()
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask(distributions)
        training = Training(problem, trial.number, trial.params)
        state = TrialState.COMPLETE
        while training.epochs < problem.full_epochs:
            progress = training.epoch()
            yield progress
            if pruner is None:
                continue  # nobody reads intermediate values: reporting them would only cost time
            trial.report(progress.value, progress.epoch)
            if trial.should_prune() and progress.epoch < problem.full_epochs:
                state = TrialState.PRUNED
                break
        study.tell(trial, progress.value if state == TrialState.COMPLETE else None, state)


def _in_full(sampler: Callable[..., optuna.samplers.BaseSampler]) -> Method:
    def method(problem: Problem, seed: int, _budget: int) -> Iterator[Progress]:
        return _optuna(problem, sampler(seed=seed))

    return method


def tpe_hyperband(problem: Problem, seed: int, _budget: int) -> Iterator[Progress]:
    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=problem.full_epochs, reduction_factor=3)
    return _optuna(problem, optuna.samplers.TPESampler(seed=seed), pruner)


def syne_asha(problem: Problem, seed: int, budget: int) -> Iterator[Progress]:
    from syne_tune.backend.trial_status import Trial
    from syne_tune.config_space import lograndint, loguniform, randint, uniform
    from syne_tune.optimizer.scheduler import SchedulerDecision
    from syne_tune.optimizer.schedulers.asha import AsynchronousSuccessiveHalving
    from syne_tune.optimizer.schedulers.searchers.last_value_multi_fidelity_searcher import (
        LastValueMultiFidelitySearcher,
    )

    kinds = {(False, False): uniform, (True, False): loguniform, (False, True): randint, (True, True): lograndint}
    space = {d.name: kinds[d.log, d.integer](d.low, d.high) for d in problem.dimensions}
    # Every trial costs an epoch at least: so many configurations always do.
    points = list(itertools.islice(random_configurations(problem, seed), budget))
    searcher = LastValueMultiFidelitySearcher(space, seed, points, searcher="random_search")
    scheduler = AsynchronousSuccessiveHalving(
        space,
        "value",
        do_minimize=False,
        searcher=searcher,
        time_attr="epoch",
        max_t=problem.full_epochs,
        random_seed=seed,
    )
    for number in itertools.count():
        trial = Trial(number, scheduler.suggest().config, creation_time=datetime.now(UTC))
        scheduler.on_trial_add(trial)
        training = Training(problem, number, trial.config)
        decision = SchedulerDecision.CONTINUE
        while decision == SchedulerDecision.CONTINUE:
            progress = training.epoch()
            yield progress
            decision = scheduler.on_trial_result(trial, {"epoch": progress.epoch, "value": progress.value})


PEERS: dict[str, Method] = {
    "random": _in_full(optuna.samplers.RandomSampler),
    "tpe": _in_full(optuna.samplers.TPESampler),
    "gp": _in_full(optuna.samplers.GPSampler),
    "tpe_hyperband": tpe_hyperband,
}
if find_spec("syne_tune"):
    PEERS["syne_asha"] = syne_asha
