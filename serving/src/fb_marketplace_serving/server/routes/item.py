"""The page of a listing. Without a key that the server requires, it shows no listing."""

from functools import partial
from typing import Final

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse

from fb_marketplace_serving.server.dependencies import (
    KEY_HEADER,
    ReleaseDependency,
    ServiceDependency,
    authenticate,
    enforce_rate_limit,
)
from fb_marketplace_serving.server.items.page import render_error, render_item
from fb_marketplace_serving.server.items.product import build_product
from fb_marketplace_serving.server.middleware import CONTENT_POLICY
from fb_marketplace_serving.server.routes.listings import require_listing
from fb_marketplace_serving.server.static import PAGE_HEADERS, language_of, load_texts

_HEADERS: Final = PAGE_HEADERS | {
    "Content-Security-Policy": CONTENT_POLICY.replace("base-uri 'none'", "base-uri 'self'")
}
"""Addresses in the page are relative to the search page, by an element ``base``: an id may have slashes."""

router = APIRouter(include_in_schema=False)


@router.get("/item/{product_id:path}")
async def item_page(
    product_id: str, request: Request, service: ServiceDependency, loaded: ReleaseDependency
) -> HTMLResponse:
    """Return the page of a listing, in the reader's language."""
    language, root = language_of(request), _root(request)
    try:
        authenticate(request, request.headers.get(KEY_HEADER))
        await enforce_rate_limit(request, service)
        require_listing(loaded, product_id)
        product = await service.run_search(
            request.state.client, partial(build_product, loaded, product_id)
        )
    except HTTPException as error:
        texts = load_texts(language)
        title = texts.get(f"item_error_{error.status_code}", texts["error_server"])
        page = render_error(error.status_code, title, root, language)
        return HTMLResponse(page, error.status_code, _HEADERS | dict(error.headers or {}))
    url = service.settings.public_url
    return HTMLResponse(render_item(loaded, product, root, language, url), headers=_HEADERS)


def _root(request: Request) -> str:
    """Return the address of the search page, relative to the path that the browser asked for."""
    path: bytes = request.scope.get("raw_path") or request.url.path.encode()
    product_id = path.partition(b"?")[0].partition(b"/item/")[2]
    return "../" * (1 + product_id.count(b"/"))
