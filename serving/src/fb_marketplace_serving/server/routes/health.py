"""Health checks and metrics; no API key required."""

from fastapi import APIRouter
from fastapi.responses import Response

from fb_marketplace_serving.server.dependencies import ReleaseDependency, ServiceDependency
from fb_marketplace_serving.server.errors import (
    RETRY_HEADERS,
    ApiError,
    ErrorExample,
    error_responses,
)
from fb_marketplace_serving.server.routes.strict_route import StrictRoute
from fb_marketplace_serving.server.schemas.common import Health, Readiness, RejectedRelease

_SHUTTING_DOWN = "Server is shutting down."

router = APIRouter(route_class=StrictRoute, tags=["health"])


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
            RejectedRelease(version=rejection.version, reason=rejection.reason)
            if rejection
            else None
        ),
    )


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(service: ServiceDependency) -> Response:
    """Return metrics in the Prometheus text format."""
    return Response(service.metrics.export(), media_type="text/plain; version=0.0.4")
