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
from fb_marketplace_serving.search.filters import Filter
from fb_marketplace_serving.server.dependencies import (
    KEY_HEADER,
    TheServed,
    TheService,
    known,
    within_rate,
)
from fb_marketplace_serving.server.errors import TRY_AGAIN, Problem, answer_errors, documented
from fb_marketplace_serving.server.inference.batching import Encoded
from fb_marketplace_serving.server.inference.uploads import FORM
from fb_marketplace_serving.server.middleware import ID_HEADER, RELEASE_HEADER, Context
from fb_marketplace_serving.server.request_logging import LOG, told
from fb_marketplace_serving.server.routes.clicks import clicks
from fb_marketplace_serving.server.routes.search import searches
from fb_marketplace_serving.server.schemas.common import (
    Health,
    Product,
    Readiness,
    Refused,
    ReleaseSummary,
)
from fb_marketplace_serving.server.schemas.predict import (
    FeatureEmbedding,
    Hit,
    Prediction,
    SimilarImages,
)
from fb_marketplace_serving.server.service import Service, Source
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.static import Parts, page

_KEEP: Final = {"Cache-Control": "private, max-age=600"}
"""A photo may be gone in the next release."""


async def _encoded(request: Request, service: TheService, served: TheServed) -> Encoded:
    return await service.encode(request, served)


Photo = Annotated[Encoded, Depends(_encoded)]

_open = APIRouter()
_closed = APIRouter(dependencies=[Depends(known)], responses=documented(401))
_photos = APIRouter(
    prefix="/predict",
    dependencies=[Depends(known), Depends(within_rate)],
    responses=documented(400, 401, 408, 413, 415, 422, 429, 503),
)


def create_app(release: Release, settings: Settings, source: Source | None = None) -> FastAPI:
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
    app.add_middleware(Context, service=lambda: service)
    app.mount("/web", Parts())
    app.add_api_route("/", page, include_in_schema=False)
    for router in (_open, _closed, _photos, searches):
        app.include_router(router)
    # Where they are not written down nobody need read of them.
    app.include_router(clicks, include_in_schema=service.feedback is not None)
    answer_errors(app)
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
async def healthcheck(served: TheServed) -> Health:
    """Say that the server is up, and what it serves."""
    return Health(status="ok", release=served.version)


@_open.get("/livez")
async def livez(served: TheServed) -> Health:
    """Say that the server is alive: where this is not answered, start it anew."""
    return Health(status="alive", release=served.version)


@_open.get("/readyz", responses=documented(503))
async def readyz(service: TheService, served: TheServed) -> Readiness:
    """Say that the server takes requests; and whether it serves what is in force in the lake."""
    if service.draining:
        raise Problem(503, "draining", "the server was told to stop", TRY_AGAIN)
    refusal = service.refusal
    return Readiness(
        status="ready",
        release=served.version,
        refused=Refused(version=refusal.version, why=refusal.why) if refusal else None,
    )


@_open.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(service: TheService) -> Response:
    """Give what was counted, for Prometheus."""
    return Response(service.metrics.read(), media_type="text/plain; version=0.0.4")


@_closed.get("/release")
async def describe_release(served: TheServed) -> ReleaseSummary:
    """Describe the release that is served."""
    manifest = served.release.manifest.model_dump(include=set(ReleaseSummary.model_fields))
    return ReleaseSummary(
        **manifest,
        categories=served.catalogue.categories,
        searchable=served.searcher is not None,
    )


@_closed.get("/products/{product_id}", responses=documented(404, 422))
async def product(product_id: str, served: TheServed) -> Product:
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
    responses={200: {"content": {"image/jpeg": {}}}, **documented(404, 422, 500)},
)
def image(image_id: str, served: TheServed) -> Response:
    """Give a photo, as it was made canonical: a JPEG of 256 × 256 pixels."""
    try:
        jpeg = served.release.photos.read(image_id)
    except KeyError:
        raise HTTPException(
            404, f"found no photo {image_id[:64]!r} in release {served.version}"
        ) from None
    except ReleaseError as error:
        LOG.error("photo refused", extra=told(image=image_id, why=str(error)))
        raise Problem(500, "damaged", "the photo is not what was sealed; it is not shown") from None
    return Response(jpeg, media_type="image/jpeg", headers=_KEEP)


@_photos.post("/image", openapi_extra=FORM)
async def predict_category(photo: Photo, served: TheServed) -> Prediction:
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
    service: TheService,
    served: TheServed,
    k: Annotated[int, Query(ge=1, le=100, description="how many")] = 10,
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
        asked = Filter(tuple(category or ()), min_price, max_price)
        keep = served.catalogue.rows_kept(served.catalogue.kept(asked))
        nearest = served.release.index.search(photo.embedding, k, keep)
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
