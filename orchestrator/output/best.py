"""`best.yaml`: the configuration of the best trial, ready for `python -m trainer --config best.yaml`."""

from __future__ import annotations

from orchestrator.engine.promotion import start_words
from orchestrator.results.choice import choice_words, choose, full_values
from orchestrator.study.plan import Plan, dotted, with_values
from orchestrator.study.ranking import place_of, ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, TrialState
from trainer.api import dump_yaml


class BestSoFar:
    """Keeps the leading trial's configuration in `best.yaml`, until a promoted run is completed."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reached: dict[int, int] = {}
        self._best: tuple[TrialState, int] | None = None  # the trial whose configuration is in the file, and its rung

    def changed(self, trial: TrialState, search: StudyState, full: StudyState | None) -> None:
        """Called after every change of a trial: writes the file where the trial leads now."""
        if trial.reached > self._reached.get(trial.number, 0):
            self._reached[trial.number] = trial.reached
            if self._may_lead(trial):
                self.write(search, full)

    def write(self, search: StudyState, full: StudyState | None) -> None:
        """Writes the file where the leading trial is not the one whose configuration it contains."""
        leaders = ranked(search, self._plan.metric)
        if not leaders or (leaders[0], leaders[0].reached) == self._best:
            return
        if full and any(t.status == COMPLETED for t in full.trials.values()):
            return
        best = leaders[0]
        value = f"{self._plan.metric.label} {best.result:.4g}"
        where = self._plan.rungs[best.reached - 1].words()
        about = f"trial {best.trial_id} of study {self._plan.name}: {value} on the budget ({where})"
        write_best(self._plan, best, about)
        self._best = (best, best.reached)

    def _may_lead(self, trial: TrialState) -> bool:
        """A cheap check before the ranking of all trials: most results are behind the leader."""
        if self._best is None or not self._best[0].is_ranked:
            return True
        metric = self._plan.metric
        return place_of(trial, metric) <= place_of(self._best[0], metric)


def crown(plan: Plan, search: StudyState, full: StudyState) -> str:
    """Writes `best.yaml` from the promoted trial with the best mean over its seeds; returns a line about it.

    The file has no path into the study, so where the runs started from checkpoints its header says that it does not.
    """
    choice = choose(full_values(full), plan.metric)
    if choice is None:
        return "no promoted run completed; best.yaml stays as it is"
    winner = choice_words(choice, plan.metric.label, f" of study {plan.name}")
    about = f"{winner}; in full training ({plan.full.words()})"
    start = ""
    if plan.from_checkpoint:
        start = f" {start_words(True)}"
        about += f"{start}\nthis file starts from scratch, so it is a different experiment from those runs"
    write_best(plan, search.trials[choice.trial_id - 1], about)
    return f"best in full training{start}: {winner}"


def write_best(plan: Plan, trial: TrialState, about: str) -> None:
    """Writes the configuration of a trial at full budget, below a header that says where it comes from."""
    # The folders of the base: where they are relative, not the study's but those of the place where it is trained.
    places = {key: dotted(plan.base, key) for key in ("checkpoint.dir", "logging.tensorboard_dir")}
    split = {"data.split_seed": plan.base_config.data.split_seed}
    plain = with_values(plan.full_config(trial.overrides, 0).plain(), {**places, **split})
    header = "".join(f"# {line}\n" for line in (*about.splitlines(), "python -m trainer --config best.yaml"))
    plan.files.write(plan.files.best, header + dump_yaml(plain))
