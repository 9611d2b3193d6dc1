"""Report of finished studies."""

import json

import numpy as np
import pytest

from fb_marketplace.ml.objective import Objective
from fb_marketplace.parameters.base import Parameters
from fb_marketplace.parameters.tune import TuneParameters
from fb_marketplace.pipelines.tune.report import report_studies
from fb_marketplace.pipelines.tune.search import Study, Trial


def study(section, *trials):
    """A study with a value of ``rate`` and a hit rate of ten cases per trial."""
    objective = Objective(section, "recall_at_1", Parameters(), np.arange(10), "key", np.zeros)
    cases = [np.arange(10) < hits for _, hits in trials]
    return Study(
        objective,
        [
            Trial({"rate": rate}, hits.astype(float))
            for (rate, _), hits in zip(trials, cases, strict=True)
        ],
        40,
    )


@pytest.fixture
def report(base_parameters):
    parameters = TuneParameters.model_validate(base_parameters["tune"])
    studies = [
        study("ranker", (0.1, 5), (0.2, 9), (0.3, 7)),
        study("vision.head", (1, 8), (2, 8), (3, 1)),
        study("vision.embedding", (0.5, 2), (1e-05, 4)),
    ]
    return lambda: report_studies(studies, parameters)


def test_best_values_are_nested_without_equal_ones(report):
    assert report().parameters == {
        "ranker": {"rate": 0.2},
        "vision": {"embedding": {"rate": 1e-05}},
    }


def test_command_with_best_values_is_logged(report, caplog):
    with caplog.at_level("INFO"):
        report()

    assert caplog.messages[-2].endswith("includes 0: vision.embedding")
    assert caplog.messages[-1].endswith(
        "kedro run --params=ranker.rate=0.2,vision.embedding.rate=1e-05"
    )


def test_gain_over_current_values_has_interval(report):
    ranker, head = (report().report[section] for section in ("ranker", "vision.head"))

    assert ranker["current"] == {"parameters": {"rate": 0.1}, "value": 0.5}
    assert ranker["best"] == {"parameters": {"rate": 0.2}, "value": 0.9}
    assert ranker["gain"]["value"] == 0.4
    assert 0 < ranker["gain"]["low"] < 0.4 < ranker["gain"]["high"] < 1
    assert (ranker["trials"], ranker["planned_trials"]) == (3, 40)
    assert head["gain"]["value"] == head["gain"]["high"] == 0


def test_each_trial_is_a_row(report):
    trials = report().trials

    assert len(trials) == 8
    best = trials.loc[trials[trials["section"] == "ranker"]["value"].idxmax()]
    assert (best["trial"], json.loads(best["parameters"])) == (1, {"rate": 0.2})


def test_history_is_a_figure(report):
    assert report().history.startswith(b"\x89PNG")


def test_search_without_studies_has_empty_report(base_parameters):
    empty = report_studies([], TuneParameters.model_validate(base_parameters["tune"]))

    assert (len(empty.trials), empty.parameters, empty.report) == (0, {}, {})
    assert empty.history.startswith(b"\x89PNG")
