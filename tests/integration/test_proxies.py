"""The proxy configurations in serving/deploy, with a real proxy in front of a real server."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.proxies import DEPLOY, caddy, nginx
from support.waiting import until

from fb_marketplace_serving.server.settings import Settings

DEFAULTS = Settings.model_fields


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def start(serve, shop_in_common):
    """Starts a server; returns its process and its address."""

    def start(**settings):
        server = serve(
            *("--lake", shop_in_common, "--port", "0"), FB_TRUSTED_PROXIES="127.0.0.1", **settings
        )
        ready = server.stdout.readline()
        assert ready, server.stderr.read()
        return server, ready.split()[-1].removeprefix("http://")

    return start


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def start_proxy(request, tmp_path):
    """Starts a proxy in front of servers; returns its address."""
    if shutil.which(request.param.__name__) is None:
        pytest.skip(f"{request.param.__name__} is not installed")
    with contextlib.ExitStack() as stack:

        def run(*servers):
            port = free_port()
            process = subprocess.Popen(
                request.param(tmp_path, port, *servers),
                env=os.environ | {"HOME": str(tmp_path)},
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.terminate)
            until(lambda: is_listening(port))
            return "127.0.0.1", port

        run.repeats_bodies = request.param is nginx
        yield run


@pytest.fixture
def proxy(start, start_proxy):
    """Address of a proxy in front of one server."""
    _, address = start(FB_RATE_LIMIT="3/minute")
    return start_proxy(address)


def is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def ask(address, path, body=None, **headers):
    with contextlib.closing(http.client.HTTPConnection(*address, timeout=20)) as connection:
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


@pytest.mark.external
def test_proxy_forwards_requests_and_the_true_address(proxy):
    assert ask(proxy, "/livez")[0] == 200
    assert ask(proxy, "/metrics")[0] == 404
    statuses = [
        ask(proxy, "/search?q=chair", **{"X-Forwarded-For": f"192.0.2.{number}"})[0]
        for number in range(5)
    ]
    assert statuses == [200, 200, 200, 429, 429]


@pytest.mark.external
def test_proxy_limits_headers_and_bodies(proxy):
    assert ask(proxy, f"/livez?{'a' * 15_000}")[0] == 200
    assert ask(proxy, f"/livez?{'a' * 70_000}")[0] in {414, 431}
    headers = {f"a{number}": "a" * 10_000 for number in range(10)}
    assert ask(proxy, "/livez", **headers)[0] in {400, 431}
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(ConnectionError):
        # Caddy 2.6 answers with 502: it has begun to forward the body.
        assert ask(proxy, "/search", form + bytes(36_000_000), **multipart)[0] in {413, 502}
    started = time.monotonic()
    assert ask(proxy, "/livez")[0] == 200
    assert time.monotonic() - started < 2  # The proxy has not given up the server.


@pytest.mark.external
def test_proxy_closes_slow_heads(proxy):
    with socket.create_connection(proxy, timeout=30) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            while connection.recv(1000):
                pass

    assert 8 < time.monotonic() - started < 13


@pytest.mark.external
def test_other_server_answers_if_one_is_killed(start, start_proxy, draw_photo):
    # Nobody reads their logs while they run.
    (victim, first), (_, second) = (start(FB_LOG_LEVEL="error") for _ in range(2))
    address = start_proxy(first, second)
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    form += draw_photo(1, (320, 240)) + b"\r\n--x--\r\n"
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    requests = {"/search?q=chair": None, "/predict/image": form, "/search?q=red": form}
    done = threading.Event()

    def ask_until_done(path):
        answers = []
        while not done.is_set():
            started = time.monotonic()
            try:
                ok = ask(address, path, requests[path], **multipart)[0] == 200
            except (http.client.HTTPException, OSError):
                ok = False
            answers.append((started, ok))
        return answers

    with ThreadPoolExecutor(2 * len(requests)) as pool:
        running = [pool.submit(ask_until_done, path) for path in [*requests, *requests]]
        time.sleep(1)
        victim.kill()
        victim.wait()
        killed = time.monotonic()
        time.sleep(6)
        done.set()

    # Caddy does not repeat bodies, and checks its servers once a second.
    since = 0 if start_proxy.repeats_bodies else killed + 3
    for answers in running:
        results = [ok for started, ok in answers.result() if started > since]
        assert results
        assert all(results)


@pytest.mark.parametrize("file", ["nginx.conf", "Caddyfile"])
def test_proxy_has_the_limits_of_the_server(file):
    text = DEPLOY.joinpath(file).read_text("utf-8")
    seconds = {
        name: int(re.search(rf"(\d+)s;?\s+# {name}\b", text)[1])
        for name in ("FB_HEADER_TIMEOUT_SECONDS", "FB_KEEP_ALIVE_SECONDS")
    }
    names = re.findall(r"\bFB_([A-Z_]+)", text)

    assert seconds["FB_HEADER_TIMEOUT_SECONDS"] == DEFAULTS["header_timeout_seconds"].default
    assert seconds["FB_KEEP_ALIVE_SECONDS"] == DEFAULTS["keep_alive_seconds"].default
    assert {name.lower() for name in names} <= set(DEFAULTS)
    assert re.search(r"\b33(m|MiB)\b", text)
    assert DEFAULTS["max_upload_bytes"].default == 32 * 1024**2
