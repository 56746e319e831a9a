"""The samples of a run, `samples/last.json`: predictions for people to look at, read for reports.

`{"epoch": 3, "samples": [{"image", "references", "predictions", "reference_boxes", "predicted_boxes", "generated"}, …],
"matrix": {"labels": […], "counts": [[…], …]}}`: images are paths, absolute or from the file's folder; `generated` is an
image that the model made. In the matrix rows are true classes and columns predicted ones. Every part may be
absent. A damaged file is reported as a problem and not raised: a report must not end a study.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError, model_validator

from orchestrator.study.folder import RunFolder
from reports.record import Box, Matrix, Sample


class _Sample(BaseModel):
    image: Path | None = None
    references: tuple[str, ...] = ()
    predictions: tuple[str, ...] = ()
    reference_boxes: tuple[Box, ...] = ()
    predicted_boxes: tuple[Box, ...] = ()
    generated: Path | None = None


class _Matrix(BaseModel):
    labels: list[str]
    counts: list[list[float]]

    @model_validator(mode="after")
    def _square(self) -> _Matrix:
        if not self.labels or {len(self.counts), *map(len, self.counts)} != {len(self.labels)}:
            raise ValueError(f"must have a row and a column for each of the {len(self.labels)} labels")
        return self


class _File(BaseModel):
    samples: list[_Sample] = []
    matrix: _Matrix | None = None


@dataclass(frozen=True)
class Kept:
    """The samples of one run and its confusion matrix; `problem` says why they could not be read."""

    samples: Sequence[Sample] = ()
    matrix: Matrix | None = None
    problem: str = ""


def _read(text: bytes) -> _File:
    if b"\\ud" in text:  # a name that is not valid Unicode, which pydantic's own parser refuses
        return _File.model_validate(json.loads(text))
    return _File.model_validate_json(text)


def samples_stamp(folder: RunFolder) -> int | None:
    """A time stamp that changes when the run in `folder` writes samples; None where it has none."""
    try:
        return folder.samples.stat().st_mtime_ns
    except OSError:
        return None


def read_samples(folder: RunFolder, trial_id: int, run: str = "") -> Kept:
    """The samples of the run in `folder`; empty where it has none."""
    path = folder.samples
    if not path.is_file():
        return Kept()
    try:
        content = _read(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return Kept(problem=f"{path}: {f'{where}: ' if where else ''}{first['msg']}; its samples are not shown")
    except OSError as error:
        return Kept(problem=f"{path}: {error.strerror or error}; its samples are not shown")
    except (ValueError, RecursionError) as error:
        return Kept(problem=f"{path}: Invalid JSON ({error}); its samples are not shown")
    matrix = Matrix(trial_id, content.matrix.labels, content.matrix.counts, run) if content.matrix else None
    titles = _titles([one.image for one in content.samples])
    pairs = zip(content.samples, titles, strict=True)
    return Kept([_sample(one, title, path.parent, trial_id, run) for one, title in pairs], matrix)


def _titles(images: Sequence[Path | None]) -> Iterator[str]:
    """The images' names, with their folder where two names are the same."""
    counts = Counter(image.name for image in images if image)
    for number, image in enumerate(images, start=1):
        if image is None:
            yield f"sample {number}"
        else:
            yield image.name if counts[image.name] == 1 else f"{image.parent.name}/{image.name}"


def _sample(one: _Sample, title: str, folder: Path, trial_id: int, run: str) -> Sample:
    # `folder / path` is `path` where that is absolute.
    image, generated = (folder / path if path else None for path in (one.image, one.generated))
    texts, boxes = (one.references, one.predictions), (one.reference_boxes, one.predicted_boxes)
    return Sample(trial_id, image, title, *texts, run, *boxes, generated)
