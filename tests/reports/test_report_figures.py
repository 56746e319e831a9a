"""The plots: what is drawn, what is left out and said to be, and that they travel as small, strict JSON."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from report_records import BLEU, HOSTILE

from reports.figures_curves import MAX_POINTS, THINNED_CURVES, learning_curves
from reports.figures_history import optimisation_history
from reports.plot_style import COLOURS
from reports.record import Evaluation, StudyRecord, Trial
from reports.render import figure_json


def traces(figure) -> dict[str, dict]:
    return {trace["name"]: trace for trace in figure.to_plotly_json()["data"]}


def test_every_record_draws(record: StudyRecord) -> None:
    for figure in (optimisation_history(record), learning_curves(record)):
        spec = json.loads(figure_json(figure))
        for trace in spec["data"]:
            assert len(trace["x"]) == len(trace["y"])


def test_a_study_without_values_says_so(records: dict[str, StudyRecord]) -> None:
    assert optimisation_history(records["empty"]).layout.annotations[0].text == "No trial has a value yet."
    assert learning_curves(records["empty"]).layout.annotations[0].text == "No evaluation yet."


def test_curves_are_one_trace_per_status_with_gaps_between_trials(captioning: StudyRecord) -> None:
    drawn = traces(learning_curves(captioning))
    assert set(drawn) == {"completed", "pruned", "failed", "promoted"}
    completed = drawn["completed"]
    assert completed["y"].count(None) == sum(trial.status == "completed" for trial in captioning.trials)
    assert len(completed["text"]) == len(completed["y"])
    assert completed["line"]["color"] == COLOURS["completed"]
    assert (drawn["promoted"]["line"]["dash"], completed["line"]["dash"]) == ("dash", "solid")
    assert "optim.lr = " in completed["text"][0]


def test_values_that_are_no_numbers_are_not_drawn() -> None:
    values = [1.0, math.nan, math.inf, 2.0]
    points = [Evaluation(1, epoch, epoch, 1, 1.0, {"bleu": value}) for epoch, value in enumerate(values, start=1)]
    points.append(Evaluation(1, 9, 9, 1, 1.0, {"val_loss": 1.0}))
    trial = Trial(1, "completed", {}, value=2.0)
    record = StudyRecord("s", "captioning", BLEU, trials=[trial], evaluations=points)
    assert list(traces(learning_curves(record))["completed"]["y"]) == [1.0, 2.0, None]


def test_an_epoch_stands_once_whatever_was_killed() -> None:
    points = [Evaluation(1, 1, 1, 1, 1.0, {"bleu": value}) for value in (1.0, 3.0)]
    record = StudyRecord("s", "c", BLEU, trials=[Trial(1, "running", {})], evaluations=points)
    assert list(traces(learning_curves(record))["running"]["y"]) == [3.0, None]


def test_above_a_thousand_trials_curves_are_thinned_and_the_axis_says_so(records: dict[str, StudyRecord]) -> None:
    figure = learning_curves(records["many"])
    curves = sum(list(trace["y"]).count(None) for trace in figure.to_plotly_json()["data"])
    assert curves == THINNED_CURVES
    assert figure.layout.xaxis.title.text == f"epoch ({THINNED_CURVES} of 2,000 curves drawn)"
    best = max((trial for trial in records["many"].trials if trial.value is not None), key=lambda trial: trial.value)
    assert any(f"trial {best.trial_id}<" in text for text in traces(figure)["completed"]["text"])


def test_long_curves_are_thinned_to_their_shape() -> None:
    trials = [Trial(n, "completed", {}, value=1.0) for n in range(1, 101)]
    points = [
        Evaluation(trial.trial_id, epoch, epoch, 1, 1.0, {"bleu": float(epoch)})
        for trial in trials
        for epoch in range(1, 1_001)
    ]
    figure = learning_curves(StudyRecord("s", "c", BLEU, trials=trials, evaluations=points))
    (trace,) = figure.data
    assert len(trace.x) <= MAX_POINTS + len(trials)
    assert (trace.x[0], trace.x[299], trace.x[300]) == (1, 1_000, None)
    assert "at most 300 of 1000 points each" in figure.layout.xaxis.title.text
    assert trace.mode == "lines"


def test_a_curve_of_one_evaluation_is_a_mark_even_in_a_crowd(records: dict[str, StudyRecord]) -> None:
    record = records["many"]
    points = [
        Evaluation(trial.trial_id, epoch, 1, 1, 1.0, {"bleu": 1.0})
        for trial in record.trials[:500]
        for epoch in range(1, 25 if trial.trial_id % 2 else 2)
    ]
    drawn = learning_curves(replace(record, trials=record.trials[:500], evaluations=points)).data
    assert {trace.mode for trace in drawn} == {"lines", "markers"}


def test_the_best_so_far_compares_only_the_highest_rung() -> None:
    trials = [
        Trial(1, "paused", {}, value=30.0, rung=1),
        Trial(2, "completed", {}, value=20.0, rung=2),
        Trial(3, "failed", {}, value=90.0, rung=2),
        Trial(4, "completed", {}, value=25.0, rung=2),
        Trial(5, "pruned", {}, value=1.0, rung=1),
    ]
    best = traces(optimisation_history(StudyRecord("s", "c", BLEU, trials=trials)))["best so far"]
    assert list(zip(best["x"], best["y"], strict=True)) == [(2, 20.0), (4, 25.0), (5, 25.0)]


def test_a_loss_that_explodes_gets_a_logarithmic_axis(records: dict[str, StudyRecord]) -> None:
    assert optimisation_history(records["losses"]).layout.yaxis.type == "log"
    assert optimisation_history(records["captioning"]).layout.yaxis.type is None


def test_hover_texts_carry_no_markup_of_strangers(records: dict[str, StudyRecord]) -> None:
    for figure in (learning_curves(records["hostile"]), optimisation_history(records["hostile"])):
        for trace in figure.data:
            assert not any("<script" in text for text in trace.text or ())
        assert "<script" not in figure.layout.yaxis.title.text
        assert "<" not in figure_json(figure)


def test_long_parameters_are_shortened_in_hover_texts() -> None:
    params = {f"key{place}": "y" * 10_000 for place in range(20)}
    trial = Trial(1, "completed", params, value=1.0)
    (text,) = traces(optimisation_history(StudyRecord("s", "c", BLEU, trials=[trial])))["completed"]["text"]
    assert len(text) < 1_000
    assert text.endswith("and 12 more parameters")


def test_json_is_rounded_and_folded() -> None:
    points = [Evaluation(1, epoch, 1, 1, 1.0, {"bleu": epoch / 3}) for epoch in range(1, 21)]
    trial = Trial(1, "completed", {"a": HOSTILE})
    spec = json.loads(figure_json(learning_curves(StudyRecord("s", "c", BLEU, trials=[trial], evaluations=points))))
    (trace,) = spec["data"]
    assert trace["y"][:3] == [0.33333, 0.66667, 1]
    ((count, text),) = trace["text"]["runs"]
    assert count == 21
    assert text.startswith("<b>trial 1</b> (completed)")


def test_curves_are_coloured_by_status_or_by_rung(ladder: StudyRecord) -> None:
    figure = learning_curves(ladder)
    by_status, by_rung = (button.args[0]["visible"] for button in figure.layout.updatemenus[0].buttons)
    names = [trace.name for trace in figure.data]
    assert [trace.visible for trace in figure.data] == by_status, "what is seen at first"
    assert {name for name, shown in zip(names, by_status, strict=True) if shown} >= {"completed", "paused", "promoted"}
    seen = [name for name, shown in zip(names, by_rung, strict=True) if shown]
    assert seen == ["promoted", "rung 1", "rung 2", "rung 3"]
    second = figure.data[names.index("rung 2")]
    assert set(second.x) - {None} == {1, 2}, "a piece begins where the one before it ended"
    points = [value for name in ("rung 1", "rung 2", "rung 3") for value in figure.data[names.index(name)].y]
    assert set(points) == {v for name in ("completed", "paused", "failed") for v in figure.data[names.index(name)].y}


def test_without_a_ladder_there_is_no_switch(captioning: StudyRecord) -> None:
    assert not learning_curves(captioning).layout.updatemenus


def test_ticks_of_near_values_are_told_apart(captioning: StudyRecord) -> None:
    near = [replace(trial, value=0.1 * (trial.trial_id % 3)) for trial in captioning.trials]
    assert optimisation_history(replace(captioning, trials=near, full_runs=[])).layout.yaxis.tickformat == ".4~g"
    assert optimisation_history(captioning).layout.yaxis.tickformat == ".1~f"
