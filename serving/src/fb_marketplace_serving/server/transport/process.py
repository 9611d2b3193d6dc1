"""The server process: it starts, checks its connections once a second, and stops in time."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.service import Service
from fb_marketplace_serving.server.settings import Settings
from fb_marketplace_serving.server.transport.connections import (
    ConnectionLimits,
    Connections,
    Reason,
    fit_open_files,
)
from fb_marketplace_serving.server.transport.protocol import LimitedHttpProtocol

_SWEEPS_PER_SECOND: Final = 50
"""Checks of a part of the connections. In a second, all are checked."""

_STOP_SECONDS: Final = 0.6
"""Seconds after the grace period in which the process may stop its threads and write queued events."""


class Server(uvicorn.Server):
    """A uvicorn server with limits on its connections."""

    def __init__(self, app: FastAPI, settings: Settings, announce: Callable[[], None]) -> None:
        """Configure the server.

        Args:
            app: the application.
            settings: server settings.
            announce: called when the server accepts connections.
        """
        service: Service = app.state.service
        self._service = service
        self._announce = announce
        self._deadline = _Deadline(settings.shutdown_grace_seconds + _STOP_SECONDS)
        limits = connection_limits(settings)
        super().__init__(
            uvicorn.Config(
                app,
                http=LimitedHttpProtocol,
                ws="none",
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=limits.backlog,
                timeout_graceful_shutdown=settings.shutdown_grace_seconds,
            )
        )

        def count(reason: Reason) -> None:
            service.metrics.connections_closed.labels(reason).inc()

        self.server_state: Connections = Connections(limits, count)
        service.metrics.count_connections(lambda: len(self.server_state.connections))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self._sweep()
        self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; end the process if that takes too long."""
        self._deadline.start()
        super().handle_exit(sig, frame)

    def _sweep(self) -> None:
        asyncio.get_running_loop().call_later(1 / _SWEEPS_PER_SECOND, self._sweep)
        self.server_state.sweep(_SWEEPS_PER_SECOND)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Complete the requests in flight."""
        self._service.draining = True
        await super().shutdown(sockets)


class _Deadline:
    """Ends the process some time after a signal, even if the event loop or a thread is stuck."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._reader, self._writer = os.pipe()
        # Started now: to start a thread in a signal handler may deadlock.
        threading.Thread(target=self._wait, name="deadline", daemon=True).start()

    def start(self) -> None:
        """Start the time. Safe in a signal handler."""
        os.write(self._writer, b"x")
        # Without Python: the deadline holds even if a thread never releases the interpreter's lock.
        signal.setitimer(signal.ITIMER_REAL, self._seconds + 0.3)

    def _wait(self) -> None:
        os.read(self._reader, 1)
        time.sleep(self._seconds)
        os._exit(0)


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return the limits of the settings, within this process's limit on open files."""
    max_connections, backlog = fit_open_files(settings.max_connections)
    if max_connections < settings.max_connections:
        LOG.warning(
            "fewer connections than FB_MAX_CONNECTIONS: the limit on open files is too low",
            extra=log_fields(max_connections=max_connections, expected=settings.max_connections),
        )
    return ConnectionLimits(
        max_connections=max_connections,
        backlog=backlog,
        max_header_bytes=settings.max_header_bytes,
        header_timeout=settings.header_timeout_seconds,
        keep_alive=settings.keep_alive_seconds,
        min_upload_rate=settings.min_upload_rate,
        body_timeout=settings.request_timeout_seconds,
    )
