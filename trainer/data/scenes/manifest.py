"""The manifest of a set of scenes, written last: a set without it, or unlike it, is not whole."""

import hashlib
import json
import os
from dataclasses import asdict
from typing import Any

import PIL

from trainer.data.scenes.spec import GENERATOR_VERSION, KINDS, SceneFiles, ScenesSpec

NAME = "manifest.json"


def write_manifest(spec: ScenesSpec, files: SceneFiles) -> None:
    """Record what lies in the folder; call it once everything else is written."""
    content = _expected(spec) | {"pillow": PIL.__version__, "sha256": _fingerprint(files)}
    (files.folder / NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def is_whole(spec: ScenesSpec, files: SceneFiles) -> bool:
    """Whether the folder holds exactly what was written for `spec`.

    Reads the captions and annotations, but of the pictures only their names and sizes: that finds missing and
    cut-off files in milliseconds, and would not find a picture changed into another of the same length.
    """
    try:
        content = json.loads((files.folder / NAME).read_bytes())
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
