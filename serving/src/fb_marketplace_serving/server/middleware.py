"""What surrounds each request: its id, its release, its end on the log, and headers that protect."""

import re
import uuid
from collections.abc import Callable
from time import perf_counter
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fb_marketplace_serving.server.errors import problem_response
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.service import Service

RELEASE_HEADER: Final = "X-Release"
ID_HEADER: Final = "X-Request-ID"

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""A request may bring its id, if that can do no harm in a log."""

_ELSEWHERE: Final = "elsewhere"
"""The route of what is nowhere: its path is the client's to choose, and would make a counter each."""

_PROTECTING: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "frame-ancestors 'none'; form-action 'self'"
    ),
}


class RequestContextMiddleware:
    """Middleware; the outermost, so that nothing is answered without it."""

    def __init__(self, app: ASGIApp, service: Callable[[], Service]) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Surround a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        service = self._service()
        served, started, status = service.served, perf_counter(), 0
        brought = Headers(scope=scope).get(ID_HEADER, "")
        request_id = brought if _ID.fullmatch(brought) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(served=served, id=request_id)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[RELEASE_HEADER], headers[ID_HEADER] = served.version, request_id
                for name, value in _PROTECTING.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            LOG.exception("fault", extra=log_fields(id=request_id, path=scope["path"]))
            if status:
                raise  # Half an answer is out: only the connection can still say that it is wrong.
            said = "a fault of the server, not of the request; its log says more under this request's id"
            await problem_response(500, said)(scope, receive, send_with_headers)
        finally:
            self._tell(service, scope, status, perf_counter() - started)

    def _tell(self, service: Service, scope: Scope, status: int, seconds: float) -> None:
        found = scope.get("route")
        route = getattr(found, "path", _ELSEWHERE)
        service.metrics.requests.labels(route, scope["method"], status).inc()
        service.metrics.seconds.labels(route).observe(seconds)
        state = scope["state"]
        LOG.info(
            "request",
            extra=log_fields(
                id=state["id"],
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(seconds * 1000, 1),
                release=state["served"].version,
                key=state.get("key"),
            ),
        )
