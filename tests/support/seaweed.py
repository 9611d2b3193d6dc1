"""A real S3 server for tests: SeaweedFS, on this machine only and in folders of its own."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
ACCESS_KEY = "tests"
SECRET_KEY = "only-for-tests"
READER_KEY = "reader"
READER_SECRET_KEY = "only-reads"
REGION = "us-east-1"

RAW_BUCKET, LAKE_BUCKET = "policy-raw", "policy-lake"
PIPELINES, SERVER = "pipelines", "server"
"""Who may what is in docs/operations.md; of both the key is also the secret, in these two buckets alone."""

_STARTED_WITHIN = 30
_STARTS = 3
_PORTS = ("master", "volume", "filer", "s3")
"""Each has a port for HTTP and one for gRPC."""


@dataclass(frozen=True)
class Seaweed:
    """A server that runs.

    Attributes:
        endpoint: its URL.
        pid: its process.
    """

    endpoint: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """Environment of AWS clients of this server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def reader(self) -> dict[str, str]:
        """Environment of a client that may read objects, but not write or list."""
        return self.environment | {
            "AWS_ACCESS_KEY_ID": READER_KEY,
            "AWS_SECRET_ACCESS_KEY": READER_SECRET_KEY,
        }

    def identity(self, name: str) -> dict[str, str]:
        """Environment of the pipelines or the server, with their policies."""
        return self.environment | {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": name}

    def make_bucket(self, name: str) -> str:
        """Make a bucket; gives its URL."""
        _client(self.endpoint).create_bucket(Bucket=name)
        return f"s3://{name}"

    def put(self, url: str, data: bytes) -> None:
        """Write an object under exactly the key of its URL."""
        bucket, _, key = url.removeprefix("s3://").partition("/")
        _client(self.endpoint).put_object(Bucket=bucket, Key=key, Body=data)

    def upload(self, folder: Path, url: str) -> None:
        """Copy the files of a folder below a URL."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


@contextlib.contextmanager
def running(data: Path | None = None) -> Iterator[Seaweed]:
    """Start a server, wait until it answers, and stop it however the block ends.

    Args:
        data: folder that keeps the objects; None for a temporary one.

    Raises:
        RuntimeError: it did not start; the message ends with what it logged.
    """
    with mortal(data) as server:
        yield server.seaweed


class Mortal:
    """A server that can be killed and restarted with its address and data."""

    def __init__(
        self, folder: Path, command: list[str], process: "subprocess.Popen[bytes]"
    ) -> None:
        self._folder, self._command, self._process = folder, command, process
        s3 = next(word for word in command if word.startswith("-s3.port="))
        self.seaweed = Seaweed(f"http://{HOST}:{s3.partition('=')[2]}", process.pid)

    def kill(self) -> None:
        """Kill the server with SIGKILL; a clean stop takes ten seconds."""
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start it again, and wait until it answers.

        Raises:
            RuntimeError: it did not start.
        """
        self._process = _spawn(self._folder, self._command)
        if not _answers(self._process, self.seaweed.endpoint):
            log = (self._folder / "log").read_text(errors="replace")
            raise RuntimeError(f"SeaweedFS did not start again:\n{log[-3000:]}")


@contextlib.contextmanager
def mortal(data: Path | None = None) -> Iterator[Mortal]:
    """Start a server as :func:`running` does."""
    # A short path: the server's Unix sockets lie below it, and those may have some 100 letters.
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    server = None
    try:
        for start in range(1, _STARTS + 1):
            # Between the choice of the ports and the start another program may take one.
            server = _start(folder / str(start), data or folder / str(start) / "data")
            if _answers(server._process, server.seaweed.endpoint):
                break
            server.kill()
        else:
            log = (folder / str(start) / "log").read_text(errors="replace")
            raise RuntimeError(f"SeaweedFS did not start in {_STARTS} tries:\n{log[-3000:]}")
        yield server
    finally:
        if server is not None:
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, data: Path) -> Mortal:
    folder.mkdir()
    data.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    config.write_text(json.dumps(_identities()))
    ports = iter(_free_ports(2 * len(_PORTS) + 2))
    chosen = {name: (next(ports), next(ports)) for name in _PORTS}
    command = [
        str(Path(sys.executable).with_name("weed")),
        f"-logdir={folder}",
        "-logtostderr=true",
        "mini",
        f"-dir={data.absolute()}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        "-master.telemetry=false",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder}/s3.sock",
        f"-filer.localSocket={folder}/filer.sock",
        f"-webdav.cacheDir={folder}",
        "-webdav=false",
        "-admin.ui=false",
        # Each bucket takes a volume of its own; the default admits one per GB of free disk.
        "-volume.max=10000",
        f"-admin.port={next(ports)}",
        f"-admin.port.grpc={next(ports)}",
    ]
    for name, (http, grpc) in chosen.items():
        command += [f"-{name}.port={http}", f"-{name}.port.grpc={grpc}"]
    return Mortal(folder, command, _spawn(folder, command))


def _spawn(folder: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    with (folder / "log").open("ab") as log:
        # A session of its own: an interrupt at the terminal is for the tests, which then stop it.
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_without_aws() | {"HOME": str(folder)},
            start_new_session=True,
        )


def _identities() -> dict[str, Any]:
    # Without identities the server would take any secret.
    may = {
        (ACCESS_KEY, SECRET_KEY): ["Admin", "Read", "Write", "List", "Tagging"],
        (READER_KEY, READER_SECRET_KEY): ["Read", "List"],
        (PIPELINES, PIPELINES): [
            *(f"{may}:{RAW_BUCKET}" for may in ("Read", "List")),
            *(f"{may}:{LAKE_BUCKET}" for may in ("Read", "Write", "List")),
        ],
        (SERVER, SERVER): [f"{may}:{LAKE_BUCKET}" for may in ("Read", "List")],
    }
    return {
        "identities": [
            {
                "name": key,
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": actions,
            }
            for (key, secret), actions in may.items()
        ]
    }


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _answers(process: subprocess.Popen[bytes], endpoint: str) -> bool:
    """Wait until an object can be written, which is later than the port's being open."""
    from botocore.exceptions import BotoCoreError, ClientError

    deadline = time.monotonic() + _STARTED_WITHIN
    client = _client(endpoint)
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if "ready" not in {item["Name"] for item in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


@cache  # a client takes a quarter of a second to create
def _client(endpoint: str) -> Any:
    import botocore.session
    from botocore.config import Config

    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=Config(
            connect_timeout=2,
            read_timeout=20,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )


def _without_aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
