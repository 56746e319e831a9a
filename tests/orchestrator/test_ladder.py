"""Ladders: written and derived, what is wrong with one, and how a rung enters a configuration."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator_parts import LR, TINY, Command, tree, write_trials

from orchestrator.planning.arguments import Request
from orchestrator.planning.request import make_plan
from orchestrator.study.ladder import (
    MOST_DERIVED_RUNGS,
    Rung,
    derived_ladder,
    refused_in_trials,
    rung_overrides,
    rungs_of,
)
from orchestrator.study.plan import Plan, plan_from_plain
from trainer.api import ConfigError, dump_yaml, known_keys, parse_yaml, resolve_config

BASE = resolve_config({"task": "captioning"}, TINY)  # 6 epochs, all images, 32 pixels
Make = Callable[..., Plan]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A plan from a trials file without a budget, and from flags."""

    def plan(flags: dict[str, Any] | None = None, **sections: Any) -> Plan:
        path = write_trials(tmp_path / "tiny.json", [{LR: n / 100} for n in range(1, 5)], **{"budget": {}, **sections})
        return make_plan(Request(path, output_dir=tmp_path / "outputs", **(flags or {})))[0]

    return plan


def problems(make: Make, *args: Any, **sections: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make(*args, **sections)
    return [str(problem) for problem in caught.value.problems]


# The keys that no trial may set, besides those of the sections `checkpoint` and `logging`.
REFUSED = (
    "training.epochs", "training.subset_size", "data.image_size", "data.val_subset_size", "training.max_iter",
    "training.schedule_epochs", "training.subset_seed", "training.overfit", "training.resize_schedule",
    "training.eval_interval", "data.data_fraction", "data.max_samples", "data.val_split", "data.split_seed", "seed",
    "device", "task",
)  # fmt: skip


@pytest.mark.parametrize("task", ["captioning", "detection", "classification", "diffusion"])
def test_the_roles_of_keys_say_what_no_trial_may_set(task: str) -> None:
    keys = known_keys(task)
    places = {key for key in keys if key.startswith(("checkpoint.", "logging."))}
    tokens = {"metrics.bleu_tokenize"} & keys.keys()  # another tokenizer is another metric
    assert {key for key in keys if refused_in_trials(keys[key])} == {*REFUSED, *places, *tokens}
    assert {key for key in keys if "place" in keys[key].roles} == places
    timeless = {key.split(".")[0] for key in keys if keys[key].roles & {"place", "identity"}}
    assert timeless == {"checkpoint", "logging", "experiment_name", "seed"}  # the time of an epoch depends on none


# written


@pytest.mark.parametrize(
    ("said", "rungs"),
    [
        ("1x10@32,3x20@48,9x40@64", [(1, 10, 32), (3, 20, 48), (9, 40, 64)]),
        (" 1 x 10 @ 32 , 3x20 ", [(1, 10, 32), (3, 20, 32)]),
        ("1x10,3", [(1, 10, 32), (3, None, 32)]),
        ("1,2@48", [(1, None, 32), (2, None, 48)]),
        (["1x10", 3, {"epochs": 4, "size": 48}], [(1, 10, 32), (3, None, 32), (4, None, 48)]),
        ([{"epochs": 1, "subset": 5, "size": 16}, {"epochs": 2, "subset": 5, "size": None}], [(1, 5, 16), (2, 5, 32)]),
        ("2x20", [(2, 20, 32)]),
    ],
)
def test_the_forms_of_a_ladder(said: Any, rungs: list[tuple[int, int | None, int]]) -> None:
    found, wrong = rungs_of(said, BASE, None)
    assert not wrong
    assert [(rung.epochs, rung.subset, rung.size) for rung in found] == rungs


def test_a_rung_that_leaves_out_the_images_has_the_bases() -> None:
    base = resolve_config(BASE.plain(), {"training.subset_size": 30})
    assert [rung.subset for rung in rungs_of("1x10,2", base, None)[0]] == [10, 30]


@pytest.mark.parametrize(
    "part",
    ["", "x10", "1x", "1x10@", "1@", "one", "1.5", "-1", "0", "0x10", "1x0", "1x10@0", "1x10@32@32", "1 10", "1X9"],
)
def test_a_rung_of_another_form(part: str) -> None:
    rungs, wrong = rungs_of(f"1x10,{part}", BASE, None)
    assert wrong == [f"rung 2: {part!r} is not of the form EPOCHSxIMAGES@SIZE, such as 3x500@160"]
    assert len(rungs) == 1


@pytest.mark.parametrize(
    "part",
    [
        None,
        True,
        1.5,
        [1],
        {},
        {"epoch": 1},
        {"subset": 1},
        {"epochs": True},
        {"epochs": "1"},
        {"epochs": 1, "size": 0},
    ],
)
def test_a_rung_in_a_list_of_another_form(part: Any) -> None:
    assert rungs_of([part], BASE, None)[1] == [
        f"rung 1: {part!r} is not of the form EPOCHSxIMAGES@SIZE, such as 3x500@160"
    ]


def test_nothing_on_a_ladder_may_shrink() -> None:
    _, wrong = rungs_of("3x20@48,3x10@32,2x30@16", BASE, None)
    second = "rung 2 (3 epochs, 10 images @32) after rung 1 (3 epochs, 20 images @48)"
    third = "rung 3 (2 epochs, 30 images @16) after rung 2 (3 epochs, 10 images @32)"
    assert wrong == [
        f"{second}: epochs count from a trial's start and must rise",
        f"{second}: the subset must not shrink",
        f"{second}: the size must not shrink",
        f"{third}: epochs count from a trial's start and must rise",
        f"{third}: the size must not shrink",
    ]


def test_all_images_are_more_than_any_number() -> None:
    assert not rungs_of("1x10000,2", BASE, None)[1]
    assert rungs_of("1,2x10000", BASE, None)[1] == [
        "rung 2 (2 epochs, 10000 images @32) after rung 1 (1 epoch, all images @32): the subset must not shrink"
    ]


rows = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 500), st.integers(16, 64)), min_size=1, max_size=5)


