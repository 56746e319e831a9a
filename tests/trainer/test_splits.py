"""Subsets are nested, splits are by image, and nothing held out is trained on."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer_parts import TINY

from trainer.api import DataError, resolve_config
from trainer.data.splits import OVERFIT_IMAGES, Selection, select


@cache
def chosen(images: int, **overrides: Any) -> Selection:
    return select(resolve_config(TINY, {key.replace("__", "."): value for key, value in overrides.items()}), images)


@given(
    images=st.integers(2, 300),
    val_split=st.floats(0.01, 0.99),
    fraction=st.floats(0.01, 1.0),
    split_seed=st.integers(0, 5),
    subset=st.none() | st.integers(1, 300),
    val_subset=st.none() | st.integers(1, 300),
    overfit=st.booleans(),
)
def test_every_selection_is_sound(
    images: int,
    val_split: float,
    fraction: float,
    split_seed: int,
    subset: int | None,
    val_subset: int | None,
    overfit: bool,
) -> None:
    found = chosen(
        images,
        data__val_split=val_split,
        data__data_fraction=fraction,
        data__split_seed=split_seed,
        data__val_subset_size=val_subset,
        training__subset_size=subset,
        training__overfit=overfit,
    )
    for part in (found.train_split, found.train, found.val):
        assert len(part) == len(set(part.tolist())) >= 1
        assert part.min() >= 0
        assert part.max() < images
    assert set(found.train.tolist()) <= set(found.train_split.tolist())
    assert len(found.train) == min(subset or (OVERFIT_IMAGES if overfit else images), len(found.train_split))
    if overfit:
        assert found.train.tolist() == found.val.tolist() == found.train_split[: len(found.train)].tolist()
    else:
        assert not set(found.val.tolist()) & set(found.train_split.tolist())
        assert val_subset is None or len(found.val) <= val_subset


@given(smaller=st.integers(1, 80), larger=st.integers(1, 80), seed=st.integers(0, 3))
def test_a_smaller_subset_is_a_prefix_of_a_larger_one(smaller: int, larger: int, seed: int) -> None:
    smaller, larger = sorted((smaller, larger))
    few = chosen(100, training__subset_size=smaller, training__subset_seed=seed)
    many = chosen(100, training__subset_size=larger, training__subset_seed=seed)
    assert few.train.tolist() == many.train[:smaller].tolist()
    few = chosen(100, data__val_split=0.8, data__val_subset_size=smaller)
    many = chosen(100, data__val_split=0.8, data__val_subset_size=larger)
    assert few.val.tolist() == many.val[:smaller].tolist()
    everything = chosen(100, data__val_split=0.8)
    assert few.val.tolist() == everything.val[:smaller].tolist(), "what is shown first is the same in full training"


def test_the_subset_belongs_to_its_own_seed_and_the_split_to_another() -> None:
    base = chosen(100, training__subset_size=20)
    assert chosen(100, training__subset_size=20, data__split_seed=TINY["seed"]).train.tolist() == base.train.tolist()
    other = chosen(100, training__subset_size=20, training__subset_seed=7)
    assert sorted(other.val) == sorted(base.val)
    assert other.train.tolist() != base.train.tolist()
    moved = chosen(100, training__subset_size=20, data__split_seed=99)
    assert moved.val.tolist() != base.val.tolist()
    reseeded = chosen(100, training__subset_size=20, seed=99, data__split_seed=TINY["seed"])
    assert reseeded.val.tolist() == base.val.tolist()


def test_max_samples_are_the_first_images_and_the_fraction_is_drawn_from_them() -> None:
    found = chosen(100, data__max_samples=30)
    assert sorted([*found.train_split.tolist(), *found.val.tolist()]) == list(range(30))
    half = chosen(100, data__max_samples=30, data__data_fraction=0.5)
    both = [*half.train_split.tolist(), *half.val.tolist()]
    assert len(both) == 15
    assert max(both) < 30
    assert half.train_split.tolist() == sorted(half.train_split.tolist())


def test_the_share_held_out() -> None:
    assert len(chosen(100, data__val_split=0.2).val) == 20
    assert len(chosen(2, data__val_split=0.99).train_split) == 1


def test_one_image_is_too_few() -> None:
    with pytest.raises(DataError, match="at least 2"):
        chosen(1)


def test_a_subset_is_a_fair_draw() -> None:
    """A prefix of the file would hold only small numbers."""
    train = chosen(1000, training__subset_size=100).train
    assert 400 < float(np.mean(train)) < 600


@given(
    images=st.integers(2, 300),
    part=st.floats(0.01, 0.99),
    limit=st.none() | st.integers(2, 400),
    fraction=st.floats(0.01, 1.0),
    overfit=st.booleans(),
)
def test_a_split_that_comes_with_the_data_is_kept(
    images: int, part: float, limit: int | None, fraction: float, overfit: bool
) -> None:
    held_out = min(images - 1, max(1, round(images * part)))
    settings = {"data.max_samples": limit, "data.data_fraction": fraction, "training.overfit": overfit}
    found = select(resolve_config(TINY, settings, {"data.val_split": 0.9}), images, held_out)
    train = set(range(images - held_out))
    assert set(found.train_split.tolist()) <= train
    assert len(found.train_split) + len(found.val) >= 1
    assert not overfit or found.val.tolist() == found.train.tolist()
    assert overfit or not set(found.val.tolist()) & train
    if limit is None and fraction == 1.0 and not overfit:
        assert (len(found.train), len(found.val)) == (images - held_out, held_out)
    if limit is not None and not overfit:
        assert len(found.train_split) + len(found.val) <= max(2, min(limit, images))
        assert min(len(found.train_split), len(found.val)) >= 1
