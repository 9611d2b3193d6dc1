"""Rows of a table whose keys are letters, and threads that use it concurrently."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from fb_marketplace.storage import keyed_table

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("vector", pa.list_(pa.float32())),
    ]
)


def rows(*keys):
    return pa.Table.from_pylist(
        [{"key": key, "name": f"{key}!", "vector": [float(ord(key)), 0.5]} for key in keys],
        schema=SCHEMA,
    )


def names(url, version=None):
    return keyed_table.open_table(url, version).read(["name"]).column("name").to_pylist()


def at_once(*works):
    """Call the functions concurrently, each in a thread that starts with the others."""
    ready = threading.Barrier(len(works))

    def do(work):
        ready.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(do, works))
