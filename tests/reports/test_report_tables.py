"""The CSV is a contract: columns, order, numbers to the last digit, gaps, and no formulas."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_records import BLEU, LOSS, MAP

from reports.record import Decision, Evaluation, StudyRecord, Trial
from reports.tables import decisions_frame, metrics_csv, metrics_frame, trials_csv, trials_frame

pytestmark = pytest.mark.core


def save(text: str, path: Path) -> None:
    path.write_bytes(text.encode("utf-8", errors="backslashreplace"))


def written(record: StudyRecord, folder: Path) -> list[dict[str, str]]:
    save(trials_csv(record), folder / "trials.csv")
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def study(*trials: Trial, metric=BLEU, parameters=("optim.lr", "model.layers")) -> StudyRecord:
    return StudyRecord("s", "captioning", metric, parameters=parameters, trials=trials)


def test_the_file_is_exactly_this(tmp_path: Path) -> None:
    trials = (
        Trial(
            1,
            "completed",
            {"optim.lr": 1e-05, "model.layers": 4},
            22.123456789,
            1.5,
            23.0,
            5,
            2,
            "words",
            12.25,
            "done",
            None,
            1,
            "trials/0001/checkpoints/last.pth",
        ),
        Trial(2, "failed", {"optim.lr": 3}, reason='said "no", twice', failure_kind="nan"),
        Trial(3, "pruned", {"model.layers": 2}, value=math.nan, duplicate_of=1),
    )
    save(trials_csv(study(*trials)), tmp_path / "trials.csv")
    assert (tmp_path / "trials.csv").read_bytes().decode() == (
        "trial_id,status,final_bleu,final_loss,param_optim.lr,param_model.layers,"
        "best_bleu,epochs,rung,seconds,reason,duplicate_of,retries,checkpoint\n"
        "1,completed,22.123456789,1.5,1e-05,4,23.0,5,2,12.25,done,,1,trials/0001/checkpoints/last.pth\n"
        '2,failed,,,3,,,0,1,0.0,"said ""no"", twice",,0,\n'
        "3,pruned,,,,2,,0,1,0.0,,1,0,\n"
    )


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        (BLEU, ["final_bleu", "final_loss", "best_bleu"]),
        (MAP, ["final_map", "final_loss", "best_map"]),
        (LOSS, ["final_loss", "best_loss"]),
    ],
)
def test_the_metric_names_its_columns(metric, wanted: list[str]) -> None:
    names = list(trials_frame(study(metric=metric)))
    assert [name for name in names if name.startswith(("final_", "best_"))] == wanted


def test_the_loss_of_a_loss_study_is_its_value(tmp_path: Path) -> None:
    trials = Trial(1, "completed", {}, value=0.5, loss=0.7, best=0.4), Trial(2, "pruned", {}, loss=0.9)
    assert [row["final_loss"] for row in written(study(*trials, metric=LOSS), tmp_path)] == ["0.5", "0.9"]


def test_parameters_that_are_no_numbers_are_json(tmp_path: Path) -> None:
    values = [[1, 2.5], {"b": None, "a": True}, True, None, "adamw", "é", 4, 4.0, -0.5, 10**30]
    rows = written(study(*(Trial(n, "completed", {"p": v}) for n, v in enumerate(values)), parameters=["p"]), tmp_path)
    cells = [row["param_p"] for row in rows]
    assert cells == [
        "[1, 2.5]",
        '{"a": true, "b": null}',
        "true",
        "null",
        "adamw",
        "é",
        "4",
        "4.0",
        "-0.5",
        str(10**30),
    ]
    assert json.loads(cells[1]) == values[1]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_texts_that_a_spreadsheet_would_run_are_defused(start: str, tmp_path: Path) -> None:
    text = f'{start}HYPERLINK("http://example.invalid")'
    trial = Trial(1, "failed", {"optim.lr": text, "model.layers": -3}, value=-1.5, reason=text, checkpoint=text)
    (row,) = written(study(trial), tmp_path)
    assert row["reason"] == row["checkpoint"] == row["param_optim.lr"] == "'" + text
    assert (row["param_model.layers"], row["final_bleu"]) == ("-3", "-1.5")


@given(value=st.floats(allow_nan=False), whole=st.integers())
def test_numbers_read_back_as_they_were(value: float, whole: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    trial = Trial(1, "completed", {"optim.lr": value, "model.layers": whole}, value=value, seconds=value)
    (row,) = written(study(trial), tmp_path_factory.mktemp("csv"))
    assert float(row["final_bleu"]) == float(row["param_optim.lr"]) == float(row["seconds"]) == value
    assert row["param_model.layers"] == str(whole)


def test_pandas_reads_the_file_back(captioning: StudyRecord, tmp_path: Path) -> None:
    save(trials_csv(captioning), tmp_path / "trials.csv")
    table = pd.read_csv(tmp_path / "trials.csv")
    assert list(table) == list(trials_frame(captioning))
    assert table["trial_id"].tolist() == [trial.trial_id for trial in captioning.trials]


def test_whole_numbers_stay_whole_in_the_frame() -> None:
    trials = [Trial(n, "completed", {"p": value}, duplicate_of=None) for n, value in enumerate([4, 4.5, "auto"])]
    frame = trials_frame(study(*trials, Trial(9, "completed", {}, duplicate_of=1), parameters=["p"]))
    assert [type(value) for value in frame["param_p"][:3]] == [int, float, str]
    assert str(frame["duplicate_of"].dtype) == "Int64"
    assert frame["final_bleu"].isna().all()


def test_a_row_per_trial_of_every_record(record: StudyRecord, tmp_path: Path) -> None:
    rows = written(record, tmp_path)
    assert [row["trial_id"] for row in rows] == [str(trial.trial_id) for trial in record.trials]
    assert len(trials_frame(record)) == len(record.trials)
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "@"))]


def test_a_file_name_that_is_not_unicode_can_be_written(tmp_path: Path) -> None:
    (row,) = written(study(Trial(1, "completed", {}, checkpoint="caf\udce9.pth")), tmp_path)
    assert row["checkpoint"] == "caf\\udce9.pth"


def test_the_file_of_evaluations_is_exactly_this(tmp_path: Path) -> None:
    points = [
        Evaluation(1, 1, 40, 1, 2.5, {"val_loss": 1.25, "bleu": 10.0}, "", "slot 1", 3.75),
        Evaluation(1, 2, 80, 2, 2.0, {"bleu": math.nan, "=now()": 1.0, "epoch": 7.0}),
        Evaluation(1, 1, 40, 1, 9.0, {"bleu": 0.1}, "full/0001-seed0"),
    ]
    record = StudyRecord("s", "captioning", BLEU, evaluations=points)
    save(metrics_csv(record), tmp_path / "metrics.csv")
    assert (tmp_path / "metrics.csv").read_bytes().decode() == (
        "trial_id,epoch,rung,slot,seconds,ended_at,run,bleu,val_loss,'=now()\n"
        "1,1,1,slot 1,2.5,3.75,,10.0,1.25,\n"
        "1,2,2,,2.0,,,,,1.0\n"
        "1,1,1,,9.0,,full/0001-seed0,0.1,,\n"
    )
    frame = metrics_frame(record)
    assert list(frame["epoch"]) == [1, 2, 1]
    assert frame["slot"].notna().tolist() == [True, False, False]


def test_every_record_has_its_tables(record: StudyRecord, tmp_path: Path) -> None:
    save(metrics_csv(record), tmp_path / "metrics.csv")
    assert len(metrics_frame(record)) == len(record.evaluations)
    assert len(decisions_frame(record)) == len(record.decisions)


def test_decisions_stand_in_the_order_of_the_log() -> None:
    record = StudyRecord("s", "c", BLEU, decisions=[Decision(2, 1, "later"), Decision(1, 4, "first")])
    assert decisions_frame(record)["line"].tolist() == ["first", "later"]
    assert decisions_frame(record)["trial_id"].tolist() == [4, 1]


@pytest.mark.parametrize(
    "text",
    ['=HYPERLINK("http://x.invalid","x")', "<script>alert(1)</script>", "two \"quotes\", 'one'", "🐙 \u202e", "a\rb\nc",
     "\r=1+1", "x" * 10_000],
    ids=["formula", "script", "quotes", "emoji", "line ends", "a line end before a formula", "long"],
)  # fmt: skip
def test_strangers_texts_come_back_as_text_from_every_column(text: str, tmp_path: Path) -> None:
    trial = Trial(1, "failed", {"p": text}, reason=text, checkpoint=text)
    (row,) = written(study(trial, parameters=["p"]), tmp_path)
    shown = f"'{text}" if text.startswith(("=", "\r")) else text
    assert (row["param_p"], row["reason"], row["checkpoint"]) == (shown, shown, shown)
    point = Evaluation(1, 1, 1, 1, 1.0, {text: 2.0}, text, text)
    save(metrics_csv(StudyRecord("s", "c", BLEU, evaluations=[point])), tmp_path / "metrics.csv")
    with (tmp_path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        (line,) = csv.DictReader(file)
    assert (line["slot"], line["run"], line[shown]) == (shown, shown, "2.0")
