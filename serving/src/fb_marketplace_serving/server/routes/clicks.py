"""The route by which a page tells what was clicked, and how a search gets the id that it tells it by."""

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from fb_marketplace_serving.feedback.events import (
    ClickLine,
    ProductId,
    RequestedFilters,
    SearchId,
    SearchLine,
    new_search_id,
    now,
)
from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import ApiError, error_responses
from fb_marketplace_serving.server.inference.uploads import drain_body
from fb_marketplace_serving.server.schemas.search import SearchResponse
from fb_marketplace_serving.server.search_response import SearchRequest
from fb_marketplace_serving.server.service import Service

_LARGEST: Final = 1024
"""Bytes of a click; a hundred would do."""

clicks = APIRouter(dependencies=[Depends(require_api_key), Depends(enforce_rate_limit)])


class Click(BaseModel):
    """A listing that was opened from a search."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        json_schema_extra={"example": {"search_id": "0" * 32, "product_id": "4e5f6a7b"}},
    )

    search_id: SearchId
    product_id: ProductId


class ClickRecorded(BaseModel):
    """What became of a click."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": {"noted": True}})

    noted: bool = Field(description="false where the server had no time for it")


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Click.model_json_schema()}},
    }
}


async def _click(request: Request, service: ServiceDependency) -> Click:
    """Read a click, and never more than a click may be, once it is known who asks."""
    data, seconds = bytearray(), service.settings.request_seconds
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                data += part
                if len(data) > _LARGEST:
                    await drain_body(request)
                    raise ApiError(
                        413, "oversized", f"more than the {_LARGEST:,} bytes that are accepted"
                    )
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed before the click was whole") from None
    except TimeoutError:
        raise ApiError(
            408, "slow_upload", f"the click was not whole within {seconds:g} s"
        ) from None
    try:
        return Click.model_validate_json(bytes(data))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        raise RequestValidationError(
            [each | {"loc": ("body", *each["loc"])} for each in found]
        ) from None


@clicks.post(
    "/clicks", openapi_extra=_BODY, responses=error_responses(400, 401, 404, 408, 413, 422, 429)
)
async def record_click(
    request: Request, service: ServiceDependency, served: ReleaseDependency
) -> ClickRecorded:
    """Write down that a listing was opened from a search."""
    if service.feedback is None:
        raise HTTPException(
            404, "found no place for clicks; expected a server that was started with FB_FEEDBACK"
        )
    click = await _click(request, service)
    if click.product_id not in served.release.listings:
        raise HTTPException(
            404, f"found no listing {click.product_id!r} in release {served.version}"
        )
    line = ClickLine(search_id=click.search_id, time=now(), product_id=click.product_id)
    return ClickRecorded(noted=service.feedback.add("clicks", line))


def attach_search_id(
    service: Service, asked: SearchRequest, answer: SearchResponse
) -> SearchResponse:
    """Write down a search by words alone, if that is on, and give the answer its id."""
    # Who asks for scores to be taken apart looks at a search, and is no buyer who makes one.
    if service.feedback is None or not asked.words or asked.explain:
        return answer
    line = SearchLine(
        search_id=new_search_id(),
        time=now(),
        release=answer.release,
        words=asked.words,
        filters=RequestedFilters(
            categories=list(asked.categories),
            min_price=asked.min_price,
            max_price=asked.max_price,
            near=asked.near,
            radius_km=asked.radius_km,
            has_photo=asked.has_photo,
            sort=asked.sort,
            diversity=asked.diversity,
        ),
        offset=asked.offset,
        shown=[hit.product_id for hit in answer.hits],
    )
    if not service.feedback.add("searches", line):
        return answer  # A click on it would be of a search that nobody knows.
    return answer.model_copy(update={"search_id": line.search_id})
