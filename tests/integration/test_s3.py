import asyncio
import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from botocore.exceptions import ReadTimeoutError
from support import fault_proxy

from fb_marketplace_serving.storage import s3
from fb_marketplace_serving.storage.lake import Lake, OvertakenError
from fb_marketplace_serving.storage.s3 import S3

PASSING = ("slow_down", "internal_error", "reset", "short", "lost", "late_error")


@pytest.fixture(scope="module")
def proxy(seaweed):
    with fault_proxy.running(seaweed.endpoint) as proxy:
        yield proxy


@pytest.fixture
def lake(proxy, seaweed, bucket, become, monkeypatch):
    """A lake behind the proxy, whose clients do not wait long between tries."""
    become(seaweed.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint})
    monkeypatch.setattr(s3, "LONGEST_WAIT", 0.02)
    yield Lake(bucket)
    proxy.faults.begin(0)


@pytest.mark.parametrize("fault", PASSING)
def test_every_request_may_fail_once(lake, proxy, fault):
    data = bytes(range(256)) * 200
    proxy.faults.begin(1, {fault: 1}, times=1)

    lake.create("a/b", data)
    lake.replace("a/c", b"1")
    lake.replace("a/c", b"22")
    lake.replace_if("a/d", b"one", None)
    told, tag = lake.read_tagged("a/d")
    lake.replace_if("a/d", b"two", tag)

    assert (told, lake.read("a/d")) == (b"one", b"two")
    assert lake.read("a/b") == data
    assert lake.read_range("a/b", 1000, 9000) == data[1000:9000]
    assert lake.digest("a/b") == (len(data), hashlib.sha256(data).hexdigest())
    assert lake.sizes("a") == {"b": len(data), "c": 2, "d": 3}
    assert proxy.faults.injected[fault] >= 8


@pytest.mark.parametrize("fault", ["slow_down", "lost", "late_error"])
def test_of_a_file_that_is_there_every_write_on_condition_is_refused(lake, proxy, fault):
    lake.create("a", b"one")
    _, tag = lake.read_tagged("a")
    lake.replace("a", b"theirs")
    proxy.faults.begin(1, {fault: 1}, times=1)

    with pytest.raises(FileExistsError):
        lake.create("a", b"ours")
    with pytest.raises(OvertakenError):
        lake.replace_if("a", b"ours", tag)
    with pytest.raises(FileNotFoundError):
        lake.read("none")

    assert lake.read("a") == b"theirs"
    assert proxy.faults.injected[fault]


def test_at_three_faults_in_ten_all_files_come_whole(lake, proxy):
    files = {f"{number}": bytes([number]) * number * 500 for number in range(40)}
    proxy.faults.begin(0.3, dict.fromkeys(PASSING, 1), seed=7)

    for name, data in files.items():
        lake.create(name, data)

    assert {name: lake.read(name) for name in files} == files
    assert lake.sizes() == {name: len(data) for name, data in files.items()}
    assert set(proxy.faults.injected) == set(PASSING)


def test_a_connection_that_hangs_costs_no_more_than_its_timeout(lake, proxy, monkeypatch):
    lake.create("a", b"one")
    quick = s3.OPTIONS["config_kwargs"] | {"read_timeout": 0.3}
    monkeypatch.setitem(s3.OPTIONS, "config_kwargs", quick)
    S3.clear_instance_cache()
    hasty = Lake(lake.url)
    proxy.faults.begin(1, {"hung": 1}, times=2)
    started = time.monotonic()

    assert hasty.read("a") == b"one"

    assert time.monotonic() - started < 10
    assert proxy.faults.injected["hung"] == 2


@pytest.mark.parametrize("fault", ["slow_down", "internal_error", "reset", "short", "lost"])
def test_a_store_that_fails_for_good_is_given_up_in_one_line(lake, proxy, fault):
    lake.create("a/b.json", b"one")
    proxy.faults.begin(1, {fault: 1})

    with pytest.raises(
        ConnectionError, match=r"lake/a/b\.json: found no answer in 8 tries"
    ) as said:
        lake.read("a/b.json")

    assert "\n" not in str(said.value)
    # aiohttp sends once more what a connection that was kept did not answer.
    assert s3.TRIES <= proxy.faults.requests <= 2 * s3.TRIES


def test_the_waits_between_tries_fit_into_the_patience():
    waits = [min(s3.LONGEST_WAIT, s3.FIRST_WAIT * 2**attempt) for attempt in range(1, s3.TRIES)]

    assert sum(waits) < s3.PATIENCE


