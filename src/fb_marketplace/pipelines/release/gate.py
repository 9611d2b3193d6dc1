"""Release gate: no metric may be below its floor, or significantly worse than the current release."""

from collections.abc import Collection
from typing import Any, Final

import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.release import ReleaseParameters
from fb_marketplace.pipelines.release.case_metrics import NAMES
from fb_marketplace.pipelines.release.current_release import CurrentRelease, read_case_metrics
from fb_marketplace.pipelines.release.paired_bootstrap import (
    MIN_GROUPS,
    PairedDifference,
    compare_cases,
    shared_cases,
)
from fb_marketplace.storage.file_handles import FileRef

_DIGITS: Final = 4


def evaluate_gate(
    release_measures: FileRef, current_release: CurrentRelease, parameters: ReleaseParameters
) -> dict[str, Any]:
    """Compare a new release with the floors, and case by case with the current release.

    A metric without test cases, such as the accuracy of a market without a classifier, has no floor. But
    the release is rejected if the current release has cases of it.

    Missing files, inconsistent artifacts and failing canaries are detected later, when the release is
    saved: saving opens it like a server.

    Recall falls as the number of photos grows. It is compared anyway, because users see these results.

    Args:
        release_measures: case metrics of the new release.
        current_release: case metrics of the current release.
        parameters: floors, and parameters of the comparison.

    Returns:
        The report: ``metrics`` (value, cases, floor), ``compared`` with the current release,
        ``not_compared`` with the reason, and ``rejected``: a line per reason, empty if it passes.

    Raises:
        UserError: a floor names an unknown metric.
    """
    cases = read_case_metrics(release_measures.read(), release_measures.url)
    unknown = sorted(set(parameters.floors) - set(NAMES))
    if unknown:
        raise UserError(
            f"release.floors contains unknown metrics: {', '.join(unknown)}. Use {', '.join(NAMES)}."
        )
    values = {name: part["value"] for name, part in cases.groupby("measure", sort=False)}
    compared, not_compared = _compare(cases, current_release, parameters)
    return {
        "metrics": {
            name: {
                "value": round(float(values[name].mean()), _DIGITS),
                "cases": len(values[name]),
                "floor": parameters.floors.get(name),
            }
            for name in NAMES
            if name in values
        },
        "current_release": current_release.version,
        "confidence": parameters.confidence,
        "compared": {name: _to_dict(difference) for name, difference in compared.items()},
        "not_compared": not_compared,
        "rejected": [
            *_lost(values.keys(), current_release, parameters),
            *_below_floors(values, parameters.floors),
            *_worse(compared, current_release.version),
        ],
    }


def enforce_gate(gate_report: dict[str, Any], rejection_report: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a release that passed the gate.

    Args:
        gate_report: result of the comparison.
        rejection_report: shares of the input that cleaning rejected, within the limit.

    Returns:
        The gate report, with the shares as ``rejections``.

    Raises:
        UserError: the release is rejected.
    """
    reasons = gate_report["rejected"]
    if reasons:
        current = gate_report["current_release"]
        state = (
            f"{current} is still the current release" if current else "There is no current release"
        )
        raise UserError(
            f"The release was not published: {'; '.join(reasons)}. {state}. See gate_report in "
            "08_reporting; the requirements are under `release:` in parameters_release.yml. To publish "
            "without the comparison, add --params=release.compare_with_current=false."
        )
    return gate_report | {"rejections": rejection_report}


def _compare(
    cases: pd.DataFrame, current: CurrentRelease, parameters: ReleaseParameters
) -> tuple[dict[str, PairedDifference], dict[str, str]]:
    """Return the differences by metric, and the reason for each metric that was not compared."""
    if not parameters.compare_with_current:
        return {}, dict.fromkeys(NAMES, "release.compare_with_current is false")
    if current.case_metrics is None:
        return {}, dict.fromkeys(NAMES, current.reason)
    pairs = shared_cases(cases, current.case_metrics)
    compared = compare_cases(
        pairs, parameters.bootstrap_samples, parameters.confidence, parameters.seed
    )
    not_compared = {
        name: f"{len(pairs[name])} shared test cases in fewer than {MIN_GROUPS} groups"
        if name in pairs
        else f"no test case is shared with {current.version}"
        for name in NAMES
        if name not in compared
    }
    return compared, not_compared


def _lost(
    measured: Collection[Any], current: CurrentRelease, parameters: ReleaseParameters
) -> list[str]:
    """Return a line for each metric that only the current release has."""
    if not parameters.compare_with_current or current.case_metrics is None:
        return []
    before = set(current.case_metrics["measure"])
    return [
        f"{name} has no test cases, but {current.version} has some"
        for name in NAMES
        if name in before and name not in measured
    ]


def _below_floors(values: dict[Any, "pd.Series[float]"], floors: dict[str, float]) -> list[str]:
    means = {name: float(values[name].mean()) for name in floors if name in values}
    return [
        f"{name} is {means[name]:.3f} on {len(values[name]):,} cases, below its floor of "
        f"{floors[name]:.3f}"
        for name in means
        if means[name] < floors[name]
    ]


def _worse(compared: dict[str, PairedDifference], version: str | None) -> list[str]:
    return [
        f"{name} is {pair.new:.3f}, worse than {pair.current:.3f} of {version} on the same "
        f"{pair.cases:,} cases: difference {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"
        for name, pair in compared.items()
        if pair.is_worse
    ]


def _to_dict(pair: PairedDifference) -> dict[str, Any]:
    rounded = {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in pair._asdict().items()
    }
    return rounded | {"worse": pair.is_worse}
