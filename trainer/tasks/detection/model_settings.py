"""What a configuration says of the detector and its loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import model_validator

from trainer.config.section import AS_TUPLE, HubOrFolder, Section, setting

DetectorName = Literal["rt_detr_v2", "detr", "d_fine"]
Sizes = Annotated[tuple[int, ...], AS_TUPLE]

SIZELESS = frozenset({"dropout", "label_noise", "box_noise"})  # whether a model can be built does not depend on these


class DetectionModel(Section):
    # Each detector has the library's loss of its own, summed over the layers of its decoder.
    name: DetectorName = setting("rt_detr_v2", "the detector", role="loss")
    pretrained: HubOrFolder | Literal[False] = setting(
        False,
        "start from a hub's name or a folder with a saved model, whose sizes then hold; false = random weights",
        role=("data", "use"),
    )
    num_queries: int = setting(300, "most boxes that an image can get", scale="log", search=(1, 2000), ge=1)
    d_model: int = setting(256, "width of encoder and decoder; a multiple of 4", scale="log", search=(16, 1024), ge=8)
    attention_heads: int = setting(8, "heads in encoder and decoder", search=(1, 64), ge=1)
    encoder_layers: int = setting(1, "transformer layers over the feature maps", search=(1, 24), ge=1)
    decoder_layers: int = setting(6, "transformer layers over the queries", role="loss", search=(1, 24), ge=1)
    feedforward_dim: int = setting(1024, "inner width of a layer", scale="log", search=(16, 8192), ge=1)
    dropout: float = setting(0.0, "in encoder and decoder", ge=0.0, lt=1.0)
    hidden_expansion: float = setting(1.0, "width inside the feature pyramid (not detr)", gt=0.0, le=4.0)
    decoder_points: int = setting(4, "places each head looks at on a level (not detr)", search=(1, 16), ge=1)
    num_denoising: int = setting(100, "noised boxes shown in training; 0 = none (not detr)", search=(0, 500), ge=0)
    label_noise: float = setting(0.5, "share of the noised boxes with a wrong label", ge=0.0, le=1.0)
    box_noise: float = setting(1.0, "size of the boxes' noise", search=(0.0, 2.0), ge=0.0)
    levels: int = setting(3, "feature maps that the encoder gets, the coarsest ones (detr: one)", ge=1, le=8)
    backbone_block: Literal["basic", "bottleneck"] = setting("bottleneck", "the ResNet's block")
    backbone_stem: int = setting(64, "channels after the stem; even", scale="log", search=(8, 256), ge=2)
    backbone_widths: Sizes = setting((256, 512, 1024, 2048), "channels of each stage")
    backbone_depths: Sizes = setting((3, 4, 6, 3), "blocks of each stage; the first has stride 4, each next doubles it")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        widths, depths, heads = self.backbone_widths, self.backbone_depths, self.attention_heads
        if not widths or len(widths) != len(depths) or min(*widths, *depths, 1) < 1:
            raise ValueError("backbone_widths and backbone_depths need one number from 1 up for each stage")
        if self.backbone_block == "bottleneck" and any(width % 4 for width in widths):
            raise ValueError("bottleneck blocks need backbone_widths in multiples of 4")
        if self.backbone_stem % 2:
            raise ValueError(f"backbone_stem={self.backbone_stem} must be even")
        if self.levels > len(depths):
            raise ValueError(f"levels={self.levels} is more than the backbone's {len(depths)} stages")
        if self.d_model % heads or self.d_model % 4:
            raise ValueError(f"d_model={self.d_model} must be a multiple of 4 and of attention_heads={heads}")
        return self

    def unbuildable(self) -> Iterator[str]:
        """What the library cannot build or run, as far as it is known; `try_out` finds what else there is."""
        if self.pretrained:
            return
        if self.backbone_block == "basic" and self.backbone_stem != self.backbone_widths[0]:
            yield (
                f"model.backbone_stem={self.backbone_stem} must be the first of "
                f"model.backbone_widths={list(self.backbone_widths)} with model.backbone_block=basic"
            )
        if self.name == "detr":
            return
        if self.decoder_layers < 2:
            yield f"model.decoder_layers={self.decoder_layers}: {self.name} needs 2 or more"
        inner = self.d_model * self.hidden_expansion
        least = 2 if self.name == "d_fine" else 1
        if inner < least:
            share = f"model.hidden_expansion={self.hidden_expansion:g} of model.d_model={self.d_model}"
            yield f"{share} is {inner:g} channels; {self.name} needs {least} or more"


class DetectionCriterion(Section):
    """The parts of the library's loss; every part is a mean over boxes."""

    type: Literal["set_prediction"] = setting(
        "set_prediction", "the library's loss: boxes matched to queries, in parts"
    )
    class_weight: float = setting(1.0, "weight of the class loss (detr: always 1)", search=(0.0, 10.0), ge=0.0)
    box_weight: float = setting(5.0, "weight of the boxes' L1 distance", search=(0.0, 20.0), ge=0.0)
    giou_weight: float = setting(2.0, "weight of the boxes' generalised IoU loss", search=(0.0, 20.0), ge=0.0)
