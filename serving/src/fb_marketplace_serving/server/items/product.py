"""A listing in full, and the listings that are similar to it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.release.provenance import ListingProvenance
from fb_marketplace_serving.search.candidates import QueryVectors
from fb_marketplace_serving.search.listings.price_insights import (
    Insight,
    PhotoElsewhere,
    PriceInsights,
)
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.schemas.listings import (
    PhotoSize,
    PriceInsight,
    PriceRange,
    Product,
    ProductPhoto,
    Provenance,
    SimilarListing,
)


class PriceContext(NamedTuple):
    """Typical price of comparable listings, and notes on price and photos."""

    typical_price: PriceRange | None
    notes: list[PriceInsight]


def price_contexts(loaded: LoadedRelease, positions: NDArray[np.int64]) -> list[PriceContext]:
    """Return the price contexts of listings.

    Args:
        loaded: the release.
        positions: int64, (listings,).
    """
    artifacts = loaded.release.search
    table = artifacts.price_insights if artifacts else None
    if table is None:
        return [PriceContext(None, [])] * len(positions)
    return [_price_context(insights) for insights in table.take(positions)]


def _price_context(insights: PriceInsights) -> PriceContext:
    typical = None
    if insights.price_range:
        low, high = insights.price_range
        typical = PriceRange(low=low, high=high, comparables=list(insights.comparables))
    return PriceContext(
        typical,
        [
            PriceInsight(kind=note.kind, text=note.text, products=_evidence(note))
            for note in insights.insights
        ],
    )


def build_product(loaded: LoadedRelease, product_id: str) -> Product:
    """Build a listing in full. This decodes parts of two artifacts: do not run it on the event loop.

    Args:
        loaded: the release.
        product_id: a listing that it has.
    """
    release, store = loaded.release, loaded.store
    origin = release.provenance.get(product_id) if release.provenance else None
    position = store.position(product_id)
    family = store.features.family
    duplicates = np.flatnonzero(family == family[position]).tolist()
    image_ids = store.images_of(product_id)
    return Product(
        **release.listings[product_id]._asdict(),
        **price_contexts(loaded, np.array([position]))[0]._asdict(),
        description=release.descriptions.get(product_id) or "",
        image_ids=image_ids,
        photos=_photos(loaded, image_ids, origin),
        duplicates=[store.product_ids[other] for other in duplicates if other != position],
        provenance=origin and Provenance.model_validate(origin, from_attributes=True),
    )


def find_similar(loaded: LoadedRelease, product_id: str, limit: int) -> list[SimilarListing]:
    """Return the listings that are most similar by photo and text, without those of the same item.

    Args:
        loaded: a release with text search.
        product_id: a listing that it has.
        limit: maximum number of listings.
    """
    release, store, engine = loaded.release, loaded.store, loaded.engine
    if engine is None or release.search is None:
        raise ValueError(f"release {loaded.version} was built without text search")
    position = store.position(product_id)
    row = store.first_row[position]
    query = QueryVectors(
        release.listings[product_id].title,
        text_embedding=release.search.text_index.vectors(np.array([position]))[0],
        photo=release.index.vectors(np.array([row]))[0] if row >= 0 else None,
    )
    family = store.features.family
    hits = [
        hit
        for hit in engine.search(query, min_relevance=0).hits[: limit + 1]
        if family[hit.position] != family[position]
    ][:limit]
    listings = release.listings.take(np.array([hit.position for hit in hits], np.int64))
    return [
        SimilarListing(
            **listing._asdict(),
            image_id=release.index.image_ids[hit.row] if hit.row >= 0 else None,
        )
        for hit, listing in zip(hits, listings, strict=True)
    ]


def _photos(
    loaded: LoadedRelease, image_ids: list[str], origin: ListingProvenance | None
) -> list[ProductPhoto]:
    uploads = {photo.image_id: photo for photo in origin.photos} if origin else {}
    photos = []
    for image_id in image_ids:
        has_display = image_id in loaded.release.display_photos
        upload = uploads.get(image_id)
        photos.append(
            ProductPhoto(
                image_id=image_id,
                sizes=[*PhotoSize] if has_display else [PhotoSize.CANONICAL],
                format=upload and upload.format,
                width=upload and upload.width,
                height=upload and upload.height,
                copies=upload and upload.copies,
            )
        )
    return photos


def _evidence(insight: Insight) -> list[str]:
    """Return the ids of the listings that an insight is based on."""
    if isinstance(insight.evidence, PhotoElsewhere):
        return [insight.evidence.product_id]
    return list(insight.evidence.comparables)
