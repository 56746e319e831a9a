"""The specification of a set of scenes, and the paths of its files."""

from dataclasses import dataclass
from pathlib import Path

# Increased whenever the same spec would give other files, so that no cache mixes two generators.
GENERATOR_VERSION = 2

KINDS = ("circle", "cross", "square", "star", "triangle")


@dataclass(frozen=True)
class ScenesSpec:
    """A set of scenes to draw, within the bounds of `ScenesSettings`. The same spec gives the same files; more `images`
    only adds to them.

    `size_px` is the side of every (square) picture. Image `i` belongs to the validation annotations where `i % 5 == 1`.
    `simple` scenes hold one large upright shape each, on plain ground.
    """

    images: int = 1000
    size_px: int = 96
    seed: int = 0
    captions_per_image: int = 5
    simple: bool = False

    @property
    def images_per_class(self) -> int:
        """Single-object pictures in each class folder; the five folders hold as many together as the scenes do."""
        return max(2, self.images // len(KINDS))

    @property
    def caption_rows(self) -> int:
        """Rows of `captions.csv` below its header."""
        return self.images * self.captions_per_image

    @property
    def key(self) -> str:
        """A folder name of its own for each spec and each version of the generator."""
        return (
            f"scenes-v{GENERATOR_VERSION}-{self.images}x{self.size_px}px-seed{self.seed}"
            f"-{self.captions_per_image}captions-{self.images_per_class}perclass{'-simple' if self.simple else ''}"
        )


@dataclass(frozen=True)
class SceneFiles:
    """Paths of one generated set of scenes."""

    folder: Path
    images_dir: Path
    caption_file: Path
    annotations: Path
    train_annotations: Path
    val_annotations: Path
    classes_dir: Path


def files_in(folder: Path) -> SceneFiles:
    """The layout of a set of scenes that lies, or will lie, in `folder`."""
    return SceneFiles(
        folder=folder,
        images_dir=folder / "images",
        caption_file=folder / "captions.csv",
        annotations=folder / "annotations.json",
        train_annotations=folder / "instances_train.json",
        val_annotations=folder / "instances_val.json",
        classes_dir=folder / "classes",
    )


def is_validation(index: int) -> bool:
    """Whether scene `index` belongs to the validation annotations; does not depend on their number."""
    return index % 5 == 1
