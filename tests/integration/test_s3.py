import asyncio
import hashlib
import re
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from botocore.exceptions import ReadTimeoutError
from support import fault_proxy

from fb_marketplace_serving.storage import retries, s3
from fb_marketplace_serving.storage.lake import ConcurrentWriteError, Lake
from fb_marketplace_serving.storage.s3 import S3_POLICY, RetryingS3FileSystem

TRANSIENT = ("slow_down", "internal_error", "reset", "short", "lost", "late_error")


@pytest.fixture(scope="module")
def proxy(seaweed):
    with fault_proxy.running(seaweed.endpoint) as proxy:
        yield proxy


@pytest.fixture
def set_policy(monkeypatch):
    """Change the retry policy of S3 for one test."""

    def set_policy(**changes):
        monkeypatch.setattr(s3, "S3_POLICY", replace(s3.S3_POLICY, **changes))

    return set_policy


@pytest.fixture
def lake(proxy, seaweed, bucket, become, set_policy):
    """A lake behind the proxy, with short waits between attempts."""
    become(seaweed.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint})
    set_policy(max_wait_s=0.02)
    yield Lake(bucket)
    proxy.faults.begin(0)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_lake_if_each_request_fails_once_succeeds(lake, proxy, fault):
    data = bytes(range(256)) * 200
    proxy.faults.begin(1, {fault: 1}, times=1)

    lake.create("a/b", data)
    lake.replace("a/c", b"1")
    lake.replace("a/c", b"22")
    lake.replace_if("a/d", b"one", None)
    content, tag = lake.read_tagged("a/d")
    lake.replace_if("a/d", b"two", tag)

    assert (content, lake.read("a/d")) == (b"one", b"two")
    assert lake.read("a/b") == data
    assert lake.read_range("a/b", 1000, 9000) == data[1000:9000]
    assert lake.digest("a/b") == (len(data), hashlib.sha256(data).hexdigest())
    assert lake.sizes("a") == {"b": len(data), "c": 2, "d": 3}
    assert proxy.faults.injected[fault] >= 7


def test_read_tagged_sends_one_request(lake, proxy):
    lake.create("a", b"one")
    proxy.faults.begin(0)

    content, tag = lake.read_tagged("a")

    assert (content, proxy.faults.requests) == (b"one", 1)
    lake.replace_if("a", b"two", tag)
    assert lake.read("a") == b"two"


@pytest.mark.parametrize("fault", ["slow_down", "lost", "late_error"])
def test_conditional_put_over_other_content_is_refused(lake, proxy, fault):
    lake.create("a", b"one")
    _, tag = lake.read_tagged("a")
    lake.replace("a", b"theirs")
    proxy.faults.begin(1, {fault: 1}, times=1)

    with pytest.raises(FileExistsError):
        lake.create("a", b"ours")
    with pytest.raises(ConcurrentWriteError):
        lake.replace_if("a", b"ours", tag)
    with pytest.raises(FileNotFoundError):
        lake.read("none")

    assert lake.read("a") == b"theirs"
    assert proxy.faults.injected[fault]


def test_lake_at_30_percent_faults_keeps_files_intact(lake, proxy):
    files = {f"{number}": bytes([number]) * number * 500 for number in range(40)}
    proxy.faults.begin(0.3, dict.fromkeys(TRANSIENT, 1), seed=7)

    for name, data in files.items():
        lake.create(name, data)

    assert {name: lake.read(name) for name in files} == files
    assert lake.sizes() == {name: len(data) for name, data in files.items()}
    assert set(proxy.faults.injected) == set(TRANSIENT)


def test_read_if_connection_hangs_retries_after_timeout(lake, proxy, monkeypatch):
    lake.create("a", b"one")
    short = s3.OPTIONS["config_kwargs"] | {"read_timeout": 0.3}
    monkeypatch.setitem(s3.OPTIONS, "config_kwargs", short)
    RetryingS3FileSystem.clear_instance_cache()
    impatient = Lake(lake.url)
    proxy.faults.begin(1, {"hung": 1}, times=2)
    started = time.monotonic()

    assert impatient.read("a") == b"one"

    assert time.monotonic() - started < 10
    assert proxy.faults.injected["hung"] == 2


@pytest.mark.parametrize("fault", ["slow_down", "internal_error", "reset", "short", "lost"])
def test_read_if_store_always_fails_gives_up(lake, proxy, fault):
    lake.create("a/b.json", b"one")
    proxy.faults.begin(1, {fault: 1})

    with pytest.raises(
        ConnectionError, match=rf"in {S3_POLICY.max_attempts} attempts .*lake/a/b\.json"
    ) as caught:
        lake.read("a/b.json")

    assert "\n" not in str(caught.value)
    # aiohttp resends a request if a reused connection gives no response.
    assert S3_POLICY.max_attempts <= proxy.faults.requests <= 2 * S3_POLICY.max_attempts


