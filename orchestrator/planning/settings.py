"""Samplers and pruners by name, with the options they take. Optuna's own classes wherever it has them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainer.api import ConfigError, Problem

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

STARTUP_TRIALS = 5
REDUCTION_FACTOR = 3
LEAST_REDUCTION_FACTOR = 2
Options = Mapping[str, Any]


@dataclass(frozen=True)
class PrunerKind:
    """How a pruner is made (None: a policy of ours), its options with their defaults, and what it does in words.

    `remembers`: it marks trials when it is asked. `ladder`: it works on two or more rungs, or on one.
    """

    words: str
    options: Options = field(default_factory=dict)
    make: Callable[[Options], BasePruner] | None = None
    remembers: bool = False
    ladder: bool = False


@dataclass(frozen=True)
class SamplerKind:
    """How one of Optuna's samplers is made from options and a seed (None: an order of ours), and its options.

    `learns`: it looks at the trials before; `as_completed`: only at completed ones, so that a rested one is shown to it
    as completed.
    """

    words: str
    options: Options = field(default_factory=dict)
    make: Callable[[Options, int], BaseSampler] | None = None
    as_completed: bool = False
    learns: bool = True


def _random(_options: Options, seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed)


def _tpe(options: Options, seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(
        n_startup_trials=options["n_startup_trials"],
        multivariate=options["multivariate"],
        group=options["multivariate"],  # conditional dimensions are modelled in groups
        constant_liar=True,  # what runs in other slots counts as tried
        seed=seed,
    )


def _gp(options: Options, seed: int) -> BaseSampler:
    from optuna.samplers import GPSampler

    return GPSampler(seed=seed, n_startup_trials=options["n_startup_trials"])


SAMPLERS: dict[str, SamplerKind] = {
    "random": SamplerKind("at random", make=_random, learns=False),
    # Jointly over all dimensions: it finds interactions, and asks once a trial where it would ask once a dimension.
    "tpe": SamplerKind("tree-structured Parzen estimator", {"n_startup_trials": 10, "multivariate": True}, make=_tpe),
    "gp": SamplerKind("Gaussian process", {"n_startup_trials": 10}, make=_gp, as_completed=True),
    "qmc": SamplerKind("quasi-random Sobol sequence"),
    "grid": SamplerKind("every point of a grid, in random order"),
}


def _median(options: Options) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(options["n_startup_trials"], options["n_warmup_steps"])


def _percentile(options: Options) -> BasePruner:
    from optuna.pruners import PercentilePruner

    return PercentilePruner(options["percentile"], options["n_startup_trials"], options["n_warmup_steps"])


def _threshold(options: Options) -> BasePruner:
    from optuna.pruners import ThresholdPruner

    return ThresholdPruner(options["lower"], options["upper"], options["n_warmup_steps"])


def _patient(options: Options) -> BasePruner:
    from optuna.exceptions import ExperimentalWarning
    from optuna.pruners import PatientPruner

    with warnings.catch_warnings():  # that Optuna may change it some day is no news for who runs a study
        warnings.simplefilter("ignore", ExperimentalWarning)
        return PatientPruner(_median(options), options["patience"], options["min_delta"])


def _successive_halving(options: Options) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(
        options["min_resource"], options["reduction_factor"], options["min_early_stopping_rate"]
    )


def _hyperband(options: Options) -> BasePruner:
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(options["min_resource"], options["max_resource"], options["reduction_factor"])


_COMPARED = {"n_startup_trials": STARTUP_TRIALS, "n_warmup_steps": 0}
_HALVED = {"min_resource": 1, "reduction_factor": REDUCTION_FACTOR}

PRUNERS: dict[str, PrunerKind] = {
    "none": PrunerKind("every trial trains to the end", ladder=True),
    "halving": PrunerKind(
        "a trial rests at a rung and goes on when it is among the best there",
        {"reduction_factor": REDUCTION_FACTOR},
        ladder=True,
    ),
    "median": PrunerKind("worse than the median of completed trials at the same epoch", _COMPARED, _median),
    "percentile": PrunerKind(
        "outside the best share of completed trials at the same epoch", {"percentile": 25.0, **_COMPARED}, _percentile
    ),
    "threshold": PrunerKind(
        "outside fixed bounds at any epoch", {"lower": None, "upper": None, "n_warmup_steps": 0}, _threshold
    ),
    "patient": PrunerKind(
        "below the median and without progress for a while", {"patience": 1, "min_delta": 0.0, **_COMPARED}, _patient
    ),
    "successive_halving": PrunerKind(
        "outside the best share at epochs that grow by a factor",
        {**_HALVED, "min_early_stopping_rate": 0},
        _successive_halving,
        remembers=True,
    ),
    "hyperband": PrunerKind(
        "successive halving in brackets that begin at several epochs",
        {**_HALVED, "max_resource": 1},
        _hyperband,
        remembers=True,
    ),
}
NEEDS_COMPLETED = frozenset({"median", "percentile", "patient"})


def sampler_settings(said: Any) -> dict[str, Any]:
    """A sampler's name and all its options, from a name or a mapping with `name`; `ConfigError` lists mistakes."""
    name, given = _named("sampler", said, SAMPLERS)
    return {"name": name, **_options(f"sampler {name}", SAMPLERS[name].options, given)}


