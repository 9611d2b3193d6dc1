"""Classification, embedding and nearest photos of an uploaded photo."""

from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.search.candidates import release_interpreter
from fb_marketplace_serving.search.listings.filters import SearchFilters
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.suggestions import quote
from fb_marketplace_serving.server.dependencies import (
    KEY_HEADER,
    ReleaseDependency,
    ServiceDependency,
    authenticate,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import NO_PHOTO_SEARCH, ErrorExample, error_responses
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.inference.uploads import FORM
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.routes.strict_route import DirectRoute
from fb_marketplace_serving.server.schemas.predict import (
    FeatureEmbedding,
    Hit,
    Prediction,
    SimilarImages,
)
from fb_marketplace_serving.server.service import Service

_EXAMPLES: Final = {
    404: ErrorExample(
        "The release has no photo search.",
        NO_PHOTO_SEARCH,
        "Release v1 has no photo search: there are no photos. Search by words: GET /search.",
    )
}


class PhotoRequest(NamedTuple):
    """A request with an encoded photo."""

    photo: EncodedPhoto
    client: str
    service: Service
    loaded: LoadedRelease


async def _encode(
    request: Request, service: ServiceDependency, loaded: ReleaseDependency
) -> PhotoRequest:
    photo = await service.encode(request, loaded)
    return PhotoRequest(photo, request.state.client, service, loaded)


class _PhotoRoute(DirectRoute):
    """A route that answers requests without parameters itself."""

    async def answer(self, request: Request) -> Response | None:
        if request.scope["query_string"]:
            return None
        service: Service = request.app.state.service
        authenticate(request, request.headers.get(KEY_HEADER))
        await enforce_rate_limit(request, service)
        body = await self.endpoint(await _encode(request, service, request.state.release))
        return Response(body.model_dump_json(), media_type="application/json")


router = APIRouter(
    prefix="/predict",
    dependencies=[Depends(require_api_key), Depends(enforce_rate_limit)],
    responses=error_responses(400, 401, 404, 408, 413, 415, 422, 429, 503, examples=_EXAMPLES),
    route_class=_PhotoRoute,
    tags=["photos"],
)

Photo = Annotated[PhotoRequest, Depends(_encode)]


@router.post("/image", openapi_extra=FORM)
async def predict_category(request: Photo) -> Prediction:
    """Classify a photo. Without a classifier, the category is null."""
    manifest = request.loaded.release.manifest
    if manifest.abstention is None:
        return Prediction(category=None, confidence=None, abstained=True, probabilities={})
    probabilities = dict(zip(manifest.labels, request.photo.probabilities.tolist(), strict=True))
    category = max(probabilities, key=probabilities.__getitem__)
    return Prediction(
        category=category,
        confidence=probabilities[category],
        abstained=probabilities[category] <= manifest.abstention.threshold,
        probabilities=probabilities,
    )


@router.post("/feature_embedding", openapi_extra=FORM)
async def embed_photo(request: Photo) -> FeatureEmbedding:
    """Return the embedding of a photo."""
    return FeatureEmbedding(embedding=request.photo.embedding.tolist())


@router.post("/similar_images", openapi_extra=FORM)
async def find_similar_photos(
    request: Photo,
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of hits.")] = 10,
    category: Annotated[
        list[str] | None, Query(max_length=64, description="Root categories to search.")
    ] = None,
    min_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
) -> SimilarImages:
    """Return the photos most similar to a photo, with their listings."""
    photo, client, service, loaded = request
    categories = tuple(category or ())
    unknown = set(categories) - set(loaded.store.categories)
    if unknown:
        raise HTTPException(
            422,
            f"Unknown category {quote(min(unknown))}. Expected one of: "
            f"{', '.join(loaded.store.categories)}.",
        )

    def search() -> SimilarImages:
        with service.metrics.stage("search"):
            filters = SearchFilters(categories, min_price, max_price)
            rows = loaded.store.row_mask(loaded.store.mask(filters))
            with release_interpreter(loaded.store):
                nearest = loaded.release.index.search(photo.embedding, limit, rows)
        listings = loaded.release.listings.take(loaded.store.listing_of_row[nearest.rows])
        hits = zip(nearest.rows.tolist(), nearest.distances.tolist(), listings, strict=True)
        return SimilarImages(hits=[_hit(loaded.release, *hit) for hit in hits])

    return await service.run_search(client, search)


def _hit(release: Release, row: int, distance: float, listing: Listing) -> Hit:
    return Hit(
        image_id=release.index.image_ids[row],
        # The squared distance of unit vectors is 2 - 2 cos. Rounding may exceed either bound.
        score=min(1.0, max(-1.0, 1.0 - distance / 2.0)),
        **listing._asdict(),
    )
