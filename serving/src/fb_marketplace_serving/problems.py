"""Errors as the API tells them: ``application/problem+json`` (RFC 9457), whatever went wrong."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from fb_marketplace_serving.photos import PhotoError, Reason
from fb_marketplace_serving.schemas import Problem as ProblemSchema

MEDIA_TYPE: Final = "application/problem+json"

_KIND: Final = "urn:fb-marketplace:problem:"

_STATUS_OF_REASON: Final[dict[Reason, int]] = {
    "not_an_image": 415,
    "unsupported_format": 415,
    "oversized": 413,
}
"""What is not named here is 422: of the right kind, but it cannot be read."""

_SHOWN: Final = 100
"""Characters of a wrong value that are said again."""

_DESCRIPTIONS: Final = {
    400: "The request is malformed",
    401: "The key is missing or wrong",
    404: "There is none of that id",
    408: "The upload took too long",
    413: "The upload is too large",
    415: "It is no JPEG, PNG or WebP photo",
    422: "It is missing, or cannot be read",
    429: "The key has made as many requests as it may; Retry-After says when it may again",
    500: "A fault of the server",
    503: "The server has as much to do as it takes on; Retry-After says when to try again",
}


class Problem(HTTPException):
    """An error that has a kind of its own, for programs."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give OpenAPI's words for what may go wrong."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": _DESCRIPTIONS[status], "content": content} for status in statuses
    }


def answer_errors(app: FastAPI) -> None:
    """Answer every error of an application in the one form."""

    @app.exception_handler(PhotoError)
    async def photo(_: Request, error: PhotoError) -> JSONResponse:
        status = _STATUS_OF_REASON.get(error.reason, 422)
        return problem(status, error.detail, error.reason)

    @app.exception_handler(Problem)
    async def known(_: Request, error: Problem) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.kind, error.headers)

    @app.exception_handler(StarletteHTTPException)
    async def http(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), None, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        found = repr(first["input"])
        shown = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"
        return problem(422, f"found {where} = {shown}; {first['msg']}")


def problem(
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
    said = ProblemSchema(
        type=f"{_KIND}{kind}" if kind else "about:blank",
        title=kind.replace("_", " ").capitalize() if kind else HTTPStatus(status).phrase,
        status=status,
        detail=detail,
    )
    return JSONResponse(
        said.model_dump(), status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )
