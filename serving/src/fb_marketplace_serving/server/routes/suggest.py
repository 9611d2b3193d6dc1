"""Completion of search texts."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import parse_qsl

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
from fb_marketplace_serving.server.routes.strict_route import StrictRoute
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


class _DirectRoute(StrictRoute):
    """A route that answers valid requests itself: FastAPI would take twice as long as the answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_directly(request: Request) -> Response:
            parameters = _parse(request.scope["query_string"])
            if parameters is None:
                return await handle(request)
            authenticate(request, request.headers.get(KEY_HEADER))
            return _respond(parameters, request.state.release)

        return handle_directly


# Without a rate limit: a client asks with each key, and an answer takes microseconds.
router = APIRouter(
    dependencies=[Depends(require_api_key)], route_class=_DirectRoute, tags=["search"]
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


def _parse(query: bytes) -> SuggestRequest | None:
    """Return the parameters; None if they are not valid, or if one is empty or occurs twice."""
    names = SuggestRequest.model_fields.keys()
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=len(names)
        )
        parameters = dict(pairs)
        if (
            len(parameters) < len(pairs)
            or "" in parameters.values()
            or not parameters.keys() <= names
        ):
            return None
        return SuggestRequest.model_validate(parameters)
    except ValueError:  # too many parameters, or pydantic's
        return None


def _respond(parameters: SuggestRequest, loaded: LoadedRelease) -> Response:
    require_text_search(loaded)
    completions = loaded.queries.complete(parameters.q, parameters.limit) if loaded.queries else []
    body = Suggestions(
        release=loaded.version,
        suggestions=[Suggestion(**completion._asdict()) for completion in completions],
    )
    return Response(body.model_dump_json(), media_type="application/json")
