"""Case metrics of the current release, for comparison with the next one."""

import io
import logging
from dataclasses import dataclass
from typing import Final

import pandas as pd

from fb_marketplace_serving.release.artifacts import read_verified
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.pointer import CURRENT, read_current
from fb_marketplace_serving.storage.lake import Lake

CASE_METRICS: Final = ("measure", "case", "group_id", "value")
"""The columns of the artifact ``release_measures``: one row per metric and test case."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CurrentRelease:
    """The current release and its case metrics.

    Attributes:
        version: its version; None if there is no current release, or its manifest cannot be read.
        case_metrics: a table with the columns ``CASE_METRICS``; None if it cannot be read.
        reason: why there are no case metrics; empty if there are.
    """

    version: str | None
    case_metrics: pd.DataFrame | None
    reason: str


def read_current_release(lake: Lake) -> CurrentRelease:
    """Read the case metrics of the current release, and verify their checksum.

    A comparison with a damaged release, or with one of another schema, is impossible. Such a release must
    not block the publication of a new one, which replaces it. The reason is therefore logged as a warning
    and stored in the gate report, and only the floors decide. A store that does not answer is an error,
    because the release may be intact.

    Raises:
        OSError: the store cannot be read, at the pointer to the current release.
        ReleaseError: the store cannot be read, at a file of the release.
    """
    try:
        lake.read(CURRENT)
    except FileNotFoundError:
        return CurrentRelease(None, None, "there is no current release")
    version = None
    try:
        manifest = read_current(lake)
        version = manifest.version
        artifact = manifest.artifacts["release_measures"]
        data = read_verified(lake, artifact)
        return CurrentRelease(version, read_case_metrics(data, lake.name(artifact.path)), "")
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        reason = f"there is no comparison with the current release: {error}"
        logger.warning("%s; only the floors apply", reason)
        return CurrentRelease(version, None, reason)


def read_case_metrics(data: bytes, file: str) -> pd.DataFrame:
    """Read the artifact ``release_measures``.

    Raises:
        ReleaseError: the file is damaged.
    """
    try:
        table = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:
        raise ReleaseError(
            f"{file} is not a Parquet file ({error}). Run `kedro run` again."
        ) from None
    if tuple(table.columns) != CASE_METRICS or table.duplicated(["measure", "case"]).any():
        raise ReleaseError(
            f"{file} has the columns {', '.join(table.columns)}, or duplicate cases. Expected "
            f"{', '.join(CASE_METRICS)}, and one row per metric and case. Run `kedro run` again."
        )
    return table
