"""Made-up records for the tests of the reports: a captioning study to look at, and the awkward ones."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from reports.record import (
    Agreement,
    Audit,
    Box,
    Choice,
    Decision,
    Estimate,
    Evaluation,
    FullRun,
    Matrix,
    Metric,
    Rung,
    Sample,
    Status,
    StudyRecord,
    Trial,
)

BLEU = Metric("bleu", "BLEU", "maximize")
MAP = Metric("map", "mAP", "maximize")
ACCURACY = Metric("accuracy", "accuracy", "maximize")
LOSS = Metric("loss", "validation loss", "minimize")

HOSTILE = """<script>alert("x")</script>'"`&amp; =HYPERLINK("http://example.invalid") 🐙 \u202e\u2028"""
PARAMETERS = ("optim.lr", "optim.name", "model.dropout", "model.layers", "augment.scale")
LADDER = ((1, 100), (2, 300), (5, 500))
CAPTIONS = (
    "a small red circle above a large blue square",
    "two green triangles beside a yellow star",
    "a purple hexagon in the lower left corner",
    "a blue square and a red circle side by side",
)


def _params(chance: random.Random) -> dict[str, object]:
    return {
        "optim.lr": 10 ** chance.uniform(-5, -2.3),
        "optim.name": chance.choice(["adamw", "sgd", "lion"]),
        "model.dropout": round(chance.uniform(0, 0.5), 2),
        "model.layers": chance.choice([2, 3, 4, 6]),
        "augment.scale": [0.5, 1.0] if chance.random() < 0.5 else [0.8, 1.2],
    }


def search(
    metric: Metric = BLEU, trials: int = 12, epochs: int = 5, seed: int = 0, top: float = 24.0
) -> tuple[list[Trial], list[Evaluation]]:
    """Trials with learning curves: about half are pruned at epoch 2, every ninth fails."""
    chance = random.Random(seed)
    made: list[Trial] = []
    points: list[Evaluation] = []
    for trial_id in range(1, trials + 1):
        skill = chance.betavariate(3, 3)
        status: Status = "failed" if trial_id % 9 == 0 else "pruned" if skill < 0.5 else "completed"
        last = {"failed": 1, "pruned": 2, "completed": epochs}[status]
        value = loss = 0.0
        for epoch in range(1, last + 1):
            share = 1 - math.exp(-epoch / (1.5 + 2 * (1 - skill)))
            value = top * skill * share + chance.gauss(0, top / 100)
            loss = 4.5 - 2.5 * skill * share
            if metric.name == "loss":
                value = loss
            found = {"train_loss": loss * 0.95, "val_loss": loss, metric.name: value}
            points.append(Evaluation(trial_id, epoch, epoch * 40, 1, epoch * 31.0, found))
        common = {"bleu": "BLEU", "map": "mAP"}.get(metric.name, "loss")
        made.append(
            Trial(
                trial_id=trial_id,
                status=status,
                params=_params(chance),
                value=None if status == "failed" else value,
                loss=None if status == "failed" else loss,
                best=value,
                epochs=last,
                rung=1,
                rung_words=f"{epochs} epochs, 500 images @160 px",
                seconds=last * 31.4 + chance.random(),
                reason={
                    "failed": "failed (nan): the loss became NaN at step 61",
                    "pruned": f"pruned at epoch 2: {common} {value:.3g} is below the median 7.31",
                    "completed": "completed its budget",
                }[status],
                checkpoint=f"trials/{trial_id:04d}/checkpoints/last.pth",
                failure_kind="nan" if status == "failed" else "",
                failure_line="NonFiniteLoss: the loss is NaN at step 61; lower optim.lr" if status == "failed" else "",
            )
        )
    return made, points


def draw_image(path: Path, seed: int, size: tuple[int, int] = (480, 360)) -> Path:
    """A scene of a few shapes as a PNG."""
    chance = random.Random(seed)
    image = Image.new("RGB", size, (238, 236, 230))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, side = chance.randrange(size[0] - 90), chance.randrange(size[1] - 90), chance.randrange(50, 130)
        colour = tuple(chance.randrange(40, 230) for _ in range(3))
        shape = pen.ellipse if chance.random() < 0.5 else pen.rectangle
        shape((x, y, x + side, y + side), fill=colour)
    image.save(path)
    return path


