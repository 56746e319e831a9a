"""Image-text data as files: the built-in scenes, or a data set by name. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from trainer import builtin
from trainer.arraystore import OnProgress
from trainer.cache import Images, shared_images
from trainer.captionfiles import CaptionTable, read_captions
from trainer.errors import DataError
from trainer.scenes import ScenesSpec
from trainer.splits import Selection, asked_too_much, select
from trainer.task import LOSS, DataSummary, Metric
from trainer.tasks.diffusion.config import DiffusionConfig
from trainer.tasks.diffusion.sources import read_source, source_words
from trainer.weightfiles import require_model, require_weights


def scenes_spec(config: DiffusionConfig) -> ScenesSpec | None:
    """The built-in data, where no files are named."""
    return builtin.scenes_spec(config.data.scenes, config.data.named_files)


def read_table(config: DiffusionConfig) -> CaptionTable:
    """The usable images with their captions; `DataError` names what is wrong."""
    spec = scenes_spec(config)
    if spec is None:
        return read_source(config.data)
    files = builtin.drawn_files(spec)
    return read_captions(files.images_dir, files.caption_file, config.data.bad_samples)


def open_images(
    config: DiffusionConfig, table: CaptionTable, used: Iterable[int], side: int, progress: OnProgress | None = None
) -> Images:
    """The images of a run, squeezed to squares of `side` pixels."""
    return shared_images(table.images, used, side, config.data.cache_gb, progress)


class DiffusionFiles:
    """`TaskFiles` of diffusion."""

    # The value of a trial is its loss; hundreds of generated images would cost more than the training.
    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]] = {
        "metrics.frechet_backbone": None,
        "metrics.frechet_weights": None,
    }

    # What is predicted, of which noise, in which latents, and at which levels it is judged.
    LOSS_KEYS: ClassVar[Sequence[str]] = (
        "criterion.type", "diffusion.prediction_type", "diffusion.num_train_timesteps", "diffusion.beta_schedule",
        "diffusion.beta_start", "diffusion.beta_end", "vae.", "model.in_channels", "data.image_size",
        "evaluation.noise_levels",
    )  # fmt: skip
    DATA_KEYS: ClassVar[Sequence[str]] = (
        "data.scenes.", "data.bad_samples", "data.dataset_name",
        "vae.type", "vae.pretrained_model_name", "vae.subfolder",
        "text_encoder.type", "text_encoder.pretrained_model_name", "text_encoder.subfolder",
    )  # fmt: skip

    @staticmethod
    def metric(_config: DiffusionConfig) -> Metric:
        """The denoising loss on validation images, at noise and noise levels that never change."""
        return LOSS

    @staticmethod
    def check(config: DiffusionConfig) -> DataSummary:
        _require_parts(config)
        spec = scenes_spec(config)
        if spec is not None:  # known without drawing them
            images, skipped, stamp = spec.images, 0, spec.key
            words = builtin.scenes_words(spec, "data.dataset_path")
        else:
            table = read_table(config)
            images, skipped, stamp = len(table.images), table.skipped, table.fingerprint
            captions = sum(len(texts) for texts in table.captions)
            words = f"{images} images, {captions} captions from {source_words(config.data)}"
        chosen = select(config, images)
        return chosen.summary(words, stamp, skipped, _warnings(config, chosen, skipped))

    @staticmethod
    def prepare(config: DiffusionConfig, progress: OnProgress) -> None:
        def open_all() -> None:
            table = read_table(config)
            open_images(config, table, select(config, len(table.images)).used, config.data.image_size, progress)

        builtin.prepare(scenes_spec(config), open_all, progress)


def _require_parts(config: DiffusionConfig) -> None:
    """`DataError` with every published part, and file of weights, that is not where it is said to be."""
    checks: list[Callable[[], None]] = [
        partial(require_weights, "metrics.frechet_weights", config.metrics.frechet_weights)
    ]
    for section, part in (("vae", config.vae), ("text_encoder", config.text_encoder)):
        if part.type == "pretrained":
            # In a repository of several models, each part has the folder of its name.
            key = f"{section}.pretrained_model_name"
            checks.append(partial(require_model, key, part.pretrained_model_name, part.subfolder, section))
    wrong = []
    for check in checks:
        try:
            check()
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("; ".join(wrong))


def _warnings(config: DiffusionConfig, chosen: Selection, skipped: int) -> tuple[str, ...]:
    said = []
    if skipped:
        said.append(f"{skipped} unusable {'file or entry' if skipped == 1 else 'files or entries'} left out "
                    "(data.bad_samples=skip)")  # fmt: skip
    said += asked_too_much(config, chosen)
    if config.training.optimizer.encoder_lr is not None:
        said.append("training.optimizer.encoder_lr has no effect: nothing that is trained here is pretrained")
    frechet = config.metrics
    if frechet.frechet_backbone and frechet.frechet_images > len(chosen.val):
        what = f"metrics.frechet_images={frechet.frechet_images} is more than the {len(chosen.val)} validation images"
        said.append(f"{what}: all are used")
    return tuple(said)