def test_a_store_that_hangs_is_given_up_after_its_patience_and_one_more_timeout(monkeypatch):
    clock = [0.0]

    async def wait(seconds):
        clock[0] += seconds

    async def hang():
        await wait(s3.OPTIONS["config_kwargs"]["read_timeout"])
        raise ReadTimeoutError(endpoint_url="http://127.0.0.1")

    async def not_done(_):
        return False

    monkeypatch.setattr(s3, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(s3, "asyncio", SimpleNamespace(sleep=wait))

    with pytest.raises(ConnectionError, match="found no answer in 4 tries"):
        asyncio.run(s3._answered(hang, not_done, "get_object at s3://raw/a"))

    assert clock[0] <= s3.PATIENCE + 5


def test_what_breaks_off_after_longer_than_the_patience_is_asked_again(lake, proxy, monkeypatch):
    lake.create("a", b"one" * 1000)
    monkeypatch.setattr(s3, "PATIENCE", 0.1)
    monkeypatch.setattr(proxy.faults, "latency", 0.2)
    proxy.faults.begin(1, {"short": 1}, times=3)

    assert lake.read("a") == b"one" * 1000

    assert proxy.faults.injected["short"] == 3


def test_what_is_denied_for_a_while_is_read_then(lake, proxy, monkeypatch):
    lake.create("a", b"one")
    monkeypatch.setattr(s3, "LONGEST_WAIT", 1.0)
    proxy.faults.deny(seconds=0.3)

    assert lake.read("a") == b"one"

    assert proxy.faults.injected["denied"]


def test_what_is_denied_for_good_is_said_soon(lake, proxy):
    proxy.faults.deny(seconds=60)
    started = time.monotonic()

    with pytest.raises(PermissionError, match="denied"):
        lake.read("a")

    assert time.monotonic() - started < s3.PATIENCE_WHEN_DENIED + 2


def test_a_wrong_key_is_asked_once(lake, proxy, seaweed, become):
    become({"AWS_SECRET_ACCESS_KEY": "not-this-one"})
    proxy.faults.begin(0)

    with pytest.raises(PermissionError):
        Lake(lake.url).read("a")

    assert proxy.faults.requests == 1


class Choosy(ThreadingHTTPServer):
    """A store that deletes, of what it is told to, what it likes: as S3 does, it says 200 all the same.

    Attributes:
        held: what it has.
        reasons: the codes by which it refuses a key, first one first; the last of one alone stays.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Deletes)
        self.held, self.reasons = set(), {}

    def refusal(self, key):
        codes = self.reasons.get(key, [])
        return codes.pop(0) if codes[1:] else "".join(codes)


class Deletes(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        told = self.rfile.read(int(self.headers["Content-Length"])).decode()
        errors = []
        for key in re.findall("<Key>(.*?)</Key>", told):
            if code := self.server.refusal(key):
                errors.append(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>")
            else:
                self.server.held.discard(key)
        body = f"<DeleteResult>{''.join(errors)}</DeleteResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *told):
        """Say nothing."""


@pytest.fixture
def choosy(seaweed, become, monkeypatch):
    with Choosy() as store:
        thread = threading.Thread(target=store.serve_forever, args=(0.01,))
        thread.start()
        become(
            seaweed.environment | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{store.server_port}"}
        )
        monkeypatch.setattr(s3, "LONGEST_WAIT", 0.02)
        store.held = {"a", "b", "c", "d"}
        yield store
        S3.clear_instance_cache()
        store.shutdown()
        thread.join()


def test_what_a_store_did_not_delete_at_first_is_deleted_then(choosy):
    choosy.reasons = {"b": ["InternalError", "SlowDown", ""], "d": ["AccessDenied", ""]}

    S3().rm([f"some/{key}" for key in "abcd"])

    assert choosy.held == set()


@pytest.mark.parametrize(
    ("code", "raised"),
    [("AccessDenied", PermissionError), ("SlowDown", ConnectionError), ("NotToday", OSError)],
)
def test_what_a_store_will_not_delete_is_named(choosy, code, raised):
    choosy.reasons = {"b": [code]}

    with pytest.raises(raised, match="b: ") as said:
        S3().rm([f"some/{key}" for key in "abc"])

    assert "\n" not in str(said.value)
    assert choosy.held == {"b", "d"}


def test_what_is_gone_need_not_be_deleted(choosy):
    choosy.reasons = {"b": ["NoSuchKey"]}

    S3().rm(["some/a", "some/b"])

    assert choosy.held == {"b", "c", "d"}
