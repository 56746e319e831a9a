"""Full training of the best: which trials, and who wins."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrator_parts import LR, Bench, Fault, evaluated

from orchestrator.engine.full_stage import Promotion
from orchestrator.engine.promotion import chosen, failed_before, set_aside
from orchestrator.engine.reopen import reopen_all
from orchestrator.engine.stage import Stage
from orchestrator.output.best import crown, write_best
from orchestrator.output.study_files import StudyFiles
from orchestrator.planning.continuation import merge
from orchestrator.results.next_steps import next_steps
from orchestrator.results.record import build_record
from orchestrator.storage.opening import read_aside, read_full
from orchestrator.study.folder import run_name
from orchestrator.study.plan import Plan, plan_from_plain
from orchestrator.study.state import StudyState
from orchestrator.study.trial import COMPLETED, FAILED, PAUSED, PRUNED, TrialState
from trainer.api import ConfigError, load_config, resolve_config

A, B, C = 0.1, 0.2, 0.3


def trial(number: int, status: str, value: float | None, lr: float = A) -> TrialState:
    found = TrialState(number, number, {LR: lr}, str(number), status)
    found.results = {1: value} if value is not None and status == COMPLETED else {}
    return found if value is None else evaluated(found, {3: value})


def state(*trials: TrialState) -> StudyState:
    return StudyState({t.number: t for t in trials})


def run(number: int, source: int, seed: int, value: float | None, status: str = COMPLETED) -> TrialState:
    found = trial(number, status, value)
    found.source_trial, found.seed_index = source, seed
    return found


@pytest.fixture
def plan(planned: Callable[..., Plan]) -> Plan:
    return planned([A, B, C])


def test_the_best_in_every_seed(plan: Plan) -> None:
    search = state(trial(0, COMPLETED, 5.0, A), trial(1, COMPLETED, 9.0, B), trial(2, COMPLETED, 7.0, C))
    runs = chosen(plan, search, 2, 2)
    assert [(r.trial_id, r.seed_index, r.overrides[LR]) for r in runs] == [(2, 0, B), (2, 1, B), (3, 0, C), (3, 1, C)]


def test_failed_and_thresholded_trials_are_never_chosen(plan: Plan) -> None:
    copy = trial(4, COMPLETED, None)
    rows = [trial(0, FAILED, 99.0), trial(1, PRUNED, 98.0), trial(2, PRUNED, 97.0), trial(3, COMPLETED, 1.0)]
    for one in rows:
        one.results = {1: one.values[3]}
    rows[1].eliminated = True
    rows[2].results = {}  # pruned before it came to a rung
    copy.take_result(rows[3])
    assert [r.trial_id for r in chosen(plan, state(*rows, copy), 5, 1)] == [4]
    assert chosen(plan, state(), 3, 1) == []


def test_a_paused_trial_is_chosen_where_it_has_a_rungs_result(plan: Plan) -> None:
    rests, interrupted, done = trial(0, PAUSED, 5.0), trial(1, PAUSED, 9.0), trial(2, COMPLETED, 1.0)
    rests.results, done.results = {1: 5.0}, {1: 0.5, 2: 1.0}
    assert [r.trial_id for r in chosen(plan, state(rests, interrupted, done), 5, 1)] == [3, 1]


def test_a_nan_failure_is_not_promoted_however_good_it_was(bench: Callable[..., Bench]) -> None:
    b = bench({A: (90.0, 95.0, 99.0), B: (1.0, 2.0, 3.0)}, {"faults": {(A, 3): [Fault("nan", "the loss is nan")]}})
    b.search()
    assert [r.trial_id for r in chosen(b.plan, b.state, 2, 1)] == [2]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(1, 7))
def test_no_better_trial_is_left_out(plan: Plan, values: list[int], top: int) -> None:
    search = state(*(trial(n, COMPLETED, float(v)) for n, v in enumerate(values)))
    picked = [values[r.trial_id - 1] for r in chosen(plan, search, top, 1)]
    assert picked == sorted(values, reverse=True)[:top]


def test_the_winner_is_found_by_the_mean_over_seeds(plan: Plan) -> None:
    search = state(trial(0, COMPLETED, 5.0, A), trial(1, COMPLETED, 4.0, B))
    full = state(
        run(0, 1, 0, 10.0), run(1, 1, 1, 0.0), run(2, 2, 0, 6.0), run(3, 2, 1, 8.0), run(4, 2, 2, 99.0, FAILED)
    )
    said = "trial 2 of study tiny: BLEU 7 (95 %: -8.513 to 22.51, 2 seeds), 2 ahead of trial 1 (95 %: -19.9 to 23.9): "
    said += "a tie, either may be the better one"
    assert crown(plan, search, full) == f"best in full training: {said}"
    best = load_config(plan.folder / "best.yaml")
    assert best.training.optimizer.lr == B
    text = (plan.folder / "best.yaml").read_text(encoding="utf-8")
    assert text.startswith(f"# {said}; in full training (6 epochs, all images @32)\n")


def test_of_equals_the_earlier_trial_wins(plan: Plan) -> None:
    search = state(trial(0, COMPLETED, 5.0, A), trial(1, COMPLETED, 5.0, B))
    assert "trial 1 " in crown(plan, search, state(run(0, 2, 0, 3.0), run(1, 1, 0, 3.0)))


def test_the_lowest_loss_wins(planned: Callable[..., Plan]) -> None:
    plan = planned([A, B], overrides={"data.scenes.images": 60, "metrics.bleu": False})
    search = state(trial(0, COMPLETED, 5.0, A), trial(1, COMPLETED, 4.0, B))
    assert [r.trial_id for r in chosen(plan, search, 1, 1)] == [2]
    assert "trial 1 of study tiny: loss 2" in crown(plan, search, state(run(0, 1, 0, 2.0), run(1, 2, 0, 3.0)))


def test_without_a_completed_run_best_stays(plan: Plan) -> None:
    (plan.folder / "best.yaml").write_text("as it was")
    said = crown(plan, state(trial(0, COMPLETED, 5.0)), state(run(0, 1, 0, 3.0, FAILED)))
    assert said == "no promoted run completed; best.yaml stays as it is"
    assert (plan.folder / "best.yaml").read_text() == "as it was"


def test_best_is_the_full_budget_with_nothing_that_points_into_the_study(plan: Plan) -> None:
    write_best(plan, trial(1, COMPLETED, 5.0, B), "about it")
    text = (plan.folder / "best.yaml").read_text(encoding="utf-8")
    assert text.startswith("# about it\n# python -m trainer --config best.yaml\n")
    best = load_config(plan.folder / "best.yaml")
    assert (best.training.epochs, best.training.subset_size, best.training.optimizer.lr) == (6, None, B)
    assert (best.evaluation.beam_size, best.checkpoint.resume) == (3, None)
    assert "dir: checkpoints" in text
    assert str(plan.folder) not in text


def test_best_keeps_a_checkpoint_folder_that_the_user_named(tmp_path: Path, planned: Callable[..., Plan]) -> None:
    own = str(tmp_path / "mine")
    plan = planned([A], overrides={"data.scenes.images": 60, "checkpoint.dir": own})
    write_best(plan, trial(0, COMPLETED, 5.0), "about it")
    assert str(load_config(plan.folder / "best.yaml").checkpoint.dir) == own


def test_full_seeds_move_everything_but_the_split(plan: Plan) -> None:
    zero, one = (plan.full_config({LR: A}, seed) for seed in (0, 1))
    assert (zero.seed, one.seed, zero.split_seed, one.split_seed) == (42, 43, 42, 42)
    assert resolve_config(zero.plain()) == zero


def test_next_steps_are_exact_commands_with_their_cost(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(plan.folder.parents[1])
    done = trial(0, COMPLETED, 5.0)
    (plan.folder / "trials" / "0001").mkdir(parents=True)
    line = {"epoch": 1, "step": 4, "rung": 1, "seconds": 1.0, "metrics": {}}
    lines = "".join(f"{json.dumps({**line, 'epoch': epoch})}\n" for epoch in (1, 2, 3))
    (plan.folder / "trials" / "0001" / "metrics.jsonl").write_text(lines)
    steps = next_steps(plan, state(done, trial(1, FAILED, None)), StudyState())
    assert [command for _, command in steps] == [
        "python -m orchestrator retry outputs/tiny --failed",
        "python -m orchestrator promote outputs/tiny --top 1",
        "python -m trainer --config outputs/tiny/best.yaml",
        "python -m orchestrator dashboard outputs/tiny",
    ]
    assert "6 epochs at full budget, about 10 s" in steps[1][0]
    after = next_steps(plan, state(done), state(run(0, 1, 0, 5.0)))
    assert not any("promote" in command for _, command in after)


def test_best_yaml_starts_from_scratch_where_nothing_was_promoted_from_a_checkpoint(plan: Plan) -> None:
    done, promoted = state(trial(0, COMPLETED, 5.0)), state(run(0, 1, 0, 5.0))

    def why(asked: Plan, full: StudyState) -> str:
        return next(why for why, command in next_steps(asked, done, full) if command.endswith("best.yaml"))

    warm = replace(plan, from_checkpoint=True)
    assert "from scratch" in why(warm, promoted)
    assert "from scratch" not in why(warm, StudyState())
    assert "from scratch" not in why(plan, promoted)


def test_from_a_checkpoint_the_weights_are_named_and_must_be_there(plan: Plan) -> None:
    one, warm = trial(0, COMPLETED, 5.0, A), replace(plan, from_checkpoint=True)
    one.checkpoint = "trials/0001/checkpoints/last.pth"
    with pytest.raises(ConfigError, match="trial 1: its checkpoint is gone; use promote --from scratch"):
        chosen(warm, state(one), 1, 1)
    begun = state(run(0, 1, 0, 3.0))
    assert len(chosen(warm, state(one), 1, 1, begun)) == 1  # nothing of it is left to start
    with pytest.raises(ConfigError, match="trial 1: its checkpoint is gone"):
        chosen(warm, state(one), 1, 2, begun)
    (plan.folder / one.checkpoint).parent.mkdir(parents=True)
    (plan.folder / one.checkpoint).touch()
    (run_,) = chosen(warm, state(one), 1, 1)
    assert run_.weights == one.checkpoint
    assert chosen(plan, state(one), 1, 1)[0].weights == ""


def test_runs_of_the_two_starts_never_meet(bench: Callable[..., Bench]) -> None:
    cold = bench({A: [1.0] * 6, B: [2.0] * 6})
    cold.search()
    search = cold.state
    cold.full([Promotion(1, 0, {LR: A})])
    warm = cold.with_plan(from_checkpoint=True)
    assert read_full(cold.store, warm.plan).trials == {}
    warm.full([Promotion(1, seed, {LR: A}, "trials/0001/checkpoints/last.pth") for seed in (0, 1)])
    submitted = {work.config["experiment_name"]: work.config for _, work in cold.world.submitted}
    configs = [submitted[f"tiny-full-0001-seed0{start}"] for start in ("", "-continued")]
    weights = [None, str(cold.plan.folder / "trials/0001/checkpoints/last.pth")]
    assert [config["checkpoint"]["weights"] for config in configs] == weights
    folders = [str(cold.plan.folder / "full" / f"0001-seed0{start}") for start in ("", "-continued")]
    assert [config["logging"]["dir"] for config in configs] == folders
    for plan, count, other in ((cold.plan, 1, 2), (warm.plan, 2, 1)):
        assert (len(read_full(cold.store, plan).trials), len(read_aside(cold.store, plan).trials)) == (count, other)
        record = build_record(plan, search, read_full(cold.store, plan), in_progress=False)
        assert record.choice is not None
        assert (record.choice.seeds, record.trials[0].full_seeds, len(record.full_runs)) == (count, count, count)
    assert list(set_aside(cold.plan, read_aside(cold.store, cold.plan))) == [
        "2 promoted runs from the search's checkpoints are left out of means and choice; promote --from checkpoint "
        "shows them"
    ]
    assert not list(set_aside(cold.plan, StudyState()))


def test_best_says_where_runs_went_on_from_a_checkpoint(plan: Plan) -> None:
    search, warm = state(trial(0, COMPLETED, 5.0)), replace(plan, from_checkpoint=True)
    one = run(0, 1, 0, 3.0)
    one.weights = "trials/0001/checkpoints/last.pth"
    said = crown(warm, search, state(one))
    assert said == "best in full training from the search's checkpoints: trial 1 of study tiny: BLEU 3 (1 seed)"
    assert one.label == "trial 1 in full from its checkpoint, seed 0"
    lines = (plan.folder / "best.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].endswith("; in full training (6 epochs, all images @32) from the search's checkpoints")
    assert lines[1] == "# this file starts from scratch, so it is a different experiment from those runs"
    assert lines[2] == "# python -m trainer --config best.yaml"
    assert load_config(plan.folder / "best.yaml").checkpoint.weights is None
    (why,) = [why for why, command in next_steps(warm, search, state(one)) if command.endswith("best.yaml")]
    assert "from scratch" in why


def test_a_study_knows_which_start_was_asked_for_last(plan: Plan) -> None:
    warm = replace(plan, from_checkpoint=True)
    assert plan_from_plain(warm.plain(), plan.folder).from_checkpoint
    older = plan.plain()
    older["promote"].pop("from_checkpoint")
    assert not plan_from_plain(older, plan.folder).from_checkpoint
    assert merge(warm, plan).from_checkpoint, "it promotes nothing itself: what is shown stays"
    assert not merge(warm, replace(plan, promote=1)).from_checkpoint


def test_best_yaml_leaves_a_leader_that_failed(bench: Callable[..., Bench]) -> None:
    plan = bench([A, B, C]).plan
    leader, other = trial(0, COMPLETED, 30.0), trial(1, COMPLETED, 20.0, B)
    files = StudyFiles(plan, StudyState({0: leader, 1: other}))
    stage = cast(Stage, SimpleNamespace(kind="search"))

    def led_by() -> float:
        rate: float = load_config(plan.folder / "best.yaml").training.optimizer.lr
        return rate

    files.changed(stage, leader, final=False)
    assert led_by() == A
    leader.status = FAILED
    files.changed(stage, other, final=False)
    assert led_by() == B


def test_a_failed_promoted_run_goes_on_and_stands_once_as_its_retry(bench: Callable[..., Bench]) -> None:
    b = bench({A: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}, {"faults": {(A, 5): [Fault("nan", "the loss is nan")]}})
    b.search()
    search = b.state
    runs = chosen(b.plan, search, 1, 1)
    b.full(runs)
    assert b.statuses() == [FAILED]
    assert next(failed_before(b.plan, b.state, runs)).startswith(
        "trial 1 in full, seed 0, failed (nan): the loss is nan; retry it with python -m orchestrator retry "
    )
    checkpoints = b.plan.folder / "full" / "0001-seed0" / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "last.pth").touch()
    assert reopen_all(b.plan, b.store) == "1 failed promoted run tried again"
    assert reopen_all(b.plan, b.store) == "nothing has failed, so there is nothing to retry"
    again = b.with_plan()
    again.full([])
    assert [(t.status, t.retry_of, t.retries, run_name(t)) for t in again.state.in_order()] == [
        (FAILED, None, 0, "full/0001-seed0"), (COMPLETED, 0, 1, "full/0001-seed0"),
    ]  # fmt: skip
    assert again.world.epochs_trained["0001-seed0"] == 6  # none of them twice
    record = build_record(b.plan, search, again.state, in_progress=False)
    (one,) = record.full_runs
    assert (one.status, one.epochs, one.seconds) == ("completed", 6, 60.0)
    curve = [evaluation for evaluation in record.evaluations if evaluation.run]
    assert [(point.epoch, point.slot) for point in curve] == [(epoch, "slot 1") for epoch in range(1, 7)]
    assert not list(failed_before(b.plan, again.state, runs))


def test_without_a_checkpoint_a_promoted_run_begins_anew(bench: Callable[..., Bench]) -> None:
    b = bench({A: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}, {"faults": {(A, 5): [Fault("nan", "the loss is nan")]}})
    b.search()
    b.full(chosen(b.plan, b.state, 1, 1))
    b.world.trained.pop(str(b.plan.folder / "full" / "0001-seed0"))
    reopen_all(b.plan, b.store)
    again = b.with_plan()
    again.full([])
    assert again.statuses() == [FAILED, COMPLETED]
    assert again.world.epochs_trained["0001-seed0"] == 4 + 6


def test_trials_and_promoted_runs_are_tried_again_together(bench: Callable[..., Bench]) -> None:
    faults = {(A, 5): [Fault("nan")], (B, 1): [Fault("nan"), Fault("nan")]}
    b = bench({A: [1.0] * 6, B: [2.0] * 6}, {"faults": faults})
    b.search()
    b.full(chosen(b.plan, b.state, 1, 1))
    assert reopen_all(b.plan, b.store) == "1 failed trial and 1 failed promoted run tried again"


def test_retry_is_offered_where_it_can_help(plan: Plan) -> None:
    def offered(search: StudyState, full: StudyState) -> list[str]:
        return [why for why, command in next_steps(plan, search, full) if " retry " in command]

    done, broken, misfit = trial(0, COMPLETED, 5.0), trial(1, FAILED, None), trial(2, FAILED, None)
    broken.failure_kind, misfit.failure_kind = "nan", "config"
    failed = run(0, 1, 0, None, FAILED)
    failed.failure_kind = "data"
    assert offered(state(done), state(failed)) == ["try the failed promoted runs once more"]
    assert offered(state(done, broken), state(failed)) == ["try the failed trials and promoted runs once more"]
    assert offered(state(done, broken, misfit), state()) == ["try the failed trials once more"]
    assert offered(state(done, misfit), state()) == []
    retry = trial(3, COMPLETED, 4.0)
    retry.retry_of = broken.number
    assert offered(state(done, broken, retry), state()) == []
    failed.failure_kind = "config"
    (line,) = failed_before(plan, state(failed), [Promotion(1, 0, {LR: A})])
    assert line.endswith("failed (config): ; a retry cannot help")
