"""The settings of the data that every task shares, and the sizes that images may have."""

from __future__ import annotations

from typing import Annotated, Literal

from PIL import ImageColor
from pydantic import Field, field_validator

from trainer.config.section import AS_TUPLE, Section, setting

Pair = Annotated[tuple[float, float], AS_TUPLE]
SMALLEST_PX, LARGEST_PX = 16, 4096


def nearest_multiples(size_px: int, step: int) -> str:
    """The multiples of `step` on both sides of a size, where images may have them."""
    lower = size_px // step * step
    return " or ".join(str(side) for side in (lower, lower + step) if side >= SMALLEST_PX)


class ScenesSettings(Section):
    """The built-in shapes scenes, used where no files are named."""

    ROLES = frozenset({"data"})

    images: int = setting(1000, "how many scenes are drawn", ge=10)
    size: int = setting(96, "side of a scene in pixels", ge=32, le=1024)
    seed: int = setting(0, "the scenes are a function of it", ge=0)
    captions_per_image: int = setting(5, "how many captions each scene gets", ge=1, le=5)
    simple: bool = setting(False, "one large shape on plain ground in each scene, in place of up to three on textures")


class DataSettings(Section):
    """The data. A task whose check of them reads few of the keys has `ROLES` of its own, and names those keys."""

    ROLES = frozenset({"data", "use"})
    image_size: int = setting(
        224, "square side in pixels; the budget's resolution sets it", role="budget", ge=SMALLEST_PX, le=LARGEST_PX
    )
    num_workers: int = setting(
        4,
        "processes that load data, no more than a slot's share of the cores; 0 loads in the training process, "
        "as always on Windows and where all images come from the cache",
        role="resume",
        ge=0,
        le=256,
    )
    cache_gb: float = setting(
        8.0,
        "decoded images are kept on disk for all runs, up to so many GB; what needs more is decoded in every epoch, "
        "and 0 keeps none",
        role="resume",
        ge=0.0,
    )
    prefetch_factor: int = setting(4, "batches that each loading process prepares ahead", role="resume", ge=1, le=256)
    val_split: float = setting(0.2, "share of the images held out for validation", role="study", gt=0.0, lt=1.0)
    split_seed: int | None = setting(None, "seed of that split; null = `seed`", role="study", ge=0)
    data_fraction: float = setting(1.0, "share of all data that is used at all", role="study", gt=0.0, le=1.0)
    max_samples: int | None = setting(None, "only the first so many images, before the split", role="study", ge=2)
    val_subset_size: int | None = setting(None, "validate on so many images only", role="budget", ge=1)
    bad_samples: Literal["error", "skip"] = setting(
        "error", "an unusable image or row stops the run, or is skipped and counted", role="data"
    )
    background_colour: str = setting(
        "white",
        'the colour behind what is transparent in an image: a name of CSS, or "#rrggbb" in quotes',
        role="data",
    )
    value_range: Pair | None = setting(
        None,
        "[low, high] of grey images of more than 8 bits: the values that become black and white; null = the least and "
        "the greatest value in all of them, which checkpoints keep",
        role="data",
    )
    scenes: ScenesSettings | None = Field(
        None, description="built-in shapes scenes to train on where no files are named"
    )

    @field_validator("background_colour")
    @classmethod
    def _a_colour(cls, value: str) -> str:
        try:
            parts = ImageColor.getrgb(value)
        except ValueError:
            raise ValueError('no colour: a name of CSS such as white, or "#rrggbb" in quotes') from None
        if len(parts) != 3:
            raise ValueError("a ground has no opacity: #rrggbb, without two more digits")
        return value

    @field_validator("value_range")
    @classmethod
    def _low_below_high(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("the first must be less than the second")
        return value
