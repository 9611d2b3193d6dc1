"""Memory that training frees, kept for the next tensor.

glibc hands blocks of a few megabytes back to the system as soon as they are freed, and asks for them
anew: each tensor of a batch is faulted in page by page. With batches of 64 photos that was more than
half of the time that the frozen blocks took.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

TRIM_THRESHOLD: Final = -1
"""``mallopt``'s number for: how much may be free at the top of the heap before it is given back."""

MAPPED_BLOCKS: Final = -4
"""``mallopt``'s number for: how many blocks may be mapped from the system one by one."""

MAPPED_FROM: Final = -3
"""``mallopt``'s number for: from which size on a block is mapped by itself."""

GLIBC_MAPPED: Final = 65536
GLIBC_MOST: Final = 32 * 2**20
"""What glibc begins with, and the size up to which it raises ``MAPPED_FROM`` by itself as blocks are freed.

It stops doing so for good at the first ``mallopt`` of these: so it is left where it would have ended.
"""

NEVER: Final = 2**31 - 1


@contextmanager
def reuse_freed_memory() -> Iterator[None]:
    """Keep what is freed inside, in this process; large blocks are given back at the end.

    Without glibc nothing changes.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(MAPPED_BLOCKS, 0)
    library.mallopt(TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        library.mallopt(MAPPED_BLOCKS, GLIBC_MAPPED)
        library.mallopt(MAPPED_FROM, GLIBC_MOST)
        library.mallopt(TRIM_THRESHOLD, 2 * GLIBC_MOST)
        library.malloc_trim(0)
