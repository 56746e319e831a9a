"""What images hold: the range of deep ones, what is transparent, pictures of a single colour. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from PIL import ImageColor

from trainer.config.data_settings import DataSettings
from trainer.data.image_folders import headers, state_of
from trainer.errors import DataError
from trainer.store.cache_folder import remembered
from trainer.store.image_cache import on_all_cores
from trainer.store.image_files import TRANSFORM, Rendering, decode, extremes

_LOOKED_AT = 100  # images; more would make the first check of large photographs slow
_LOOK_PX = 16
_MANY = 0.1  # of the images that were looked at


def rendering_of(data: DataSettings, images: Sequence[Path] = ()) -> Rendering:
    """How a run renders its images.

    Without `data.value_range`, grey images of more than eight bits share one range, that of all of them: `DataError`
    names those that hold NaN. `images` are all of the data, whichever of them a run uses.
    """
    value_range = data.value_range or (_found_range(images) if images else None)
    red, green, blue = ImageColor.getrgb(data.background_colour)[:3]
    return Rendering((red, green, blue), value_range)


def _found_range(images: Sequence[Path]) -> tuple[float, float] | None:
    deep = [path for path, header in zip(images, headers(images), strict=True) if header.deep]
    if not deep:
        return None
    low, high = remembered("ranges", state_of(deep), lambda: _range_of(deep))
    return float(low), float(high)


def _range_of(deep: Sequence[Path]) -> tuple[float, float]:
    found = on_all_cores(_extremes, deep)
    if wrong := [each for each in found if isinstance(each, str)]:
        raise DataError("\n".join(wrong[:5]) + (f"\nand {len(wrong) - 5} more" if len(wrong) > 5 else ""))
    lows, highs = zip(*found, strict=True)
    return min(lows), max(highs)


def _extremes(path: Path) -> tuple[float, float] | str:
    try:
        return extremes(path)
    except DataError as error:
        return str(error)


def image_warnings(data: DataSettings, images: Sequence[Path]) -> list[str]:
    """A warning where many images are of a single colour, as drawings on a ground of their own colour are.

    Of a large data set some images are looked at, evenly over the list, once for each state of the data.
    """
    rendering = rendering_of(data, images)
    few = [images[n] for n in np.linspace(0, len(images) - 1, min(len(images), _LOOKED_AT)).round().astype(int)]
    key = state_of(few, TRANSFORM, rendering.ground, rendering.value_range)

    def single(path: Path) -> bool:
        try:
            pixels = decode(path, _LOOK_PX, 3, rendering)
        except DataError:  # it is reported where it is used
            return False
        return bool((pixels == pixels[0, 0]).all())

    plain = [str(path) for path in compress(few, remembered("plain", key, lambda: on_all_cores(single, few)))]
    if len(plain) <= _MANY * len(few):
        return []
    looked = f"{len(few)} images" if len(few) == len(images) else f"{len(few)} images looked at ({len(images)} in all)"
    advice = "nothing can be told from them; if they are transparent, another data.background_colour may show more"
    return [f"{len(plain)} of {looked} are of a single colour, such as {', '.join(plain[:3])}: {advice}"]
