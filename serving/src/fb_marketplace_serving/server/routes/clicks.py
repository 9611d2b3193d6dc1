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
from fb_marketplace_serving.server.errors import ApiError, error_responses
from fb_marketplace_serving.server.inference.uploads import drain_body
from fb_marketplace_serving.server.routes.strict_route import StrictRoute

_MAX_BYTES: Final = 1024
"""Maximum size of a click. About a hundred bytes are needed."""

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

    recorded: bool = Field(description="False if the server was too busy to record it.")


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Click"}}},
    }
}


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
            408, "slow_upload", f"Click did not complete within {seconds:g} s."
        ) from None
    try:
        return Click.model_validate_json(bytes(data))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        raise RequestValidationError(
            [detail | {"loc": ("body", *detail["loc"])} for detail in details]
        ) from None


@router.post(
    "/clicks", openapi_extra=_BODY, responses=error_responses(400, 401, 404, 408, 413, 422, 429)
)
async def record_click(
    request: Request, service: ServiceDependency, loaded: ReleaseDependency
) -> ClickRecorded:
    """Record that a listing was opened from a search."""
    if service.feedback is None:
        raise HTTPException(
            404, "Feedback is off. Start the server with FB_FEEDBACK_DIR to record clicks."
        )
    click = await _read_click(request, service)
    if click.product_id not in loaded.release.listings:
        raise HTTPException(404, f"Release {loaded.version} has no listing {click.product_id!r}.")
    line = ClickLine(search_id=click.search_id, time=utc_now(), product_id=click.product_id)
    return ClickRecorded(recorded=service.feedback.add("clicks", line))
