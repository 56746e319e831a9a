"""The table of detectors. To add one: a name and a row here. Imports no torch.

Each row says how the library's configuration is made from ours, and what the library leaves to the user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainer.tasks.detection.model_settings import DetectionCriterion, DetectionModel, DetectorName

PRETRAINED_STRIDE = 32  # of every published model of the three kinds
Arguments = dict[str, Any]


@dataclass(frozen=True)
class Detector:
    """One kind of detector. Its name is the library's `model_type`.

    `sizes` are the configuration's arguments that come from a pretrained model, `losses` those that it does
    not. `one_level`: only the backbone's last feature map is used. `no_object`: the last logit means that there
    is none, and scores are a softmax; without, each class has its own sigmoid. `imagenet`: pixels are scaled by
    ImageNet's mean and deviation, else to [0, 1]. `xavier`: random linear layers are drawn as in the paper, with
    more than the library's deviation of 0.02, at which it learns much more slowly.
    """

    sizes: Callable[[DetectionModel], Arguments]
    losses: Callable[[DetectionModel, DetectionCriterion], Arguments]
    one_level: bool = False
    no_object: bool = False
    imagenet: bool = False
    xavier: bool = False


def backbone_arguments(model: DetectionModel, levels: int) -> Arguments:
    """The ResNet of RT-DETR (a deep stem, then stages of stride 4, 8, 16, …), as arguments of the library."""
    stages = len(model.backbone_depths)
    return {
        "model_type": "rt_detr_resnet",
        "embedding_size": model.backbone_stem,
        "hidden_sizes": list(model.backbone_widths),
        "depths": list(model.backbone_depths),
        "layer_type": model.backbone_block,
        "out_indices": list(range(stages - levels + 1, stages + 1)),
    }


def _shared(model: DetectionModel, levels: int) -> Arguments:
    return {
        "backbone_config": backbone_arguments(model, levels),
        "d_model": model.d_model,
        "encoder_layers": model.encoder_layers,
        "decoder_layers": model.decoder_layers,
        "encoder_attention_heads": model.attention_heads,
        "decoder_attention_heads": model.attention_heads,
        "encoder_ffn_dim": model.feedforward_dim,
        "decoder_ffn_dim": model.feedforward_dim,
        "dropout": model.dropout,
        "num_queries": model.num_queries,
    }


def _real_time(model: DetectionModel) -> Arguments:
    levels = model.levels
    return _shared(model, levels) | {
        "freeze_backbone_batch_norms": False,
        "encoder_hidden_dim": model.d_model,
        "hidden_expansion": model.hidden_expansion,
        "encoder_in_channels": list(model.backbone_widths[-levels:]),
        "decoder_in_channels": [model.d_model] * levels,
        "feat_strides": list(strides_of(model)),
        "encode_proj_layers": [levels - 1],
        "num_feature_levels": levels,
        "decoder_n_points": model.decoder_points,
    }


def _real_time_losses(model: DetectionModel, criterion: DetectionCriterion) -> Arguments:
    return {
        "num_denoising": model.num_denoising,
        "label_noise_ratio": model.label_noise,
        "box_noise_scale": model.box_noise,
        "weight_loss_vfl": criterion.class_weight,
        "weight_loss_bbox": criterion.box_weight,
        "weight_loss_giou": criterion.giou_weight,
    }


def _detr(model: DetectionModel) -> Arguments:
    return _shared(model, 1) | {"auxiliary_loss": True}


def _detr_losses(_model: DetectionModel, criterion: DetectionCriterion) -> Arguments:
    # The library takes whole numbers here; the configuration has checked that these are.
    return {
        "bbox_loss_coefficient": int(criterion.box_weight),
        "giou_loss_coefficient": int(criterion.giou_weight),
    }


DETECTORS: dict[DetectorName, Detector] = {
    # Lv et al. 2024
    "rt_detr_v2": Detector(
        lambda model: _real_time(model) | {"decoder_n_levels": model.levels},
        _real_time_losses,
    ),
    # Carion et al. 2020
    "detr": Detector(
        _detr,
        _detr_losses,
        one_level=True,
        no_object=True,
        imagenet=True,
        xavier=True,
    ),
    # Peng et al. 2024
    "d_fine": Detector(_real_time, _real_time_losses),
}


def strides_of(model: DetectionModel) -> tuple[int, ...]:
    """Pixels between two places of each feature map that is used, finest first."""
    if model.pretrained:
        return (PRETRAINED_STRIDE,)
    used = 1 if DETECTORS[model.name].one_level else model.levels
    return tuple(4 * 2**stage for stage in range(len(model.backbone_depths)))[-used:]
