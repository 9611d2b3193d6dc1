"""Query parameters: unknown ones are rejected, empty ones are ignored."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

from fastapi import HTTPException, Request, Response, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from pydantic import BaseModel

from fb_marketplace_serving.search.suggestions import quote

Parameters = TypeVar("Parameters", bound=BaseModel)

_MAX_PARAMETERS: Final = 256

_RENAMED: Final = {"k": "limit", "spread": "diversity"}
"""Parameters of version 0.1 and their new names."""


class StrictRoute(APIRoute):
    """A route that rejects unknown query parameters, and ignores empty ones.

    Otherwise a misspelled filter would have no effect, and an empty field of a form would be an invalid
    number.
    """

    @cached_property
    def _known(self) -> list[str]:
        others = (params.Path, params.Header, params.Cookie)
        return [
            field.alias
            for field in get_flat_params(self.dependant)
            if not isinstance(field.field_info, others)
        ]

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            if request.scope["query_string"]:
                request.scope["query_string"] = self._check(request.scope["query_string"])
            return await handle(request)

        return handle_strictly

    def _check(self, query: bytes) -> bytes:
        """Return the query without empty parameters.

        Raises:
            HTTPException: it has an unknown parameter.
        """
        try:
            pairs = parse_qsl(
                query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
            )
        except ValueError:
            raise HTTPException(
                422, f"Found more than {_MAX_PARAMETERS} query parameters; expected fewer."
            ) from None
        for name, _ in pairs:
            if name not in self._known:
                raise HTTPException(422, self._describe_unknown(name))
        given = [(name, value) for name, value in pairs if value]
        return query if len(given) == len(pairs) else urlencode(given).encode()

    def _describe_unknown(self, name: str) -> str:
        if _RENAMED.get(name) in self._known:
            return f"Query parameter `{name}` is now `{_RENAMED[name]}`."
        expected = ", ".join(self._known) or "none"
        return f"Unknown query parameter {quote(name)}; expected: {expected}."


class DirectRoute(StrictRoute):
    """A route that answers simple requests itself: FastAPI takes half a millisecond for the parameters."""

    async def answer(self, request: Request) -> Response | None:
        """Return the response; None if FastAPI must handle the request."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of requests."""
        handle = super().get_route_handler()

        async def handle_directly(request: Request) -> Response:
            response = await self.answer(request)
            return await handle(request) if response is None else response

        return handle_directly


def parse_query(query: bytes, model: type[Parameters]) -> Parameters | None:
    """Return the parameters of a query.

    Args:
        query: the query string.
        model: the parameters. Those whose default is a tuple may occur several times.

    Returns:
        None if they are not valid, or if one is unknown or empty.
    """
    values: dict[str, str | list[str]] = {}
    try:
        pairs = parse_qsl(
            query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_PARAMETERS
        )
        for name, value in pairs:
            field = model.model_fields.get(name)
            if field is None or not value:
                return None
            if isinstance(field.default, tuple):
                values[name] = [*values.get(name, ()), value]
            elif name in values:
                return None
            else:
                values[name] = value
        return model.model_validate(values)
    except ValueError:  # too many parameters, or pydantic's
        return None
