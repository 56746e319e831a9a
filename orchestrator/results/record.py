"""The record of a study for reports: plan and state become a `reports.record.StudyRecord`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import stdev
from typing import Any

from orchestrator.results.choice import choose, full_values, mean_of, noise_of
from orchestrator.results.environment import read_environment
from orchestrator.results.next_steps import next_steps
from orchestrator.results.samples import Kept, read_samples
from orchestrator.results.trust import agreements, audit_of
from orchestrator.study.folder import run_name
from orchestrator.study.ladder import ladder_words
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import best_value
from orchestrator.study.space import shape_words
from orchestrator.study.state import StudyState
from orchestrator.study.trial import FAILED, TrialState
from reports.record import Decision, Evaluation, FullRun, Metric, Rung, StudyRecord, Trial, Wasted
from trainer.api import METRICS, known_keys, read_metrics

MOST_NAMED = 5


def build_record(plan: Plan, search: StudyState, full: StudyState | None, in_progress: bool) -> StudyRecord:
    """Everything that a report shows; what is not in the state is read from the files in the study's folder."""
    keys = known_keys(plan.base_config.task)
    full = full or StudyState()
    runs = full_values(full)
    kept = list(_all_samples(plan, search, full))
    evaluations = [*_evaluations(plan, search), *_full_evaluations(plan, full)]
    environment, problem = read_environment(plan.files)
    damage = [*(one.problem for one in kept), problem, _metrics_damage(plan, search, evaluations)]
    return StudyRecord(
        name=plan.name,
        task=plan.base_config.task,
        metric=Metric(plan.metric.name, plan.metric.label, plan.metric.direction),
        budget_words=ladder_words(plan.rungs),
        rungs=[Rung(rung.words(), rung.epochs, plan.images(rung)) for rung in plan.rungs],
        planned_trials=plan.n_trials,
        epochs_per_trial=plan.top.epochs,
        searched=_searched(plan),
        parameters=plan.parameters,
        log_parameters=[key for key in plan.parameters if keys[key].log],
        trials=trial_rows(plan, search, full),
        agreements=list(agreements(plan, search, full)),
        audit=audit_of(plan, search),
        choice=choose(runs, plan.metric),
        noise=noise_of(runs)[0],
        full_runs=[_full_run(plan, trial, full) for trial in full.standing()],
        evaluations=evaluations,
        wasted=list(_wasted(search, full)),
        decisions=[
            Decision(sequence, trial.trial_id, line)
            for trial in search.in_order()
            for sequence, line in trial.decisions
        ],
        samples=[sample for one in kept for sample in one.samples],
        matrices=[one.matrix for one in kept if one.matrix],
        environment=environment,
        next_steps=next_steps(plan, search, full),
        warnings=[*_warnings(plan), *filter(None, damage)],
        generated_at=time.strftime("%Y-%m-%d %H:%M:%S"),
        in_progress=in_progress,
    )


def _warnings(plan: Plan) -> list[str]:
    warnings = [note.removeprefix("warning: ") for note in plan.notes if note.startswith("warning: ")]
    if plan.data_changed:
        warnings.append("the data changed during the study (--force): trials before and after cannot be compared")
    return warnings


def table_record(plan: Plan, search: StudyState, full: StudyState | None = None) -> StudyRecord:
    """The part of the record that `trials.csv` needs, which is rewritten after every change."""
    metric = Metric(plan.metric.name, plan.metric.label, plan.metric.direction)
    trials = trial_rows(plan, search, full)
    return StudyRecord(plan.name, plan.base_config.task, metric, parameters=plan.parameters, trials=trials)


def trial_rows(plan: Plan, search: StudyState, full: StudyState | None = None) -> list[Trial]:
    runs = full_values(full) if full is not None else {}
    noise, degrees = noise_of(runs)
    return [_trial(plan, trial, search, runs.get(trial.trial_id, ()), noise, degrees) for trial in search.in_order()]


def _trial(
    plan: Plan, trial: TrialState, state: StudyState, full: Sequence[float], noise: float | None, degrees: int
) -> Trial:
    copied = trial.origin is not None
    return Trial(
        trial_id=trial.trial_id,
        status=trial.status,  # type: ignore[arg-type]
        params=plan.values_of(trial.overrides),
        value=trial.value,
        loss=trial.loss,
        best=best_value(trial, plan.metric, plan.start_of(trial.rung)),
        epochs=0 if copied else trial.epochs,
        rung=trial.rung,
        rung_words=plan.rungs[trial.rung - 1].words(),
        seconds=round(trial.seconds, 3),
        reason=trial.reason,
        duplicate_of=state.trials[trial.origin].trial_id if trial.origin is not None else None,
        retries=trial.retries,
        checkpoint=trial.checkpoint,
        failure_kind=trial.failure_kind,
        failure_line=trial.failure_line,
        folder=run_name(trial) if trial.origin is None else "",
        spared=dict(trial.spared),
        full=mean_of(full, noise, degrees) if full else None,
        full_deviation=stdev(full) if len(full) > 1 else None,
        full_seeds=len(full),
    )


