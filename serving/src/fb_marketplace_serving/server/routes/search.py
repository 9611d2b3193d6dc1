"""Text and image search."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from fb_marketplace_serving.feedback.events import (
    RequestedFilters,
    SearchLine,
    utc_now,
)
from fb_marketplace_serving.server.dependencies import (
    KEY_HEADER,
    ReleaseDependency,
    ServiceDependency,
    authenticate,
    enforce_rate_limit,
    require_api_key,
)
from fb_marketplace_serving.server.errors import ErrorExample, error_responses
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.inference.uploads import FORM
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.routes.strict_route import DirectRoute, parse_query
from fb_marketplace_serving.server.schemas.search import SearchRequest, SearchResponse
from fb_marketplace_serving.server.search_response import build_response
from fb_marketplace_serving.server.service import Service
from fb_marketplace_serving.server.understood_request import understand_request

_NO_TEXT_SEARCH: Final = (
    "Release {version} was built without text search. Publish a new release with `kedro run`."
)
TEXT_SEARCH_EXAMPLES: Final = {
    404: ErrorExample(
        "The release was built without text search.", None, _NO_TEXT_SEARCH.format(version="v1")
    )
}


class _SearchRoute(DirectRoute):
    """A route that answers valid searches without a photo itself."""

    async def answer(self, request: Request) -> Response | None:
        if request.method != "GET":
            return None
        parameters = parse_query(request.scope["query_string"], SearchRequest)
        if parameters is None:
            return None
        service: Service = request.app.state.service
        authenticate(request, request.headers.get(KEY_HEADER))
        await enforce_rate_limit(request, service)
        return await search(parameters, request, service, request.state.release)


router = APIRouter(
    dependencies=[Depends(require_api_key), Depends(enforce_rate_limit)],
    route_class=_SearchRoute,
    tags=["search"],
)

Parameters = Annotated[SearchRequest, Query()]


@router.get(
    "/search",
    response_model=SearchResponse,
    responses=error_responses(401, 404, 422, 429, 503, examples=TEXT_SEARCH_EXAMPLES),
)
async def search(
    parameters: Parameters,
    request: Request,
    service: ServiceDependency,
    loaded: ReleaseDependency,
) -> Response:
    """Search by text and filters."""
    require_text_search(loaded)
    return await _respond(request.state.client, service, loaded, parameters, None)


@router.post(
    "/search",
    response_model=SearchResponse,
    openapi_extra=FORM,
    responses=error_responses(
        400, 401, 404, 408, 413, 415, 422, 429, 503, examples=TEXT_SEARCH_EXAMPLES
    ),
)
async def search_by_photo(
    parameters: Parameters,
    request: Request,
    service: ServiceDependency,
    loaded: ReleaseDependency,
) -> Response:
    """Search by photo, optional text and filters."""
    require_text_search(loaded)
    photo = await service.encode(request, loaded)
    return await _respond(request.state.client, service, loaded, parameters, photo)


async def _respond(
    client: str,
    service: Service,
    loaded: LoadedRelease,
    request: SearchRequest,
    photo: EncodedPhoto | None,
) -> Response:
    # Serialized on the search thread too: a hundred explained hits would block the event loop.
    def respond() -> bytes:
        understood = understand_request(loaded, request)
        response = build_response(service, loaded, understood, photo)
        # Photos are not stored, so a search by photo cannot be replayed for training.
        if photo is None:
            response = record_search(service, client, understood.effective, response)
        return response.model_dump_json().encode()

    return Response(await service.run_search(client, respond), media_type="application/json")


def record_search(
    service: Service, client: str, request: SearchRequest, response: SearchResponse
) -> SearchResponse:
    """Record a text search if feedback is on, and add its id to the response."""
    # Requests for explanations are debugging, not shopping.
    if service.feedback is None or not request.q or request.explain:
        return response
    line = SearchLine(
        search_id=service.search_ids.issue(),
        time=utc_now(),
        release=response.release,
        words=request.q,
        filters=RequestedFilters(
            categories=list(request.category),
            attributes=list(request.attribute),
            **request.model_dump(
                include=RequestedFilters.model_fields.keys() - {"categories", "attributes"}
            ),
        ),
        offset=request.offset,
        product_ids=[hit.product_id for hit in response.hits],
    )
    if not service.feedback.add("searches", line, client):
        return response  # Not recorded: clicks on it could not be joined.
    return response.model_copy(update={"search_id": line.search_id})


def require_text_search(loaded: LoadedRelease) -> None:
    """Raise a 404 if a release was built without text search."""
    if loaded.engine is None:
        raise HTTPException(404, _NO_TEXT_SEARCH.format(version=loaded.version))
