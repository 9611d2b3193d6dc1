"""Sums in one order, however many cores there are: a model is the same on a laptop and on a server."""

from contextlib import AbstractContextManager
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Let BLAS and OpenMP work in one thread for a while: small sparse work gains nothing by more."""
    from threadpoolctl import threadpool_limits

    found: AbstractContextManager[Any] = threadpool_limits(1)
    return found
