"""The search page and the pages of the API documentation, with all their assets."""

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

_WEB: Final = files("fb_marketplace_serving").joinpath("web")

_REVALIDATE: Final = {"Cache-Control": "no-cache"}
"""Without it, browsers guess how long to cache a file, and mix assets of two versions."""


_DOCUMENTATION_POLICY: Final = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; worker-src blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""Both libraries write styles into the page. Redoc searches in a worker."""


async def index_page() -> HTMLResponse:
    """Return the search page. It loads nothing from other hosts."""
    return HTMLResponse(_WEB.joinpath("index.html").read_text("utf-8"), headers=_REVALIDATE)


async def swagger_page() -> HTMLResponse:
    """Return the documentation of the API by Swagger UI, where requests can be tried."""
    return _documentation("swagger.html")


async def redoc_page() -> HTMLResponse:
    """Return the documentation of the API by Redoc, for reading."""
    return _documentation("redoc.html")


def _documentation(page: str) -> HTMLResponse:
    headers = _REVALIDATE | {"Content-Security-Policy": _DOCUMENTATION_POLICY}
    return HTMLResponse(_WEB.joinpath(page).read_text("utf-8"), headers=headers)


class StaticAssets(StaticFiles):
    """Scripts, styles and icon of the page; browsers revalidate them before each use."""

    def __init__(self, directory: Traversable = _WEB) -> None:
        super().__init__(directory=str(directory))

    def file_response(
        self, full_path: "str | os.PathLike[str]", *arguments: Any, **options: Any
    ) -> Response:
        """Return a file, or a 304 if the browser has the current one."""
        response = super().file_response(full_path, *arguments, **options)
        response.headers.update(_REVALIDATE)
        return response


class DocumentationAssets(StaticAssets):
    """Scripts and styles of Swagger UI and Redoc, from the package ``fastapi-offline``."""

    def __init__(self) -> None:
        super().__init__(files("fastapi_offline").joinpath("static"))
