"""A real server: release swaps, overload and shutdown."""

import http.client
import itertools
import json
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from support.waiting import until

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.release.manifest import ARTIFACTS, manifest_path
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import (
    CURRENT,
    Pointer,
    publish,
    read_pointer,
    set_current,
)
from fb_marketplace_serving.storage.lake import Lake

FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
COLOURS = ("img-red", "img-green", "img-blue", "img-yellow", "img-grey")
HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}


@pytest.fixture
def address(serve, lake):
    """Of a server that looks at its lake a hundred times a second."""
    return started(
        serve("--lake", lake, "--port", "0", FB_RELEASE_POLL_SECONDS="0.01", FB_LOG_LEVEL="error")
    )


def started(process):
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    return ready.split()[-1]


def get(address, path):
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as response:
        return json.load(response)


def until_served(address, version):
    until(lambda: get(address, "/healthcheck")["release"] == version)


class Client(threading.Thread):
    """Request similar images until stopped and store all responses."""

    def __init__(self, address, photo):
        super().__init__()
        self._host = address.removeprefix("http://")
        self._body = FORM % photo
        self.answers = []
        self.over = threading.Event()

    def run(self):
        connection = http.client.HTTPConnection(self._host, timeout=20)
        while not self.over.is_set():
            connection.request("POST", "/predict/similar_images", self._body, HEADERS)
            response = connection.getresponse()
            self.answers.append(
                (response.status, response.headers["x-release"], json.load(response))
            )


def test_swap_and_rollback_under_load_lose_no_request(address, lake, make_release, paint):
    publish(Lake(lake), make_release("v2", "new-", "newer"))
    clients = [Client(address, paint()) for _ in range(4)]
    for client in clients:
        client.start()
    for _ in range(3):
        until_served(address, "v2")
        set_current(Lake(lake), "v1", read_pointer(Lake(lake)))
        until_served(address, "v1")
        set_current(Lake(lake), "v2", read_pointer(Lake(lake)))
    for client in clients:
        client.over.set()
    for client in clients:
        client.join()

    answers = [answer for client in clients for answer in client.answers]
    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == {"v1", "v2"}
    for _, version, body in answers:
        ids = [hit[name] for hit in body["hits"] for name in ("image_id", "product_id")]
        assert len(ids) == 10
        assert {item.startswith("new-") for item in ids} == {version == "v2"}


def changed(data, _):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]


def truncated(data, _):
    return data[:-1]


def missing(*_):
    return None


def of_another_version(_, other):
    return other


@pytest.fixture
def others(lake, draft, build_encoder):
    """Other versions of each artifact."""
    index = Index.build_flat(np.eye(5, 8, dtype=np.float32), list("abcde"), list("abcde"))
    result = {name: Path(lake, file.path).read_bytes() for name, file in draft.artifacts.items()}
    return result | {
        "encoder": build_encoder(seed=8),
        "image_index": index.to_bytes()[0],
        "release_display_photos": result["release_photos"],
        "release_measures": result["listings"],
    }


def test_damaged_release_is_logged_and_old_one_served(address, lake, make_release, others, paint):
    damages = (changed, truncated, missing, of_another_version)
    for number, (artifact, damage) in enumerate(itertools.product(ARTIFACTS, damages)):
        manifest = make_release(f"damaged-{number}", "new-", f"damaged-{number}")
        path = manifest.artifacts[artifact].path
        file = Path(lake, path)
        data = damage(file.read_bytes(), others[artifact])
        file.unlink()
        if data is not None:
            file.write_bytes(data)

        publish(Lake(lake), manifest)

        until_refused(address, manifest.version)
        ready = get(address, "/readyz")
        assert ready["release"] == "v1"
        assert path in ready["rejected"]["reason"], (artifact, damage)
    request = urllib.request.Request(f"{address}/predict/image", FORM % paint(), HEADERS)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["x-release"] == "v1"