@given(rows, st.booleans())
def test_text_and_list_say_the_same_and_only_what_rises_is_a_ladder(
    found: list[tuple[int, int, int]], rise: bool
) -> None:
    if rise:
        columns = [sorted({e for e, _, _ in found}), sorted(s for _, s, _ in found), sorted(p for _, _, p in found)]
        found = list(zip(*columns, strict=False))
    text = ",".join(f"{epochs}x{subset}@{size}" for epochs, subset, size in found)
    mappings = [dict(zip(("epochs", "subset", "size"), row, strict=True)) for row in found]
    rungs, wrong = rungs_of(text, BASE, None)
    assert (rungs, wrong) == rungs_of(mappings, BASE, None)
    rises = all(a[0] < b[0] and a[1] <= b[1] and a[2] <= b[2] for a, b in pairwise(found))
    assert rises == (not wrong)
    assert rises >= rise
    assert len({rung.val_subset for rung in rungs}) == 1


@pytest.mark.parametrize(
    ("ladder", "said", "base", "expected"),
    [
        ("1x10,3x20", None, None, 200),
        ("1x10,3x500", None, None, 500),
        ("1x10,3", None, None, None),
        ("1x10,3x500", 40, None, 40),
        ("1x10,3x500", None, 30, 30),
    ],
)
def test_every_rung_is_validated_on_one_set(ladder: str, said: int | None, base: int | None, expected: Any) -> None:
    rungs, _ = rungs_of(ladder, resolve_config(BASE.plain(), {"data.val_subset_size": base}), said)
    assert {rung.val_subset for rung in rungs} == {expected}


# derived


@pytest.mark.parametrize(
    ("top", "factor", "rungs"),
    [
        (Rung(9, 900, 64, 7), 3, [(1, 100), (3, 300), (9, 900)]),
        (Rung(9, None, 64, None), 3, [(1, 111), (3, 333), (9, None)]),
        (Rung(5, 640, 64, 7), 2, [(1, 160), (2, 320), (5, 640)]),
        (Rung(100, 1000, 64, 7), 3, [(4, 37), (11, 111), (33, 333), (100, 1000)]),
        (Rung(6, 50, 64, 7), 3, [(1, 32), (2, 32), (6, 50)]),
        (Rung(6, 20, 64, 7), 3, [(1, 20), (2, 20), (6, 20)]),
        (Rung(2, 20, 64, 7), 3, [(1, 20), (2, 20)]),
        (Rung(1, 20, 64, 7), 3, [(1, 20)]),
    ],
)
def test_a_ladder_follows_from_the_budget(top: Rung, factor: int, rungs: list[tuple[int, int | None]]) -> None:
    found = derived_ladder(top, factor, train_images=1000, least_images=32)
    assert [(rung.epochs, rung.subset) for rung in found] == rungs
    assert {(rung.size, rung.val_subset) for rung in found} == {(64, top.val_subset)}


