"""Hostile uploads to a real server."""

import gzip
import http.client
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import psutil
import pytest
from PIL import Image
from support.files.hostile_files import hostile_files
from support.files.image_bytes import SECRET_PLACE, flat_webp, located_exif, picture, written
from support.waiting import until

from fb_marketplace_serving.imaging import canonical

pytestmark = pytest.mark.slow

MOST_CPU_SECONDS = 5.0
"""For one file, whatever it is."""

MOST_MEGABYTES = 300
"""By which the server may grow for one file, whatever it is. One large photo is decoded at a time."""

MOST_DELAY = 0.5
"""Seconds that any file may delay `/livez`."""

TRIES = 5
"""For a file that delays it longer. Other work on this machine delays one try or another, the file each."""

MULTIPART = "multipart/form-data; boundary=x"


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: Any


class Server:
    """A running server with its log and peak memory."""

    def __init__(self, process):
        self._process = psutil.Process(process.pid)
        ready = process.stdout.readline()
        assert ready, process.stderr.read()
        self.host = ready.split()[-1].removeprefix("http://")
        self.log: list[str] = []
        self._over = threading.Event()
        for stream in (process.stdout, process.stderr):
            threading.Thread(target=self.log.extend, args=(stream,), daemon=True).start()

    def post(self, body, content_type=MULTIPART, path="/predict/image", **headers) -> Answer:
        connection = http.client.HTTPConnection(self.host, timeout=120)
        output = {"Content-Type": content_type} if content_type else {}
        output |= {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = not isinstance(body, bytes)
        connection.request("POST", path, body, output, encode_chunked=chunked)
        if chunked:
            assert "Transfer-Encoding" in output
        response = connection.getresponse()
        result = Answer(response.status, response.headers, json.load(response))
        connection.close()
        return result

    def send(self, photo: bytes) -> Answer:
        return self.post(form(photo))

    @property
    def cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return float(sum(time.user + time.system for time in times))

    @property
    def megabytes(self) -> float:
        return float(sum(process.memory_info().rss for process in self._processes)) / 1e6

    @property
    def _processes(self) -> list[psutil.Process]:
        """The server and its decoding process."""
        return [self._process, *self._process.children()]

    @contextmanager
    def probed(self) -> Iterator[list[float]]:
        """Ask `/livez` again and again meanwhile; gives the seconds of each response."""
        delays: list[float] = []
        over = threading.Event()

        def probe():
            connection = http.client.HTTPConnection(self.host, timeout=120)
            while not over.wait(0.005):
                started = time.perf_counter()
                connection.request("GET", "/livez")
                connection.getresponse().read()
                delays.append(time.perf_counter() - started)
            connection.close()

        probing = threading.Thread(target=probe)
        probing.start()
        try:
            yield delays
        finally:
            over.set()
            probing.join()

    def largest(self, work) -> float:
        """Give the megabytes that it has grown by at most while something is done."""
        before, result, over = self.megabytes, [0.0], threading.Event()

        def watch():
            while not over.wait(0.01):
                result[0] = max(result[0], self.megabytes - before)

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            work()
        finally:
            over.set()
            watching.join()
        return result[0]


def form(
    photo: bytes, disposition: str = 'name="image"; filename="a.jpg"', more: str = ""
) -> bytes:
    head = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n"
    return head.encode() + photo + b"\r\n--x--\r\n"


@pytest.fixture
def server(serve, lake) -> Server:
    # Other work may be going on on this machine: time is measured on the server's own clock.
    return Server(
        serve("--lake", lake, "--port", "0", FB_REQUEST_TIMEOUT_SECONDS="100", FB_CLIENT_SHARE="1")
    )


@pytest.fixture(scope="module")
def corpus():
    return list(hostile_files())


def wrong(answer: Answer, status: int, kinds: tuple[str, ...]) -> str | None:
    """Return the errors of a response."""
    if answer.status != status:
        return f"{answer.status}: {answer.body}"
    if status == 200:
        return None
    kind, detail = answer.body["type"].rpartition(":")[2], answer.body["detail"]
    if answer.headers["content-type"] != "application/problem+json":
        return f"it is told as {answer.headers['content-type']}"
    if kinds and kind not in kinds:
        return f"{kind}: {detail}"
    clear = 8 < len(detail) < 300 and not re.search(r"0x[0-9a-f]{6}|Traceback|\.py|: ?$", detail)
    return None if clear else f"it is not told clearly: {detail!r}"


def start_decoding(server):
    """Send a small photo, and a large one, which starts the decoding process."""
    for photo in (written(picture(), "JPEG"), flat_webp(2100, 2100)):
        assert server.send(photo).status == 200


def send_probed(server, file, delays) -> str | None:
    """Send a file. Return the first problem: a wrong response, or a late one of it or of other clients."""
    for _ in range(TRIES):
        cpu, probes = server.cpu_seconds, len(delays)
        message = wrong(server.send(file.data), file.status, file.kinds)
        took = server.cpu_seconds - cpu
        if message is None and took > MOST_CPU_SECONDS:
            message = f"it took {took:.1f} s"
        answered = len(delays)
        until(lambda: len(delays) > answered)  # noqa: B023 - called at once
        if message:
            return message
        delay = max(delays[probes:])
        if delay < MOST_DELAY:
            return None
    return f"it delayed others by {delay:.1f} s"


def test_each_file_is_answered_in_bounded_time_and_memory(server, corpus):
    result = {}
    start_decoding(server)

    def send_all():
        for file in corpus:
            message = send_probed(server, file, delays)
            if message:
                result[file.name] = message

    with server.probed() as delays:
        grown = server.largest(send_all)

    assert result == {}
    assert grown < MOST_MEGABYTES
    assert len(delays) > len(corpus)
    assert server.send(written(picture(), "JPEG")).status == 200
    assert not [line for line in server.log if "fault" in line or "Traceback" in line]


def test_four_largest_uploads_at_once_use_bounded_memory(server, corpus):
    largest = [file for file in corpus if "64 megapixels" in file.name or "30 MB" in file.name]
    assert len(largest) > 10
    start_decoding(server)
    answers = {}

    def send(file):
        answers[file.name] = wrong(server.send(file.data), file.status, file.kinds)

    def send_all():
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(send, largest))

    grown = server.largest(send_all)

    assert {name: message for name, message in answers.items() if message} == {}
    # One large photo and one small photo per core are decoded at a time; four files of 32 MB are in memory.
    assert grown < 2 * MOST_MEGABYTES


