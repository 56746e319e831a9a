"""What the Optuna dashboard shows beside the trials: sample predictions as artifacts, and the study's note.

Artifacts are written now and then while trials run, the note when a run has ended, both as the dashboard's own
attributes of the study, which take no part in any decision: a finished trial takes no attributes any more. Artifacts
have fixed names, so that the same run again writes the same.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.engine.ledger import Ledger
from orchestrator.engine.stage import Stage
from orchestrator.output.pace import Pace
from orchestrator.output.sample_sheet import sample_sheet
from orchestrator.results.next_steps import next_steps
from orchestrator.results.samples import read_samples, samples_stamp
from orchestrator.slots.slot import Beat, Slot
from orchestrator.storage.database import DatabaseError
from orchestrator.study.plan import Plan
from orchestrator.study.ranking import ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import TrialState

ABOUT = {"filename": "samples.png", "mimetype": "image/png", "encoding": None}
SIGNATURE = "*Written by rungwise; a note of your own, without this line, is left as it is.*"
_MOST_TRIALS = 100  # the best; a person looks at fewer
_MOST_SAMPLES = 8

log = logging.getLogger(__name__)


def annotate(plan: Plan, ledger: Ledger, full: StudyState | None) -> None:
    """Writes note and artifacts once a run has ended."""
    with _reported():
        search = ledger.stage.state
        ledger.shows(DashboardSamples(plan, ledger).save(search), ABOUT)
        ledger.notes(note(plan, search, full), SIGNATURE)


def note(plan: Plan, search: StudyState, full: StudyState | None) -> str:
    """The study in a few lines of Markdown."""
    leaders = ranked(search, plan.metric)
    lines = [
        f"# {plan.name}",
        f"{len(search.trials)} of {plan.n_trials} trials; budget of a trial: {plan.top.words()}.",
    ]
    if leaders:
        best = leaders[0]
        value = f"{plan.metric.label} {best.result:.4g}"
        lines.append(f"Trial {best.trial_id} leads with **{value}** at {plan.rungs[best.reached - 1].words()}.")
    runs = [run for run in full.standing() if run.value is not None] if full else []
    lines += [f"{r.label.capitalize()}: {plan.metric.label} {r.value:.4g}." for r in runs]
    lines += [
        "## Next",
        *(f"{why}:\n\n    {command}" for why, command in next_steps(plan, search, full or StudyState())),
    ]
    return "\n\n".join([*lines, f"The whole report: `{plan.files.report}`", SIGNATURE])


class DashboardSamples:
    """A watcher that shows what trials predict while the study runs. It takes a hundredth of the study's time."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan, self._ledger = plan, ledger
        self._seen: dict[int, int] = {}  # by number: when the samples were written that are shown
        self._names: dict[int, str] = {}
        self._pace = Pace(first=3.0, least=20.0, share=100.0)
        self._stale = False

    def line(self, text: str) -> None:
        """Lines are not shown there."""

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        self._stale = True

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        """Nor are steps."""

    def tick(self, stage: Stage) -> None:
        if not self._stale or stage.kind != "search" or not self._pace.is_due:
            return
        self._stale = False
        with self._pace.doing(), _reported():
            self._ledger.shows(self.save(stage.state), ABOUT)

    def save(self, search: StudyState) -> dict[int, str]:
        """Writes a picture of what each of the best predicted, where it is not the last one; number → its name."""
        for trial in ranked(search, self.plan.metric)[:_MOST_TRIALS]:
            folder = self.plan.files.run(trial)
            stamp = samples_stamp(folder)
            if stamp is None or self._seen.get(trial.number) == stamp:
                continue
            self._seen[trial.number] = stamp
            kept = read_samples(folder, trial.trial_id)
            if kept.problem:
                log.warning("%s", kept.problem)
            picture = sample_sheet(kept.samples[:_MOST_SAMPLES])
            if picture is not None:
                self._names[trial.number] = self._write(trial, picture)
        return self._names

    def _write(self, trial: TrialState, picture: bytes) -> str:
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"rungwise/{self.plan.name}/{trial.trial_id}/samples"))
        self.plan.files.artifacts.mkdir(exist_ok=True)
        path = self.plan.files.artifacts / name
        if not path.exists() or path.read_bytes() != picture:
            path.write_bytes(picture)
        return name


@contextmanager
def _reported() -> Iterator[None]:
    """What cannot be written for the dashboard is reported, and costs the study nothing."""
    try:
        yield
    except (OSError, ValueError, DatabaseError) as error:
        log.warning("the dashboard's note and samples could not be written: %s", error)
    except Exception:  # a picture is not worth a study
        log.warning("the dashboard's note and samples could not be written", exc_info=True)