@given(
    st.integers(1, 400), st.one_of(st.none(), st.integers(1, 3000)), st.integers(2, 6), st.integers(1, 3000),
    st.integers(1, 256),
)  # fmt: skip
def test_a_derived_ladder_is_one_that_could_be_written(
    epochs: int, subset: int | None, factor: int, train_images: int, least: int
) -> None:
    top = Rung(epochs, subset, 64, 7)
    rungs = derived_ladder(top, factor, train_images, least)
    assert rungs[-1] == top
    assert 1 <= len(rungs) <= MOST_DERIVED_RUNGS
    said = [{"epochs": r.epochs, "subset": r.subset, "size": r.size} for r in rungs]
    again, wrong = rungs_of(said, BASE, 7)
    assert not wrong
    assert again == rungs
    for rung in rungs[:-1]:
        assert rung.subset is None or rung.subset >= min(least, subset or train_images)


def test_auto_takes_budget_and_factor(make: Make) -> None:
    plan = make(
        {"ladder": "auto", "budget_epochs": 8, "budget_subset": 40, "budget_size": 48}, search={"reduction_factor": 4}
    )
    assert [(r.epochs, r.subset, r.size) for r in plan.rungs] == [(2, 32, 48), (8, 40, 48)]
    assert plan.pruner == {"name": "halving", "reduction_factor": 4}
    assert any(note.startswith("ladder, derived from the budget: 2 epochs, 32 images @48 → 8") for note in plan.notes)


def test_the_halving_pruner_alone_asks_for_a_ladder(make: Make) -> None:
    for said in ("halving", {"name": "halving", "reduction_factor": 2}):
        plan = make(search={"pruner": said}, budget={"epochs": 4})
        assert len(plan.rungs) > 1
    assert (
        make({"pruner": "halving"}, budget={"epochs": 4}).rungs == make({"ladder": "auto"}, budget={"epochs": 4}).rungs
    )


def test_one_epoch_leaves_no_room(make: Make) -> None:
    words = "are too few for a lower rung; give more with --budget-epochs"
    assert words in problems(make, {"ladder": "auto", "budget_epochs": 1})[0]


# in the plan


def test_a_flag_goes_before_the_file(make: Make) -> None:
    assert [rung.epochs for rung in make({"ladder": "1,4"}, ladder="2,3").rungs] == [1, 4]


def test_halving_is_the_default_on_a_ladder_and_median_on_one_rung(make: Make) -> None:
    assert make(ladder="1,2").pruner == {"name": "halving", "reduction_factor": 3}
    assert make(ladder="1,2", search={"reduction_factor": 2}).pruner["reduction_factor"] == 2
    assert make({"pruner": "none"}, ladder="1,2").pruner == {"name": "none"}
    assert make(ladder="2").pruner["name"] == make().pruner["name"] == "median"


@pytest.mark.parametrize("name", ["median", "percentile", "patient", "successive_halving", "hyperband"])
def test_optunas_pruners_compare_across_sizes_and_are_refused(make: Make, name: str) -> None:
    words = f"--pruner: {name} compares values across rungs, whose sizes and subsets differ; on a ladder use none or"
    assert problems(make, {"pruner": name}, ladder="1,2")[0].startswith(words)


@pytest.mark.parametrize("axis", ["epochs", "subset", "size"])
def test_a_written_ladder_excludes_the_budget(make: Make, axis: str) -> None:
    words = f"the ladder already sets the budget of each rung; leave out the budget {axis}"
    assert problems(make, {f"budget_{axis}": 40}, ladder="1,2")[0].endswith(words)
    assert problems(make, {"ladder": "1,2"}, budget={axis: 40}) == [f"--ladder: {words}"]
    assert make(ladder="1,2", budget={"val_subset": 9}).top.val_subset == 9


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_a_reduction_factor_without_use_for_it(make: Make, pruner: str) -> None:
    assert problems(make, {"reduction_factor": 2, "pruner": pruner}) == [
        f"--reduction-factor: belongs to a ladder; the pruner {pruner} takes none"
    ]


