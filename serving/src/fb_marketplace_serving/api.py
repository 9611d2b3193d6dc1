"""The HTTP API of a release.

A request's life: its upload is read within a bound, made a canonical photo, encoded, and answered.
Decoding and encoding run on worker threads, so that the event loop is free to take other requests.
"""

from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.datastructures import MutableHeaders, UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fb_marketplace_serving import __version__, photos
from fb_marketplace_serving.encoder import Encoding
from fb_marketplace_serving.photos import Limits, PhotoError, Reason
from fb_marketplace_serving.release import Release
from fb_marketplace_serving.schemas import (
    FeatureEmbedding,
    Health,
    Hit,
    Prediction,
    Problem,
    ReleaseSummary,
    SimilarImages,
)

RELEASE_HEADER: Final = "X-Release"

_ENVELOPE_BYTES: Final = 64 * 1024
"""What a multipart body may have beside the photo: boundaries, headers, a few small fields."""

_STATUS_OF_REASON: Final[dict[Reason, int]] = {
    "not_an_image": 415,
    "unsupported_format": 415,
    "oversized": 413,
}
"""What is not named here is 422: of the right kind, but it cannot be read."""

_PROBLEM: Final = {"application/problem+json": {"schema": Problem.model_json_schema()}}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    413: {"description": "The upload is too large", "content": _PROBLEM},
    415: {"description": "It is no JPEG, PNG or WebP photo", "content": _PROBLEM},
    422: {"description": "It is missing, or cannot be read", "content": _PROBLEM},
}

_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {
                            "type": "string",
                            "format": "binary",
                            "description": "a JPEG, PNG or WebP photo",
                        }
                    },
                }
            }
        },
    }
}


class _UnderOneRelease:
    """Gives each request one release to answer from, and names it in the response."""

    def __init__(self, app: ASGIApp, owner: FastAPI) -> None:
        self._app = app
        self._owner = owner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        release: Release = self._owner.state.release
        scope.setdefault("state", {})["release"] = release

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[RELEASE_HEADER] = release.manifest.version
            await send(message)

        await self._app(scope, receive, send_named)


async def _release(request: Request) -> Release:
    release: Release = request.state.release
    return release


Current = Annotated[Release, Depends(_release)]


async def _uploaded(request: Request) -> bytes:
    """Read the field ``image`` of a form, and never more of the body than a photo may be."""
    limits: Limits = request.app.state.limits
    bounded = Request(request.scope, _bounded(request, limits.max_bytes))
    try:
        async with bounded.form(max_files=8, max_fields=32) as form:
            image = form.get("image")
            if isinstance(image, UploadFile):
                return await image.read(limits.max_bytes + 1)
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the upload was whole") from None
    raise HTTPException(
        422,
        "found no file in the form field `image`; send one as in: "
        f"curl -F image=@photo.jpg {request.url.replace(query='')}",
    )


def _bounded(request: Request, max_bytes: int) -> Receive:
    """Receive the body of a request as long as it is no longer than one photo makes it."""
    left = max_bytes + _ENVELOPE_BYTES
    too_long = PhotoError("oversized", f"more than the {max_bytes:,} bytes that are accepted")

    async def receive() -> Message:
        nonlocal left
        if int(request.headers.get("content-length", 0)) > max_bytes + _ENVELOPE_BYTES:
            raise too_long
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise too_long
        return message

    return receive


def _encoded(
    upload: Annotated[bytes, Depends(_uploaded)], request: Request, release: Current
) -> Encoding:
    photo = photos.pixels(photos.canonical(upload, request.app.state.limits))
    return release.encoder.encode(photo[np.newaxis])


Encoded = Annotated[Encoding, Depends(_encoded)]

_router = APIRouter()
_photo_router = APIRouter(prefix="/predict", responses=_PROBLEMS)


