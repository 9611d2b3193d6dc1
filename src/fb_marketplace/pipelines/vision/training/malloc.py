"""Reuse of freed memory by glibc's allocator during training.

By default glibc returns freed blocks of a few megabytes to the system at once, so that each tensor of a
batch is faulted in page by page: with batches of 64 photos more than half of the time of frozen blocks.
The environment variables MALLOC_MMAP_MAX_ and MALLOC_TRIM_THRESHOLD_ would do the same, but only for runs
that are started with them, and for all stages: those would keep their freed memory too.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

M_TRIM_THRESHOLD: Final = -1
"""``mallopt``: free bytes at the top of the heap that are not returned to the system."""

M_MMAP_MAX: Final = -4
"""``mallopt``: number of blocks that may be mapped one by one."""

M_MMAP_THRESHOLD: Final = -3
"""``mallopt``: size in bytes from which a block is mapped."""

DEFAULT_MMAP_MAX: Final = 65536
MAX_MMAP_THRESHOLD: Final = 32 * 2**20
"""Upper limit of glibc's dynamic threshold.

glibc raises the threshold itself as blocks are freed, until the first ``mallopt`` of these parameters. So
the threshold is left at the limit.
"""

UNLIMITED: Final = 2**31 - 1


@contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """Keep freed memory in the process until the end of the context; no effect without glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(M_MMAP_MAX, 0)
    library.mallopt(M_TRIM_THRESHOLD, UNLIMITED)
    try:
        yield
    finally:
        library.mallopt(M_MMAP_MAX, DEFAULT_MMAP_MAX)
        library.mallopt(M_MMAP_THRESHOLD, MAX_MMAP_THRESHOLD)
        library.mallopt(M_TRIM_THRESHOLD, 2 * MAX_MMAP_THRESHOLD)
        library.malloc_trim(0)
