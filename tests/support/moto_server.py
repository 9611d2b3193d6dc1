"""An S3 server for tests that keeps every key as written; SeaweedFS turns some keys into folders.

It accepts any secret and loses everything when it stops, so it only serves tests of keys.
"""

import contextlib
import os
from collections.abc import Iterator

from moto.server import ThreadedMotoServer
from support.seaweed import HOST, Seaweed


@contextlib.contextmanager
def running() -> Iterator[Seaweed]:
    """Start a server in this process, and stop it when the block ends."""
    server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield Seaweed(f"http://{HOST}:{port}", os.getpid())
    finally:
        server.stop()
