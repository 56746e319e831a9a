"""What the Optuna dashboard shows beside the trials: sample predictions as artifacts, and the study's note.

Artifacts are written now and then while trials run, the note when a run has ended, both as the dashboard's own
attributes of the study, which take no part in any decision: a finished trial takes no attributes any more. Artifacts
have fixed names, so that the same run again writes the same.
"""

from __future__ import annotations

import functools
import io
import logging
import textwrap
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from orchestrator.engine.stage import Stage
from orchestrator.output.pace import Pace
from orchestrator.results.record import next_steps
from orchestrator.results.samples import read_samples, samples_stamp
from orchestrator.slots.slot import Beat, Slot
from orchestrator.storage.database import DatabaseError
from orchestrator.storage.optuna_study import Study
from orchestrator.study.plan import Plan
from orchestrator.study.state import StudyState, TrialState
from reports.record import Sample

ARTIFACTS = "artifacts"
ABOUT = {"filename": "samples.png", "mimetype": "image/png", "encoding": None}
SIGNATURE = "*Written by rungwise; a note of your own, without this line, is left as it is.*"
_MOST_TRIALS = 100  # the best; a person looks at fewer
_MOST_SAMPLES, _WIDTH_PX, _COLUMNS = 8, 240, 4
_LETTERS, _LINES = 38, 6

log = logging.getLogger(__name__)


def exhibit(plan: Plan, search: StudyState, full: StudyState | None) -> None:
    """Writes note and artifacts once a run has ended."""
    with _said():
        study = Study.existing(plan.storage_url, plan.name)
        try:
            study.attach(Exhibits(plan).save(search), ABOUT)
            study.annotate(note(plan, search, full), SIGNATURE)
        finally:
            study.close()


def note(plan: Plan, search: StudyState, full: StudyState | None) -> str:
    """The study in a few lines of Markdown."""
    ranked = search.ranked(plan.metric.direction == "maximize")
    lines = [
        f"# {plan.name}",
        f"{len(search.trials)} of {plan.n_trials} trials; budget of a trial: {plan.top.words()}.",
    ]
    if ranked:
        best = ranked[0]
        value = f"{plan.metric.label} {best.result:.4g}"
        lines.append(f"Trial {best.trial_id} leads with **{value}** at {plan.rungs[best.reached - 1].words()}.")
    runs = [run for run in full.standing() if run.value is not None] if full else []
    lines += [f"{r.label.capitalize()}: {plan.metric.label} {r.value:.4g}." for r in runs]
    lines += [
        "## Next",
        *(f"{why}:\n\n    {command}" for why, command in next_steps(plan, search, full or StudyState())),
    ]
    return "\n\n".join([*lines, f"The whole story: `{plan.folder / 'report.html'}`", SIGNATURE])


