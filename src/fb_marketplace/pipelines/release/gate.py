"""What a release has to pass before it is published: whole, good enough, and not worse than before."""

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
    release_measures: FileRef, release_in_force: CurrentRelease, parameters: ReleaseParameters
) -> dict[str, Any]:
    """Hold a release against the floors, and against the release in force case by case.

    That every file is there, the parts fit each other and the canaries are answered is seen when the
    release is saved, by opening it as a server does.

    Searching among more photos is harder: of a release with many more listings the recalls are the
    lower for it, and are compared all the same, as that is what is served.

    Args:
        release_measures: of the new release, case by case.
        release_in_force: what is known of the one in force.
        parameters: floors, and of the comparison.

    Returns:
        The report: ``measures`` (value, cases, floor), ``compared`` with the release in force,
        ``not_compared`` and why, and ``refused``, a line for each reason; empty where it passes.

    Raises:
        UserError: a floor is of a measure that there is not.
    """
    ours = read_case_metrics(release_measures.read(), release_measures.url)
    unknown = sorted(set(parameters.floors) - set(NAMES))
    if unknown:
        raise UserError(
            f"release.floors names {', '.join(unknown)}; the measures are {', '.join(NAMES)}"
        )
    values = {name: part["value"] for name, part in ours.groupby("measure", sort=False)}
    incomplete = [
        f"{name}: found no case of the test split" for name in NAMES if name not in values
    ]
    compared, not_compared = _compare(ours, release_in_force, parameters)
    return {
        "measures": {
            name: {
                "value": round(float(values[name].mean()), _DIGITS),
                "cases": len(values[name]),
                "floor": parameters.floors.get(name),
            }
            for name in NAMES
            if name in values
        },
        "release_in_force": release_in_force.version,
        "confidence": parameters.confidence,
        "compared": {name: _plain(found) for name, found in compared.items()},
        "not_compared": not_compared,
        "refused": [
            *incomplete,
            *_below_floors(values, parameters.floors),
            *_worse(compared, release_in_force.version),
        ],
    }


def enforce_gate(gate_report: dict[str, Any]) -> dict[str, Any]:
    """Give what a release passed the gate with.

    Raises:
        UserError: it is refused; why, in one line.
    """
    refused = gate_report["refused"]
    if refused:
        in_force = gate_report["release_in_force"]
        stays = f"{in_force} stays in force" if in_force else "no release is in force"
        raise UserError(
            f"the release is not published: {'; '.join(refused)}. {stays}; see gate_report in "
            "08_reporting, and `release:` in parameters_release.yml for what is asked"
        )
    return gate_report


def _compare(
    ours: pd.DataFrame, in_force: CurrentRelease, parameters: ReleaseParameters
) -> tuple[dict[str, PairedDifference], dict[str, str]]:
    """Compare what can be compared, and say of the rest why it cannot."""
    if not parameters.compare_with_current:
        return {}, dict.fromkeys(NAMES, "release.compare_with_current is false")
    if in_force.measures is None:
        return {}, dict.fromkeys(NAMES, in_force.said)
    pairs = shared_cases(ours, in_force.measures)
    compared = compare_cases(
        pairs, parameters.bootstrap_samples, parameters.confidence, parameters.seed
    )
    not_compared = {
        name: f"{len(pairs[name])} shared test cases, of fewer than {MIN_GROUPS} groups"
        if name in pairs
        else f"no test case is shared with {in_force.version}"
        for name in NAMES
        if name not in compared
    }
    return compared, not_compared


def _below_floors(values: dict[Any, "pd.Series[float]"], floors: dict[str, float]) -> list[str]:
    means = {name: float(values[name].mean()) for name in floors if name in values}
    return [
        f"{name}: found {means[name]:.3f} on {len(values[name]):,} cases; expected at least "
        f"{floors[name]:.3f}"
        for name in means
        if means[name] < floors[name]
    ]


def _worse(compared: dict[str, PairedDifference], version: str | None) -> list[str]:
    return [
        f"{name}: found {found.ours:.3f} against {found.theirs:.3f} of {version} on the same "
        f"{found.cases:,} cases, a difference of {found.difference:+.3f} "
        f"[{found.low:+.3f}, {found.high:+.3f}]; expected one that is not below zero"
        for name, found in compared.items()
        if found.is_worse
    ]


def _plain(found: PairedDifference) -> dict[str, Any]:
    rounded = {
        name: round(value, _DIGITS) if isinstance(value, float) else value
        for name, value in found._asdict().items()
    }
    return rounded | {"worse": found.is_worse}
