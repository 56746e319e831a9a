"""Finds annotations in files and folders by their content, whatever their format. Imports no torch."""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from trainer.data.datasets_folder import recognised, unpacked
from trainer.data.image_folders import SUFFIXES, files_below
from trainer.errors import DataError, counted, listed
from trainer.store.json_files import json_content
from trainer.tasks.detection import voc, yolo
from trainer.tasks.detection.config import DetectionData
from trainer.tasks.detection.content import Source, paired
from trainer.tasks.detection.object_lines import is_object_line

KINDS = {"coco": "COCO JSON", "yolo": "YOLO labels", "voc": "Pascal VOC XML", "objects": "JSON lines with objects"}
_KNOWN = f"{', '.join(list(KINDS.values())[:-1])} or {KINDS['objects']}"
_SIDES = {
    "train": re.compile(r"(?<![a-z])train(ing)?(?![a-z])"),
    "val": re.compile(r"(?<![a-z])(val|valid|validation|dev)(?![a-z])"),
    "test": re.compile(r"(?<![a-z])test(ing)?(?![a-z])"),
}
_IMAGES = ("JPEGImages", "images", "Images")
_JSON, _YAML = (".json", ".jsonl", ".ndjson"), (".yaml", ".yml")
_OF_EACH_IMAGE = {"voc": ".xml", "yolo": ".txt"}
_FIRST_NAME = re.compile(rb'"(?:file_name|image)"\s*:\s*("(?:[^"\\]|\\.)*")')


def named_sources(data: DetectionData) -> tuple[Source, ...]:
    """One source of all images, or one to train and one to validate on; `DataError` where there is none, or several."""
    folders = {"data.images_dir": data.images_dir, "data.val_images_dir": data.val_images_dir}
    for key, folder in folders.items():
        if folder is not None and not folder.is_dir():
            raise DataError(f"{folder}: no such folder of images ({key})")
    if data.train_annotations is not None and data.val_annotations is not None:
        train = _sources("data.train_annotations", data.train_annotations, data.images_dir, "train")
        held = _sources("data.val_annotations", data.val_annotations, data.val_images_dir or data.images_dir, "val")
        return _only(train), _only(held)
    if data.annotations is not None:
        return tuple(_sources("data.annotations", data.annotations, data.images_dir, None))
    found = [_in_folder(folder, key, None) for key, folder in folders.items() if folder is not None]
    return tuple(found[0]) if len(found) == 1 else tuple(map(_only, found))


def _only(sources: Sequence[Source]) -> Source:
    if len(sources) > 1:
        what = f"it has a split of its own ({sources[0].images_dir} and {sources[1].images_dir})"
        raise DataError(f"{sources[0].origin or sources[0].annotations}: {what}; name it with data.annotations alone")
    return sources[0]


def _sources(key: str, path: Path, images_dir: Path | None, side: str | None) -> list[Source]:
    """What a file or a folder of annotations stands for; of a file with a split, the `side` that is asked for."""
    if path.is_dir():
        return _of_folder(path, key, images_dir, side)
    if not path.is_file():
        raise DataError(f"{path}: no such annotation file ({key})")
    if path.suffix.lower() in _YAML and yolo.is_yolo_yaml(path):
        return yolo.from_yaml(path, key, images_dir, side)
    if path.suffix.lower() == ".txt" and yolo.lists_images(path):
        return yolo.from_list(path, key, images_dir, _up_to_the_set(path.parent))
    value = json_content(path)
    if isinstance(value, dict) and not is_object_line(value):
        kind = "coco"  # or an incomplete one, which is reported where it is read
    elif is_object_line(value) or (isinstance(value, list) and any(map(is_object_line, value))):
        kind = "objects"
    else:
        raise DataError(f"{path}: expected COCO JSON or another file of annotations that is known ({_KNOWN})")
    return [Source(key, kind, path, images_dir or _images_of(path))]


def _of_folder(folder: Path, key: str, images_dir: Path | None, side: str | None) -> list[Source]:
    """A folder of one file of annotations for each image, or a whole data set."""
    if not files_below(folder, SUFFIXES):
        kinds = [kind for kind in _OF_EACH_IMAGE if _files_of_each(kind, folder)]
        if len(kinds) == 1:
            beside = _beside(folder)
            if images_dir is None or beside.is_relative_to(images_dir):
                return (
                    _split(kinds[0], key, folder, beside) if side is None else [_of_each(kinds[0], key, folder, beside)]
                )
            if side is None:
                return _split(kinds[0], key, folder, images_dir)
            return [_of_each(kinds[0], key, folder, images_dir, shared=True)]
    found = _in_folder(folder, key, images_dir)
    for each in found:
        if images_dir is not None and not each.images_dir.is_relative_to(images_dir):
            what = f"its images lie in {each.images_dir}, but data.images_dir is {images_dir}"
            raise DataError(f"{folder}: {what}; leave that out, or name a file with {key}")
    return found


