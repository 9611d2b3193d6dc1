"""The release, its listings and its photos."""

from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import Response

from fb_marketplace_serving.search.suggestions import quote
from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import (
    STORAGE_UNAVAILABLE,
    ErrorExample,
    error_responses,
)
from fb_marketplace_serving.server.items.product import build_product, find_similar
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.routes.search import require_text_search
from fb_marketplace_serving.server.routes.strict_route import StrictRoute
from fb_marketplace_serving.server.schemas.common import ReleaseSummary
from fb_marketplace_serving.server.schemas.listings import PhotoSize, Product, SimilarListings

_CACHE: Final = {"Cache-Control": "private, max-age=600"}
"""Ten minutes only: the next release may not have the photo."""

_EXAMPLES: Final = {
    503: ErrorExample("The storage cannot be read.", "storage_unavailable", STORAGE_UNAVAILABLE)
}

_ETAG_HEADER: Final[dict[str, Any]] = {
    "ETag": {"schema": {"type": "string"}, "description": "For `If-None-Match`."}
}

router = APIRouter(
    dependencies=[Depends(require_api_key)],
    responses=error_responses(401),
    route_class=StrictRoute,
    tags=["listings"],
)


@router.get("/release")
async def describe_release(loaded: ReleaseDependency) -> ReleaseSummary:
    """Describe the current release."""
    manifest = loaded.release.manifest.model_dump(include=set(ReleaseSummary.model_fields))
    return ReleaseSummary(
        **manifest,
        categories=loaded.store.categories,
        searchable=loaded.engine is not None,
        has_dates=loaded.store.has_dates,
    )


@router.get(
    "/products/{product_id:path}",
    dependencies=[Depends(enforce_rate_limit)],
    responses=error_responses(404, 422, 429, 503),
)
async def get_product(
    request: Request, product_id: str, service: ServiceDependency, loaded: ReleaseDependency
) -> Product:
    """Return a listing in full."""
    require_listing(loaded, product_id)
    return await service.run_search(
        request.state.client, partial(build_product, loaded, product_id)
    )


@router.get(
    "/similar_listings/{product_id:path}",
    dependencies=[Depends(enforce_rate_limit)],
    responses=error_responses(404, 422, 429, 503),
)
async def similar_listings(
    request: Request,
    product_id: str,
    service: ServiceDependency,
    loaded: ReleaseDependency,
    limit: Annotated[int, Query(ge=1, le=50, description="Maximum number of listings.")] = 12,
) -> SimilarListings:
    """Return the listings that are most similar by photo and text, without those of the same item."""
    require_listing(loaded, product_id)
    require_text_search(loaded)
    similar = partial(find_similar, loaded, product_id, limit)
    listings = await service.run_search(request.state.client, similar)
    return SimilarListings(release=loaded.version, listings=listings)


def require_listing(loaded: LoadedRelease, product_id: str) -> None:
    """Raise a 404 if a release has no such listing."""
    if product_id not in loaded.release.listings:
        raise HTTPException(404, f"Release {loaded.version} has no listing {quote(product_id)}.")


@router.get(
    "/images/{image_id:path}",
    response_class=Response,
    responses={
        200: {
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            "headers": _ETAG_HEADER,
        },
        304: {"description": "The photo of the `If-None-Match` header is current."},
        **error_responses(404, 422, 429, 500, 503, examples=_EXAMPLES),
    },
)
async def get_image(
    request: Request,
    image_id: str,
    service: ServiceDependency,
    loaded: ReleaseDependency,
    size: Annotated[
        PhotoSize,
        Query(
            description="256: the canonical photo, letterboxed to 256 × 256 pixels. 1024: the display "
            "rendition, without bars and at most 1,024 pixels wide and high; the canonical photo if there "
            "is none."
        ),
    ] = PhotoSize.CANONICAL,
    if_none_match: Annotated[str, Header(description="`ETag` of a stored photo.")] = "",
) -> Response:
    """Return a photo, a JPEG."""
    photos = loaded.release.photos
    if size == PhotoSize.DISPLAY and image_id in loaded.release.display_photos:
        photos = loaded.release.display_photos
    location = photos.locations.get(image_id)
    if location is None:
        raise HTTPException(404, f"Release {loaded.version} has no photo {quote(image_id)}.")
    headers = _CACHE | {"ETag": f'"{location.sha256.hex()[:32]}"'}
    if {headers["ETag"], "*"} & {
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    }:
        return Response(status_code=304, headers=headers)
    jpeg = await service.read_photo(request.state.client, photos, image_id)
    return Response(jpeg, media_type="image/jpeg", headers=headers)
