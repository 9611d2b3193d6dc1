"""What every route needs of a request: who asks, how often, and which release answers."""

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from fb_marketplace_serving.server.auth import ANONYMOUS
from fb_marketplace_serving.server.errors import ApiError
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.service import Service

KEY_HEADER: Final = "X-API-Key"

_key = APIKeyHeader(
    name=KEY_HEADER, auto_error=False, description="needed where the server has keys"
)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _served(request: Request) -> LoadedRelease:
    served: LoadedRelease = request.state.served
    return served


ServiceDependency = Annotated[Service, Depends(_service)]
ReleaseDependency = Annotated[LoadedRelease, Depends(_served)]


async def require_api_key(
    request: Request, service: ServiceDependency, key: Annotated[str | None, Security(_key)]
) -> None:
    """Let in who has a key, where keys are needed."""
    name = service.keys.name_of(key or "") if service.keys else _address(request)
    if name is None:
        service.metrics.turned_away.labels("key").inc()
        found = "a key that is not known" if key else "no key"
        raise ApiError(
            401,
            "key",
            f"found {found} in the header {KEY_HEADER}; expected one that this server was given",
            {"WWW-Authenticate": "ApiKey"},
        )
    request.state.key = name if service.keys else ANONYMOUS
    request.state.asker = name


async def enforce_rate_limit(request: Request, service: ServiceDependency) -> None:
    """Let in who has not yet asked too much."""
    seconds = service.rate.hit(request.state.asker) if service.rate else None
    if seconds is not None:
        service.metrics.turned_away.labels("rate").inc()
        raise ApiError(
            429,
            "rate",
            f"found more than {service.rate}; try again in {seconds} s",
            {"Retry-After": str(seconds)},
        )


def _address(request: Request) -> str:
    return request.client.host if request.client else ANONYMOUS
