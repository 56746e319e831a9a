"""Trials file and flags → one frozen plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from orchestrator_parts import LR, TINY, tiny_plan, write_trials

from orchestrator.planning.arguments import Request
from orchestrator.planning.price import price_of, price_words
from orchestrator.planning.request import make_plan
from orchestrator.study.ladder import Budget, Rung, refused_in_trials, rung_overrides, single_rung
from orchestrator.study.plan import Limits, Places, Plan, plan_from_plain
from trainer.api import ConfigError, dump_yaml, known_keys, parse_yaml

pytestmark = pytest.mark.core

Make = Callable[..., Plan]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A plan over two trials, with sections of the file and flags of the command."""
    monkeypatch.chdir(tmp_path)

    def plan(sections: dict[str, Any] | None = None, *assignments: str, **flags: Any) -> Plan:
        trials = (sections or {}).pop("trials", [{LR: 0.1}, {LR: 0.2}])
        path = write_trials(tmp_path / "tiny.json", trials, **(sections or {}))
        return make_plan(Request(path, assignments, **flags))[0]

    return plan


def test_what_nothing_says(make: Make, tmp_path: Path) -> None:
    plan = make({"budget": {}})
    assert (plan.name, plan.folder) == ("tiny", tmp_path / "outputs" / "tiny")
    assert plan.rungs == (Rung(6, None, 32, None),) == (plan.full,)
    assert plan.pruner == {"name": "median", "n_startup_trials": 5, "n_warmup_steps": 0}
    assert (plan.n_trials, plan.promote, plan.promote_seeds, plan.seed, plan.threshold) == (2, 0, 1, 42, None)
    assert plan.limits == Limits(None, None, 10, 20.0, 1800.0)
    assert plan.places.workers == 1
    assert (plan.metric.name, plan.metric.direction) == ("bleu", "maximize")
    assert plan.storage_url == f"sqlite:///{tmp_path}/outputs/tiny/study.db"


def test_flags_win_over_the_file(make: Make) -> None:
    sections = {
        "budget": {"epochs": 2, "subset": 10, "size": 48, "val_subset": 5},
        "search": {"pruner": "none", "n_trials": 1, "seed": 3, "early_stop_threshold": 1.5},
        "limits": {"timeout": "1h", "max_gpu_hours": 1, "max_failures": 2, "max_checkpoint_gb": 3, "stall_timeout": 60},
        "promote": {"top": 2, "seeds": 3},
    }
    plan = make(dict(sections))
    assert plan.rungs == (Rung(2, 10, 48, 5),)
    assert (plan.pruner, plan.n_trials, plan.seed, plan.threshold) == ({"name": "none"}, 1, 3, 1.5)
    assert plan.limits == Limits(3600.0, 1, 2, 3, 60.0)
    assert (plan.promote, plan.promote_seeds) == (2, 3)
    flagged = make(
        dict(sections), study="other", output_dir=Path("there"), budget_epochs=3, budget_subset=20, budget_size=64,
        budget_val_subset=6, pruner="percentile", n_trials=2, seed=0, early_stop_threshold=0.0,
        timeout="90s", max_gpu_hours=2.0, max_failures=7, max_checkpoint_gb=0.0,
        stall_timeout="2m", promote=0, promote_seeds=1, workers=3, threads_per_slot=2,
    )  # fmt: skip
    assert (flagged.name, flagged.folder.parent.name) == ("other", "there")
    assert flagged.rungs == (Rung(3, 20, 64, 6),)
    assert (flagged.pruner["name"], flagged.n_trials, flagged.seed, flagged.threshold) == ("percentile", 2, 0, 0.0)
    assert flagged.limits == Limits(90.0, 2.0, 7, 0.0, 120.0)
    assert (flagged.promote, flagged.promote_seeds, flagged.places) == (0, 1, Places(3, 2))


def test_an_empty_flag_leaves_the_choice_to_the_file(make: Make) -> None:
    plan = make({"search": {"pruner": "percentile"}}, pruner="", sampler="")
    assert (plan.pruner["name"], plan.sampler) == ("percentile", {})


def test_the_command_line_wins_over_the_files_overrides_and_these_over_the_base(make: Make) -> None:
    plan = make({"overrides": {**TINY, "model.dropout": 0.3, "training.batch_size": 7}}, "training.batch_size=9")
    assert plan.base_config.training.batch_size == 9
    assert plan.base_config.model.dropout == 0.3
    assert plan.base_config.model.backbone == "resnet10_thin"  # the shipped base's


