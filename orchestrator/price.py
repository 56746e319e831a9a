"""What a study will cost, in words."""

from __future__ import annotations

from orchestrator.ladder import LONGEST_WARMUP
from orchestrator.plan import Plan
from orchestrator.state import StudyState


def price(plan: Plan) -> list[str]:
    """Trials × epochs, and time where this study has timings already."""
    planned = min(plan.n_trials, len(plan.trials))
    repeats = sum(1 for index in plan.duplicates if index < planned)
    epochs = (planned - repeats) * plan.top.epochs
    lines = [f"{planned - repeats} trials × {plan.top.epochs} epochs = {epochs} epochs at most ({plan.top.words()})"]
    if repeats:
        words = "trial repeats a configuration and takes" if repeats == 1 else "trials repeat a configuration and take"
        lines.append(f"{repeats} further {words} its result")
    warmup = plan.warmup({})
    if warmup is not None:
        lines.append(f"warm-up: {min(warmup, LONGEST_WARMUP):.3g} of a trial's progress, as in full training")
    lines.append(_time(plan, epochs))
    if plan.promote:
        runs = plan.promote * plan.promote_seeds
        words = f"{runs} promoted run{'' if runs == 1 else 's'} × {plan.full.epochs} epochs ({plan.full.words()})"
        lines.append(f"then {words}")
    return lines


def _time(plan: Plan, epochs: int) -> str:
    if (plan.folder / "plan.yaml").exists():
        from orchestrator.folder import read_state  # opens the database: only where there is one

        _, search, _ = read_state(plan.folder)
        seconds = seconds_per_epoch(search)
        if seconds is not None:
            done = sum(t.epochs for t in search.in_order() if t.origin is None)
            left = max(0, epochs - done) * seconds / plan.places.workers
            return f"{seconds:.1f} s an epoch so far: at most {left / 60:.0f} min left"
    return "no timing yet: the run prints an estimate after its first epochs"


def seconds_per_epoch(search: StudyState) -> float | None:
    """Mean over all epochs that the study has trained; None before the first."""
    trained = [t for t in search.in_order() if t.origin is None and t.epochs]
    epochs = sum(t.epochs for t in trained)
    return sum(t.seconds for t in trained) / epochs if epochs else None
