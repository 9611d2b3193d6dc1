"""Request context: request id, release, access log, metrics and security headers."""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus
from time import perf_counter
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fb_marketplace_serving.server.auth import ANONYMOUS, network_of
from fb_marketplace_serving.server.errors import problem_response
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.service import Service

RELEASE_HEADER: Final = "X-Release"
ID_HEADER: Final = "X-Request-ID"

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Ids from clients that are safe to log."""

_UNMATCHED: Final = "unmatched"
"""Route label of unknown paths. Clients choose these paths: each would become a time series."""

CONTENT_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)

_SECURITY_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_POLICY,
}


class RequestContextMiddleware:
    """Outermost middleware, so that every response passes through it."""

    def __init__(self, app: ASGIApp, service: Callable[[], Service]) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":
            # Every GET route answers HEAD: the same headers without a body.
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        service = self._service()
        release, started, status = service.current, perf_counter(), 0
        client_id = Headers(scope=scope).get(ID_HEADER, "")
        request_id = client_id if _SAFE_ID.fullmatch(client_id) else uuid.uuid4().hex
        scope.setdefault("state", {}).update(release=release, id=request_id, pause_seconds=0.0)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= HTTPStatus.BAD_REQUEST:
                    scope["state"]["pause_seconds"] += await service.pace.wait(_client(scope))
                headers = MutableHeaders(scope=message)
                headers[RELEASE_HEADER], headers[ID_HEADER] = release.version, request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            LOG.exception("internal error", extra=log_fields(id=request_id, path=scope["path"]))
            if status:
                raise  # The response has begun: only closing the connection can signal the error.
            detail = "Internal server error. See the server log for this request id."
            await problem_response(500, detail)(scope, receive, send_with_headers)
        finally:
            seconds = perf_counter() - started - scope["state"]["pause_seconds"]
            self._record(service, scope, method, status, seconds)

    def _record(
        self, service: Service, scope: Scope, method: str, status: int, seconds: float
    ) -> None:
        route = getattr(scope.get("route"), "path_format", _UNMATCHED)
        service.metrics.requests.labels(route, method, status).inc()
        service.metrics.request_seconds.labels(route).observe(seconds)
        state = scope["state"]
        LOG.info(
            "request",
            extra=log_fields(
                id=state["id"],
                method=method,
                path=scope["path"],
                status=status,
                ms=round(seconds * 1000, 1),
                release=state["release"].version,
                key=state.get("key"),
            ),
        )


def _client(scope: Scope) -> str:
    """Return the name of a client: that of its key, or its address."""
    name: str | None = scope["state"].get("client")
    return name or network_of((scope.get("client") or [ANONYMOUS])[0])


def _without_body(send: Send) -> Send:
    async def send_headers(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers
