"""The training half of captioning: rows, model, loss, BLEU, predictions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.data.caption_counts import as_read, caption_census
from trainer.data.image_contents import rendering_of
from trainer.data.predicted import rows_of_images
from trainer.data.tensors import normalise
from trainer.data.vocabulary import PAD, Vocabulary, vocabulary_for
from trainer.learning.criterion import summed_loss, with_reduction
from trainer.store.arrays import OnProgress
from trainer.store.image_files import Pixels, decode
from trainer.task.batches import Batch, part_sizes, whole_weight
from trainer.task.data_identity import identity_of
from trainer.task.defaults import TaskDefaults
from trainer.task.pictures import Census, DataPicture, pixels_of
from trainer.task.protocols import Parts, Rows, Scores
from trainer.tasks.captioning.bleu import corpus_bleu
from trainer.tasks.captioning.config import CaptioningConfig
from trainer.tasks.captioning.decode import beam_search
from trainer.tasks.captioning.features import with_features
from trainer.tasks.captioning.files import bleu_tokens, open_images, read_table, require_bleu, resize_px, split_of
from trainer.tasks.captioning.model import Captioner
from trainer.tasks.captioning.rows import Crops, Seen, TrainRows, ValRows, parted


class CaptioningTask(TaskDefaults):
    """`Task` of captioning; without data its vocabulary comes from a checkpoint's `extras`."""

    def __init__(self, config: CaptioningConfig, extras: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.vocabulary = Vocabulary(dict(extras["word_to_idx"]), extras["freq_threshold"]) if extras else None
        self.scored_by_bleu = config.metrics.bleu
        self.bleu_tokenizer: str | None = None  # of sacrebleu

    def open_rows(
        self, everything: bool = False, image_size: int | None = None, progress: OnProgress | None = None
    ) -> Rows:
        table = read_table(self.config)
        require_bleu(self.config)
        self.bleu_tokenizer = bleu_tokens(self.config, table)
        chosen = split_of(self.config, table)
        data = self.config.data
        if self.vocabulary is None:
            texts = [caption for image in chosen.train_split for caption in table.captions[image]]
            self.vocabulary = vocabulary_for(texts, data.freq_threshold, data.vocab_path)
        encode = self.vocabulary.encode
        pad = self.vocabulary.word_to_idx[PAD]
        side = image_size or data.image_size
        shown = np.arange(len(table.images)) if everything else chosen.val
        images = open_images(self.config, table, shown if everything else chosen.used, side, progress)
        train = [(int(i), encode(caption)) for i in chosen.train for caption in table.captions[i]]
        val = [(int(i), [encode(c) for c in table.captions[i]], table.captions[i]) for i in shown]
        cropped = Seen(images, crops_of(self.config, side, images.size_px))
        centred = Seen(images, Crops(side, images.size_px, 1, None))
        return Rows(
            TrainRows(cropped, train, pad, self.config.seed),
            ValRows(centred, val, pad),
            images.cached,
            (images.note,),
            images.rendering.value_range,
            identity=partial(identity_of, table.fingerprint, table.images, lambda: table.captions,
                             chosen.train_split, chosen.val, ("data.vocab_path",)),
        )  # fmt: skip

    def precompute(self, model: nn.Module, rows: Rows, progress: OnProgress | None = None) -> Rows:
        assert isinstance(model, Captioner)
        data, frozen = self.config.data, not self.config.model.encoder_fine_tune
        if not frozen or not data.crops_per_image or data.cache_gb <= 0.0:
            return rows
        return with_features(model.encoder, rows, data.cache_gb, progress)

    def build_model(self, weights: bool) -> nn.Module:
        return Captioner(len(self._words()), self.config.model, weights)

    def parts(self, model: nn.Module) -> Parts:
        assert isinstance(model, Captioner)
        return Parts.of(model, pretrained=model.encoder.backbone.parameters())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        words = batch["words"]
        seen, known = seen_in(batch)
        loss = self._loss_of(model(seen, words, known), words)
        return with_reduction(loss, whole_weight(batch), self.config.criterion.reduction)

    def split(self, batch: Batch, largest: int) -> Sequence[Batch]:
        return parted(batch, part_sizes(len(seen_in(batch)[0]), largest), self._words().word_to_idx[PAD])

    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Scores:
        assert isinstance(model, Captioner)
        total, weight = torch.zeros((), dtype=torch.float64), 0
        hypotheses: list[str] = []
        references: list[list[str]] = []
        files: list[str] = []
        for batch in batches:
            image = model.image_vectors(*seen_in(batch))
            repeated = image.repeat_interleave(batch["captions_per_image"], dim=0)
            logits = model.logits(repeated, batch["words"])
            total += self._loss_of(logits, batch["words"]).double().cpu()
            weight += batch["weight"]
            if self.scored_by_bleu or len(hypotheses) < self.config.evaluation.samples:
                hypotheses += self._captions(model, image)
                references += batch["references"]
                files += batch["files"]
        metrics = {"val_loss": float(total / weight)}
        if self.scored_by_bleu:
            use = self.config.metrics.use_sacrebleu_if_available
            metrics["bleu"] = corpus_bleu(hypotheses, references, use, self.bleu_tokenizer)
        shown = zip(files, references, hypotheses, strict=True)
        samples = [{"image": f, "references": r, "predictions": [h]} for f, r, h in shown]
        return Scores(metrics, samples[: self.config.evaluation.samples])

    def predict(self, model: nn.Module, folder: Path, device: Any) -> Iterable[Mapping[str, str]]:
        assert isinstance(model, Captioner)
        crop, side = self.config.data.image_size, resize_px(self.config.data.image_size)
        start, rendering = (side - crop) // 2, rendering_of(self.config.data)

        def read(name: str) -> Pixels:
            return decode(folder / name, side, rendering=rendering)[start : start + crop, start : start + crop]

        def found(names: Sequence[str], crops: Sequence[Pixels]) -> list[list[dict[str, str]]]:
            image = model.image_vectors(normalise(torch.from_numpy(np.stack(crops)).to(device)))
            captions = self._captions(model, image)
            return [[{"image": name, "caption": caption}] for name, caption in zip(names, captions, strict=True)]

        return rows_of_images(folder, self.config, read, found)

    def pictures(self, batch: Batch) -> Sequence[DataPicture]:
        """Images with their captions in the words of the vocabulary."""
        numbers = batch["words"].tolist()
        counts = batch["captions_per_image"].tolist() if "captions_per_image" in batch else [1] * len(numbers)
        captions = iter([as_read(caption, self._words()) for caption in numbers])
        texts = [list(itertools.islice(captions, count)) for count in counts]
        for group, file in zip(texts, batch.get("files", ()), strict=False):
            group.append(Path(file).name)
        return [DataPicture(*each) for each in zip(pixels_of(batch["images"]), texts, strict=True)]

    def census(self) -> Census:
        table = read_table(self.config)
        return caption_census(table, split_of(self.config, table), self.vocabulary)

    def extras(self) -> dict[str, Any]:
        return dict(self._words().plain())

    def _words(self) -> Vocabulary:
        assert self.vocabulary is not None, "rows are opened, or extras given, before anything else"
        return self.vocabulary

    def _captions(self, model: Captioner, image: Tensor) -> list[str]:
        evaluation = self.config.evaluation
        hypotheses = beam_search(model.decoder, image, self._words(), evaluation.beam_size, evaluation.max_length)
        return [self._words().decode(numbers) for numbers in hypotheses]

    def _loss_of(self, logits: Tensor, words: Tensor) -> Tensor:
        criterion = self.config.criterion
        return summed_loss(
            criterion.type,
            logits.flatten(0, 1),
            words[:, 1:].flatten(),
            ignore_index=self._words().word_to_idx[PAD],
            label_smoothing=criterion.label_smoothing if logits.requires_grad else 0.0,
        )


def seen_in(batch: Batch) -> tuple[Tensor, bool]:
    """The model's input from a batch: images, or feature maps of its frozen encoder (True)."""
    if "features" in batch:
        return batch["features"].float(), True
    return normalise(batch["images"]), False


def crops_of(config: CaptioningConfig, crop_px: int, source_px: int) -> Crops:
    """How training images are cropped: in the centre, at random, or at one of a few places."""
    if config.training.overfit:
        return Crops(crop_px, source_px, 1, None)
    fixed = 0 if config.model.encoder_fine_tune else config.data.crops_per_image
    return Crops(crop_px, source_px, fixed, config.training.subset_seed)
