"""Watches the release pointer of a lake and opens each new release in the background."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, TypeVar

from fb_marketplace_serving.release.manifest import ReleaseError

Opened = TypeVar("Opened")

_RETRY_SECONDS: Final = 60.0
"""Seconds until a rejected release is tried again. The error may have been transient."""


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
        read_current: Callable[[], str],
        open_version: Callable[[str], Opened],
        executor: Executor,
        poll_seconds: float,
    ) -> None:
        """Create a watcher.

        Args:
            read_current: returns the version of the lake's current release.
            open_version: opens and verifies a version.
            executor: runs both.
            poll_seconds: seconds between two polls.
        """
        self._read_current = read_current
        self._open = open_version
        self._executor = executor
        self._poll_seconds = poll_seconds
        self._rejected_at = 0.0
        self.rejection: ReleaseRejection | None = None

    async def watch(
        self,
        served_version: Callable[[], str],
        swap: Callable[[Opened], None],
        reject: Callable[[ReleaseRejection], None],
    ) -> None:
        """Poll until cancelled.

        Args:
            served_version: returns the version that is served.
            swap: called with each opened release.
            reject: called once for each rejected release.
        """
        while True:
            await asyncio.sleep(self._poll_seconds)
            opened = await self._poll(served_version(), reject)
            if opened is not None:
                swap(opened)

    async def _poll(self, served: str, reject: Callable[[ReleaseRejection], None]) -> Opened | None:
        version = None
        loop = asyncio.get_running_loop()
        try:
            version = await loop.run_in_executor(self._executor, self._read_current)
            if version == served:
                self.rejection = None
                return None
            if self._was_just_rejected(version):
                return None
            opened = await loop.run_in_executor(self._executor, self._open, version)
        except Exception as error:  # noqa: BLE001 - the server continues with its release
            is_known = isinstance(error, ReleaseError)
            reason = str(error) if is_known else f"{type(error).__name__}: {error}"
            rejection = ReleaseRejection(version, reason)
            if rejection != self.rejection:
                reject(rejection)
            self.rejection, self._rejected_at = rejection, monotonic()
            return None
        self.rejection = None
        return opened

    def _was_just_rejected(self, version: str) -> bool:
        recent = monotonic() - self._rejected_at < _RETRY_SECONDS
        return self.rejection is not None and self.rejection.version == version and recent
