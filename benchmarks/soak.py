"""Memory, open files and threads of the server during ten minutes of mixed requests.

    FB_LAKE=<lake> .venv/bin/python benchmarks/soak.py

Twelve kinds of requests take turns, ten requests a second, from four clients: searches by words, with
filters, by photo, and by photo and words; predictions, similar photos, photos, suggestions, pages of
listings, clicks, large photos and damaged ones. Every ten seconds, when all have their responses, prints
the memory of the server with its decoder of large photos, its open files and its threads.

Ends with status 1 if a request has an unexpected response, also one that prepares the others; or if after
two minutes of warm-up the number of open files or threads changes, or the median memory of the last minute
is more than a tenth above that of the first.
"""

import argparse
import http.client
import io
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

import psutil
from PIL import Image
from server_process import running, serve_command

from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.tokenizer import words

CLIENTS: Final = 4
PHOTOS: Final = 50
SAMPLE_SECONDS: Final = 10
WARM_UP_SECONDS: Final = 120
SAMPLES_PER_MINUTE: Final = 60 // SAMPLE_SECONDS
MAX_GROWTH: Final = 0.1
LARGE_SIZE: Final = (4800, 3600)
SETTLE_SECONDS: Final = 0.2
"""Time for the server to close its side of the last connections."""


class Request(NamedTuple):
    """A request, the expected status of its response, and the request that follows from its body."""

    method: str
    path: str
    body: bytes = b""
    content_type: str = ""
    status: int = 200
    follow_up: Callable[[bytes], "Request"] | None = None


Counts = Counter[tuple[str, int, bool]]
Kind = tuple[str, Callable[[], Request]]


class Response(NamedTuple):
    """A response; status 0 if there is none."""

    status: int
    body: bytes


class Sample(NamedTuple):
    """State of the server at one time."""

    seconds: float
    megabytes: float
    files: int
    threads: int


