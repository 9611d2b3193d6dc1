"""The command ``fb-serve``. Imports the server only to serve, so that ``--help`` is fast."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fb_marketplace_serving import __version__
from fb_marketplace_serving.cli import releases
from fb_marketplace_serving.storage.urls import credentials_error

if TYPE_CHECKING:
    from fb_marketplace_serving.server.settings import Settings


class _CommandError(Exception):
    exit_code = 2


class _UnknownProductError(_CommandError):
    exit_code = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit code: 0 for success, 1 for an unknown product, 2 for an error, 130 for an interrupt.
    """
    options = _parser().parse_args(arguments)
    serves = options.function is _run

    def stop(*_: object) -> None:
        if serves:
            _exit_now(0)  # SIGTERM is the normal way to stop a server.
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    try:
        _check_url(options.lake or os.environ.get("FB_LAKE", ""))
        if serves:
            _run(options)
        else:
            _manage(options)
    except _CommandError as error:
        sys.stderr.write(f"fb-serve: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fb-serve",
        description="Serve a release of fb-marketplace over HTTP, and manage releases.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="serve the current release of a lake",
        description="Serve the current release of a lake. Other settings are environment "
        "variables: FB_LAKE, FB_HOST, FB_PORT and more, listed in the package's README.",
    )
    run.add_argument("--lake", metavar="URL", help="path or URL such as s3://… (default: data)")
    run.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    run.add_argument("--port", help="port to listen on; 0 chooses a free port (default: 8000)")
    run.set_defaults(function=_run)
    releases.add_commands(commands)
    return parser


def _check_url(lake: str) -> None:
    message = credentials_error(lake, "--lake (or FB_LAKE)")
    if message:
        raise _CommandError(message)


def _manage(options: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.manifest import ReleaseError
    from fb_marketplace_serving.release.provenance import UnknownProductError

    try:
        options.function(options)
    except UnknownProductError as error:
        raise _UnknownProductError(str(error)) from error
    except ReleaseError as error:
        raise _CommandError(str(error)) from error
    except BrokenPipeError:
        # The reader, such as head, has exited. Redirect: Python flushes standard output again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _run(options: argparse.Namespace) -> None:
    flags = {name: getattr(options, name) for name in ("lake", "host", "port")}
    settings = _settings({name: value for name, value in flags.items() if value is not None})
    # Bind first: loading a release takes up to a minute, and a port in use should fail before that.
    with _bind(settings.host, settings.port) as listener:
        _serve(settings, listener)


def _settings(options: dict[str, Any]) -> "Settings":
    try:
        from pydantic import ValidationError

        from fb_marketplace_serving.server.settings import Settings
    except ModuleNotFoundError as error:
        raise _CommandError(
            f"Package {error.name} is not installed. Install the server with "
            "pip install 'fb-marketplace-serving[server]'."
        ) from error
    try:
        return Settings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise _CommandError(message) from error
        name = str(first["loc"][0])
        # A malformed list of keys may contain a key.
        value = "" if name.endswith(("key", "keys")) else f" {first['input']!r}"
        raise _CommandError(
            f"Invalid --{name.replace('_', '-')} (or FB_{name.upper()}){value}: {message}"
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # Allows a restart while connections of the previous server are closing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise _CommandError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --port."
        ) from error
    return listener


def _exit_now(code: int) -> None:
    """End the process without waiting for threads. A thread may wait for the lake for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve(settings: "Settings", listener: socket.socket) -> None:
    from fb_marketplace_serving.ann.vector_table import limit_search_memory
    from fb_marketplace_serving.release.loader import Release
    from fb_marketplace_serving.release.manifest import ReleaseError, open_lake
    from fb_marketplace_serving.release.pointer import Pointer, load_pointer
    from fb_marketplace_serving.server.inference.threads import (
        collect_garbage,
        return_freed_columns,
        return_freed_memory,
    )
    from fb_marketplace_serving.server.request_logging import (
        LOG,
        configure_json_logging,
        log_fields,
    )

    def open_release(pointer: Pointer) -> Release:
        return Release.open(
            settings.lake,
            pointer.version,
            manifest_sha256=pointer.manifest_sha256,
            encoder_threads=settings.encoder_threads,
            cache=settings.cache_dir,
            vector_cache_bytes=settings.vector_cache_bytes,
            vector_disk_bytes=settings.vector_disk_bytes,
        )

    def current() -> Pointer:
        return load_pointer(open_lake(settings.lake))

    def open_current() -> tuple[Pointer, Release]:
        pointer = current()
        return pointer, open_release(pointer)

    signal.signal(signal.SIGINT, lambda *_: _exit_now(128 + signal.SIGINT))
    configure_json_logging(settings.log_level)
    limit_search_memory()
    return_freed_memory()
    return_freed_columns()
    with ThreadPoolExecutor(1) as executor:
        opening = executor.submit(open_current)
        # These imports take a second: run them while the release is opened.
        from fb_marketplace_serving.server.app import create_app
        from fb_marketplace_serving.server.service import ReleaseSource
        from fb_marketplace_serving.server.transport.process import Server

        try:
            pointer, release = opening.result()
        except ReleaseError as error:
            raise _CommandError(str(error)) from error
    if pointer.manifest_sha256 is None:
        LOG.warning(
            "pointer without the checksum of the manifest: run `fb-serve rollback` with its version",
            extra=log_fields(version=pointer.version),
        )
    version = release.manifest.version
    app = create_app(release, settings, ReleaseSource(current, open_release, pointer))
    collect_garbage()
    del opening, release  # This frame lives as long as the server, but its first release must not.
    address = f"http://{settings.host}:{listener.getsockname()[1]}"

    def announce() -> None:
        sys.stdout.write(f"fb-serve: release {version} at {address}\n")
        sys.stdout.flush()

    Server(app, settings, announce).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
