"""Pascal VOC annotations: an XML file for each image, corners in pixels that count from 1. Imports no torch.

Source: Everingham et al. 2010 and the development kit of VOC2012. Objects marked as difficult are ignored in its
evaluation, and so they are here, as COCO's crowds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from trainer.data.image_folders import SUFFIXES, files_below
from trainer.errors import DataError
from trainer.tasks.detection.content import Content, Source, as_number
from trainer.tasks.detection.conventions import Convention

OWN = Convention("xyxy", "pixels")
_PARTS = ("name", "difficult", "bndbox")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(source: Source) -> Content:
    """The boxes of all XML files of a source. An image is the file with the XML's name, or else the one it names."""
    images: list[Any] = []
    annotations: list[Any] = []
    content = Content(images, annotations, [], OWN)
    beside = frozenset(files_below(source.images_dir, SUFFIXES)) if any(not name for name, _ in source.pairs) else ()
    for image, file in source.pairs:
        root = _parsed(source.annotations, file, content)
        if root is None:
            continue
        image = image or _named(root, file, beside)
        images.append({"id": file, "file_name": image, **_size(root)})
        position = 0
        for entry in root:
            if entry.tag != "object":
                continue
            position += 1
            parts = {part.tag: part for part in entry if part.tag in _PARTS}
            name, difficult, box = (parts.get(tag) for tag in _PARTS)
            annotations.append({
                "id": f"{file}, object {position}",
                "image_id": file,
                "category_id": "" if name is None else " ".join((name.text or "").split()),
                "bbox": None if box is None else _box(box),
                "iscrowd": None if difficult is None else (difficult.text or "").strip(),
            })  # fmt: skip
    content.categories = [
        {"id": name, "name": name} for name in sorted({a["category_id"] for a in annotations}) if name
    ]
    return content


def are_annotations(folder: Path, names: Sequence[str]) -> bool:
    """Whether some of the first XML files look like the annotations of an image."""
    return any(b"<annotation" in (folder / name).read_bytes() for name in names[:20])


def split_lists(annotations: Path) -> list[list[str]]:
    """The names to train and to validate on, or those of both, by the lists in `ImageSets/Main`; empty without any."""
    folder = annotations.parent / "ImageSets" / "Main"
    lists = {}
    for name in ("train", "val", "trainval"):
        path = folder / f"{name}.txt"
        if path.is_file():
            try:
                lines = path.read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError:
                raise DataError(f"{path}: not UTF-8 text") from None
            lists[name] = [line.split()[0] for line in lines if line.strip()]
    if lists.get("train") and lists.get("val"):
        return [lists["train"], lists["val"]]
    return [names for names in (lists.get("trainval") or lists.get("train"),) if names]


def _parsed(folder: Path, file: str, content: Content) -> ElementTree.Element | None:
    """The root of an XML file; a fault, and None, where it is damaged or something else."""
    try:
        with open(os.path.join(folder, file), "rb") as opened:  # noqa: PTH118, PTH123 - thousands of files
            data = opened.read()
        if b"<!ENTITY" in data:  # expat limits what they grow to, but nobody needs them
            raise ValueError("it defines entities")
        root = ElementTree.fromstring(data)
    except OSError as error:
        what = error.strerror or "cannot be read"
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        what = f"not readable as XML: {error}"
    else:
        if root.tag == "annotation":
            return root
        what = f"its root is {root.tag}, not annotation"
    content.faults.append(("unusable XML file", f"{file} ({what})"))
    return None


def _named(root: ElementTree.Element, file: str, beside: frozenset[str] | Sequence[str]) -> str:
    """The image that an XML file names, perhaps without its suffix or with folders of another machine."""
    name = PurePosixPath((root.findtext("filename") or "").strip().replace("\\", "/")).name
    stem = PurePosixPath(file).stem
    if not name:
        return stem
    return name if name in beside else next((f"{name}{s}" for s in sorted(SUFFIXES) if f"{name}{s}" in beside), name)


def _size(root: ElementTree.Element) -> dict[str, Any]:
    """Width and height; nothing where the file gives none, or 0 × 0, as some programs do."""
    size = root.find("size")
    given = {side.tag: side.text for side in size} if size is not None else {}
    sides = {side: as_number(given.get(side)) for side in ("width", "height")}
    return sides if all(sides.values()) else {}


def _box(box: ElementTree.Element) -> list[Any]:
    corners = {side.tag: side.text for side in box}
    try:
        left, top, right, bottom = (float(corners[name] or "") for name in _CORNERS)
    except (KeyError, ValueError):
        return [corners.get(name) for name in _CORNERS]
    return [left - 1.0, top - 1.0, right, bottom]  # pixels count from 1; the last one is inside the box
