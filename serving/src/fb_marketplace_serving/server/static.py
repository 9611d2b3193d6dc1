"""The search page and its assets."""

import os
from importlib.resources import files
from typing import Any, Final

from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

_WEB: Final = files("fb_marketplace_serving").joinpath("web")

_REVALIDATE: Final = {"Cache-Control": "no-cache"}
"""Without it, browsers guess how long to cache a file, and mix assets of two versions."""


def index_page() -> HTMLResponse:
    """Return the search page. It loads nothing from other hosts."""
    return HTMLResponse(_WEB.joinpath("index.html").read_text("utf-8"), headers=_REVALIDATE)


class StaticAssets(StaticFiles):
    """Scripts, styles and icon of the page; browsers revalidate them before each use."""

    def __init__(self) -> None:
        super().__init__(directory=str(_WEB))

    def file_response(
        self, full_path: "str | os.PathLike[str]", *arguments: Any, **options: Any
    ) -> Response:
        """Return a file, or a 304 if the browser has the current one."""
        response = super().file_response(full_path, *arguments, **options)
        response.headers.update(_REVALIDATE)
        return response
