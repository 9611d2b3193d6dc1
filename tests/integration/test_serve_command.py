import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

import pytest

from fb_marketplace_serving.cli.main import main
from fb_marketplace_serving.release.manifest import artifact_of
from fb_marketplace_serving.release.pointer import current_version, publish
from fb_marketplace_serving.release.provenance import ListingProvenance, Source, write_provenance
from fb_marketplace_serving.storage.lake import Lake

COMMAND = [sys.executable, "-m", "fb_marketplace_serving.cli.main"]


def test_run_prints_address_and_stops_cleanly(serve, lake, paint):
    process = serve("--lake", lake, "--port", "0")
    ready = process.stdout.readline()
    address = ready.split()[-1]

    assert ready.startswith("fb-serve: release v1 ")
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
    assert (process.returncode, out) == (0, "")
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["request", "request"]


def test_run_reads_settings_from_environment(serve, lake):
    process = serve(FB_LAKE=lake, FB_PORT="0")

    assert process.stdout.readline().split()[-1].startswith("http://127.0.0.1:")


def test_run_without_release_fails_in_one_line(serve, tmp_path):
    process = serve("--lake", str(tmp_path), "--port", "0")
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert f"{tmp_path}/releases/current.json" in err


class Executed(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def execute(capsys):
    """Execute a command to its end, in this process."""
    before = signal.getsignal(signal.SIGTERM)

    def execute(*arguments):
        code = main(arguments)
        return Executed(code, *capsys.readouterr())

    yield execute
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def refuse(execute, monkeypatch):
    """Run a server that does not start; return its one line."""

    def refuse(*arguments, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        code, out, err = execute("run", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    return refuse


def test_run_on_used_port_fails_in_one_line(refuse, lake):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        message = refuse("--lake", lake, "--port", port)

    assert "127.0.0.1" in message
    assert port in message


@pytest.mark.parametrize("given", [("--port", "many"), ("--port", "70000")])
def test_run_with_invalid_port_fails_in_one_line(refuse, given):
    message = refuse(*given)

    assert "FB_PORT" in message
    assert given[1] in message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FB_MAX_PIXELS", "lots", "FB_MAX_PIXELS"),
        ("FB_RATE_LIMIT", "often", "600/minute"),
        ("FB_API_KEYS", "shop:sesame", "FB_API_KEYS"),
    ],
)
def test_run_with_invalid_setting_fails_in_one_line(refuse, name, value, message):
    line = refuse(**{name: value})

    assert message in line
    assert "sesame" not in line


@pytest.fixture
def two(lake, draft):
    """A lake with two releases; the second is current."""
    publish(Lake(lake), draft.model_copy(update={"version": "v2"}))
    return lake


def test_releases_prints_table_and_json(execute, two, monkeypatch):
    table = execute("releases", "--lake", two)
    monkeypatch.setenv("FB_LAKE", two)
    data = execute("releases", "--json")

    assert (table.returncode, table.stderr) == (0, "")
    assert [line[:4].split() for line in table.stdout.splitlines()[1:]] == [["*", "v"], ["v"]]
    assert [item["is_current"] for item in json.loads(data.stdout)] == [True, False]


def test_verify_detects_one_changed_byte(execute, two):
    complete = execute("verify", "v1", "--lake", two)
    encoder = Path(two, "model/encoder.onnx")
    encoder.write_bytes(encoder.read_bytes()[:-1] + b"?")
    damaged = execute("verify", "--lake", two)

    assert (complete.returncode, complete.stderr) == (0, "")
    assert f"release v1 in {two}" in complete.stdout.splitlines()[-1]
    assert damaged.returncode == 2
    assert damaged.stderr.count("\n") == 1
    assert f"{encoder}: " in damaged.stderr


def test_rollback_prints_both_versions(execute, two):
    back = execute("rollback", "v1", "--lake", two)
    again = execute("rollback", "v1", "--lake", two)

    assert back.returncode == again.returncode == 0
    assert {"v2", "v1"} <= set(back.stdout.split())
    assert "v1" in again.stdout.split()
    assert current_version(Lake(two)) == "v1"


def test_rollback_to_invalid_release_fails_in_one_line(execute, two):
    refused = execute("rollback", "v9", "--lake", two)

    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert current_version(Lake(two)) == "v2"


@pytest.fixture
def explained(lake, make_release):
    """A lake whose current release v2 has provenance."""
    path = "model/provenance-2.parquet"
    tables = {"products": Source("Products.csv", 1, "a" * 64), "images": Source("Images.csv")}
    red = ListingProvenance("prd-red", 4, 0, [], None, False, None, "prd-red", 1, "train", [], [])
    Path(lake, path).write_bytes(write_provenance([red], tables | {"photos": Source("images")}))
    result = make_release("v2", folder="model-2", searchable=True)
    artifacts = result.artifacts | {"provenance": artifact_of(Lake(lake), path)}
    publish(Lake(lake), result.model_copy(update={"artifacts": artifacts}))
    return lake


def test_explain_prints_one_fact_per_line(execute, explained):
    output = execute("explain", "prd-red", "--lake", explained, "--release", "v2")

    assert (output.returncode, output.stderr) == (0, "")
    lines = output.stdout.splitlines()
    assert lines[1:3] == ["  product id: prd-red", "  title: A red chair"]
    assert lines[lines.index("raw row") + 1] == "  row: 4"


def test_explain_of_unknown_listing_exits_with_1(execute, explained):
    output = execute("explain", "prd-9", "--lake", explained)

    assert (output.returncode, output.stdout, output.stderr.count("\n")) == (1, "", 1)
    assert "'prd-9'" in output.stderr


def test_explain_of_damaged_release_exits_with_2(execute, explained):
    unknown = execute("explain", "prd-red", "--lake", explained, "--release", "v9")
    Path(explained, "model/provenance-2.parquet").write_bytes(b"?")
    damaged = execute("explain", "prd-red", "--lake", explained)

    for refused in (unknown, damaged):
        assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)


