"""Builds the response to a search request."""

import math
from functools import partial
from typing import Any

import numpy as np
from fastapi import HTTPException

from fb_marketplace_serving.search.candidates import (
    SOURCES,
    QueryVectors,
)
from fb_marketplace_serving.search.engine import SearchEngine
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.listings.gazetteer import UnknownPlaceError
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.listings.listing_store import Positions, UnknownCategoryError
from fb_marketplace_serving.search.ranking.ranking_features import DESCRIPTIONS, FEATURES
from fb_marketplace_serving.search.results import Hit, SearchResults
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.items.product import PriceContext, price_contexts
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.schemas.search import (
    Explanation,
    FeatureContribution,
    SearchRequest,
    SearchResponse,
)
from fb_marketplace_serving.server.service import Service
from fb_marketplace_serving.server.understood_request import CHEAP_QUANTILE, UnderstoodRequest


def build_response(
    service: Service,
    loaded: LoadedRelease,
    understood: UnderstoodRequest,
    photo: EncodedPhoto | None,
) -> SearchResponse:
    """Build the response to a search. This takes milliseconds of CPU time: do not run it on the event loop.

    Args:
        service: provides the stage timers.
        loaded: the release to search.
        understood: the parameters and the meaning of the text.
        photo: the encoded photo, if any.

    Raises:
        HTTPException: the category or the place is unknown, or the sort needs a place or dates.
    """
    engine = loaded.engine
    if engine is None:
        raise ValueError(f"release {loaded.version} was built without text search")
    request = understood.effective
    filters = _filters(loaded, request)
    query = _query(service, loaded, request.q, photo)
    search = partial(
        engine.search,
        query,
        sort=request.sort,
        diversity=request.diversity,
        min_relevance=request.min_relevance,
        timer=service.metrics.stage,
    )
    cheap_price = None
    try:
        results = search(filters)
        if understood.query.parsed.is_cheap:
            cheap_price = _cheap_price(loaded, results)
        if cheap_price is not None:
            results = search(filters._replace(max_price=cheap_price))
    except UnknownCategoryError as error:
        raise HTTPException(422, str(error)) from None
    page = results.hits[request.offset : request.offset + request.limit]
    explanations: list[Explanation | None] = [None] * len(page)
    if request.explain:
        explanations = _explanations(engine, results, page, request.q)
    positions = np.array([hit.position for hit in page], np.int64)
    columns = (
        page,
        loaded.release.listings.take(positions),
        price_contexts(loaded, positions),
        _distances(loaded, positions, filters.location),
        _relevance(results, positions),
        explanations,
    )
    # Validated at once: to create each part as a model takes five times as long.
    body = {
        "release": loaded.version,
        "total": len(results.hits),
        "total_listings": results.total_listings,
        "min_relevance": results.min_relevance,
        "nearest_category": results.nearest_category,
        "hits": [_hit(loaded, results, *parts) for parts in zip(*columns, strict=True)],
        **results.facets._asdict(),
        "words": request.q,
        "corrected": understood.correction,
        "did_you_mean": understood.query.suggestion,
        "interpretation": understood.interpretation(cheap_price),
    }
    return SearchResponse.model_validate(body, from_attributes=True)


def _cheap_price(loaded: LoadedRelease, results: SearchResults) -> float | None:
    """Return the lower quartile of the real prices of results, to pence; None if there are none."""
    prices = loaded.store.meant_price[results.hits.positions]
    prices = prices[~np.isnan(prices)]
    return round(float(np.quantile(prices, CHEAP_QUANTILE)), 2) if len(prices) else None


