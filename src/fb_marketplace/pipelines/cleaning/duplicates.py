"""Photos that are the same or nearly, in groups named for their oldest photo."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.perceptual_hash import WINDOWS
from fb_marketplace.storage.keyed_table import Table


def find_duplicates(
    images: Table, matched_photos: pd.DataFrame, parameters: DuplicateParameters
) -> pd.DataFrame:
    """Find copies among the photos.

    Args:
        images: the canonical photos.
        matched_photos: the image rows, whose place in the raw table tells which is older.
        parameters: thresholds.

    Returns:
        One row for each photo that is a copy or has one: ``image_id``; ``group``, the oldest photo's
        id; and ``kind``, ``exact`` where another photo of the group has the same bytes, else ``near``.
    """
    from fb_marketplace.pipelines.cleaning.near_duplicates import (
        duplicate_groups,
        find_duplicate_pairs,
    )

    places = pd.Series(matched_photos["row"].to_numpy(), index=matched_photos["image_id"])
    photos = images.read(["image_id", "source_sha256", "sha256", "perceptual_hash"]).to_pandas()
    photos["place"] = photos["image_id"].map(places)
    oldest_first = photos.sort_values("place", kind="stable")
    stored = oldest_first.index.to_numpy()

    def jpegs_of(rows: Sequence[int]) -> list[bytes]:
        chosen = images.take(stored[list(rows)].tolist(), ["jpeg"])
        return [bytes(jpeg) for jpeg in chosen.column("jpeg").to_pylist()]

    hashes = np.array(oldest_first["perceptual_hash"].to_list(), dtype=np.uint64)
    found = list(
        find_duplicate_pairs(
            oldest_first["source_sha256"].to_list(),
            oldest_first["sha256"].to_list(),
            hashes.reshape(-1, len(WINDOWS)),
            jpegs_of,
            parameters,
        )
    )
    labels = duplicate_groups(len(photos), found)
    exact = {row for pair in found if pair.kind == "exact" for row in (pair.first, pair.second)}
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
