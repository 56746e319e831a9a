"""What is in a scene, what captions say of it, and what is drawn."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data.scenes.content import COLOURS, MARGIN, Scene, Shape, class_scene_at, scene_at
from trainer.data.scenes.draw import draw, outline
from trainer.data.scenes.grammar import SURFACES, captions_at, place_of
from trainer.data.scenes.spec import KINDS

seeds = st.integers(min_value=-5, max_value=2**40)
indices = st.integers(min_value=0, max_value=10**6)

MENTION = re.compile(rf"\ban? (?:(small|large) )?({'|'.join(COLOURS)}) ({'|'.join(KINDS)})\b")
RELATIONS = {
    "left of": lambda one, other: one.x + one.radius < other.x - other.radius and _across(one, other),
    "right of": lambda one, other: other.x + other.radius < one.x - one.radius and _across(one, other),
    "above": lambda one, other: one.y + one.radius < other.y - other.radius and not _across(one, other),
    "below": lambda one, other: other.y + other.radius < one.y - one.radius and not _across(one, other),
    "and": lambda one, other: one is not other,
}
PLACES = {
    "on the left": lambda shape: shape.x < 0.5,
    "on the right": lambda shape: shape.x > 0.5,
    "at the top": lambda shape: shape.y < 0.5,
    "at the bottom": lambda shape: shape.y > 0.5,
    "in the centre": lambda shape: abs(shape.x - 0.5) < 0.1 and abs(shape.y - 0.5) < 0.1,
}


def _across(one: Shape, other: Shape) -> bool:
    return abs(one.x - other.x) > abs(one.y - other.y)


def _mentioned(scene: Scene, size: str | None, colour: str, kind: str) -> Shape:
    found = [shape for shape in scene.shapes if (shape.colour, shape.kind) == (colour, kind)]
    assert len(found) == 1
    assert size in (None, found[0].size)
    return found[0]


@settings(max_examples=150, deadline=None)
@given(seed=seeds, index=indices)
def test_every_word_of_a_caption_is_true(seed: int, index: int) -> None:
    scene = scene_at(seed, index)
    for caption in captions_at(seed, index, scene, 5):
        mentions = [_mentioned(scene, *match.groups()) for match in MENTION.finditer(caption)]
        assert sorted(shape.colour for shape in mentions) == sorted(shape.colour for shape in scene.shapes)
        opening, *between = re.sub(MENTION, "|", caption).split("|")
        assert opening in ("", "there is ")
        tail = between.pop().strip()
        for one, other, relation in zip(mentions[:-1], mentions[1:], between, strict=True):
            assert RELATIONS[relation.strip()](one, other), caption
        if tail in PLACES:
            assert PLACES[tail](mentions[0])
        elif tail:
            shade, surface = re.fullmatch(r"on (?:(light|dark) )?(\w+)", tail).groups()
            assert surface == SURFACES[scene.backdrop.texture]
            assert shade in (None, scene.backdrop.shade)


@settings(max_examples=150, deadline=None)
@given(seed=seeds, index=indices)
def test_shapes_stay_inside_and_apart(seed: int, index: int) -> None:
    shapes = scene_at(seed, index).shapes
    assert 1 <= len(shapes) <= 3
    for number, shape in enumerate(shapes):
        for centre in (shape.x, shape.y):
            assert centre - shape.radius >= MARGIN - 1e-6
            assert centre + shape.radius <= 1 - MARGIN + 1e-6
        for other in shapes[number + 1 :]:
            assert np.hypot(shape.x - other.x, shape.y - other.y) > shape.radius + other.radius
            assert shape.colour != other.colour
            assert shape.kind != other.kind


@settings(max_examples=50, deadline=None)
@given(seed=seeds, index=indices)
def test_captions_are_different_and_more_of_them_keep_the_first(seed: int, index: int) -> None:
    scene = scene_at(seed, index)
    most = captions_at(seed, index, scene, 12)  # more than the configuration lets anyone ask for
    assert len(set(most)) == 12
    assert captions_at(seed, index, scene, 3) == most[:3]
    assert all(caption == caption.lower().strip() and "  " not in caption for caption in most)


def test_scenes_vary_in_everything_that_captions_name() -> None:
    scenes = [scene_at(0, index) for index in range(300)]
    shapes = [shape for scene in scenes for shape in scene.shapes]
    assert {shape.kind for shape in shapes} == set(KINDS)
    assert {shape.colour for shape in shapes} == set(COLOURS)
    assert {shape.size for shape in shapes} == {"small", "large"}
    assert {scene.layout for scene in scenes} == {"alone", "row", "column"}
    assert {len(scene.shapes) for scene in scenes} == {1, 2, 3}
    assert {scene.backdrop.texture for scene in scenes} == set(SURFACES)


def test_simple_scenes_are_one_large_shape_on_plain_ground() -> None:
    scenes = [scene_at(0, index, simple=True) for index in range(200)]
    scenes += [class_scene_at(0, kind, index, simple=True) for kind in KINDS for index in range(5)]
    assert {len(scene.shapes) for scene in scenes} == {1}
    assert {scene.backdrop.texture for scene in scenes} == {"plain"}
    assert not any(scene.scratches for scene in scenes)
    assert {scene.shapes[0].kind for scene in scenes} == set(KINDS)
    assert {scene.shapes[0].size for scene in scenes} == {"large"}
    assert {place_of(scene.shapes[0]) for scene in scenes} == set(PLACES)
    for shape in (scene.shapes[0] for scene in scenes):
        assert all(shape.radius + MARGIN <= centre <= 1 - MARGIN - shape.radius for centre in (shape.x, shape.y))
    assert {scene.backdrop.shade for scene in scenes} == {"light", "dark"}
    for index, scene in enumerate(scenes[:50]):
        place = place_of(scene.shapes[0])
        assert all(place in caption for caption in captions_at(0, index, scene, 5)), "which is the model's to know"


def test_another_seed_is_another_sequence() -> None:
    assert scene_at(0, 0) == scene_at(0, 0)
    assert len({scene_at(seed, index) for seed in range(5) for index in range(20)}) == 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_picture_shows_one_shape_of_its_class(kind: str) -> None:
    scenes = [class_scene_at(3, kind, index) for index in range(20)]
    assert all([shape.kind for shape in scene.shapes] == [kind] for scene in scenes)
    assert len({scene.shapes[0].colour for scene in scenes}) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_outlines_fill_the_unit_circle_and_no_more(kind: str) -> None:
    lengths = [np.hypot(x, y) for x, y in outline(kind)]
    assert 0.9 < max(lengths) <= 1.0 + 1e-9


@settings(max_examples=25, deadline=None)
@given(index=indices, size_px=st.sampled_from((32, 64, 96)))
def test_masks_fit_what_is_drawn(index: int, size_px: int) -> None:
    """The mask of each shape, against the pixels that change when that shape alone is left out."""
    scene = scene_at(0, index)
    picture = draw(scene, size_px, random.Random(1))
    for shape, mask in zip(scene.shapes, picture.masks, strict=True):
        others = tuple(other for other in scene.shapes if other is not shape)
        without = draw(replace(scene, shapes=others), size_px, random.Random(1)).image
        changed = np.asarray(picture.image) != np.asarray(without)
        edges = [_edges(changed.any(axis=2)), _edges(mask)]
        assert np.abs(np.subtract(*edges)).max() <= 2  # the thin points of a star cover little of a pixel
        assert changed.any(axis=2)[mask].mean() > 0.95


def _edges(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_the_colour_named_is_the_colour_seen() -> None:
    for index in range(40):
        scene = scene_at(0, index)
        picture = draw(scene, 96, random.Random(index))
        pixels = np.asarray(picture.image, dtype=float)
        for shape, mask in zip(scene.shapes, picture.masks, strict=True):
            seen = np.median(pixels[mask], axis=0)
            distance = {name: np.linalg.norm(seen - rgb) for name, rgb in COLOURS.items()}
            assert min(distance, key=distance.get) == shape.colour
