"""Takes the README's picture of generated images: `python docs/samples.py made.csv docs/samples.png`.

`made.csv` is what `python -m trainer predict PROMPTS --checkpoint … --output made.csv` writes; the checkpoint in the
picture is that of `python -m trainer --config configs/diffusion_small.yaml`.
"""

from __future__ import annotations

import csv
import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

SIDE_PX, GAP_PX, WORDS_PX, COLUMNS = 128, 10, 30, 6


def take(table: Path, picture: Path) -> None:
    """Lays the images out in rows, each over the words that it was made from."""
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    width, height = SIDE_PX + GAP_PX, SIDE_PX + WORDS_PX + GAP_PX
    sheet = Image.new("RGB", (COLUMNS * width + GAP_PX, -(-len(rows) // COLUMNS) * height + GAP_PX), "white")
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        left, top = GAP_PX + number % COLUMNS * width, GAP_PX + number // COLUMNS * height
        with Image.open(table.parent / row["generated"]) as image:
            sheet.paste(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), (left, top))
        pen.multiline_text((left, top + SIDE_PX + 2), "\n".join(textwrap.wrap(row["text"], 22)), fill="black")
    sheet.save(picture, optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
