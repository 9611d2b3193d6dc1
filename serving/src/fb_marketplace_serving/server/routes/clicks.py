"""Click events."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from fb_marketplace_serving.feedback.events import ClickLine, ProductId, SearchId, utc_now
from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import ApiError, ErrorExample, error_responses
from fb_marketplace_serving.server.feedback_writer import SEARCH_ID_SECONDS
from fb_marketplace_serving.server.inference.uploads import drain_body
from fb_marketplace_serving.server.routes.strict_route import StrictRoute
from fb_marketplace_serving.server.service import Service

_MAX_BYTES: Final = 1024
"""Maximum size of a click. About a hundred bytes are needed."""

_UNKNOWN_SEARCH: Final = (
    f"This server issued no such search_id in the last {SEARCH_ID_SECONDS // 3600} hours."
)
_EXAMPLES: Final = {
    403: ErrorExample(
        "Sent by a page of another site.", "foreign_origin", "Clicks are accepted from …"
    ),
    404: ErrorExample("Unknown search or listing.", "unknown_search", _UNKNOWN_SEARCH),
    415: ErrorExample("Not JSON.", "not_json", "Send clicks with Content-Type: application/json."),
}

router = APIRouter(
    dependencies=[Depends(require_api_key), Depends(enforce_rate_limit)],
    route_class=StrictRoute,
    tags=["feedback"],
)


class Click(BaseModel):
    """A listing opened from a search."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        json_schema_extra={"example": {"search_id": "0" * 32, "product_id": "4e5f6a7b"}},
    )

    search_id: SearchId
    product_id: ProductId


class ClickRecorded(BaseModel):
    """Outcome of a click."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": {"recorded": True}})

    recorded: bool = Field(description="False if the server was too busy, or a limit was reached.")


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Click"}}},
    }
}


def _check_origin(request: Request, service: Service) -> None:
    """Check that a click is sent by a page of this server or of an allowed origin, or by no page.

    A page of another site could otherwise click in the name of its visitors.

    Raises:
        ApiError: it is sent by another page, or is not JSON, for which other pages need a CORS preflight.
    """
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "not_json", "Send clicks with Content-Type: application/json.")
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None:  # Browsers send it, and a proxy that changes the host leaves it.
        is_own = site in {"same-origin", "none"}
    else:
        is_own = origin is None or origin.partition("://")[2] == headers.get("host")
    if not is_own and origin not in service.settings.cors_origins:
        raise ApiError(
            403,
            "foreign_origin",
            "Clicks are accepted from pages of this server, or of FB_CORS_ORIGINS.",
        )


async def _read_click(request: Request, service: ServiceDependency) -> Click:
    """Read a click within its size and time limits, after authentication."""
    data, seconds = bytearray(), service.settings.request_timeout_seconds
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                data += part
                if len(data) > _MAX_BYTES:
                    await drain_body(request)
                    raise ApiError(413, "oversized", f"A click has at most {_MAX_BYTES:,} bytes.")
    except ClientDisconnect:
        raise HTTPException(400, "Connection closed before the click was complete.") from None
    except TimeoutError:
        raise ApiError(
            408, "body_timeout", f"Click did not complete within {seconds:g} s."
        ) from None
    try:
        return Click.model_validate_json(bytes(data))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise RequestValidationError(
            [detail | {"loc": ("body", *detail["loc"])} for detail in details]
        ) from None


@router.post(
    "/clicks",
    openapi_extra=_BODY,
    responses=error_responses(400, 401, 403, 404, 408, 413, 415, 422, 429, examples=_EXAMPLES),
)
async def record_click(
    request: Request, service: ServiceDependency, loaded: ReleaseDependency
) -> ClickRecorded:
    """Record that a listing was opened from a search."""
    if service.feedback is None:
        raise HTTPException(
            404, "Feedback is off. Start the server with FB_FEEDBACK_DIR to record clicks."
        )
    _check_origin(request, service)
    request.state.pause_seconds += await service.pace.wait(request.state.client)
    click = await _read_click(request, service)
    if not service.search_ids.is_recent(click.search_id):
        raise ApiError(404, "unknown_search", _UNKNOWN_SEARCH)
    if click.product_id not in loaded.release.listings:
        raise HTTPException(404, f"Release {loaded.version} has no listing {click.product_id!r}.")
    line = ClickLine(search_id=click.search_id, time=utc_now(), product_id=click.product_id)
    return ClickRecorded(recorded=service.feedback.add("clicks", line, request.state.client))
