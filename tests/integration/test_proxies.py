"""The proxy configurations in serving/deploy, with a real proxy in front of a real server."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from support.waiting import until

from fb_marketplace_serving.server.settings import Settings

DEPLOY = Path(__file__).parents[2] / "serving/deploy"
DEFAULTS = Settings.model_fields


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def nginx(tmp_path, port, upstream):
    site = DEPLOY.joinpath("nginx.conf").read_text("utf-8")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "127.0.0.1:8000", upstream
    )
    tmp_path.joinpath("site.conf").write_text(site, "utf-8")
    paths = "".join(
        f"{name}_temp_path {tmp_path}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = tmp_path / "nginx.conf"
    main.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} include {tmp_path}/site.conf; }}\n",
        "utf-8",
    )
    return ["nginx", "-e", "stderr", "-c", str(main)]


def caddy(tmp_path, port, upstream):
    text = DEPLOY.joinpath("Caddyfile").read_text("utf-8")
    text = text.replace(":80 {", f"http://127.0.0.1:{port} {{").replace("127.0.0.1:8000", upstream)
    file = tmp_path / "Caddyfile"
    file.write_text(text, "utf-8")
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request, serve, shop_in_common, tmp_path):
    """Address of the proxy, and its name."""
    name = request.param.__name__
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    server = serve(
        *("--lake", shop_in_common, "--port", "0"),
        FB_TRUSTED_PROXIES="127.0.0.1",
        FB_RATE_LIMIT="3/minute",
    )
    ready = server.stdout.readline()
    assert ready, server.stderr.read()
    port = free_port()
    process = subprocess.Popen(
        request.param(tmp_path, port, ready.split()[-1].removeprefix("http://")),
        env=os.environ | {"HOME": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: is_listening(port))
        yield ("127.0.0.1", port), name
    finally:
        process.terminate()
        process.wait(10)


def is_listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def ask(address, path, body=None, **headers):
    connection = http.client.HTTPConnection(*address, timeout=20)
    connection.request("GET" if body is None else "POST", path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


@pytest.mark.external
def test_proxy_forwards_requests_and_the_true_address(proxy):
    address, _ = proxy

    assert ask(address, "/livez")[0] == 200
    assert ask(address, "/metrics")[0] == 404
    statuses = [
        ask(address, "/search?q=chair", **{"X-Forwarded-For": f"192.0.2.{number}"})[0]
        for number in range(5)
    ]
    assert statuses == [200, 200, 200, 429, 429]


@pytest.mark.external
def test_proxy_limits_headers_and_bodies(proxy):
    address, _ = proxy

    assert ask(address, f"/livez?{'a' * 15_000}")[0] == 200
    assert ask(address, f"/livez?{'a' * 70_000}")[0] in {414, 431}
    headers = {f"a{number}": "a" * 10_000 for number in range(10)}
    assert ask(address, "/livez", **headers)[0] in {400, 431}
    form = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    with contextlib.suppress(ConnectionError):
        # Caddy 2.6 answers with 502: it has begun to forward the body.
        assert ask(address, "/search", form + bytes(36_000_000), **multipart)[0] in {413, 502}


@pytest.mark.external
def test_proxy_closes_slow_heads(proxy):
    address, _ = proxy
    with socket.create_connection(address, timeout=30) as connection:
        started = time.monotonic()
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        with contextlib.suppress(ConnectionError):
            while connection.recv(1000):
                pass

    assert 8 < time.monotonic() - started < 13


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
