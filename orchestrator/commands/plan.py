"""`plan`: everything checked and priced, nothing run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.planning.arguments import Request
from orchestrator.planning.continuation import merge
from orchestrator.planning.price import Price, price_of, price_words
from orchestrator.planning.request import make_plan
from orchestrator.results.timings import known_timings, measured_timings
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from trainer.api import prepare_data


@dataclass(frozen=True)
class Offer:
    """A plan with its price; `state` is what the study has done, None before its first run."""

    plan: Plan
    price: Price
    state: StudyState | None

    def plain(self) -> dict[str, Any]:
        return {**self.plan.plain(), "notes": list(self.plan.notes), "price": self.price.plain()}


def make_offer(request: Request, measure: bool) -> Offer:
    """Plans what `run` would do, on a study that exists what it would go on with. `measure` times a few steps."""
    plan, _ = make_plan(request)
    state = None
    if plan.files.plan.exists():
        from orchestrator.storage.opening import read_study  # open databases: only where there is a study

        study = read_study(plan.folder)
        plan, state = merge(study.plan, plan), study.search
    if measure:
        prepare_data(plan.search_config({}, plan.rungs[0]), lambda _done, _of: None)
    timings = measured_timings(plan) if measure else known_timings(plan)
    return Offer(plan, price_of(plan, timings), state)


def offer_lines(offer: Offer) -> Iterator[str]:
    plan = offer.plan
    sampler = f", sampler {plan.sampler['name']}" if plan.space else ""
    yield f"study {plan.name} in {plan.folder}, metric {plan.metric.label}{sampler}, pruner {plan.pruner['name']}"
    yield from plan.notes
    yield from price_words(plan, offer.price, offer.state)
