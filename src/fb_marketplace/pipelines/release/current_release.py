"""The release in force, as the next one is compared with it."""

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
"""The columns of the artifact ``measures``: a row for each measure and case of the test split."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CurrentRelease:
    """What is known of the release in force.

    Attributes:
        version: its name; None where there is none, or it cannot be read.
        measures: query by query, of the columns ``CASE_METRICS``; None where it cannot be read.
        said: why there are none, for people; empty where there are.
    """

    version: str | None
    measures: pd.DataFrame | None
    said: str


def read_current_release(lake: str) -> CurrentRelease:
    """Read the measures of the release in force, whose digest matched.

    A release that is damaged, or of another schema, cannot be compared with; it must not block its own
    repair either, which is to publish another. So it is said, as a warning and in the report of the gate,
    and the floors alone decide. A store that does not answer is an error: nothing is known of it.

    Raises:
        OSError: the store cannot be read.
        ReleaseError: likewise.
    """
    store = Lake(lake)
    try:
        store.read(CURRENT)
    except FileNotFoundError:
        return CurrentRelease(None, None, "there is no release in force")
    version = None
    try:
        manifest = read_current(lake)
        version = manifest.version
        sealed = manifest.artifacts["release_measures"]
        data = read_verified(store, sealed)
        return CurrentRelease(version, read_case_metrics(data, store.name(sealed.path)), "")
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        said = f"the release in force cannot be compared with: {error}"
        logger.warning("%s; the floors alone decide", said)
        return CurrentRelease(version, None, said)


def read_case_metrics(data: bytes, file: str) -> pd.DataFrame:
    """Read the artifact ``measures``.

    Raises:
        ReleaseError: it is no such table.
    """
    try:
        table = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:
        raise ReleaseError(f"{file}: found no Parquet ({error})") from None
    if tuple(table.columns) != CASE_METRICS or table.duplicated(["measure", "case"]).any():
        raise ReleaseError(
            f"{file}: found the columns {', '.join(table.columns)}, or a case twice; expected "
            f"{', '.join(CASE_METRICS)}, and each case of a measure once"
        )
    return table
