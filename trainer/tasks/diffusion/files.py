"""Image-text data as files: the built-in scenes, a data set by name, or prompts. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from trainer.checkpoints.weight_files import require_model, require_weights
from trainer.config.registry import load
from trainer.data import builtin_scenes
from trainer.data.captions import CaptionTable, read_captions
from trainer.data.image_contents import image_warnings, rendering_of
from trainer.data.image_folders import left_out
from trainer.data.scenes.spec import ScenesSpec
from trainer.data.splits import Selection, asked_too_much, select
from trainer.data.vocabulary import coverage
from trainer.errors import DataError
from trainer.store.arrays import OnProgress
from trainer.store.image_cache import Images, shared_images
from trainer.store.text import read_text
from trainer.task.library_checks import Check, run_checks, section
from trainer.task.protocols import LOSS, DataSummary, Metric
from trainer.tasks.diffusion.config import DiffusionConfig
from trainer.tasks.diffusion.sources import read_source, source_words

_LEAST_SIGNAL = 1e-12  # an error of the prediction is multiplied by one over its root, and float32 has seven digits
_FEWEST_IMAGES = 2  # to which a Gaussian can be fitted


def scenes_spec(config: DiffusionConfig) -> ScenesSpec | None:
    """The specification of the built-in data, where no files are named."""
    return builtin_scenes.scenes_spec(config.data.scenes, config.data.named_files)


def read_table(config: DiffusionConfig, progress: OnProgress | None = None) -> CaptionTable:
    """The usable images with their captions; `DataError` names what is wrong. Draws built-in scenes if necessary."""
    spec = scenes_spec(config)
    if spec is None:
        return read_source(config.data)
    files = builtin_scenes.drawn_files(spec, progress)
    return read_captions(files.images_dir, files.caption_file, config.data.bad_samples)


def open_images(
    config: DiffusionConfig, table: CaptionTable, used: Iterable[int], side: int, progress: OnProgress | None = None
) -> Images:
    """The images of a run, resized to squares of `side` pixels."""
    rendering = rendering_of(config.data, table.images)
    return shared_images(table.images, used, side, config.data.cache_gb, progress, rendering=rendering)


def prompt_in(path: Path) -> str:
    """The text of a prompt's file on one line; `DataError` where it holds no readable words."""
    try:
        words = read_text(path).split()
    except DataError:
        words = []
    if not words:
        raise DataError(f"{path}: no readable words in it (UTF-8 text)")
    return " ".join(words)


class DiffusionFiles:
    """`TaskFiles` of diffusion."""

    # The value of a trial is its loss; hundreds of generated images would cost more than the training.
    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]] = {
        "metrics.frechet_backbone": None,
        "metrics.frechet_weights": None,
    }

    @staticmethod
    def metric(_config: DiffusionConfig) -> Metric:
        """The denoising loss on validation images, at noise and noise levels that never change."""
        return LOSS

    @staticmethod
    def check(config: DiffusionConfig) -> DataSummary:
        _require_parts(config)
        spec, data = scenes_spec(config), config.data
        captions_of: Callable[[int], Sequence[str]]
        if spec is not None:  # known before they are drawn
            skipped, stamp, chosen = 0, spec.key, select(config, spec.images)
            captions_of = partial(builtin_scenes.scene_captions, spec)
            description = builtin_scenes.scenes_words(spec, "data.dataset_path")
            seen: list[str] = []
        else:
            table = read_table(config)
            skipped, stamp, captions_of = table.skipped, table.fingerprint, table.captions.__getitem__
            chosen = select(config, len(table.images), table.held_out)
            description = f"{table.words} from {source_words(data)} as {table.form}"
            seen = image_warnings(data, table.images)
        warnings = [*_warnings(config, chosen, skipped), *seen]
        if config.text_encoder.type == "builtin":
            state = f"{stamp} {data.bad_samples}" if spec is None else ""
            words = coverage(state, chosen.train_split, captions_of, data.freq_threshold, data.vocab_path)
            description, warnings = f"{description}; {words.words}", [*warnings, *words.warnings]
        if config.metrics.frechet_backbone and len(chosen.val) < _FEWEST_IMAGES:
            what = f"metrics.frechet_backbone needs {_FEWEST_IMAGES} validation images, and there is {len(chosen.val)}"
            raise DataError(f"{what}: raise data.val_split or data.val_subset_size, or leave it out")
        return chosen.summary(description, stamp, skipped, warnings)

    @staticmethod
    def try_out(config: DiffusionConfig) -> None:
        """`ConfigError` for published parts that cannot be loaded or do not fit; reads their descriptions."""
        checks: list[Check] = []
        if config.vae.type == "pretrained":
            require: Callable[..., None] = load("trainer.tasks.diffusion.autoencoder:require_autoencoder")
            channels = config.model.in_channels
            checks.append((["vae", section(config.vae), channels], partial(require, config.vae, channels)))
        if config.text_encoder.type == "pretrained":
            length = load("trainer.tasks.diffusion.text:text_length")
            checks.append((["text", section(config.text_encoder)], partial(length, config.text_encoder)))
        run_checks(checks)

    @staticmethod
    def prepare(config: DiffusionConfig, progress: OnProgress) -> None:
        table = read_table(config, progress)
        open_images(
            config, table, select(config, len(table.images), table.held_out).used, config.data.image_size, progress
        )


def _require_parts(config: DiffusionConfig) -> None:
    """`DataError` with every published part and file of weights that is missing."""
    checks: list[Callable[[], None]] = [
        partial(require_weights, "metrics.frechet_weights", config.metrics.frechet_weights)
    ]
    for place, part in (("vae", config.vae), ("text_encoder", config.text_encoder)):
        if part.type == "pretrained":
            # In a repository of several models, each part has the folder of its name.
            key = f"{place}.pretrained_model_name"
            checks.append(partial(require_model, key, part.pretrained_model_name, part.subfolder, place))
    wrong = []
    for check in checks:
        try:
            check()
        except DataError as error:
            wrong.append(str(error))
    if wrong:
        raise DataError("; ".join(wrong))


def _warnings(config: DiffusionConfig, chosen: Selection, skipped: int) -> tuple[str, ...]:
    warnings = [*left_out(skipped, "file", "entry"), *asked_too_much(config, chosen)]
    noise = config.diffusion
    if noise.prediction_type == "epsilon" and noise.least_signal < _LEAST_SIGNAL:
        what = f"the last of {noise.num_train_timesteps} levels of noise holds {noise.least_signal:.1g} of the signal"
        advice = "lower diffusion.beta_end or num_train_timesteps, or take diffusion.prediction_type=v_prediction"
        warnings.append(f"{what}: no image can be sampled from there by predicting epsilon; {advice}")
    prompts, samples = config.evaluation.prompts or (), config.evaluation.samples
    if samples and len(prompts) > samples:
        warnings.append(f"evaluation.samples={samples} shows the first of {len(prompts)} evaluation.prompts only")
    if config.training.optimizer.encoder_lr is not None:
        warnings.append("training.optimizer.encoder_lr has no effect: nothing that is trained here is pretrained")
    frechet = config.metrics
    if frechet.frechet_backbone and frechet.frechet_images > len(chosen.val):
        what = f"metrics.frechet_images={frechet.frechet_images} is more than the {len(chosen.val)} validation images"
        warnings.append(f"{what}: all are used")
    return tuple(warnings)
