"""What is done with the old studies, in steps: each starts where another ended and leaves a study to compare."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from compat_parts import (
    GOLDEN,
    ROUNDED,
    assert_equal_but_for_times,
    close,
    golden,
    orchestrator,
    study_facts,
    workplace,
)

TABLES = ("trials.csv", "metrics.csv", "agreement.csv")
# For `python -c`: the frames of a study, as a notebook has them.
READ = """
import json, sys
from orchestrator import load_study
study = load_study(sys.argv[1])
for name in ("trials", "evaluations", "decisions"):
    getattr(study, name).to_csv(f"{name}.csv", index=False)
print(json.dumps(study.figures), repr(study))
"""
RUN = ("--workers", "1", "--threads-per-slot", "1")


@dataclass(frozen=True)
class Scenario:
    """A command on a study: an old one as it was left, or what the scenario `after` left."""

    study: str
    command: tuple[str, ...]
    after: str = ""
    status: int = 0


SCENARIOS = {
    # Old studies, carried on by the command that began them.
    "ladder-carried-on": Scenario("ladder", ("run", "ladder.yaml", *RUN)),
    "boxes-carried-on": Scenario("boxes", ("run", "boxes.yaml", *RUN)),
    "small-again": Scenario("small", ("run", "small.yaml", *RUN)),
    # What else is done with a study that was not finished.
    "ladder-closed": Scenario("ladder", ("close", "outputs/ladder")),
    "ladder-promoted": Scenario(
        "ladder", ("promote", "outputs/ladder", "--top", "2", "--seeds", "2"), "ladder-carried-on"
    ),
    "ladder-retried": Scenario("ladder", ("retry", "outputs/ladder", "--failed"), "ladder-carried-on"),
    "ladder-warm": Scenario("ladder", ("promote", "outputs/ladder", "--from", "checkpoint"), "ladder-promoted"),
    "ladder-more": Scenario("ladder", ("run", "ladder.yaml", *RUN, "--n-trials", "17"), "ladder-carried-on"),
    "small-promoted": Scenario("small", ("promote", "outputs/small", "--top", "2", "--seeds", "3")),
    "small-retried": Scenario("small", ("retry", "outputs/small", "--failed")),
}


class Stage:
    """Plays scenarios, each once, in folders of their own."""

    def __init__(self, place: Callable[[str], Path]) -> None:
        self._place, self._played = place, dict[str, Path]()

    def study(self, name: str) -> Path:
        """The study folder that a scenario leaves."""
        scenario = SCENARIOS[name]
        if name not in self._played:
            folder = self._place(name)
            if scenario.after:
                before = self.study(scenario.after).parents[1]
                shutil.copytree(before, folder, dirs_exist_ok=True)
            else:
                workplace(folder, scenario.study)
            orchestrator(folder, *scenario.command, status=scenario.status)
            self._played[name] = folder
        return self._played[name] / "outputs" / scenario.study


def best(study: Path) -> Any:
    """The configuration in `best.yaml`, without the folders that it names."""
    found = yaml.safe_load((study / "best.yaml").read_text(encoding="utf-8"))
    for section, key in (("checkpoint", "dir"), ("logging", "dir"), ("logging", "tensorboard_dir")):
        found.get(section, {}).pop(key, None)
    return found


def plan(study: Path) -> Any:
    return yaml.safe_load((study / "plan.yaml").read_text(encoding="utf-8"))


def record(study: Path, name: str) -> None:
    target = GOLDEN / name
    target.mkdir(parents=True, exist_ok=True)
    for table in TABLES:
        shutil.copy(study / table, target / table)
    write_json(target / "best.json", best(study))
    write_json(target / "plan.json", plan(study))
    facts = study_facts(study)
    for one in facts.values():  # one line a trial
        one["trials"] = [json.dumps(trial) for trial in one["trials"]]
    write_json(target / "study.json", facts)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def compare(study: Path, name: str, relative: float = ROUNDED) -> None:
    """Tables, best configuration and database are as recorded, times and wording apart."""
    for table in TABLES:
        assert_equal_but_for_times(GOLDEN / name / table, study / table, worded={"reason"}, relative=relative)
    assert best(study) == golden(f"{name}/best.json")
    assert plan(study) == golden(f"{name}/plan.json")
    recorded, facts = golden(f"{name}/study.json"), json.loads(json.dumps(study_facts(study)))
    assert [*recorded] == [*facts]
    for title, one in recorded.items():
        for part in ("directions", "attributes"):
            assert facts[title][part] == one[part], f"{title}: {part}"
        assert len(facts[title]["trials"]) == len(one["trials"])
        for number, (before, now) in enumerate(
            zip(map(json.loads, one["trials"]), facts[title]["trials"], strict=True)
        ):
            compare_trial(before, now, f"{title}, trial {number}", relative)


def compare_trial(before: dict[str, Any], now: dict[str, Any], where: str, relative: float) -> None:
    assert [*before] == [*now], where
    for key, value in before.items():
        if relative > ROUNDED and key in ("value", "values", "losses", "results", "reason", "decisions"):
            continue  # these numbers stand in the tables too, where they are compared with a tolerance
        assert close(value, now[key]), f"{where}: {key}: {value} became {now[key]}"
