"""The parameters: the study in memory, importance, and what a plot leaves out."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import replace

import pytest
from report_reader import drawn, said
from report_records import BLEU, HOSTILE, LOSS

from reports.figures_parameters import LACKING, contour_of, parallel_coordinates, ranks_of, slice_of
from reports.parameters import few, importances, parameters
from reports.record import Evaluation, StudyRecord, Trial


def study(trials: int = 40, metric=BLEU) -> StudyRecord:
    """The metric hangs on `lr` alone; `momentum` is there with one of two optimizers only."""
    chance = random.Random(0)
    made, points = [], []
    for n in range(1, trials + 1):
        name = chance.choice(["adamw", "sgd"])
        params = {"lr": 10 ** chance.uniform(-5, -1), "type": name, "layers": chance.choice([2, 4, 8]), "fixed": 3}
        params |= {"momentum": chance.random()} if name == "sgd" else {}
        value = 10 - abs(math.log10(params["lr"]) + 3) * 3
        made.append(Trial(n, "completed", params, value=value, epochs=1))
        points.append(Evaluation(n, 1, 1, 1, 1.0, {metric.name: value}))
    keys = ("lr", "type", "layers", "momentum", "fixed", "absent")
    return StudyRecord("s", "c", metric, parameters=keys, log_parameters=("lr",), trials=made, evaluations=points)


@pytest.fixture
def found():
    made = parameters(study())
    assert made is not None
    return made


def test_what_matters_is_found(found) -> None:
    shares = importances(found)
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.4
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {"lr", "type", "layers", "momentum"}, "a parameter that never varies is none"


def test_a_conditional_parameter_is_missing_where_it_is_missing(found) -> None:
    frozen = found.study.get_trials(deepcopy=False)
    assert found.lacking == {"momentum": sum("momentum" not in trial.params for trial in frozen)}
    assert len(slice_of(study(), found, "momentum").data[0].x) == 40 - found.lacking["momentum"]
    text = said("parameters", study())
    assert f"momentum is weighed over the {40 - found.lacking['momentum']} trials that have it" in text


def test_few_trials_have_no_importance() -> None:
    text = said("parameters", study(5))
    assert "takes at least 10 trials to say; there are 5" in text
    assert drawn("parameters", study(2)) is None


def test_failed_trials_are_not_compared() -> None:
    record = study()
    failed = [replace(trial, status="failed") for trial in record.trials]
    assert parameters(replace(record, trials=failed)) is None


def test_the_highest_rung_with_enough_trials_is_compared() -> None:
    record = study()
    higher = [Evaluation(n, 2, 2, 2, 1.0, {"bleu": 50.0 + n}) for n in range(1, 13)]
    record = replace(record, evaluations=[*record.evaluations, *higher])
    made = parameters(record)
    assert made is not None
    assert (made.rung, len(made.trials)) == (2, 12)


def test_fewer_trials_keep_the_best(found) -> None:
    thinned = few(found, 10)
    values = [trial.value for trial in found.study.get_trials(deepcopy=False)]
    kept = [trial.value for trial in thinned.study.get_trials(deepcopy=False)]
    assert len(kept) == 10
    assert set(sorted(values, reverse=True)[:5]) <= set(kept)
    assert [trial.trial_id for trial in thinned.trials] == sorted(trial.trial_id for trial in thinned.trials)


def test_marks_speak_of_our_trials(found) -> None:
    record = study()
    assert slice_of(record, found, "lr").data[0].text[0].startswith("<b>trial 1</b>")
    assert ranks_of(found, ("layers", "lr")).data[0].hovertext[0].startswith("<b>trial 1</b>")
    assert contour_of(record, found, ("layers", "lr")).data[1].text[0].startswith("<b>trial 1</b>")
    assert set(slice_of(record, found, "type").data[0].x) == {"adamw", "sgd"}


def test_lines_pass_below_an_axis_that_they_lack(found) -> None:
    record = study()
    figure = parallel_coordinates(record, found, list(found.names))
    heights = [y for trace in figure.data for y in trace.y]
    assert heights.count(LACKING) == found.lacking["momentum"]
    assert "none" in [note.text for note in figure.layout.annotations]
    assert [trace.name for trace in figure.data][-1] == "best fifth"


def test_lower_is_better_where_it_is() -> None:
    record = study(metric=LOSS)
    made = parameters(record)
    assert made is not None
    best = parallel_coordinates(record, made, ["lr"]).data[-1]
    assert max(y for y in best.y[1::3]) < 0.5


def test_names_and_values_of_strangers_are_text() -> None:
    record = study()
    trials = [
        replace(
            trial, params={HOSTILE: trial.params["type"] + HOSTILE, HOSTILE + "!" * 50: [trial.trial_id % 3, HOSTILE]}
        )
        for trial in record.trials
    ]
    record = replace(record, trials=trials, parameters=(HOSTILE, HOSTILE + "!" * 50))
    made = parameters(record)
    assert made is not None
    assert len(made.names) == 2
    assert all("<" not in name for name in made.names)
    assert drawn("parameters", record) is not None


def test_nothing_is_said_aside(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert drawn("parameters", study()) is not None
    assert capfd.readouterr() == ("", "")
