"""A search as it is asked over HTTP, and how it is answered."""

import math
from typing import NamedTuple

import numpy as np
from fastapi import HTTPException

from fb_marketplace_serving.search.candidates import SOURCES, QueryVectors
from fb_marketplace_serving.search.engine import Hit, SearchEngine, SearchResults, Sort
from fb_marketplace_serving.search.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.gazetteer import UnknownPlaceError
from fb_marketplace_serving.search.listing_store import UnknownCategoryError
from fb_marketplace_serving.search.price_insights import Insight, PhotoElsewhere
from fb_marketplace_serving.search.ranking_features import DESCRIPTIONS, FEATURES
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.schemas.search import (
    CandidateSource,
    CategoryFacet,
    Explanation,
    FeatureContribution,
    PriceFacet,
    PriceInsight,
    PriceRange,
    SearchHit,
    SearchResponse,
)
from fb_marketplace_serving.server.service import Service


class SearchRequest(NamedTuple):
    """What was asked; see the parameters of ``/search``."""

    words: str
    limit: int
    offset: int
    categories: tuple[str, ...]
    min_price: float | None
    max_price: float | None
    near: str | None
    radius_km: float | None
    has_photo: bool | None
    sort: Sort
    diversity: float
    explain: bool


def build_response(
    service: Service, served: LoadedRelease, asked: SearchRequest, photo: EncodedPhoto | None
) -> SearchResponse:
    """Answer a search. It takes milliseconds of a core: off the event loop.

    Args:
        service: times the stages.
        served: the release that is searched.
        asked: what for.
        photo: what the encoder made of a photo, if there is one.

    Raises:
        HTTPException: it asks for a category or a place that there is not.
    """
    searcher = served.searcher
    if searcher is None:
        raise ValueError("found a release that cannot be searched; expected one that can")
    narrowed = _filter(served, asked)
    query = _query(service, served, asked.words, photo)
    try:
        found = searcher.search(
            query, narrowed, asked.sort, asked.diversity, timed=service.metrics.stage
        )
    except UnknownCategoryError as error:
        raise HTTPException(422, str(error)) from None
    page = found.found[asked.offset : asked.offset + asked.limit]
    whys = _whys(searcher, found, page, asked.words) if asked.explain else [None] * len(page)
    away = _distances(served, page, narrowed.near)
    hits = [
        _hit(served, found, each, apart, why)
        for each, apart, why in zip(page, away, whys, strict=True)
    ]
    return SearchResponse(
        release=served.version,
        total=len(found.found),
        listings=found.listings,
        hits=hits,
        categories=[
            CategoryFacet(path=each.path, count=each.count) for each in found.facets.categories
        ],
        prices=[
            PriceFacet(low=each.low, high=each.high, count=each.count)
            for each in found.facets.prices
        ],
    )


def _filter(served: LoadedRelease, asked: SearchRequest) -> SearchFilters:
    search = served.release.search
    near = None
    if asked.near and search:
        try:
            place = search.places.find(asked.near)
        except UnknownPlaceError as error:
            raise HTTPException(422, str(error)) from None
        near = GeoFilter(place.latitude, place.longitude, asked.radius_km)
    if near is None and (asked.radius_km is not None or asked.sort == "distance"):
        raise HTTPException(422, "found no `near`; expected a town, as distances are from there")
    return SearchFilters(asked.categories, asked.min_price, asked.max_price, near, asked.has_photo)


def _query(
    service: Service, served: LoadedRelease, words: str, photo: EncodedPhoto | None
) -> QueryVectors | None:
    search = served.release.search
    query = QueryVectors()
    if words and search:
        with service.metrics.stage("text"):
            encoding = search.encoder.encode([words])
        query = query._replace(
            words=words, meaning=encoding.meaning[0], pictured=encoding.pictured[0]
        )
    if photo is not None:
        query = query._replace(photo=photo.embedding, photo_categories=photo.probabilities)
    return query if query.meaning is not None or query.photo is not None else None


def _hit(
    served: LoadedRelease,
    ranked: SearchResults,
    found: Hit,
    away: float | None,
    why: Explanation | None,
) -> SearchHit:
    catalogue = served.catalogue
    product = catalogue.product_ids[found.position]
    listing = served.release.listings[product]
    told = served.release.search.price_notes.of(product) if served.release.search else None
    return SearchHit(
        **listing._asdict(),
        image_id=served.release.index.image_ids[found.row] if found.row >= 0 else None,
        score=found.score,
        places=_places(ranked, found.place),
        distance_km=away,
        more=[catalogue.product_ids[position] for position in found.more],
        typical_price=(
            PriceRange(low=told.typical[0], high=told.typical[1], alike=list(told.alike))
            if told and told.typical
            else None
        ),
        notes=[
            PriceInsight(kind=note.kind, text=note.text, products=_rests_on(note))
            for note in (told.notes if told else ())
        ],
        why=why,
    )


def _distances(
    served: LoadedRelease, page: list[Hit], near: GeoFilter | None
) -> list[float | None]:
    """Say how far the listings of a page are from a place, in km, to a hundred metres."""
    if near is None:
        return [None] * len(page)
    positions = np.array([found.position for found in page], np.int64)
    away = served.catalogue.distances(near, positions).tolist()
    return [None if math.isnan(apart) else round(apart, 1) for apart in away]


def _rests_on(note: Insight) -> list[str]:
    """Name the listings that a note rests on."""
    if isinstance(note.evidence, PhotoElsewhere):
        return [note.evidence.product_id]
    return list(note.evidence.alike)


def _places(ranked: SearchResults, place: int) -> list[CandidateSource]:
    pool = ranked.pool
    if pool is None:
        return []
    return [
        CandidateSource(
            source=source,
            rank=int(pool.rank[source][place]),
            similarity=_number(float(pool.similarity[source][place])),
        )
        for source in SOURCES
        if source in pool.rank and pool.rank[source][place]
    ]


def _whys(
    searcher: SearchEngine, ranked: SearchResults, page: list[Hit], words: str
) -> list[Explanation | None]:
    if ranked.features is None or not page:
        return [None] * len(page)
    features = ranked.features[[each.place for each in page]]
    base, parts = searcher.contributions(features)
    whys: list[Explanation | None] = []
    for row, each in enumerate(page):
        order = sorted(range(len(FEATURES)), key=lambda at: -abs(parts[row, at]))
        whys.append(
            Explanation(
                base=base,
                reasons=[
                    FeatureContribution(
                        feature=FEATURES[at],
                        says=DESCRIPTIONS[FEATURES[at]],
                        value=_number(float(features[row, at])),
                        adds=float(parts[row, at]),
                    )
                    for at in order
                ],
                words=searcher.searched.words.parts(words, each.position),
            )
        )
    return whys


def _number(value: float) -> float | None:
    """Give a number, or nothing where it is none: JSON has no such number."""
    return value if math.isfinite(value) else None
