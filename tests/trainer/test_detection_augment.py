"""Boxes stay on what they frame, whatever happens to the picture; and chance comes from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from detection_parts import coco_content, rectangle, seen_box, tiny_detection, write_coco
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_convert
from trainer_parts import same

from trainer.run.run import task_for
from trainer.tasks.detection.augment import DRAWS, GREY, Picture, augmented, crop_window, framed, place_in
from trainer.tasks.detection.config import AugmentSettings
from trainer.tasks.detection.predictions import detections
from trainer.tasks.detection.rows import place_part

UNIT = st.floats(0.0, 0.999)
SIDE = 64


def picture(box: tuple[int, int, int, int], aspect: float = 1.0, source: int = 96) -> Picture:
    parts = torch.tensor([box], dtype=torch.float32) / source
    return Picture(rectangle(source, box), parts, torch.tensor([2]), aspect)


@settings(deadline=None, max_examples=60)
@given(
    left=st.integers(0, 60),
    top=st.integers(0, 60),
    width=st.integers(12, 36),
    height=st.integers(12, 36),
    aspect=st.floats(0.4, 2.5),
    layout=st.sampled_from(["stretch", "letterbox"]),
    draws=st.lists(UNIT, min_size=DRAWS, max_size=DRAWS),
)
def test_boxes_stay_on_what_they_frame(
    left: int, top: int, width: int, height: int, aspect: float, layout: Any, draws: list[float]
) -> None:
    box = (left, top, min(96, left + width), min(96, top + height))
    strong = AugmentSettings(crop_p=0.7, vflip_p=0.5, min_visible=0.3, brightness=0.1, contrast=0.1, saturation=0.1)
    sample = augmented(picture(box, aspect), SIDE, layout, strong, draws)
    assert (sample.pixels.shape, sample.pixels.dtype) == ((3, SIDE, SIDE), torch.uint8)
    if not len(sample.labels):
        return
    assert sample.labels.tolist() == [2]
    found = box_convert(sample.boxes, "cxcywh", "xyxy")[0].numpy() * SIDE
    assert found.min() >= -1e-4
    assert found.max() <= SIDE + 1e-4
    assert np.abs(found - seen_box(sample.pixels.numpy(), level=150)).max() < 2.5


def test_without_chance_nothing_changes() -> None:
    still = AugmentSettings(hflip_p=0.0, crop_p=0.0, brightness=0.0, contrast=0.0, saturation=0.0)
    one = picture((10, 20, 30, 60), source=SIDE)
    sample = augmented(one, SIDE, "stretch", still, [0.5] * DRAWS)
    assert torch.equal(sample.pixels, torch.from_numpy(one.pixels).permute(2, 0, 1))
    assert torch.allclose(box_convert(sample.boxes, "cxcywh", "xyxy") * SIDE, torch.tensor([[10.0, 20, 30, 60]]))


def test_a_box_that_the_crop_hides_is_left_out() -> None:
    cut = AugmentSettings(hflip_p=0.0, crop_p=1.0, crop_min_area=0.25, crop_max_ratio=1.0, min_visible=0.5)
    draws = [0.5] * 4 + [0.0, 0.0, 0.5, 0.0, 0.0, 0.9, 0.9]  # the quarter at the top left
    assert crop_window(96, cut, draws[5:9]) == (0, 0, 48, 48)
    for box, kept in (((4, 4, 30, 30), 1), ((40, 4, 56, 20), 1), ((42, 4, 58, 20), 0), ((60, 60, 90, 90), 0)):
        assert len(augmented(picture(box), SIDE, "stretch", cut, draws).labels) == kept


@given(st.lists(UNIT, min_size=4, max_size=4), st.floats(0.05, 1.0), st.floats(1.0, 10.0), st.integers(1, 300))
def test_crops_lie_inside(draws: list[float], share: float, ratio: float, source: int) -> None:
    top, left, height, width = crop_window(source, AugmentSettings(crop_min_area=share, crop_max_ratio=ratio), draws)
    assert 0 <= top <= top + height <= source
    assert 0 <= left <= left + width <= source
    assert height > 0
    assert width > 0


def test_a_letterbox_keeps_the_shape_and_fills_with_grey() -> None:
    sample = framed(picture((0, 0, 96, 96), aspect=2.0), SIDE, "letterbox")
    assert (sample.place.left, sample.place.top, sample.place.width, sample.place.height) == (0, 16, 64, 32)
    assert int(sample.pixels[:, :16].min()) == int(sample.pixels[:, 48:].max()) == GREY
    assert int(sample.pixels[:, 16:48].min()) == 255
    assert place_in(64, 1 / 4, "letterbox").width == 16
    assert place_in(64, 1e-9, "letterbox").width == 1


@given(
    st.tuples(UNIT, UNIT, st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.sampled_from(["stretch", "letterbox"]),
)
def test_what_is_found_in_the_square_is_found_in_the_file(
    box: tuple[float, float, float, float], width: int, height: int, layout: Any
) -> None:
    """A perfect detector's output comes back as the annotation."""
    left, top = box[0], box[1]
    parts = torch.tensor([[left, top, min(1.0, left + box[2]), min(1.0, top + box[3])]])
    black = np.zeros((8, 8, 3), dtype=np.uint8)
    sample = framed(Picture(black, parts, torch.tensor([0]), width / height), 256, layout)
    (found,) = detections(
        torch.tensor([[[9.0]]]),
        sample.boxes[None],
        torch.tensor([place_part(sample, 256)]),
        torch.tensor([[width, height]]),
        no_object=False,
    )
    expected = box_convert(parts.double(), "xyxy", "xywh")[0].numpy() * [width, height, width, height]
    # A letterbox rounds its place to whole pixels; only very narrow pictures feel it.
    assert np.abs(found.boxes[0] - expected).max() <= 1e-3 * max(width, height)


