"""The release, its listings and its photos."""

from typing import Final

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import Response

from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.server.dependencies import ReleaseDependency, require_api_key
from fb_marketplace_serving.server.errors import ApiError, error_responses
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.schemas.common import Product, ReleaseSummary

_CACHE: Final = {"Cache-Control": "private, max-age=600"}
"""Ten minutes only: the next release may not have the photo."""

router = APIRouter(dependencies=[Depends(require_api_key)], responses=error_responses(401))


@router.get("/release")
async def describe_release(loaded: ReleaseDependency) -> ReleaseSummary:
    """Describe the current release."""
    manifest = loaded.release.manifest.model_dump(include=set(ReleaseSummary.model_fields))
    return ReleaseSummary(
        **manifest, categories=loaded.store.categories, searchable=loaded.engine is not None
    )


@router.get("/products/{product_id:path}", responses=error_responses(404, 422))
async def product(product_id: str, loaded: ReleaseDependency) -> Product:
    """Return a listing."""
    listing = loaded.release.listings.get(product_id)
    if listing is None:
        raise HTTPException(404, f"Release {loaded.version} has no listing {product_id[:64]!r}.")
    return Product(**listing._asdict(), image_ids=loaded.store.images_of(product_id))


@router.get(
    "/images/{image_id:path}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **error_responses(404, 422, 500)},
)
def image(image_id: str, loaded: ReleaseDependency) -> Response:
    """Return a photo in its canonical form: a JPEG of 256 × 256 pixels."""
    try:
        jpeg = loaded.release.photos.read(image_id)
    except KeyError:
        raise HTTPException(
            404, f"Release {loaded.version} has no photo {image_id[:64]!r}."
        ) from None
    except ReleaseError as error:
        LOG.error("corrupt photo", extra=log_fields(image=image_id, reason=str(error)))
        raise ApiError(500, "corrupt_photo", "The photo failed its checksum.") from None
    return Response(jpeg, media_type="image/jpeg", headers=_CACHE)