class Exhibits:
    """A watcher that shows what trials predict while the study runs. It takes a hundredth of the study's time."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._seen: dict[int, int] = {}  # by number: when the samples were written that are shown
        self._names: dict[int, str] = {}
        self._pace = Pace(first=3.0, least=20.0, share=100.0)
        self._stale = False

    def line(self, text: str) -> None:
        """Words are not for pictures."""

    def changed(self, stage: Stage, trial: TrialState, final: bool) -> None:
        self._stale = True

    def beat(self, stage: Stage, slot: Slot, beat: Beat) -> None:
        """Neither are steps."""

    def tick(self, stage: Stage) -> None:
        if not self._stale or stage.noun != "trial" or not self._pace.is_due:
            return
        self._stale = False
        with self._pace.doing(), _said():
            stage.study.attach(self.save(stage.state), ABOUT)

    def save(self, search: StudyState) -> dict[int, str]:
        """Writes a picture of what each of the best predicted, where it is not the last one; number → its name."""
        for trial in search.ranked(self.plan.metric.direction == "maximize")[:_MOST_TRIALS]:
            folder = self.plan.folder / trial.folder
            stamp = samples_stamp(folder)
            if stamp is None or self._seen.get(trial.number) == stamp:
                continue
            self._seen[trial.number] = stamp
            kept = read_samples(folder, trial.trial_id)
            if kept.problem:
                log.warning("%s", kept.problem)
            picture = _sheet(kept.samples[:_MOST_SAMPLES])
            if picture is not None:
                self._names[trial.number] = self._write(trial, picture)
        return self._names

    def _write(self, trial: TrialState, picture: bytes) -> str:
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"rungwise/{self.plan.name}/{trial.trial_id}/samples"))
        (self.plan.folder / ARTIFACTS).mkdir(exist_ok=True)
        path = self.plan.folder / ARTIFACTS / name
        if not path.exists() or path.read_bytes() != picture:
            path.write_bytes(picture)
        return name


@contextmanager
def _said() -> Iterator[None]:
    """What cannot be written for the dashboard is said, and costs the study nothing."""
    try:
        yield
    except (OSError, ValueError, DatabaseError) as error:
        log.warning("the dashboard's note and samples could not be written: %s", error)
    except Exception:  # a picture is not worth a study
        log.warning("the dashboard's note and samples could not be written", exc_info=True)


def _sheet(samples: Sequence[Sample]) -> bytes | None:
    """The samples in one picture, what was predicted below each, in boxes where there are some; None without any."""
    cards = [card for sample in samples if (card := _card(sample)) is not None]
    if not cards:
        return None
    width, height = max(card.width for card in cards), max(card.height for card in cards)
    columns = max(1, min(len(cards), _COLUMNS * _WIDTH_PX // width))
    sheet = Image.new("RGB", (columns * width, -(-len(cards) // columns) * height), "white")
    for place, card in enumerate(cards):
        sheet.paste(card, (place % columns * width, place // columns * height))
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


def _card(sample: Sample) -> Image.Image | None:
    """One image, a generated one beside it, its prediction and its first reference; None where none can be read."""
    pictures = [found[0] for path in (sample.generated,) if path and (found := _thumbnail(path))]
    if sample.image and (found := _thumbnail(sample.image)):
        pictures.insert(0, _boxed(*found, sample))
    if not pictures:
        return None
    font = ImageFont.load_default(11)
    texts = [*sample.predictions[:1], *(f"reference: {text}" for text in sample.references[:1])]
    lines = [line for text in texts for line in textwrap.wrap(text, _LETTERS)[: _LINES // 2]]
    height = max(picture.height for picture in pictures)
    card = Image.new("RGB", (_WIDTH_PX * len(pictures), height + 14 * _LINES + 12), "white")
    for place, picture in enumerate(pictures):
        card.paste(picture, (4 + place * _WIDTH_PX, 4))
    ImageDraw.Draw(card).text((6, height + 8), "\n".join(lines), fill="#1c2530", font=font)
    return card


def _boxed(image: Image.Image, scale: float, sample: Sample) -> Image.Image:
    """A copy of a thumbnail with its boxes, the references' in green."""
    copy = image.copy()
    pen = ImageDraw.Draw(copy)
    for colour, boxes in (("#009e73", sample.reference_boxes), ("#d55e00", sample.predicted_boxes)):
        for left, top, width, height in (box.place for box in boxes if len(box.place) == 4):
            if width > 0 and height > 0:
                corners = (left, top, left + width, top + height)
                pen.rectangle([end * scale for end in corners], outline=colour, width=2)
    return copy


@functools.lru_cache(maxsize=64)  # every trial shows the same images
def _thumbnail(path: Path) -> tuple[Image.Image, float] | None:
    """A copy of an image in the width of a card, and its size in sizes of the image; None where it cannot be read."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    width = image.width
    image = ImageOps.contain(image, (_WIDTH_PX - 8, _WIDTH_PX - 8))
    return image, image.width / width
