"""Contact sheet of query photos and their first hits in the index."""

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
from fb_marketplace.pipelines.indexing.evaluate_retrieval import FULL_GALLERY
from fb_marketplace.storage.keyed_table import Table

GRADE_COLORS = {
    SAME_PRODUCT: "#1a7f37",
    SAME_PATH: "#7bbf4a",
    SAME_ROOT: "#e0a800",
    UNRELATED: "#c0392b",
}
"""Frame color by grade. The caption gives the grade in words."""

FIRST, *_, TENTH = RECALLS


def plot_hits(
    retrieval_hits: pd.DataFrame,
    retrieval_full_gallery: pd.DataFrame,
    images: Table,
    parameters: RetrievalParameters,
) -> bytes:
    """Plot randomly drawn queries with their first hits, one row per query.

    Half of the queries have another photo of their listing as the first hit. The other half have none among
    the first ten hits.

    Args:
        retrieval_hits: hits of each query.
        retrieval_full_gallery: metrics of each query by gallery.
        images: the canonical photos.
        parameters: numbers of queries and hits, and the seed.

    Returns:
        A PNG.
    """
    generator = np.random.default_rng(parameters.seed)
    half = parameters.sheet_queries // 2
    metrics = retrieval_full_gallery[retrieval_full_gallery["gallery"] == FULL_GALLERY]
    found_first, missed = _queries(metrics, FIRST, 1), _queries(metrics, TENTH, 0)
    outcomes = {
        query: outcome
        for outcome, queries in (("found first", found_first), ("not among ten", missed))
        for query in generator.choice(queries, min(half, len(queries)), replace=False)
    }
    top = retrieval_hits[retrieval_hits["rank"] <= parameters.sheet_hits]
    title = (
        f"{len(_queries(metrics, FIRST)):,} queries of the test split for another photo of "
        f"the listing: {len(found_first):,} found one first, {len(missed):,} not among ten"
    )
    jpegs = _jpegs(images, [*outcomes, *top.loc[top["image_id"].isin(list(outcomes)), "hit"]])
    cells = []
    for query, outcome in outcomes.items():
        hits = top[top["image_id"] == query].sort_values("rank")
        row = [Cell(jpegs[query], f"query: {outcome}", "black")]
        row += [
            Cell(jpegs[hit], f"{DESCRIPTIONS[grade]} {similarity:.2f}", GRADE_COLORS[grade])
            for hit, grade, similarity in zip(
                hits["hit"], hits["grade"], hits["similarity"], strict=True
            )
        ]
        row += [Cell(b"", "no more photos")] * (parameters.sheet_hits + 1 - len(row))
        cells += row
    return contact_sheet(cells, parameters.sheet_hits + 1, title)


def _queries(metrics: pd.DataFrame, measure: str, value: int | None = None) -> list[str]:
    """Return the sorted queries that have a metric, or that have this value of it."""
    part = metrics[metrics["measure"] == measure]
    if value is not None:
        part = part[part["value"] == value]
    return sorted(part["image_id"])


def _jpegs(images: Table, image_ids: list[str]) -> dict[str, bytes]:
    ids = images.read(["image_id"]).column("image_id").to_pylist()
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    unique = list(dict.fromkeys(image_ids))
    jpegs = images.take([row_of[image_id] for image_id in unique], ["jpeg"]).column("jpeg")
    return dict(zip(unique, jpegs.to_pylist(), strict=True))