def test_where_the_base_comes_from(make: Make, tmp_path: Path) -> None:
    base = {"task": "captioning", "data": {"scenes": {"images": 60}}, "model": {"pretrained": False}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**base, "experiment_name": "a"}))
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({**base, "experiment_name": "b"}))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "default.yaml").write_text(yaml.safe_dump({**base, "experiment_name": "own default"}))
    assert make().base_config.experiment_name == "own default"
    assert make({"base_config": "b.yaml"}).base_config.experiment_name == "b"
    assert make({"base_config": "b.yaml"}, base_config=Path("a.yaml")).base_config.experiment_name == "a"


def test_base_config_is_relative_to_the_trials_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "base.yaml").write_text("task: captioning\nexperiment_name: beside\ndata: {scenes: {}}\n")
    path = write_trials(
        tmp_path / "there" / "t.json", [{}], base_config="base.yaml", overrides={"model.pretrained": False}
    )
    monkeypatch.chdir(tmp_path)
    assert make_plan(Request(Path("there/t.json")))[0].base_config.experiment_name == "beside"
    assert path.is_absolute()


def test_paths_are_made_absolute_at_once(make: Make, tmp_path: Path) -> None:
    plan = make({"overrides": {**TINY, "data.vocab_path": "words.json"}})
    assert plan.base_config.data.vocab_path == tmp_path / "words.json"


def test_trials_keep_their_canonical_keys(make: Make) -> None:
    plan = make({"trials": [{"training.lr": "5e-3", "data.batch_size": 8.0}, {"training": {"optimizer": {"lr": 1}}}]})
    assert plan.trials == ({LR: 0.005, "training.batch_size": 8}, {LR: 1.0})
    assert plan.parameters == (LR, "training.batch_size")
    assert isinstance(plan.trials[0]["training.batch_size"], int)


def test_a_searched_config_is_on_budget_and_a_full_one_is_not(make: Make) -> None:
    plan = make({"overrides": {**TINY, "training.early_stopping.enabled": True, "training.eval_interval": 2}})
    trial = plan.search_config({LR: 0.5}, plan.top)
    assert (trial.training.epochs, trial.training.subset_size, trial.data.val_subset_size) == (3, 30, 200)
    assert (trial.training.schedule_epochs, trial.training.eval_interval, trial.evaluation.beam_size) == (3, 1, 1)
    assert not trial.training.early_stopping.enabled
    full = plan.full_config({LR: 0.5}, 2)
    assert (full.training.epochs, full.training.subset_size, full.training.eval_interval) == (6, None, 2)
    assert (full.seed, full.data.split_seed, full.evaluation.beam_size) == (44, 42, 3)
    assert full.training.early_stopping.enabled


def test_early_stopping_in_search_is_opt_in(make: Make) -> None:
    said = {"training.early_stopping.enabled": True, "training.early_stopping.in_search": True}
    plan = make({"overrides": {**TINY, **said}})
    assert plan.search_config({}, plan.top).training.early_stopping.enabled


def test_warm_up_is_the_same_share_of_progress_as_in_full_training(make: Make) -> None:
    plan = make({"overrides": {**TINY, "training.scheduler.warmup_steps": 8, "training.batch_size": 8}})
    steps = plan.full_steps_per_epoch * 6
    assert plan.search_config({}, plan.top).training.scheduler.warmup_fraction == pytest.approx(8 / steps)
    long = make({"overrides": {**TINY, "training.scheduler.warmup_steps": 10_000}})
    assert long.search_config({}, long.top).training.scheduler.warmup_fraction == 0.3
    none = make({"overrides": {**TINY, "training.scheduler.warmup_steps": 0}})
    assert none.search_config({}, none.top).training.scheduler.warmup_fraction is None
    own = plan.search_config({"training.scheduler.warmup_fraction": 0.05}, plan.top)
    assert own.training.scheduler.warmup_fraction == 0.05


def test_duplicates_are_found_by_resolved_configuration(make: Make) -> None:
    trials = [
        {LR: 0.002},
        {},
        {LR: 0.1},
        {"training.lr": "2e-3"},
        {LR: 0.1, "model.dropout": 0.1},
        {"model.dropout": 0.2},
    ]
    plan = make({"trials": trials})
    assert plan.repeats == 3


def test_a_plan_survives_its_yaml(make: Make) -> None:
    trials = [{LR: 0.1, "training.optimizer.betas": [0.8, 0.9]}, {"training.optimizer.weight_decay": None}]
    sections = {"trials": trials, "search": {"pruner": {"name": "patient", "patience": 2}}, "limits": {"timeout": "2h"}}
    plan = make(sections, "training.batch_size=5", promote=2)
    found = plan_from_plain(parse_yaml(dump_yaml(plan.plain()), "plan"), plan.folder)
    assert found == replace(plan, notes=())
    assert found.plain() == plan.plain()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                LR: st.floats(1e-8, 10),
                "training.batch_size": st.integers(1, 4096),
                "training.optimizer.weight_decay": st.none() | st.floats(0, 1),
                "training.optimizer.type": st.sampled_from(["adam", "adamw"]),
                "model.encoder_fine_tune": st.booleans(),
                "model.weights": st.none(),
            },
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_trials_survive_the_plans_yaml(tmp_path: Path, trials: list[dict[str, Any]]) -> None:
    plan = tiny_plan(tmp_path, trials)
    found = plan_from_plain(parse_yaml(dump_yaml(plan.plain()), "plan"), plan.folder)
    assert found.trials == plan.trials
    assert [found.config_key(t) for t in found.trials] == [plan.config_key(t) for t in trials]


