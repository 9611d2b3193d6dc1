"""The HTTP API of a release: what may be asked, and what is answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response

from fb_marketplace_serving import __version__
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.search.filters import SearchFilters
from fb_marketplace_serving.server.dependencies import (
    KEY_HEADER,
    ReleaseDependency,
    ServiceDependency,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import (
    RETRY_HEADERS,
    ApiError,
    error_responses,
    install_error_handlers,
)
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.inference.uploads import FORM
from fb_marketplace_serving.server.middleware import (
    ID_HEADER,
    RELEASE_HEADER,
    RequestContextMiddleware,
)
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.routes.clicks import clicks
from fb_marketplace_serving.server.routes.search import searches
from fb_marketplace_serving.server.schemas.common import (
    Health,
    Product,
    Readiness,
    RejectedRelease,
    ReleaseSummary,
)
from fb_marketplace_serving.server.schemas.predict import (
    FeatureEmbedding,
    Hit,
    Prediction,
    SimilarImages,
)
from fb_marketplace_serving.server.service import ReleaseSource, Service
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.static import StaticAssets, page

_KEEP: Final = {"Cache-Control": "private, max-age=600"}
"""A photo may be gone in the next release."""


async def _encoded(
    request: Request, service: ServiceDependency, served: ReleaseDependency
) -> EncodedPhoto:
    return await service.encode(request, served)


Photo = Annotated[EncodedPhoto, Depends(_encoded)]

_open = APIRouter()
_closed = APIRouter(dependencies=[Depends(require_api_key)], responses=error_responses(401))
_photos = APIRouter(
    prefix="/predict",
    dependencies=[Depends(require_api_key), Depends(enforce_rate_limit)],
    responses=error_responses(400, 401, 408, 413, 415, 422, 429, 503),
)


def create_app(
    release: Release, settings: Settings, source: ReleaseSource | None = None
) -> FastAPI:
    """Make the application that serves a release.

    Args:
        release: what is served first.
        settings: what it was told.
        source: where newer releases come from; without it, the first is served for ever.
    """

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(service.follow())
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        service.close()

    app = FastAPI(
        title="fb-marketplace",
        version=__version__,
        summary="Words or a photo in, listings out; and of a photo its category and its embedding.",
        lifespan=running,
        # The pages that FastAPI would serve load their scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    service = app.state.service = Service(release, settings, source)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=[KEY_HEADER, ID_HEADER],
            expose_headers=[RELEASE_HEADER, ID_HEADER, "Retry-After"],
        )
    app.add_middleware(RequestContextMiddleware, service=lambda: service)
    app.mount("/web", StaticAssets())
    app.add_api_route("/", page, include_in_schema=False)
    for router in (_open, _closed, _photos, searches):
        app.include_router(router)
    # Where they are not written down nobody need read of them.
    app.include_router(clicks, include_in_schema=service.feedback is not None)
    install_error_handlers(app)
    if not service.keys:
        app.openapi = _without_keys(app.openapi)  # type: ignore[method-assign]
    return app


def _without_keys(describe: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Say of a server that has no keys that it asks for none."""

    def document() -> dict[str, Any]:
        found = describe()
        found.get("components", {}).pop("securitySchemes", None)
        for operations in found["paths"].values():
            for operation in operations.values():
                operation.pop("security", None)
                operation["responses"].pop("401", None)
        return found

    return document


@_open.get("/healthcheck")
async def healthcheck(served: ReleaseDependency) -> Health:
    """Say that the server is up, and what it serves."""
    return Health(status="ok", release=served.version)


@_open.get("/livez")
async def livez(served: ReleaseDependency) -> Health:
    """Say that the server is alive: where this is not answered, start it anew."""
    return Health(status="alive", release=served.version)


@_open.get("/readyz", responses=error_responses(503))
async def readyz(service: ServiceDependency, served: ReleaseDependency) -> Readiness:
    """Say that the server takes requests; and whether it serves what is in force in the lake."""
    if service.draining:
        raise ApiError(503, "draining", "the server was told to stop", RETRY_HEADERS)
    refusal = service.refusal
    return Readiness(
        status="ready",
        release=served.version,
        refused=RejectedRelease(version=refusal.version, why=refusal.why) if refusal else None,
    )


