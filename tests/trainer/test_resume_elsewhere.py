"""A run that goes on in another folder takes its checkpoints along, and never takes another run's for its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from trainer_parts import stop_after, tiny, trained

from trainer.api import Hooks
from trainer.checkpoints.files import BEST, LAST, PREVIOUS, load_checkpoint

EPOCHS = 4
# The rate grows from step to step until every epoch after the first makes the validation loss worse.
WORSENS: dict[str, Any] = {
    "training__optimizer__lr": 2.0,
    "training__scheduler__type": "constant",
    "training__scheduler__warmup_steps": 8 * EPOCHS,
}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with a checkpoint of each epoch, the first of them the best."""
    folder = tmp_path_factory.mktemp("old")
    outcome = trained(settings(folder, None))
    losses = [evaluation.value for evaluation in outcome.evaluations]
    assert losses[0] == min(losses)
    return folder


def settings(folder: Path, source: Path | None, **overrides: Any) -> Any:
    resume = {"checkpoint__resume": str(source)} if source else {}
    return tiny(folder, **{**WORSENS, "metrics__bleu": False, "checkpoint__every_n_epochs": 1, **resume, **overrides})


def goes_on(folder: Path, source: Path, **overrides: Any) -> list[str]:
    """Trains to the end and returns what the run said on the way."""
    said: list[str] = []
    trained(settings(folder, source, **overrides), hooks=Hooks(say=said.append))
    return said


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.pth")}


def test_the_best_so_far_comes_along(old: Path, tmp_path: Path) -> None:
    said = goes_on(tmp_path / "new", old / "checkpoint_epoch_3.pth")
    assert (tmp_path / "new" / BEST).read_bytes() == (old / BEST).read_bytes()
    assert load_checkpoint(tmp_path / "new" / LAST)["progress"]["epoch"] == EPOCHS
    assert not any(BEST in line for line in said)


def test_a_finished_run_is_in_the_other_folder_whole(old: Path, tmp_path: Path) -> None:
    goes_on(tmp_path / "new", old)
    for name in (BEST, LAST):
        assert (tmp_path / "new" / name).read_bytes() == (old / name).read_bytes()


def test_a_checkpoint_of_the_best_epoch_stands_in_for_a_best_that_is_a_later_ones(old: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(old, moved)
    shutil.copy(moved / LAST, moved / BEST)  # the run went on and was better, as far as the resumed one can know
    goes_on(tmp_path / "new", moved / "checkpoint_epoch_3.pth", training__epochs=3)
    assert load_checkpoint(tmp_path / "new" / BEST)["progress"]["epoch"] == 1
    shutil.copy(moved / "checkpoint_epoch_1.pth", moved / "kept.pth")
    (moved / "checkpoint_epoch_1.pth").unlink()
    goes_on(tmp_path / "newer", moved / "kept.pth", training__epochs=1)
    assert load_checkpoint(tmp_path / "newer" / BEST)["progress"]["epoch"] == 1, "it is itself the best so far"


@pytest.mark.parametrize("beside", ["nothing", "another run's", "damaged"])
def test_no_other_file_is_taken_for_the_best(beside: str, old: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(old / "checkpoint_epoch_3.pth", alone / "kept.pth")
    if beside == "another run's":
        trained(settings(tmp_path / "other", None, training__epochs=1))
        shutil.copy(tmp_path / "other" / BEST, alone / BEST)
    elif beside == "damaged":
        (alone / BEST).write_bytes((old / BEST).read_bytes()[:-100])
    said = goes_on(tmp_path / "new", alone / "kept.pth")
    told = "warning: the checkpoint of the best evaluation so far (epoch 1) is not beside kept.pth: "
    assert f"{told}{tmp_path / 'new'} has no best.pth until a later one is better" in said
    assert names(tmp_path / "new") == {LAST, PREVIOUS, "checkpoint_epoch_4.pth"}


def test_the_checkpoints_of_an_earlier_run_there_are_replaced(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    trained(settings(new, None, seed=9, training__epochs=1))
    earlier = (new / BEST).read_bytes()
    said = goes_on(new, old)
    assert any("its best is kept as earlier_best.pth" in line for line in said)
    assert (new / "earlier_best.pth").read_bytes() == earlier
    assert (new / BEST).read_bytes() == (old / BEST).read_bytes()


def test_a_run_that_keeps_no_checkpoints_brings_none_and_replaces_none(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(old / BEST, new / BEST)
    said = goes_on(new, old / "checkpoint_epoch_3.pth", checkpoint__save=False)
    assert not any(BEST in line for line in said)
    assert names(new) == {BEST}


def test_a_run_that_stays_in_its_folder_finds_it_as_it_left_it(old: Path, tmp_path: Path) -> None:
    folder, link = tmp_path / "run", tmp_path / "link"
    shutil.copytree(old, folder)
    link.symlink_to(folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.pth")}
    goes_on(folder, link / LAST)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.pth")} == before


def test_an_epoch_that_was_cut_short_counts_all_its_seconds(tmp_path: Path) -> None:
    cut = trained(tiny(tmp_path, training__max_iter=12))
    assert [evaluation.epoch for evaluation in cut.evaluations] == [1, 2]
    whole = trained(tiny(tmp_path, training__epochs=2), resume=True)
    assert [evaluation.epoch for evaluation in whole.evaluations] == [1, 2]
    assert sum(evaluation.seconds for evaluation in whole.evaluations) == pytest.approx(whole.seconds, abs=1e-3)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["seconds"] > cut.evaluations[1].seconds


def test_an_epoch_that_was_stopped_midway_counts_all_its_seconds(tmp_path: Path) -> None:
    config = tiny(tmp_path, training__epochs=2)
    stopped = trained(config, hooks=Hooks(should_stop=stop_after(14)))
    whole = trained(config, resume=True)
    assert sum(evaluation.seconds for evaluation in whole.evaluations) == pytest.approx(whole.seconds, abs=1e-3)
    assert whole.evaluations[1].seconds > stopped.seconds - stopped.evaluations[0].seconds > 0