@pytest.mark.parametrize("damage", ["format", "trials", "rungs", "limits"])
def test_a_damaged_plan_is_said(make: Make, damage: str) -> None:
    plain = make().plain()
    del plain[damage]
    with pytest.raises(ConfigError, match="not a plan of this version"):
        plan_from_plain(plain, Path("/somewhere"))
    with pytest.raises(ConfigError, match="not a plan of this version"):
        plan_from_plain({**make().plain(), damage: 99}, Path("/somewhere"))


@pytest.mark.parametrize(
    ("sections", "flags", "words"),
    [
        ({"budget": {}}, {}, "no budget was given: every trial is trained in full (6 epochs, all images @32)"),
        (
            {"budget": {"epochs": 2}},
            {},
            "budget: subset, size from the base configuration (2 epochs, all images @32)",
        ),
        ({"budget": {"epochs": 9}}, {}, "warning: the budget's 9 epochs are more than full training's 6"),
        ({}, {}, "the median pruner needs 5 completed trials first: it can prune none of 2"),
        ({}, {"early_stop_threshold": 0.5}, "warning: BLEU is on a scale of 0 to 100; a threshold of 0.5"),
        ({}, {"budget_subset": 5000}, "warning: subset of 5000 images asked for"),
        ({}, {}, "built-in shapes scenes (60 images of 48 px)"),
        (
            {"overrides": {**TINY, "training.scheduler.warmup_steps": 60}},
            {},
            "warning: in full training: training.scheduler.warmup_steps=60, and the run has 48 optimizer steps: the",
        ),
        (
            {"overrides": {**TINY, "lr_scheduler.warmup_steps": 20}},
            {},
            "training.scheduler.warmup_steps=20 would never end in the 15 steps of a trial: a trial has its share of",
        ),
        (
            {"overrides": {**TINY, "training.resize_schedule": [[1, 32], [3, 48]]}},
            {},
            "training.resize_schedule is off during the search, where every trial has images of 32 px; promoted runs",
        ),
    ],
)
def test_notes(make: Make, sections: dict[str, Any], flags: dict[str, Any], words: str) -> None:
    assert any(words in note for note in make(sections, **flags).notes)


def test_an_older_base_says_in_one_block_what_it_leaves_open(make: Make, tmp_path: Path) -> None:
    (tmp_path / "older.yaml").write_text("dataset: {image_size: 32}\ndata: {scenes: {images: 60}}\n")
    base = {"base_config": "older.yaml", "overrides": {"task": "classification", "training.epochs": 6}}
    notes = make({**base, "budget": {"epochs": 1}}).notes
    start = notes.index("this file is of an older layout; what it leaves open is decided so:")
    block = notes[start + 1 : notes.index("  training.early_stopping.enabled = false") + 1]
    assert all(line.startswith("  ") for line in block)
    assert "  training.optimizer.type = adam" in block
    assert not any(line.startswith("  training.epochs") for line in block), "the trials file says it"
    both = "model.library is not given, and both torchvision and timm have resnet18: torchvision's is taken"
    assert both in notes


def test_names_of_classes_are_values_of_trials_too(make: Make) -> None:
    plan = make({"trials": [{"optimizer.type": "AdamW"}, {"training.optimizer.type": "SGD"}]})
    assert [trial["training.optimizer.type"] for trial in plan.trials] == ["adamw", "sgd"]
    assert make({"trials": [{"optimizer.type": "AdamW"}, {"optimizer.type": "adamw"}]}).repeats == 1


def test_no_needless_notes(make: Make) -> None:
    plan = make({"search": {"pruner": {"name": "median", "n_startup_trials": 1}}}, early_stop_threshold=5.0)
    assert not any("warning" in note or "pruner" in note for note in plan.notes)


LOSS_NOTE = "what the validation loss measures: their losses cannot be compared"
BY_LOSS = {
    "task": "diffusion",
    "data": {"scenes": {"images": 24, "size": 32}, "image_size": 32},
    "vae": {"type": "builtin"},
    "training": {"epochs": 4},
}
CRITERION, PREDICTION = "criterion.type", "diffusion.prediction_type"


