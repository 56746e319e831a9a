"""Boxes in four formats; each conversion is named after both.

xywh: COCO's left, top, width, height. xyxy: left, top, right, bottom. cxcywh: centre, width, height.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]


def xywh_to_xyxy(boxes: Floats) -> Floats:
    """[n, 4] → [n, 4]."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """[n, 4] → [n, 4]."""
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """[…, 4] → […, 4]."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """[…, 4] → […, 4]."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], dim=-1)


def area(boxes: Tensor) -> Tensor:
    """xyxy [n, 4] → [n]."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)
