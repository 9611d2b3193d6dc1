"""The command ``fb-serve``. What it serves with is imported once it knows that it will serve."""

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


class _Refusal(Exception):  # noqa: N818 - what the user is told, in one line
    code = 2


class _NothingFound(_Refusal):
    code = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code: 0; 1, nothing found; 2, a refusal; 130, an interrupt."""
    chosen = _parser().parse_args(arguments)
    command = vars(chosen).pop("command")
    # A server is told to stop so; whatever else is stopped so has not done its work.
    stopped = 0 if command == "run" else 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(stopped))
    try:
        _refuse_key_in_url(chosen.lake or os.environ.get("FB_LAKE", ""))
        if command == "run":
            _run(chosen)
        else:
            _operate(command, chosen)
    except _Refusal as refusal:
        sys.stderr.write(f"fb-serve: {refusal}\n")
        return refusal.code
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fb-serve",
        description="Serve a release of fb-marketplace over HTTP, and look after releases.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    chosen = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    run = chosen.add_parser(
        "run",
        help="serve the release in force in a lake",
        description="Serve the release in force in a lake. What is not said here comes from the "
        "environment: FB_LAKE, FB_HOST, FB_PORT, and more: see the package's README.",
    )
    run.add_argument("--lake", metavar="URL", help="a path or a URL such as s3://… (default: data)")
    run.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    run.add_argument("--port", help="port to listen on; 0 takes any (default: 8000)")
    releases.add_to(chosen)
    return parser


def _refuse_key_in_url(lake: str) -> None:
    refusal = credentials_error(lake, "--lake (or FB_LAKE)")
    if refusal:
        raise _Refusal(refusal)


def _operate(command: str, chosen: argparse.Namespace) -> None:
    from fb_marketplace_serving.release.manifest import ReleaseError
    from fb_marketplace_serving.release.provenance import UnknownProductError

    try:
        releases.execute(command, chosen)
    except UnknownProductError as error:
        raise _NothingFound(str(error)) from error
    except ReleaseError as error:
        raise _Refusal(str(error)) from error
    except BrokenPipeError:
        # Whoever reads the lines, such as head, has gone; Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _run(chosen: argparse.Namespace) -> None:
    settings = _settings({name: value for name, value in vars(chosen).items() if value is not None})
    # The port comes first: to find it taken after a minute's reading of a lake would be a pity.
    with _bound(settings.host, settings.port) as listener:
        _serve(settings, listener)


def _settings(chosen: dict[str, Any]) -> "Settings":
    try:
        from pydantic import ValidationError

        from fb_marketplace_serving.server.settings import Settings
    except ModuleNotFoundError as error:
        raise _Refusal(
            f"found no {error.name}; install the server with "
            "pip install 'fb-marketplace-serving[server]'"
        ) from error
    try:
        return Settings(**chosen)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        # What was meant to be a key may be one.
        found = "" if name == "api_keys" else f" = {first['input']!r}"
        raise _Refusal(
            f"found --{name.replace('_', '-')} (or FB_{name.upper()}){found}; {first['msg']}"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # A port whose last server has just gone is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise _Refusal(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another by --port"
        ) from error
    return listener


def _serve(settings: "Settings", listener: socket.socket) -> None:
    from fb_marketplace_serving.release.loader import Release
    from fb_marketplace_serving.release.manifest import ReleaseError
    from fb_marketplace_serving.release.pointer import current_version
    from fb_marketplace_serving.server.request_logging import log_as_json

    def open_version(version: str) -> Release:
        return Release.open(settings.lake, version, encoder_threads=settings.encoder_threads)

    def current() -> str:
        return current_version(settings.lake)

    log_as_json(settings.log_level)
    with ThreadPoolExecutor(1) as opener:
        opening = opener.submit(lambda: open_version(current()))
        # A second's imports, while the release is read.
        import uvicorn

        from fb_marketplace_serving.server.app import create_app
        from fb_marketplace_serving.server.service import ReleaseSource

        try:
            release = opening.result()
        except ReleaseError as error:
            raise _Refusal(str(error)) from error
    app = create_app(release, settings, ReleaseSource(current, open_version))
    address = f"http://{settings.host}:{listener.getsockname()[1]}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            sys.stdout.write(f"fb-serve: release {release.manifest.version} at {address}\n")
            sys.stdout.flush()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.service.draining = True
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=settings.drain_seconds,
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