@pytest.fixture
def loss_notes(make: Make, tmp_path: Path) -> Callable[..., list[str]]:
    """What the notes of a plan say on losses, for a task whose metric is the loss."""

    def noted(trials: Any, **sections: Any) -> list[str]:
        (tmp_path / "base.yaml").write_text(dump_yaml(BY_LOSS), encoding="utf-8")
        by_loss = {"base_config": "base.yaml", "overrides": {}, "budget": {"epochs": 2}}
        plan = make({**by_loss, "trials": trials, **sections})
        return [note for note in plan.notes if LOSS_NOTE in note]

    return noted


def test_trials_whose_losses_cannot_be_compared_are_warned_of(loss_notes: Callable[..., list[str]]) -> None:
    both = f"warning: the trials differ in {CRITERION} and {PREDICTION}, which change {LOSS_NOTE}"
    assert loss_notes([{CRITERION: "mse"}, {CRITERION: "l1", PREDICTION: "v_prediction"}]) == [both]
    one = f"warning: the trials differ in vae.width, which changes {LOSS_NOTE}"
    assert loss_notes([{LR: 0.1}, {"vae.width": 16}]) == [one]
    same = [{CRITERION: "l1", LR: 0.1}, {CRITERION: "l1", LR: 0.2, "diffusion.caption_dropout": 0.3}]
    assert not loss_notes(same)
    assert not loss_notes([*same, {LR: 0.1}], search={"n_trials": 2})  # the last is never trained


@pytest.mark.parametrize(("choices", "count"), [(["mse", "l1"], 1), (["l1"], 0)])
def test_a_space_over_the_criterion_is_warned_of(
    loss_notes: Callable[..., list[str]], choices: list[str], count: int
) -> None:
    space = {LR: {"type": "float", "low": 0.001, "high": 0.1}, CRITERION: {"type": "categorical", "choices": choices}}
    assert len(loss_notes([], search_space=space, search={"n_trials": 3})) == count


def test_a_metric_of_its_own_outlives_another_loss(make: Make) -> None:
    trials = [{"data.freq_threshold": 1}, {"data.freq_threshold": 2}]
    assert not any(LOSS_NOTE in note for note in make({"trials": trials}).notes)
    assert any(LOSS_NOTE in note for note in make({"trials": trials}, "metrics.bleu=false").notes)


def test_warnings_about_the_data_of_a_trial_are_shown_once(make: Make) -> None:
    trials = [{"data.freq_threshold": n} for n in (1, 5000, 5000)] + [{LR: 0.1}]
    said = [note for note in make({"trials": trials}).notes if "freq_threshold" in note]
    (only,) = said
    assert only.startswith(
        "warning: in some trials, no word of the training captions is frequent enough for data.freq_thr"
    )


def test_the_price_counts_trials_epochs_and_repeats(make: Make) -> None:
    plan = make({"trials": [{LR: 0.1}, {LR: 0.2}, {LR: 0.1}], "promote": {"top": 2, "seeds": 2}})
    lines = list(price_words(plan, price_of(plan, {})))
    assert lines[0] == "2 trials × 3 epochs = 6 epochs at most (3 epochs, 30 images @32)"
    assert lines[1] == "1 further trial repeats a configuration and takes its result"
    assert lines[2].startswith("warm-up: 0.3 of a trial's progress")
    assert lines[3].startswith("no timing yet")
    assert lines[4] == "then 4 promoted runs × 6 epochs (6 epochs, all images @32)"


def test_a_budget_fills_up_from_the_base(make: Make) -> None:
    base = make().base_config
    assert single_rung(Budget(), base) == Rung(6, None, 32, None)
    assert single_rung(Budget(epochs=2), base) == Rung(2, None, 32, None)
    assert single_rung(Budget(subset=10), base) == Rung(6, 10, 32, 200)
    assert single_rung(Budget(subset=500), base) == Rung(6, 500, 32, 500)
    assert single_rung(Budget(subset=500, val_subset=7, size=64), base) == Rung(6, 500, 64, 7)


def test_a_rung_enters_through_budget_keys_only() -> None:
    found = rung_overrides(Rung(2, 10, 32, 5), Rung(9, 90, 64, 5), 0.1)
    keys = known_keys("captioning")
    assert all(refused_in_trials(keys[key]) or key == "training.scheduler.warmup_fraction" for key in found)
    assert (found["training.epochs"], found["training.schedule_epochs"]) == (2, 9)
    assert set(found) <= set(keys)


@pytest.mark.parametrize(
    ("epochs", "subset", "words"), [(1, None, "1 epoch, all images @32"), (3, 5, "3 epochs, 5 images @32")]
)
def test_rungs_in_words(epochs: int, subset: int | None, words: str) -> None:
    assert Rung(epochs, subset, 32, None).words() == words
