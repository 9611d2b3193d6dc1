"""The search to look at: photos that were asked for, and what the index gave first."""

import numpy as np
import pandas as pd

from fb_marketplace.evaluation.contact_sheet import Cell, contact_sheet
from fb_marketplace.evaluation.relevance import (
    DESCRIPTIONS,
    SAME_PATH,
    SAME_PRODUCT,
    SAME_ROOT,
    UNRELATED,
)
from fb_marketplace.evaluation.retrieval_metrics import RECALLS
from fb_marketplace.parameters.indexing import RetrievalParameters
from fb_marketplace.storage.keyed_table import Table

GRADE_COLORS = {
    SAME_PRODUCT: "#1a7f37",
    SAME_PATH: "#7bbf4a",
    SAME_ROOT: "#e0a800",
    UNRELATED: "#c0392b",
}
"""Of frames; what they say stands in words below."""

FIRST, *_, TENTH = RECALLS


def plot_hits(
    retrieval_hits: pd.DataFrame,
    retrieval_full_gallery: pd.DataFrame,
    images: Table,
    parameters: RetrievalParameters,
) -> bytes:
    """Show queries with their first hits, a row each; a PNG.

    Half of them have another photo of their listing as the first hit, half have none among ten;
    which, a seed draws.

    Args:
        retrieval_hits: what the index gave for each query.
        retrieval_full_gallery: how good that was.
        images: the canonical photos.
        parameters: how many queries and hits, and the seed.
    """
    generator = np.random.default_rng(parameters.seed)
    half = parameters.sheet_queries // 2
    found = _queries(retrieval_full_gallery, FIRST, 1)
    missed = _queries(retrieval_full_gallery, TENTH, 0)
    chosen = {
        query: what
        for what, queries in (("found first", found), ("not among ten", missed))
        for query in generator.choice(queries, min(half, len(queries)), replace=False)
    }
    shown = retrieval_hits[retrieval_hits["rank"] <= parameters.sheet_hits]
    asked = len(_queries(retrieval_full_gallery, FIRST))
    title = (
        f"{asked:,} photos of the test split were asked for another of their listing: "
        f"{len(found):,} found one first, {len(missed):,} not among ten"
    )
    jpegs = _jpegs(images, [*chosen, *shown.loc[shown["image_id"].isin(list(chosen)), "hit"]])
    cells = []
    for query, what in chosen.items():
        hits = shown[shown["image_id"] == query].sort_values("rank")
        row = [Cell(jpegs[query], f"asked: {what}", "black")]
        row += [
            Cell(jpegs[hit], f"{DESCRIPTIONS[grade]} {similarity:.2f}", GRADE_COLORS[grade])
            for hit, grade, similarity in zip(
                hits["hit"], hits["grade"], hits["similarity"], strict=True
            )
        ]
        row += [Cell(b"", "no more photos")] * (parameters.sheet_hits + 1 - len(row))
        cells += row
    return contact_sheet(cells, parameters.sheet_hits + 1, title)


def _queries(served: pd.DataFrame, measure: str, value: int | None = None) -> list[str]:
    """Give the queries that have a measure, or a value of it, in order."""
    part = served[served["measure"] == measure]
    if value is not None:
        part = part[part["value"] == value]
    return sorted(part["image_id"])


def _jpegs(images: Table, image_ids: list[str]) -> dict[str, bytes]:
    held = images.read(["image_id"]).column("image_id").to_pylist()
    rows = {image_id: row for row, image_id in enumerate(held)}
    wanted = list(dict.fromkeys(image_ids))
    jpegs = images.take([rows[image_id] for image_id in wanted], ["jpeg"]).column("jpeg")
    return dict(zip(wanted, jpegs.to_pylist(), strict=True))
