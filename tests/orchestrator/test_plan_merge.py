"""Taking up a study that exists: what may change, what is refused with the difference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_parts import LR, TINY, write_trials

from orchestrator.planning.arguments import Request
from orchestrator.planning.continuation import merge
from orchestrator.planning.request import make_plan
from orchestrator.study.plan import Limits, Places, Plan, plan_from_plain
from trainer.api import ConfigError

A, B, C, D = ({LR: n / 10} for n in range(1, 5))
Make = Callable[..., Plan]
BUDGET = "3 epochs, 30 images @32"
MEDIAN = '{"n_startup_trials": 5, "n_warmup_steps": 0, "name": "median"}'


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def plan(trials: list[dict[str, Any]], sections: dict[str, Any] | None = None, **flags: Any) -> Plan:
        path = write_trials(tmp_path / "tiny.json", trials, **(sections or {}))
        return make_plan(Request(path, output_dir=tmp_path / "outputs", **flags))[0]

    return plan


def refused(old: Plan, new: Plan) -> str:
    with pytest.raises(ConfigError) as caught:
        merge(old, new)
    return str(caught.value)


def test_the_same_plan_stays_the_same(make: Make) -> None:
    plan = make([A, B])
    assert merge(plan, make([A, B])).plain() == plan.plain()


def test_a_study_from_before_a_key_goes_on_as_it_began(make: Make) -> None:
    cycle = {"overrides": {**TINY, "training.scheduler.type": "one_cycle", "training.scheduler.warmup_steps": 0}}
    plain = make([A], cycle).plain()
    scheduler, optimizer = (plain["base"]["training"][name] for name in ("scheduler", "optimizer"))
    for key in ("cycle_momentum", "base_momentum", "max_momentum", "three_phase"):
        del scheduler[key]
    del optimizer["decay_norm_and_bias"]
    old = plan_from_plain(plain, Path("/somewhere"))
    assert not old.base_config.training.scheduler.cycles, "a promotion trains as the search did"
    assert not merge(old, make([A, B], cycle)).base_config.training.scheduler.cycles
    asked = {"overrides": {**cycle["overrides"], "training.scheduler.cycle_momentum": True}}
    assert "training.scheduler.cycle_momentum: false in the study, true now" in refused(old, make([A], asked))
    again = plan_from_plain(merge(old, make([A], cycle)).plain(), Path("/somewhere"))
    assert not merge(again, make([A], cycle)).base_config.training.scheduler.cycles
    assert make([A], cycle).base_config.training.scheduler.cycles


def test_a_study_from_before_a_name_is_the_same_study(make: Make, tmp_path: Path) -> None:
    small = {"data.image_size": 32, "model.library": "timm", "model.backbone_name": "test_resnet"}
    said = {"overrides": {"task": "classification", "data.scenes.images": 60, **small}, "base_config": "base.yaml"}
    (tmp_path / "base.yaml").write_text("training: {epochs: 6}\n")
    plain = make([A], said).plain()
    model = plain["base"]["model"]
    model["load_from"] = model.pop("library")
    old = plan_from_plain(plain, Path("/somewhere"))
    assert old.base_config.model.library == "timm"  # type: ignore[attr-defined]
    assert merge(old, make([A], said)).trials == (A,)


@pytest.mark.parametrize(
    "trials", [[A, B, C], [C, A, B], [A, C, B], [C, A, D, B]], ids=["end", "front", "middle", "both"]
)
def test_new_trials_get_the_next_places_wherever_they_stand(make: Make, trials: list[dict[str, Any]]) -> None:
    merged = merge(make([A, B]), make(trials))
    added = [trial for trial in trials if trial not in (A, B)]
    assert merged.trials == (A, B, *added)
    assert merged.n_trials == len(trials)
    assert merged.notes[-1] == f"{len(added)} trial{'' if len(added) == 1 else 's'} added to the study"


def test_removed_and_edited_trials_keep_their_places(make: Make) -> None:
    old = make([A, B, C])
    assert merge(old, make([C])).trials == (A, B, C)
    assert merge(old, make([C])).n_trials == 3
    edited = merge(old, make([A, {LR: 0.25}, C]))
    assert edited.trials == (A, B, C, {LR: 0.25})
    assert edited.n_trials == 4


def test_a_further_copy_of_a_trial_is_a_new_trial(make: Make) -> None:
    assert merge(make([A, B]), make([A, A, B])).trials == (A, B, A)
    assert merge(make([A, A]), make([A])).trials == (A, A)


def test_another_spelling_of_a_trial_is_the_same_trial(make: Make) -> None:
    assert merge(make([A]), make([{"training.lr": "1e-1"}])).trials == (A,)


@given(
    st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=5), st.lists(st.sampled_from([1, 2, 3, 4]), max_size=5)
)
def test_merging_only_ever_adds(blank: Plan, old: list[int], new: list[int]) -> None:
    def plan(numbers: list[int]) -> Plan:
        trials = tuple({LR: n / 10} for n in numbers)
        return replace(blank, trials=trials, n_trials=len(trials))

    merged = merge(plan(old), plan(new))
    assert merged.trials[: len(old)] == plan(old).trials
    for trial in set(new):
        wanted = max(old.count(trial), new.count(trial))
        assert sum(t == {LR: trial / 10} for t in merged.trials) == wanted
    assert merge(merged, plan(new)).trials == merged.trials


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("blank")
    return make_plan(Request(write_trials(folder / "t.json", [{}]), output_dir=folder / "outputs"))[0]


def test_limits_places_and_promotion_may_change(make: Make) -> None:
    limits = {"timeout": "1h", "max_failures": 3, "max_gpu_hours": 2, "max_checkpoint_gb": 1, "stall_timeout": "1m"}
    new = make([A, B], {"limits": limits, "promote": {"top": 2, "seeds": 2}}, workers=2, threads_per_slot=1)
    merged = merge(make([A, B]), new)
    assert merged.limits == Limits(3600.0, 2, 3, 1, 60.0)
    assert merged.places == Places(2, 1)
    assert (merged.promote, merged.promote_seeds) == (2, 2)


def test_the_number_of_trials_may_change(make: Make) -> None:
    assert merge(make([A, B, C], n_trials=1), make([A, B, C], n_trials=2)).n_trials == 2
    assert merge(make([A, B, C], n_trials=1), make([A, B, C])).n_trials == 3


@pytest.mark.parametrize(
    ("sections", "flags", "difference"),
    [
        ({"budget": {"epochs": 4, "subset": 30}}, {}, f"budget: {BUDGET} in the study, 4 epochs, 30 images @32 now"),
        ({"budget": {"epochs": 3, "subset": 31}}, {}, f"budget: {BUDGET} in the study, 3 epochs, 31 images @32 now"),
        ({"overrides": {**TINY, "model.dropout": 0.4}}, {}, "model.dropout: 0.1 in the study, 0.4 now"),
        ({"overrides": {**TINY, "training.epochs": 7}}, {}, "training.epochs: 6 in the study, 7 now"),
        ({}, {"assignments": ("training.batch_size=8",)}, "training.batch_size: 32 in the study, 8 now"),
        ({}, {"pruner": "none"}, f'pruner: {MEDIAN} in the study, {{"name": "none"}} now'),
        ({"search": {"pruner": {"name": "median", "n_startup_trials": 1}}}, {}, "pruner: "),
        ({}, {"seed": 7}, "seed: 42 in the study, 7 now"),
        ({}, {"early_stop_threshold": 5.0}, "threshold: null in the study, 5.0 now"),
        ({}, {"storage": "sqlite:///other.db"}, 'storage: "" in the study, "sqlite:///other.db" now'),
    ],
)  # fmt: skip
def test_what_would_make_results_incomparable_is_refused(
    make: Make, sections: dict[str, Any], flags: dict[str, Any], difference: str
) -> None:
    said = refused(make([A, B]), make([A, B], sections, **flags))
    assert f"study tiny: {difference}" in said
    assert "or name a new study with --study NAME" in said


def test_all_differences_at_once(make: Make) -> None:
    new = make([A], {"budget": {"epochs": 1}, "overrides": {**TINY, "model.dropout": 0.4}}, seed=1, pruner="none")
    said = refused(make([A]), new).splitlines()
    assert [line.split(": ")[1] for line in said[:4]] == ["budget", "pruner", "seed", "model.dropout"]


def test_other_data_is_refused_without_force(make: Make) -> None:
    old = make([A])
    new = replace(make([A, B]), data_fingerprint="other")
    assert f"data: {old.data_fingerprint} in the study, other (the files changed; --force continues) now" in refused(
        old, new
    )
    forced = merge(old, new, force_data=True)
    assert (forced.data_fingerprint, forced.trials) == ("other", (A, B))


def test_where_checkpoints_and_logs_go_may_change(make: Make) -> None:
    new = make([A], {"overrides": {**TINY, "checkpoint.every_n_epochs": 2, "logging.every_n_steps": 5}})
    assert merge(make([A]), new).base["checkpoint"]["every_n_epochs"] == 2


def test_shapes_stay_as_they_were_and_new_keys_get_theirs(make: Make) -> None:
    decay = "training.optimizer.weight_decay"
    old = make([{decay: 0.1}])
    merged = merge(old, make([{decay: 0.1}, {decay: 0.5}, {"training.batch_size": 4}]))
    assert merged.shapes[decay] == old.shapes[decay]
    assert merged.shapes["training.batch_size"]["type"] == "int"


def test_a_closed_study_stays_closed(make: Make) -> None:
    merged = merge(replace(make([A]), closed=True), make([A, B]))
    assert merged.closed
    assert merged.notes[-1] == "the study is closed: it starts no more trials"


def test_a_wholly_different_base_is_not_listed_key_by_key(make: Make) -> None:
    widths = ("embed_size", "encoder_dim", "decoder_dim", "encoded_image_size")
    other = {**{f"model.{name}": 8 for name in widths}, "training.batch_size": 4, "training.grad_clip": 1.0}
    other |= {f"training.early_stopping.{name}": 9 for name in ("patience", "overfitting_patience")}
    other |= {f"training.scheduler.{name}": 9 for name in ("patience", "step_size", "warmup_steps", "div_factor")}
    other |= {"evaluation.max_length": 9, "evaluation.samples": 1}
    said = refused(make([A]), make([A], {"overrides": {**TINY, **other}}, seed=1)).splitlines()
    assert said[0].startswith("study tiny: seed")
    assert said[-2] == "study tiny: and 3 more keys differ"
    assert len(said) == 14