def main() -> None:
    """Send requests for some time, and check the server meanwhile."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--rate", type=float, default=10.0, help="requests per second")
    options = parser.parse_args()
    lake = Path(os.environ.get("FB_LAKE", "data"))
    listings = list(Release.open(str(lake)).listings.values())
    random.Random(7).shuffle(listings)
    with (
        tempfile.TemporaryDirectory() as events,
        running(serve_command(lake), FB_FEEDBACK_DIR=events) as (port, process),
    ):
        counts = Counts()
        kinds = make_kinds(port, listings, counts)
        samples = list(soak(port, process, kinds, counts, options.seconds, options.rate))
    for (kind, status, is_expected), count in sorted(counts.items()):
        print(f"{kind}: {count:,} with status {status}{'' if is_expected else ', unexpected'}")
    sys.exit(judge(samples, count_unexpected(counts)))


def soak(
    port: int,
    process: psutil.Process,
    kinds: list[Kind],
    counts: Counts,
    seconds: float,
    rate: float,
) -> Iterator[Sample]:
    """Send requests at a rate; yield and print a sample every ten seconds.

    Args:
        port: of the server.
        process: of the server.
        kinds: take turns.
        counts: responses by kind, status and whether it is expected; is changed.
        seconds: duration.
        rate: requests per second.
    """
    started, sent = time.monotonic(), 0
    with ThreadPoolExecutor(CLIENTS) as pool:
        for end in range(SAMPLE_SECONDS, int(seconds) + 1, SAMPLE_SECONDS):
            pending: list[tuple[str, Request, Future[Response]]] = []
            while sent < end * rate:
                time.sleep(max(0.0, started + sent / rate - time.monotonic()))
                kind, make = kinds[sent % len(kinds)]
                request = make()
                pending.append((kind, request, pool.submit(send_all, port, request)))
                sent += 1
            for kind, request, future in pending:
                status = future.result().status
                counts[kind, status, status == request.status] += 1
            time.sleep(SETTLE_SECONDS)
            sample = take_sample(process, time.monotonic() - started)
            print(
                f"{sample.seconds:4.0f} s: {sample.megabytes:.0f} MB, {sample.files} files, "
                f"{sample.threads} threads; {sent:,} requests, {count_unexpected(counts)} unexpected",
                flush=True,
            )
            yield sample


def count_unexpected(counts: Counts) -> int:
    """Return the number of unexpected responses."""
    return sum(count for (_, _, is_expected), count in counts.items() if not is_expected)


def send_all(port: int, request: Request) -> Response:
    """Send a request and those that follow; return the last response, or the first with another status."""
    response = send(port, request)
    if request.follow_up is None or response.status != request.status:
        return response
    return send_all(port, request.follow_up(response.body))


def send(port: int, request: Request) -> Response:
    """Send a request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Connection": "close"}
    if request.content_type:
        headers["Content-Type"] = request.content_type
    try:
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        return Response(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return Response(0, b"")
    finally:
        connection.close()


def make_kinds(port: int, listings: list[Listing], counts: Counts) -> list[Kind]:
    """Return functions that make requests, by kind. Not thread-safe.

    Args:
        port: of the server, which is asked for photos.
        listings: of the release.
        counts: of responses; is changed.
    """

    def prepare(request: Request) -> bytes:
        """Return the body of a response; empty, and counted, if it is unexpected."""
        response = send(port, request)
        is_expected = response.status == request.status
        counts["preparation", response.status, is_expected] += 1
        return response.body if is_expected else b""

    texts = itertools.cycle([" ".join(words(listing.title)[:3]) for listing in listings])
    ids = itertools.cycle([listing.product_id for listing in listings])
    responses = [prepare(query(text)) for text in itertools.islice(texts, PHOTOS)]
    hits = [hit for body in responses if body for hit in json.loads(body)["hits"][:1]]
    names = sorted({hit["image_id"] for hit in hits if hit["image_id"]})
    contents = {name: content for name in names if (content := prepare(image(name, 1024)))}
    if not contents:
        raise SystemExit(
            f"found no photo in {PHOTOS} searches ({count_unexpected(counts)} unexpected responses); "
            "expected a release with photos. Rerun `kedro run` for FB_LAKE."
        )
    images, photos = itertools.cycle(contents), itertools.cycle(contents.values())
    large = io.BytesIO()
    Image.effect_noise((480, 360), 60).resize(LARGE_SIZE).convert("RGB").save(
        large, "JPEG", quality=50
    )

    return [
        ("search", lambda: query(next(texts))),
        ("filtered search", lambda: query(next(texts), max_price=100, has_photo="true", limit=20)),
        ("search by photo", lambda: upload("/search", next(photos))),
        ("search by both", lambda: upload(f"/search?q={quote(next(texts))}", next(photos))),
        ("prediction", lambda: upload("/predict/image", next(photos))),
        ("similar photos", lambda: upload("/predict/similar_images", next(photos))),
        ("image", lambda: image(next(images), random.choice([256, 1024]))),
        ("suggestions", lambda: Request("GET", f"/suggest?q={quote(next(texts)[:5])}")),
        ("product", lambda: Request("GET", f"/products/{quote(next(ids), safe='')}")),
        ("click", lambda: query(next(texts))._replace(follow_up=partial(click, next(ids)))),
        ("large photo", lambda: upload("/predict/image", large.getvalue())),
        ("damaged photo", lambda: upload("/predict/image", halve(next(photos)), status=422)),
    ]


def click(product: str, response: bytes) -> Request:
    """Return a click on the first hit of a search, or on a product if there is none."""
    answer = json.loads(response)
    product = answer["hits"][0]["product_id"] if answer["hits"] else product
    content = {"search_id": answer["search_id"], "product_id": product}
    return Request("POST", "/clicks", json.dumps(content).encode(), "application/json")


def query(text: str, **parameters: object) -> Request:
    """Return a search."""
    return Request("GET", f"/search?{urlencode({'q': text} | parameters)}")


def image(name: str, size: int) -> Request:
    """Return a request for a photo of the release."""
    return Request("GET", f"/images/{quote(name, safe='')}?size={size}")


def upload(path: str, photo: bytes, status: int = 200) -> Request:
    """Return an upload of a photo."""
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    body = head + photo + b"\r\n--x--\r\n"
    return Request("POST", path, body, "multipart/form-data; boundary=x", status)


def halve(photo: bytes) -> bytes:
    """Return the first half of a photo."""
    return photo[: len(photo) // 2]


def take_sample(process: psutil.Process, seconds: float) -> Sample:
    """Return the state of a server and its children."""
    tree = [process, *process.children(recursive=True)]
    megabytes = sum(one.memory_info().rss for one in tree) / 1e6
    threads = sum(one.num_threads() for one in tree)
    return Sample(seconds, megabytes, sum(one.num_fds() for one in tree), threads)


def judge(samples: list[Sample], unexpected: int) -> int:
    """Print a summary after the warm-up, and return the exit status."""
    later = [sample for sample in samples if sample.seconds >= WARM_UP_SECONDS]
    if len(later) < 2 * SAMPLES_PER_MINUTE:
        raise SystemExit(
            f"found {len(later)} samples after {WARM_UP_SECONDS} s; expected {2 * SAMPLES_PER_MINUTE}, for "
            f"two minutes. Use --seconds={WARM_UP_SECONDS + 120} or more."
        )
    memory = [sample.megabytes for sample in later]
    first, last = memory[:SAMPLES_PER_MINUTE], memory[-SAMPLES_PER_MINUTE:]
    before, after = statistics.median(first), statistics.median(last)
    growth = after / before - 1
    files, threads = ({getattr(s, name) for s in later} for name in ("files", "threads"))
    print(
        f"after {later[0].seconds:.0f} s: medians of {before:.0f} MB in the first minute and "
        f"{after:.0f} MB in the last ({growth:+.1%}), at most {max(memory):.0f} MB; open files "
        f"{sorted(files)}; threads {sorted(threads)}; {unexpected} unexpected responses"
    )
    return int(growth > MAX_GROWTH or len(files) > 1 or len(threads) > 1 or unexpected > 0)


if __name__ == "__main__":
    main()