def test_changed_pointer_or_manifest_is_refused_and_old_release_served(address, lake, make_release):
    new = make_release("v2", "new-", "newer")
    pointer, manifest = Path(lake, CURRENT), Path(lake, manifest_path("v2"))
    before = pointer.read_bytes()
    publish(Lake(lake), new)
    until_served(address, "v2")
    pointer.write_bytes(before)
    until_served(address, "v1")
    manifest.write_bytes(changed(manifest.read_bytes(), None))
    set_pointer = Pointer(version="v2", manifest_sha256="0" * 64).model_dump_json().encode()

    for data in (set_pointer, changed(before, None), b"", b"{"):
        pointer.write_bytes(data)
        until(lambda: get(address, "/readyz")["rejected"] is not None)
        assert get(address, "/healthcheck")["release"] == "v1"
        pointer.write_bytes(before)
        until(lambda: get(address, "/readyz")["rejected"] is None)


def until_refused(address, version):
    def is_refused():
        result = get(address, "/readyz")["rejected"]
        return result is not None and result["version"] == version

    until(is_refused)


def test_damaged_photo_is_not_served(address, lake):
    for file in Path(lake, FOLDER).iterdir():
        file.write_bytes(changed(file.read_bytes(), None))

    # One photo of each of the two files is damaged.
    answers = [status(f"{address}/images/{name}") for name in COLOURS]
    assert sorted(answers) == [200, 200, 200, 500, 500]


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_pending_requests_are_answered_at_shutdown(serve, lake, paint):
    process = serve("--lake", lake, "--port", "0")
    host, port = started(process).removeprefix("http://").split(":")
    body = FORM % paint()
    head = "\r\n".join(f"{name}: {value}" for name, value in HEADERS.items())
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /predict/image HTTP/1.1\r\nHost: x\r\n{head}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body[:100]
        )
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[100:])
        response = http.client.HTTPResponse(connection)
        response.begin()

        assert response.status == 200
        assert json.load(response)["category"] == "Reds"
    assert process.wait(10) == 0


def test_requests_over_capacity_get_503(serve, lake, paint):
    address = started(
        serve(
            *("--lake", lake, "--port", "0"),
            FB_MAX_IN_FLIGHT="1",
            FB_CLIENT_SHARE="1",
            FB_LOG_LEVEL="error",
        )
    )
    clients = [Client(address, paint((9, 9, 9), (3000, 2000), "PNG")) for _ in range(8)]
    for client in clients:
        client.start()
    until(lambda: sum(len(client.answers) for client in clients) > 100)
    for client in clients:
        client.over.set()
    for client in clients:
        client.join()

    statuses = [status for client in clients for status, _, _ in client.answers]
    assert set(statuses) == {200, 503}
    assert get(address, "/livez")["status"] == "alive"


def test_slow_uploads_block_no_other_request(serve, lake, paint):
    address = started(
        serve("--lake", lake, "--port", "0", FB_MAX_IN_FLIGHT="2", FB_REQUEST_TIMEOUT_SECONDS="2")
    )
    host, port = address.removeprefix("http://").split(":")
    slow = []
    for _ in range(4):
        connection = socket.create_connection((host, int(port)), timeout=10)
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        connection.sendall(
            f"POST /predict/image HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 9999\r\n\r\n".encode()
        )
        slow.append(connection)

    request = urllib.request.Request(f"{address}/predict/image", FORM % paint(), HEADERS)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200
    for connection in slow:
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        connection.close()


def test_oversized_upload_is_rejected_while_sent(serve, lake):
    address = started(serve("--lake", lake, "--port", "0", FB_MAX_UPLOAD_BYTES="100000"))

    request = urllib.request.Request(f"{address}/predict/image", FORM % bytes(8_000_000), HEADERS)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)

    assert caught.value.code == 413
    assert json.load(caught.value)["type"].endswith(":oversized")


@pytest.mark.parametrize(
    ("trusted", "rejected"),
    [("", True), pytest.param("127.0.0.0/8", False, marks=pytest.mark.slow)],
)
def test_forwarded_address_counts_only_from_a_trusted_proxy(serve, lake, paint, trusted, rejected):
    """Otherwise a client that invents addresses has no rate limit."""
    address = started(
        serve(
            *("--lake", lake, "--port", "0"),
            FB_RATE_LIMIT="2/minute",
            FB_TRUSTED_PROXIES=trusted,
            FORWARDED_ALLOW_IPS="*",
            FB_LOG_LEVEL="error",
        )
    )
    answers = []
    for number in range(4):
        headers = HEADERS | {"X-Forwarded-For": f"192.0.2.{number}"}
        request = urllib.request.Request(f"{address}/predict/image", FORM % paint(), headers)
        answers.append(status(request))

    assert (429 in answers) == rejected