def create_app(release: Release, limits: Limits | None = None) -> FastAPI:
    """Make the application that serves a release.

    Args:
        release: what is served.
        limits: bytes and pixels above which an upload is refused.
    """
    app = FastAPI(
        title="fb-marketplace",
        version=__version__,
        summary="A photo in; its category, its embedding and the listings most like it out.",
        # The pages that FastAPI would serve load their scripts from another host.
        docs_url=None,
        redoc_url=None,
    )
    app.state.release = release
    app.state.limits = limits or Limits()
    app.add_middleware(_UnderOneRelease, owner=app)
    app.include_router(_router)
    app.include_router(_photo_router)
    _answer_errors(app)
    return app


@_router.get("/", include_in_schema=False)
def page() -> HTMLResponse:
    """Give a page to try the API on; it needs no other host."""
    return HTMLResponse(
        files("fb_marketplace_serving").joinpath("web/index.html").read_text("utf-8")
    )


@_router.get("/healthcheck")
async def healthcheck(release: Current) -> Health:
    """Say that the server is up, and what it serves."""
    return Health(status="ok", release=release.manifest.version)


@_router.get("/release")
async def describe_release(release: Current) -> ReleaseSummary:
    """Describe the release that is served."""
    return ReleaseSummary.model_validate(release.manifest, from_attributes=True)


@_photo_router.post("/image", openapi_extra=_UPLOAD)
def predict_category(encoding: Encoded, release: Current) -> Prediction:
    """Tell the category of a photo."""
    probabilities = dict(
        zip(release.manifest.labels, encoding.probabilities[0].tolist(), strict=True)
    )
    category = max(probabilities, key=probabilities.__getitem__)
    return Prediction(
        category=category, confidence=probabilities[category], probabilities=probabilities
    )


@_photo_router.post("/feature_embedding", openapi_extra=_UPLOAD)
def embed(encoding: Encoded) -> FeatureEmbedding:
    """Give the embedding of a photo."""
    return FeatureEmbedding(embedding=encoding.embeddings[0].tolist())


@_photo_router.post("/similar_images", openapi_extra=_UPLOAD)
def find_similar(
    encoding: Encoded, release: Current, k: Annotated[int, Query(ge=1, le=100)] = 10
) -> SimilarImages:
    """Find the photos most like a photo, and their listings."""
    nearest = release.index.search(encoding.embeddings[0], k)
    return SimilarImages(
        hits=[
            _hit(release, row, distance)
            for row, distance in zip(nearest.rows.tolist(), nearest.distances.tolist(), strict=True)
        ]
    )


def _hit(release: Release, row: int, distance: float) -> Hit:
    listing = release.listings[release.index.product_ids[row]]
    return Hit(
        image_id=release.index.image_ids[row],
        product_id=listing.product_id,
        title=listing.title,
        price=listing.price,
        currency=listing.currency,
        category=listing.category,
        # Of unit vectors the squared distance is 2 - 2 cos; rounding may leave it past either end.
        score=min(1.0, max(-1.0, 1.0 - distance / 2.0)),
    )


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(PhotoError)
    def photo(_: Request, error: PhotoError) -> JSONResponse:
        status = _STATUS_OF_REASON.get(error.reason, 422)
        kind = f"urn:fb-marketplace:problem:{error.reason}"
        return _problem(status, error.detail, kind, error.reason.replace("_", " ").capitalize())

    @app.exception_handler(StarletteHTTPException)
    def http(_: Request, error: StarletteHTTPException) -> JSONResponse:
        answer = _problem(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _problem(422, f"found {where} = {first['input']!r}; {first['msg']}")

    @app.exception_handler(Exception)
    def fault(request: Request, _: Exception) -> JSONResponse:
        answer = _problem(500, "a fault of the server, not of the request; its log says more")
        # This answer is given outside the middleware that names the release in all others.
        answer.headers[RELEASE_HEADER] = request.app.state.release.manifest.version
        return answer


def _problem(
    status: int, detail: str, kind: str = "about:blank", title: str | None = None
) -> JSONResponse:
    title = title or HTTPStatus(status).phrase
    problem = Problem(type=kind, title=title, status=status, detail=detail)
    return JSONResponse(problem.model_dump(), status, media_type="application/problem+json")