def _in_folder(folder: Path, key: str, images_dir: Path | None) -> list[Source]:
    """The annotations of a whole data set; `DataError` where there are none, or those of several formats."""
    if recognised(folder):
        tables = unpacked(folder)
        if not tables.boxes:
            raise DataError(f"{folder}: its tables have {tables.words}, but no boxes")
        return [Source(key, "coco", boxes, tables.images_dir, origin=folder) for boxes in tables.boxes]
    found = _whole(folder, key, images_dir)
    if not found and images_dir is None and folder.name in _IMAGES:  # beside the images of a data set
        found = _whole(folder.parent, key, folder)
    if not found:
        raise DataError(f"{folder}: no annotations in it ({_KNOWN}); name them with data.annotations")
    return found


def _whole(folder: Path, key: str, images_dir: Path | None) -> list[Source]:
    found = list(_found(folder, key, images_dir))
    if len(found) > 1:
        places = [each[0].origin or each[0].annotations for each in found]
        named = " and ".join(f"{KINDS[each[0].kind]} ({place})" for each, place in zip(found, places, strict=True))
        raise DataError(f"{folder}: it holds {named}; name one of them, such as data.annotations={places[0]}")
    if found:
        return found[0]
    inner = _folders(folder)
    sides = {side: [path for path in inner if _side(path.name) == side] for side in ("train", "val")}
    if len(sides["train"]) == 1 and len(sides["val"]) <= 1:
        both = [_whole(path, key, None) for paths in sides.values() for path in paths]
        return [_only(each) for each in both] if all(both) else []
    return _whole(inner[0], key, images_dir) if len(inner) == 1 else []  # an archive unpacked into its own folder


def _found(folder: Path, key: str, images_dir: Path | None) -> Iterator[list[Source]]:
    """The annotations in a folder, of each format that is there."""
    places = [path for path in _folders(folder) if path.name.lower() in ("annotations", "labels")]
    for kind in ("coco", "objects"):
        files = [path for place in (folder, *places) for path in _named(place, _JSON) if _json_kind(path) == kind]
        if files:
            chosen, notes = _chosen(files, kind, folder)
            yield [Source(key, kind, path, images_dir or _images_of(path), notes=notes) for path in chosen]
    yamls = [path for path in _named(folder, _YAML) if yolo.is_yolo_yaml(path)]
    for path in yamls:
        yield yolo.from_yaml(path, key, images_dir, None)
    if _named(folder, SUFFIXES):
        places.append(folder)
    for kind in _OF_EACH_IMAGE:
        for place in places if kind == "voc" or not yamls else ():
            names = _files_of_each(kind, place, deep=place != folder)
            if names:
                yield _split(kind, key, place, images_dir or _beside(place), names)


def _chosen(files: Sequence[Path], kind: str, folder: Path) -> tuple[Sequence[Path], tuple[str, ...]]:
    """The files to train and to validate on, or the only one that is not for tests, with a note of the others."""
    train, val = ([path for path in files if _side(path.stem) == side] for side in ("train", "val"))
    whole = [path for path in files if _side(path.stem) != "test"]
    chosen = [*train, *val] if len(train) == len(val) == 1 else whole
    if len(chosen) > 1 and chosen is whole:
        names = listed([str(path.relative_to(folder)) for path in files], "file")
        keys = f"data.annotations={files[0]}, or data.train_annotations and data.val_annotations"
        raise DataError(f"{folder}: {KINDS[kind]} in {names}; name what to read, such as {keys}")
    others = [str(path.relative_to(folder)) for path in files if path not in chosen]
    return chosen or files, (f"not read: {', '.join(others)} (data.annotations names another file)",) if others else ()


def _split(
    kind: str, key: str, annotations: Path, images_dir: Path, files: Sequence[str] | None = None
) -> list[Source]:
    """The images to train and to validate on where their folders, or VOC's lists, tell them apart; or all."""
    if kind == "voc":
        lists = voc.split_lists(annotations)
        if lists:
            return [_of_each(kind, key, annotations, images_dir, files, names) for names in lists]
    by_side = {_side(path.name): path for path in _folders(images_dir)}
    if annotations != images_dir and "train" in by_side:
        folders = [by_side[side] for side in ("train", "val") if side in by_side]
        inner = [annotations / path.name for path in folders]
        pairs = zip(inner if all(path.is_dir() for path in inner) else [annotations] * 2, folders, strict=False)
        return [_of_each(kind, key, place, images) for place, images in pairs]
    return [_of_each(kind, key, annotations, images_dir, files)]