@pytest.mark.parametrize("factor", [1, 0, -3])
def test_a_reduction_factor_under_two(make: Make, factor: int) -> None:
    words = f"--reduction-factor: must be a whole number of at least 2, not {factor}"
    assert problems(make, {"reduction_factor": factor, "ladder": "1,2"}) == [words]
    pruner = {"name": "halving", "reduction_factor": factor}
    assert (
        f"reduction_factor must be at least 2, not {factor}"
        in problems(make, ladder="1,2", search={"pruner": pruner})[0]
    )


def test_a_rung_larger_than_the_data_is_a_warning_that_says_what_is_used(make: Make) -> None:
    notes = make(ladder="1x1000,2x2000").notes
    assert "warning: subset of 2000 images asked for, but the training split has 48: all are used" in notes
    assert "warning: rung 1 asks for 1000 images; there are 48 to train on, and all are used" in notes
    assert not any("warning" in note for note in make(ladder="1x10,2x48").notes)


def test_a_ladder_higher_than_full_training_is_a_warning(make: Make) -> None:
    assert "warning: the budget's 7 epochs are more than full training's 6" in make(ladder="1,7").notes


def test_too_few_trials_for_the_top_rung_are_said(make: Make) -> None:
    words = "4 trials may be too few for the top rung: 3 rungs with a reduction factor of 3 need 9 to fill it"
    assert words in make(ladder="1,2,3").notes
    assert not any("top rung empty" in note for note in make(ladder="1,2").notes)


def test_a_ladder_of_one_rung_is_a_budget(make: Make) -> None:
    plan = make(ladder="2x20")
    assert plan.rungs == make(budget={"epochs": 2, "subset": 20}).rungs
    assert not any("no budget was given" in note for note in (*plan.notes, *make(ladder="2").notes))
    assert any("no budget was given" in note for note in make().notes)


def test_sizes_that_the_task_refuses_are_named_by_rung(command: Command, tmp_path: Path) -> None:
    write_trials(tmp_path / "tiny.json", [{}], budget={}, ladder="1@8,2@5000")
    before = tree(tmp_path)
    for name in ("plan", "run"):
        result = command(name, "tiny.json")
        assert result.exit_code == 2
        for words in (
            "ladder: rung 1: data.image_size: input should be greater",
            "ladder: rung 2: data.image_size: in",
        ):
            assert words in result.stderr
    flag = command("run", "tiny.json", "--ladder", "")
    assert flag.exit_code == 2
    assert "--ladder: rung 1: '' is not of the form" in flag.stderr
    assert tree(tmp_path) == before


def test_a_plan_with_a_ladder_survives_its_yaml(make: Make) -> None:
    plan = make(ladder="1x10@32,3@48")
    assert plan_from_plain(parse_yaml(dump_yaml(plan.plain()), "here"), plan.folder) == plan


def test_a_rung_is_a_prefix_of_the_one_above(make: Make) -> None:
    plan = make(ladder="1x10@32,3x20@32,5x20@48")
    configs = [plan.search_config({}, rung).plain() for rung in plan.rungs]
    for config, rung in zip(configs, plan.rungs, strict=True):
        assert config["training"]["epochs"] == rung.epochs
        assert config["training"]["schedule_epochs"] == 5
        assert (
            config["training"]["scheduler"]["warmup_fraction"] == configs[0]["training"]["scheduler"]["warmup_fraction"]
        )
        assert config["training"].pop("epochs")
        assert config["training"].pop("subset_size") == rung.subset
        assert config["data"].pop("image_size") == rung.size
    assert configs[0] == configs[1] == configs[2]


def test_the_keys_of_a_rung_are_all_the_budgets() -> None:
    rung = Rung(1, 10, 32, 20)
    found = rung_overrides(rung, Rung(9, 90, 64, 20), 0.5)
    assert found["training.schedule_epochs"] == 9
    assert found["training.scheduler.warmup_fraction"] == 0.3
    assert "training.scheduler.warmup_fraction" not in rung_overrides(rung, rung, None)
