"""Health checks and metrics. They need no API key; readiness and metrics may need the monitoring key."""

import re
from typing import Final

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from fb_marketplace_serving.server.dependencies import (
    ReleaseDependency,
    ServiceDependency,
    require_monitoring_key,
)
from fb_marketplace_serving.server.errors import (
    RETRY_HEADERS,
    ApiError,
    ErrorExample,
    error_responses,
)
from fb_marketplace_serving.server.schemas.common import Health, Readiness, RejectedRelease

_SHUTTING_DOWN = "Server is shutting down."

_LOCATION: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://[^\s'\"]*|(?<![\w.])/[^\s'\":,;)]+", re.IGNORECASE
)
"""URLs and absolute paths."""

_guarded: Final = [Depends(require_monitoring_key)]

router = APIRouter(tags=["health"])


@router.get("/healthcheck")
async def healthcheck(loaded: ReleaseDependency) -> Health:
    """Return the status of the server and the version of its release."""
    return Health(status="ok", release=loaded.version)


@router.get("/livez")
async def livez(loaded: ReleaseDependency) -> Health:
    """Liveness probe: restart the server if it does not answer."""
    return Health(status="alive", release=loaded.version)


@router.get(
    "/readyz",
    dependencies=_guarded,
    responses=error_responses(
        503, examples={503: ErrorExample(_SHUTTING_DOWN, "draining", _SHUTTING_DOWN)}
    ),
)
async def readyz(service: ServiceDependency, loaded: ReleaseDependency) -> Readiness:
    """Readiness probe. Also reports whether the server serves the lake's current release."""
    if service.draining:
        raise ApiError(503, "draining", _SHUTTING_DOWN, RETRY_HEADERS)
    rejection, age = service.rejection, service.pointer_age
    return Readiness(
        status="ready",
        release=loaded.version,
        pointer_age_seconds=None if age is None else round(age, 1),
        rejected=(
            RejectedRelease(
                version=rejection.version,
                reason=hide_locations(rejection.reason, service.settings.lake),
            )
            if rejection
            else None
        ),
    )


@router.get(
    "/metrics",
    dependencies=_guarded,
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: ServiceDependency) -> Response:
    """Return metrics in the Prometheus text format."""
    return Response(service.metrics.export(), media_type="text/plain; version=0.0.4")


def hide_locations(reason: str, lake: str) -> str:
    """Return an error without the location of the lake and other absolute paths; the log has them."""
    return _LOCATION.sub("…", reason.replace(f"{lake.rstrip('/')}/", ""))
