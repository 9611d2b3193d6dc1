"""Text and image search."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from fb_marketplace_serving.feedback.events import (
    RequestedFilters,
    SearchLine,
    new_search_id,
    utc_now,
)
from fb_marketplace_serving.search.engine import Sort
from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    enforce_rate_limit,
    reject_renamed_parameters,
    require_api_key,
)
from fb_marketplace_serving.server.errors import ErrorExample, error_responses
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.inference.uploads import FORM
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.schemas.search import SearchResponse
from fb_marketplace_serving.server.search_response import SearchRequest, build_response
from fb_marketplace_serving.server.service import Service

MAX_QUERY_LENGTH: Final = 200
"""Characters of a query or a place."""

_NO_TEXT_SEARCH: Final = (
    "Release {version} was built without text search. Publish a new release with `kedro run`."
)
_EXAMPLES: Final = {
    404: ErrorExample(
        "The release was built without text search.", None, _NO_TEXT_SEARCH.format(version="v1")
    )
}

router = APIRouter(
    dependencies=[
        Depends(require_api_key),
        Depends(enforce_rate_limit),
        Depends(reject_renamed_parameters(k="limit", spread="diversity")),
    ]
)


def _request(
    q: Annotated[
        str,
        Query(
            max_length=MAX_QUERY_LENGTH,
            description="Search text. Empty returns all listings matching the filters.",
        ),
    ] = "",
    limit: Annotated[int, Query(ge=1, le=100, description="Maximum number of hits.")] = 20,
    offset: Annotated[int, Query(ge=0, le=100_000, description="Number of hits to skip.")] = 0,
    category: Annotated[
        list[str] | None,
        Query(max_length=64, description="Category paths or prefixes of paths."),
    ] = None,
    min_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    near: Annotated[str | None, Query(max_length=MAX_QUERY_LENGTH, description="Town.")] = None,
    radius_km: Annotated[
        float | None, Query(gt=0, allow_inf_nan=False, description="Maximum distance from `near`.")
    ] = None,
    has_photo: Annotated[bool | None, Query()] = None,
    sort: Annotated[Sort, Query(description="`distance` requires `near`.")] = "relevance",
    diversity: Annotated[
        float,
        Query(
            ge=0,
            le=1,
            description="0 ranks by score only; 1 maximally penalizes similarity to higher hits (MMR).",
        ),
    ] = 0.0,
    explain: Annotated[bool, Query(description="Explain the score of each hit.")] = False,
) -> SearchRequest:
    return SearchRequest(
        words=q.strip(),
        limit=limit,
        offset=offset,
        categories=tuple(category or ()),
        min_price=min_price,
        max_price=max_price,
        near=near,
        radius_km=radius_km,
        has_photo=has_photo,
        sort=sort,
        diversity=diversity,
        explain=explain,
    )


Parameters = Annotated[SearchRequest, Depends(_request)]


@router.get(
    "/search",
    response_model=SearchResponse,
    responses=error_responses(401, 404, 422, 429, 503, examples=_EXAMPLES),
)
async def search(
    parameters: Parameters, service: ServiceDependency, loaded: ReleaseDependency
) -> Response:
    """Search by text and filters."""
    _require_text_search(loaded)
    return await _respond(service, loaded, parameters, None)


@router.post(
    "/search",
    response_model=SearchResponse,
    openapi_extra=FORM,
    responses=error_responses(400, 401, 404, 408, 413, 415, 422, 429, 503, examples=_EXAMPLES),
)
async def search_by_photo(
    parameters: Parameters,
    request: Request,
    service: ServiceDependency,
    loaded: ReleaseDependency,
) -> Response:
    """Search by photo, optional text and filters."""
    _require_text_search(loaded)
    photo = await service.encode(request, loaded)
    return await _respond(service, loaded, parameters, photo)


async def _respond(
    service: Service, loaded: LoadedRelease, request: SearchRequest, photo: EncodedPhoto | None
) -> Response:
    # Serialized on the search thread too: a hundred explained hits would block the event loop.
    def respond() -> bytes:
        response = build_response(service, loaded, request, photo)
        # Photos are not stored, so a search by photo cannot be replayed for training.
        if photo is None:
            response = record_search(service, request, response)
        return response.model_dump_json().encode()

    return Response(await service.run_search(respond), media_type="application/json")


def record_search(
    service: Service, request: SearchRequest, response: SearchResponse
) -> SearchResponse:
    """Record a text search if feedback is on, and add its id to the response."""
    # Requests for explanations are debugging, not shopping.
    if service.feedback is None or not request.words or request.explain:
        return response
    line = SearchLine(
        search_id=new_search_id(),
        time=utc_now(),
        release=response.release,
        words=request.words,
        filters=RequestedFilters(
            categories=list(request.categories),
            min_price=request.min_price,
            max_price=request.max_price,
            near=request.near,
            radius_km=request.radius_km,
            has_photo=request.has_photo,
            sort=request.sort,
            diversity=request.diversity,
        ),
        offset=request.offset,
        product_ids=[hit.product_id for hit in response.hits],
    )
    if not service.feedback.add("searches", line):
        return response  # Not recorded: clicks on it could not be joined.
    return response.model_copy(update={"search_id": line.search_id})


def _require_text_search(loaded: LoadedRelease) -> None:
    if loaded.engine is None:
        raise HTTPException(404, _NO_TEXT_SEARCH.format(version=loaded.version))
