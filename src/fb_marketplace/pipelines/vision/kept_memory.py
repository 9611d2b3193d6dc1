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

GLIBC_TRIM: Final = 128 * 1024
GLIBC_MAPPED: Final = 65536
"""What glibc begins with."""

NEVER: Final = 2**31 - 1


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keep what is freed inside, in this process; given back at the end. Without glibc: no change."""
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
        library.mallopt(TRIM_THRESHOLD, GLIBC_TRIM)
        library.malloc_trim(0)
