"""`best.yaml`: the configuration of the best trial, which `python -m trainer --config best.yaml` trains as it is."""

from __future__ import annotations

from orchestrator.engine.promotion import start_words
from orchestrator.results.choice import choice_words, choose, full_values
from orchestrator.study.plan import Plan, dotted, with_values
from orchestrator.study.ranking import place_of, ranked
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, TrialState
from trainer.api import dump_yaml


class BestSoFar:
    """Keeps `best.yaml` that of the leading trial, until a promoted run has a better claim to it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._reached: dict[int, int] = {}
        self._best: tuple[TrialState, int] | None = None  # whose configuration the file holds, and its rung

    def changed(self, trial: TrialState, search: StudyState, full: StudyState | None) -> None:
        """A trial of the search changed: writes the file where it leads now."""
        if trial.reached > self._reached.get(trial.number, 0):
            self._reached[trial.number] = trial.reached
            if self._may_lead(trial):
                self.write(search, full)

    def write(self, search: StudyState, full: StudyState | None) -> None:
        """Writes the file where another trial leads than the one whose configuration it holds."""
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
        """Cheap, because asked of every result: most are behind the leader."""
        if self._best is None or not self._best[0].is_ranked:
            return True
        metric = self._plan.metric
        return place_of(trial, metric) <= place_of(self._best[0], metric)


def crown(plan: Plan, search: StudyState, full: StudyState) -> str:
    """Writes `best.yaml` from the winner of the full runs, by the mean over its seeds; returns its name, and how sure.

    The file holds no path into the study, so where the runs continued from a checkpoint its head says that it does not.
    """
    choice = choose(full_values(full), plan.metric)
    if choice is None:
        return "no promoted run completed; best.yaml stays as it is"
    winner = choice_words(choice, plan.metric.label, f" of study {plan.name}")
    about = f"{winner}; in full training ({plan.full.words()})"
    start = ""
    if plan.from_checkpoint:
        start = f" {start_words(True)}"
        about += f"{start}\nthis file does not start from them: it is another experiment than those runs"
    write_best(plan, search.trials[choice.trial_id - 1], about)
    return f"best in full training{start}: {winner}"


def write_best(plan: Plan, trial: TrialState, about: str) -> None:
    """The configuration of a trial at full budget, with where it comes from on top."""
    # Relative where nobody named them: beside the person who trains it, not in the study.
    places = {key: dotted(plan.base, key) for key in ("checkpoint.dir", "logging.tensorboard_dir")}
    split = {"data.split_seed": plan.base_config.data.split_seed}
    plain = with_values(plan.full_config(trial.overrides, 0).plain(), {**places, **split})
    header = "".join(f"# {line}\n" for line in (*about.splitlines(), "python -m trainer --config best.yaml"))
    plan.files.write(plan.files.best, header + dump_yaml(plain))
