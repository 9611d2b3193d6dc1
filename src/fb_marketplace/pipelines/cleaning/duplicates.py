"""Groups of duplicate photos."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning import perceptual_hash
from fb_marketplace.storage.fingerprints import stage_digest
from fb_marketplace.storage.keyed_table import Table

if TYPE_CHECKING:
    from fb_marketplace.pipelines.cleaning.near_duplicates import Comparisons

REVISION: Final = 1
"""Increase it if a change gives other candidates or scores, and no other version number changes."""


def find_duplicates(
    images: Table,
    matched_photos: pd.DataFrame,
    previous_photo_comparisons: pd.DataFrame,
    parameters: DuplicateParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Find duplicate photos.

    Args:
        images: the canonical photos.
        matched_photos: the image rows. Older rows come first in the raw table.
        previous_photo_comparisons: comparisons of an earlier run, which are not repeated; may be empty.
        parameters: thresholds.

    Returns:
        Two tables. One row per photo that has a duplicate: ``image_id``; ``group``, the id of the oldest
        photo of its group; and ``kind``, ``exact`` if another photo has the same file or canonical JPEG,
        else ``near``. And one row per different photo: ``sha256``; ``others``, rows of this table that it
        was compared with; ``scores``; and ``rule``, a digest of parameters and code.
    """
    from fb_marketplace.pipelines.cleaning.near_duplicates import (
        duplicate_groups,
        find_duplicate_pairs,
    )

    rule = comparison_rule(parameters)
    row_numbers = pd.Series(matched_photos["row"].to_numpy(), index=matched_photos["image_id"])
    table = images.read(["image_id", "source_sha256", "sha256", "perceptual_hash"])
    windows = len(perceptual_hash.WINDOWS)
    hashes = table.column("perceptual_hash").combine_chunks().flatten().to_numpy()
    photos = table.drop_columns("perceptual_hash").to_pandas()
    photos["row"] = photos["image_id"].map(row_numbers)
    oldest_first = photos.sort_values("row", kind="stable")
    positions = oldest_first.index.to_numpy()
    pairs, comparisons = find_duplicate_pairs(
        oldest_first["source_sha256"].to_list(),
        oldest_first["sha256"].to_list(),
        hashes.reshape(-1, windows)[positions],
        _StoredJpegs(images, positions),
        parameters,
        read_comparisons(previous_photo_comparisons, rule),
    )
    labels = duplicate_groups(len(photos), pairs)
    exact = np.zeros(len(photos), dtype=bool)
    exact[[row for pair in pairs if pair.kind == "exact" for row in (pair.first, pair.second)]] = (
        True
    )
    ids = oldest_first["image_id"].to_numpy()
    grouped = pd.DataFrame(
        {"image_id": ids, "group": ids[labels], "kind": np.where(exact, "exact", "near")}
    ).astype("str")
    groups = grouped[grouped["group"].duplicated(keep=False)].sort_values(
        "image_id", ignore_index=True
    )
    return groups, comparisons_table(comparisons, rule)


def comparison_rule(parameters: DuplicateParameters) -> str:
    """Return a digest of everything that comparisons depend on, except the photos."""
    name = f"duplicates {perceptual_hash.VERSION}"
    return stage_digest(name, REVISION, parameters, ("numpy", "opencv-python-headless", "pillow"))


def comparisons_table(comparisons: "Comparisons", rule: str) -> pd.DataFrame:
    """Return comparisons as a table, with a row per photo."""
    count = len(comparisons.digests)
    borders = np.searchsorted(comparisons.pairs[:, 0], np.arange(1, count))
    return pd.DataFrame(
        {
            "sha256": pd.Series(list(comparisons.digests), dtype="str"),
            "others": pd.Series(np.split(comparisons.pairs[:, 1], borders)[:count], dtype="object"),
            "scores": pd.Series(np.split(comparisons.scores, borders)[:count], dtype="object"),
            "rule": pd.Series([rule] * count, dtype="str"),
        }
    )


def read_comparisons(table: pd.DataFrame, rule: str) -> "Comparisons":
    """Return the comparisons of a table; none if it was made by another rule."""
    from fb_marketplace.pipelines.cleaning.near_duplicates import Comparisons

    if table.empty or (table["rule"] != rule).any():
        return Comparisons()
    others = table["others"].to_list()
    first = np.repeat(np.arange(len(table)), [len(rows) for rows in others])
    return Comparisons(
        table["sha256"].to_list(),
        np.stack([first, np.concatenate(others)], axis=1).astype(np.int64),
        np.concatenate(table["scores"].to_list()),
    )


@dataclass(frozen=True)
class _StoredJpegs:
    """Loads canonical photos by row; picklable.

    Attributes:
        images: the table.
        positions: int64, (rows,): position of each row in the table.
    """

    images: Table
    positions: NDArray[np.int64]

    def __call__(self, rows: Sequence[int]) -> list[bytes]:
        table = self.images.take(self.positions[list(rows)].tolist(), ["jpeg"])
        return [bytes(jpeg) for jpeg in table.column("jpeg").to_pylist()]
