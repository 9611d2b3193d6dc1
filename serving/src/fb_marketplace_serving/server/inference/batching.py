"""Dynamic batching of photos from several requests.

Each worker encodes one batch at a time. While all workers are busy, photos queue up and form the next
batches, of up to ``max_batch`` photos. If a worker is free, a photo waits only for photos that are being
decoded, for at most ``max_wait`` seconds.

By default there is a worker for each thread. Then photos wait only for a worker, which decodes and encodes
them: to change threads in between would cost half a millisecond.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from traceback import format_tb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.encoders.image import Encoding
from fb_marketplace_serving.imaging.canonical import PhotoError

_TIMER_SLACK: Final = 0.001
"""Seconds added to a timer, which may otherwise fire just before its deadline."""

Encode = Callable[[NDArray[np.uint8]], Encoding]
Decode = Callable[[], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """Encoder outputs of one photo, with timings.

    Attributes:
        probabilities: float32, (classes,).
        embedding: float32, (dimension,).
        wait_seconds: time in the queue.
        encode_seconds: time in the encoder, for the entire batch.
        batch_size: number of photos in the batch.
    """

    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32]
    wait_seconds: float
    encode_seconds: float
    batch_size: int


@dataclass(eq=False, slots=True)
class _QueuedPhoto:
    decode: Decode
    result: "asyncio.Future[EncodedPhoto]"
    queued_at: float


class Batcher:
    """Queue of photos for an encoder. Everything except the encoding runs on the event loop."""

    def __init__(
        self,
        encode: Encode,
        executor: Executor,
        *,
        workers: int = 1,
        has_worker_per_thread: bool = False,
        max_batch: int = 8,
        max_wait: float = 0.0,
    ) -> None:
        """Create a batcher.

        Args:
            encode: thread-safe encoder of stretched photos, uint8 (n, 256, 256, 3).
            executor: runs the encoder.
            workers: batches encoded in parallel.
            has_worker_per_thread: whether there are as many workers as the executor has threads.
            max_batch: maximum photos in a batch.
            max_wait: seconds that a photo waits for photos that are being decoded.
        """
        self._encode = encode
        self._executor = executor
        self._free = workers
        self._has_worker_per_thread = has_worker_per_thread
        self._max_batch = max_batch
        self._max_wait = 0.0 if has_worker_per_thread else max_wait
        self._queue: deque[_QueuedPhoto] = deque()
        self._decoding = 0
        self._running: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        """Number of photos waiting for a worker."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Number of busy workers."""
        return len(self._running)

    async def decode_and_encode(self, decode: Decode) -> EncodedPhoto:
        """Decode and encode a photo on the encoder's threads.

        Args:
            decode: thread-safe; returns uint8, (256, 256, 3).

        Raises:
            Exception: the error of decoding or encoding.
        """
        if self._has_worker_per_thread:
            return await self._add(decode)
        run = asyncio.get_running_loop().run_in_executor
        return await self.encode(run(self._executor, decode))

    async def encode(self, photo: "asyncio.Future[NDArray[np.uint8]]") -> EncodedPhoto:
        """Encode a photo that is still being decoded. Queued photos may wait for it to join their batch.

        Args:
            photo: resolves to uint8, (256, 256, 3).

        Raises:
            Exception: the error of decoding or encoding.
        """
        self._decoding += 1
        try:
            pixels = await photo
        finally:
            self._decoding -= 1
            del (
                photo
            )  # Its exception refers to this frame: a cycle that would hold the bytes of an upload.
        return await self._add(lambda: pixels)

    async def _add(self, decode: Decode) -> EncodedPhoto:
        loop = asyncio.get_running_loop()
        queued = _QueuedPhoto(decode, loop.create_future(), perf_counter())
        self._queue.append(queued)
        self._start()
        if queued in self._queue:
            loop.call_later(self._max_wait + _TIMER_SLACK, self._start)
        try:
            return await queued.result
        finally:
            del queued  # as in :meth:`encode`

    def _start(self) -> None:
        """Start batches on free workers while one is due."""
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
        enough = len(self._queue) >= self._max_batch or not self._decoding
        return enough or perf_counter() - self._queue[0].queued_at >= self._max_wait

    def _next_batch(self) -> list[_QueuedPhoto]:
        """Remove the next batch from the queue. Free workers share the queue evenly, so none is idle."""
        size = min(self._max_batch, -(-len(self._queue) // self._free))
        batch = [self._queue.popleft() for _ in range(size)]
        # Requests that timed out are not encoded.
        return [photo for photo in batch if not photo.result.done()]

    async def _run(self, batch: list[_QueuedPhoto]) -> None:
        run = asyncio.get_running_loop().run_in_executor
        outcomes: list[EncodedPhoto | Exception]
        try:
            outcomes = await run(self._executor, self._decode_and_encode, batch)
        except Exception as error:  # noqa: BLE001 - each request reports it
            outcomes = [error] * len(batch)
        finally:
            self._free += 1
            self._start()
        for photo, outcome in zip(batch, outcomes, strict=True):
            if photo.result.done():
                continue
            if isinstance(outcome, Exception):
                photo.result.set_exception(outcome)
            else:
                photo.result.set_result(outcome)

    def _decode_and_encode(self, batch: list[_QueuedPhoto]) -> list[EncodedPhoto | Exception]:
        """Return the outcome of each photo of a batch. A photo that cannot be decoded fails alone."""
        begun = perf_counter()
        attempts = [_attempt(photo.decode) for photo in batch]
        started = perf_counter()
        pixels = [attempt for attempt in attempts if not isinstance(attempt, Exception)]
        encodings: Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]] = iter(())
        if pixels:
            # np.stack would copy a single photo.
            stacked = np.stack(pixels) if len(pixels) > 1 else pixels[0][np.newaxis]
            encodings = zip(*self._encode(stacked), strict=True)
        seconds = perf_counter() - started
        return [
            attempt
            if isinstance(attempt, Exception)
            else EncodedPhoto(*next(encodings), begun - photo.queued_at, seconds, len(pixels))
            for photo, attempt in zip(batch, attempts, strict=True)
        ]


def _attempt(decode: Decode) -> NDArray[np.uint8] | Exception:
    try:
        return decode()
    except Exception as error:  # noqa: BLE001 - the request reports it
        if not isinstance(error, PhotoError):
            error.add_note("".join(format_tb(error.__traceback__)))
        # The frames of a traceback refer to the batch, which refers to the error. This cycle would hold the
        # bytes of uploads until the next garbage collection.
        cause: BaseException | None = error
        while cause is not None:
            cause.__traceback__ = None
            cause = cause.__cause__ or cause.__context__
        return error
