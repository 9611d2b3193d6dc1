"""The page to try the API on, and what it is made of: files of this package."""

import os
from importlib.resources import files
from typing import Any, Final

from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

_WEB: Final = files("fb_marketplace_serving").joinpath("web")

_ASK_FIRST: Final = {"Cache-Control": "no-cache"}
"""Without it a browser would guess for how long to keep a file, and mix the parts of two versions."""


def page() -> HTMLResponse:
    """Give the page; it needs no other host."""
    return HTMLResponse(_WEB.joinpath("index.html").read_text("utf-8"), headers=_ASK_FIRST)


class StaticAssets(StaticFiles):
    """The scripts, styles and icon of the page, which a browser asks after before it uses them again."""

    def __init__(self) -> None:
        super().__init__(directory=str(_WEB))

    def file_response(
        self, full_path: "str | os.PathLike[str]", *arguments: Any, **options: Any
    ) -> Response:
        """Give a file, or say that it is what the browser has."""
        response = super().file_response(full_path, *arguments, **options)
        response.headers.update(_ASK_FIRST)
        return response
