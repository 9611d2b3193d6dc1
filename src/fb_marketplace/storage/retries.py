"""Retries of operations on Lance tables after failures of the store.

Lance retries a request if that is safe (see ``lance_options.LANCE_DEFAULTS``). The PUT that creates a table
version is not safe to repeat: if its response is lost, Lance cannot know whether the version exists, and
gives up. A retry opens the table again, reads its state and does the remaining work. Operations on keyed
tables are idempotent, because rows have keys.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from fb_marketplace_serving.storage.retries import Retries, RetryPolicy

LANCE_POLICY: Final = RetryPolicy(max_attempts=5, min_attempts=2, first_wait_s=0.2)
"""Two attempts if the store hangs, up to five if it fails quickly.

An attempt on a store that hangs takes 33 s, which exceeds the deadline. Its error is the same as that of a
long operation that failed near its end, so one retry is always made.
"""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def retry_on_store_error(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorate an idempotent operation on a table, so that it is retried if the store fails.

    Raises:
        ConnectionError: the store failed in every attempt.
    """

    @wraps(work)
    def with_retries(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        retries = Retries(LANCE_POLICY)
        while True:
            try:
                return work(*args, **kwargs)
            except (OSError, RuntimeError, ValueError) as error:
                if not _is_store_error(error):
                    raise
                wait = retries.next_wait()
                if wait is None:
                    raise retries.give_up(_reason(error)) from None
            time.sleep(wait)

    return with_retries


def _is_store_error(error: Exception) -> bool:
    """Check whether the store failed, rather than the table being absent or invalid.

    pylance raises the same exceptions for both; only the text of the Rust error differs.
    """
    message = str(error)
    return "LanceError(IO)" in message and "not found" not in message.lower()


def _reason(error: Exception) -> str:
    message = " ".join(str(error).split())
    # The store's XML is longer than a line, and the location in Lance's source does not help.
    return message.partition(" <?xml")[0].partition(", /")[0].removeprefix("LanceError(IO): ")
