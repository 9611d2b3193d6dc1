"""The release, its listings and its photos."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from fastapi.responses import Response

from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    require_api_key,
)
from fb_marketplace_serving.server.errors import (
    STORAGE_UNAVAILABLE,
    ErrorExample,
    error_responses,
)
from fb_marketplace_serving.server.routes.strict_route import StrictRoute
from fb_marketplace_serving.server.schemas.common import Product, ReleaseSummary

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


@router.get("/products/{product_id:path}", responses=error_responses(404, 422))
async def get_product(product_id: str, loaded: ReleaseDependency) -> Product:
    """Return a listing."""
    listing = loaded.release.listings.get(product_id)
    if listing is None:
        raise HTTPException(404, f"Release {loaded.version} has no listing {product_id[:64]!r}.")
    return Product(**listing._asdict(), image_ids=loaded.store.images_of(product_id))


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
    if_none_match: Annotated[str, Header(description="`ETag` of a stored photo.")] = "",
) -> Response:
    """Return a photo in its canonical form: a JPEG of 256 × 256 pixels."""
    location = loaded.release.photos.locations.get(image_id)
    if location is None:
        raise HTTPException(404, f"Release {loaded.version} has no photo {image_id[:64]!r}.")
    headers = _CACHE | {"ETag": f'"{location.sha256.hex()[:32]}"'}
    if {headers["ETag"], "*"} & {
        tag.strip().removeprefix("W/") for tag in if_none_match.split(",")
    }:
        return Response(status_code=304, headers=headers)
    jpeg = await service.read_photo(request.state.client, loaded, image_id)
    return Response(jpeg, media_type="image/jpeg", headers=headers)