def test_with_a_softmax_a_query_stands_for_its_best_class() -> None:
    logits = torch.tensor([[[4.0, 3.0, 0.0], [0.0, 0.0, 9.0], [1.0, 5.0, 0.0]]])  # the last one means no object
    boxes = torch.tensor([[[0.1, 0.1, 0.2, 0.2], [0.5, 0.5, 1.0, 1.0], [0.9, 0.9, 0.2, 0.2]]])
    whole, size = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[10, 10]])
    (found,) = detections(logits, boxes, whole, size, no_object=True)
    assert found.labels.tolist()[:2] == [1, 0]
    assert np.allclose(found.boxes[:2], [[8, 8, 2, 2], [0, 0, 2, 2]], atol=1e-5)
    (found,) = detections(logits[..., :2], boxes, whole, size, no_object=False)
    assert found.labels.tolist()[:3] == [1, 0, 1]
    assert len(found.scores) == 6
    assert len(found.above(0.9).scores) == 3


def test_rows_hold_images_without_boxes_and_leave_crowds_out(tmp_path: Path) -> None:
    config = tiny_detection(tmp_path / "run", write_coco(tmp_path / "data", coco_content()), data__val_split=0.5)
    rows = task_for(config).open_rows(everything=True).val
    batch = rows.__getitems__([(1, 0), (1, 3)])
    assert batch["counts"] == [0, 1]
    assert batch["truth_counts"] == [0, 2]
    assert batch["truth"][:, 5].tolist() == [0.0, 1.0]
    assert batch["weight"] == 1
    alone = rows.__getitems__([(1, 0)])
    assert (alone["weight"], tuple(alone["boxes"].shape)) == (1, (0, 4))
    expected = np.array([7, 3, 20, 15]) / [48, 32, 48, 32]
    assert np.allclose(box_convert(batch["boxes"], "cxcywh", "xywh")[0], expected, atol=1e-6)


def test_samples_differ_by_epoch_and_not_by_who_loads_them(tmp_path: Path) -> None:
    config = tiny_detection(tmp_path, data__source_scale=1.25)
    rows = task_for(config).open_rows().train
    first = rows.__getitems__([(1, 0), (1, 1)])
    assert tuple(first["images"].shape) == (2, 3, 64, 64)
    assert same(task_for(config).open_rows().train.__getitems__([(1, 0), (1, 1)]), first)
    assert not same(rows.__getitems__([(2, 0), (2, 1)])["images"], first["images"])
    seeded = task_for(tiny_detection(tmp_path, data__source_scale=1.25, seed=4, data__split_seed=3)).open_rows().train
    assert not same(seeded.__getitems__([(1, 0), (1, 1)])["images"], first["images"])


def test_overfitting_sees_the_images_as_they_are(tmp_path: Path) -> None:
    config = tiny_detection(tmp_path, training__overfit=True, training__subset_size=3)
    rows = task_for(config).open_rows()
    keys = [(5, n) for n in range(3)]
    train, val = rows.train.__getitems__(keys), rows.val.__getitems__(keys)
    assert all(same(train[name], val[name]) for name in train)
