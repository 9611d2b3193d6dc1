"""What every route needs of a request: who asks, how often, and which release answers."""

from typing import Annotated, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from fb_marketplace_serving.server.auth import ANYONE
from fb_marketplace_serving.server.errors import Problem
from fb_marketplace_serving.server.loaded_release import Served
from fb_marketplace_serving.server.service import Service

KEY_HEADER: Final = "X-API-Key"

_key = APIKeyHeader(
    name=KEY_HEADER, auto_error=False, description="needed where the server has keys"
)


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _served(request: Request) -> Served:
    served: Served = request.state.served
    return served


TheService = Annotated[Service, Depends(_service)]
TheServed = Annotated[Served, Depends(_served)]


async def known(
    request: Request, service: TheService, key: Annotated[str | None, Security(_key)]
) -> None:
    """Let in who has a key, where keys are needed."""
    name = service.keys.name_of(key or "") if service.keys else _address(request)
    if name is None:
        service.metrics.turned_away.labels("key").inc()
        found = "a key that is not known" if key else "no key"
        raise Problem(
            401,
            "key",
            f"found {found} in the header {KEY_HEADER}; expected one that this server was given",
            {"WWW-Authenticate": "ApiKey"},
        )
    request.state.key = name if service.keys else ANYONE
    request.state.asker = name


async def within_rate(request: Request, service: TheService) -> None:
    """Let in who has not yet asked too much."""
    seconds = service.rate.hit(request.state.asker) if service.rate else None
    if seconds is not None:
        service.metrics.turned_away.labels("rate").inc()
        raise Problem(
            429,
            "rate",
            f"found more than {service.rate}; try again in {seconds} s",
            {"Retry-After": str(seconds)},
        )


def _address(request: Request) -> str:
    return request.client.host if request.client else ANYONE
