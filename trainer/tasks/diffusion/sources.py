"""Image-text data sets as they are published: COCO's captions, CUB's texts, a CSV. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from trainer.data.captions import CaptionTable, Stamp, read_captions, usable_captions
from trainer.data.datasets_folder import captioned, recognised
from trainer.data.image_folders import SUFFIXES, files_below, fingerprint, stats_below, stats_of, table_fingerprint
from trainer.errors import DataError, listed
from trainer.tasks.diffusion.config import DiffusionData

Policy = Literal["error", "skip"]
Place = tuple[Path, Path]  # folder of images, captions


def read_source(data: DiffusionData) -> CaptionTable:
    """The usable images of `data.dataset_path` with their captions; `DataError` says what is wrong and where."""
    if data.dataset_path is not None and not data.dataset_path.is_dir():
        raise DataError(f"{data.dataset_path}: no such folder (data.dataset_path)")
    if _tables(data):
        return read_captions(*captioned(_root(data)), data.bad_samples)
    place, read = _KINDS[data.dataset_name]
    images_dir, captions = place(data)
    if not images_dir.is_dir():
        raise DataError(f"{images_dir}: no such folder of images (data.images_dir names another)")
    return read(images_dir, captions, data.bad_samples)


def source_words(data: DiffusionData) -> str:
    """A description of where the captions are."""
    return str(_root(data) if _tables(data) else _KINDS[data.dataset_name][0](data)[1])


def _tables(data: DiffusionData) -> bool:
    """Whether images and captions are in the tables of a folder of the `datasets` library."""
    return data.images_dir is None and data.caption_file is None and recognised(data.dataset_path)


def _coco_place(data: DiffusionData) -> Place:
    captions = data.caption_file or _only(_root(data), ("captions*.json", "annotations/captions*.json"), "train")
    if data.images_dir is not None:
        return data.images_dir, captions
    root, split = _root(data), captions.stem.removeprefix("captions_")
    return _first_folder([root / split, root / "images" / split, root / "images"]), captions


def _custom_place(data: DiffusionData) -> Place:
    captions = data.caption_file or _only(_root(data), ("captions.csv", "*.csv"), "captions")
    return data.images_dir or _root(data) / "images", captions


def _cub_place(data: DiffusionData) -> Place:
    root = _root(data)
    inner = root / "CUB_200_2011"
    texts = [base / name for base in (root, inner) for name in ("text_c10", "text")]
    return data.images_dir or _first_folder([root / "images", inner / "images"]), data.caption_file or _first_folder(
        texts
    )


def _root(data: DiffusionData) -> Path:
    if data.dataset_path is None:
        assert data.caption_file is not None, "the configuration checks that one comes with the other"
        return data.caption_file.parent
    return data.dataset_path


def _first_folder(places: list[Path]) -> Path:
    """The first existing folder; if there is none, the first, which the error then names."""
    return next((place for place in places if place.is_dir()), places[0])


def _only(root: Path, patterns: tuple[str, ...], preferred: str) -> Path:
    """The one file of these names; of several, the one whose name has `preferred` in it."""
    for pattern in patterns:
        matching = sorted(root.glob(pattern))
        chosen = [path for path in matching if preferred in path.stem] if len(matching) > 1 else matching
        if len(chosen) == 1:
            return chosen[0]
        if matching:
            names = listed([path.name for path in matching], "such file")
            raise DataError(f"{root}: which of the captions? {names}; name one with data.caption_file")
    raise DataError(f"{root}: no {' or '.join(patterns)} in it; data.caption_file can name the captions")


def _read_coco(images_dir: Path, captions: Path, policy: Policy) -> CaptionTable:
    if not captions.is_file():
        raise DataError(f"{captions}: no such caption file (data.caption_file)")
    state = table_fingerprint(images_dir, captions, lambda: _entries(captions)[0])
    return _coco(Stamp(images_dir, captions, policy, state))


@lru_cache(maxsize=4)
def _coco(stamp: Stamp) -> CaptionTable:
    described, wrong = _entries(stamp.caption_file)
    return usable_captions(described, wrong, stamp, "unusable entry")


def _entries(captions_file: Path) -> tuple[Mapping[str, Sequence[str]], Sequence[str]]:
    """Captions by the name of their image, and the unusable entries."""
    content = _json(captions_file)
    wrong: list[str] = []
    names: dict[Any, str] = {}
    for position, image in enumerate(content["images"]):
        name = image.get("file_name") if isinstance(image, dict) else None
        if not isinstance(name, str) or not name or not isinstance(image.get("id"), int | str):
            wrong.append(f"image at position {position} has no id or file_name")
        elif image["id"] in names:
            wrong.append(f"image at position {position} has the id {image['id']!r} of another ({names[image['id']]})")
        else:
            names[image["id"]] = name
    captions: dict[str, list[str]] = {name: [] for name in names.values()}
    for position, entry in enumerate(content["annotations"]):
        what = _unusable(entry, names)
        if what:
            wrong.append(f"annotation at position {position} {what}")
        else:
            captions[names[entry["image_id"]]].append(" ".join(entry["caption"].split()))
    return {name: texts for name, texts in captions.items() if texts}, wrong


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from None
    lists = ("images", "annotations")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in lists):
        raise DataError(f"{path}: expected COCO captions, a mapping with lists of images and annotations")
    return content


def _unusable(entry: Any, names: Mapping[Any, str]) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("caption"), str):
        return "has no caption (boxes are another file)"
    if not isinstance(entry.get("image_id"), int | str) or entry["image_id"] not in names:
        return f"is of no known image ({entry.get('image_id')!r})"
    return "" if entry["caption"].strip() else "has an empty caption"


def _read_cub(images_dir: Path, texts: Path, policy: Policy) -> CaptionTable:
    if not texts.is_dir():
        raise DataError(f"{texts}: no such folder of texts (data.caption_file names another)")
    names = tuple(files_below(images_dir, SUFFIXES))
    state = fingerprint(stats_of(images_dir, names), fingerprint(stats_below(texts, {".txt"})))
    return _cub(Stamp(images_dir, texts, policy, state), names)


@lru_cache(maxsize=4)
def _cub(stamp: Stamp, names: Sequence[str]) -> CaptionTable:
    """An image `class/name.jpg` has its captions in `class/name.txt`, a line each."""
    wrong: list[str] = []
    described: dict[str, list[str]] = {}
    for name in names:
        path = (stamp.caption_file / name).with_suffix(".txt")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            wrong.append(f"{path.relative_to(stamp.caption_file)} is missing")
            continue
        except (OSError, UnicodeDecodeError) as error:
            wrong.append(f"{path.relative_to(stamp.caption_file)} cannot be read ({error})")
            continue
        captions = [" ".join(line.split()) for line in lines if line.strip()]
        if captions:
            described[name] = captions
        else:
            wrong.append(f"{path.relative_to(stamp.caption_file)} is empty")
    return usable_captions(described, wrong, stamp, "unusable text")


_KINDS: dict[str, tuple[Callable[[DiffusionData], Place], Callable[[Path, Path, Policy], CaptionTable]]] = {
    "coco": (_coco_place, _read_coco),
    "cub": (_cub_place, _read_cub),
    "custom": (_custom_place, read_captions),
}
