"""The Optuna study as a plain user of Optuna sees it, and as the driver rebuilds its memory from it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState as OptunaState
from orchestrator_parts import LR, Bench, Fault, evaluated

from orchestrator.engine.full_stage import Promotion
from orchestrator.engine.search_stage import SearchStage
from orchestrator.output.study_files import write_plan
from orchestrator.storage.database import open_storage
from orchestrator.storage.opening import open_search, read_study
from orchestrator.storage.optuna_study import OptunaStudy
from orchestrator.storage.store import open_store
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, PAUSED, PRUNED, RUNNING, TrialState
from trainer.api import ConfigError

pytestmark = pytest.mark.core

Planned = Callable[..., Plan]
A, B, C = 0.1, 0.2, 0.3
RISING = (10.0, 20.0, 30.0)


def new_trial(plan: Plan, index: int = 0) -> TrialState:
    return TrialState(-1, index, plan.trials[index], plan.config_key(plan.trials[index]))


def search_of(plan: Plan) -> OptunaStudy:
    """The search's study in the plan's database."""
    return open_search(open_store(plan.storage_url), plan)


@pytest.fixture
def bench(bench: Callable[..., Bench]) -> Callable[..., Bench]:
    """As everywhere, but over the database of the study's folder."""

    def make(*args: Any, **more: Any) -> Bench:
        b = bench(*args, **more)
        return replace(b, store=open_store(b.plan.storage_url))

    return make


def plain(plan: Plan) -> optuna.Study:
    """The study, opened by someone who knows nothing of us."""
    return optuna.load_study(study_name=plan.name, storage=f"sqlite:///{plan.folder / 'study.db'}")


def test_a_new_study_is_empty_and_knows_its_direction(planned: Planned) -> None:
    plan = planned([A])
    assert search_of(plan).load() == StudyState()
    study = plain(plan)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.user_attrs["metric"] == "BLEU"
    assert study.user_attrs["budget"] == "3 epochs, 30 images @32"


def test_a_loss_is_minimized(planned: Planned) -> None:
    plan = planned([{LR: A, "metrics.bleu": True}], overrides={"data.scenes.images": 60, "metrics.bleu": False})
    assert plan.metric.direction == "minimize"
    search_of(plan)
    assert plain(plan).direction == optuna.study.StudyDirection.MINIMIZE


def test_an_empty_study_of_another_direction_is_replaced(planned: Planned) -> None:
    loss = planned([{LR: A}], overrides={"data.scenes.images": 60, "metrics.bleu": False})
    search_of(loss)  # as after data that could not be used: the next call searches by something else
    bleu = replace(planned([{LR: A}]), folder=loss.folder, name=loss.name)
    study = search_of(bleu)
    assert plain(bleu).direction == optuna.study.StudyDirection.MAXIMIZE
    study.add(new_trial(bleu), {LR: A})
    search_of(loss)
    assert len(plain(bleu).trials) == 1, "one with trials is never touched"


def test_parameters_have_dotted_names_and_real_distributions(planned: Planned) -> None:
    trials: list[dict[str, Any]] = [
        {LR: A, "training.batch_size": 8},
        {"training.optimizer.weight_decay": None, "model.encoder_fine_tune": False},
        {LR: 100.0, "training.optimizer.betas": [0.8, 0.9]},
    ]
    plan = planned(trials)
    study = search_of(plan)
    stage = SearchStage(plan, study.load())
    for index in range(3):
        fresh = stage.new_trial(index)
        assert fresh is not None
        study.add(fresh, plan.values_of(fresh.overrides))
    found = plain(plan).trials
    assert found[0].distributions[LR] == FloatDistribution(1e-8, 10.0, log=True)
    assert found[0].distributions["training.batch_size"] == IntDistribution(1, 4096, log=True)
    assert found[1].distributions["model.encoder_fine_tune"] == CategoricalDistribution([False, True])
    assert found[1].params == {
        LR: 0.002,  # what a trial does not set is the base's
        "training.batch_size": 32,
        "training.optimizer.weight_decay": "null",
        "model.encoder_fine_tune": False,
        "training.optimizer.betas": "null",
    }
    assert found[2].params["training.optimizer.betas"] == "[0.8, 0.9]"
    assert LR not in found[2].params  # beyond the schema's range
    assert found[2].user_attrs["outside"] == {LR: 100.0}
    assert found[2].user_attrs["identity"]["overrides"] == {LR: 100.0, "training.optimizer.betas": [0.8, 0.9]}
    assert [t.user_attrs["trial_id"] for t in found] == [1, 2, 3]


