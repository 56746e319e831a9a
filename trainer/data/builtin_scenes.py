"""The built-in shapes scenes as tasks use them, where a configuration names no files. Imports no torch."""

from __future__ import annotations

from functools import lru_cache

from trainer.config.data_settings import ScenesSettings
from trainer.data.scenes.content import scene_at
from trainer.data.scenes.files import ensure_scenes
from trainer.data.scenes.grammar import captions_at
from trainer.data.scenes.spec import SceneFiles, ScenesSpec
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


def drawn_files(spec: ScenesSpec, progress: OnProgress | None = None) -> SceneFiles:
    """The files of the scenes, which are drawn if they are missing; `DataError` where they cannot be written."""
    return ensure_scenes(spec, cache_dir(), progress)


@lru_cache(maxsize=10_000)
def scene_captions(spec: ScenesSpec, index: int) -> list[str]:
    """The captions of a scene, known before it is drawn."""
    return captions_at(spec.seed, index, scene_at(spec.seed, index, spec.simple), spec.captions_per_image)


def scenes_words(spec: ScenesSpec, keys: str) -> str:
    """A description of the data, and of the keys that name other data."""
    return f"built-in shapes scenes ({spec.images} images of {spec.size_px} px); name {keys} to use your own"