def test_retry_of_hanging_store_ends_after_deadline(monkeypatch):
    clock = [0.0]
    timeout = s3.OPTIONS["config_kwargs"]["read_timeout"]

    async def wait(seconds):
        clock[0] += seconds

    async def hang():
        await wait(timeout)
        raise ReadTimeoutError(endpoint_url="http://127.0.0.1")

    async def not_done(_):
        return False

    monkeypatch.setattr(retries, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(s3, "asyncio", SimpleNamespace(sleep=wait))

    with pytest.raises(ConnectionError, match="in 4 attempts"):
        asyncio.run(s3._retry(hang, not_done, "get_object s3://raw/a"))

    assert clock[0] <= S3_POLICY.deadline_s + timeout


def test_read_that_breaks_off_after_deadline_is_retried(lake, proxy, monkeypatch, set_policy):
    lake.create("a", b"one" * 1000)
    set_policy(deadline_s=0.1)
    monkeypatch.setattr(proxy.faults, "latency", 0.2)
    proxy.faults.begin(1, {"short": 1}, times=3)

    assert lake.read("a") == b"one" * 1000

    assert proxy.faults.injected["short"] == 3


def test_read_denied_for_a_moment_succeeds(lake, proxy, set_policy):
    lake.create("a", b"one")
    set_policy(max_wait_s=1.0)
    proxy.faults.deny(seconds=0.3)

    assert lake.read("a") == b"one"

    assert proxy.faults.injected["denied"]


def test_read_denied_permanently_fails_within_seconds(lake, proxy):
    proxy.faults.deny(seconds=60)
    started = time.monotonic()

    with pytest.raises(PermissionError, match="denied"):
        lake.read("a")

    assert time.monotonic() - started < s3.DENIED_DEADLINE_S + 2


def test_read_with_wrong_key_is_not_retried(lake, proxy, seaweed, become):
    become({"AWS_SECRET_ACCESS_KEY": "not-this-one"})
    proxy.faults.begin(0)

    with pytest.raises(PermissionError):
        Lake(lake.url).read("a")

    assert proxy.faults.requests == 1


def test_s3_with_unknown_profile_raises_oserror(become, seaweed):
    become(seaweed.environment | {"AWS_PROFILE": "absent"})

    with pytest.raises(OSError, match="absent"):
        RetryingS3FileSystem().cat_file("bucket/key")


class SelectiveStore(ThreadingHTTPServer):
    """A store that refuses some of several deletes and, like S3, still responds with 200.

    Attributes:
        keys: the stored keys.
        refusals: error codes by key, used one after the other; the last one is repeated.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), DeleteHandler)
        self.keys, self.refusals = set(), {}

    def refusal(self, key):
        codes = self.refusals.get(key, [])
        return codes.pop(0) if codes[1:] else "".join(codes)


class DeleteHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = self.rfile.read(int(self.headers["Content-Length"])).decode()
        errors = []
        for key in re.findall("<Key>(.*?)</Key>", request):
            if code := self.server.refusal(key):
                errors.append(f"<Error><Key>{key}</Key><Code>{code}</Code></Error>")
            else:
                self.server.keys.discard(key)
        body = f"<DeleteResult>{''.join(errors)}</DeleteResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Log nothing."""


@pytest.fixture
def store(seaweed, become, set_policy):
    with SelectiveStore() as store:
        thread = threading.Thread(target=store.serve_forever, args=(0.01,))
        thread.start()
        become(
            seaweed.environment | {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{store.server_port}"}
        )
        set_policy(max_wait_s=0.02)
        store.keys = {"a", "b", "c", "d"}
        yield store
        RetryingS3FileSystem.clear_instance_cache()
        store.shutdown()
        thread.join()


def test_rm_refused_at_first_is_retried(store):
    store.refusals = {"b": ["InternalError", "SlowDown", ""], "d": ["AccessDenied", ""]}

    RetryingS3FileSystem().rm([f"some/{key}" for key in "abcd"])

    assert store.keys == set()


@pytest.mark.parametrize(
    ("code", "raised"),
    [("AccessDenied", PermissionError), ("SlowDown", ConnectionError), ("NotToday", OSError)],
)
def test_rm_refused_permanently_names_the_file(store, code, raised):
    store.refusals = {"b": [code]}

    with pytest.raises(raised, match="b: ") as caught:
        RetryingS3FileSystem().rm([f"some/{key}" for key in "abc"])

    assert "\n" not in str(caught.value)
    assert store.keys == {"b", "d"}


def test_rm_of_missing_file_succeeds(store):
    store.refusals = {"b": ["NoSuchKey"]}

    RetryingS3FileSystem().rm(["some/a", "some/b"])

    assert store.keys == {"b", "c", "d"}
