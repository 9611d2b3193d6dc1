"""Errors as the API tells them: ``application/problem+json`` (RFC 9457), whatever went wrong."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from fb_marketplace_serving.imaging.canonical import PhotoError, Reason
from fb_marketplace_serving.server.schemas.common import ProblemDetails as ProblemSchema

MEDIA_TYPE: Final = "application/problem+json"

_KIND: Final = "urn:fb-marketplace:problem:"

_STATUS_OF_REASON: Final[dict[Reason, int]] = {
    "not_an_image": 415,
    "unsupported_format": 415,
    "oversized": 413,
}
"""What is not named here is 422: of the right kind, but it cannot be read."""

RETRY_HEADERS: Final = {"Retry-After": "1"}
"""What is too much, or too late, may be well in a moment; a second is the least that the header can say."""

_SHOWN: Final = 100
"""Characters of a wrong value that are said again."""

_TOLD: Final[dict[int, tuple[str, str | None, str]]] = {
    400: ("The request is malformed", None, "Too many files. Maximum number of files is 1."),
    401: (
        "The key is missing or wrong",
        "key",
        "found no key in the header X-API-Key; expected one that this server was given",
    ),
    404: ("There is none of that id", None, "found no listing '4e5f6a7b' in release v1"),
    408: ("The upload took too long", "slow_upload", "the upload was not whole within 10 s"),
    413: (
        "The upload is too large",
        "oversized",
        "more than the 33,554,432 bytes that are accepted",
    ),
    415: (
        "It is no JPEG, PNG or WebP photo",
        "unsupported_format",
        "GIF; JPEG, PNG and WebP are accepted",
    ),
    422: (
        "It is missing, or cannot be read",
        "truncated",
        "the JPEG ends early: image file is truncated (3 bytes not processed)",
    ),
    429: (
        "The key has made as many requests as it may; Retry-After says when it may again",
        "rate",
        "found more than 600 per 1 minute; try again in 12 s",
    ),
    500: (
        "A fault of the server",
        "damaged",
        "the photo is not what was sealed; it is not shown",
    ),
    503: (
        "The server has as much to do as it takes on; Retry-After says when to try again",
        "full",
        "32 requests are being worked on, as many as are taken on at once; try again",
    ),
}
"""What each status means, and an example: the kind of problem, if it has one of its own, and the detail."""

_RETRY_AFTER: Final[dict[str, Any]] = {
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "seconds after which to try again",
    }
}

_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "how to ask"}},
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


class ApiError(HTTPException):
    """An error that has a kind of its own, for programs."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


def error_responses(
    *statuses: int, meaning_here: Mapping[int, tuple[str, str | None, str]] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Give OpenAPI's words for what may go wrong, an example with each.

    Args:
        statuses: that a route may answer with.
        meaning_here: of a status that means something else at this route: what, its kind, an example.
    """
    told = _TOLD | dict(meaning_here or {})
    schema = {"$ref": "#/components/schemas/Problem"}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        meaning, kind, detail = told[status]
        example = _said(status, detail, kind).model_dump()
        found[status] = {
            "description": meaning,
            "content": {MEDIA_TYPE: {"schema": schema, "example": example}},
        }
        if status in _HEADERS:
            found[status]["headers"] = _HEADERS[status]
    return found


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of an application in the one form."""

    @app.exception_handler(PhotoError)
    async def photo(_: Request, error: PhotoError) -> JSONResponse:
        status = _STATUS_OF_REASON.get(error.reason, 422)
        return problem_response(status, error.detail, error.reason)

    @app.exception_handler(ApiError)
    async def known(_: Request, error: ApiError) -> JSONResponse:
        return problem_response(error.status_code, str(error.detail), error.kind, error.headers)

    @app.exception_handler(StarletteHTTPException)
    async def http(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return problem_response(error.status_code, str(error.detail), None, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        found = repr(first["input"])
        shown = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"
        return problem_response(422, f"found {where} = {shown}; {first['msg']}")


def problem_response(
    status: int,
    detail: str,
    kind: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Make the answer of an error.

    Args:
        status: of HTTP.
        detail: what was found and expected, for people.
        kind: which problem, for programs; without it, the status says it all.
        headers: of the answer.
    """
    return JSONResponse(
        _said(status, detail, kind).model_dump(),
        status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def _said(status: int, detail: str, kind: str | None) -> ProblemSchema:
    return ProblemSchema(
        type=f"{_KIND}{kind}" if kind else "about:blank",
        title=kind.replace("_", " ").capitalize() if kind else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
    )