def _of_each(
    kind: str,
    key: str,
    annotations: Path,
    images_dir: Path,
    files: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    shared: bool = False,
) -> Source:
    """Annotations in a file for each image: `files`, where they are listed.

    `only` are the stems that count. `shared`: other sources have images in the same folder, so that those without a
    file are not of this one.
    """
    deep = annotations != images_dir or not _named(images_dir, SUFFIXES)
    files = files or _files_of_each(kind, annotations, deep)
    images = [name for name in files_below(images_dir, SUFFIXES) if deep or "/" not in name]
    pairs = paired(images, files)
    lone = len(set(files)) - len({file for _, file in pairs if file})
    bare = [image for image, file in pairs if not file]
    notes = []
    if kind == "voc":
        image_of = {file: image for image, file in pairs if file}
        if only is not None:
            by_stem = {Path(file).stem: file for file in files}
            files = [by_stem.get(stem, f"{stem}.xml") for stem in only]
        elif bare and lone == 0:
            notes.append(f"{counted(len(bare), 'image')} without a file of annotations not used, such as {bare[0]}")
        pairs = [(image_of.get(file, ""), file) for file in files]
    elif lone == len(files):
        raise DataError(
            f"{annotations}: no file of labels for any of the {counted(len(pairs), 'image')} in {images_dir}"
        )
    else:
        if lone:
            notes.append(f"{annotations}: {counted(lone, 'file')} of labels without an image in {images_dir}")
        if shared and bare:
            pairs = [(image, file) for image, file in pairs if file]
            notes.append(f"{annotations}: {counted(len(bare), 'image')} without a file of labels not used")
    classes = yolo.class_names([*_up_to_the_set(annotations), images_dir]) if kind == "yolo" else ()
    return Source(key, kind, annotations, images_dir, tuple(pairs), classes, notes=tuple(notes))


def _files_of_each(kind: str, folder: Path, deep: bool = True) -> list[str]:
    """The files in a folder that hold annotations of one image each; none where they hold something else."""
    names = [name for name in files_below(folder, {_OF_EACH_IMAGE[kind]}) if deep or "/" not in name]
    if kind == "voc":
        return names if voc.are_annotations(folder, names) else []
    names = yolo.label_files(names)
    return names if yolo.are_labels(folder, names) else []


def _json_kind(path: Path) -> str | None:
    """Whether a file of JSON seems to hold boxes, and in which form; found without reading all of it."""
    if not path.is_file() or not path.stat().st_size:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        if text.find(b'"bbox') < 0 and text.find(b'"segmentation"') < 0 and text.find(b'"boxes"') < 0:
            return None
        if all(text.find(b'"%s"' % name) >= 0 for name in (b"images", b"annotations", b"categories")):
            return "coco"
        return "objects" if _FIRST_NAME.search(text) else None


def _images_of(path: Path) -> Path:
    """The folder near a file of annotations that the first image it names lies in."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        match = _FIRST_NAME.search(text)
        name = str(json.loads(match[1])) if match else ""
    bases = [[place, *_folders(place)] for place in _up_to_the_set(path.parent)]
    bases.append([path.parent.parent / name for name in _IMAGES])
    near = [base + [inner for place in base if place.name in _IMAGES for inner in _folders(place)] for base in bases]
    found = ([place for place in base if name and (place / name).is_file()] for base in near)
    holding = next((places for places in found if places), [])
    same_side = [place for place in holding if _side(place.name) == _side(path.stem) is not None]
    chosen = holding[:1] if holding[:1] == [path.parent] else same_side or holding
    if len(chosen) == 1:
        return chosen[0]
    what = f"{name} lies in {listed([str(place) for place in chosen], 'folder')}" if chosen else "no images near it"
    raise DataError(f"{path}: {what}; name the folder of its images with data.images_dir")


def _beside(annotations: Path) -> Path:
    """The folder of images that belongs to a folder of annotations by its name, or else the one that both lie in."""
    head, labels, tail = f"{annotations}/".rpartition("/labels/")
    images = [Path(f"{head}/images/{tail}")] if labels else []
    images += [annotations.parent / name for name in _IMAGES]
    if _named(annotations, SUFFIXES):
        images.insert(0, annotations)
    return next((path for path in images if path.is_dir()), annotations.parent)


def _up_to_the_set(folder: Path) -> list[Path]:
    """A folder of one kind of file, or of one side of a split, and the folders above it up to that of the data set."""
    above = [folder]
    while above[-1].name.lower() in ("labels", "annotations", "images", "imagesets") or _side(above[-1].name):
        above.append(above[-1].parent)
    return above


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder, by name, without hidden ones."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _named(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files in a folder, by name, that have one of these suffixes."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in suffixes]  # noqa: PTH122 - fast
    return [folder / name for name in sorted(names)]


def _side(name: str) -> str | None:
    return next((side for side, pattern in _SIDES.items() if pattern.search(name.lower())), None)
