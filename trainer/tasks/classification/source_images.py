"""Decoded images of a classification run, and the backgrounds that they are pasted onto. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.data.image_contents import rendering_of
from trainer.data.image_folders import images_in
from trainer.errors import DataError
from trainer.store.arrays import OnProgress
from trainer.store.image_cache import Images, file_stamp, shared_images
from trainer.tasks.classification.config import ClassificationConfig


def background_files(config: ClassificationConfig) -> tuple[Path, ...]:
    """The backgrounds that training images are pasted onto; none where that is off."""
    data = config.data
    if not data.insert_background_p or data.backgrounds_dir is None or config.training.overfit:
        return ()
    if not data.backgrounds_dir.is_dir():
        raise DataError(f"{data.backgrounds_dir}: no such folder of pictures (data.backgrounds_dir)")
    return tuple(data.backgrounds_dir / name for name in images_in(data.backgrounds_dir, data.bad_samples))


def stamp_of(paths: Sequence[Path]) -> str:
    return hashlib.sha256(json.dumps([file_stamp(path) for path in paths]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SourceImages:
    """The images of a run, and the backgrounds that they are pasted onto, where there are any."""

    images: Images
    backgrounds: Images | None

    @property
    def cached(self) -> bool:
        return self.images.cached and (self.backgrounds is None or self.backgrounds.cached)

    @property
    def notes(self) -> tuple[str, ...]:
        return (self.images.note, *((self.backgrounds.note,) if self.backgrounds is not None else ()))


def source_px(config: ClassificationConfig, side: int) -> int:
    """Side at which images are kept for training at `side`."""
    return round(side * config.data.source_scale)


def opacity_channels(config: ClassificationConfig) -> int:
    """The number of channels in decoded images: with opacity where they are pasted."""
    channels = config.model.in_channels
    return channels + 1 if background_files(config) and channels in (1, 3) else channels


def open_source_images(
    config: ClassificationConfig,
    paths: Sequence[Path],
    used: Iterable[int],
    side: int,
    progress: OnProgress | None = None,
) -> SourceImages:
    """The images of a run at `side` pixels, larger by `source_scale`."""
    backgrounds, limit, px = background_files(config), config.data.cache_gb, source_px(config, side)
    rendering = rendering_of(config.data, paths)
    images = shared_images(paths, used, px, limit, progress, opacity_channels(config), rendering)
    if not backgrounds:
        return SourceImages(images, None)
    colours = 1 if config.model.in_channels < 3 else 3
    behind = shared_images(backgrounds, range(len(backgrounds)), px, limit, progress, colours, rendering)
    return SourceImages(images, behind)
