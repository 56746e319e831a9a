"""What the Optuna dashboard shows beside the trials: sample predictions as artifacts, and the study's note.

Written when a run has ended, so that nothing waits for it, and as the dashboard's own attributes of the study, which
take no part in any decision: a finished trial takes no attributes any more. Artifacts have fixed names, so that the
same run again writes the same.
"""

from __future__ import annotations

import functools
import io
import json
import logging
import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna_dashboard import get_note, save_note
from PIL import Image, ImageDraw, ImageFont, ImageOps

from orchestrator.plan import Plan
from orchestrator.records import next_steps
from orchestrator.state import StudyState, TrialState
from orchestrator.study import DatabaseError, open_storage, retried
from trainer.api import SAMPLES

ARTIFACTS = "artifacts"
SIGNATURE = "*Written by rungwise; a note of your own, without this line, is left as it is.*"
_MOST_TRIALS = 100  # the best; a person looks at fewer
_MOST_SAMPLES, _WIDTH_PX, _COLUMNS = 8, 240, 4
_LETTERS, _LINES = 38, 6

log = logging.getLogger(__name__)


def exhibit(plan: Plan, search: StudyState, full: StudyState | None) -> None:
    """Writes note and artifacts; what cannot be written is said, and costs the study nothing."""
    try:
        storage = open_storage(plan.storage_url)
        study = optuna.load_study(study_name=plan.name, storage=storage)
        _save_artifacts(plan, search, storage, study._study_id)
        words = note(plan, search, full)
        there = retried(lambda: get_note(study))
        if there != words and (not there or SIGNATURE in there):
            retried(lambda: save_note(study, words))
        storage.remove_session()
        storage.engine.dispose()
    except (OSError, ValueError, DatabaseError) as error:
        log.warning("the dashboard's note and samples could not be written: %s", error)
    except Exception:  # the study is done and written; a mistake here must not end it as a failure
        log.warning("the dashboard's note and samples could not be written", exc_info=True)


def note(plan: Plan, search: StudyState, full: StudyState | None) -> str:
    """The study in a few lines of Markdown."""
    ranked = search.ranked(plan.metric.direction == "maximize")
    lines = [
        f"# {plan.name}",
        f"{len(search.trials)} of {plan.n_trials} trials; budget of a trial: {plan.top.words()}.",
    ]
    if ranked:
        best = ranked[0]
        value = f"{plan.metric.label} {best.results[best.reached]:.4g}"
        lines.append(f"Trial {best.trial_id} leads with **{value}** at {plan.rungs[best.reached - 1].words()}.")
    runs = [run for run in full.in_order() if run.value is not None] if full else []
    lines += [f"In full, trial {r.source_trial}, seed {r.seed_index}: {plan.metric.label} {r.value:.4g}." for r in runs]
    lines += [
        "## Next",
        *(f"{why}:\n\n    {command}" for why, command in next_steps(plan, search, full or StudyState())),
    ]
    return "\n\n".join([*lines, f"The whole story: `{plan.folder / 'report.html'}`", SIGNATURE])


def _save_artifacts(plan: Plan, search: StudyState, storage: RDBStorage, study_id: int) -> None:
    there = retried(lambda: storage.get_study_system_attrs(study_id))
    ids = {trial.number: trial._trial_id for trial in retried(lambda: storage.get_all_trials(study_id, deepcopy=False))}
    for trial in search.ranked(plan.metric.direction == "maximize")[:_MOST_TRIALS]:
        picture = _sheet(_samples(plan, trial))
        if picture is None:
            continue
        name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"rungwise/{plan.name}/{trial.trial_id}/samples"))
        (plan.folder / ARTIFACTS).mkdir(exist_ok=True)
        path = plan.folder / ARTIFACTS / name
        if not path.exists() or path.read_bytes() != picture:
            path.write_bytes(picture)
        about = {"artifact_id": name, "filename": "samples.png", "mimetype": "image/png", "encoding": None}
        key, value = f"dashboard:artifacts:{ids[trial.number]}:{name}", json.dumps(about)
        if there.get(key) != value:
            retried(lambda key=key, value=value: storage.set_study_system_attr(study_id, key, value))  # type: ignore[misc]


def _samples(plan: Plan, trial: TrialState) -> Sequence[dict[str, Any]]:
    path = plan.folder / "trials" / f"{trial.trial_id:04d}" / SAMPLES / "last.json"
    if not path.is_file():
        return ()
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["samples"]
    return found[:_MOST_SAMPLES]


def _sheet(samples: Sequence[dict[str, Any]]) -> bytes | None:
    """The samples in one picture, what was predicted below each, in boxes where there are some; None without any."""
    cards = [card for sample in samples if (card := _card(sample)) is not None]
    if not cards:
        return None
    height = max(card.height for card in cards)
    rows = -(-len(cards) // _COLUMNS)
    sheet = Image.new("RGB", (min(len(cards), _COLUMNS) * _WIDTH_PX, rows * height), "white")
    for place, card in enumerate(cards):
        sheet.paste(card, (place % _COLUMNS * _WIDTH_PX, place // _COLUMNS * height))
    data = io.BytesIO()
    sheet.save(data, "PNG")
    return data.getvalue()


def _card(sample: dict[str, Any]) -> Image.Image | None:
    """One image with its prediction and its first reference; None where the image cannot be read."""
    found = _thumbnail(Path(sample["image"]))
    if found is None:
        return None
    image, scale = found[0].copy(), found[1]
    pen = ImageDraw.Draw(image)
    for colour, boxes in (
        ("#009e73", sample.get("reference_boxes", ())),
        ("#d55e00", sample.get("predicted_boxes", ())),
    ):
        for left, top, width, height in (box["place"] for box in boxes):
            if width > 0 and height > 0:
                corners = (left, top, left + width, top + height)
                pen.rectangle([end * scale for end in corners], outline=colour, width=2)
    font = ImageFont.load_default(11)
    texts = [*sample["predictions"][:1], *(f"reference: {text}" for text in sample["references"][:1])]
    lines = [line for text in texts for line in textwrap.wrap(str(text), _LETTERS)[: _LINES // 2]]
    card = Image.new("RGB", (_WIDTH_PX, image.height + 14 * _LINES + 12), "white")
    card.paste(image, (4, 4))
    ImageDraw.Draw(card).text((6, image.height + 8), "\n".join(lines), fill="#1c2530", font=font)
    return card


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
