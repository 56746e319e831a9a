"""The built-in shapes scenes as tasks use them, where a configuration names no files. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable

from trainer.config.settings import ScenesSettings
from trainer.data.scenes.files import ensure_scenes
from trainer.data.scenes.spec import SceneFiles, ScenesSpec, files_in
from trainer.store.arrays import OnProgress
from trainer.store.cache_folder import cache_dir


def scenes_spec(scenes: ScenesSettings | None, named_files: bool) -> ScenesSpec | None:
    """The scenes that a configuration asks for; None where it names files of its own."""
    if named_files or scenes is None:
        return None
    return ScenesSpec(
        images=scenes.images,
        size_px=scenes.size,
        seed=scenes.seed,
        captions_per_image=scenes.captions_per_image,
        simple=scenes.simple,
    )


def drawn_files(spec: ScenesSpec) -> SceneFiles:
    """The paths of the scenes once they are drawn."""
    return files_in(cache_dir() / spec.key)


def draw_scenes(spec: ScenesSpec | None, progress: OnProgress | None = None) -> None:
    """Draws the scenes if they are missing; `DataError` where they cannot be written."""
    if spec is not None:
        ensure_scenes(spec, cache_dir(), progress)


def prepare(spec: ScenesSpec | None, open_all: Callable[[], object], progress: OnProgress | None = None) -> None:
    """Builds what is missing: the scenes, and with `open_all` the caches of what a run reads; `DataError` with
    all that cannot be read."""
    draw_scenes(spec, progress)
    open_all()


def scenes_words(spec: ScenesSpec, keys: str) -> str:
    """A description of the data, and of the keys that name other data."""
    return f"built-in shapes scenes ({spec.images} images of {spec.size_px} px); name {keys} to use your own"
