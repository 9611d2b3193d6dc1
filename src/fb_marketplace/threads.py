"""How many threads compute at once."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from fb_marketplace.batches import available_cores


def one_thread() -> AbstractContextManager[Any]:
    """Let BLAS and OpenMP work in one thread for a while: small sparse work gains nothing by more.

    Sums are in one order then, and a model is the same on a laptop and on a server.
    """
    from threadpoolctl import threadpool_limits

    found: AbstractContextManager[Any] = threadpool_limits(1)
    return found


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch work in one thread for a while, as above, which misses some of its pools."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def openmp_threads() -> int:
    """Give how many threads OpenMP is to take: as many as ``OMP_NUM_THREADS`` says, else one a core.

    For libraries that have to be told a number, such as LightGBM: threads that share a core with another
    process wait for each other at every step, many times as long as they work.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(told) if told.isdecimal() and int(told) else available_cores()