def test_exported_folder_is_served_without_the_lake(execute, serve, lake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop") / "release"
    exported = execute("export", str(folder), "--lake", lake)
    shutil.rmtree(lake)

    assert (exported.returncode, exported.stderr) == (0, "")
    assert f"`fb-serve run --lake {folder}`" in exported.stdout
    ready = serve("--lake", str(folder), "--port", "0").stdout.readline()
    assert ready.split()[-1].startswith("http://")


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_interrupted_export_leaves_no_folder(environment, lake, tmp_path_factory, signal_):
    folder = tmp_path_factory.mktemp("shop") / "release"
    # The last file comes through a pipe that nobody fills: the export waits there.
    last = Path(lake, "model/listings.parquet")
    last.unlink()
    os.mkfifo(last)
    process = subprocess.Popen(
        [*COMMAND, "export", str(folder), "--lake", lake],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal_)
        process.communicate(timeout=20)
    finally:
        process.kill()

    assert process.returncode != 0
    assert not folder.exists()
    if signal_ != signal.SIGKILL:
        assert list(folder.parent.iterdir()) == []


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


@pytest.mark.parametrize("command", ["run", "releases", "verify", "rollback", "export", "explain"])
def test_help_imports_no_server(environment, command):
    code = (
        "from fb_marketplace_serving.cli.main import main\n"
        f"try: main([{command!r}, '--help'])\nexcept SystemExit: pass"
    )

    result = imported(environment, code)

    assert "fb_marketplace_serving" in result
    assert not result & {"numpy", "pydantic", "fastapi", "uvicorn", "PIL", "fsspec"}


def test_server_imports_no_pipeline_or_slow_library(environment, shop_in_common, paint):
    code = f"""
from fastapi.testclient import TestClient
from fb_marketplace_serving.server import app
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.release.loader import Release
client = TestClient(app.create_app(Release.open({shop_in_common!r}), Settings()))
assert client.post("/predict/similar_images", files={{"image": {paint()!r}}}).status_code == 200
assert client.get("/search?q=red+chair&near=Leeds&explain=true").status_code == 200
"""

    result = imported(environment, code)

    assert "onnxruntime" in result
    assert not result & {"torch", "torchvision", "kedro", "lance", "fb_marketplace"}
    assert not result & {"pandas", "sklearn"}


def test_open_and_export_work_without_server_extra(environment, lake):
    code = f"""
import sys
for missing in ("fastapi", "starlette", "uvicorn", "pydantic_settings", "python_multipart"):
    sys.modules[missing] = None
from fb_marketplace_serving.cli.main import main
from fb_marketplace_serving.release.loader import Release
Release.open({lake!r})
assert main(["export", {lake + "/copy"!r}, "--lake", {lake!r}]) == 0
"""

    assert "faiss" in imported(environment, code)
