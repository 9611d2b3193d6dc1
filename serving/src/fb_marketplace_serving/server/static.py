"""The search page and the pages of the API documentation, with all their assets."""

import html
import json
import os
import re
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from starlette.requests import Request
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


_DEFAULT_LANGUAGE: Final = "en"

PAGE_HEADERS: Final = _REVALIDATE | {"Vary": "Accept-Language"}


async def index_page(request: Request) -> HTMLResponse:
    """Return the search page in the reader's language. It loads nothing from other hosts."""
    return HTMLResponse(render_page("index.html", language_of(request)), headers=PAGE_HEADERS)


def language_of(request: Request) -> str:
    """Return the language of a page for a request."""
    return choose_language(request.headers.get("accept-language", ""), languages())


@cache
def languages() -> tuple[str, ...]:
    """Return the languages of the page: each has a file ``strings.<language>.json``."""
    names = [re.fullmatch(r"strings\.(\w+)\.json", item.name) for item in _WEB.iterdir()]
    return tuple(sorted(name[1] for name in names if name))


def choose_language(accepted: str, available: tuple[str, ...]) -> str:
    """Return the first available language of an ``Accept-Language`` header, or English.

    Args:
        accepted: the header. Browsers list languages by preference.
        available: languages of the page.
    """
    preferred = [item.split(";")[0].split("-")[0].strip().lower() for item in accepted.split(",")]
    return next((language for language in preferred if language in available), _DEFAULT_LANGUAGE)


@cache
def load_texts(language: str) -> dict[str, Any]:
    """Return the texts of the page in a language, by name. Texts with plural forms are dictionaries."""
    texts: dict[str, Any] = json.loads(_WEB.joinpath(f"strings.{language}.json").read_text("utf-8"))
    return texts


@cache
def render_page(name: str, language: str) -> str:
    """Return a page with its texts in a language, which scripts read from its element ``strings``.

    Args:
        name: file with names of texts in double braces.
        language: one of :func:`languages`.
    """
    texts = load_texts(language)
    # A "<" would end the element.
    data = json.dumps(texts, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    values = {key: html.escape(text) for key, text in texts.items() if isinstance(text, str)}
    page = _WEB.joinpath(name).read_text("utf-8")
    [entry] = re.findall(r'<script type="module" src="web/(\w+\.js)">', page)
    values |= {"language": language, "strings": data, "preloads": _preloads(entry)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], page)


async def swagger_page() -> HTMLResponse:
    """Return the documentation of the API by Swagger UI, where requests can be tried."""
    return _documentation("swagger.html")


async def redoc_page() -> HTMLResponse:
    """Return the documentation of the API by Redoc, for reading."""
    return _documentation("redoc.html")


def _documentation(page: str) -> HTMLResponse:
    headers = _REVALIDATE | {"Content-Security-Policy": _DOCUMENTATION_POLICY}
    return HTMLResponse(_WEB.joinpath(page).read_text("utf-8"), headers=headers)


def _preloads(entry: str) -> str:
    """Return links to all modules of a script, so that browsers load them at once, not level by level."""
    modules = [entry]
    for name in modules:
        imported = re.findall(r'from "\./(\w+\.js)"', _WEB.joinpath(name).read_text("utf-8"))
        modules += [module for module in dict.fromkeys(imported) if module not in modules]
    return "\n".join(f'<link rel="modulepreload" href="web/{name}">' for name in modules)


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
