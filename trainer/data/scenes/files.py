"""Sets of scenes in the cache folder, each made once, and whole or not there at all.

A manifest is written last: a set without it, or unlike it, is not whole.
"""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import PIL

from trainer.data.scenes.spec import GENERATOR_VERSION, KINDS, SceneFiles, ScenesSpec, files_in
from trainer.data.scenes.write import Progress, write_scenes
from trainer.errors import DataError
from trainer.store.locks import locked

_MANIFEST = "manifest.json"


def ensure_scenes(spec: ScenesSpec, cache_dir: Path, progress: Progress | None = None) -> SceneFiles:
    """The scenes of `spec`, made first if they are not there or not whole.

    `progress(done, of)` is called after each picture that is drawn, and not at all where nothing is. Any
    number of processes may ask at once: one draws, the others wait and use its files.

    Raises:
        DataError: `cache_dir` cannot be written; the message says what to do about it.
    """
    files = files_in(cache_dir / spec.key)
    if _is_whole(spec, files):
        return files
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with locked(cache_dir / f".{spec.key}.lock"):
            if not _is_whole(spec, files):  # another process may have made them while this one waited
                _build(spec, files, progress or (lambda _done, _of: None))
    except OSError as error:
        raise DataError(
            f"cannot write the built-in scenes to {files.folder}: {error.strerror or error}. "
            "Set the environment variable RUNGWISE_CACHE to a folder that can be written."
        ) from None
    return files


def _build(spec: ScenesSpec, files: SceneFiles, progress: Progress) -> None:
    """Draw into a folder beside the final one and move it into place, so that no reader finds half a set."""
    parent = files.folder.parent
    for leftover in parent.glob(f".{spec.key}.*.tmp"):  # of a killed process: this one holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = parent / f".{spec.key}.{os.getpid()}.tmp"
    try:
        fresh.mkdir()
        write_scenes(spec, files_in(fresh), progress)
        _write_manifest(spec, files_in(fresh))
        _move_into_place(fresh, spec, files)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _move_into_place(fresh: Path, spec: ScenesSpec, files: SceneFiles) -> None:
    damaged = fresh.with_name(f"{fresh.name}.old.tmp")
    with suppress(FileNotFoundError):
        files.folder.rename(damaged)
    try:
        fresh.rename(files.folder)
    except OSError:
        # Where locks have no effect (some network file systems) another process can be first: its files serve.
        if not _is_whole(spec, files):
            raise
    finally:
        if damaged.is_dir():
            shutil.rmtree(damaged, ignore_errors=True)
        else:
            damaged.unlink(missing_ok=True)


def _write_manifest(spec: ScenesSpec, files: SceneFiles) -> None:
    """Record what lies in the folder; call it once everything else is written."""
    content = _expected(spec) | {"pillow": PIL.__version__, "sha256": _fingerprint(files)}
    (files.folder / _MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _is_whole(spec: ScenesSpec, files: SceneFiles) -> bool:
    """Whether the folder holds exactly what was written for `spec`.

    Reads the captions and annotations, but of the pictures only their names and sizes: that finds missing and
    cut-off files in milliseconds, and would not find a picture changed into another of the same length.
    """
    try:
        content = json.loads((files.folder / _MANIFEST).read_bytes())
        if not isinstance(content, dict) or not _expected(spec).items() <= content.items():
            return False
        return bool(content.get("sha256") == _fingerprint(files))
    except (OSError, ValueError, TypeError):
        return False


def _expected(spec: ScenesSpec) -> dict[str, Any]:
    return asdict(spec) | {
        "generator": GENERATOR_VERSION,
        "class_images": spec.images_per_class,
        "captions": spec.caption_rows,
    }


def _fingerprint(files: SceneFiles) -> str:
    """Hash of every picture's name and size, and of every other file's content."""
    digest = hashlib.sha256()
    for folder in (files.images_dir, *(files.classes_dir / kind for kind in KINDS)):
        with os.scandir(folder) as entries:
            sizes = sorted((entry.name, entry.stat().st_size) for entry in entries)
        digest.update(repr((folder.name, sizes)).encode())
    for path in (files.caption_file, files.annotations, files.train_annotations, files.val_annotations):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
