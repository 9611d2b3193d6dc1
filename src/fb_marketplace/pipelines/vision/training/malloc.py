"""Reuse of freed memory by glibc's allocator during training.

By default glibc returns freed blocks of a few megabytes to the system at once, so each tensor of a batch is
faulted in page by page. With batches of 64 photos, this takes more than half of the time of frozen blocks.
The environment variables MALLOC_MMAP_MAX_ and MALLOC_TRIM_THRESHOLD_ would do the same, but only if they
are set before the start, and for all stages, which would then keep their freed memory too.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

M_TRIM_THRESHOLD: Final = -1
"""``mallopt`` parameter: free bytes at the top of the heap that are not returned to the system."""

M_MMAP_MAX: Final = -4
"""``mallopt`` parameter: maximum number of blocks that are allocated by ``mmap``."""

M_MMAP_THRESHOLD: Final = -3
"""``mallopt`` parameter: minimum size in bytes of a block that is allocated by ``mmap``."""

DEFAULT_MMAP_MAX: Final = 65536
MAX_MMAP_THRESHOLD: Final = 32 * 2**20
"""Upper limit of glibc's dynamic threshold.

glibc raises the threshold as blocks are freed, until ``mallopt`` sets one of these parameters. So the
context leaves the threshold at the limit.
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