@_open.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(service: ServiceDependency) -> Response:
    """Give what was counted, for Prometheus."""
    return Response(service.metrics.read(), media_type="text/plain; version=0.0.4")


@_closed.get("/release")
async def describe_release(served: ReleaseDependency) -> ReleaseSummary:
    """Describe the release that is served."""
    manifest = served.release.manifest.model_dump(include=set(ReleaseSummary.model_fields))
    return ReleaseSummary(
        **manifest,
        categories=served.catalogue.categories,
        searchable=served.searcher is not None,
    )


@_closed.get("/products/{product_id}", responses=error_responses(404, 422))
async def product(product_id: str, served: ReleaseDependency) -> Product:
    """Give a listing."""
    listing = served.release.listings.get(product_id)
    if listing is None:
        raise HTTPException(
            404, f"found no listing {product_id[:64]!r} in release {served.version}"
        )
    return Product(**listing._asdict(), image_ids=served.catalogue.images_of(product_id))


@_closed.get(
    "/images/{image_id}",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **error_responses(404, 422, 500)},
)
def image(image_id: str, served: ReleaseDependency) -> Response:
    """Give a photo, as it was made canonical: a JPEG of 256 × 256 pixels."""
    try:
        jpeg = served.release.photos.read(image_id)
    except KeyError:
        raise HTTPException(
            404, f"found no photo {image_id[:64]!r} in release {served.version}"
        ) from None
    except ReleaseError as error:
        LOG.error("photo refused", extra=log_fields(image=image_id, why=str(error)))
        raise ApiError(
            500, "damaged", "the photo is not what was sealed; it is not shown"
        ) from None
    return Response(jpeg, media_type="image/jpeg", headers=_KEEP)


@_photos.post("/image", openapi_extra=FORM)
async def predict_category(photo: Photo, served: ReleaseDependency) -> Prediction:
    """Tell the category of a photo."""
    labels = served.release.manifest.labels
    probabilities = dict(zip(labels, photo.probabilities.tolist(), strict=True))
    category = max(probabilities, key=probabilities.__getitem__)
    return Prediction(
        category=category,
        confidence=probabilities[category],
        not_sure=probabilities[category] <= served.release.manifest.abstention.threshold,
        probabilities=probabilities,
    )


@_photos.post("/feature_embedding", openapi_extra=FORM)
async def embed(photo: Photo) -> FeatureEmbedding:
    """Give the embedding of a photo."""
    return FeatureEmbedding(embedding=photo.embedding.tolist())


@_photos.post("/similar_images", openapi_extra=FORM)
def find_similar(
    photo: Photo,
    service: ServiceDependency,
    served: ReleaseDependency,
    limit: Annotated[int, Query(ge=1, le=100, description="Number of hits.")] = 10,
    category: Annotated[
        list[str] | None, Query(max_length=64, description="one of these root categories")
    ] = None,
    min_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
) -> SimilarImages:
    """Find the photos most like a photo, and their listings."""
    unknown = set(category or ()) - set(served.catalogue.categories)
    if unknown:
        raise HTTPException(
            422,
            f"found the category {min(unknown)[:64]!r}; expected one of "
            f"{', '.join(served.catalogue.categories)}",
        )
    with service.metrics.stage("search"):
        asked = SearchFilters(tuple(category or ()), min_price, max_price)
        keep = served.catalogue.rows_kept(served.catalogue.kept(asked))
        nearest = served.release.index.search(photo.embedding, limit, keep)
    found = zip(nearest.rows.tolist(), nearest.distances.tolist(), strict=True)
    return SimilarImages(hits=[_hit(served.release, row, distance) for row, distance in found])


def _hit(release: Release, row: int, distance: float) -> Hit:
    listing = release.listings[release.index.product_ids[row]]
    return Hit(
        image_id=release.index.image_ids[row],
        # Of unit vectors the squared distance is 2 - 2 cos; rounding may leave it past either end.
        score=min(1.0, max(-1.0, 1.0 - distance / 2.0)),
        **listing._asdict(),
    )
