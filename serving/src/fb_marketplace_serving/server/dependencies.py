"""FastAPI dependencies: the service, the release of a request, authentication and rate limits."""

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from fb_marketplace_serving.server.auth import ANONYMOUS, network_of
from fb_marketplace_serving.server.errors import ApiError
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.service import Service

KEY_HEADER: Final = "X-API-Key"

_key = APIKeyHeader(
    name=KEY_HEADER, auto_error=False, description="Required if the server has keys."
)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _release(request: Request) -> LoadedRelease:
    loaded: LoadedRelease = request.state.release
    return loaded


ServiceDependency = Annotated[Service, Depends(_service)]
ReleaseDependency = Annotated[LoadedRelease, Depends(_release)]


async def require_api_key(request: Request, key: Annotated[str | None, Security(_key)]) -> None:
    """Raise a 401 unless the request has an accepted key or the server has no keys."""
    authenticate(request, key)


def authenticate(request: Request, key: str | None) -> None:
    """Set the client of a request.

    Args:
        request: the request.
        key: its API key.

    Raises:
        ApiError: the server has keys, and this is none of them.
    """
    service: Service = request.app.state.service
    host = request.client.host if request.client else ANONYMOUS
    name = service.keys.client_name(key or "") if service.keys else network_of(host)
    if name is None:
        service.metrics.requests_rejected.labels("unauthorized").inc()
        raise ApiError(
            401,
            "unauthorized",
            f"Missing or invalid API key in header {KEY_HEADER}.",
            {"WWW-Authenticate": "ApiKey"},
        )
    request.state.key = name if service.keys else ANONYMOUS
    request.state.client = name


async def require_monitoring_key(request: Request, service: ServiceDependency) -> None:
    """Raise a 401 unless the request has the monitoring key or the server has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    key = token.strip() if scheme.lower() == "bearer" else request.headers.get(KEY_HEADER, "")
    if service.monitoring_keys and service.monitoring_keys.client_name(key) is None:
        service.metrics.requests_rejected.labels("unauthorized").inc()
        raise ApiError(
            401,
            "unauthorized",
            f"Missing or invalid monitoring key in header {KEY_HEADER} or Authorization.",
            {"WWW-Authenticate": "Bearer"},
        )


async def enforce_rate_limit(request: Request, service: ServiceDependency) -> None:
    """Raise a 429 if the client has exceeded its rate limit."""
    seconds = service.rate_limit.hit(request.state.client) if service.rate_limit else None
    if seconds is not None:
        service.metrics.requests_rejected.labels("rate_limited").inc()
        raise ApiError(
            429,
            "rate_limited",
            f"Rate limit of {service.rate_limit} exceeded. Retry in {seconds} s.",
            {"Retry-After": str(seconds)},
        )
