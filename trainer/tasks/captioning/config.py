"""The configuration of a captioning run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from trainer.config.data_settings import DataSettings
from trainer.config.section import AbsolutePath, Section, setting
from trainer.config.settings import CriterionSettings, RunConfig
from trainer.data.datasets_folder import recognised


class CaptioningData(DataSettings):
    ROLES = frozenset({"use"})
    images_dir: AbsolutePath | None = setting(
        None, "folder of images; or, without caption_file, of the datasets library, with both in it"
    )
    caption_file: AbsolutePath | None = setting(
        None,
        "the captions: a CSV (image,caption or such columns; commas, semicolons, tabs or bars), JSON, JSON lines, "
        "COCO's or Karpathy's JSON, or tokens of Flickr8k; an image may have many",
    )
    vocab_path: AbsolutePath | None = setting(
        None,
        "JSON with word_to_idx and freq_threshold: loaded where it exists, else built and saved there",
        role="loss",  # over another vocabulary it is another loss
    )
    crops_per_image: int = setting(
        2,
        "with a frozen encoder each training image has so many crops, drawn under training.subset_seed, of which an "
        "epoch takes one; their features are kept on disk, up to cache_gb too, so that the encoder runs once for all "
        "epochs and runs. More crops vary more and take more room; 0 crops anew in every epoch and keeps no features. "
        "A trained encoder sees new crops in any case",
        ge=0,
        le=100,
    )
    freq_threshold: int = setting(5, "words seen less often become <UNK>", role=("loss", "data"), search=(1, 100), ge=1)

    @model_validator(mode="after")
    def _some_data(self) -> Self:
        named = [self.images_dir is not None, self.caption_file is not None]
        if any(named) and not all(named) and not (named[0] and recognised(self.images_dir)):
            raise ValueError("images_dir and caption_file belong together; one of them is missing")
        if not any(named) and self.scenes is None:
            raise ValueError("name images_dir and caption_file, or a scenes section for the built-in data")
        return self


class CaptioningModel(Section):
    backbone: Literal["resnet10_thin", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"] = setting(
        "resnet50", "the encoder; resnet10_thin is a small one for CPUs, without pretrained weights"
    )
    pretrained: bool = setting(True, "start the encoder from ImageNet weights", role="use")
    weights: AbsolutePath | None = setting(
        None, "a file with the backbone's state dict, in place of a download", role="use"
    )
    encoder_fine_tune: bool = setting(False, "train the encoder with the decoder; false keeps it frozen")
    encoded_image_size: int = setting(14, "the feature map is pooled to so many places a side", ge=1, le=64)
    embed_size: int = setting(512, "word embedding", scale="log", search=(8, 4096), ge=1)
    decoder_dim: int = setting(512, "LSTM hidden state", scale="log", search=(8, 4096), ge=1)
    encoder_dim: int = setting(512, "image feature", scale="log", search=(8, 4096), ge=1)
    dropout: float = setting(0.5, "on word embeddings and on the LSTM's output", ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _weights_exist(self) -> Self:
        if self.backbone == "resnet10_thin" and self.pretrained and self.weights is None:
            raise ValueError("resnet10_thin has no pretrained weights: set model.pretrained=false or model.weights")
        return self


class CaptioningCriterion(CriterionSettings):
    ROLES = frozenset({"use"})  # smoothing and reduction are of training alone
    type: Literal["cross_entropy"] = setting("cross_entropy", "the loss, over the words of a caption")


class CaptioningEvaluation(Section):
    beam_size: int = setting(3, "beams in decoding; 1 is greedy (a search decodes greedily)", ge=1, le=50)
    max_length: int = setting(40, "longest caption in words; in scripts without blanks, in characters", ge=1, le=500)
    samples: int = setting(6, "validation images whose captions are kept for the report", ge=0, le=100)


class CaptioningMetrics(Section):
    bleu: bool = setting(True, "corpus BLEU; off, the validation loss is the metric")
    use_sacrebleu_if_available: bool = setting(True, "by sacrebleu, else by nltk")
    bleu_tokenize: Literal["auto", "13a", "intl", "zh", "char", "ja-mecab", "ko-mecab"] = setting(
        "auto",
        "sacrebleu's tokenizer. auto: by the script of the captions, 13a for Latin, Cyrillic and Greek, zh for "
        "Chinese, char for Japanese and other scripts without blanks, intl for the rest; ja-mecab and ko-mecab are "
        "extras of sacrebleu",
        role="study",
    )


class CaptioningConfig(RunConfig):
    """`task: captioning`."""

    task: Literal["captioning"] = setting("captioning", "what is trained")
    data: CaptioningData
    model: CaptioningModel = CaptioningModel()
    criterion: CaptioningCriterion = CaptioningCriterion()
    evaluation: CaptioningEvaluation = CaptioningEvaluation()
    metrics: CaptioningMetrics = CaptioningMetrics()