def _promotions(best: Trial, second: Trial) -> tuple[list[FullRun], list[Evaluation]]:
    """Two seeds of the best trial, and a run of the second that fails."""
    first, other = f"full/{best.trial_id:04d}", f"full/{second.trial_id:04d}"
    runs = [
        FullRun(best.trial_id, 0, "completed", f"{first}-seed0", 31.4, 1.61, 31.9, 20, 20, 5_220.0),
        FullRun(best.trial_id, 1, "completed", f"{first}-seed1", 30.2, 1.66, 30.2, 20, 20, 5_190.0),
        FullRun(second.trial_id, 0, "failed", f"{other}-seed0", None, None, 12.0, 3, 20, 801.0, "out of memory"),
    ]
    points = []
    for run in runs:
        for epoch in range(1, run.epochs + 1):
            value = (run.value or 22.0) * (1 - math.exp(-epoch / 5)) / (1 - math.exp(-4))
            points.append(Evaluation(run.trial_id, epoch, epoch * 200, 1, epoch * 260.0, {"bleu": value}, run.folder))
    return runs, points


def captioning(folder: Path) -> StudyRecord:
    """A finished captioning study of 12 trials with samples and promoted runs."""
    trials, points = search(seed=4)
    best, second, *_, worst = sorted(
        (trial for trial in trials if trial.value is not None), key=lambda trial: trial.value, reverse=True
    )
    runs, more = _promotions(best, second)
    texts = {best.trial_id: "a red circle above a blue square", worst.trial_id: "a a a a square"}
    samples = [
        Sample(trial_id, image, f"Scene {place + 1}", [CAPTIONS[place]], [texts[trial_id]], run)
        for place, image in enumerate(draw_image(folder / f"scene{place}.png", place) for place in range(4))
        for trial_id, run in ((best.trial_id, ""), (worst.trial_id, ""), (best.trial_id, runs[0].folder))
    ]
    return StudyRecord(
        name="captioning-quickstart",
        task="captioning",
        metric=BLEU,
        budget_words="5 epochs, 500 images @160 px",
        planned_trials=12,
        epochs_per_trial=5,
        searched={
            "optim.lr": "1e-05 to 0.005, log",
            "optim.name": "adamw, sgd or lion",
            "model.dropout": "0 to 0.5",
            "model.layers": "2, 3, 4 or 6",
            "Sampler": "tpe, seed 0",
            "Pruner": "median, 5 start-up trials",
        },
        parameters=PARAMETERS,
        log_parameters=("optim.lr",),
        trials=trials,
        full_runs=runs,
        evaluations=points + more,
        decisions=[Decision(1, 3, "trial 3 pruned at epoch 2: BLEU 3.1 is below the median 7.31")],
        samples=samples,
        environment={"Python": "3.11.7", "PyTorch": "2.6.0", "Device": "1 GPU, 24 GB", "Git commit": "5f3e2ab"},
        next_steps=[
            (
                "Train the best configuration again:",
                "python -m trainer --config outputs/captioning-quickstart/best.yaml",
            ),
            ("Retry what failed:", "python -m orchestrator retry outputs/captioning-quickstart --failed"),
        ],
        warnings=["One of 12 trials failed with a loss that is not a number."],
        generated_at="2025-11-20 11:04 UTC",
    )


