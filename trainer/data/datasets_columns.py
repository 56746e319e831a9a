"""What the columns of a table of the `datasets` library hold: images, and their label, captions or boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_FEATURES = b"huggingface"  # key of the library's description in a table's schema
_CAPTION = re.compile(r"(caption|text|sentence|description|prompt|title|alt_text)s?(_?\d+)?(_text)?(_list)?")
_LABELS = ("label", "labels", "fine_label", "class", "category", "target")
_IMAGES = ("image", "img", "picture", "photo", "jpg", "png")


@dataclass(frozen=True)
class Columns:
    """The columns that are used; `names` are those of the classes of labels or of boxes, where the table has them."""

    image: str
    label: str
    captions: tuple[str, ...]
    objects: str
    names: tuple[str, ...]
    kinds: str  # the key of the classes in `objects`

    @property
    def words(self) -> str:
        """A description of what was recognised."""
        beside = [self.label, *self.captions, self.objects]
        return " and ".join([f"images in {self.image}", *(name for name in beside if name)])


def columns_of(schema: Any) -> Columns | None:
    """The columns of a schema of pyarrow's; None where none of them has images."""
    described = _described(schema)
    types = {name: str(schema.field(name).type) for name in schema.names}
    images = [name for name in types if _kind(described.get(name)) == "Image"]
    images += [name for name, kind in types.items() if kind.startswith("struct<") and "bytes: " in kind]
    images += [name for name in _IMAGES if "binary" in types.get(name, "")]
    if not images:
        return None
    classes = [name for name in types if _kind(described.get(name)) == "ClassLabel"]
    labels = [*classes, *(name for name in _LABELS if name in types and "struct" not in types[name])]
    boxes = next((name for name, kind in types.items() if "bbox" in kind), "")
    inside = _fields_of(described.get(boxes)) if boxes else {}
    kinds = next((name for name in ("category", "categories", "label", "labels") if name in types.get(boxes, "")), "")
    label = "" if boxes or not labels else labels[0]
    named = inside.get(kinds) if boxes else described.get(label)
    return Columns(
        image=images[0],
        label=label,
        captions=tuple(name for name, kind in types.items() if _CAPTION.fullmatch(name.lower()) and "string" in kind),
        objects=boxes,
        names=tuple(_names_in(named)),
        kinds=kinds,
    )


def label_in(row: Mapping[str, Any], columns: Columns) -> Any:
    """The label of a row, by name where the table has names; a list where there are several."""
    value = row[columns.label]
    return [_named(item, columns) for item in value] if isinstance(value, list) else _named(value, columns)


def captions_in(row: Mapping[str, Any], columns: Columns) -> list[str]:
    """The captions of a row, each on one line."""
    found: list[str] = []
    for name in columns.captions:
        value = row[name]
        for item in value if isinstance(value, list) else [value]:
            text = item.get("raw", item.get("text", "")) if isinstance(item, dict) else item
            found.append(" ".join(str(text or "").split()))
    return [text for text in found if text]


def boxes_in(row: Mapping[str, Any], columns: Columns) -> list[tuple[list[float], str]]:
    """The boxes of a row as the table has them, with their classes by name."""
    objects = row[columns.objects] or {}
    if isinstance(objects, dict):  # of lists
        boxes, kinds = objects["bbox"] or (), objects.get(columns.kinds) or ()
    else:
        boxes, kinds = [item["bbox"] for item in objects], [item.get(columns.kinds) for item in objects]
    return [(list(box), str(_named(kind, columns))) for box, kind in zip(boxes, kinds, strict=True)]


def _named(value: Any, columns: Columns) -> Any:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(columns.names)
    return columns.names[value] if known else value


def _described(schema: Any) -> Mapping[str, Any]:
    """The library's own description of the columns, where the table has it."""
    text = (schema.metadata or {}).get(_FEATURES)
    try:
        features = json.loads(text)["info"]["features"] if text else {}
    except (ValueError, LookupError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else ""


def _fields_of(feature: Any) -> Mapping[str, Any]:
    """The fields of a list of structures, in any of the ways in which the library describes them."""
    while isinstance(feature, list | dict):
        if isinstance(feature, list):
            feature = feature[0] if feature else None
        elif "bbox" in feature:
            return feature
        else:
            feature = feature.get("feature")
    return {}


def _names_in(feature: Any) -> Sequence[str]:
    """The names of classes in a feature, however deep in lists."""
    while isinstance(feature, list | dict):
        if isinstance(feature, dict) and isinstance(feature.get("names"), list):
            return [str(name) for name in feature["names"]]
        feature = feature.get("feature") if isinstance(feature, dict) else feature[0] if feature else None
    return ()