def test_distributions_stay_when_the_list_grows(bench: Callable[..., Bench]) -> None:
    b = bench({A: RISING, B: RISING}, listed=[{LR: A, "training.optimizer.weight_decay": 0.1}])
    b.search()
    shapes = b.plan.shapes
    again = b.with_plan(
        trials=(*b.plan.trials, {LR: B, "training.optimizer.weight_decay": 0.5}), n_trials=2, shapes=shapes
    )
    again.search()
    found = plain(b.plan).trials
    assert found[1].user_attrs["outside"] == {"training.optimizer.weight_decay": 0.5}
    assert found[1].distributions[LR] == found[0].distributions[LR]


def test_values_by_epoch_states_and_reasons(bench: Callable[..., Bench]) -> None:
    curves = {A: RISING, B: (20.0, 30.0, 40.0), C: (1.0, 2.0, 3.0), 0.4: RISING}
    faults = {(0.4, 1): [Fault("nan", "the loss is nan")]}
    search = {"pruner": {"name": "median", "n_startup_trials": 2}}
    b = bench(curves, {"faults": faults}, search=search)
    b.search()
    study = plain(b.plan)
    assert [t.state for t in study.trials] == [
        OptunaState.COMPLETE, OptunaState.COMPLETE, OptunaState.PRUNED, OptunaState.FAIL,
    ]  # fmt: skip
    assert study.trials[0].intermediate_values == {1: 10.0, 2: 20.0, 3: 30.0}
    assert [t.value for t in study.trials] == [30.0, 40.0, 1.0, None]
    assert study.best_trial.number == 1
    assert study.trials[2].user_attrs["reason"].startswith("trial 3 pruned at epoch 1 of 3: BLEU 1 is 3rd of 3")
    assert study.trials[3].user_attrs["kept"]["failure_kind"] == "nan"
    frame = study.trials_dataframe()
    assert list(frame[f"params_{LR}"]) == [A, B, C, 0.4]


def test_running_and_paused_trials_are_running_and_waiting(planned: Planned) -> None:
    plan = planned([A, B])
    study = search_of(plan)
    study.load()
    one = new_trial(plan)
    study.add(one, plan.values_of(one.overrides))
    assert plain(plan).trials[0].state == OptunaState.RUNNING
    evaluated(one, {1: 5.0}, {1: 2.0}).step = 7
    study.evaluated(one, 1)
    for status, state in ((PAUSED, OptunaState.WAITING), (RUNNING, OptunaState.RUNNING), (PAUSED, OptunaState.WAITING)):
        one.status = status
        study.decided(one)
        found = plain(plan).trials[0]
        assert (found.state, found.params[LR], found.intermediate_values) == (state, A, {1: 5.0})
        assert search_of(plan).load().trials[0] == one
    one.status = COMPLETED
    study.decided(one)
    assert plain(plan).trials[0].value == 5.0


def test_a_trial_pruned_before_any_evaluation_has_no_value(planned: Planned) -> None:
    plan = planned([A])
    study = search_of(plan)
    one = new_trial(plan)
    study.add(one, {})
    one.status = PRUNED
    study.decided(one)
    assert plain(plan).trials[0].state == OptunaState.PRUNED
    assert search_of(plan).load().trials[0] == one


