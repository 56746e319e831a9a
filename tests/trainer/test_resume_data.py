"""Where a run goes on: on the data that its checkpoint was trained on, wherever they lie now, or with a word."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from classification_parts import tiny_classification, write_folders, write_picture, write_table
from in_process import command
from trainer_parts import TINY, session_of, write_data

from trainer.api import CheckpointError, Hooks, dump_yaml, resolve_config, train
from trainer.checkpoints.files import load_checkpoint, save_checkpoint


def config_of(tmp_path: Path, images: Path, **more: Any) -> Any:
    return tiny_classification(tmp_path / "run", data__images_dir=str(images), data__scenes=None, **more)


def resumed(config: Any, force: bool = False) -> list[str]:
    said: list[str] = []
    with session_of(config, Hooks(say=said.append), resume=True, force=force):
        return said


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A folder of images that a run has trained one epoch on."""
    images = write_folders(tmp_path / "images", {"a": 5, "b": 5})
    train(config_of(tmp_path, images), until_epoch=1)
    return images


def test_other_images_are_refused_with_what_has_changed(trained: Path, tmp_path: Path) -> None:
    for number in range(6):
        write_picture(trained / "a" / f"0{number}.png", 50 + number)
    with pytest.raises(CheckpointError) as caught:
        resumed(config_of(tmp_path, trained))
    told = str(caught.value)
    assert "on: 10 images then, 16 now; the split has moved: " in told
    assert " that were trained on are now validated on; " in told
    assert "--force continues on them all the same" in told
    (word,) = [line for line in resumed(config_of(tmp_path, trained), force=True) if line.startswith("warning")]
    assert word.startswith("warning: the data are not those that the checkpoint was trained on: 10 images then, 16 now")


def test_the_same_images_in_another_place_are_the_same_data(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "elsewhere" / "pictures", copy_function=shutil.copyfile)
    shutil.rmtree(trained)
    assert not [line for line in resumed(config_of(tmp_path, tmp_path / "elsewhere" / "pictures")) if "data" in line]


def test_other_content_under_the_same_names_is_noticed(trained: Path, tmp_path: Path) -> None:
    image = trained / "b" / "0.png"
    image.write_bytes((trained / "b" / "1.png").read_bytes() + bytes(100))
    with pytest.raises(CheckpointError, match=r"files, labels or captions have changed; --force continues"):
        resumed(config_of(tmp_path, trained))


def test_other_labels_are_noticed_and_another_form_of_them_is_not(tmp_path: Path) -> None:
    rows = [(f"{n}.png", "ab"[n % 2]) for n in range(8)]
    places = write_table(tmp_path, rows)
    config = tiny_classification(tmp_path / "run", places)
    train(config, until_epoch=1)
    table = tmp_path / "labels.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("0.png", "./0.png"), encoding="utf-8")
    resumed(config)
    write_table(tmp_path, [*rows[:-1], ("7.png", "a")])
    with pytest.raises(CheckpointError, match="files, labels or captions have changed"):
        resumed(config)


def test_a_budget_is_no_other_data(trained: Path, tmp_path: Path) -> None:
    larger = {"training__subset_size": 4, "training__epochs": 5, "data__image_size": 40, "data__val_subset_size": 1}
    with session_of(config_of(tmp_path, trained, **larger), rung=2, resume=True):
        pass


def test_a_checkpoint_that_does_not_tell_its_data_is_taken_with_a_word(trained: Path, tmp_path: Path) -> None:
    last = tmp_path / "run" / "last.pth"
    state = load_checkpoint(last)
    del state["data"]
    save_checkpoint(state, last)
    said = resumed(config_of(tmp_path, trained))
    assert sum("does not tell its data" in line for line in said) == 1
    elsewhere = shutil.copytree(trained, tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"another configuration:\n  data\.images_dir: "):
        resumed(config_of(tmp_path, elsewhere))
    resumed(config_of(tmp_path, elsewhere), force=True)


def test_captions_are_data_too(tmp_path: Path) -> None:
    rows = [(f"{n}.png", f"a shape {'ab'[n % 2]}") for n in range(6)]
    places = write_data(tmp_path, rows)
    config = resolve_config(TINY, places, {"data.scenes": None, "checkpoint.dir": str(tmp_path / "run")})
    train(config, until_epoch=1)
    kept = load_checkpoint(tmp_path / "run" / "last.pth")["data"]
    assert (kept["images"], len(kept["train"]), len(kept["val"])) == (6, 5, 1)
    table = tmp_path / "captions.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("shape a", "round shape"), encoding="utf-8")
    with pytest.raises(CheckpointError, match="files, labels or captions have changed"):
        resumed(config)


def test_the_command_takes_force(trained: Path, tmp_path: Path) -> None:
    config = config_of(tmp_path, trained)
    (tmp_path / "run.yaml").write_text(dump_yaml(config.plain()), encoding="utf-8")
    write_picture(trained / "a" / "00.png", 60)
    words = ["--config", "run.yaml", "--resume", "run/last.pth", "training.epochs=2"]
    done = command("trainer", words, tmp_path)
    assert done.returncode == 2
    assert "10 images then, 11 now" in done.stderr
    done = command("trainer", [*words, "--force"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: the data are not those" in done.stderr