def ladder(folder: Path) -> StudyRecord:
    """The captioning study on three rungs and two slots; trials pruned there are paused on the second rung here."""
    record = captioning(folder)
    rungs = [Rung(f"{epochs} epochs, {images} images @96", epochs, images) for epochs, images in LADDER]
    reached = {"completed": 3, "pruned": 2, "failed": 1}
    trials = [
        replace(
            trial,
            status="paused" if trial.status == "pruned" else trial.status,
            rung=reached[trial.status],
            rung_words=rungs[reached[trial.status] - 1].words,
        )
        for trial in record.trials
    ]
    points, clock = [], [0.0, 0.0]
    for point in record.evaluations:
        place = 0 if point.run else point.trial_id % 2
        clock[place] += 30.0
        rung = 1 if point.run else next(n for n, step in enumerate(rungs, start=1) if point.epoch <= step.epochs)
        points.append(replace(point, rung=rung, seconds=28.0, slot=f"slot {place + 1}", ended_at=clock[place]))
    decisions = [
        Decision(1, 1, "trial 1 paused at rung 1 of 3 (1 epochs, 100 images @96): BLEU 3 is 2nd of 2, the cut is 4"),
        Decision(2, 2, "trial 2 goes on to rung 2 of 3 (2 epochs, 300 images @96): at rung 1 BLEU 4 is 1st of 3"),
        Decision(3, 1, "trial 1 goes on to rung 2 of 3 (2 epochs, 300 images @96): at rung 1 BLEU 3 is 1st of 3"),
    ]
    trials = [replace(trial, folder=f"trials/{trial.trial_id:04d}") for trial in trials]
    best = record.full_runs[0].trial_id
    return replace(
        record, name="ladder", rungs=rungs, trials=trials, evaluations=points, decisions=decisions,
        agreements=_agreements(trials), audit=Audit(3, 1, 2.5, Estimate(1 / 3, 0.008, 0.906)), noise=0.85,
        choice=Choice(best, Estimate(30.8, 29.0, 32.6), 2, best + 1, Estimate(2.5, 0.4, 4.6), tie=False),
    )  # fmt: skip


def _agreements(trials: Sequence[Trial]) -> list[Agreement]:
    """A rung that predicts nothing, one that predicts well, and full training, of which little is known."""
    values = {trial.trial_id: trial.value for trial in trials if trial.value is not None}
    turned = {trial_id: -value for trial_id, value in values.items()}
    poor = Estimate(-0.1, -0.35, 0.2)
    good = Estimate(0.8, 0.6, 0.95)
    unsure = Estimate(0.5)
    naive, few = Estimate(-0.2), dict(list(values.items())[:4])
    return [
        Agreement(12, 8, 3, "anchors", naive, poor, poor, 2, 0.0, 4.2, "rung 1", "rung 2", values, turned),
        Agreement(8, 8, 0, "all", good, good, good, 2, 1.0, 0.0, "rung 2", "rung 3", values, values),
        Agreement(8, 4, 0, "model", unsure, unsure, unsure, 1, 1.0, 0.0, "rung 3", "full training", values, few),
    ]


def detection(folder: Path) -> StudyRecord:
    """A finished detection study: boxes on samples of the best and the worst trial and of a promoted run."""
    trials, points = search(MAP, top=0.7, seed=4)
    best, *_, worst = sorted(
        (trial for trial in trials if trial.value is not None), key=lambda trial: trial.value, reverse=True
    )
    run = FullRun(best.trial_id, 0, "completed", f"full/{best.trial_id:04d}-seed0", 0.71, 0.9, 0.71, 20, 20, 5_220.0)
    truth = (Box("circle", (40, 30, 120, 110)), Box("traffic light", (300, 200, 90, 140)))
    found = (Box("circle", (44, 28, 118, 115), 0.93), Box("traffic light", (310, 190, 100, 150), 0.71))
    poor = (Box("star", (0, 0, 480, 360), 0.12),)
    samples = [
        Sample(trial_id, image, image.name, [], [], folder_of_run, truth[place:], boxes[-2 + place :])
        for place, image in enumerate(draw_image(folder / f"boxed{place}.png", place) for place in range(2))
        for trial_id, folder_of_run, boxes in (
            (best.trial_id, "", found),
            (worst.trial_id, "", poor),
            (best.trial_id, run.folder, found),
        )
    ]
    return StudyRecord(
        "detection", "detection", MAP, budget_words="5 epochs, 500 images @96 px", epochs_per_trial=5,
        parameters=PARAMETERS, trials=trials, full_runs=[run], evaluations=points, samples=samples,
    )  # fmt: skip


def classification(folder: Path) -> StudyRecord:
    """A finished classification study: classes below the images, and the confusion of the best and of another."""
    trials, points = search(ACCURACY, top=0.9, seed=4)
    best, *_, worst = sorted(
        (trial for trial in trials if trial.value is not None), key=lambda trial: trial.value, reverse=True
    )
    samples = [
        Sample(trial_id, image, image.name, ["circle"], [f"{predicted} {0.5 + place / 10:.2f}"])
        for place, image in enumerate(draw_image(folder / f"classed{place}.png", place) for place in range(2))
        for trial_id, predicted in ((best.trial_id, "circle"), (worst.trial_id, "star"))
    ]
    labels = ["circle", "star", "traffic light"]
    matrices = [
        Matrix(worst.trial_id, labels, [[0, 9, 0], [9, 0, 0], [0, 0, 9]]),
        Matrix(best.trial_id, labels, [[18, 2, 0], [1, 9, 0], [0, 0, 0]]),
    ]
    return StudyRecord(
        "classification", "classification", ACCURACY, budget_words="5 epochs, 500 images @96 px", epochs_per_trial=5,
        parameters=PARAMETERS, trials=trials, evaluations=points, samples=samples, matrices=matrices,
    )  # fmt: skip


