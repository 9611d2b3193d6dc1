"""The routes of a search by words, a photo or both."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from fb_marketplace_serving.search.engine import Sort
from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import error_responses
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.inference.uploads import FORM
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.routes.clicks import attach_search_id
from fb_marketplace_serving.server.schemas.search import SearchResponse
from fb_marketplace_serving.server.search_response import SearchRequest, build_response
from fb_marketplace_serving.server.service import Service

LONGEST: Final = 200
"""Characters that may be searched for."""

_NOT_SEARCHABLE: Final = {
    404: (
        "The release that is served was made without what a search by words needs",
        None,
        "release v1 holds nothing to search by words with; make another by `kedro run`",
    )
}

searches = APIRouter(dependencies=[Depends(require_api_key), Depends(enforce_rate_limit)])


def _request(
    q: Annotated[
        str, Query(max_length=LONGEST, description="words; all listings where nothing is asked")
    ] = "",
    limit: Annotated[int, Query(ge=1, le=100, description="Number of hits.")] = 20,
    offset: Annotated[int, Query(ge=0, le=100_000, description="hits to leave out")] = 0,
    category: Annotated[
        list[str] | None,
        Query(max_length=64, description="a category path, or the beginning of some"),
    ] = None,
    min_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_price: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    near: Annotated[str | None, Query(max_length=LONGEST, description="a town")] = None,
    radius_km: Annotated[
        float | None, Query(gt=0, allow_inf_nan=False, description="around `near`")
    ] = None,
    has_photo: Annotated[bool | None, Query()] = None,
    sort: Annotated[Sort, Query(description="`distance` needs `near`")] = "relevance",
    diversity: Annotated[
        float,
        Query(
            ge=0,
            le=1,
            description="0 ranks by score only; 1 maximally penalizes similarity to higher hits (MMR).",
        ),
    ] = 0.0,
    explain: Annotated[bool, Query(description="take each score apart")] = False,
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


ParsedRequest = Annotated[SearchRequest, Depends(_request)]


@searches.get(
    "/search",
    response_model=SearchResponse,
    responses=error_responses(401, 404, 422, 429, 503, meaning_here=_NOT_SEARCHABLE),
)
async def search(
    asked: ParsedRequest, service: ServiceDependency, served: ReleaseDependency
) -> Response:
    """Search by words and filters."""
    require_search(served)
    return await _answered(service, served, asked, None)


@searches.post(
    "/search",
    response_model=SearchResponse,
    openapi_extra=FORM,
    responses=error_responses(
        400, 401, 404, 408, 413, 415, 422, 429, 503, meaning_here=_NOT_SEARCHABLE
    ),
)
async def search_by_photo(
    asked: ParsedRequest, request: Request, service: ServiceDependency, served: ReleaseDependency
) -> Response:
    """Search by a photo, by words too if there are any, and filters."""
    require_search(served)
    photo = await service.encode(request, served)
    return await _answered(service, served, asked, photo)


async def _answered(
    service: Service, served: LoadedRelease, asked: SearchRequest, photo: EncodedPhoto | None
) -> Response:
    # Written on the thread too: a hundred hits, each taken apart, would hold up the event loop.
    def written() -> bytes:
        found = build_response(service, served, asked, photo)
        # One by a photo cannot be asked again, as the photo is not kept, whatever words stand beside it.
        told = attach_search_id(service, asked, found) if photo is None else found
        return told.model_dump_json().encode()

    data = await service.work(written)
    return Response(data, media_type="application/json")


def require_search(served: LoadedRelease) -> None:
    """Let through what the release can answer.

    Raises:
        HTTPException: it was made without what a search by words needs.
    """
    if served.searcher is None:
        raise HTTPException(
            404,
            f"release {served.version} holds nothing to search by words with; make another by `kedro run`",
        )
