"""The release in force, as the next one is compared with it."""

import io
import logging
from dataclasses import dataclass
from typing import Final

import pandas as pd

from fb_marketplace_serving.release.artifacts import sealed_bytes
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.pointer import CURRENT, read_current
from fb_marketplace_serving.storage.lake import Lake

MEASURES: Final = ("measure", "case", "group_id", "value")
"""The columns of the artifact ``measures``: a row for each measure and case of the test split."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InForce:
    """What is known of the release in force.

    Attributes:
        version: its name; None where there is none, or it cannot be read.
        measures: query by query, of the columns ``MEASURES``; None where it cannot be read.
        said: why there are none, for people; empty where there are.
    """

    version: str | None
    measures: pd.DataFrame | None
    said: str


def read_in_force(lake: str) -> InForce:
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
        return InForce(None, None, "there is no release in force")
    version = None
    try:
        manifest = read_current(lake)
        version = manifest.version
        sealed = manifest.artifacts["measures"]
        data = sealed_bytes(store, sealed)
        return InForce(version, read_measures(data, store.name(sealed.path)), "")
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        said = f"the release in force cannot be compared with: {error}"
        logger.warning("%s; the floors alone decide", said)
        return InForce(version, None, said)


def read_measures(data: bytes, file: str) -> pd.DataFrame:
    """Read the artifact ``measures``.

    Raises:
        ReleaseError: it is no such table.
    """
    try:
        table = pd.read_parquet(io.BytesIO(data))
    except (ValueError, OSError) as error:
        raise ReleaseError(f"{file}: found no Parquet ({error})") from None
    if tuple(table.columns) != MEASURES or table.duplicated(["measure", "case"]).any():
        raise ReleaseError(
            f"{file}: found the columns {', '.join(table.columns)}, or a case twice; expected "
            f"{', '.join(MEASURES)}, and each case of a measure once"
        )
    return table
