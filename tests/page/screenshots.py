"""Takes the pictures of the page in ``docs/page``, on the embedded sample: ``make screenshots``."""

import argparse
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps
from support import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESK = {"width": 1280, "height": 860}
TALL = {"width": 1280, "height": 1330}
PHONE = {"width": 360, "height": 740}
WORDS = "oak table"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lake", type=Path, required=True, help="has a release of the sample")
    parser.add_argument("--raw", type=Path, required=True, help="the raw root that it was made of")
    parser.add_argument("--out", type=Path, default=Path("docs/page"))
    params = parser.parse_args()
    # Photos of real listings belong to their sellers, and not into a repository.
    if not (params.raw / "ground_truth.json").exists():
        sys.stderr.write(
            f"screenshots: found no ground_truth.json in {params.raw}; they are taken on the "
            "embedded sample only: see `make sample`\n"
        )
        return 2
    photos = sorted(params.raw.glob("images/*.jpg"))
    photo = next(item for item in photos if item.stat().st_size > 20_000)
    visible = {"name": "my-photo.jpg", "mimeType": "image/jpeg", "buffer": _taken_anew(photo)}
    params.out.mkdir(parents=True, exist_ok=True)
    with chromium.served(params.lake) as address, chromium.launched() as browser:
        for name, scheme, size in [
            ("start", "light", DESK),
            ("words", "light", DESK),
            ("why", "light", DESK),
            ("photo", "light", DESK),
            ("dark", "dark", DESK),
            ("filter", "light", TALL),
            ("keyboard", "light", DESK),
            ("broken-file", "light", DESK),
            ("phone", "light", PHONE),
        ]:
            page = _opened(browser, address, scheme, size)
            if name not in ("start", "words", "why", "broken-file"):
                page.set_input_files("#file", visible)
                _wait_for_photos(page)
            _ACTS.get(name, lambda page: None)(page)
            page.wait_for_timeout(500)  # the photos fade in
            _save(page.screenshot(), params.out / f"{name}.webp")
            page.context.close()
    return 0


def _opened(browser: "Browser", address: str, scheme: str, size: dict[str, int]) -> "Page":
    page = browser.new_context(
        viewport=size,
        color_scheme=scheme,
        device_scale_factor=2 if size is PHONE else 1,
        locale="en-GB",
    ).new_page()
    page.set_default_timeout(chromium.PATIENCE_MS)
    page.goto(address)
    page.locator("#roots button").first.wait_for()
    return page


def _wait_for_photos(page: "Page") -> None:
    page.locator("#hits[aria-busy]").wait_for(state="detached")
    page.locator("#hits .tile.loaded").first.wait_for()
    page.locator("#hits .tile:not(.loaded, .missing)").first.wait_for(state="detached")


def _say(page: "Page") -> None:
    page.get_by_label("Search text").fill(WORDS)
    page.keyboard.press("Enter")
    _wait_for_photos(page)


def _ask_why(page: "Page") -> None:
    _say(page)
    page.get_by_role("button", name="Why this?").first.click()
    page.locator(".explanation").wait_for()


def _filter(page: "Page") -> None:
    page.locator("#categories .facets button").nth(1).click()
    _wait_for_photos(page)
    page.get_by_label("to", exact=True).fill("150")
    page.wait_for_url("**max_price=150**")
    _wait_for_photos(page)


def _walk(page: "Page") -> None:
    page.locator("#hits a").nth(1).focus()
    page.keyboard.press("Tab")


def _break(page: "Page") -> None:
    file = {"name": "holiday.jpg", "mimeType": "image/jpeg", "buffer": b"no photo at all"}
    page.set_input_files("#file", file)
    page.locator("#error h2").wait_for()


_ACTS = {
    "words": _say,
    "why": _ask_why,
    "filter": _filter,
    "keyboard": _walk,
    "broken-file": _break,
}


def _taken_anew(path: Path) -> bytes:
    """Give a photo as from another place: nothing that is searched has the same pixels."""
    with Image.open(path) as image:
        width, height = image.size
        inner = (width // 12, height // 16, width - width // 24, height - height // 40)
        turned = ImageOps.mirror(image.convert("RGB").crop(inner))
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _save(png: bytes, path: Path) -> None:
    """Write it as WebP: a third of the bytes, with all colours; below 94, edges fray."""
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=94, method=6)


if __name__ == "__main__":
    sys.exit(main())
