"""Completion of search texts."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from fb_marketplace_serving.server.dependencies import (
    KEY_HEADER,
    ReleaseDependency,
    authenticate,
    require_api_key,
)
from fb_marketplace_serving.server.errors import error_responses
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.routes.search import TEXT_SEARCH_EXAMPLES, require_text_search
from fb_marketplace_serving.server.routes.strict_route import DirectRoute, parse_query
from fb_marketplace_serving.server.schemas.search import (
    MAX_QUERY_LENGTH,
    Suggestion,
    Suggestions,
)


class SuggestRequest(BaseModel):
    """Query parameters."""

    model_config = ConfigDict(frozen=True)

    q: str = Field(default="", max_length=MAX_QUERY_LENGTH, description="Search text so far.")
    limit: int = Field(default=8, ge=1, le=20, description="Maximum number of suggestions.")


class _SuggestRoute(DirectRoute):
    async def answer(self, request: Request) -> Response | None:
        parameters = parse_query(request.scope["query_string"], SuggestRequest)
        if parameters is None:
            return None
        authenticate(request, request.headers.get(KEY_HEADER))
        return _respond(parameters, request.state.release)


# Without a rate limit: a client asks with each key, and an answer takes microseconds.
router = APIRouter(
    dependencies=[Depends(require_api_key)], route_class=_SuggestRoute, tags=["search"]
)


@router.get(
    "/suggest",
    response_model=Suggestions,
    responses=error_responses(401, 404, 422, examples=TEXT_SEARCH_EXAMPLES),
)
async def suggest(
    parameters: Annotated[SuggestRequest, Query()], loaded: ReleaseDependency
) -> Response:
    """Complete a search text: words, categories and towns, the most frequent first."""
    return _respond(parameters, loaded)


def _respond(parameters: SuggestRequest, loaded: LoadedRelease) -> Response:
    require_text_search(loaded)
    completions = loaded.queries.complete(parameters.q, parameters.limit) if loaded.queries else []
    body = Suggestions(
        release=loaded.version,
        suggestions=[Suggestion(**completion._asdict()) for completion in completions],
    )
    return Response(body.model_dump_json(), media_type="application/json")
