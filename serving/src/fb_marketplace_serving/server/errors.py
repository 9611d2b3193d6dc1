"""Error responses in the format ``application/problem+json`` (RFC 9457)."""

import errno
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from fb_marketplace_serving.imaging.canonical import PhotoError, Reason
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.schemas.common import ProblemDetails

MEDIA_TYPE: Final = "application/problem+json"

_TYPE_PREFIX: Final = "urn:fb-marketplace:problem:"

_PHOTO_STATUSES: Final[dict[Reason, int]] = {
    "not_an_image": 415,
    "unsupported_format": 415,
    "oversized": 413,
}
"""HTTP status by reason. Every other reason is a 422."""

NO_PHOTO_SEARCH: Final = "no_photo_search"
"""Problem type of a request with a photo, if the release has no photo search."""

RETRY_HEADERS: Final = {"Retry-After": "1"}
"""One second, the smallest value that the header allows."""

STORAGE_UNAVAILABLE: Final = "The server's storage cannot be read or written. Retry later."

_STORAGE_RETRY_HEADERS: Final = {"Retry-After": "10"}

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_MAX_SHOWN: Final = 100
"""Characters of an invalid value that a message repeats."""


class ErrorExample(NamedTuple):
    """Example of an error status for the OpenAPI documentation.

    Attributes:
        description: meaning of the status.
        kind: problem type of the example; None for ``about:blank``.
        detail: detail of the example.
    """

    description: str
    kind: str | None
    detail: str


_EXAMPLES: Final[dict[int, ErrorExample]] = {
    400: ErrorExample("Malformed request.", None, "The form ends before its closing boundary."),
    401: ErrorExample(
        "Missing or invalid API key.",
        "unauthorized",
        "Missing or invalid API key in header X-API-Key.",
    ),
    404: ErrorExample("Unknown id.", None, "Release v1 has no listing '4e5f6a7b'."),
    408: ErrorExample("Upload timeout.", "body_timeout", "Upload did not complete within 10 s."),
    413: ErrorExample("Upload too large.", "oversized", "more than the 33,554,432 bytes allowed"),
    415: ErrorExample(
        "Not a photo in an accepted format.",
        "unsupported_format",
        "GIF; JPEG, PNG, WebP and AVIF are accepted",
    ),
    422: ErrorExample(
        "Missing or invalid input.",
        "truncated",
        "the JPEG ends early: image file is truncated (3 bytes not processed)",
    ),
    429: ErrorExample(
        "Rate limit exceeded. Retry after Retry-After seconds.",
        "rate_limited",
        "Rate limit of 600 per 1 minute exceeded. Retry in 12 s.",
    ),
    500: ErrorExample("Internal server error.", "corrupt_photo", "The photo failed its checksum."),
    503: ErrorExample(
        "Server is at capacity. Retry after Retry-After seconds.",
        "over_capacity",
        "Server is at capacity (32 requests in flight). Retry later.",
    ),
}

_RETRY_AFTER: Final[dict[str, Any]] = {
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "Seconds to wait before the next request.",
    }
}

_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {
        "WWW-Authenticate": {
            "schema": {"type": "string"},
            "description": "Authentication scheme.",
        }
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


class ApiError(HTTPException):
    """An error with a problem type of its own."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


def storage_unavailable() -> ApiError:
    """Return the error for a disk or lake that fails."""
    return ApiError(503, "storage_unavailable", STORAGE_UNAVAILABLE, _STORAGE_RETRY_HEADERS)


def error_responses(
    *statuses: int, examples: Mapping[int, ErrorExample] | None = None
) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI documentation of error statuses, each with an example.

    Args:
        statuses: statuses that a route may answer with.
        examples: examples for this route, in place of the default ones.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        description, kind, detail = (_EXAMPLES | dict(examples or {}))[status]
        content = {
            "schema": {"$ref": "#/components/schemas/ProblemDetails"},
            "example": problem_details(status, detail, kind).model_dump(),
        }
        responses[status] = {"description": description, "content": {MEDIA_TYPE: content}}
        if status in _HEADERS:
            responses[status]["headers"] = _HEADERS[status]
    return responses


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error of an application as problem details."""

    @app.exception_handler(PhotoError)
    async def handle_photo_error(_: Request, error: PhotoError) -> JSONResponse:
        status = _PHOTO_STATUSES.get(error.reason, 422)
        return problem_response(status, error.detail, error.reason)

    @app.exception_handler(StarletteHTTPException)
    async def handle_http_error(_: Request, error: StarletteHTTPException) -> JSONResponse:
        kind = error.kind if isinstance(error, ApiError) else None
        return problem_response(error.status_code, str(error.detail), kind, error.headers)

    @app.exception_handler(OSError)
    async def handle_storage_error(request: Request, error: OSError) -> JSONResponse:
        LOG.error(
            "storage failed", extra=log_fields(id=request.state.id, reason=describe_os_error(error))
        )
        failure = storage_unavailable()
        if error.errno in _FULL:
            failure.kind, failure.detail = "storage_full", "The server's disk is full. Retry later."
        return problem_response(503, failure.detail, failure.kind, failure.headers)

    @app.exception_handler(RequestValidationError)
    async def handle_validation_error(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        value = repr(first["input"])
        if len(value) > _MAX_SHOWN:
            value = f"{value[:_MAX_SHOWN]}…"
        return problem_response(422, f"Invalid {location} = {value}: {first['msg']}.")


def describe_os_error(error: OSError) -> str:
    """Return an error in one line, without the names of files."""
    return f"{type(error).__name__}: {error.strerror or 'no details'}"


def problem_response(
    status: int,
    detail: str,
    kind: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Build an error response.

    Args:
        status: HTTP status.
        detail: problem, expectation and remedy, for people.
        kind: problem type, for programs; None if the status says enough.
        headers: additional response headers.
    """
    return JSONResponse(
        problem_details(status, detail, kind).model_dump(),
        status,
        headers=dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def problem_details(status: int, detail: str, kind: str | None) -> ProblemDetails:
    """Build the body of an error response; see :func:`problem_response`."""
    return ProblemDetails(
        type=f"{_TYPE_PREFIX}{kind}" if kind else "about:blank",
        title=kind.replace("_", " ").capitalize() if kind else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
    )
