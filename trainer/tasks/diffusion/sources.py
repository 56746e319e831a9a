"""Image-text data sets as they are published: COCO's captions, CUB's texts, a file of captions. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

from trainer.data.caption_files import CaptionsFound, NoCaptionsError, captions_in
from trainer.data.captions import CaptionTable, Stamp, read_captions, usable_captions
from trainer.data.datasets_folder import captioned, recognised
from trainer.data.image_folders import SUFFIXES, files_below, fingerprint, stats_below, stats_of
from trainer.errors import DataError, listed
from trainer.store.text import read_text
from trainer.tasks.diffusion.config import DiffusionData

Policy = Literal["error", "skip"]
Place = tuple[Path, Path]  # folder of images, captions
_CAPTION_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".token"})


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
    """A description of where the captions are, and of which other files might have held them."""
    if _tables(data):
        return str(_root(data))
    captions = _KINDS[data.dataset_name][0](data)[1]
    others: list[str] = []
    if data.caption_file is None:
        candidates = (
            _candidates(_root(data)) if data.dataset_name == "custom" else sorted(captions.parent.glob("*.json"))
        )
        others = [path.name for path in candidates if path != captions and "caption" in path.stem.lower()]
    beside = f" (its name was chosen before {', '.join(others)}; data.caption_file names another)" if others else ""
    return f"{captions}{beside}"


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
    root = _root(data)
    captions = data.caption_file or _custom_captions(root)
    if data.images_dir is not None:
        return data.images_dir, captions
    folders = sorted(path for path in root.iterdir() if path.name.lower() == "images" and path.is_dir())
    return (folders or [root if _relative_to(root, captions) else root / "images"])[0], captions


def _relative_to(root: Path, captions: Path) -> bool:
    """Whether a file names images by their place in this folder."""
    if not captions.is_file():
        return False
    return any((root / name).is_file() for name in islice(captions_in(captions, root).captions, 10))


def _custom_captions(root: Path) -> Path:
    """The file of captions in a folder: `captions.csv`, or the one whose content is captions, first by their names."""
    if (root / "captions.csv").is_file():
        return root / "captions.csv"
    candidates = _candidates(root)
    by_name = [path for path in candidates if "caption" in path.stem.lower()]
    rest = [path for path in candidates if path not in by_name]
    for group in (by_name, rest):
        holding = [path for path in group if len(candidates) == 1 or _holds_captions(path, root, group is by_name)]
        if len(holding) == 1:
            return holding[0]
        if holding:
            names = listed([path.name for path in holding], "such file")
            raise DataError(f"{root}: which of the captions? {names}; name one with data.caption_file")
    kinds = "no captions.csv or *.csv in it, nor another file of captions (JSON, JSON lines, TSV, text)"
    raise DataError(f"{root}: {kinds}; data.caption_file can name the captions")


def _candidates(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.suffix.lower() in _CAPTION_SUFFIXES and path.is_file())


def _holds_captions(path: Path, root: Path, must: bool) -> bool:
    """Whether captions can be read from a file; damage is an error where they must be, by the file's name."""
    stat = path.stat()
    try:
        return _has_captions(path, root, (stat.st_size, stat.st_mtime_ns))
    except NoCaptionsError:
        return False
    except DataError:
        if must:
            raise
        return False


@lru_cache(maxsize=64)
def _has_captions(path: Path, root: Path, _state: tuple[int, int]) -> bool:
    return bool(captions_in(path, root / "images" if (root / "images").is_dir() else root).captions)


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
    others = "data.caption_file can name the captions, and data.dataset_name=custom takes those of any form"
    raise DataError(f"{root}: no {' or '.join(patterns)} in it; {others}")


def _read_cub(images_dir: Path, texts: Path, policy: Policy) -> CaptionTable:
    if not texts.is_dir():
        raise DataError(f"{texts}: no such folder of texts (data.caption_file names another)")
    names = tuple(files_below(images_dir, SUFFIXES))
    state = fingerprint(stats_of(images_dir, names), fingerprint(stats_below(texts, {".txt"})))
    return _cub(Stamp(images_dir, texts, policy, state), names)


@lru_cache(maxsize=4)
def _cub(stamp: Stamp, names: Sequence[str]) -> CaptionTable:
    """An image `class/name.jpg` has its captions in `class/name.txt`, a line each."""
    found = CaptionsFound("a text file beside each image", "text")
    for name in names:
        path = (stamp.caption_file / name).with_suffix(".txt")
        relative = path.relative_to(stamp.caption_file)
        if not path.is_file():
            found.wrong.append(f"{relative} is missing")
            continue
        try:
            lines = [line for line in read_text(path).splitlines() if line.strip()]
        except DataError as error:
            found.wrong.append(f"{relative} cannot be read ({error})")
            continue
        if lines:
            found.add(str(relative), name, lines)
        else:
            found.wrong.append(f"{relative} is empty")
    return usable_captions(found, stamp)


_KINDS: dict[str, tuple[Callable[[DiffusionData], Place], Callable[[Path, Path, Policy], CaptionTable]]] = {
    "coco": (_coco_place, read_captions),
    "cub": (_cub_place, _read_cub),
    "custom": (_custom_place, read_captions),
}
