import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

RUN = [sys.executable, "-m", "fb_marketplace_serving.cli", "run"]


@pytest.fixture
def serve(environment):
    """Start a server; it is gone when the test ends."""
    started = []

    def start(*arguments, **variables):
        process = subprocess.Popen(
            [*RUN, *arguments],
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def refused(process):
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_serves_says_when_it_is_ready_and_ends_cleanly(serve, lake, paint):
    process = serve("--lake", lake, "--port", "0")
    ready = process.stdout.readline()
    address = ready.split()[-1]

    assert ready == f"fb-serve: release v1 at {address}\n"
    with urllib.request.urlopen(f"{address}/healthcheck", timeout=10) as response:
        assert json.load(response) == {"status": "ok", "release": "v1"}
    form = (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
    )
    request = urllib.request.Request(
        f"{address}/predict/image",
        form % paint((20, 20, 220)),
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert json.load(response)["category"] == "Blues"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_takes_its_settings_from_the_environment(serve, lake):
    process = serve(FB_LAKE=lake, FB_PORT="0")

    assert process.stdout.readline().startswith("fb-serve: release v1 at http://127.0.0.1:")


def test_a_lake_without_a_release_is_refused_in_one_line(serve, tmp_path):
    message = refused(serve("--lake", str(tmp_path), "--port", "0"))

    assert message.startswith(f"fb-serve: {tmp_path}/releases/current.json: not found")


def test_a_port_in_use_is_refused_in_one_line(serve, lake):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        message = refused(serve("--lake", lake, "--port", port))

    assert f"cannot listen on 127.0.0.1 port {port}" in message


@pytest.mark.parametrize("given", [("--port", "many"), ("--port", "70000")])
def test_a_port_that_is_none_is_refused_in_one_line(serve, given):
    assert f"found --port (or FB_PORT) = '{given[1]}'" in refused(serve(*given))


def test_a_setting_that_is_none_is_refused_in_one_line(serve):
    assert "FB_MAX_PIXELS" in refused(serve(FB_MAX_PIXELS="lots"))


def imported(environment, code):
    """The names of all modules that a fresh Python has after some code, each with its parents."""
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_help_imports_nothing_that_serves(environment):
    code = (
        "from fb_marketplace_serving.cli import main\n"
        "try: main(['run', '--help'])\nexcept SystemExit: pass"
    )

    found = imported(environment, code)

    assert "fb_marketplace_serving" in found
    assert not found & {"numpy", "pydantic", "fastapi", "uvicorn", "PIL", "fsspec"}


def test_serving_loads_nothing_of_the_pipelines(environment, lake, paint):
    code = f"""
from fastapi.testclient import TestClient
from fb_marketplace_serving import api, cli, settings
from fb_marketplace_serving.release import Release
client = TestClient(api.create_app(Release.open({lake!r})))
assert client.post("/predict/similar_images", files={{"image": {paint()!r}}}).status_code == 200
"""

    found = imported(environment, code)

    assert "onnxruntime" in found
    assert not found & {"torch", "torchvision", "kedro", "lance", "fb_marketplace"}


def test_a_release_opens_without_the_extra_of_the_server(environment, lake):
    code = f"""
import sys
for missing in ("fastapi", "starlette", "uvicorn", "pydantic_settings", "python_multipart"):
    sys.modules[missing] = None
from fb_marketplace_serving.release import Release
Release.open({lake!r})
"""

    assert "faiss" in imported(environment, code)
