"""A real server whose disk or lake fails: 503 with Retry-After, and no traceback."""

import json
import os
import resource
import shutil
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from support import fault_proxy
from support.waiting import until

from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.release.pointer import CURRENT

FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}


def started(process):
    ready = process.stdout.readline()
    assert ready, process.stderr.read()
    return ready.split()[-1]


def ask(address, path, body=None):
    """Return status, problem type and headers."""
    request = urllib.request.Request(f"{address}{path}", body, HEADERS)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, None, response.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["type"].rpartition(":")[2], error.headers


def log_of(process):
    process.terminate()
    return process.communicate(timeout=10)[1]


def remove_files(folder):
    for file in folder.iterdir():
        file.unlink()


def forbid_files(folder):
    for file in folder.iterdir():
        file.unlink()
        file.symlink_to(file)  # cannot be opened, not even by root


def stall_files(folder):
    for file in folder.iterdir():
        file.unlink()
        os.mkfifo(file)


@pytest.mark.parametrize(
    "fail",
    [
        stall_files,
        *(
            pytest.param(f, marks=pytest.mark.slow)
            for f in (remove_files, forbid_files, shutil.rmtree)
        ),
    ],
)
def test_photo_of_failing_lake_is_503(serve, lake, fail, paint):
    process = serve("--lake", lake, "--port", "0", FB_REQUEST_TIMEOUT_SECONDS="0.5")
    address = started(process)
    fail(Path(lake, FOLDER))

    status, kind, headers = ask(address, "/images/img-red")

    assert (status, kind) == (503, "storage_unavailable")
    assert int(headers["Retry-After"]) > 0
    for path in ("/livez", "/metrics", "/", "/products/prd-red"):
        assert ask(address, path)[0] == 200
    assert ask(address, "/predict/image", FORM % paint())[0] == 200
    log = log_of(process)
    assert "storage failed" in log
    assert "Traceback" not in log


def test_upload_to_full_disk_is_503(serve, lake, paint):
    process = serve("--lake", lake, "--port", "0")
    address = started(process)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))

    status, kind, headers = ask(address, "/predict/image", FORM % bytes(3_000_000))

    assert (status, kind) == (503, "storage_full")
    assert headers["Retry-After"]
    assert ask(address, "/predict/image", FORM % paint())[0] == 200, "small photos need no disk"
    assert "Traceback" not in log_of(process)


@pytest.mark.slow
def test_upload_without_temporary_folder_is_503(serve, lake, tmp_path_factory):
    folder = tmp_path_factory.mktemp("temporary")
    process = serve("--lake", lake, "--port", "0", TMPDIR=str(folder))
    address = started(process)
    assert ask(address, "/predict/image", FORM % bytes(3_000_000))[0] == 415
    shutil.rmtree(folder)

    status, kind, _ = ask(address, "/predict/image", FORM % bytes(3_000_000))

    assert (status, kind) == (503, "storage_unavailable")
    assert "Traceback" not in log_of(process)


def readiness(address):
    with urllib.request.urlopen(f"{address}/readyz", timeout=10) as response:
        return json.load(response)


@pytest.mark.slow
def test_pointer_that_hangs_is_reported_and_followed_again(serve, lake):
    process = serve(
        *("--lake", lake, "--port", "0"),
        FB_RELEASE_POLL_SECONDS="0.05",
        FB_REQUEST_TIMEOUT_SECONDS="0.3",
    )
    address = started(process)
    pointer = Path(lake, CURRENT)
    data = pointer.read_bytes()
    pointer.unlink()
    os.mkfifo(pointer)

    until(lambda: readiness(address)["rejected"] is not None)
    rejected = readiness(address)["rejected"]
    time.sleep(0.7)

    assert "did not answer within 0.3 s" in rejected["reason"]
    assert readiness(address)["pointer_age_seconds"] > 0.6
    assert ask(address, "/products/prd-red")[0] == 200
    pointer.unlink()
    pointer.write_bytes(data)
    until(lambda: readiness(address)["rejected"] is None)
    assert readiness(address)["pointer_age_seconds"] < 0.6


@pytest.mark.slow
def test_object_store_that_hangs_stops_neither_answers_nor_the_end(serve, lake, seaweed, paint):
    with fault_proxy.running(seaweed.endpoint) as proxy:
        environment = seaweed.environment | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
        bucket = seaweed.make_bucket("hanging")
        seaweed.upload(Path(lake), bucket)
        process = serve(
            *("--lake", bucket, "--port", "0"),
            FB_RELEASE_POLL_SECONDS="0.1",
            FB_REQUEST_TIMEOUT_SECONDS="1",
            FB_SHUTDOWN_GRACE_SECONDS="1",
            **environment,
        )
        address = started(process)
        assert ask(address, "/images/img-red")[0] == 200
        proxy.faults.begin(1.0, {"hung": 1.0})

        until(lambda: readiness(address)["rejected"] is not None)
        assert proxy.endpoint not in readiness(address)["rejected"]["reason"]
        assert ask(address, "/images/img-red")[:2] == (503, "storage_unavailable")
        assert ask(address, "/predict/image", FORM % paint())[0] == 200
        proxy.faults.begin(0)
        until(lambda: readiness(address)["rejected"] is None)
        assert ask(address, "/images/img-red")[0] == 200
        proxy.faults.begin(1.0, {"hung": 1.0})
        time.sleep(0.5)
        before = time.monotonic()
        log = log_of(process)
        assert time.monotonic() - before < 2
        assert "Traceback" not in log
