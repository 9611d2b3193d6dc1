"""Chromium as it is installed here, driven headless; and the server that it looks at."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import fb_marketplace_serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_MS = 30_000


def path() -> str:
    """Give the path of Chromium.

    Raises:
        LookupError: there is none.
    """
    result = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if result is None:
        raise LookupError(
            f"found none of {', '.join(NAMES)} on the PATH; the page is tested in a real browser: "
            "run `apt-get install chromium`, or set CHROMIUM to the path of one"
        )
    return result


@contextmanager
def launched() -> "Iterator[Browser]":
    """Run Chromium, headless, as long as the context lasts."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    # In a container Chromium's own sandbox can often not be set up; it sees this machine's pages only.
    options = ["--no-sandbox", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path(), args=options)
        yield browser
        browser.close()


@contextmanager
def served(lake: Path, **variables: str) -> Iterator[str]:
    """Serve a lake by ``fb-serve`` on a free port; give its address."""
    remaining = {name: value for name, value in os.environ.items() if not name.startswith("FB_")}
    source = str(Path(fb_marketplace_serving.__file__).parents[1])
    command = [sys.executable, "-m", "fb_marketplace_serving.cli.main", "run", "--lake", str(lake)]
    with subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", "0"],
        # A line a request would drown what pytest says.
        env=remaining | {"PYTHONPATH": source, "FB_LOG_LEVEL": "warning"} | variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            # Its log, if it writes one to stdout, may come before.
            message = next((line for line in process.stdout if " at http://" in line), None)
            if message is None:
                raise RuntimeError(f"fb-serve ended with {process.wait()} before it served {lake}")
            # What it says later is read away: a full pipe would hold it up.
            Thread(target=process.stdout.read, daemon=True).start()
            yield message.split()[-1]
        finally:
            process.terminate()
