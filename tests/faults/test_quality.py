"""What the search finds is worth finding: the quickstart for real, and a model that learns ten captions by heart."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fault_parts import ROOT, StudyBox

from trainer.api import Hooks, open_session, resolve_config, train
from trainer.checkpoints.files import load_checkpoint
from trainer.run.loop import evaluate
from trainer.tasks.captioning.model import Captioner

DATA = ROOT.parent / "shared" / "data"
BLIND_FACTOR = 1.5
DEVIATIONS = 3.0


@pytest.fixture(scope="module")
def quickstart(shared_folder: Callable[..., Path]) -> StudyBox:
    """The finished quickstart: the study in the folder that RUNGWISE_QUICKSTART names, else one trained here."""
    content = json.loads((ROOT / "trials" / "quickstart.json").read_text(encoding="utf-8"))

    def fill(folder: Path) -> None:
        one = StudyBox(folder / "box", content, name="quickstart")
        finished = os.environ.get("RUNGWISE_QUICKSTART")
        if finished:
            shutil.copytree(finished, one.study)
        else:
            one.ended(one.start(command=("run", "quickstart.json")), 0, seconds=1500.0)

    return StudyBox(shared_folder("quickstart", fill) / "box", content, name="quickstart")


def blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the decoder sees zeros instead of the picture."""
    see = Captioner.image_vectors
    monkeypatch.setattr(Captioner, "image_vectors", lambda self, *seen: torch.zeros_like(see(self, *seen)))


def best_trial(one: StudyBox) -> dict[str, str]:
    done = [row for row in one.rows() if row["status"] == "completed"]
    return max(done, key=lambda row: float(row["final_bleu"]))


def trial_config(one: StudyBox, trial_id: int, folder: Path, **overrides: Any) -> Any:
    """The configuration that a trial was trained with, with folders of its own."""
    from trainer.api import read_config_file

    plain = read_config_file(one.trial(trial_id) / "config.yaml")
    own = {"checkpoint.dir": str(folder / "checkpoints"), "logging.dir": str(folder)}
    return resolve_config(plain, {**own, **overrides})


def final_bleu(config: Any) -> float:
    return float(train(config).evaluations[-1].value)


@pytest.fixture
def seeds(quickstart: StudyBox, tmp_path: Path) -> Callable[[], list[float]]:
    """BLEU of the best trial's configuration on the budget, in three seeds; the split stays."""

    def run() -> list[float]:
        trial_id = int(best_trial(quickstart)["trial_id"])
        split = trial_config(quickstart, trial_id, tmp_path).split_seed
        found = []
        for seed in (101, 102, 103):
            overrides = {"seed": seed, "data.split_seed": split}
            found.append(final_bleu(trial_config(quickstart, trial_id, tmp_path / str(seed), **overrides)))
        return found

    return run


def say(words: str) -> None:
    """Figures for whoever runs with `-rP`."""
    print(words)  # noqa: T201


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quickstart_is_a_study_worth_the_name(quickstart: StudyBox) -> None:
    rows = quickstart.rows()
    assert len([row for row in rows if not row["duplicate_of"]]) >= 8
    assert "epochs" in rows[0]
    assert max(int(row["epochs"]) for row in rows) == 5
    assert {row["status"] for row in rows} <= {"completed", "pruned"}
    full = [run for run in quickstart.metrics() if run.startswith("full/")]
    assert len(full) == 1
    assert len(quickstart.metrics()[full[0]]) == quickstart.best()["training"]["epochs"]
    for row in rows:
        say(", ".join(row[key] for key in ("trial_id", "status", "final_bleu", "epochs", "seconds", "reason")))
    say(f"in full: {[round(line['metrics']['bleu'], 1) for line in quickstart.metrics()[full[0]]]}")


