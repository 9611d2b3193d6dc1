"""Follows the pointer of a lake: the release in force is opened beside the one that is served."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, TypeVar

from fb_marketplace_serving.release.manifest import ReleaseError

Opened = TypeVar("Opened")

_AGAIN_AFTER: Final = 60.0
"""Seconds until a release that was refused is looked at again: its fault may have been the network's."""


@dataclass(frozen=True, slots=True)
class ReleaseRejection:
    """What is in force in the lake, and why it is not served.

    Attributes:
        version: of the release; None where not even the pointer could be read.
        why: in one line.
    """

    version: str | None
    why: str


class ReleaseWatcher(Generic[Opened]):
    """Looks, again and again, which release is in force, and offers it once it is open and proven.

    Attributes:
        refusal: why what is in force is not what is served, if that is so.
    """

    def __init__(
        self,
        current: Callable[[], str],
        open_version: Callable[[str], Opened],
        executor: Executor,
        seconds: float,
    ) -> None:
        """Follow a pointer.

        Args:
            current: gives the version in force.
            open_version: opens a version, and proves it.
            executor: where the two run.
            seconds: between two looks.
        """
        self._current = current
        self._open = open_version
        self._executor = executor
        self._seconds = seconds
        self._refused_at = 0.0
        self.refusal: ReleaseRejection | None = None

    async def follow(
        self,
        served: Callable[[], str],
        swap: Callable[[Opened], None],
        refuse: Callable[[ReleaseRejection], None],
    ) -> None:
        """Follow until cancelled.

        Args:
            served: says which version is served now.
            swap: takes one that is to be served from now on.
            refuse: is told, once, of each that is not.
        """
        while True:
            await asyncio.sleep(self._seconds)
            opened = await self._look(served(), refuse)
            if opened is not None:
                swap(opened)

    async def _look(self, served: str, refuse: Callable[[ReleaseRejection], None]) -> Opened | None:
        version = None
        loop = asyncio.get_running_loop()
        try:
            version = await loop.run_in_executor(self._executor, self._current)
            if version == served:
                self.refusal = None
                return None
            if self._was_refused(version):
                return None
            opened = await loop.run_in_executor(self._executor, self._open, version)
        except Exception as error:  # noqa: BLE001 - whatever it is, what is served goes on
            why = (
                str(error)
                if isinstance(error, ReleaseError)
                else f"{type(error).__name__}: {error}"
            )
            found = ReleaseRejection(version, why)
            if found != self.refusal:
                refuse(found)
            self.refusal, self._refused_at = found, monotonic()
            return None
        self.refusal = None
        return opened

    def _was_refused(self, version: str) -> bool:
        just_now = monotonic() - self._refused_at < _AGAIN_AFTER
        return self.refusal is not None and self.refusal.version == version and just_now