def pruner_settings(said: Any, threshold: float | None, maximize: bool, epochs: int) -> dict[str, Any]:
    """The pruner's name and all its options, from a name or a mapping with `name`; `ConfigError` lists mistakes.

    `epochs` is the budget, which Hyperband's brackets span unless `max_resource` says otherwise.
    """
    name, given = _named("pruner", said, PRUNERS)
    kind = PRUNERS[name]
    options = _options(f"pruner {name}", kind.options, given)
    if name == "hyperband" and "max_resource" not in given:
        options["max_resource"] = epochs
    if name == "threshold" and options["lower"] is None and options["upper"] is None:
        if threshold is None:
            what = "needs a bound: --early-stop-threshold X, or search.pruner {name: threshold, lower: X}"
            raise ConfigError([Problem("pruner threshold", what)])
        options["lower" if maximize else "upper"] = threshold
    factor = options.get("reduction_factor")
    if factor is not None and factor < LEAST_REDUCTION_FACTOR:
        what = f"reduction_factor must be at least {LEAST_REDUCTION_FACTOR}, not {factor:g}"
        raise ConfigError([Problem(f"pruner {name}", what)])
    if name == "hyperband" and options["max_resource"] < options["min_resource"]:
        what = f"max_resource must be at least min_resource, {options['min_resource']}, not {options['max_resource']}"
        raise ConfigError([Problem(f"pruner {name}", what)])
    if kind.make is not None:
        try:
            kind.make(options)
        except (ValueError, TypeError) as error:
            raise ConfigError([Problem(f"pruner {name}", str(error))]) from None
    return {"name": name, **options}


def _named(what: str, said: Any, table: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    given = {"name": said} if isinstance(said, str) else dict(said) if isinstance(said, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str) or name not in table:
        raise ConfigError([Problem(what, f"unknown {what} {name or said!r}; known are {', '.join(table)}")])
    return name, given


def _options(what: str, usual: Options, given: Options) -> dict[str, Any]:
    """All options, the given ones over the usual ones."""
    problems = [
        Problem(what, f"takes no option {key!r}; it takes {', '.join(usual) or 'none'}")
        for key in given
        if key not in usual
    ]
    problems += [
        Problem(what, f"{key} must be {words}, not {value!r}")
        for key, value in given.items()
        if key in usual and (words := _misfit(usual[key], value))
    ]
    if problems:
        raise ConfigError(problems)
    return {**usual, **given}


def _misfit(usual: Any, value: Any) -> str:
    """What an option must be, where a value is not that: whole numbers are those whose default is one."""
    if isinstance(usual, bool):
        return "" if isinstance(value, bool) else "true or false"
    whole = isinstance(usual, int)
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    return "" if is_number and math.isfinite(value) else "a whole number" if whole else "a number"
