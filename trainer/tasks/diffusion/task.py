"""The training half of diffusion: rows, model, denoising loss, generated images."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from trainer.data.caption_counts import as_read, caption_census
from trainer.data.captions import CaptionTable
from trainer.data.predicted import rows_of_prompts
from trainer.data.splits import Indices, select
from trainer.data.vocabulary import PAD, Vocabulary, vocabulary_for
from trainer.learning.criterion import CRITERIA, with_reduction
from trainer.learning.randomness import normals, uniforms
from trainer.store.arrays import OnProgress
from trainer.store.image_cache import Images
from trainer.task.batches import Batch, part_sizes, parted, to_device, whole_weight
from trainer.task.data_identity import identity_of
from trainer.task.defaults import TaskDefaults
from trainer.task.pictures import Census, DataPicture, pixels_of
from trainer.task.protocols import Rows, Scores
from trainer.tasks.diffusion.config import DiffusionConfig
from trainer.tasks.diffusion.files import open_images, prompt_in, read_table
from trainer.tasks.diffusion.frechet import Frechet
from trainer.tasks.diffusion.frozen_parts import FrozenParts
from trainer.tasks.diffusion.latents import KeptTexts, with_latents, with_texts
from trainer.tasks.diffusion.model import Denoiser
from trainer.tasks.diffusion.process import NoiseProcess, guided
from trainer.tasks.diffusion.rows import Plain, Shown, Texts, TrainRows, ValRows, Words, noise_keys
from trainer.tasks.diffusion.text import BUILTIN_LENGTH, LearnedText, Text, text_of

SAMPLE_STREAM, FRECHET_STREAM = (1 << 41) + 1, (1 << 41) + 2  # differ from every epoch and from validation


class DiffusionTask(TaskDefaults):
    """`Task` of diffusion; without data its vocabulary and built-in autoencoder come from a checkpoint's `extras`."""

    def __init__(self, config: DiffusionConfig, extras: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.process = NoiseProcess(config.diffusion)
        self.frozen = FrozenParts(config, extras)
        words = extras["vocabulary"] if extras else None
        self.vocabulary = Vocabulary(dict(words["word_to_idx"]), words["freq_threshold"]) if words else None
        self.side_px = config.data.image_size  # of generated images
        self.kept_texts: KeptTexts | None = None
        self.frechet: Frechet | None = None

    def open_rows(
        self, everything: bool = False, image_size: int | None = None, progress: OnProgress | None = None
    ) -> Rows:
        return self._opened(everything, image_size, progress)

    def rows_to_show(self, progress: OnProgress | None = None) -> Rows:
        """Without an autoencoder that would first be trained on the images."""
        return self._opened(progress=progress, frozen=False)

    def _opened(
        self,
        everything: bool = False,
        image_size: int | None = None,
        progress: OnProgress | None = None,
        frozen: bool = True,
    ) -> Rows:
        config, data = self.config, self.config.data
        table = read_table(config)
        chosen = select(config, len(table.images), table.held_out)
        if config.text_encoder.type == "builtin" and self.vocabulary is None:
            captions = [caption for image in chosen.train_split for caption in table.captions[image]]
            self.vocabulary = vocabulary_for(captions, data.freq_threshold, data.vocab_path)
        shown_images = np.arange(len(table.images)) if everything else chosen.val
        used = shown_images if everything else chosen.used
        self.side_px = image_size or data.image_size
        images = open_images(config, table, used, self.side_px, progress)
        note = ""
        if frozen:
            trained_on = [table.images[n] for n in chosen.train_split.tolist()]
            note = self.frozen.trained_on(trained_on, progress, images.rendering)
            self._open_frechet(images, shown_images, table)
        levels, plain = config.diffusion.num_train_timesteps, config.training.overfit
        shown, texts = Shown(images), self._texts()
        return Rows(
            TrainRows(chosen.train, shown, table.captions, texts, levels, seed=config.seed,
                      dropout=config.diffusion.caption_dropout, plain=plain),
            ValRows(shown_images, shown, table.captions, texts, levels, ranges=config.evaluation.noise_levels),
            images.cached,
            (images.note, note),
            images.rendering.value_range,
            identity=partial(identity_of, table.fingerprint, table.images, lambda: table.captions,
                             chosen.train_split, chosen.val, ("data.vocab_path",)),
        )  # fmt: skip

    def precompute(self, model: nn.Module, rows: Rows, progress: OnProgress | None = None) -> Rows:
        limit_gb = self.config.data.cache_gb
        if limit_gb <= 0.0:
            return rows
        device = _device_of(model)
        rows = with_latents(self.frozen.autoencoder, rows, device, limit_gb, progress)  # with notes of its own only
        if self.config.text_encoder.type == "pretrained":
            prompts = self.config.evaluation.prompts or ()
            rows, self.kept_texts = with_texts(self.frozen.text, rows, prompts, device, limit_gb, progress)
            if self.kept_texts is not None:
                self.frozen.text().release()
        return rows

    def build_model(self, weights: bool) -> nn.Module:
        config = self.config
        side = config.data.image_size // config.vae.factor
        if config.text_encoder.type == "pretrained":
            return Denoiser(config.model, side, self.frozen.text().width, None)
        words = self._words()
        learned = LearnedText(len(words), words.word_to_idx[PAD], config.text_encoder, config.model.dropout)
        return Denoiser(config.model, side, config.text_encoder.width, learned)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        loss = self._errors(
            model, self._latents(batch), self._text(model, batch), batch["levels"], batch["noise"]
        ).sum()
        return with_reduction(loss, whole_weight(batch), self.config.criterion.reduction)

    def split(self, batch: Batch, largest: int) -> Sequence[Batch]:
        return parted(batch, part_sizes(batch["weight"], largest))

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Scores:
        """The denoising loss, a mean over ranges of noise levels; images generated for the samples."""
        total, weight = torch.zeros((), dtype=torch.float64), 0
        few = self.config.evaluation.samples
        files: list[str] = []
        references: list[str] = []
        for batch in batches:
            latents, text = self._latents(batch), self._text(model, batch)
            for levels, noise in zip(batch["levels"].unbind(1), batch["noise"].unbind(1), strict=True):
                total += self._errors(model, latents, text, levels, noise).double().sum().cpu()
            weight += batch["weight"]
            if len(files) < few:
                files, references = [*files, *batch["files"]][:few], [*references, *batch["references"]][:few]
        metrics = {"val_loss": float(total / weight / self.config.evaluation.noise_levels)}
        if self.frechet is not None:
            metrics[self.frechet.name] = self.frechet.distance(
                lambda captions, numbers: self._generated(model, captions, _fixed_keys(FRECHET_STREAM, numbers)),
                self.config.training.val_batch_size or self.config.training.batch_size,
                _device_of(model),
            )
        return Scores(metrics, self._samples(model, files, references))

    def predict(self, model: nn.Module, folder: Path, device: Any) -> Iterable[Mapping[str, str | bytes]]:
        """An image for each text file of a folder; the same text always gives the same image."""

        def made(names: Sequence[str], texts: Sequence[str]) -> list[list[dict[str, str | bytes]]]:
            digests = [hashlib.sha256(text.encode()).digest()[:6] for text in texts]
            images = self._generated(model, texts, torch.tensor([int.from_bytes(digest) for digest in digests]))
            return [
                [{"prompt": name, "text": text, "generated": as_png(image)}]
                for name, text, image in zip(names, texts, images, strict=True)
            ]

        return rows_of_prompts(folder, self.config, lambda name: prompt_in(folder / name), made)

    def pictures(self, batch: Batch) -> Sequence[DataPicture]:
        """Images with their caption, in the words of the vocabulary where there is one."""
        if "words" in batch:
            texts = [as_read(caption, self._words()) for caption in batch["words"].tolist()]
        else:
            texts = batch["captions"]
        files = batch.get("files", [""] * len(texts))
        each = zip(pixels_of(batch["images"]), texts, files, strict=True)
        return [DataPicture(image, [text, *([Path(file).name] if file else [])]) for image, text, file in each]

    def census(self) -> Census:
        table = read_table(self.config)
        return caption_census(table, select(self.config, len(table.images), table.held_out), self.vocabulary)

    def extras(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary and dict(self.vocabulary.plain()), **self.frozen.extras()}

    def _words(self) -> Vocabulary:
        assert self.vocabulary is not None, "rows are opened, or extras given, before anything else"
        return self.vocabulary

    def _texts(self) -> Texts:
        if self.config.text_encoder.type == "pretrained":
            return Plain()
        return Words(self._words(), self.config.text_encoder.max_length or BUILTIN_LENGTH)

    def _latents(self, batch: Batch) -> Tensor:
        kept = batch["latents"] if "latents" in batch else self.frozen.autoencoder().encode(batch["images"])
        latents: Tensor = kept.float()
        return latents

    def _text(self, model: nn.Module, batch: Batch) -> Text:
        """The text of a batch that the model attends to."""
        if "words" in batch:
            learned: Text = model.text(batch["words"])  # type: ignore[operator]
            return learned
        device = _device_of(model)
        vectors = batch["vectors"] if "vectors" in batch else self.frozen.text().encode(batch["captions"], device)
        return text_of(vectors.to(device))

    def _text_of(self, model: nn.Module, captions: Sequence[str]) -> Text:
        """The text of captions that need not be in the data."""
        kept = self.kept_texts
        texts = kept if kept is not None and kept.has(captions) else self._texts()
        return self._text(model, to_device(texts.batch(captions), _device_of(model)))

    def _errors(self, model: nn.Module, latents: Tensor, text: Text, levels: Tensor, noise: Tensor) -> Tensor:
        """The criterion of each image, a mean over its latents: [batch]."""
        drawn = normals(noise, latents[0].numel()).view_as(latents)
        noised, target = self.process.noised(latents, drawn, levels)
        predicted = model(noised, levels, text)
        errors = CRITERIA[self.config.criterion.type](predicted.float(), target, reduction="none")
        return errors.flatten(1).mean(dim=1)

    @torch.no_grad()
    def _generated(self, model: nn.Module, captions: Sequence[str], keys: Tensor) -> Tensor:
        """Images of captions from the noise of these keys: uint8 [captions, side, side, 3] on the CPU."""
        evaluation, channels = self.config.evaluation, self.config.model.in_channels
        side = self.side_px // self.config.vae.factor
        device, scale = _device_of(model), evaluation.guidance_scale
        noise = normals(keys.to(device), channels * side * side).view(-1, channels, side, side)
        if scale == 1.0:
            text = self._text_of(model, captions)
            latents = self.process.sampled(lambda x, level: model(x, level, text), noise, evaluation.sampling_steps)
        else:
            both = self._text_of(model, [*captions, *[""] * len(captions)])
            predict = guided(lambda x, level: model(x, level, both), scale)
            latents = self.process.sampled(predict, noise, evaluation.sampling_steps)
        return self.frozen.autoencoder().decode(latents).cpu()

    def _samples(self, model: nn.Module, files: Sequence[str], references: Sequence[str]) -> list[dict[str, Any]]:
        """The fixed grid: the validation captions beside their images, or the prompts of the configuration."""
        few, asked = self.config.evaluation.samples, self.config.evaluation.prompts
        captions = list(asked[:few]) if asked is not None else list(references)
        if not captions or not few:
            return []
        keys = _fixed_keys(SAMPLE_STREAM, np.arange(len(captions)))
        pictures = [as_png(image) for image in self._generated(model, captions, keys)]
        beside = [{} for _ in captions] if asked is not None else [{"image": file} for file in files]
        return [
            {**image, "references": [caption], "predictions": [], "generated": picture}
            for image, caption, picture in zip(beside, captions, pictures, strict=True)
        ]

    def _open_frechet(self, images: Images, numbers: Indices, table: CaptionTable) -> None:
        metrics = self.config.metrics
        if metrics.frechet_backbone is not None:
            few = numbers[: metrics.frechet_images]
            captions = [table.captions[number][0] for number in few.tolist()]
            self.frechet = Frechet(metrics.frechet_backbone, metrics.frechet_weights, images, few, captions)


def _fixed_keys(stream: int, numbers: Indices) -> Tensor:
    """Keys of noise that never change."""
    return noise_keys(uniforms(0, stream, numbers, 1)[:, 0])


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def as_png(pixels: Tensor) -> bytes:
    """An image, uint8 [height, width, 3], as a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG", optimize=True)
    return file.getvalue()
