"""The HTML elements that sections are built from. All text that goes into HTML is escaped with `esc`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.formatting import visible


@dataclass(frozen=True)
class Section:
    """One section of the page: `title` is plain text, `body` is HTML with all untrusted text escaped."""

    title: str
    body: str


def esc(text: object) -> str:
    """Any value as text that is safe in HTML, between tags and in quoted attributes."""
    return html.escape(visible(str(text)), quote=True)


def paragraph(*sentences: str, kind: str = "") -> str:
    """HTML sentences as one paragraph; empty if all of them are empty."""
    text = " ".join(sentence for sentence in sentences if sentence)
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{text}</p>" if text else ""


def chip(status: str) -> str:
    """A status as a coloured mark with its name: colour alone is not accessible."""
    return f'<span class="chip {esc(status)}">{esc(status)}</span>'


def code(text: object) -> str:
    """A name or value in a code font."""
    return f"<code>{esc(text)}</code>"


def command(text: str) -> str:
    """A command on its own line; one click selects all of it."""
    return f'<pre class="command" tabindex="0"><code>{esc(text)}</code></pre>'


def definitions(pairs: Mapping[str, str], kind: str = "facts") -> str:
    """Labels and texts as a definition list."""
    rows = "".join(f"<div><dt>{esc(label)}</dt><dd>{esc(text)}</dd></div>" for label, text in pairs.items())
    return f'<dl class="{kind}">{rows}</dl>' if rows else ""


def scroller(label: str, inner: str) -> str:
    """A wide element that scrolls sideways by itself, also by keyboard, so that the page never has to."""
    return f'<div class="scroller" role="region" tabindex="0" aria-label="{esc(label)}">{inner}</div>'


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    numeric: Sequence[int] = (),
    wide: Sequence[int] = (),
) -> str:
    """A table of HTML cells under plain-text column heads; the first cell of a row is its header.

    Columns with an index in `numeric` align right; those in `wide` have room for a sentence.
    """
    kinds = ["num" if place in numeric else "wide" if place in wide else "" for place in range(len(heads))]
    head = "".join(f'<th scope="col" class="{kind}">{esc(text)}</th>' for kind, text in zip(kinds, heads, strict=True))
    body = "".join(_row(kinds, row) for row in rows)
    return scroller(
        caption,
        f'<table><caption class="quiet">{esc(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>",
    )


def _row(kinds: Sequence[str], cells: Sequence[str]) -> str:
    first, *rest = zip(kinds, cells, strict=True)
    others = "".join(f'<td class="{kind}">{cell}</td>' for kind, cell in rest)
    return f'<tr><th scope="row" class="{first[0]}">{first[1]}</th>{others}</tr>'