def _filters(loaded: LoadedRelease, request: SearchRequest) -> SearchFilters:
    artifacts = loaded.release.search
    near = None
    if request.near and artifacts:
        try:
            place = artifacts.gazetteer.find(request.near)
        except UnknownPlaceError as error:
            raise HTTPException(422, str(error)) from None
        near = GeoFilter(place.latitude, place.longitude, request.radius_km)
    if near is None and (request.radius_km is not None or request.sort == "distance"):
        raise HTTPException(422, "Parameter `near` is required for `radius_km` and sort=distance.")
    if request.sort == "newest" and not loaded.store.has_dates:
        raise HTTPException(
            422,
            f"Release {loaded.version} has no dates for sort=newest. Set the column `created_at` in "
            "parameters_cleaning.yml, and publish a new release with `kedro run`.",
        )
    return SearchFilters(
        request.category,
        request.min_price,
        request.max_price,
        near,
        request.has_photo,
        request.attribute,
    )


def _query(
    service: Service, loaded: LoadedRelease, words: str, photo: EncodedPhoto | None
) -> QueryVectors | None:
    artifacts = loaded.release.search
    query = QueryVectors()
    if words and artifacts:
        with service.metrics.stage("text"):
            query = QueryVectors.from_words(words, artifacts.text_encoder.encode([words]))
    if photo is not None:
        has_classes = bool(loaded.release.manifest.labels)
        query = query._replace(
            photo=photo.embedding, photo_categories=photo.probabilities if has_classes else None
        )
    return query if query.text_embedding is not None or query.photo is not None else None


def _hit(
    loaded: LoadedRelease,
    results: SearchResults,
    hit: Hit,
    listing: Listing,
    price: PriceContext,
    distance_km: float | None,
    relevance: float | None,
    explanation: Explanation | None,
) -> dict[str, Any]:
    """Return the fields of a :class:`SearchHit`."""
    product_ids = loaded.store.product_ids
    return {
        **listing._asdict(),
        **price._asdict(),
        "image_id": loaded.release.index.image_ids[hit.row] if hit.row >= 0 else None,
        "score": _finite(hit.score),
        "relevance": relevance,
        "sources": _sources(results, hit.candidate),
        "distance_km": distance_km,
        "duplicates": [product_ids[position] for position in hit.duplicates],
        "explanation": explanation,
    }


def _distances(
    loaded: LoadedRelease, positions: Positions, near: GeoFilter | None
) -> list[float | None]:
    """Return the distances of listings in km, rounded to 100 m; None if unknown."""
    if near is None:
        return [None] * len(positions)
    distances = loaded.store.distances(near, positions).tolist()
    return [None if math.isnan(distance) else round(distance, 1) for distance in distances]


def _relevance(results: SearchResults, positions: Positions) -> list[float | None]:
    """Return the probabilities that listings are relevant, to four places; None if unknown."""
    if results.relevance is None:
        return [None] * len(positions)
    return [
        round(probability, 4) for probability in results.relevance.probabilities(positions).tolist()
    ]


def _sources(results: SearchResults, candidate: int) -> list[dict[str, Any]]:
    """Return the fields of each :class:`CandidateSource`."""
    pool = results.candidates
    if pool is None or candidate < 0:
        return []
    return [
        {
            "source": source,
            "rank": int(pool.rank[source][candidate]),
            "similarity": _finite(float(pool.similarity[source][candidate])),
        }
        for source in SOURCES
        if source in pool.rank and pool.rank[source][candidate]
    ]


def _explanations(
    engine: SearchEngine, results: SearchResults, page: list[Hit], words: str
) -> list[Explanation | None]:
    if results.features is None or not page:
        return [None] * len(page)
    # A listing that is not a candidate has no features, and no explanation.
    features = results.features[[max(hit.candidate, 0) for hit in page]]
    base, contributions = engine.contributions(features)
    return [
        None
        if hit.candidate < 0
        else Explanation(
            base=base,
            reasons=[
                FeatureContribution(
                    feature=FEATURES[column],
                    label=DESCRIPTIONS[FEATURES[column]],
                    value=_finite(float(features[row, column])),
                    contribution=float(contributions[row, column]),
                )
                for column in np.argsort(-np.abs(contributions[row]), kind="stable").tolist()
            ],
            words=engine.indexes.bm25.parts(words, hit.position),
        )
        for row, hit in enumerate(page)
    ]


def _finite(value: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None
