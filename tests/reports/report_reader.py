"""Reads what the report wrote as a browser would, and draws single sections for the tests."""

from __future__ import annotations

import importlib
from collections import Counter
from html.parser import HTMLParser

from reports.build import SECTIONS
from reports.markup import Section
from reports.record import StudyRecord

VOID = {"img", "input", "meta", "link", "br", "circle", "polyline", "path"}
SAFE = {
    "section", "h1", "h2", "h3", "p", "a", "div", "dl", "dt", "dd", "span", "strong", "code", "pre", "ul", "ol", "li",
    "table", "caption", "thead", "tbody", "tr", "th", "td", "button", "label", "input", "output", "figure",
    "figcaption", "img", "svg", "polyline", "circle", "noscript", "script", "header", "nav", "main", "footer",
    "html", "head", "body", "meta", "title", "link", "style", "image", "use", "g", "rect", "text",
}  # fmt: skip


class Reader(HTMLParser):
    """Reads a page as a browser would and complains about what has no place in it."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: Counter[str] = Counter()
        self.tags: Counter[str] = Counter()
        self.json: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.labels: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in SAFE:
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            self._attribute(tag, name, value or "")
        if tag not in VOID:
            self.open.append(f"{tag}:json" if ("type", "application/json") in attrs else tag)

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name.startswith("on"):
            self.faults.append(f"{tag} {name}")
        if name == "src" and not value.startswith("data:image/jpeg;base64,"):
            self.faults.append(f"{tag} src {value}")
        if name == "href" and tag == "image":
            self.faults += [] if value.startswith("data:image/jpeg;base64,") else [f"image href {value}"]
        elif name == "href":
            self.links.append(value)
        if name in ("alt", "aria-label"):
            self.labels.append(value)
        if name == "id":
            self.ids[value] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        opened = self.open.pop() if self.open else "nothing"
        if opened.split(":")[0] != tag:
            self.faults.append(f"</{tag}> closes {opened}")

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "script:json":
            self.json.append(data)
        elif inside not in ("script", "style"):
            self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert not reader.faults
    assert not reader.open
    return reader


def drawn(name: str, record: StudyRecord) -> Section | None:
    module, function = SECTIONS[name].split(":")
    section: Section | None = getattr(importlib.import_module(module), function)(record)
    return section


def section_html(name: str, record: StudyRecord) -> str:
    section = drawn(name, record)
    assert section is not None
    return section.body


def section_text(name: str, record: StudyRecord) -> str:
    return " ".join(" ".join(read(section_html(name, record)).text).split())
