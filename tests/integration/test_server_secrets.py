"""The server shows no keys."""

import urllib.error
import urllib.request

import pytest

from fb_marketplace_serving.cli.main import main
from fb_marketplace_serving.storage.urls import credentials_error, redact_credentials

KEY, SECRET, TOKEN = "planted-key-of-a-shop", "planted-secret-of-aws", "planted-token-of-aws"


def test_server_at_debug_level_logs_no_secrets(serve, lake):
    process = serve(
        *("--lake", lake, "--port", "0"),
        FB_API_KEYS=f"shop:{KEY}",
        FB_LOG_LEVEL="debug",
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_SESSION_TOKEN=TOKEN,
    )
    ready = process.stdout.readline()
    address = ready.split()[-1]
    for key in (KEY, f"{KEY}-wrong"):
        request = urllib.request.Request(f"{address}/search?q=red", headers={"X-API-Key": key})
        try:
            urllib.request.urlopen(request, timeout=10).read()
        except urllib.error.HTTPError as error:
            ready += error.read().decode()
    process.terminate()
    stdout, stderr = process.communicate(timeout=30)

    assert "request" in stderr or "search" in stderr
    for secret in (KEY, SECRET, TOKEN):
        assert secret not in ready + stdout + stderr


@pytest.mark.parametrize("command", ["run", "releases", "verify"])
def test_lake_url_with_credentials_is_refused_unshown(command, capsys):
    assert main([command, "--lake", "s3://mykey:mysecret@bucket/lake"]) == 2

    output = capsys.readouterr()
    assert "AWS_SECRET_ACCESS_KEY" in output.err
    assert "mysecret" not in output.err + output.out
    assert "mykey" not in output.err + output.out


def test_credentials_error_of_clean_url_is_none():
    for url in ("s3://bucket/a@b", "data", "/tmp/a@b", "file:///tmp"):
        assert credentials_error(url, "FB_LAKE") is None
        assert redact_credentials(url) == url
