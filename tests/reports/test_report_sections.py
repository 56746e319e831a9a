"""What each section says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from PIL import Image
from report_reader import read, section_html, section_text
from report_records import BLEU, LOSS, MAP
from report_records import captioning as captioning_study

from reports.build import build_report
from reports.formatting import duration, metric_text
from reports.ranking import ordered, ranked
from reports.record import FullRun, Sample, StudyRecord, Trial
from reports.thumbnails import picture_of, shown


def test_the_summary_tells_the_study(captioning: StudyRecord) -> None:
    best = ranked(captioning)[0]
    text = section_text("summary", captioning)
    assert f"Trial {best.trial_id} leads with BLEU {best.value:.1f}" in text
    assert "Pruning 7 trials early saved 21 epochs, 38%" in text
    assert "1 trial failed" in text
    values = [run.value for run in captioning.full_runs if run.trial_id == best.trial_id and run.value is not None]
    assert len(values) > 1
    mean = f"BLEU {fmean(values):.1f}, a mean over {len(values)} seeds"
    assert f"trial {best.trial_id} reached {mean}; in the search it had reached {best.value:.1f}" in text
    assert f"Promoted BLEU {fmean(values):.1f}" in text, "not the luckiest seed"
    assert "python -m orchestrator retry outputs/captioning-quickstart --failed" in text
    assert "Warning. One of 12 trials" in text


def test_the_summary_of_a_running_study_says_how_far_it_is(records: dict[str, StudyRecord]) -> None:
    text = section_text("summary", records["running"])
    assert "14 of 30" in text
    assert "So far, of 14 trials" in text
    assert "1 trial is paused and can continue" in text
    assert "not all of which trained as long" in text


def test_the_summary_without_a_value_promises_none(records: dict[str, StudyRecord]) -> None:
    assert "No trial has been asked for yet" in section_text("summary", records["empty"])
    assert "No trial has a value to compare" in section_text("summary", records["all_failed"])
    assert "lowest validation loss" in section_text("summary", records["losses"])


def test_trials_stand_by_rung_then_value_and_failed_ones_last() -> None:
    trials = [
        Trial(1, "failed", {}, value=99.0, rung=3),
        Trial(2, "pruned", {}, value=5.0),
        Trial(3, "completed", {}, value=4.0, rung=2),
        Trial(4, "running", {}),
        Trial(5, "pruned", {}, value=float("nan")),
        Trial(6, "pruned", {}, value=7.0, duplicate_of=2),
    ]
    record = StudyRecord("s", "captioning", BLEU, trials=trials)
    assert [trial.trial_id for trial in ordered(record)] == [3, 6, 2, 4, 5, 1]
    assert [trial.trial_id for trial in ranked(record)] == [3, 2]
    lower = replace(record, metric=LOSS)
    assert [trial.trial_id for trial in ordered(lower)] == [3, 2, 6, 4, 5, 1]


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (BLEU, 22.149, "22.1"),
        (MAP, 0.41234, "0.412"),
        (LOSS, 1.73456, "1.735"),
        (LOSS, 2.0, "2.000"),
        (LOSS, 0.000012345, "1.234e-05"),
        (BLEU, None, "–"),
        (BLEU, float("nan"), "NaN"),
        (LOSS, float("inf"), "∞"),
    ],
)
def test_metrics_have_their_decimals(metric, value: float | None, text: str) -> None:
    assert metric_text(metric, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (3.21, "3.21 s"), (42, "42 s"), (59.9, "60 s"), (425, "7 min 05 s"), (3599.7, "1 h 00 min"),
     (12_000, "3 h 20 min"), (float("nan"), "–")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_failures_stand_by_cause(records: dict[str, StudyRecord]) -> None:
    text = section_text("failures", records["all_failed"])
    assert text.startswith("2 × oom, 1 × code")
    assert "oom: it broke" in text
    assert "second line" not in text


def test_seeds_of_a_promoted_trial_are_averaged(captioning: StudyRecord) -> None:
    assert "over 2 seeds: mean 30.8, from 30.2 to 31.4." in section_text("promoted", captioning)


def test_promoted_runs_that_ended_badly_come_last(captioning: StudyRecord) -> None:
    failed = FullRun(1, 5, "failed", "full/0001-seed5", value=99.0)
    text = section_html("promoted", replace(captioning, full_runs=[failed, *captioning.full_runs]))
    assert text.index("full/0007-seed0") < text.index("full/0001-seed5")


def test_where_promoted_runs_went_on_from_a_checkpoint_the_report_says_so(captioning: StudyRecord) -> None:
    warm = replace(captioning, full_runs=[replace(run, from_checkpoint=True) for run in captioning.full_runs])
    words = "the weights of the search"
    assert "Training with best.yaml does not start from these weights: it is a different experiment" in section_text(
        "promoted", warm
    )
    for name in ("promoted", "summary"):
        assert words in section_text(name, warm)
        assert words not in section_text(name, captioning)


def test_a_large_table_is_cut_and_says_so() -> None:
    trials = [Trial(n, "completed", {}, value=float(n)) for n in range(1, 2_102)]
    text = section_html("leaders", StudyRecord("s", "captioning", BLEU, trials=trials))
    assert text.count("<tr>") == 2_001
    assert "The first 2,000 of 2,101 trials; trials.csv has all of them." in text


# --- samples ------------------------------------------------------------------------------------------------------


def test_an_image_stands_once_with_what_each_trial_made_of_it(captioning: StudyRecord) -> None:
    reader = read(section_html("samples", captioning))
    text = " ".join(" ".join(reader.text).split())
    assert reader.tags["img"] == 4
    assert text.count("a purple hexagon in the lower left corner") == 1
    for words in ("promoted · trial 7, seed 0 · BLEU 31.4", "best · trial 7 · BLEU 20.2", "worst · trial 2 · BLEU"):
        assert text.count(words) == 4 + 1, "below each image, and once in the list of whose they are"


def test_titles_group_images(captioning: StudyRecord) -> None:
    samples = [replace(sample, title="All of them") for sample in captioning.samples]
    text = section_html("samples", replace(captioning, samples=samples))
    assert text.count("<h3>All of them</h3>") == 1


def test_too_many_samples_are_left_out_and_counted(captioning: StudyRecord) -> None:
    one = captioning.samples[0]
    samples = [replace(one, title=str(place)) for place in range(30)]
    assert "18 further samples not shown." in section_text("samples", replace(captioning, samples=samples))


def test_images_become_small(tmp_path: Path) -> None:
    for mode, size in (
        ("RGBA", (900, 300)),
        ("P", (10, 10)),
        ("I;16", (300, 300)),
        ("CMYK", (300, 700)),
        ("1", (9, 9)),
    ):
        path = tmp_path / f"{mode[0]}{size[0]}.tif"
        Image.new(mode, size).save(path)
        picture = picture_of(path)
        assert picture is not None
        assert picture.uri.startswith("data:image/jpeg;base64,")
        assert len(picture.uri) < 20_000


def test_images_are_shown_as_viewers_show_them(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    dim = Image.new("I;16", (4, 2))
    dim.putpixel((0, 0), 900)
    exif = Image.Exif()
    exif[0x0112] = 6
    dim.save(tmp_path / "dim.png", exif=exif)
    Image.new("F", (4, 4), float("nan")).save(tmp_path / "hole.tif")
    seen = []
    for name in ("clear.png", "dim.png", "hole.tif"):
        with Image.open(tmp_path / name) as image:
            seen.append(shown(image))
    assert [image.mode for image in seen] == ["RGB"] * 3
    assert seen[0].getpixel((1, 1)) == (255, 255, 255)
    assert seen[1].size == (2, 4)
    assert (seen[1].getpixel((1, 0)), seen[1].getpixel((0, 0))) == ((255, 255, 255), (0, 0, 0))


def test_an_image_that_changed_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (20, 20), "red").save(path)
    before = picture_of(path)
    Image.new("RGB", (30, 20), "blue").save(path)
    assert picture_of(path) != before


def test_what_is_no_image_gets_a_placeholder(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    for path in (tmp_path / "text.png", tmp_path / "empty.png", tmp_path / "gone.png", tmp_path, Path("nul\0.png")):
        assert picture_of(path) is None
    trial = Trial(1, "completed", {}, value=1.0)
    samples = [Sample(1, tmp_path / "gone.png", "A", ["reference"], ["prediction"])]
    record = StudyRecord("s", "captioning", BLEU, trials=[trial], samples=samples)
    assert "No image: gone.png is missing or cannot be read" in section_text("samples", record)


def test_records_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    study = captioning_study(tmp_path)
    assert str(tmp_path) not in build_report(study)


def test_a_trial_links_to_its_folder_and_nowhere_else(ladder: StudyRecord) -> None:
    links = read(section_html("leaders", ladder)).links
    folders = [f"trials/{trial.trial_id:04d}/" for trial in ladder.trials]
    shown = {sample.trial_id for sample in ladder.samples}
    samples = [link for n in shown for link in (f"#samples-of-{n}", f"trials/{n:04d}/samples/")]
    assert sorted(links) == sorted(folders + samples)
    assert {link[1:] for link in samples if link[0] == "#"} <= set(read(section_html("samples", ladder)).ids)
    trial = Trial(1, "completed", {}, value=1.0, folder="javascript:alert(1)")
    assert read(section_html("leaders", replace(ladder, trials=[trial]))).links == ["javascript%3Aalert%281%29/"]


def test_the_summary_says_how_far_to_trust_the_lead(ladder: StudyRecord) -> None:
    text = section_text("summary", ladder)
    assert "The lead over the second, trial 10, is 4.3; from the best to the worst of the 4 on this rung it is" in text
    assert (
        "The rankings at rung 3 and full training agree with a Kendall’s τ of 0.50 over 4 trials: too few to tell"
        in text
    )
    assert "Pausing 7 trials early saved 21 epochs" in text
