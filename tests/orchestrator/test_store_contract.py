"""What every store promises: SQLite through Optuna, and its twin in memory. PostgreSQL is among the faults."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState as OptunaState
from orchestrator_parts import LR, evaluated

from orchestrator.storage.database import open_storage
from orchestrator.storage.optuna_study import OptunaStudy
from orchestrator.storage.store import OptunaStore, Store, memory_store, open_store
from orchestrator.storage.writers import Change, PlainWriter, SqlWriter
from orchestrator.study.space import Shape
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, RUNNING, TrialState
from trainer.api import LOSS, ConfigError, Metric

BLEU = Metric("bleu", "BLEU", "maximize", 100.0)
SHAPES: dict[str, Shape] = {LR: {"type": "float", "low": 1e-8, "high": 10.0, "log": True}}
NAMES = itertools.count()
steps = st.lists(
    st.tuples(st.sampled_from(["evaluate", "pause", "go on", COMPLETED, PRUNED, FAILED, "lost"]), st.integers(0, 2)),
    max_size=12,
)


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        (tmp_path / "study.db").write_bytes(empty_database.read_bytes())
    found = memory_store() if request.param == "memory" else open_store(f"sqlite:///{tmp_path / 'study.db'}")
    yield found
    found.close()


def study_in(store: Store, name: str = "one", metric: Metric = BLEU) -> OptunaStudy:
    return store.study(name, metric, SHAPES, {"metric": metric.label})


def new_trial(index: int = 0) -> TrialState:
    return TrialState(-1, index, {LR: 0.1 * (index + 1)}, f"key {index}")


def test_a_new_study_is_empty_and_a_look_makes_none(store: Store) -> None:
    assert store.read("one") is None
    assert study_in(store).load() == StudyState()
    assert store.read("one") == StudyState()
    assert store.read("other") is None


def test_studies_of_one_store_do_not_see_each_other(store: Store) -> None:
    first, second = study_in(store, "first"), study_in(store, "second")
    for study in (first, second, first):
        study.add(trial := new_trial(), {LR: 0.1})
        assert trial.number == (1 if len(first.load().trials) == 2 else 0)
    assert [len(study.load().trials) for study in (first, second)] == [2, 1]


def test_a_value_without_the_rest_of_its_evaluation_is_told_again(store: Store) -> None:
    study = study_in(store)
    trial = new_trial()
    study.add(trial, {LR: 0.1})
    study.evaluated(evaluated(trial, {1: 5.0}), 1)
    study.decided(trial)
    study.evaluated(evaluated(trial, {2: 6.0}), 2)
    (known,) = study.load().in_order()
    assert (known.values, list(known.untold)) == ({1: 5.0}, [2])
    (looked_at,) = study.load(unfinished=True).in_order()
    assert looked_at.values == {1: 5.0, 2: 6.0}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_memory_can_be_rebuilt_after_any_step(store: Store, script: list[tuple[str, int]]) -> None:
    name = f"study {next(NAMES)}"
    study, reader = study_in(store, name), study_in(store, name)
    state = study.load()
    for index in range(3):
        trial = new_trial(index)
        study.add(trial, trial.overrides)
        state.trials[trial.number] = trial
    for what, number in script:
        _step(study, state, state.trials[number], what)
        rebuilt = reader.load()
        assert rebuilt.trials == state.trials
        assert rebuilt.sequence == state.sequence
    assert store.read(name) == reader.load()


def _step(study: OptunaStudy, state: StudyState, trial: TrialState, what: str) -> None:
    if trial.is_final:
        return
    if what == "evaluate":
        epoch = trial.epochs + 1
        evaluated(trial, {epoch: 1.5 * epoch}, {epoch: 1.0 / epoch})
        trial.step, trial.seconds = 10 * epoch, trial.seconds + 0.125
        study.evaluated(trial, epoch)
        study.decided(trial)
        return
    trial.status = {"pause": PAUSED, "go on": RUNNING, "lost": trial.status}.get(what, what)
    if what == "lost":
        trial.retries += 1
    if what == FAILED:
        trial.failure_kind, trial.failure_line = "nan", "the loss is nan"
    state.decide(trial, f"trial {trial.trial_id} {what}")
    study.decided(trial)


def test_time_and_dropped_checkpoints_are_the_studys(store: Store) -> None:
    study = study_in(store)
    trial = new_trial()
    study.add(trial, {LR: 0.1})
    trial.checkpoint, trial.status = "trials/0001/checkpoints/last.pth", PRUNED
    study.decided(trial)
    study.spent(12.34)
    study.dropped(trial)
    state = study_in(store).load()
    assert (state.seconds_before, state.trials[0].checkpoint) == (12.3, "")


def test_an_empty_study_of_another_direction_is_replaced_one_with_trials_is_not(store: Store) -> None:
    study_in(store, metric=LOSS)
    study = study_in(store, metric=BLEU)
    study.add(new_trial(), {LR: 0.1})
    study_in(store, metric=LOSS)
    assert len(study.load().trials) == 1


def test_another_folders_study_is_refused(store: Store) -> None:
    mine = store.study("one", BLEU, SHAPES, {"metric": "BLEU", "folder": "mine"}, new=True)
    mine.add(new_trial(), {LR: 0.1})
    with pytest.raises(ConfigError, match="holds a study one already, that of mine; choose another name"):
        store.study("one", BLEU, SHAPES, {"metric": "BLEU", "folder": "yours"}, new=True)


@pytest.mark.parametrize("kind", [SqlWriter, PlainWriter])
def test_the_same_change_again_does_no_harm(tmp_path: Path, kind: type[SqlWriter] | type[PlainWriter]) -> None:
    """An answer may be lost on its way; so both ways to write, into the same tables, leave the same rows."""
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}")
    study = study_in(OptunaStore(storage, "a database"))
    study._writer = kind(storage)  # type: ignore[arg-type]
    trial = evaluated(new_trial(), {1: 2.0, 2: float("inf"), 3: 4.0})
    study.add(trial, {LR: 0.1})
    trial.status, trial.reason = COMPLETED, "it came to its end"
    for _ in range(2):
        study.evaluated(trial, 1, 2, 3)
    study.decided(trial)
    study._writer.write(study._ids[0], Change(state=OptunaState.COMPLETE, value=4.0))
    (frozen,) = storage.get_all_trials(study._study_id)
    assert (frozen.value, frozen.intermediate_values) == (4.0, {1: 2.0, 2: float("inf"), 3: 4.0})
    assert frozen.user_attrs["reason"] == "it came to its end"
    assert frozen.datetime_start is not None
    assert frozen.datetime_complete is not None


def test_a_finished_trial_takes_no_other_change_in_any_storage() -> None:
    storage = InMemoryStorage()
    study = study_in(OptunaStore(storage, "memory"))
    trial = evaluated(new_trial(), {1: 2.0})
    study.add(trial, {LR: 0.1})
    trial.status = COMPLETED
    study.decided(trial)
    writer = PlainWriter(storage)
    writer.write(0, Change(state=OptunaState.COMPLETE, value=2.0))
    with pytest.raises(UpdateFinishedTrialError):
        writer.write(0, Change(state=OptunaState.FAIL))
