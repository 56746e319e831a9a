"""Every wrong input: one clear message, exit status 2, and nothing created."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from orchestrator_parts import LR, TINY, Command, tree, write_trials
from PIL import Image

from orchestrator.storage.lock import StudyLock
from orchestrator.study.folder import StudyFolder

ONE = [{LR: 1e-3}]


@pytest.fixture
def refused(command: Command, tmp_path: Path) -> Iterator[Command]:
    """Runs `run` with what it must refuse; afterwards the folder is as it was."""

    def call(*words: object) -> Result:
        before = tree(tmp_path)
        results = [command(name, *words) for name in ("plan", "run")]
        assert results[0].stderr.splitlines() == results[1].stderr.splitlines(), "`plan` says what `run` says"
        for result in results:
            assert result.exit_code == 2, result.output
            assert result.stderr.startswith("error: ")
            assert "Traceback" not in result.stderr
        assert tree(tmp_path) == before
        assert not (tmp_path / "outputs").exists()
        return results[1]

    yield call
    assert not (tmp_path / "outputs").exists()


def trials_file(folder: Path, content: Any, name: str = "trials.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# the trials file


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "trials.json: no such trials file"),
        ('[{"training.optimizer.lr": 1e-3},\n {"training.batch_size: 4}]', "not valid JSON, line 2 column"),
        ("", "is empty"),
        ("[]", "holds no trial"),
        ("{}", "holds no trial"),
        ("7", "expected a list of trials or a mapping"),
        ('[{"training.optimizer.lr": 1e-3}, 4, "x"]', "trial 2: must be an object of dotted keys, not 4"),
        ('[{"training.optimizer.lr": NaN}]', "NaN is not a number in JSON"),
        ('[{"training.optimizer.lr": Infinity}]', "Infinity is not a number in JSON"),
        ('[{"training.optimizer.lr": 1, "training.optimizer.lr": 2}]', "1: the key 'training.optimizer.lr' is set twi"),
        ('[{"training.optimizer.lr": 1e-3, "training.lr": 1e-3}]', "trial 1: training.lr: is set twice"),
        ('[{"training": {"optimizer": {"lr": 1}}, "training.learning_rate": 1}]', "are the same key"),
    ],
)  # fmt: skip
def test_the_file_itself(refused: Command, tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        trials_file(tmp_path, content)
    assert words in refused("trials.json").stderr


def test_yaml_with_a_python_tag(refused: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, "- training.optimizer.lr: !!python/object/apply:os.mkdir [made]\n", "trials.yaml")
    assert "trials.yaml, line 1: not valid YAML" in refused("trials.yaml").stderr
    assert not (tmp_path / "made").exists()


def test_yaml_that_says_a_key_twice(refused: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, "- training.batch_size: 1\n  training.batch_size: 2\n", "trials.yaml")
    assert "the key 'training.batch_size' is set twice" in refused("trials.yaml").stderr


def test_unknown_keys_in_several_trials_each_with_number_and_suggestion(refused: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, [{"training.optimizer.lrr": 1}, ONE[0], {"model.droput": 0.1, "training.batchsize": 4}])
    lines = refused("trials.json").stderr.removeprefix("error: ").splitlines()
    assert lines == [
        "trials.json, trial 1: training.optimizer.lrr: unknown key; did you mean training.optimizer.lr?",
        "trials.json, trial 3: model.droput: unknown key; did you mean model.dropout?",
        "trials.json, trial 3: training.batchsize: unknown key; did you mean training.batch_size?",
    ]


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ({LR: "fast"}, "must be a number, not 'fast'"),
        ({LR: True}, "must be a number, not True"),
        ({LR: None}, "must be a number, not null"),
        ({LR: [1]}, "must be a number, not [1]"),
        ({"training.batch_size": 2.5}, "must be a whole number, not 2.5"),
        ({"model.encoder_fine_tune": "yes"}, "must be true or false, not 'yes'"),
        ({"training.optimizer.type": "adamm"}, "did you mean adam"),
        ({"training.optimizer": 3}, "is a section, not a value"),
        ({LR: {"low": 1}}, "is a value, not a section"),
        ({"data.scenes": None}, "is a section; a trial sets its keys"),
        ({LR: 0}, "training.optimizer.lr: input should be greater than 0"),
        ({"model.dropout": 1}, "input should be less than 1"),
        ({"training.batch_size": 0}, "input should be greater than or equal to 1"),
        ({"training.optimizer.betas": [0.9, 1.5]}, "both betas must be at least 0 and below 1"),
        ({"training.optimizer.type": "sgd", "training.optimizer.betas": [0.9, 0.9]}, "sgd does not take betas"),
        ({"model.pretrained": True}, "resnet10_thin has no pretrained weights"),
    ],
)
def test_wrong_types_and_broken_constraints(
    refused: Command, tmp_path: Path, trial: dict[str, Any], words: str
) -> None:
    trials_file(tmp_path, [{}, trial])
    said = refused("trials.json").stderr
    assert "trials.json, trial 2" in said
    assert words in said
    assert "trial 1:" not in said


REFUSED = {
    "training.epochs": 3, "training.max_iter": 3, "training.schedule_epochs": 3, "training.subset_size": 3,
    "training.subset_seed": 3, "training.overfit": True, "training.eval_interval": 2,
    "data.image_size": 64, "data.data_fraction": 0.5, "data.max_samples": 9, "data.val_split": 0.3,
    "data.split_seed": 1, "data.val_subset_size": 9, "seed": 1, "device": "cpu", "task": "captioning",
    "checkpoint.dir": "x", "checkpoint.save": False, "checkpoint.every_n_epochs": 1, "checkpoint.every_n_steps": 1,
    "checkpoint.resume": "x.pth", "logging.every_n_steps": 1, "logging.save_metrics": False, "logging.dir": "x",
    # older spellings of the same
    "training.max_epochs": 3, "training.num_epochs": 3, "dataset.image_size": 64, "dataset.data_fraction": 0.5,
    "data.num_samples": 9, "dataset.val_part": 0.3, "data.train_split": 0.7, "training.seed": 1,
    "training.checkpoint_dir": "x", "directories.models": "x", "training.output_dir": "x", "training.resume": "x.pth",
    "training.resume_from": "x.pth", "training.save_checkpoints": False, "training.save_every_epoch": True,
    "training.save_every_n_epochs": 2, "training.save_steps": 5, "training.logging_steps": 5,
    "training.save_metrics": False,
}  # fmt: skip


@pytest.mark.parametrize("key", REFUSED)
def test_budget_and_study_keys_in_a_trial_under_every_spelling(refused: Command, tmp_path: Path, key: str) -> None:
    trials_file(tmp_path, [ONE[0], {key: REFUSED[key]}])
    said = refused("trials.json").stderr
    assert "trials.json, trial 2: " in said
    assert "belongs to the budget or to the study, not to a trial" in said


def test_a_nested_budget_key_in_a_trial(refused: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, [{"training": {"epochs": 3}, "data": {"image_size": 64}}])
    assert refused("trials.json").stderr.count("belongs to the budget") == 2


def test_a_key_set_by_trial_and_command_line(refused: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, [{LR: 1e-3}, {"training.batch_size": 4}])
    said = refused("trials.json", "training.lr=1e-4").stderr
    assert "trial 1: training.optimizer.lr: is set by the trial and on the command line; set it once" in said
    assert "trial 2" not in said


# the base, the flags


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("training.batch_sise=4",), "command line: training.batch_sise: unknown key; did you mean training.batch_siz"),
        (("training.batch_size",), "training.batch_size: expected key=value"),
        (("training.batch_size=1", "training.batch_size=2"), "training.batch_size: is set twice on the command line"),
        (("training.batch_size=0",), "command line: training.batch_size: input should be greater"),
        (("task=sculpture",), "unknown task 'sculpture'"),
        (("--base-config", "none.yaml"), "none.yaml: no such file"),
        (("--budget-epochs", "0"), "--budget-epochs: must be a whole number of at least 1, not 0"),
        (("--budget-epochs", "-3"), "--budget-epochs: must be a whole number of at least 1, not -3"),
        (("--budget-subset", "0"), "--budget-subset: must be a whole number of at least 1, not 0"),
        (("--budget-size", "3"), "--budget-size: data.image_size: input should be greater than or equal to 16"),
        (("--budget-val-subset", "0"), "--budget-val-subset: must be"),
        (("--n-trials", "0"), "--n-trials: must be a whole number of at least 1, not 0"),
        (("--workers", "0"), "--workers: must be a whole number of at least 1"),
        (("--threads-per-slot", "0"), "--threads-per-slot: must be"),
        (("--max-failures", "0"), "--max-failures: must be"),
        (("--max-gpu-hours", "-1"), "--max-gpu-hours: must be a number of at least 0"),
        (("--max-checkpoint-gb", "nan"), "--max-checkpoint-gb: must be a number of at least 0, not nan"),
        (("--promote", "-1"), "--promote: must be"),
        (("--promote-seeds", "0"), "--promote-seeds: must be"),
        (("--seed", "-1"), "--seed: must be a whole number of at least 0"),
        (("--early-stop-threshold", "nan"), "--early-stop-threshold: must be a number, not nan"),
        (("--timeout", "soon"), "--timeout: must be a time such as 90s, 30m or 2h, not 'soon'"),
        (("--timeout", "0s"), "--timeout: must be a time"),
        (("--stall-timeout", "x"), "--stall-timeout: must be a time"),
        (("--pruner", "asha"), "unknown pruner 'asha'; known are none, halving, median, percentile, thr"),
        (("--pruner", "threshold"), "pruner threshold: needs a bound: --early-stop-threshold X"),
        (("--study", "../up"), "--study: '../up' cannot be the name of a folder"),
        (("--study", ".hidden"), "cannot be the name of a folder"),
        (("--study", " "), "cannot be the name of a folder"),
    ],
)  # fmt: skip
def test_base_and_flags(refused: Command, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    trials_file(tmp_path, ONE)
    assert said in refused("trials.json", *words).stderr


@pytest.mark.parametrize("words", [("--budget-epochs", "x"), ("--no-such-flag",), ("--promote", "1.5")])
def test_flags_that_cannot_be_read(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    trials_file(tmp_path, ONE)
    result = command("run", "trials.json", *words)
    assert result.exit_code == 2
    assert words[0] in result.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"search": {"pruner": {"name": "median", "warmup": 3}}}, "pruner median: takes no option 'warmup'"),
        ({"search": {"sampler": "tpe"}}, "a list of trials is searched in its order; a sampler needs a search_space"),
        ({"search": {"n_trials": "many"}}, "trials.json: search.n_trials: must be a whole number"),
        ({"budget": {"epochs": 0}}, "trials.json: budget.epochs: must be a whole number of at least 1, not 0"),
        ({"budget": {"epochs": True}}, "budget.epochs: must be"),
        ({"budget": {"size": 3}}, "trials.json: budget.size: data.image_size: input should be gr"),
        ({"search": {"pruner": "halving"}, "budget": {"epochs": 1}}, "trials.json: search.pruner: 1 epochs are"),
        ({"budget": {"epoch": 3}}, "trials.json: budget.epoch: unknown; known are epochs"),
        ({"limits": {"timeout": -5}}, "trials.json: limits.timeout: must be a time"),
        ({"promote": -1}, "trials.json: promote.top: must be"),
        ({"search": {"reduction_factor": 2}}, "trials.json: search.reduction_factor: belongs to a ladder"),
        ({"promote": "best"}, "trials.json: promote: must be a mapping of top, seeds"),
        ({"trails": []}, "trials.json: trails: unknown section"),
        ({"overrides": {"training.epoch": 3}}, "overrides: training.epoch: unknown key; did you mean training.epochs?"),
        ({"overrides": {"training.epochs": 0}}, "training.epochs: input should be greater"),
        ({"base_config": "none.yaml"}, "none.yaml: no such file"),
    ],
)  # fmt: skip
def test_sections_of_the_file(refused: Command, tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    trials_file(tmp_path, {"trials": ONE, **sections})
    assert said in refused("trials.json").stderr


def test_all_mistakes_at_once(refused: Command, tmp_path: Path) -> None:
    content = {
        "overrides": {"training.epoch": 3},
        "budget": {"epochs": 0},
        "search": {"pruner": "asha", "n_trials": 0},
        "trails": [],
        "trials": [{LR: "fast"}, 5, {"model.droput": 1, "training.epochs": 1}, {"training.batch_size": "many"}],
    }
    trials_file(tmp_path, content)
    said = refused("trials.json", "training.batch_sise=4", "--workers", "0", "--study", "a/b").stderr
    for words in (
        "overrides: training.epoch:", "budget.epochs:", "unknown pruner 'asha'", "search.n_trials:", "trails:",
        "trial 1: training.optimizer.lr", "trial 2: must be an object", "trial 3: model.droput",
        "trial 4: training.batch_size", "command line: training.batch_sise",
        "--workers", "--study",
    ):  # fmt: skip
        assert words in said, words
    assert said.count("\n") == 12


def test_a_mistake_is_blamed_on_the_layer_that_made_it(refused: Command, tmp_path: Path) -> None:
    base = tmp_path / "older.yaml"
    base.write_text("task: captioning\noptimizer: {type: SGD, momentum: 0.9}\ndata: {scenes: {}}\n")
    trials_file(tmp_path, {"trials": ONE, "base_config": "older.yaml", "overrides": {"training.max_grad_norm": 1}})
    assert refused("trials.json", "optimizer.type=Adam").stderr.splitlines()[0] == (
        "error: command line: optimizer.type: adam does not take momentum"
    )
    trials_file(tmp_path, {"trials": ONE, "base_config": "older.yaml", "overrides": {"training.max_grad_norm": -1}})
    said = refused("trials.json", "training.batch_size=8").stderr
    assert "trials.json: overrides: training.max_grad_norm: input should be greater than or equal to 0" in said
    base.write_text("task: captioning\noptimizer: {type: Adam, momentum: 0.9}\ndata: {train_split: 1.0, scenes: {}}\n")
    trials_file(tmp_path, {"trials": ONE, "base_config": "older.yaml"})
    said = refused("--trials-file", "trials.json", "training.batch_size=8").stderr
    assert "older.yaml: optimizer.momentum: adam does not take momentum" in said
    assert "older.yaml: data.train_split: must be above 0 and below 1" in said
    assert "command line" not in said
    trials_file(tmp_path, [{"training.lr": -1}])
    assert "trials.json, trial 1: training.lr: input should be greater than 0, not -1" in refused("trials.json").stderr


def test_trials_are_checked_although_the_base_is_wrong(refused: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, [{"training.epochs": 1}, {"model.droput": 1}])
    said = refused("trials.json", "model.dropout=7").stderr
    assert "command line: model.dropout" in said
    assert "trial 1: training.epochs: belongs to the budget" in said
    assert "trial 2: model.droput: unknown key" in said


# the data


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """A folder of four images and where their captions will stand."""
    (tmp_path / "images").mkdir()
    for number in range(4):
        Image.new("RGB", (32, 32), (60 * number, 0, 0)).save(tmp_path / "images" / f"{number}.jpg")
    return tmp_path / "captions.csv"


DATA = ("data.images_dir=images", "data.caption_file=captions.csv", "data.freq_threshold=1")
GOOD = "".join(f"{number}.jpg,a red square\n" for number in range(4))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("9.jpg,a red square\n" + GOOD, "captions.csv: the header must be image,caption; found 9.jpg,a red square"),
        ("", "the header must be image,caption; found nothing"),
        ("id,words\n" + GOOD, "the header must be image,caption; found id,words"),
        ("image,caption\n", "captions.csv: no usable caption in it"),
        ("image,caption\n" + GOOD + "7.jpg,x\n8.jpg,x\n", "2 missing images: 7.jpg, 8.jpg; data.bad_samples=skip"),
        ("image,caption\n" + "".join(f"{n},x\n" for n in range(10, 20)), "10 missing images: 10, 11, 12, 13, 14 and 5"),
        ("image,caption\n0.jpg,\n1.jpg,a, b\n", "2 unusable rows: row 2: empty caption of 0.jpg, row 3: 3 cells ins"),
        ("image,caption\n0.jpg,one\n", "1 usable image(s); at least 2 are needed"),
    ],
)  # fmt: skip
def test_captions(refused: Command, captions: Path, text: str, said: str) -> None:
    captions.write_text(text, encoding="utf-8")
    trials_file(captions.parent, ONE)
    assert said in refused("trials.json", *DATA).stderr


def test_nothing_usable_is_left_when_bad_samples_are_skipped(refused: Command, captions: Path) -> None:
    captions.write_text("image,caption\n8.jpg,x\n9.jpg,\n", encoding="utf-8")
    trials_file(captions.parent, ONE)
    assert "no usable caption in it (2 left out)" in refused("trials.json", *DATA, "data.bad_samples=skip").stderr


def test_no_such_images_or_captions(refused: Command, captions: Path) -> None:
    trials_file(captions.parent, ONE)
    assert "captions.csv: no such caption file" in refused("trials.json", *DATA).stderr
    captions.write_text("image,caption\n" + GOOD, encoding="utf-8")
    said = refused("trials.json", "data.images_dir=pictures", *DATA[1:]).stderr
    assert "pictures: no such folder of images" in said
    assert "images_dir and caption_file belong together" in refused("trials.json", DATA[0]).stderr


def test_no_such_file_of_weights(refused: Command, captions: Path) -> None:
    captions.write_text("image,caption\n" + GOOD, encoding="utf-8")
    trials_file(captions.parent, ONE)
    gone = captions.parent / "gone.pth"
    for data in ((), DATA):
        said = refused("trials.json", *data, "model.weights=gone.pth").stderr
        assert said == f"error: data: {gone}: no such file of weights (model.weights)\n"
    trials_file(captions.parent, [*ONE, {"model.weights": "gone.pth"}])
    assert f"trial 2: data: {gone}: no such file of weights (model.weights)" in refused("trials.json").stderr


def test_mistakes_in_data_and_trials_together(refused: Command, captions: Path) -> None:
    captions.write_text("id,words\n" + GOOD, encoding="utf-8")
    trials_file(captions.parent, [{"model.droput": 1}])
    said = refused("trials.json", *DATA).stderr
    assert "the header must be" in said
    assert "model.droput" in said


# where results go


def test_an_output_folder_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    trials_file(tmp_path, ONE)
    (tmp_path / "file").write_text("in the way")
    for where in ("file", "file/below"):
        before = tree(tmp_path)
        result = command("run", "trials.json", "--output-dir", where)
        assert result.exit_code == 2
        assert "cannot be written" in result.stderr
        assert "choose another with --output-dir" in result.stderr
        assert tree(tmp_path) == before
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "trials").write_text("a file in the study's place")
    assert command("run", "trials.json").exit_code == 2


def test_a_folder_without_write_permission(command: Command, tmp_path: Path) -> None:
    """By a file system that takes nothing, because permissions do not bind everyone who runs tests."""
    trials_file(tmp_path, ONE)
    result = command("run", "trials.json", "--output-dir", "/proc/self")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_a_study_that_exists_with_another_plan(command: Command, finished_copy: Path) -> None:
    home = finished_copy.parents[1]
    before = tree(home)
    where = ("--output-dir", home / "outputs")
    for words, said in (
        (("--budget-epochs", "2"), "budget: 3 epochs, 30 images @32 in the study, 2 epochs, 30 images @32 now"),
        (("--seed", "7"), "seed: 42 in the study, 7 now"),
        (("model.dropout=0.25",), "model.dropout: 0.1 in the study, 0.25 now"),
        (("--pruner", "none"), 'in the study, {"name": "none"} now'),
        (("--early-stop-threshold", "4"), "threshold: null in the study, 4.0 now"),
        (("data.scenes.seed=1",), "data.scenes.seed: 0 in the study, 1 now"),
    ):
        result = command("run", home / "tiny.json", *where, *words)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
        assert "name a new study with --study NAME" in result.stderr
        assert tree(home) == before


@pytest.mark.parametrize("name", ["status", "report", "dashboard", "promote", "close", "retry"])
def test_commands_on_what_is_no_study(command: Command, tmp_path: Path, name: str) -> None:
    extra = ["--failed"] if name == "retry" else []
    for folder in ("nowhere", "."):
        before = tree(tmp_path)
        result = command(name, folder, *extra)
        assert result.exit_code == 2
        assert "is not a study: it holds no plan.yaml" in result.stderr
        assert tree(tmp_path) == before


def test_status_while_the_data_of_a_new_study_are_prepared(command: Command, tmp_path: Path) -> None:
    with StudyLock(StudyFolder(tmp_path)):
        result = command("status", ".")
    assert result.exit_code == 2
    assert "has not begun yet: its data are being prepared" in result.stderr


def test_retry_must_say_which(command: Command, finished: Path) -> None:
    result = command("retry", finished)
    assert result.exit_code == 2
    assert "name what to retry: --failed" in result.stderr


def test_debug_shows_the_traceback(command: Command, tmp_path: Path) -> None:
    result = command("plan", "none.json", "--debug")
    assert type(result.exception).__name__ == "ConfigError"
    assert not (tmp_path / "outputs").exists()


def test_the_tiny_file_of_these_tests_is_no_mistake(command: Command, tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.json", ONE, overrides=dict(TINY))
    assert command("plan", "trials.json").exit_code == 0
