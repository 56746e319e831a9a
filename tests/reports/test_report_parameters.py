"""The parameters: the study in memory, importance, and what a plot leaves out."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import replace

import pytest
from report_reader import drawn, section_text
from report_records import BLEU, HOSTILE, LOSS

from reports.figures_parameters import LACKING, contour_of, parallel_coordinates, ranks_of, slice_of
from reports.parameter_study import at_most, importances, parameter_study
from reports.record import Evaluation, StudyRecord, Trial


def study(trials: int = 40, metric=BLEU) -> StudyRecord:
    """The metric depends on `lr` alone; only one of two optimizers has `momentum`."""
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
def compared():
    made = parameter_study(study())
    assert made is not None
    return made


def test_what_matters_is_found(compared) -> None:
    shares = importances(compared)
    assert next(iter(shares)) == "lr"
    assert shares["lr"] > 0.4
    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {"lr", "type", "layers", "momentum"}, "a parameter that never varies is none"


def test_a_conditional_parameter_is_missing_where_it_is_missing(compared) -> None:
    frozen = compared.study.get_trials(deepcopy=False)
    assert compared.lacking == {"momentum": sum("momentum" not in trial.params for trial in frozen)}
    assert len(slice_of(study(), compared, "momentum").data[0].x) == 40 - compared.lacking["momentum"]
    text = section_text("parameters", study())
    assert f"momentum is evaluated over the {40 - compared.lacking['momentum']} trials that have it" in text


def test_few_trials_have_no_importance() -> None:
    text = section_text("parameters", study(5))
    assert "needs at least 10 trials; there are 5" in text
    assert drawn("parameters", study(2)) is None


def test_failed_trials_are_not_compared() -> None:
    record = study()
    failed = [replace(trial, status="failed") for trial in record.trials]
    assert parameter_study(replace(record, trials=failed)) is None


def test_the_highest_rung_with_enough_trials_is_compared() -> None:
    record = study()
    higher = [Evaluation(n, 2, 2, 2, 1.0, {"bleu": 50.0 + n}) for n in range(1, 13)]
    record = replace(record, evaluations=[*record.evaluations, *higher])
    made = parameter_study(record)
    assert made is not None
    assert (made.rung, len(made.trials)) == (2, 12)


def test_fewer_trials_keep_the_best(compared) -> None:
    thinned = at_most(compared, 10)
    values = [trial.value for trial in compared.study.get_trials(deepcopy=False)]
    kept = [trial.value for trial in thinned.study.get_trials(deepcopy=False)]
    assert len(kept) == 10
    assert set(sorted(values, reverse=True)[:5]) <= set(kept)
    assert [trial.trial_id for trial in thinned.trials] == sorted(trial.trial_id for trial in thinned.trials)


def test_marks_speak_of_our_trials(compared) -> None:
    record = study()
    assert slice_of(record, compared, "lr").data[0].text[0].startswith("<b>trial 1</b>")
    assert ranks_of(compared, ("layers", "lr")).data[0].hovertext[0].startswith("<b>trial 1</b>")
    assert contour_of(record, compared, ("layers", "lr")).data[1].text[0].startswith("<b>trial 1</b>")
    assert set(slice_of(record, compared, "type").data[0].x) == {"adamw", "sgd"}


def test_lines_pass_below_an_axis_that_they_lack(compared) -> None:
    record = study()
    figure = parallel_coordinates(record, compared, list(compared.names))
    heights = [y for trace in figure.data for y in trace.y]
    assert heights.count(LACKING) == compared.lacking["momentum"]
    assert "none" in [note.text for note in figure.layout.annotations]
    assert [trace.name for trace in figure.data][-1] == "best fifth"


def test_lower_is_better_where_it_is() -> None:
    record = study(metric=LOSS)
    made = parameter_study(record)
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
    made = parameter_study(record)
    assert made is not None
    assert len(made.names) == 2
    assert all("<" not in name for name in made.names)
    assert drawn("parameters", record) is not None


def test_nothing_is_said_aside(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert drawn("parameters", study()) is not None
    assert capfd.readouterr() == ("", "")