def test_small_photos_do_not_wait_for_large_ones(server, corpus):
    large = next(file for file in corpus if file.name == "16-bit RGB PNG of 64 megapixels")
    with ThreadPoolExecutor(3) as clients:
        slow = [clients.submit(server.send, large.data) for _ in range(3)]
        time.sleep(0.2)
        assert server.send(written(picture(), "JPEG")).status == 200
        assert not all(item.done() for item in slow)
        assert {item.result().status for item in slow} == {200}


def test_photo_metadata_is_neither_kept_nor_returned(server, corpus):
    for format_ in ("JPEG", "PNG", "WEBP"):
        located = written(picture(), format_, exif=located_exif())
        assert SECRET_PLACE.encode() in located
        answer = server.send(located)
        assert answer.status == 200
        assert SECRET_PLACE not in f"{answer.body} {answer.headers}"
        # A damaged one is told about: that may not tell of the place either.
        refused = server.send(located[: len(located) - 400])
        assert refused.status == 422
        assert SECRET_PLACE not in str(refused.body)

    assert any("/predict/image" in line for line in server.log)
    assert not any(SECRET_PLACE in line for line in server.log)


def test_accepted_photo_becomes_plain_jpeg(corpus):
    for file in corpus:
        if file.status != 200 or "64 megapixels" in file.name:
            continue
        jpeg = canonical.canonicalize(file.data)
        assert canonical.canonicalize(jpeg) == jpeg, file.name
        assert SECRET_PLACE.encode() not in jpeg, file.name
        for trace in (b"Exif", b"PK\x03\x04", b"<html>", b"ICC_PROFILE"):
            assert trace not in jpeg, file.name
        with Image.open(io.BytesIO(jpeg)) as image:
            assert not image.getexif(), file.name
            assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