@pytest.mark.slow
def test_bleu_rises_over_the_epochs(quickstart: StudyBox) -> None:
    rising = 0
    for run, lines in quickstart.metrics().items():
        scores = [line["metrics"]["bleu"] for line in lines]
        if len(scores) >= 5:
            slope = statistics.correlation(range(len(scores)), scores)
            say(f"{run}: {[round(score, 2) for score in scores]}, correlation {slope:.2f}")
            rising += scores[-1] > scores[0] and slope > 0
    best = quickstart.metrics()[f"trials/{int(best_trial(quickstart)['trial_id']):04d}"]
    scores = [line["metrics"]["bleu"] for line in best]
    assert scores[-1] > scores[0]
    assert statistics.correlation(range(len(scores)), scores) > 0
    assert rising >= 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_looks_at_the_pictures(quickstart: StudyBox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the same trained model fed zeros, and against the same model trained on zeros."""
    row = best_trial(quickstart)
    trial_id, seen = int(row["trial_id"]), float(row["final_bleu"])
    last = load_checkpoint(quickstart.trial(trial_id) / "checkpoints" / "last.pth")
    session = open_session(
        trial_config(
            quickstart, trial_id, tmp_path / "zeroed", **{"checkpoint.resume": str(last_file(quickstart, trial_id))}
        ),
        Hooks(),
    )
    try:
        assert evaluate(session.run).metrics["bleu"] == pytest.approx(seen, rel=1e-3)
        blind(monkeypatch)
        zeroed = evaluate(session.run).metrics["bleu"]
    finally:
        session.close()
    trained_blind = final_bleu(trial_config(quickstart, trial_id, tmp_path / "blind"))
    say(f"seen {seen:.2f}, zeroed {zeroed:.2f}, trained on zeros {trained_blind:.2f}")
    assert last["progress"]["epoch"] == 5
    assert seen >= BLIND_FACTOR * zeroed
    assert seen >= BLIND_FACTOR * trained_blind


def last_file(one: StudyBox, trial_id: int) -> Path:
    return one.trial(trial_id) / "checkpoints" / "last.pth"


@pytest.mark.release
@pytest.mark.timeout(1800)
def test_the_best_is_better_than_luck(quickstart: StudyBox, seeds: Callable[[], list[float]]) -> None:
    values = [float(row["final_bleu"]) for row in quickstart.rows() if not row["duplicate_of"]]
    best, median = max(values), statistics.median(values)
    found = seeds()
    spread = statistics.stdev(found)
    say(f"best {best:.2f}, median {median:.2f}, seeds {[round(v, 2) for v in found]}, deviation {spread:.2f}")
    assert best - median > DEVIATIONS * spread


# ---- real captions


@pytest.fixture
def captions() -> Iterator[Callable[[str], list[str]]]:
    """Arguments that name a data set of photographs with captions."""

    def words(name: str) -> list[str]:
        folder = DATA / name
        if not folder.is_dir():
            pytest.skip(f"the captions of {name} are not on this machine")
        return [f"data.images_dir={folder / 'images'}", f"data.caption_file={folder / 'captions.csv'}"]

    return words


@pytest.mark.release
@pytest.mark.timeout(1800)
def test_ten_captions_are_learnt_by_heart(tmp_path: Path, captions: Callable[[str], list[str]]) -> None:
    data = dict(word.split("=", 1) for word in captions("nlvr_captions"))
    overrides = {
        **data,
        "training.overfit": True, "training.subset_size": 10, "training.epochs": 80, "training.optimizer.lr": 1e-3,
        "model.dropout": 0.0, "data.freq_threshold": 1, "model.backbone": "resnet18", "model.pretrained": False,
        "model.encoder_fine_tune": True, "data.image_size": 64, "data.num_workers": 0,
        "checkpoint.dir": str(tmp_path / "checkpoints"), "logging.dir": str(tmp_path),
    }  # fmt: skip
    from trainer.api import load_config

    outcome = train(load_config(ROOT / "configs" / "captioning.yaml", overrides))
    scores = [evaluation.value for evaluation in outcome.evaluations]
    say(f"BLEU {scores[-1]:.1f} after {outcome.epoch} epochs, {outcome.seconds:.0f} s")
    assert outcome.epoch == 80
    assert scores[-1] > 80.0


@pytest.mark.release
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["nlvr_captions", "coco_cc_mini"])
def test_a_search_on_photographs(tmp_path: Path, name: str, captions: Callable[[str], list[str]]) -> None:
    trials = [{"training.optimizer.lr": 1e-3, "training.batch_size": 8}, {"training.optimizer.lr": 1e-4}]
    words = [*captions(name), "model.pretrained=false", "model.backbone=resnet18", "model.encoder_fine_tune=true"]
    flags = ["--base-config", str(ROOT / "configs" / "captioning.yaml"), "--budget-epochs", "2"]
    flags += ["--budget-subset", "20", "--budget-size", "64", "--budget-val-subset", "10"]
    one = StudyBox(tmp_path / "box", trials, (*words, *flags), name="photographs")
    said = one.run()
    assert re.search(r"\d+ images, \d+ captions from ", said)
    rows = one.rows()
    assert [row["status"] for row in rows] == ["completed", "completed"]
    assert [row["epochs"] for row in rows] == ["2", "2"]
    assert all(float(row["final_loss"]) > 0 for row in rows)
    assert "param_training.batch_size" in rows[0]
    assert "<img" in (one.study / "report.html").read_text(encoding="utf-8")
    with (one.study / "trials.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file))[:4] == ["trial_id", "status", "final_bleu", "final_loss"]
    shutil.rmtree(one.folder)
