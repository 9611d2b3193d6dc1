"""Secrets of the environment are in no file, log or error of a run."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from support import seaweed as seaweedfs
from support.kedro_project import A_RUN, BIN, Place

pytestmark = pytest.mark.slow

API_KEY = "planted-key-of-a-shop"
TOKEN = "planted-token-of-a-session"
EVERYTHING = """
version: 1
disable_existing_loggers: false
handlers: {console: {class: logging.StreamHandler, stream: ext://sys.stderr}}
root: {level: DEBUG, handlers: [console]}
"""


@pytest.fixture
def logging_everything(bucket: Place, seaweed: seaweedfs.Seaweed, tmp_path: Path) -> Place:
    """A new lake in a bucket, with runs at debug level."""
    configuration = tmp_path / "logging.yml"
    configuration.write_text(EVERYTHING)
    return replace(
        bucket,
        lake=f"{seaweed.make_bucket('lake-without-secrets')}/lake",
        store={
            **bucket.store,
            "FB_API_KEYS": f"shop:{API_KEY}",
            "KEDRO_LOGGING_CONFIG": str(configuration),
        },
    )


def test_run_writes_and_prints_no_secrets(logging_everything: Place) -> None:
    place = logging_everything
    well = _run(place)
    refused = _run(
        replace(
            place,
            store={
                **place.store,
                "AWS_SECRET_ACCESS_KEY": "planted-secret-that-is-wrong",
                "AWS_SESSION_TOKEN": TOKEN,
            },
        )
    )

    assert well.returncode == 0, well.stderr[-3000:]
    assert refused.returncode == 1
    # The very lines that would hold them are there.
    assert "CanonicalRequest" in well.stderr
    assert "x-amz-security-token" in refused.stderr.lower()
    message = "".join(item.stdout + item.stderr for item in (well, refused)).encode()
    written = place.files.cat(place.files.find(place.lake))
    assert any("/runs/" in path for path in written)
    assert any("/run_report.json" in path for path in written)
    for secret in (seaweedfs.SECRET_KEY, API_KEY, TOKEN, "planted-secret-that-is-wrong"):
        assert secret.encode() not in message
        assert [path for path, data in written.items() if secret.encode() in data] == []


def _run(place: Place) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / "kedro"), "run", "--env=test", "--pipeline=cleaning"],
        cwd=place.clone,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=A_RUN,
        check=False,
    )