def _full_run(plan: Plan, trial: TrialState, full: StudyState) -> FullRun:
    """A promoted run; one that was retried appears once, as its last retry, with the time of all tries."""
    tries = [t for t in full.in_order() if (t.source_trial, t.seed_index) == (trial.source_trial, trial.seed_index)]
    return FullRun(
        trial_id=trial.source_trial,
        seed_index=trial.seed_index,
        status=trial.status,  # type: ignore[arg-type]
        folder=run_name(trial),
        value=trial.value,
        loss=trial.loss,
        best=best_value(trial, plan.metric),
        epochs=trial.epochs,
        total_epochs=plan.full.epochs,
        seconds=round(sum(each.seconds for each in tries), 3),
        reason=trial.reason,
        from_checkpoint=bool(trial.weights),
    )


def _evaluations(plan: Plan, search: StudyState) -> Iterator[Evaluation]:
    for trial in search.in_order():
        if trial.origin is None:
            yield from _curve(plan, trial, trial.trial_id, "")


def _full_evaluations(plan: Plan, full: StudyState) -> Iterator[Evaluation]:
    for trial in full.standing():
        yield from _curve(plan, trial, trial.source_trial, run_name(trial))


def _curve(plan: Plan, trial: TrialState, trial_id: int, run: str) -> Iterator[Evaluation]:
    """The study's values, with the other metrics where the run's folder still has them."""
    lines = {line["epoch"]: line for line in read_metrics(plan.files.run(trial).metrics)}
    rungs = () if run else plan.rungs
    for epoch, one in trial.evaluations.items():
        line = lines.get(epoch, {})
        metrics = {**line.get("metrics", {}), plan.metric.name: one.value}
        if one.loss is not None:
            metrics["val_loss"] = one.loss
        seconds, step = line.get("seconds", 0.0), line.get("step", 0)
        rung = line.get("rung") or next((n for n, r in enumerate(rungs, start=1) if epoch <= r.epochs), trial.rung)
        yield Evaluation(
            trial_id, epoch, step, rung, seconds, metrics, run, one.slot, one.ended, one.opening_seconds or 0.0,
            one.evaluation_seconds, one.checkpoint_seconds or 0.0,
        )  # fmt: skip


def _wasted(search: StudyState, full: StudyState) -> Iterator[Wasted]:
    for trial in search.in_order():
        yield from (Wasted(slot, trial.trial_id, begin, end, kind) for slot, begin, end, kind in trial.wasted)
    for trial in full.in_order():
        for slot, begin, end, kind in trial.wasted:
            yield Wasted(slot, trial.source_trial, begin, end, kind, run_name(trial))


def _all_samples(plan: Plan, search: StudyState, full: StudyState) -> Iterator[Kept]:
    for trial in search.in_order():
        if trial.status != FAILED and trial.origin is None:
            yield read_samples(plan.files.run(trial), trial.trial_id)
    for trial in full.standing():
        yield read_samples(plan.files.run(trial), trial.source_trial, run_name(trial))


def _searched(plan: Plan) -> dict[str, str]:
    metric = plan.metric
    words = {
        "task": plan.base_config.task,
        "metric": f"{metric.label}, {'higher' if metric.better(1.0, 0.0) else 'lower'} is better",
        "ladder" if len(plan.rungs) > 1 else "budget of a trial": ladder_words(plan.rungs),
        "full budget": plan.full.words(),
        "trials planned": str(plan.n_trials),
        **({"sampler": _settings(plan.sampler), "search space": _space(plan)} if plan.space else {}),
        "pruner": _settings(plan.pruner),
        "seed": str(plan.seed),
        "data": plan.data_fingerprint,
    }
    if plan.threshold is not None:
        words["early-stop threshold"] = f"{plan.threshold:g}"
    return words


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" if name != "name" else value for name, value in settings.items())


def _space(plan: Plan) -> str:
    return "; ".join(f"{dimension.key} {shape_words(dimension.shape)}" for dimension in plan.space)


def _metrics_damage(plan: Plan, search: StudyState, evaluations: Iterable[Evaluation]) -> str:
    """A warning about trials whose `metrics.jsonl` lacks evaluations of the study; deleted folders are no damage."""
    incomplete = {e.run or run_name(search.trials[e.trial_id - 1]): None for e in evaluations if not e.step}
    lacking = [name for name in incomplete if (plan.folder / name / METRICS).is_file()]
    if not lacking:
        return ""
    more = f" and {len(lacking) - MOST_NAMED} more" if len(lacking) > MOST_NAMED else ""
    names = ", ".join(lacking[:MOST_NAMED]) + more
    return f"{METRICS} of {names} lacks evaluations that the study has; only their value and loss are shown"
