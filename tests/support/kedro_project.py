"""A clone with its bucket and lake, and the commands run there."""

import contextlib
import io
import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
A_RUN = 600
"""Seconds that no command takes, however busy the machine."""


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment without settings of lakes, buckets, projects and proxies."""
    about_us = ("AWS_", "FB_", "GIT_", "KEDRO_", "PYTEST_")
    remaining = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(about_us) and not name.lower().endswith("_proxy")
    }
    return remaining | {"DO_NOT_TRACK": "1", "PIP_NO_INDEX": "1"} | variables


def command(*words: str, cwd: Path, environment: Mapping[str, str], seconds: int = A_RUN) -> str:
    """Run a command that must succeed and return its stdout."""
    done = subprocess.run(
        words,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    message = f"{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
    assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}:\n{message}"
    return done.stdout


@dataclass(frozen=True)
class Place:
    """A bucket and a lake, and the clone from which they are worked on.

    Attributes:
        clone: where commands are run.
        raw: root of the bucket; relative to the clone unless a URL.
        lake: root of the lake; relative to the clone unless a URL.
        store: environment variables that give access.
        configuration: the environment of Kedro's that runs are made in.
        seconds: that no command takes, however busy the machine.
    """

    clone: Path
    raw: str
    lake: str
    store: Mapping[str, str] = field(default_factory=dict)
    configuration: str = "test"
    seconds: int = A_RUN

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(FB_RAW=self.raw, FB_LAKE=self.lake, **self.store)

    def kedro(self, *arguments: str) -> str:
        kedro = str(BIN / "kedro")
        return command(
            kedro, *arguments, cwd=self.clone, environment=self.environment, seconds=self.seconds
        )

    def run(self, *arguments: str, recompute: bool = True) -> str:
        """Run pipelines, all nodes unless ``recompute`` is false; gives the version of the run."""
        before = set(self.records())
        options = ["--recompute"] if recompute else []
        self.kedro("run", f"--env={self.configuration}", *options, *arguments)
        (version,) = set(self.records()) - before
        return version

    def records(self) -> dict[str, dict[str, Any]]:
        """The records of all runs that ended well, by version."""
        return {
            path.rpartition("/")[2].removesuffix(".json"): json.loads(self.files.cat_file(path))
            for path in self.files.glob(self.lake_path("runs/*.json"))
        }

    def json(self, name: str, version: str) -> Any:
        return json.loads(self.read(name, version))

    def table(self, name: str, version: str) -> pd.DataFrame:
        return pd.read_parquet(io.BytesIO(self.read(name, version)))

    def read(self, name: str, version: str) -> bytes:
        (path,) = self.files.glob(self.lake_path(f"*/{name}.*/{version}/{name}.*"))
        data: bytes = self.files.cat_file(path)
        return data

    @property
    def files(self) -> fsspec.AbstractFileSystem:
        if "://" not in self.lake:
            return fsspec.filesystem("file")
        return fsspec.filesystem(
            "s3",
            key=self.store["AWS_ACCESS_KEY_ID"],
            secret=self.store["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=self.store["AWS_ENDPOINT_URL_S3"],
            use_listings_cache=False,
            config_kwargs={"proxies": {}},
        )

    def lake_path(self, path: str) -> str:
        """Return a path in the lake."""
        return f"{self.lake}/{path}" if "://" in self.lake else str(self.clone / self.lake / path)

    def photo_table(self) -> Any:
        """The Lance table of canonical photos, as it is now."""
        import lance

        options = {
            "aws_endpoint": self.store.get("AWS_ENDPOINT_URL_S3"),
            "aws_access_key_id": self.store.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": self.store.get("AWS_SECRET_ACCESS_KEY"),
            "aws_region": self.store.get("AWS_DEFAULT_REGION"),
            "allow_http": "true",
        }
        return lance.dataset(
            self.lake_path("03_primary/images.lance"),
            storage_options=options if "://" in self.lake else None,
        )


@dataclass(frozen=True)
class Run:
    """A run that ended well."""

    place: Place
    version: str

    def json(self, name: str) -> Any:
        return self.place.json(name, self.version)

    def table(self, name: str) -> pd.DataFrame:
        return self.place.table(name, self.version)

    @property
    def record(self) -> dict[str, Any]:
        return self.place.records()[self.version]

    @property
    def truth(self) -> dict[str, Any]:
        """Ground truth of the bucket."""
        planted: dict[str, Any] = json.loads(
            (self.place.clone / self.place.raw / "ground_truth.json").read_bytes()
        )
        return planted


@contextlib.contextmanager
def serving(place: Place) -> Iterator[str]:
    """Serve the lake of a place while the block lasts; gives the server's address."""
    process = subprocess.Popen(
        [str(BIN / "fb-serve"), "run", "--lake", place.lake, "--port", "0"],
        cwd=place.clone,
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(60), "fb-serve said nothing for a minute"
        line = process.stdout.readline()
        assert "http://" in line, f"fb-serve did not start: {process.communicate()}"
        yield line.split()[-1]
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
