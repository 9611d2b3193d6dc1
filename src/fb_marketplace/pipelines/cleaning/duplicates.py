"""Groups of duplicate photos."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.perceptual_hash import WINDOWS
from fb_marketplace.storage.keyed_table import Table


def find_duplicates(
    images: Table, matched_photos: pd.DataFrame, parameters: DuplicateParameters
) -> pd.DataFrame:
    """Find duplicate photos.

    Args:
        images: the canonical photos.
        matched_photos: the image rows. Older rows come first in the raw table.
        parameters: thresholds.

    Returns:
        One row per photo that has a duplicate: ``image_id``; ``group``, the id of the oldest photo of its
        group; and ``kind``, ``exact`` if another photo has the same file or canonical JPEG, else ``near``.
    """
    from fb_marketplace.pipelines.cleaning.near_duplicates import (
        duplicate_groups,
        find_duplicate_pairs,
    )

    row_numbers = pd.Series(matched_photos["row"].to_numpy(), index=matched_photos["image_id"])
    photos = images.read(["image_id", "source_sha256", "sha256", "perceptual_hash"]).to_pandas()
    photos["row"] = photos["image_id"].map(row_numbers)
    oldest_first = photos.sort_values("row", kind="stable")
    positions = oldest_first.index.to_numpy()

    def load_jpegs(rows: Sequence[int]) -> list[bytes]:
        table = images.take(positions[list(rows)].tolist(), ["jpeg"])
        return [bytes(jpeg) for jpeg in table.column("jpeg").to_pylist()]

    hashes = np.array(oldest_first["perceptual_hash"].to_list(), dtype=np.uint64)
    pairs = list(
        find_duplicate_pairs(
            oldest_first["source_sha256"].to_list(),
            oldest_first["sha256"].to_list(),
            hashes.reshape(-1, len(WINDOWS)),
            load_jpegs,
            parameters,
        )
    )
    labels = duplicate_groups(len(photos), pairs)
    exact = {row for pair in pairs if pair.kind == "exact" for row in (pair.first, pair.second)}
    ids = oldest_first["image_id"].to_numpy()
    grouped = pd.DataFrame(
        {
            "image_id": ids,
            "group": ids[labels],
            "kind": ["exact" if row in exact else "near" for row in range(len(ids))],
        }
    ).astype("str")
    return grouped[grouped["group"].duplicated(keep=False)].sort_values(
        "image_id", ignore_index=True
    )
