"""Numbers, durations and parameters as text: the only place that knows the decimals of each metric."""

from __future__ import annotations

import json
import math
from typing import Any

from reports.record import Metric

# BLEU runs from 0 to 100 and differs by tenths; mAP and accuracy run from 0 to 1 and differ by thousandths.
DECIMALS = {"bleu": 1, "map": 3, "accuracy": 3}
MISSING = "–"

# Control characters, which are not allowed in HTML, and those that change the direction of all text after them.
_CONTROLS = (*range(9), 11, 12, *range(14, 32), *range(127, 160))
_DIRECTIONS, _SURROGATES = (*range(0x202A, 0x202F), *range(0x2066, 0x206A)), range(0xD800, 0xE000)
_REPLACED = dict.fromkeys((*_CONTROLS, *_DIRECTIONS, *_SURROGATES), "\ufffd")


def finite(value: float | None) -> float | None:
    """The value, or None if it is missing, NaN or infinite."""
    return value if value is not None and math.isfinite(value) else None


def metric_text(metric: Metric, value: float | None) -> str:
    """A value of the metric with its usual decimals: BLEU 22.1, mAP 0.412, loss 1.734."""
    if value is None:
        return MISSING
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    decimals = DECIMALS.get(metric.name)
    return four_digits(value) if decimals is None else f"{value:.{decimals}f}"


def four_digits(value: float) -> str:
    """Four significant digits including trailing zeros, so that a column of losses lines up."""
    return f"{value:#.4g}".removesuffix(".")


def metric_format(metric: Metric, *, trimmed: bool = False) -> str:
    """The same decimals in the d3 notation that plotly uses; `trimmed`, for axes, drops trailing zeros."""
    decimals = DECIMALS.get(metric.name)
    return ".4~g" if decimals is None else f".{decimals}{'~' if trimmed else ''}f"


def duration(seconds: float) -> str:
    """A duration as text: `42 s`, `7 min 05 s`, `3 h 20 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return MISSING
    if seconds < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def signed(value: float | None) -> str:
    """Two decimals with a typographic minus sign: `0.67`, `−0.14`."""
    return MISSING if value is None else f"{value:.2f}".replace("-", "−")


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 trial`, `1,200 trials`; `many` is the plural if it is not noun + s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def visible(text: str) -> str:
    """The text with a replacement character for each character that would garble the rest of the page."""
    return text.translate(_REPLACED)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis if some were left out."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def canonical_json(value: Any) -> str:
    """One JSON spelling per value, so that equal parameters look equal. Unknown objects become their `str`."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(", ", ": "), default=str)


def param_text(value: Any) -> str:
    """A parameter for people: floats with four significant digits, JSON if it is neither text nor number."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return canonical_json(value)


def joined(items: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
