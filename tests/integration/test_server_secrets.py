"""Keys that the server is given show nowhere."""

import urllib.error
import urllib.request

import pytest

from fb_marketplace_serving.cli.main import main
from fb_marketplace_serving.storage.urls import refusal_of_credentials, without_credentials

KEY, SECRET, TOKEN = "planted-key-of-a-shop", "planted-secret-of-aws", "planted-token-of-aws"


def test_a_server_never_writes_a_key_however_much_it_logs(serve, lake):
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
        asked = urllib.request.Request(f"{address}/search?q=red", headers={"X-API-Key": key})
        try:
            urllib.request.urlopen(asked, timeout=10).read()
        except urllib.error.HTTPError as error:
            ready += error.read().decode()
    process.terminate()
    said, logged = process.communicate(timeout=30)

    assert "request" in logged or "search" in logged
    for secret in (KEY, SECRET, TOKEN):
        assert secret not in ready + said + logged


@pytest.mark.parametrize("command", ["run", "releases", "verify"])
def test_a_lake_s_url_with_a_key_in_it_is_refused_without_being_shown(command, capsys):
    assert main([command, "--lake", "s3://mykey:mysecret@bucket/lake"]) == 2

    told = capsys.readouterr()
    assert "AWS_SECRET_ACCESS_KEY" in told.err
    assert "mysecret" not in told.err + told.out
    assert "mykey" not in told.err + told.out


def test_a_url_without_a_key_is_taken():
    for url in ("s3://bucket/a@b", "data", "/tmp/a@b", "file:///tmp"):
        assert refusal_of_credentials(url, "FB_LAKE") is None
        assert without_credentials(url) == url
