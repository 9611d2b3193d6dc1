"""A process that decodes photos.

Pillow copies the pixels of a large WebP or AVIF photo while it holds the interpreter's lock, for 40 ms at
16 megapixels. In a process of its own, this delays no request.

A photo, a canonical photo and an error are sent as their size and their bytes.
"""

import json
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from struct import Struct
from threading import Lock, Timer
from time import monotonic
from typing import IO, Final, cast

from fb_marketplace_serving.imaging.canonical import Limits, PhotoError, canonicalize
from fb_marketplace_serving.server.inference.threads import return_freed_memory
from fb_marketplace_serving.server.request_logging import LOG, log_fields

_SIZE: Final = Struct("<Q")
_ATTEMPTS: Final = 2

_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")


class DecoderError(Exception):
    """The decoding process cannot be started, ended, or took too long."""


class DecodingProcess:
    """Converts photos, one at a time. Thread-safe.

    The process starts with the first photo, with the priority of the thread that sends it. If memory is
    short, Linux ends this process first, not the server. It is then restarted.
    """

    def __init__(self, limits: Limits, timeout: float) -> None:
        """Start nothing yet.

        Args:
            limits: limits on photos.
            timeout: seconds that a photo may take; then the process is ended.
        """
        self._limits = limits
        self._timeout = timeout
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def canonicalize(self, data: bytes) -> bytes:
        """Return the canonical photo of an upload.

        Raises:
            PhotoError: the photo is rejected.
            DecoderError: the process cannot be started, ended twice, or took too long; or this is closed.
            RuntimeError: the process raised an unexpected error, which is the message.
        """
        with self._lock:
            jpeg, error = self._convert(data)
        if error:
            reason, detail = json.loads(error)
            raise PhotoError(reason, detail) if reason else RuntimeError(detail)
        return jpeg

    def close(self) -> None:
        """End the process, even while it decodes a photo."""
        self._is_closed = True
        if process := self._process:
            process.kill()
        with self._lock:
            self._stop()

    def _convert(self, data: bytes) -> tuple[bytes, bytes]:
        """Return a canonical photo and an error. After any exception, the process is ended."""
        for _ in range(_ATTEMPTS):
            started = monotonic()
            try:
                return self._send(data)
            except (BrokenPipeError, EOFError):
                code = self._stop()
            except BaseException:
                self._stop()
                raise
            if self._is_closed:
                raise DecoderError("The server is shutting down.")
            seconds = monotonic() - started
            fields = log_fields(return_code=code, seconds=round(seconds, 1))
            LOG.error("photo decoder ended", extra=fields)
            if seconds >= self._timeout:
                raise DecoderError(f"The photo was not decoded within {self._timeout:g} s.")
        raise DecoderError("The photo decoder ended.")

    def _send(self, data: bytes) -> tuple[bytes, bytes]:
        process = self._process = self._process or self._start()
        if self._is_closed:
            raise EOFError
        timer = Timer(self._timeout, process.kill)
        timer.start()
        try:
            _write(cast("IO[bytes]", process.stdin), data)
            receiving = cast("IO[bytes]", process.stdout)
            return _read(receiving), _read(receiving)
        finally:
            timer.cancel()

    def _start(self) -> "subprocess.Popen[bytes]":
        # -P: do not import modules from the working directory.
        command = [sys.executable, "-P", "-m", __name__, json.dumps(astuple(self._limits))]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Every line of the server's log is JSON.
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            LOG.error("photo decoder cannot be started", extra=log_fields(reason=str(error)))
            raise DecoderError("The photo decoder cannot be started.") from error

    def _stop(self) -> int | None:
        """End the process, if there is one. Return its return code."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.kill()
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(BrokenPipeError):
                cast("IO[bytes]", pipe).close()
        return code


def main() -> None:
    """Convert photos from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which ends this process.
    with suppress(OSError):  # only on Linux
        _OOM_SCORE.write_text("1000")
    return_freed_memory()
    limits = Limits(*json.loads(sys.argv[1]))
    receiving, sending = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        while True:
            data, jpeg, error = _read(receiving), b"", b""
            try:
                jpeg = canonicalize(data, limits)
            except PhotoError as cause:
                error = json.dumps([cause.reason, cause.detail]).encode()
            except Exception as cause:  # noqa: BLE001 - the server reports it
                error = json.dumps([None, f"{type(cause).__name__}: {cause}"]).encode()
            del data
            _write(sending, jpeg)
            _write(sending, error)


def _write(stream: IO[bytes], content: bytes) -> None:
    stream.write(_SIZE.pack(len(content)))
    stream.write(content)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    """Read bytes.

    Raises:
        EOFError: the other process has ended.
    """
    header = stream.read(_SIZE.size)
    if len(header) == _SIZE.size:
        (size,) = _SIZE.unpack(header)
        content = stream.read(size)
        if len(content) == size:
            return content
    raise EOFError


if __name__ == "__main__":
    main()
