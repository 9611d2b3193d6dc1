"""Application factory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from fb_marketplace_serving import __version__
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.server.dependencies import KEY_HEADER
from fb_marketplace_serving.server.errors import error_responses, install_error_handlers
from fb_marketplace_serving.server.middleware import (
    ID_HEADER,
    RELEASE_HEADER,
    RequestContextMiddleware,
)
from fb_marketplace_serving.server.routes import (
    clicks,
    health,
    item,
    listings,
    predict,
    search,
    suggest,
)
from fb_marketplace_serving.server.schemas.common import ProblemDetails
from fb_marketplace_serving.server.service import ReleaseSource, Service
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.static import (
    DocumentationAssets,
    StaticAssets,
    index_page,
    redoc_page,
    swagger_page,
)

_TAGS: Final = [
    {"name": "search", "description": "Search listings by words, photo or both."},
    {"name": "photos", "description": "Classify, embed and compare a photo."},
    {"name": "listings", "description": "The release, its listings and its photos."},
    {"name": "feedback", "description": "Opened hits."},
    {"name": "health", "description": "Health checks and metrics."},
]


_HIT: Final = "$response.body#/hits/0"
_LINKS: Final = {
    "product": {"operationId": "get_product", "parameters": {"product_id": f"{_HIT}/product_id"}},
    "photo": {"operationId": "get_image", "parameters": {"image_id": f"{_HIT}/image_id"}},
    "click": {
        "operationId": "record_click",
        "requestBody": {
            "search_id": "$response.body#/search_id",
            "product_id": f"{_HIT}/product_id",
        },
    },
}
"""Requests that follow a search, as OpenAPI links from its first hit."""


def create_app(
    release: Release, settings: Settings, source: ReleaseSource | None = None
) -> FastAPI:
    """Build the application that serves a release.

    Args:
        release: the first release to serve.
        settings: server settings.
        source: source of newer releases; without it, the first release is served forever.

    Returns:
        The application. Its ``state.service`` is the :class:`Service`.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(service.watch_releases())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        service.close()

    app = FastAPI(
        title="fb-marketplace",
        version=__version__,
        summary="Text and image search, image classification and image embeddings.",
        lifespan=lifespan,
        openapi_tags=_TAGS,
        generate_unique_id_function=lambda route: route.name,
        # FastAPI's own pages load scripts from another host; see :mod:`static`.
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
    # Routes are tried in this order: first those that are requested most often.
    for router in (
        suggest.router,
        search.router,
        predict.router,
        listings.router,
        health.router,
        item.router,
    ):
        app.include_router(router)
    # Hidden from the schema if feedback is off.
    app.include_router(clicks.router, include_in_schema=service.feedback is not None)
    app.mount("/web", StaticAssets())
    app.mount("/docs/assets", DocumentationAssets())
    for path, page in (("/", index_page), ("/docs", swagger_page), ("/redoc", redoc_page)):
        app.add_api_route(path, page, include_in_schema=False)
    install_error_handlers(app)
    app.openapi = _complete_openapi(app.openapi, bool(service.keys))  # type: ignore[method-assign]
    return app


def _complete_openapi(
    describe: Callable[[], dict[str, Any]], has_keys: bool
) -> Callable[[], dict[str, Any]]:
    """Complete what FastAPI describes.

    Adds schemas of errors and clicks, the requests that follow a search, and 422 to every operation.
    Without keys, removes authentication.
    """

    def document() -> dict[str, Any]:
        schema = describe()
        components = schema["components"]
        components["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
        links = dict(_LINKS)
        if "/clicks" in schema["paths"]:
            components["schemas"]["Click"] = clicks.Click.model_json_schema()
        else:
            del links["click"]
        for operation in schema["paths"]["/search"].values():
            operation["responses"]["200"]["links"] = links
        for operations in schema["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    if parameter["in"] == "query":
                        parameter["allowEmptyValue"] = True
                # Every route rejects unknown query parameters.
                operation["responses"].setdefault("422", error_responses(422)[422])
                if not has_keys:
                    operation.pop("security", None)
                    operation["responses"].pop("401", None)
        if not has_keys:
            components.pop("securitySchemes", None)
        return schema

    return document