def diffusion(folder: Path) -> StudyRecord:
    """A finished diffusion study: images that the best and the worst trial made, one of them lost."""
    trials, points = search(LOSS, seed=4)
    best, *_, worst = sorted((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value)
    samples = []
    for place, caption in enumerate(CAPTIONS[:3]):
        image = draw_image(folder / f"real{place}.png", place, (128, 128)) if place < 2 else None
        title = image.name if image else f"sample {place + 1}"
        for trial_id in (best.trial_id, worst.trial_id):
            made = folder / f"made{trial_id}-{place}.png"
            if (trial_id, place) != (worst.trial_id, 1):
                draw_image(made, 100 * trial_id + place, (128, 128))
            samples.append(Sample(trial_id, image, title, [caption], [], generated=made))
    return StudyRecord(
        "diffusion", "diffusion", LOSS, budget_words="5 epochs, 500 images @64 px", epochs_per_trial=5,
        parameters=PARAMETERS, trials=trials, evaluations=points, samples=samples,
    )  # fmt: skip


def empty() -> StudyRecord:
    """A study that has been planned and nothing more."""
    return StudyRecord(name="empty", task="captioning", metric=BLEU, planned_trials=20, in_progress=True)


def all_failed() -> StudyRecord:
    """Every trial failed before its first evaluation."""
    trials = [
        Trial(place, "failed", {"optim.lr": 0.1}, failure_kind=kind, failure_line=f"{kind}: it broke\nsecond line")
        for place, kind in enumerate(("oom", "nan", "data", "code", "oom"), start=1)
    ]
    return StudyRecord("all-failed", "detection", MAP, parameters=("optim.lr",), trials=trials)


def one_trial() -> StudyRecord:
    """One completed trial with one evaluation."""
    trial = Trial(1, "completed", {"optim.lr": 1e-3}, value=0.41234, loss=1.2, best=0.41234, epochs=1, seconds=3.2)
    evaluation = Evaluation(1, 1, 10, 1, 3.2, {"map": 0.41234, "val_loss": 1.2})
    return StudyRecord(
        "one", "detection", MAP, parameters=("optim.lr",), trials=[trial], evaluations=[evaluation], epochs_per_trial=1
    )


def running() -> StudyRecord:
    """A study on a ladder in full swing: paused, running, one that has no value yet, NaN and infinity."""
    trials, points = search(MAP, trials=14, top=0.6, seed=2)
    trials[0] = replace(trials[0], status="paused", rung=1)
    trials[1] = replace(trials[1], status="running", rung=2, value=0.2, rung_words="9 epochs, all images")
    trials[2] = replace(trials[2], status="running", value=None, best=None, loss=None)
    trials[3] = replace(trials[3], value=math.nan, best=math.inf, seconds=math.nan)
    trials[4] = replace(trials[4], duplicate_of=2, epochs=0, seconds=0.0, retries=1)
    points.append(Evaluation(4, 6, 240, 1, 1.0, {"map": math.nan}))
    points.append(Evaluation(3, 1, 40, 1, 1.0, {"val_loss": 3.0}))
    runs = [FullRun(2, 0, "running", "full/0002-seed0", epochs=1, total_epochs=50)]
    return StudyRecord(
        "running", "detection", MAP, planned_trials=30, epochs_per_trial=9, parameters=PARAMETERS, trials=trials,
        full_runs=runs, evaluations=points, in_progress=True,
    )  # fmt: skip


def losses() -> StudyRecord:
    """A study that minimises the loss, which explodes in one trial."""
    trials, points = search(LOSS, seed=3)
    trials[5] = replace(trials[5], status="completed", value=91_234.5, best=4.1)
    points.append(Evaluation(6, 6, 1, 1, 1.0, {"val_loss": 91_234.5}))
    return StudyRecord(
        "losses", "language", LOSS, epochs_per_trial=5, parameters=PARAMETERS, trials=trials, evaluations=points
    )


def hostile(folder: Path) -> StudyRecord:
    """Every text that a stranger's file could bring is markup, a formula, or far too long."""
    broken = folder / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    boxed = draw_image(folder / "hostile <b>.png", 1, (100, 900))
    places = ((math.nan, 0, 1, 1), (-1e300, -5, 1e301, 1e9), (5, 5, -3, -3), (1, 2), ("1", 2, 3, 4), (90, 90, 5, 5))
    hostile_boxes = [Box(HOSTILE, place, 0.5) for place in places] + [Box("x" * 10_000, (1, 1, 9, 9), math.nan)] * 90
    long = "word " * 2_000
    trials = [
        Trial(
            1, "completed", {HOSTILE: HOSTILE, "a": long, "b": {"k": [HOSTILE, None, True]}}, 1.0, 2.0, 1.0, 5, 1,
            HOSTILE, 1.0, HOSTILE, None, 0, HOSTILE,
        ),
        Trial(2, "failed", {HOSTILE: '=HYPERLINK("x")'}, reason="=1+1", failure_kind=HOSTILE, failure_line=HOSTILE,
              folder=HOSTILE),
        Trial(3, "pruned", {"a": "x" * 10_000}, 0.5, 2.0, 0.5, 2, reason="@SUM(A1)"),
    ]  # fmt: skip
    samples = [
        Sample(1, broken, HOSTILE, [HOSTILE, long], [long]),
        Sample(1, folder / "missing \x00 <img src=x onerror=alert(1)>.png", "x" * 10_000, [], [HOSTILE] * 20),
        Sample(3, folder, HOSTILE, ["a directory for an image"], []),
        Sample(3, boxed, HOSTILE, [], [], "", [Box(HOSTILE, (1, 1, 9, 9))], hostile_boxes),
        Sample(3, broken, HOSTILE, [HOSTILE], [HOSTILE], "", [Box(HOSTILE, (1, 1, 9, 9))], hostile_boxes),
        Sample(3, None, HOSTILE + "made", [HOSTILE, long], [HOSTILE], "", generated=boxed),
        Sample(3, broken, HOSTILE + "unmade", [HOSTILE], [long], "", generated=folder / "gone <b>.png"),
    ]
    return StudyRecord(
        name=HOSTILE,
        task=HOSTILE,
        metric=Metric("bleu", HOSTILE, "maximize"),
        budget_words=HOSTILE,
        searched={HOSTILE: HOSTILE},
        parameters=(HOSTILE, "a", "b"),
        trials=trials,
        full_runs=[FullRun(1, 0, "completed", HOSTILE, 2.0, reason=HOSTILE), FullRun(9, 0, "failed", HOSTILE)],
        rungs=[Rung(HOSTILE, 2, 10), Rung(long, 5, -3)],
        evaluations=[
            Evaluation(1, 1, 1, 1, 1.0, {"bleu": 1.0}, "", HOSTILE, 3.0),
            Evaluation(1, 2, 1, 2, math.nan, {"bleu": 1.5}, "", long, math.nan),
            Evaluation(3, 1, 1, 99, -5.0, {"bleu": 0.5}, "", HOSTILE, 1e300),
            Evaluation(1, 1, 1, 1, 1.0, {"bleu": 2.0}, HOSTILE),
            Evaluation(404, 1, 1, 1, 1.0, {"bleu": 2.0}),
        ],
        decisions=[Decision(1, 1, HOSTILE)],
        samples=samples,
        matrices=[Matrix(1, [HOSTILE, long, HOSTILE], [[math.nan, 1e300, -1], [0, 0, 0], [3, 4, math.inf]], HOSTILE)],
        environment={HOSTILE: HOSTILE},
        next_steps=[(HOSTILE, HOSTILE)],
        warnings=[HOSTILE],
        generated_at=HOSTILE,
    )


def many(trials: int = 2_000, epochs: int = 5) -> StudyRecord:
    """A large study."""
    made, points = search(trials=trials, epochs=epochs, seed=1)
    return StudyRecord(
        "many", "captioning", BLEU, epochs_per_trial=epochs, parameters=PARAMETERS, trials=made, evaluations=points
    )
