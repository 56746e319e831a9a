"""Checkpoints are whole or not there, damage is noticed, and nothing in a file can run."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trainer_parts import same, session_of, tiny, trained, training_state

from trainer.api import CheckpointError, Evaluation, Hooks, TrainingError, open_session
from trainer.checkpoints.files import (
    BEST,
    FORMAT,
    LAST,
    PARTS,
    PREVIOUS,
    load_checkpoint,
    load_newest,
    rotate_and_save,
    save_checkpoint,
)
from trainer.tasks.captioning.task import CaptioningTask

PLAIN = {0: 1, "a": [1.5, None, True, "é"], "t": torch.arange(20)}


def state_of(number: int) -> dict[str, Any]:
    return {**dict.fromkeys(PARTS, PLAIN), "format": FORMAT, "number": number}


@contextmanager
def full_disk(room_bytes: int) -> Iterator[None]:
    """No file may grow beyond `room_bytes`: writes fail as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / LAST
    save_checkpoint(state_of(1), path)
    return path


def flipped(source: Path, bit: int, target: Path) -> Path:
    content = bytearray(source.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    target.write_bytes(content)
    return target


def test_what_is_saved_is_loaded_by_us_and_by_plain_pytorch(sound: Path) -> None:
    assert same(load_checkpoint(sound), state_of(1))
    assert same(torch.load(sound, weights_only=True), state_of(1))
    assert [path.name for path in sound.parent.iterdir()] == [LAST]


@given(st.data())
def test_one_flipped_bit_anywhere_is_noticed(sound: Path, data: st.DataObject) -> None:
    bit = data.draw(st.integers(0, sound.stat().st_size * 8 - 1))
    with pytest.raises(CheckpointError, match=r"flipped\.pth: (damaged|has no checksum)"):
        load_checkpoint(flipped(sound, bit, sound.parent.parent / "flipped.pth"))


def test_every_flipped_bit_in_the_check_itself_is_noticed(sound: Path, tmp_path: Path) -> None:
    size = sound.stat().st_size
    for bit in range((size - 96) * 8, size * 8):
        with pytest.raises(CheckpointError):
            load_checkpoint(flipped(sound, bit, tmp_path / "flipped.pth"))


@given(st.data())
def test_a_truncated_file_is_noticed(sound: Path, data: st.DataObject) -> None:
    cut = sound.parent.parent / "cut.pth"
    cut.write_bytes(sound.read_bytes()[: data.draw(st.integers(0, sound.stat().st_size - 1))])
    with pytest.raises(CheckpointError, match=r"cut\.pth"):
        load_checkpoint(cut)


def test_the_one_before_is_kept_and_used_and_said(tmp_path: Path) -> None:
    assert load_newest(tmp_path) is None
    for number in (1, 2, 3):
        rotate_and_save(state_of(number), tmp_path)
    assert load_checkpoint(tmp_path / PREVIOUS)["number"] == 2
    newest = load_newest(tmp_path)
    assert newest is not None
    assert (newest[0]["number"], newest[1].name, list(newest[2])) == (3, LAST, [])
    flipped(tmp_path / LAST, 4000, tmp_path / LAST)
    before = load_newest(tmp_path)
    assert before is not None
    assert (before[0]["number"], before[1].name) == (2, PREVIOUS)
    assert [str(tmp_path / LAST) in word and "damaged" in word for word in before[2]] == [True]


def test_both_damaged_is_an_error_never_a_fresh_start(tmp_path: Path) -> None:
    config = tiny(tmp_path, training__epochs=2)
    trained(config)
    for name in (LAST, PREVIOUS):
        damaged = tmp_path / f"damaged-{name}"
        flipped(tmp_path / name, 4000, damaged)
        damaged.replace(tmp_path / name)  # the two may be one file under two names
    with pytest.raises(CheckpointError, match=rf"{LAST}.*{PREVIOUS}.*remove {tmp_path} to start this run again"):
        trained(config, resume=True)


def test_a_damaged_last_checkpoint_costs_an_epoch_and_is_said(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run")
    straight = trained(tiny(tmp_path / "straight"))
    trained(config, until=3)
    damaged = (tmp_path / "run" / LAST).read_bytes()[:-5000]
    (tmp_path / "run" / LAST).unlink()
    (tmp_path / "run" / LAST).write_bytes(damaged)
    said: list[str] = []
    outcome = trained(config, hooks=Hooks(say=said.append), resume=True)
    assert any(line.startswith("warning:") and LAST in line and "damaged" in line for line in said)
    assert any("continues from" in line and PREVIOUS in line and "(epoch 2)" in line for line in said)
    assert outcome.evaluations[-1].metrics == straight.evaluations[-1].metrics


def test_a_failed_write_after_a_damaged_checkpoint_still_leaves_the_sound_one(tmp_path: Path) -> None:
    for number in (1, 2):
        rotate_and_save(state_of(number), tmp_path)
    (tmp_path / LAST).unlink()
    (tmp_path / LAST).write_bytes(b"damaged")
    with full_disk(1000), pytest.raises(CheckpointError):
        rotate_and_save(state_of(3), tmp_path)
    newest = load_newest(tmp_path)
    assert newest is not None
    assert newest[0]["number"] == 1


@pytest.mark.parametrize("room", [0, 500, 2000])
def test_a_full_disk_leaves_older_checkpoints_intact_and_is_said(room: int, tmp_path: Path) -> None:
    rotate_and_save(state_of(1), tmp_path)
    rotate_and_save(state_of(2), tmp_path)
    with full_disk(room), pytest.raises(CheckpointError) as caught:
        rotate_and_save(state_of(3), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "MB are free" in str(caught.value)
    assert "needed" in str(caught.value)
    assert [load_checkpoint(tmp_path / name)["number"] for name in (PREVIOUS, LAST)] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LAST, PREVIOUS]


@pytest.mark.parametrize("room", [100, 100_000])
def test_a_run_carries_on_once_there_is_room(room: int, tmp_path: Path) -> None:
    """With 100 bytes not even the line of metrics fits, with 100,000 the checkpoint does not."""
    straight = trained(tiny(tmp_path / "straight", training__epochs=3))
    config = tiny(tmp_path / "run", training__epochs=3)
    with session_of(config) as session:
        session.train(1, Hooks())
        with full_disk(room), pytest.raises(CheckpointError, match="could not be written"):
            session.train(2, Hooks())
    resumed = trained(config, resume=True)
    assert same(training_state(tmp_path / "run"), training_state(tmp_path / "straight"))
    assert [e.epoch for e in resumed.evaluations] == [e.epoch for e in straight.evaluations] == [1, 2, 3]


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / f".{LAST}.12345"
    leftover.write_bytes(b"half")
    trained(tiny(tmp_path, training__epochs=1))
    assert not leftover.exists()


class Evil:
    """Unpickled without care, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    forged, bare = tmp_path / "forged.pth", tmp_path / "model.pth.tar"
    save_checkpoint({**state_of(1), "model": Evil(mark)}, forged)  # with a checksum that fits
    bare.write_bytes(pickle.dumps(Evil(mark)))
    for path in (forged, bare):
        with pytest.raises(CheckpointError, match=path.name):
            load_checkpoint(path)
    assert not mark.exists()
    pickle.loads(bare.read_bytes())
    assert mark.exists(), "the trap itself works"


def test_foreign_files_are_clear_errors(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a checkpoint\n" * 20)
    tar = tmp_path / "model.pth.tar"
    tar.write_bytes(pickle.dumps({"state_dict": [1, 2, 3] * 100}))
    weights = tmp_path / "weights.pth"
    torch.save({"weight": torch.ones(3)}, weights)
    empty = tmp_path / "empty.pth"
    empty.touch()
    partial = tmp_path / "partial.pth"
    save_checkpoint({"format": FORMAT, "model": {}}, partial)
    newer = tmp_path / "newer.pth"
    save_checkpoint({**state_of(1), "format": FORMAT + 1}, newer)
    for path, words in (
        (text, "has no checksum: damaged, or not a checkpoint of this program"),
        (tar, "has no checksum"),
        (weights, "has no checksum"),
        (empty, "only 0 bytes long"),
        (partial, "not a checkpoint of this program"),
        (newer, "another version"),
        (tmp_path / "missing.pth", "no such checkpoint"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(CheckpointError, match=words) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("given_as", ["folder", "missing", "foreign"])
def test_a_resume_that_names_nothing_usable(given_as: str, tmp_path: Path) -> None:
    paths = {"folder": tmp_path / "empty", "missing": tmp_path / LAST, "foreign": tmp_path / "x.pth.tar"}
    paths["folder"].mkdir()
    paths["foreign"].write_bytes(pickle.dumps([1]))
    with pytest.raises(CheckpointError, match=str(paths[given_as])):
        trained(tiny(tmp_path / "run", checkpoint__resume=str(paths[given_as])))
    assert not (tmp_path / "run").exists()


def test_best_is_the_checkpoint_of_the_best_evaluation(tmp_path: Path) -> None:
    outcome = trained(tiny(tmp_path))
    values = [evaluation.value for evaluation in outcome.evaluations]
    best = load_checkpoint(tmp_path / BEST)
    assert best["progress"]["best"] == max(values)
    assert best["progress"]["epoch"] == best["progress"]["best_epoch"] == values.index(max(values)) + 1


def test_an_evaluation_is_reported_once_after_its_checkpoint(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []

    def report(evaluation: Evaluation) -> None:
        heard.append((evaluation.epoch, load_checkpoint(tmp_path / LAST)["history"][-1]["epoch"]))

    trained(tiny(tmp_path), hooks=Hooks(report=report))
    assert heard == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_run_may_start_from_another_runs_weights_and_nothing_else(tmp_path: Path) -> None:
    first = trained(tiny(tmp_path / "first", training__epochs=2))
    second = tiny(tmp_path / "second", checkpoint__weights=first.checkpoint, training__epochs=1)
    session = open_session(second, Hooks())
    try:
        assert (session.run.progress.epoch, session.run.progress.step, session.run.history) == (0, 0, [])
        state = load_checkpoint(Path(first.checkpoint))
        mine = session.run.model.state_dict()
        assert all(torch.equal(mine[name], value) for name, value in state["model"].items())
        assert not session.run.optimizer.state_dict()["state"]
    finally:
        session.close()
    assert trained(second).epoch == 1
    other = tiny(tmp_path / "third", checkpoint__weights=first.checkpoint, model__decoder_dim=24)
    with pytest.raises(CheckpointError, match="holds another model"):
        open_session(other, Hooks())


def test_extras_that_could_not_be_read_again_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(tmp_path)
    monkeypatch.setattr(CaptioningTask, "extras", lambda _: {"where": tmp_path})
    words = r"extras of the task may be plain data and tensors, nothing else \(pathlib\S* among them\)"
    with pytest.raises(TrainingError, match=words):
        trained(config)
    assert not (tmp_path / LAST).exists()
