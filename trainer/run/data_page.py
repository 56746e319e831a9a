"""The page that shows data: one file of HTML that opens without a network, with its images inside."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template

import numpy as np
from PIL import Image

from trainer.task.pictures import DataPicture, Marked, Pixels

BEGINNING = "<!doctype html>"
_LARGEST_PX, _EXACT_PX = 320, 128  # larger pictures are made smaller; up to the second, kept to the last bit
_ROOM = 12.0  # percent of a picture's side that a name takes
_HUES = 360 * 0.618  # degrees between the colours of two boxes, so that neighbours differ
_PAGE = Template(
    BEGINNING
    + """
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title: the data</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 80rem; padding: 0 1rem; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; } th, td { padding: .15rem .8rem .15rem 0; text-align: start; }
th { font-weight: 600; overflow-wrap: anywhere; } .number { text-align: end; font-variant-numeric: tabular-nums; }
.warning { border-inline-start: 4px solid #c80; padding-inline-start: .6rem; overflow-wrap: anywhere; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; }
figure { margin: 0; min-width: 0; } figcaption p { margin: .2rem 0; overflow-wrap: anywhere; }
.frame { position: relative; overflow: hidden; }
.frame img { display: block; width: 100%; image-rendering: pixelated; background:
  repeating-conic-gradient(#ccc 0 25%, #fff 0 50%) 0 / 16px 16px; }
.box { position: absolute; box-sizing: border-box; border: 2px solid var(--ink); }
.box span { position: absolute; inset-block-end: 100%; left: -2px; background: var(--ink); color: #fff;
  font-size: 11px; line-height: 1.2; padding: 0 3px; white-space: nowrap; }
.high span { inset-block: 0 auto; } /* no room above it */
.far span { left: auto; right: -2px; }
</style>
</head>
<body>
<h1>$title: the data</h1>
<dl>$facts</dl>
$warnings
$counts
$sheets
</body>
</html>
"""
)


@dataclass(frozen=True)
class Sheet:
    """Pictures of one side of the split; `entries` are lines on what its batches hold."""

    title: str
    pictures: Sequence[DataPicture]
    entries: Sequence[str]


def data_page(
    title: str,
    facts: Mapping[str, str],
    counts: Mapping[str, tuple[int, int]],
    warnings: Sequence[str],
    sheets: Sequence[Sheet],
) -> str:
    """The page as text; everything in it that is data is escaped."""
    return _PAGE.substitute(
        title=_esc(title),
        facts="".join(f"<dt>{_esc(name)}</dt><dd>{_esc(text)}</dd>" for name, text in facts.items()),
        warnings="".join(f'<p class="warning" dir="auto">{_esc(f"warning: {warning}")}</p>' for warning in warnings),
        counts=_table(counts),
        sheets="".join(map(_sheet, sheets)),
    )


def _esc(text: object) -> str:
    """Text for HTML; what no file can be written with is shown by its code."""
    return html.escape(str(text).encode("utf-8", "backslashreplace").decode(), quote=True)


def _table(counts: Mapping[str, tuple[int, int]]) -> str:
    if not counts:
        return ""
    rows = "".join(
        f'<tr><th scope="row" dir="auto">{_esc(name)}</th>'
        f'<td class="number">{train}</td><td class="number">{val}</td></tr>'
        for name, (train, val) in counts.items()
    )
    head = '<tr><td></td><th scope="col">in training</th><th scope="col">in validation</th></tr>'
    return f"<h2>Numbers</h2><table>{head}{rows}</table>"


def _sheet(sheet: Sheet) -> str:
    head = f"<h2>{_esc(sheet.title)}</h2>"
    if sheet.pictures:
        return f'{head}<div class="sheet">{"".join(map(_figure, sheet.pictures))}</div>'
    entries = "".join(f"<li>{_esc(entry)}</li>" for entry in sheet.entries)
    return f"{head}<p>Nothing in its batches is a picture. They hold:</p><ul>{entries}</ul>"


def _figure(picture: DataPicture) -> str:
    image = "" if picture.pixels is None else f'<img alt="" src="{_uri(picture.pixels)}">'
    boxes = "".join(map(_box, picture.boxes))
    texts = "".join(f'<p dir="auto">{_esc(text)}</p>' for text in picture.texts)
    return f'<figure><div class="frame">{image}{boxes}</div><figcaption>{texts}</figcaption></figure>'


def _box(marked: Marked) -> str:
    left, top, right, bottom = (100.0 * part for part in marked.box)
    place = f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%"
    hue = sum(marked.name.encode("utf-8", "replace")) * _HUES % 360  # one colour for one class, in every picture
    ink = f"--ink:hsl({hue:.0f} 75% 32%)"
    near = f"{' high' if top < _ROOM else ''}{' far' if left > 100 - 2 * _ROOM else ''}"  # an edge of the picture
    return f'<div class="box{near}" style="{place};{ink}"><span dir="auto">{_esc(marked.name)}</span></div>'


def _uri(pixels: Pixels) -> str:
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))
    exact = max(image.size) <= _EXACT_PX or image.mode == "RGBA"
    image.thumbnail((_LARGEST_PX, _LARGEST_PX))
    file = io.BytesIO()
    image.save(file, "PNG" if exact else "JPEG", **({} if exact else {"quality": 90}))
    return f"data:image/{'png' if exact else 'jpeg'};base64,{base64.b64encode(file.getvalue()).decode()}"
