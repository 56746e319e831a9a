"""Image files as a person sees them: upright, on a ground, with eight bits; and every broken one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from trainer.errors import DataError
from trainer.store.image_files import Rendering, decode, extremes, header_of

NOISE = np.random.default_rng(0).integers(0, 256, (6, 10, 3), dtype=np.uint8)
RED = Rendering((255, 0, 0))
ORIENTATION = 0x0112


def turned(path: Path, orientation: int, **options: Any) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(NOISE).save(path, exif=exif, **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.jpg", {}),
        ("a.tif", {}),
        ("lzw.tif", {"compression": "tiff_lzw"}),
        ("a.webp", {"lossless": True}),
    ],
)
def test_an_image_is_turned_as_viewers_turn_it(
    name: str, options: dict[str, Any], orientation: int, tmp_path: Path
) -> None:
    path = turned(tmp_path / name, orientation, **options)
    with Image.open(path) as file:
        seen = ImageOps.exif_transpose(file).convert("RGB")
    assert np.array_equal(decode(path, 8), np.asarray(seen.resize((8, 8), Image.Resampling.BILINEAR)))
    header = header_of(path)
    assert header[:2] == seen.size == ((6, 10) if orientation > 4 else (10, 6))
    assert header.sideways == (orientation > 4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0", b"\xff" * 40])
def test_damaged_exif_leaves_the_picture_as_it_is(exif: bytes, tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.jpg")
    Image.fromarray(NOISE).save(tmp_path / "b.jpg", exif=exif)
    assert np.array_equal(decode(tmp_path / "b.jpg", 8), decode(tmp_path / "a.jpg", 8))
    assert header_of(tmp_path / "b.jpg") == (10, 6, False, False)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int, tmp_path: Path) -> None:
    path = turned(tmp_path / "a.png", orientation)
    assert np.array_equal(decode(path, 8), decode(turned(tmp_path / "b.png", 1), 8))


def palette_image() -> Image.Image:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30] + [0] * 9)
    return image


@pytest.mark.parametrize(
    ("image", "name", "options"),
    [
        (Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "a.png", {}),
        (Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "a.webp", {"lossless": True}),
        (Image.new("RGBA", (4, 4), (9, 9, 9, 0)), "a.tif", {}),
        (Image.new("LA", (4, 4), (0, 0)), "a.png", {}),
        (Image.new("PA", (4, 4)), "a.tif", {}),
        (palette_image(), "a.png", {"transparency": 1}),
        (palette_image(), "a.gif", {"transparency": 1}),
        (palette_image(), "a.png", {"transparency": bytes([255, 0])}),
        (Image.new("RGB", (4, 4), (1, 2, 3)), "a.png", {"transparency": (1, 2, 3)}),
        (Image.new("L", (4, 4), 7), "a.png", {"transparency": 7}),
        (Image.new("1", (4, 4), 0), "a.png", {"transparency": 0}),
    ],
)
def test_the_ground_shows_where_an_image_is_transparent(
    image: Image.Image, name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    image.save(tmp_path / name, **options)
    assert decode(tmp_path / name, 2).min() == 255
    assert decode(tmp_path / name, 2, 3, RED)[0, 0].tolist() == [255, 0, 0]
    assert decode(tmp_path / name, 2, 4, RED)[0, 0].tolist() == [255, 0, 0, 0]
    assert decode(tmp_path / name, 2, 1, RED)[0, 0].tolist() == list(RED.ground_in(1)) == [76]


def test_half_of_a_ground_shows_through(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 200, 128)).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", 2, 3, RED)[0, 0].tolist() == pytest.approx([127, 0, 100], abs=1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_opaque_images_are_what_pillow_makes_of_them(mode: str, channels: int, tmp_path: Path) -> None:
    Image.fromarray(NOISE).convert(mode).save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as file:
        plain = file.convert("RGB" if channels == 3 else "L").resize((5, 5), Image.Resampling.BILINEAR)
    assert np.array_equal(decode(tmp_path / "a.tif", 5, channels, RED), np.dstack([np.asarray(plain)]))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", "uint16"), ("a.tif", "uint16"), ("a.tif", ">u2"), ("a.tif", "int32"), ("a.tif", "float32")],
)
def test_deep_grey_is_scaled_by_its_range(name: str, kind: str, tmp_path: Path) -> None:
    twelve_bits = (np.arange(64) * 65).reshape(8, 8).astype(kind)  # 0 to 4095
    Image.fromarray(twelve_bits).save(tmp_path / name)
    assert header_of(tmp_path / name).deep
    assert extremes(tmp_path / name) == (0.0, 4095.0)
    grey = decode(tmp_path / name, 8, 1, Rendering(value_range=(0.0, 4095.0)))[..., 0]
    assert (int(grey.min()), int(grey.max()), len(np.unique(grey))) == (0, 255, 64)
    bright = decode(tmp_path / name, 8, 1, Rendering(value_range=(0.0, 1000.0)))
    assert int(bright.max()) == 255
    assert (bright == 255).mean() > 0.7, "what lies above the range is white"


def test_eight_bits_have_no_range(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    narrow = Rendering(value_range=(100.0, 101.0))
    assert np.array_equal(decode(tmp_path / "a.png", 6, 3, narrow), decode(tmp_path / "a.png", 6))


def test_every_kind_of_broken_file_is_named(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    Image.fromarray(NOISE).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:-60])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "brand.jpg").write_bytes(b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(40))
    values = np.full((4, 4), 0.5, np.float32)
    values[1, 1] = np.nan
    Image.fromarray(values).save(tmp_path / "nan.tif")
    for name in ("bomb.png", "cut.png", "empty.jpg", "text.jpg", "folder.jpg", "brand.jpg", "nan.tif", "gone.png"):
        with pytest.raises(DataError, match=rf"{name}: not a readable image \(.+\); data\.bad_samples=skip"):
            decode(tmp_path / name, 8, 3, Rendering(value_range=(0.0, 1.0)))


def test_whatever_a_library_raises_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")

    def explode(*_: object) -> None:
        raise RuntimeError("no such codec\nin detail")

    monkeypatch.setattr(Image.Image, "convert", explode)
    with pytest.raises(DataError, match=r"a\.png: not a readable image \(no such codec\); data"):
        decode(tmp_path / "a.png", 8)