def test_sqlite_writes_ahead(planned: Planned) -> None:
    plan = planned([A])
    study = search_of(plan)
    study.add(new_trial(plan), {})
    with sqlite3.connect(plan.folder / "study.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    engine = open_storage(plan.storage_url).engine
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5_000


def test_a_reader_does_not_hold_up_the_writer(planned: Planned) -> None:
    plan = planned([A])
    study = search_of(plan)
    one = new_trial(plan)
    study.add(one, {})
    with sqlite3.connect(plan.folder / "study.db") as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM trials").fetchall()
        evaluated(one, {1: 1.0})
        study.evaluated(one, 1)
        assert reader.execute("SELECT COUNT(*) FROM trial_intermediate_values").fetchone() == (0,)
    assert plain(plan).trials[0].intermediate_values == {1: 1.0}


def test_duplicates_get_their_values_back_on_loading(bench: Callable[..., Bench]) -> None:
    b = bench({A: RISING}, listed=[A, A])
    b.search()
    copy = b.rebuilt().trials[1]
    assert (copy.origin, copy.values, copy.loss, copy.seconds) == (0, {1: 10.0, 2: 20.0, 3: 30.0}, 70.0, 0.0)
    assert plain(b.plan).trials[1].value == 30.0
    assert plain(b.plan).trials[1].intermediate_values == {}


def test_dropped_checkpoints_stay_dropped(bench: Callable[..., Bench]) -> None:
    b = bench({A: RISING, B: RISING}, listed=[A, B, A])
    b.search()
    study = open_search(b.store, b.plan)
    state = study.load()
    assert all(t.checkpoint for t in state.in_order())
    study.dropped(state.trials[0])
    assert [bool(t.checkpoint) for t in b.rebuilt().in_order()] == [False, True, False]
    study = open_search(b.store, b.plan)
    study.dropped(study.load().trials[1])
    assert not any(t.checkpoint for t in study.load().in_order())


def test_search_and_full_runs_are_two_studies_in_one_storage(bench: Callable[..., Bench]) -> None:
    b = bench({A: [1.0] * 6})
    b.search()
    b.full([Promotion(1, 0, {LR: A})])
    names = optuna.get_all_study_names(f"sqlite:///{b.plan.folder / 'study.db'}")
    assert sorted(names) == ["tiny", "tiny/full"]
    write_plan(b.plan)
    seen = read_study(b.plan.folder)
    assert (len(seen.search.trials), len(seen.full.trials), seen.full.trials[0].source_trial) == (1, 1, 1)


@pytest.mark.parametrize("url", ["not a url", "nodialect://x/y", "sqlite:////dev/null/study.db"])
def test_a_storage_that_cannot_be_is_a_clear_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_storage(url)
    assert str(caught.value).startswith(f"--storage: {url}")


def test_a_study_that_is_anothers_is_refused_and_left_as_it_is(tmp_path: Path, planned: Planned) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    foreign = optuna.create_study(study_name="foreign", storage=url)
    foreign.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ConfigError, match=r"shared\.db holds a study foreign already, made by another program; choose"):
        search_of(replace(planned([A]), storage=url, name="foreign"))
    assert (foreign.user_attrs, len(foreign.trials)) == ({}, 1)

    mine = replace(planned([A]), storage=url, folder=tmp_path / "mine")
    study = search_of(mine)
    study.add(new_trial(mine), {LR: A})
    yours = replace(mine, folder=tmp_path / "yours")
    with pytest.raises(ConfigError, match=f"holds a study {mine.name} already, that of {mine.folder}; choose"):
        search_of(yours)
    assert len(search_of(mine).load().trials) == 1, "its own folder goes on"
    yours.folder.mkdir()
    write_plan(yours)
    assert len(search_of(yours).load().trials) == 1, "so does a folder that was moved with its plan"


def test_another_storage_may_be_named(tmp_path: Path, planned: Planned) -> None:
    plan = replace(planned([A]), storage=f"sqlite:///{tmp_path / 'elsewhere' / 'all.db'}")
    search_of(plan)
    assert (tmp_path / "elsewhere" / "all.db").is_file()
