"""Work on a Ray cluster, as a script: prints the results of each case as JSON. Run by ``ray_cluster``."""

import json
import operator
import os
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path

import pyarrow as pa

from fb_marketplace.compute.isolation import Isolation
from fb_marketplace.compute.ray_engine import RayEngine
from fb_marketplace.compute.shards import PerProcess, map_shards, use_engine
from fb_marketplace.errors import UserError
from fb_marketplace.storage import keyed_table, table_writer

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("data", pa.binary())])


def kill_first_worker(folder: str, number: int) -> int:
    """End the process at the first call."""
    try:
        (Path(folder) / "killed").touch(exist_ok=False)
    except FileExistsError:
        return number
    os.kill(os.getpid(), 9)
    return number


def kill_worker(_: int) -> None:
    """End the process."""
    os.kill(os.getpid(), 9)


def crash_at_five(numbers: list[int]) -> list[int]:
    """End the process as a crash of a decoder does."""
    if 5 in numbers:
        os.kill(os.getpid(), signal.SIGSEGV)
    return numbers


def halves(numbers: list[int]) -> tuple[list[int], ...]:
    """Return two parts of the numbers, or none of a single one."""
    middle = len(numbers) // 2
    return (numbers[:middle], numbers[middle:]) if middle else ()


def reject(numbers: list[int]) -> list[int]:
    """Return the rejection of a number."""
    return [-number for number in numbers]


def open_and_return(value: PerProcess[list[int]], number: int) -> tuple[int, int]:
    """Return the process, and the number of calls in it."""
    value.get().append(number)
    return os.getpid(), len(value.get())


def make_rows(number: int) -> pa.Table:
    """Return rows of two megabytes for odd numbers, and of few bytes for even ones."""
    data = bytes(2_000_000) if number % 2 else b"few"
    return pa.table({"key": [str(number)], "data": [data]}, schema=SCHEMA)


def write_rows(folder: str) -> list[object]:
    """Write rows through the sink, and return the keys in the table, and how they came."""
    url = f"{folder}/rows.lance"
    keyed_table.ensure_table(url, SCHEMA)
    results = list(map_shards(make_rows, range(8), table_writer.TableSink(url)))
    written = [rows for rows in results if isinstance(rows, table_writer.WrittenRows)]
    rows = pa.concat_tables(rows for rows in results if isinstance(rows, pa.Table))
    table_writer.TableWriter(url).insert(rows, written)
    keys = keyed_table.open_table(url).read(["key"])["key"].to_pylist()
    return [sorted(keys), len(written)]


def error_of(function: object, shard: object, expected: type[Exception]) -> str:
    """Return the message of a failed task."""
    try:
        list(map_shards(function, [shard]))  # type: ignore[arg-type]
    except expected as error:
        return str(error)
    return "no error"


def main() -> None:
    """Work on all cases."""
    train = {
        "workers": 0,
        "cpus_per_worker": 1,
        "use_gpu": False,
        "python": None,
        "max_failures": 0,
    }
    use_engine(
        RayEngine(shards_per_core=2, memory_per_task=100_000_000, max_retries=2, train=train)
    )
    drawn: list[int] = []

    def source() -> object:
        for number in range(50):
            drawn.append(number)
            yield number

    results = map_shards(partial(operator.mul, 10), source())
    first = next(results)
    ahead = len(drawn)
    with tempfile.TemporaryDirectory() as folder:
        report = {
            "results": sorted([first, *results]),
            "ahead": ahead,
            "killed": sorted(map_shards(partial(kill_first_worker, folder), range(6))),
            "crash": error_of(kill_worker, 0, UserError),
            "isolated": sorted(
                map_shards(
                    *(crash_at_five, [list(range(start, start + 8)) for start in range(0, 24, 8)]),
                    partial(sorted, reverse=True),
                    isolation=Isolation(halves, reject, str),
                )
            ),
            "error": error_of(partial(operator.truediv, 1), 0, ZeroDivisionError),
            "calls": list(map_shards(partial(open_and_return, PerProcess(list)), range(20))),
            "rows": write_rows(folder),
        }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