PHOTO = written(picture(), "JPEG")
FIELD = form(b"x", 'name="word"').removesuffix(b"--x--\r\n")
FORMS = {
    "a name that climbs": (
        form(PHOTO, 'name="image"; filename="../../../etc/passwd"'),
        MULTIPART,
        200,
    ),
    "a name of a device": (form(PHOTO, 'name="image"; filename="/dev/null"'), MULTIPART, 200),
    "a name with a zero": (form(PHOTO, 'name="image"; filename="a\0.jpg"'), MULTIPART, 200),
    "a name in other letters": (form(PHOTO, 'name="image"; filename="фото.jpg"'), MULTIPART, 200),
    "a page by its type": (form(PHOTO, more="Content-Type: text/html\r\n"), MULTIPART, 200),
    "a drawing by its type": (form(PHOTO, more="Content-Type: image/svg+xml\r\n"), MULTIPART, 200),
    "in base64 by its header": (
        form(PHOTO, more="Content-Transfer-Encoding: base64\r\n"),
        MULTIPART,
        200,
    ),
    "no name of a file": (form(PHOTO, 'name="image"'), MULTIPART, 422),
    "base64 as text": (form(b"/9j/4AAQSkZJRgABAQ==", 'name="image"'), MULTIPART, 422),
    "another field": (form(PHOTO, 'name="photo"; filename="a.jpg"'), MULTIPART, 422),
    "no field": (form(PHOTO, 'filename="a.jpg"'), MULTIPART, 400),
    "two photos": (form(PHOTO).removesuffix(b"--x--\r\n") + form(PHOTO), MULTIPART, 200),
    "a name in another notation": (
        form(PHOTO, "name=\"image\"; filename*=UTF-8''a.jpg"),
        MULTIPART,
        200,
    ),
    "sixteen fields": (FIELD * 16 + form(PHOTO), MULTIPART, 400),
    "100,000 fields": (FIELD * 100_000, MULTIPART, 400),
    "a field of 2 MB": (form(bytes(2_000_000), 'name="word"'), MULTIPART, 422),
    "a header of 1 MB": (form(PHOTO, more=f"X-Long: {'x' * 1_000_000}\r\n"), MULTIPART, 400),
    "no end": (form(PHOTO)[:-40], MULTIPART, 400),
    "no closing boundary": (form(PHOTO).removesuffix(b"--\r\n"), MULTIPART, 400),
    "no boundary": (form(PHOTO), "multipart/form-data", 400),
    "another boundary": (form(PHOTO), "multipart/form-data; boundary=y", 400),
    "nothing": (b"", MULTIPART, 400),
    "nothing of no type": (b"", None, 422),
    "the bare photo": (PHOTO, "image/jpeg", 422),
    "JSON": (b'{"image": "/9j/4AAQ"}', "application/json", 422),
    "words of a form": (b"image=%2F9j%2F4AAQ", "application/x-www-form-urlencoded", 422),
    "a million words": (b"a=b&" * 1_000_000, "application/x-www-form-urlencoded", 422),
}


def test_each_malformed_form_is_rejected(server):
    result = {}
    for name, (body, content_type, status) in FORMS.items():
        before = server.cpu_seconds
        message = wrong(server.post(body, content_type), status, ())
        took = server.cpu_seconds - before
        if message or took > MOST_CPU_SECONDS:
            result[name] = message or f"it took {took:.1f} s"

    assert result == {}
    assert server.send(PHOTO).status == 200


def test_compressed_body_is_not_decompressed(server):
    packed = gzip.compress(form(PHOTO))

    assert server.post(packed, Content_Encoding="gzip").status in {400, 422}


def test_upload_size_is_counted_despite_content_length(server):
    def endless():
        yield form(b"").removesuffix(b"\r\n--x--\r\n")
        for _ in range(600):
            yield bytes(100_000)

    answer = server.post(endless(), Transfer_Encoding="chunked")

    assert wrong(answer, 413, ("oversized",)) is None


def test_urls_are_never_fetched(server):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/photo.jpg".encode()
        svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="%b"/></svg>' % address
        assert server.post(form(address, 'name="image"')).status == 422
        assert server.post(form(address)).status == 415
        assert server.post(form(svg)).status == 415
        assert server.post(b"", path=f"/predict/image?image={address.decode()}").status == 422

        listening.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listening.accept()
