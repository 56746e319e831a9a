"""How images come into batches: lists of transforms, backgrounds, mixing, all a function of (seed, epoch, image)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classification_parts import tiny_classification, write_folders, write_table
from PIL import Image
from torchvision.transforms import v2
from trainer_parts import same

from trainer.api import ConfigError, DataError, prepare_data
from trainer.learning import randomness
from trainer.run.run import task_for
from trainer.task.protocols import Rows

KEYS = [(1, row) for row in range(6)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_folders(tmp_path / "images", {"a": 20, "b": 20})


def opened(images: Path, *layers: dict[str, Any], image_size: int | None = None, **overrides: Any) -> Rows:
    named = {"data.images_dir": str(images)}
    return task_for(tiny_classification(images.parent / "run", named, *layers, **overrides)).open_rows(
        image_size=image_size
    )


def batch_of(rows: Any, epoch: int = 1, count: int = 6) -> dict[str, Any]:
    return rows.__getitems__([(epoch, row) for row in range(count)])


def test_without_lists_the_images_are_those_of_the_cache(images: Path) -> None:
    rows = opened(images)
    batch = batch_of(rows.train)
    assert batch["images"].dtype == torch.uint8
    assert batch["images"].shape == (6, 3, 32, 32)
    assert batch["labels"].dtype == torch.int64
    first = rows.val.__getitems__([(1, 0)])
    with Image.open(first["files"][0]) as file:
        expected = np.asarray(file.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(first["images"][0].permute(1, 2, 0).numpy(), expected)
    assert int(first["labels"][0]) == ["a", "b"].index(Path(first["files"][0]).parent.name)


@pytest.mark.parametrize("source", ["train", "val"])
@pytest.mark.parametrize("name", ["pre_transforms", "train_augmentations", "val_augmentations", "post_transforms"])
def test_each_list_has_its_place(name: str, source: str, images: Path) -> None:
    plain, changed = opened(images), opened(images, **{f"data__{name}": [{"RandomInvert": {"p": 1.0}}]})
    before, after = (batch_of(getattr(rows, source))["images"] for rows in (plain, changed))
    applies = name in ("pre_transforms", "post_transforms") or name.startswith(source)
    assert torch.equal(after, 255 - before if applies else before)


def test_the_lists_follow_each_other(images: Path) -> None:
    """Posterising to one bit, inverting and blurring do not commute."""
    chain = [
        {"RandomPosterize": {"bits": 1, "p": 1.0}},
        {"RandomInvert": {"p": 1.0}},
        {"GaussianBlur": {"kernel_size": 3}},
    ]
    places = dict(zip(("pre_transforms", "train_augmentations", "post_transforms"), chain, strict=True))
    rows = opened(images, **{f"data__{name}": [entry] for name, entry in places.items()})
    expected = batch_of(opened(images).train)["images"]
    expected = 255 - (expected & 128)
    found = batch_of(rows.train)["images"]
    blurred = v2.functional.gaussian_blur(expected, [3, 3], [1.0, 1.0])
    assert (found.float() - blurred.float()).abs().mean() < 30
    assert len(expected.unique()) == 2
    assert len(found.unique()) > 10, "the blur came last"


def test_sizes_with_a_decimal_point_count_in_the_side(images: Path) -> None:
    crop = {"data__train_augmentations": [{"RandomCrop": {"size": 0.5, "padding": 0.25}}]}
    assert batch_of(opened(images, **crop).train)["images"].shape[-1] == 32
    assert batch_of(opened(images, **crop, image_size=48).train)["images"].shape[-1] == 48
    fixed = {"data__train_augmentations": [{"CenterCrop": {"size": 16}}]}
    side = opened(images, **fixed).train.chains.train[0].size  # type: ignore[attr-defined]
    assert side == (16, 16)


def test_images_are_kept_larger_for_crops(images: Path) -> None:
    rows = opened(images, data__source_scale=2.0, data__val_augmentations=[{"CenterCrop": {"size": 1.0}}])
    assert rows.val.data.pictures.images.size_px == 64  # type: ignore[attr-defined]
    assert batch_of(rows.val)["images"].shape[-1] == 32


def test_augmentation_is_a_function_of_seed_epoch_and_image(images: Path) -> None:
    lists = {
        "data__train_augmentations": [
            {"RandomAffine": {"degrees": 20, "translate": [0.1, 0.1]}},
            "RandomHorizontalFlip",
            {"RandomErasing": {"p": 0.5}},
            {"ColorJitter": {"brightness": 0.4}},
            "TrivialAugmentWide",
        ]
    }
    rows = opened(images, **lists)
    before = randomness.capture()
    whole = rows.train.__getitems__(KEYS)
    alone = [rows.train.__getitems__([key])["images"][0] for key in reversed(KEYS)]
    assert same(torch.stack(alone[::-1]), whole["images"])
    assert same(randomness.capture(), before)
    assert not same(batch_of(rows.train, epoch=2)["images"], whole["images"])
    assert not same(batch_of(opened(images, **lists, seed=4, data__split_seed=3).train)["images"], whole["images"])


def test_validation_draws_the_same_every_time(images: Path) -> None:
    rows = opened(images, data__val_augmentations=[{"RandomRotation": {"degrees": 30}}])
    assert same(batch_of(rows.val, epoch=1, count=4), batch_of(rows.val, epoch=7, count=4))


@pytest.mark.parametrize("factor", [0.0, 4.0])
def test_the_schedule_moves_the_share_of_augmented_images(factor: float, images: Path) -> None:
    schedule = {"start_p": 0.0, "end_p": 1.0, "exponent_factor": factor}
    rows = opened(
        images,
        **{f"data__augmentation_p_schedule__{key}": value for key, value in schedule.items()},
        data__train_augmentations=[{"RandomInvert": {"p": 1.0}}],
        training__epochs=2,
        training__schedule_epochs=5,
    )
    plain = opened(images)
    share = []
    for epoch in range(1, 6):
        pair = [batch_of(source.train, epoch, count=32)["images"] for source in (rows, plain)]
        share.append(float((pair[0] != pair[1]).flatten(1).any(1).float().mean()))
    assert (share[0], share[-1]) == (0.0, 1.0)
    assert share == sorted(share)
    assert (share[2] > 0.7) == (factor > 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"data__train_augmentations": [{"RandomRotation": {"degrees": -5}}]}, "train_augmentations: RandomRotation: "),
        ({"data__train_augmentations": [{"RandomCrop": {"size": 99}}]}, "RandomCrop fails on 3 channels of uint8"),
        ({"data__train_augmentations": [{"ToDtype": {"dtype": "float32"}}]}, "makes 3 channels of float32 of"),
        ({"data__pre_transforms": [{"ToDtype": {"dtype": "float31"}}]}, "ToDtype: dtype: 'float31' is no type"),
        ({"data__pre_transforms": [{"Resize": {"size": 8, "interpolation": "best"}}]}, "Resize: interpolation: 'best'"),
        ({"data__pre_transforms": ["Grayscale"]}, r"post_transforms: images end as 1 channels .*model\.in_channels"),
        ({"data__post_transforms": [{"CenterCrop": {"size": 8}}]}, r"of \(8, 8\) px, not as 3 channels of"),
        ({"data__train_augmentations": [{"RandomSolarize": {"threshold": 300, "p": 0.001}}]}, "RandomSolarize fails"),
        (
            {"data__val_augmentations": [
                {"RandomApply": {"transforms": [{"RandomCrop": {"size": 99}}], "p": 0.001}},
            ]},
            "val_augmentations: RandomApply fails on 3 channels of uint8",
        ),
        (
            {"data__train_augmentations": [
                {"RandomChoice": {"transforms": ["RandomInvert", {"RandomCrop": {"size": 99}}], "p": [1.0, 0.001]}},
            ]},
            "train_augmentations: RandomChoice fails on 3 channels of uint8",
        ),
        (
            {"data__train_augmentations": [{"RandomChoice": {"transforms": ["RandomInvert"], "p": [0]}}]},
            "train_augmentations: RandomChoice: .*zero",
        ),
        (
            {"data__train_augmentations": [
                {"RandomChoice": {"transforms": ["RandomInvert", "RandomEqualize"], "p": [-1, 3]}},
            ]},
            "train_augmentations: RandomChoice fails on",
        ),
        ({"data__pre_transforms": [{"Resize": {"size": float("inf")}}]}, "pre_transforms: Resize: "),
    ],
)  # fmt: skip
def test_what_torchvision_refuses_is_said_before_the_first_batch(
    settings: dict[str, Any], words: str, images: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        prepare_data(tiny_classification(images.parent, {"data.images_dir": str(images)}, **settings), lambda *_: None)


def test_what_never_happens_may_stand_in_a_list(images: Path) -> None:
    never = [
        {"RandomSolarize": {"threshold": 300, "p": 0.0}},
        {"RandomApply": {"transforms": [{"RandomCrop": {"size": 99}}], "p": 0.0}},
        {"RandomChoice": {"transforms": ["RandomInvert", {"RandomCrop": {"size": 99}}], "p": [1.0, 0.0]}},
    ]
    assert batch_of(opened(images, data__train_augmentations=never).train)["images"].shape == (6, 3, 32, 32)


@pytest.mark.parametrize("name", ["pre_transforms", "train_augmentations", "val_augmentations", "post_transforms"])
def test_a_transform_that_fails_in_training_is_named(name: str, images: Path) -> None:
    rows = opened(images, **{f"data__{name}": [{"RandomInvert": {"p": 1.0}}]})
    source: Any = rows.val if name.startswith("val") else rows.train
    (transform,) = getattr(source.chains, name.split("_")[0])

    def failing(_image: torch.Tensor) -> torch.Tensor:
        raise KeyError("not today\nnor ever")

    transform.forward = failing
    with pytest.raises(DataError, match=rf"^data\.{name}: RandomInvert fails on 3 channels of uint8, .*not today"):
        batch_of(source)


def test_floating_point_images_are_left_as_they_are(images: Path) -> None:
    scaled = [{"ToDtype": {"dtype": "float32", "scale": True}}, {"Normalize": {"mean": [0.5] * 3, "std": [0.25] * 3}}]
    task = task_for(tiny_classification(images.parent, {"data.images_dir": str(images)}, data__post_transforms=scaled))
    batch = batch_of(task.open_rows().train)
    plain = batch_of(opened(images).train)["images"]
    assert torch.allclose(batch["images"], (plain / 255.0 - 0.5) / 0.25, atol=1e-5)
    assert task.statistics.applied(batch["images"]) is batch["images"]  # type: ignore[attr-defined]
    usual = task.statistics.applied(plain)  # type: ignore[attr-defined]
    assert torch.allclose(usual, (plain / 255.0 - 0.5) / 0.5, atol=1e-5), "the mean and deviation of this backbone"


def test_images_come_onto_backgrounds(images: Path) -> None:
    behind = images.parent / "behind"
    behind.mkdir()
    Image.new("RGB", (50, 40), (0, 0, 255)).save(behind / "blue.png")
    Image.new("RGB", (8, 8), (0, 255, 0)).save(behind / "green.png")
    for path in images.rglob("*.png"):
        Image.new("RGB", (24, 20), (255, 0, 0)).save(path)
    pasting = {"data__insert_background_p": 1.0, "data__backgrounds_dir": str(behind)}
    batch = batch_of(opened(images, **pasting, data__background_max_ratio=3.0).train, count=16)["images"]
    red = (batch[:, 0] == 255).float().flatten(1).mean(1)
    assert float(red.min()) >= 1 / 3**2 - 0.03
    assert float(red.max()) <= 1.0
    assert float(red.std()) > 0.05, "the ratio varies"
    corners = batch[:, :, 0, 0].tolist()
    assert [0, 0, 255] in corners
    assert [0, 255, 0] in corners
    same_size = batch_of(opened(images, **pasting, data__background_max_ratio=1.0).train)["images"]
    assert torch.equal(same_size, batch_of(opened(images).train)["images"])
    some = opened(images, **{**pasting, "data__insert_background_p": 0.5}).train
    pasted = (batch_of(some, count=16)["images"][:, 0] < 255).flatten(1).any(1).float().mean()
    assert 0.1 < float(pasted) < 0.9
    assert torch.equal(batch_of(opened(images, **pasting).val, count=4)["images"][:, 0], torch.full((4, 32, 32), 255))
    overfit = opened(images, **pasting, training__overfit=True)
    assert torch.equal(batch_of(overfit.train)["images"], batch_of(overfit.val)["images"])


def test_the_background_shows_where_an_image_is_transparent(images: Path) -> None:
    behind = images.parent / "behind"
    behind.mkdir()
    Image.new("L", (50, 40), 255).save(behind / "white.png")
    for path in images.rglob("*.png"):
        half = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
        half.paste((0, 0, 0, 255), (0, 0, 10, 20))
        half.save(path)
    pasting = {
        "data__insert_background_p": 1.0,
        "data__background_max_ratio": 1.0,
        "data__backgrounds_dir": str(behind),
    }
    for channels in (1, 2, 3, 4):
        picture = batch_of(opened(images, **pasting, model__in_channels=channels).train)["images"][0]
        assert picture.shape[0] == channels
        assert picture[0, :, :15].max() == 0
        assert picture[0, :, 17:].min() == 255
        if channels in (2, 4):
            assert picture[-1].min() == 255, "nothing of it is transparent any more"


@pytest.mark.parametrize(("channels", "colours"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGB")])
@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_images_have_as_many_channels_as_asked(channels: int, colours: str, cache_gb: float, images: Path) -> None:
    rows = opened(images, model__in_channels=channels, data__cache_gb=cache_gb)
    batch = rows.val.__getitems__([(1, 0)])
    with Image.open(batch["files"][0]) as file:
        parts = [file.convert(colours)] + [file.convert("RGBA").getchannel("A")] * (channels in (2, 4))
    expected = np.dstack([part.resize((32, 32), Image.Resampling.BILINEAR) for part in parts])
    assert np.array_equal(batch["images"][0].permute(1, 2, 0).numpy(), expected)
    assert rows.cached == (cache_gb > 0)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pasting_changes_nothing_but_the_images_that_are_pasted(images: Path, channels: int) -> None:
    """Of transparent pictures with colours that do not show: those that are validated on, or not drawn for pasting."""
    rng = np.random.default_rng(5)
    for path in images.rglob("*.png"):
        Image.fromarray(rng.integers(0, 256, (40, 40, 4), np.uint8), "RGBA").save(path)
    behind = images.parent / "behind"
    behind.mkdir()
    Image.new("L", (50, 40), 255).save(behind / "white.png")
    usual = {"model__in_channels": channels, "data__backgrounds_dir": str(behind)}
    plain, seldom = (opened(images, **usual, data__insert_background_p=p) for p in (0.0, 1e-9))
    assert torch.equal(batch_of(plain.val)["images"], batch_of(seldom.val)["images"])
    assert torch.equal(batch_of(plain.train)["images"], batch_of(seldom.train)["images"])


@pytest.mark.parametrize("strategy", ["mixup", "cutmix"])
def test_batches_are_mixed_with_their_labels(strategy: str, images: Path) -> None:
    mixing = {"training__mixing__strategy": strategy, "training__mixing__p": 1.0, "training__mixing__alpha": 1.0}
    task = task_for(tiny_classification(images.parent, {"data.images_dir": str(images)}, **mixing))
    rows = task.open_rows()
    plain, mixed = batch_of(opened(images).train), batch_of(rows.train)
    one_hot = torch.nn.functional.one_hot(plain["labels"], 2).float()
    assert torch.allclose(mixed["labels"].sum(1), torch.ones(6))
    share = mixed["labels"]
    differ = plain["labels"] != plain["labels"].roll(1, 0)
    (own,) = {round(float(value), 4) for value in (share * one_hot).sum(1)[differ]}
    assert 0.0 < own < 1.0
    normal = task.statistics.applied(plain["images"])  # type: ignore[attr-defined]
    if strategy == "mixup":
        assert torch.allclose(mixed["images"], normal * own + normal.roll(1, 0) * (1 - own), atol=1e-3)
    else:
        kept = (mixed["images"] == plain["images"]).all(1).float().mean((1, 2))
        assert kept.min() >= own - 0.01
        taken = (mixed["images"] == plain["images"]) | (mixed["images"] == plain["images"].roll(1, 0))
        assert bool(taken.all())
    assert torch.isfinite(task.loss(task.build_model(weights=True), mixed))
    assert mixed["weight"] == 6


def test_the_chance_and_strength_of_mixing_have_their_effect(images: Path) -> None:
    def mixed_of(p: float, alpha: float = 1.0, **more: Any) -> list[torch.Tensor]:
        rows = opened(images, training__mixing__p=p, training__mixing__alpha=alpha, **more)
        return [batch_of(rows.train, epoch)["labels"] for epoch in range(1, 21)]

    for p, low, high in ((0.0, 0, 0), (0.5, 5, 15), (1.0, 20, 20)):
        assert low <= sum(labels.ndim == 2 for labels in mixed_of(p)) <= high
    spread = [
        float(torch.stack([labels.max(1).values.min() for labels in mixed_of(1.0, alpha)]).mean())
        for alpha in (0.1, 50.0)
    ]
    assert spread[0] > 0.8 > 0.6 > spread[1], "a large alpha blends in halves"
    assert all(labels.ndim == 1 for labels in mixed_of(1.0, training__overfit=True))


def test_mixing_is_a_function_of_seed_epoch_and_batch(images: Path) -> None:
    rows = opened(images, training__mixing__p=1.0).train
    before = randomness.capture()
    first = batch_of(rows)
    assert same(batch_of(opened(images, training__mixing__p=1.0).train), first)
    assert same(randomness.capture(), before)
    assert not same(batch_of(rows, epoch=2)["labels"], first["labels"])


def test_several_labels_are_a_row_each(tmp_path: Path) -> None:
    named = write_table(tmp_path, [(f"{n}.png", ("a;b", "b", "", "c")[n % 4]) for n in range(12)])
    config = tiny_classification(tmp_path, named, criterion__type="bce_with_logits", training__mixing__p=1.0)
    rows = task_for(config).open_rows(everything=True)
    found = {
        Path(file).stem: labels.tolist()
        for file, labels in zip(*(batch_of(rows.val, count=12)[key] for key in ("files", "labels")), strict=True)
    }
    assert [found[str(n)] for n in range(4)] == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert batch_of(rows.train)["labels"].shape == (6, 3)
