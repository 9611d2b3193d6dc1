"""Takes the pictures of the page in ``docs/page``, on the embedded sample: ``make screenshots``."""

import argparse
import io
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps
from support import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

DESK = {"width": 1280, "height": 860}
TALL = {"width": 1280, "height": 1330}
TABLET = {"width": 820, "height": 1100}
PHONE = {"width": 390, "height": 844}
WORDS = "oak table"
QUALITY = 82
LOADS = 9

TIME_OF_RESULTS = """new MutationObserver((_, observer) => {
    if (!document.querySelector("#hits [data-product]")) return;
    observer.disconnect();
    requestAnimationFrame(() => { window.shown = performance.now(); });
}).observe(document, { childList: true, subtree: true })"""


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
            ("typing", "light", DESK),
            ("why", "light", DESK),
            ("photo", "light", DESK),
            ("both", "light", DESK),
            ("dark", "dark", DESK),
            ("filter", "light", TABLET),
            ("keyboard", "light", DESK),
            ("saved", "light", DESK),
            ("broken-file", "light", DESK),
            ("item", "light", DESK),
            ("phone", "light", PHONE),
            ("phone-dark", "dark", PHONE),
        ]:
            page = _opened(browser, address, scheme, size)
            if name in ("photo", "both", "dark", "phone"):
                page.set_input_files("#file", visible)
                page.locator("#category").wait_for()
                _wait_for_photos(page)
            _ACTS.get(name, _wait_for_photos)(page)
            page.wait_for_timeout(500)  # the photos fade in
            _save(page.screenshot(), params.out / f"{name}.webp")
            page.context.close()
        times = sorted(_time_of_first_results(browser, address) for _ in range(LOADS))
    sys.stdout.write(
        f"first results after {statistics.median(times):,.0f} ms, at most {times[-1]:,.0f} ms "
        f"(of {LOADS} first loads)\n"
    )
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


def _time_of_first_results(browser: "Browser", address: str) -> float:
    """Return the milliseconds until a new browser shows the first listings of a search."""
    page = browser.new_context(viewport=DESK).new_page()
    page.add_init_script(TIME_OF_RESULTS)
    page.goto(f"{address}?q={WORDS.replace(' ', '+')}")
    page.wait_for_function("() => window.shown")
    shown = float(page.evaluate("window.shown"))
    page.context.close()
    return shown


def _wait_for_photos(page: "Page") -> None:
    page.locator("#hits[aria-busy]").wait_for(state="detached")
    page.locator("#hits .tile.loaded").first.wait_for()
    page.wait_for_timeout(700)  # those on the screen


def _say(page: "Page", words: str = WORDS) -> None:
    page.get_by_label("Search text").fill(words)
    page.keyboard.press("Enter")
    page.locator("#heading", has_text=words).wait_for()
    _wait_for_photos(page)


def _type(page: "Page") -> None:
    page.get_by_label("Search text").click()
    page.keyboard.type("oak ta", delay=60)
    page.locator("#heading", has_text="oak ta").wait_for()
    _wait_for_photos(page)
    page.keyboard.press("ArrowDown")


def _open_listing(page: "Page") -> None:
    _say(page)
    page.locator("#hits a.listing").nth(1).click()
    page.locator("#similar .tile.loaded").first.wait_for()


def _combine(page: "Page") -> None:
    _say(page, "in red")


def _save_search(page: "Page") -> None:
    for words in ("red bike under £100", WORDS):
        _say(page, words)
        page.locator("#save").click()
        page.keyboard.press("Enter")
    page.locator("#saved-open").click()


def _ask_why(page: "Page") -> None:
    _say(page)
    page.get_by_role("button", name="Why this?").first.click()
    page.locator(".explanation").wait_for()


def _filter(page: "Page") -> None:
    _say(page, "chair")
    page.locator("#filters summary").click()
    page.get_by_label("near", exact=True).fill("Leeds")
    page.get_by_label("to", exact=True).fill("150")
    page.wait_for_url("**max_price=150**")
    _wait_for_photos(page)


def _walk(page: "Page") -> None:
    _say(page)
    page.locator("#hits a").nth(1).focus()
    page.keyboard.press("Tab")


def _break(page: "Page") -> None:
    file = {"name": "holiday.jpg", "mimeType": "image/jpeg", "buffer": b"no photo at all"}
    page.set_input_files("#file", file)
    page.locator("#error h2").wait_for()


_ACTS = {
    "words": _say,
    "typing": _type,
    "both": _combine,
    "item": _open_listing,
    "saved": _save_search,
    "phone-dark": _say,
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
    """Write it as WebP: a tenth of the bytes."""
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=QUALITY, method=6)


if __name__ == "__main__":
    sys.exit(main())
