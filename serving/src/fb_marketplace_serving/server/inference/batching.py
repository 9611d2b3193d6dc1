"""Photos of several requests, encoded together.

A lane is a worker that encodes one batch at a time. While all are busy, what comes in queues up and makes
the next batch: so batches grow with the load, and a lone photo waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.encoders.image import Encoding

_LATE: Final = 0.001
"""Seconds: a timer that is set to the very moment may find that it has not come."""

Encode = Callable[[NDArray[np.uint8]], Encoding]


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """What the encoder makes of one photo, and how long that took.

    Attributes:
        probabilities: float32, (classes,).
        embedding: float32, (dimension,).
        waited: seconds in the queue.
        encoded: seconds in the encoder, with all of its batch.
        batch: photos of that batch.
    """

    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32]
    waited: float
    encoded: float
    batch: int


@dataclass(eq=False, slots=True)
class _Waiting:
    photo: NDArray[np.uint8]
    answer: "asyncio.Future[EncodedPhoto]"
    since: float


class Batcher:
    """Gathers photos for one encoder. All of it runs on the event loop but the encoding itself."""

    def __init__(
        self,
        encode: Encode,
        executor: Executor,
        *,
        lanes: int = 1,
        max_batch: int = 8,
        wait: float = 0.0,
    ) -> None:
        """Gather photos.

        Args:
            encode: photos uint8 (n, 256, 256, 3) to what is made of them; safe from many threads.
            executor: where it runs.
            lanes: batches that are encoded at once.
            max_batch: photos of a batch at most.
            wait: seconds that a photo waits at most for those that are on their way.
        """
        self._encode = encode
        self._executor = executor
        self._free = lanes
        self._max_batch = max_batch
        self._wait = wait
        self._queue: deque[_Waiting] = deque()
        self._on_their_way = 0
        self._running: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        """Count the photos that wait for a lane."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Count the lanes that encode."""
        return len(self._running)

    async def encode(self, photo: "asyncio.Future[NDArray[np.uint8]]") -> EncodedPhoto:
        """Encode a photo that is still being decoded, so that others may wait for it.

        Args:
            photo: gives uint8, (256, 256, 3).

        Raises:
            Exception: whatever the photo, or its encoding, raises.
        """
        self._on_their_way += 1
        try:
            pixels = await photo
        finally:
            self._on_their_way -= 1
        loop = asyncio.get_running_loop()
        waiting = _Waiting(pixels, loop.create_future(), perf_counter())
        self._queue.append(waiting)
        self._start()
        if waiting in self._queue:
            loop.call_later(self._wait + _LATE, self._start)
        return await waiting.answer

    def _start(self) -> None:
        """Give free lanes what they should encode now."""
        while self._free and self._is_due():
            batch = self._next_batch()
            if batch:
                self._free -= 1
                # The loop keeps only weak references to tasks.
                task = asyncio.get_running_loop().create_task(self._run(batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _is_due(self) -> bool:
        if not self._queue:
            return False
        enough = len(self._queue) >= self._max_batch or not self._on_their_way
        return enough or perf_counter() - self._queue[0].since >= self._wait

    def _next_batch(self) -> list[_Waiting]:
        """Take an even share for each free lane: one long batch while others idle serves nobody."""
        size = min(self._max_batch, -(-len(self._queue) // self._free))
        taken = [self._queue.popleft() for _ in range(size)]
        # Whoever gave up, as at a deadline, is not encoded for.
        return [each for each in taken if not each.answer.done()]

    async def _run(self, batch: list[_Waiting]) -> None:
        started = perf_counter()
        photos = np.stack([each.photo for each in batch])
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._encode, photos
            )
        except Exception as error:  # noqa: BLE001 - each request tells of it
            for each in batch:
                if not each.answer.done():
                    each.answer.set_exception(error)
            return
        finally:
            self._free += 1
            self._start()
        took = perf_counter() - started
        for row, each in enumerate(batch):
            if not each.answer.done():
                each.answer.set_result(
                    EncodedPhoto(
                        found.probabilities[row],
                        found.embeddings[row],
                        started - each.since,
                        took,
                        len(batch),
                    )
                )
