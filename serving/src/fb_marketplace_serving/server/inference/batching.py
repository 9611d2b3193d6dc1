"""Dynamic batching of photos from several requests.

Each worker encodes one batch at a time. While all workers are busy, photos queue up and form the next
batches, of up to ``max_batch`` photos. If a worker is free, a photo waits only for photos that are being
decoded, for at most ``max_wait`` seconds.

By default there is a worker for each thread. Then photos wait only for a worker, which decodes and encodes
them: to change threads in between would cost half a millisecond. The worker takes each photo of its batch
from the queue when it can decode it, so that no undecoded photo waits for a slow one while another worker
is free.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from time import perf_counter
from traceback import format_exception
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.encoders.image import Encoding
from fb_marketplace_serving.imaging.canonical import PhotoError

_TIMER_SLACK: Final = 0.001
"""Seconds added to a timer, which may otherwise fire just before its deadline."""

_MAX_DECODE_SECONDS: Final = 0.02
"""A worker that has decoded for so long takes no further photo: those that it has decoded wait for it."""

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
    """Queue of photos for an encoder. Decoding and encoding run on threads, the rest on the event loop."""

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
            executor: decodes and encodes.
            workers: batches encoded in parallel.
            has_worker_per_thread: whether there are at least as many workers as the executor has threads.
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
            RuntimeError: the encoder failed.
            Exception: the error of decoding.
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
            RuntimeError: the encoder failed.
            Exception: the error of decoding.
        """
        self._decoding += 1
        try:
            pixels = await photo
        finally:
            self._decoding -= 1
            # Its exception refers to this frame: a cycle that would hold the bytes of an upload.
            del photo
        return await self._add(lambda: pixels)

    async def _add(self, decode: Decode) -> EncodedPhoto:
        loop = asyncio.get_running_loop()
        queued = _QueuedPhoto(decode, loop.create_future(), perf_counter())
        self._queue.append(queued)
        self._start()
        if self._max_wait and queued in self._queue:
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
        # With a worker per thread, threads remove photos too: then the queue may be empty by now.
        enough = not self._max_wait or len(self._queue) >= self._max_batch or not self._decoding
        return enough or perf_counter() - self._queue[0].queued_at >= self._max_wait

    def _next_batch(self) -> list[_QueuedPhoto]:
        """Remove the next batch from the queue.

        Free workers share decoded photos evenly. A worker that decodes gets its first photo only.
        """
        share = -(-len(self._queue) // self._free)
        size = 1 if self._has_worker_per_thread else min(self._max_batch, share)
        return [photo for _ in range(size) if (photo := self._next_photo())]

    def _next_photo(self) -> _QueuedPhoto | None:
        """Remove the next photo from the queue; skip requests that timed out. Thread-safe."""
        try:
            while (photo := self._queue.popleft()).result.done():
                pass
        except IndexError:
            return None
        return photo

    async def _run(self, batch: list[_QueuedPhoto]) -> None:
        loop = asyncio.get_running_loop()
        try:
            outcomes = await loop.run_in_executor(
                self._executor, self._decode_and_encode, batch, loop
            )
            for photo, encoded in outcomes:
                if not photo.result.done():
                    photo.result.set_result(encoded)
        except Exception as error:  # noqa: BLE001 - each request reports it
            _detach(error)
            for photo in batch:
                # Requests raise their errors, which adds their frames: each needs its own.
                failure = RuntimeError(f"the photos of a batch cannot be encoded: {error!r}")
                failure.__notes__ = list(getattr(error, "__notes__", ()))
                _fail(photo, failure)
        finally:
            self._free += 1
            self._start()

    def _decode_and_encode(
        self, batch: list[_QueuedPhoto], loop: asyncio.AbstractEventLoop
    ) -> list[tuple[_QueuedPhoto, EncodedPhoto]]:
        """Encode the photos of a batch. A photo that cannot be decoded fails alone, and at once."""
        decoded: list[tuple[_QueuedPhoto, NDArray[np.uint8], float]] = []
        for photo in self._photos(batch):
            begun = perf_counter()
            try:
                decoded.append((photo, photo.decode(), begun - photo.queued_at))
            except Exception as error:  # noqa: BLE001 - the request reports it
                _detach(error)
                loop.call_soon_threadsafe(_fail, photo, error)
        decoded = [entry for entry in decoded if not entry[0].result.done()]
        if not decoded:
            return []
        started = perf_counter()
        pixels = [entry[1] for entry in decoded]
        # np.stack would copy a single photo.
        stacked = np.stack(pixels) if len(pixels) > 1 else pixels[0][np.newaxis]
        encodings = zip(*self._encode(stacked), strict=True)
        seconds = perf_counter() - started
        return [
            (photo, EncodedPhoto(*encoding, waited, seconds, len(decoded)))
            for (photo, _, waited), encoding in zip(decoded, encodings, strict=True)
        ]

    def _photos(self, batch: list[_QueuedPhoto]) -> Iterator[_QueuedPhoto]:
        """Yield the photos of a batch whose requests still wait. Undecoded photos are added one by one."""
        begun = perf_counter()
        for photo in batch:  # A photo that is added is yielded next.
            if not photo.result.done():
                yield photo
            if (
                self._has_worker_per_thread
                and len(batch) < self._max_batch
                and perf_counter() - begun < _MAX_DECODE_SECONDS
                and (following := self._next_photo())
            ):
                batch.append(following)


def _fail(photo: _QueuedPhoto, error: Exception) -> None:
    if not photo.result.done():
        photo.result.set_exception(error)


def _detach(error: Exception) -> None:
    """Move the tracebacks of an error, its causes and contexts to a note, unless a photo is rejected.

    Their frames refer to the batch, which refers to the error. This cycle would hold the bytes of uploads
    until the next garbage collection.
    """
    if not isinstance(error, PhotoError):
        error.add_note("".join(format_exception(error)))
    chained: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chained:
        link = chained.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            chained += [link.__cause__, link.__context__]
