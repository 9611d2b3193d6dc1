"""Report of a search for better parameters."""

import json
import logging
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.bootstrap import Estimate, mean_by_group
from fb_marketplace.evaluation.plots import to_png
from fb_marketplace.parameters.tune import TuneParameters
from fb_marketplace.pipelines.tune.search import Study

logger = logging.getLogger(__name__)


class TuningReport(NamedTuple):
    """Outputs of the search.

    Attributes:
        trials: ``section``, ``trial`` (0 has the current values), ``parameters`` (JSON), ``metric`` and
            ``value``.
        parameters: the best values, nested like the parameter files; without sections whose current values
            are the best.
        report: by section: metric, current and best value, gain, and number of trials.
        history: the trials as a figure, PNG.
    """

    trials: pd.DataFrame
    parameters: dict[str, Any]
    report: dict[str, Any]
    history: bytes


def report_studies(tuning_studies: list[Study], parameters: TuneParameters) -> TuningReport:
    """Report the trials, the best values, and their gains over the current values.

    An interval covers the choice of validation cases. It does not cover that the best of many trials was
    chosen on the same cases, so the gain on other data is smaller.
    """
    better = {
        study.objective.section: study.best.parameters
        for study in tuning_studies
        if study.best is not study.trials[0]
    }
    gains = {study.objective.section: _log_gain(study, parameters) for study in tuning_studies}
    if chance := [section for section in better if gains[section].low <= 0]:
        logger.info("May be chance, since the interval includes 0: %s", ", ".join(chance))
    if better:
        logger.info("To use the best values: kedro run --params=%s", _as_option(better))
    return TuningReport(
        _trials(tuning_studies),
        _nested(better),
        {
            study.objective.section: _summary(study, gains[study.objective.section])
            for study in tuning_studies
        },
        plot_trials(tuning_studies),
    )


def plot_trials(studies: list[Study]) -> bytes:
    """Plot the value of each trial, the best so far, and the value of the current parameters; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * max(1, len(studies)), 4), layout="constrained")
    panels = figure.subplots(1, max(1, len(studies)), squeeze=False)[0]
    for axes, study in zip(panels, studies, strict=False):
        scores = [trial.score for trial in study.trials]
        axes.plot(scores, "o", color="0.7", label="trial")
        axes.step(range(len(scores)), np.maximum.accumulate(scores), where="post", label="best")
        axes.axhline(scores[0], color="black", linestyle="--", label="current values")
        axes.set_xlabel("trial")
        axes.set_ylabel(f"{study.objective.metric}, validation")
        axes.set_title(study.objective.section)
        axes.legend(loc="lower right")
    return to_png(figure)


def _log_gain(study: Study, parameters: TuneParameters) -> Estimate:
    """Estimate the gain of the best trial over the current values, and log it."""
    gain = mean_by_group(
        study.best.cases - study.trials[0].cases,
        study.objective.groups,
        parameters.bootstrap_samples,
        parameters.confidence,
        parameters.seed,
    )
    logger.info(
        "%s: %s %.4f with the current values, %.4f with the best of %d trials; gain %+.4f [%+.4f, %+.4f]",
        *(study.objective.section, study.objective.metric, study.trials[0].score),
        *(study.best.score, len(study.trials), gain.value, gain.low, gain.high),
    )
    return gain


def _summary(study: Study, gain: Estimate) -> dict[str, Any]:
    return {
        "metric": study.objective.metric,
        "current": {"parameters": dict(study.trials[0].parameters), "value": study.trials[0].score},
        "best": {"parameters": dict(study.best.parameters), "value": study.best.score},
        "gain": gain.to_dict(),
        "trials": len(study.trials),
        "planned_trials": study.planned,
    }


def _trials(studies: list[Study]) -> pd.DataFrame:
    rows = [
        {
            "section": study.objective.section,
            "trial": number,
            "parameters": json.dumps(dict(trial.parameters)),
            "metric": study.objective.metric,
            "value": trial.score,
        }
        for study in studies
        for number, trial in enumerate(study.trials)
    ]
    return pd.DataFrame(rows, columns=["section", "trial", "parameters", "metric", "value"])


def _nested(sections: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for section, values in sections.items():
        place = nested
        for part in section.split("."):
            place = place.setdefault(part, {})
        place.update(values)
    return nested


def _as_option(sections: dict[str, Any]) -> str:
    return ",".join(
        f"{section}.{name}={value}"
        for section, values in sections.items()
        for name, value in values.items()
    )
