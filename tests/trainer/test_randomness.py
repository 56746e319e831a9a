"""Randomness is a function of what it is for, and every generator can be continued."""

from __future__ import annotations

import io
import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from trainer_parts import same

from trainer.learning.randomness import capture, restore, seed_all, uniforms

SEEDS = st.integers(0, 2**63 - 1)


@given(seed=SEEDS, epoch=st.integers(0, 10_000), indices=st.lists(st.integers(0, 10**6), min_size=1, max_size=20))
def test_a_number_depends_on_nothing_but_its_own_coordinates(seed: int, epoch: int, indices: list[int]) -> None:
    together = uniforms(seed, epoch, np.array(indices, dtype=np.int64), 3)
    assert together.shape == (len(indices), 3)
    assert ((together >= 0.0) & (together < 1.0)).all()
    for row, index in enumerate(indices):
        alone = uniforms(seed, epoch, np.array([index], dtype=np.int64), 5)
        assert (alone[0, :3] == together[row]).all()


def test_numbers_are_spread_evenly_and_do_not_go_together() -> None:
    indices = np.arange(20_000, dtype=np.int64)
    drawn = np.concatenate([uniforms(1, 1, indices, 2), uniforms(1, 2, indices, 1), uniforms(2, 1, indices, 1)], axis=1)
    shares = np.stack([np.histogram(column, bins=10, range=(0, 1))[0] / len(indices) for column in drawn.T])
    assert np.abs(shares - 0.1).max() < 0.01
    neighbours = np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]
    assert abs(neighbours) < 0.02
    correlations = np.corrcoef(drawn.T) - np.eye(4)
    assert np.abs(correlations).max() < 0.03


def draw_from_all() -> tuple[float, float, float, torch.Tensor]:
    return random.gauss(0, 1), float(np.random.standard_normal()), float(np.random.random()), torch.rand(3)


def test_the_state_of_every_generator_survives_a_checkpoint() -> None:
    seed_all(5, deterministic=True)
    draw_from_all()  # leaves half a pair of Gaussians in two of them
    file = io.BytesIO()
    torch.save(capture(), file)
    expected = [draw_from_all() for _ in range(3)]
    seed_all(6, deterministic=True)
    file.seek(0)
    restore(torch.load(file, weights_only=True))
    assert same([draw_from_all() for _ in range(3)], expected)


def test_a_seed_settles_every_generator() -> None:
    seed_all(2**62 + 1, deterministic=True)
    first = draw_from_all()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    seed_all(2**62 + 1, deterministic=False)
    assert same(draw_from_all(), first)
    assert torch.backends.cudnn.benchmark
    seed_all(0, deterministic=True)
    assert not same(draw_from_all(), first)
