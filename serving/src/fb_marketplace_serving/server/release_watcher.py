"""Watches the release pointer of a lake and opens each new release in the background."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.pointer import Pointer
from fb_marketplace_serving.server.inference.threads import RELEASE_NICENESS, make_thread_pool

Opened = TypeVar("Opened")
Result = TypeVar("Result")

_RETRY_SECONDS: Final = 60.0
"""Seconds until a rejected release is tried again. The error may have been transient."""

_OPEN_SECONDS: Final = 1800.0
"""Maximum time to open a release. A large one takes minutes to read from a slow lake."""

_MAX_STUCK: Final = 4
"""Threads that may wait for a lake that never answers, while new threads try again."""


@dataclass(frozen=True, slots=True)
class ReleaseRejection:
    """The lake's current release, which the server does not serve.

    Attributes:
        version: of the release; None if the pointer could not be read.
        reason: the error, in one line.
    """

    version: str | None
    reason: str


class ReleaseWatcher(Generic[Opened]):
    """Polls the lake for its current release and opens it if it is not the one served.

    Attributes:
        rejection: why the lake's current release is not served; None if it is.
    """

    def __init__(
        self,
        read_current: Callable[[], Pointer],
        open_release: Callable[[Pointer], Opened],
        poll_seconds: float,
        timeout: float,
        served: Pointer | None = None,
    ) -> None:
        """Create a watcher.

        Args:
            read_current: reads the pointer to the lake's current release.
            open_release: opens and verifies a release.
            poll_seconds: seconds between two polls.
            timeout: maximum seconds to read the pointer.
            served: the pointer to the release that is served at first; None if only its version is known.
        """
        self._read_current = read_current
        self._open = open_release
        self._poll_seconds = poll_seconds
        self._timeout = timeout
        self._served = served
        self._pool = make_thread_pool(1, "open", RELEASE_NICENESS)
        self._stuck: set[asyncio.Future[Any]] = set()
        self._is_opening = False
        self._rejected_at = 0.0
        self._read_at = monotonic()
        self._rejected: Pointer | None = None
        self.rejection: ReleaseRejection | None = None

    @property
    def pointer_age(self) -> float:
        """Seconds since the pointer was last read, or since the start."""
        return monotonic() - self._read_at

    @property
    def is_opening(self) -> bool:
        """Whether a release is being opened."""
        return self._is_opening

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def watch(
        self,
        served_version: Callable[[], str],
        swap: Callable[[Opened], None],
        reject: Callable[[ReleaseRejection], None],
        trim: Callable[[], None] = lambda: None,
    ) -> None:
        """Poll until cancelled.

        Args:
            served_version: returns the version that is served.
            swap: called with each opened release.
            reject: called once for each rejected release.
            trim: called on a thread some time after a release was opened or rejected, to free memory.
        """
        is_trimmed = True
        while True:
            await asyncio.sleep(self._poll_seconds)
            if not is_trimmed:
                is_trimmed = True
                await asyncio.get_running_loop().run_in_executor(self._pool, trim)
            rejected_at = self._rejected_at
            opened = await self._poll(served_version(), reject)
            if opened is not None:
                swap(opened)
            if opened is not None or self._rejected_at != rejected_at:
                is_trimmed = False
            del opened

    async def _poll(self, served: str, reject: Callable[[ReleaseRejection], None]) -> Opened | None:
        pointer = None
        try:
            pointer = await self._run(self._read_current, self._timeout, "read the pointer")
            self._read_at = monotonic()
            if self._served is None and pointer.version == served:
                self._served = pointer
            if pointer == self._served:
                self.rejection = None
                return None
            if self._was_just_rejected(pointer):
                return None
            current, self._is_opening = pointer, True
            opened = await self._run(lambda: self._open(current), _OPEN_SECONDS, "open the release")
        except Exception as error:  # noqa: BLE001 - the server continues with its release
            is_known = isinstance(error, ReleaseError)
            reason = str(error) if is_known else f"{type(error).__name__}: {error}"
            rejection = ReleaseRejection(pointer.version if pointer else None, reason)
            if rejection != self.rejection:
                reject(rejection)
            self.rejection, self._rejected, self._rejected_at = rejection, pointer, monotonic()
            return None
        finally:
            self._is_opening = False
        self.rejection, self._served = None, pointer
        return opened

    async def _run(self, function: Callable[[], Result], timeout: float, action: str) -> Result:
        """Run a function on a thread. A thread that does not return in time is left behind.

        Raises:
            ReleaseError: the function did not return in time.
        """
        if len(self._stuck) >= _MAX_STUCK:
            raise ReleaseError(
                f"The lake does not answer: {_MAX_STUCK} attempts are still waiting."
            )
        future = asyncio.get_running_loop().run_in_executor(self._pool, function)
        done, _ = await asyncio.wait([future], timeout=timeout)
        if done:
            try:
                return future.result()
            finally:
                # The traceback of an error refers to this frame, and through it to the failed release.
                del future, done
        self.close()
        self._pool = make_thread_pool(1, "open", RELEASE_NICENESS)
        self._stuck.add(future)
        future.add_done_callback(self._forget)
        raise ReleaseError(
            f"The lake did not answer within {timeout:g} s, in the attempt to {action}."
        )

    def _forget(self, future: "asyncio.Future[Any]") -> None:
        self._stuck.discard(future)
        if not future.cancelled():
            future.exception()  # Otherwise it would be logged as never retrieved.

    def _was_just_rejected(self, pointer: Pointer) -> bool:
        recent = monotonic() - self._rejected_at < _RETRY_SECONDS
        return self.rejection is not None and self._rejected == pointer and recent
