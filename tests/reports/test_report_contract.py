"""What every section of the table owes, whatever the study, and what the page owes."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from report_reader import drawn, read
from report_records import HOSTILE, many

from reports.build import FIGURES, SECTIONS, build_report, figure
from reports.record import Evaluation, Rung, StudyRecord
from reports.render import figure_json

pytestmark = pytest.mark.core


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_draws_every_study(name: str, record: StudyRecord) -> None:
    section = drawn(name, record)
    if section is None:
        return
    assert section.title
    reader = read(section.body)
    assert max(reader.ids.values(), default=1) == 1
    assert reader.tags["script"] == len(reader.json)
    for text in reader.json:
        json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert drawn(name, record) == section, "a section is a function of the record alone"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_takes_part_in_the_whole_study(name: str, ladder: StudyRecord) -> None:
    assert drawn(name, ladder) is not None


@pytest.mark.parametrize("name", [name for name in SECTIONS if name != "summary"])
def test_sections_without_anything_to_say_are_left_out(name: str, records: dict[str, StudyRecord]) -> None:
    assert drawn(name, records["empty"]) is None


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_every_study(name: str, record: StudyRecord) -> None:
    found = figure(name, record)
    json.loads(figure_json(found), parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert found.data or found.layout.annotations, "it says why it is empty"


def test_the_page_is_sound(record: StudyRecord) -> None:
    page = build_report(record)
    reader = read(page)
    assert max(reader.ids.values()) == 1
    anchors = [link[1:] for link in reader.links if link.startswith("#")]
    assert not set(anchors) - set(reader.ids)
    assert all(link.startswith(("#", "data:", "trials/", "full/", "%")) for link in reader.links)
    assert page.count("plotly.js v") == (1 if reader.json else 0)
    assert "default-src 'none'" in page


def test_what_strangers_wrote_is_text(records: dict[str, StudyRecord]) -> None:
    page = build_report(records["hostile"])
    assert "<script>alert" not in page
    shown = HOSTILE.replace("\u202e", "\ufffd")
    assert "".join(read(page).text).count(shown) > 10


def test_long_texts_are_shortened(records: dict[str, StudyRecord]) -> None:
    assert "x" * 600 not in build_report(records["hostile"])


def test_a_broken_section_says_so_in_its_place(captioning: StudyRecord, caplog: pytest.LogCaptureFixture) -> None:
    sections = {**SECTIONS, "history": "reports.formatting:plural", "later": "reports.sections.missing:section"}
    with caplog.at_level(logging.WARNING):
        page = build_report(captioning, sections)
    reader = read(page)
    text = " ".join(reader.text)
    assert "This section could not be drawn: TypeError: plural() missing" in text
    assert "This section could not be drawn: ModuleNotFoundError" in text
    assert {"summary", "leaders", "reproduce", "later"} <= set(reader.ids)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


@pytest.mark.slow
def test_a_thousand_trials_of_a_hundred_reports_are_small() -> None:
    record = many(trials=1_000, epochs=100)
    points = [
        Evaluation(
            trial.trial_id, epoch, epoch, 1 + (epoch > 10) + (epoch > 30), 1.0,
            {"bleu": trial.trial_id % 37 + epoch / 7.3}, "", f"slot {trial.trial_id % 8}",
            trial.trial_id * 13 + epoch * 1.0, 0.5 if epoch == 1 else 0.0, 0.2, 0.1,
        )
        for trial in record.trials
        for epoch in range(1, 101)
    ]  # fmt: skip
    rungs = [Rung(f"{epochs} epochs", epochs, 100) for epochs in (10, 30, 100)]
    record = replace(record, evaluations=points, rungs=rungs, log_parameters=("optim.lr",))
    page = build_report(record)
    assert len(page.encode()) < 10e6
