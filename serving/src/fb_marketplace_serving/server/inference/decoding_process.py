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
from struct import Struct
from threading import Lock
from typing import IO, Final, cast

from fb_marketplace_serving.imaging.canonical import Limits, PhotoError, canonicalize
from fb_marketplace_serving.server.inference.threads import return_freed_memory

_SIZE: Final = Struct("<Q")
_ATTEMPTS: Final = 2


class DecodingProcess:
    """Converts photos, one at a time. Thread-safe.

    The process starts with the first photo, with the priority of the thread that sends it. It is restarted
    if it has ended, for example because memory was short.
    """

    def __init__(self, limits: Limits) -> None:
        """Start nothing yet.

        Args:
            limits: limits on photos.
        """
        self._limits = limits
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def canonicalize(self, data: bytes) -> bytes:
        """Return the canonical photo of an upload.

        Raises:
            PhotoError: the photo is rejected, or the process ended twice while it decoded the photo.
            OSError: the process cannot be started.
        """
        with self._lock:
            for _ in range(_ATTEMPTS):
                with suppress(BrokenPipeError, EOFError):
                    return self._send(data)
                self._stop()
        raise PhotoError("undecodable", "its decoder ended")

    def close(self) -> None:
        """End the process, even while it decodes a photo."""
        self._is_closed = True
        if self._process:
            self._process.kill()

    def _send(self, data: bytes) -> bytes:
        if self._is_closed:
            raise EOFError
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps(astuple(self._limits))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # Every line of the server's log is JSON.
                stderr=subprocess.DEVNULL,
            )
        receiving = cast("IO[bytes]", self._process.stdout)
        _write(cast("IO[bytes]", self._process.stdin), data)
        jpeg, error = _read(receiving), _read(receiving)
        if error:
            raise PhotoError(*json.loads(error))
        return jpeg

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            with suppress(BrokenPipeError):
                self._process.communicate()
        self._process = None


def main() -> None:
    """Convert photos from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which ends this process.
    return_freed_memory()
    limits = Limits(*json.loads(sys.argv[1]))
    receiving, sending = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        while True:
            jpeg, error = b"", b""
            try:
                jpeg = canonicalize(_read(receiving), limits)
            except PhotoError as cause:
                error = json.dumps([cause.reason, cause.detail]).encode()
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
