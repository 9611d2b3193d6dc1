"""Server state and the stages of a request.

A photo is uploaded, takes a slot, is decoded and encoded, and frees its slot. A search takes a slot and a
thread. Small photos, large photos, searches and uploads have slots and threads of their own, so that too
many of one kind do not delay the others. Each stage is bounded and timed.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, TypeVar

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.canonical import PhotoError
from fb_marketplace_serving.interpreter_lock import INTERPRETER
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import ReleaseError
from fb_marketplace_serving.release.photo_store import PhotoStore
from fb_marketplace_serving.release.pointer import Pointer
from fb_marketplace_serving.server.auth import Keys, RateLimit
from fb_marketplace_serving.server.errors import (
    NO_PHOTO_SEARCH,
    RETRY_HEADERS,
    ApiError,
    storage_unavailable,
)
from fb_marketplace_serving.server.feedback_writer import FeedbackLimits, FeedbackWriter, SearchIds
from fb_marketplace_serving.server.inference.admission import (
    Admission,
    CapacityExceeded,
    ClientShareExceeded,
    Pace,
)
from fb_marketplace_serving.server.inference.batching import Batcher, EncodedPhoto
from fb_marketplace_serving.server.inference.decoding_process import DecoderError, DecodingProcess
from fb_marketplace_serving.server.inference.threads import (
    BACKGROUND_NICENESS,
    PHOTO_NICENESS,
    SEARCH_NICENESS,
    FairThreadPool,
    collect_garbage,
    make_thread_pool,
)
from fb_marketplace_serving.server.inference.uploads import drain_body, read_upload
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.metrics import Metrics
from fb_marketplace_serving.server.release_watcher import ReleaseRejection, ReleaseWatcher
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.settings import Settings, cores
from fb_marketplace_serving.storage.private_file import trim_memory

T = TypeVar("T")

LARGE_PIXELS: Final = 16_000_000
"""Minimum pixels of a large photo. Phone photos have 12 million."""

LARGE_MEMORY: Final = 48 * 1024 * 1024
"""Minimum memory that decoding a large photo takes, in bytes: a WebP of 3 megapixels, a PNG of 12. Pillow
copies such a WebP in 6 ms, and meanwhile holds the interpreter's lock."""

UPLOADS_PER_SLOT: Final = 4
"""Uploads per slot of photos. Uploads are cheap but may be slow: if each took a slot, a few slow clients
would block all others."""

READS_PER_SLOT: Final = 8
"""Stored photos that may be read or wait per slot of searches. A page of results has dozens."""

SLOTS_PER_LARGE_PHOTO: Final = 8
"""Slots of small photos per slot of large ones, which take up to a second each, one at a time."""


_READERS: Final = 8
"""Photos of the lake that are read at once. More gain little, even on S3."""


class _LargePhotoError(PhotoError):
    """The photo is rejected as a small one: it needs the slots and threads of large photos."""


class _Lane(NamedTuple):
    """Slots, threads and decoder of a kind of photo."""

    admission: Admission
    threads: Executor
    decode: Callable[[bytes], NDArray[np.uint8]]


class ReleaseSource(NamedTuple):
    """Source of releases.

    Attributes:
        current: reads the pointer to the current release.
        open: opens and verifies a release.
        served: the pointer to the first release; None if only its version is known.
    """

    current: Callable[[], Pointer]
    open: Callable[[Pointer], Release]
    served: Pointer | None = None


class Service:
    """Shared server state. Not thread-safe: use from one event loop.

    Attributes:
        settings: server settings.
        current: the release that is served.
        keys: accepted API keys.
        monitoring_keys: accepted keys of ``/readyz`` and ``/metrics``; empty if none is required.
        rate_limit: rate limit of each client; None if there is none.
        pace: slows down clients with many refused requests or clicks.
        metrics: Prometheus metrics.
        search_ids: ids of recorded searches.
        feedback: writer of searches and clicks; None if feedback is off.
        draining: whether the server is shutting down.
    """

    def __init__(
        self, release: Release, settings: Settings, source: ReleaseSource | None = None
    ) -> None:
        """Prepare the first release and start the thread pools.

        Args:
            release: the first release to serve.
            settings: server settings.
            source: source of newer releases; without it, the first release is served forever.
        """
        self.settings = settings
        self.keys = Keys(settings.keys)
        monitoring_key = settings.monitoring_key.get_secret_value()
        self.monitoring_keys = Keys({"monitoring": monitoring_key} if monitoring_key else {})
        self.rate_limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self.pace = Pace()
        self.draining = False
        slots, share = settings.max_in_flight, settings.client_share
        self._searches = Admission(slots, share)
        self._uploads = Admission(slots * UPLOADS_PER_SLOT, share)
        self._reads = Admission(slots * READS_PER_SLOT, share)
        # Photos are decoded and encoded by the same threads. There are as many as for searches: with more,
        # photos would get more of a busy core.
        photo_threads = FairThreadPool(cores(), "photo", PHOTO_NICENESS)
        self._searchers = FairThreadPool(cores(), "search", SEARCH_NICENESS)
        photo_threads.rivals += [self._searchers.is_active, self._has_background_work]
        self._searchers.rivals += [photo_threads.is_active, self._has_background_work]
        self._small = _Lane(Admission(slots, share), photo_threads, self._decode_small)
        self._small_limits = replace(
            settings.limits,
            max_pixels=min(settings.limits.max_pixels, LARGE_PIXELS - 1),
            max_memory=min(settings.limits.max_memory, LARGE_MEMORY - 1),
        )
        self._decoder = DecodingProcess(settings.limits, settings.request_timeout_seconds)
        self._large = _Lane(
            Admission(max(1, slots // SLOTS_PER_LARGE_PHOTO), share),
            make_thread_pool(1, "large-photo", BACKGROUND_NICENESS),
            self._decode_large,
        )
        self.metrics = Metrics(
            {
                "search": lambda: self._searches.taken,
                "upload": lambda: self._uploads.taken,
                "stored_photo": lambda: self._reads.taken,
                "photo": lambda: self._small.admission.taken,
                "large_photo": lambda: self._large.admission.taken,
            }
        )
        self.search_ids = SearchIds(settings.feedback_key.get_secret_value() or None)
        self.feedback = (
            FeedbackWriter(
                settings.feedback_dir,
                lambda outcome: self.metrics.feedback_events.labels(outcome).inc(),
                limits=FeedbackLimits(
                    settings.feedback_max_bytes_per_day, settings.feedback_max_events_per_client
                ),
            )
            if settings.feedback_dir
            else None
        )
        self._readers = make_thread_pool(_READERS, "read", SEARCH_NICENESS)
        self.current = self._prepare(release)
        self._watcher = (
            ReleaseWatcher(
                source.current,
                lambda pointer: self._prepare(source.open(pointer)),
                settings.release_poll_seconds,
                settings.request_timeout_seconds,
                source.served,
            )
            if source and settings.release_poll_seconds
            else None
        )
        self.metrics.set_release(self.current.version)
        if self._watcher:
            self.metrics.follow_pointer(lambda: self.pointer_age or 0.0)

    @property
    def pointer_age(self) -> float | None:
        """Seconds since the pointer to the current release was read; None if it is not followed."""
        return self._watcher.pointer_age if self._watcher else None

    @property
    def rejection(self) -> ReleaseRejection | None:
        """Why the lake's current release is not served; None if it is."""
        return self._watcher.rejection if self._watcher else None

    async def watch_releases(self) -> None:
        """Follow the lake's current release until cancelled."""
        if self._watcher:
            await self._watcher.watch(
                lambda: self.current.version, self._swap, self._reject, _clean_up
            )

    def close(self) -> None:
        """Stop the threads. Queued feedback is written first."""
        pools = (self._small.threads, self._large.threads, self._searchers, self._readers)
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        self._decoder.close()
        if self._watcher:
            self._watcher.close()
        if self.feedback:
            self.feedback.close()

    async def encode(self, request: Request, loaded: LoadedRelease) -> EncodedPhoto:
        """Read, decode and encode the photo of a request.

        Raises:
            PhotoError: the photo cannot be read.
            ApiError: the release has no photo search, the server is at capacity, the request timed out, or
                the decoder of large photos failed.
        """
        batcher = loaded.batcher
        if batcher is None:
            await drain_body(request)
            reason = loaded.release.manifest.lacks["photo_search"]
            raise ApiError(
                404,
                NO_PHOTO_SEARCH,
                f"Release {loaded.version} has no photo search: {reason}. Search by words: GET /search.",
            )
        client: str = request.state.client
        try:
            self._small.admission.check(client)
            with self._uploads.slot(client):
                upload = await self._read_upload(request)
        except CapacityExceeded as error:
            await drain_body(request)
            raise self._over_capacity(error) from None
        try:
            async with asyncio.timeout(self.settings.request_timeout_seconds):
                photo = await self._decode_and_encode(upload, client, batcher)
        except CapacityExceeded as error:
            raise self._over_capacity(error) from None
        except TimeoutError:
            raise self._timed_out() from None
        except DecoderError as error:
            raise ApiError(503, "decoder_failed", f"{error} Retry later.", RETRY_HEADERS) from None
        finally:
            await upload.close()
        self.metrics.stage_seconds.labels("wait").observe(photo.wait_seconds)
        self.metrics.stage_seconds.labels("encode").observe(photo.encode_seconds)
        self.metrics.batch_sizes.observe(photo.batch_size)
        return photo

    async def run_search(self, client: str, function: Callable[[], T]) -> T:
        """Run a function on a search thread, with :data:`INTERPRETER`.

        Args:
            client: name of the client.
            function: the search.

        Raises:
            ApiError: the server is at capacity, or the request timed out.
        """
        run = asyncio.get_running_loop().run_in_executor
        try:
            with self._searches.slot(client):
                async with asyncio.timeout(self.settings.request_timeout_seconds):
                    return await run(self._searchers, _hold_interpreter, function)
        except CapacityExceeded as error:
            raise self._over_capacity(error) from None
        except TimeoutError:
            raise self._timed_out() from None

    async def read_photo(self, client: str, photos: PhotoStore, image_id: str) -> bytes:
        """Read a photo of a release on a thread of its own kind: the lake may hang.

        Args:
            client: name of the client.
            photos: the photos of a release, in some size.
            image_id: one of them.

        Raises:
            ApiError: the server is at capacity, or the photo is damaged or cannot be read in time.
        """
        run = asyncio.get_running_loop().run_in_executor
        try:
            with self._reads.slot(client):
                async with asyncio.timeout(self.settings.request_timeout_seconds):
                    return await run(self._readers, photos.read, image_id)
        except CapacityExceeded as error:
            raise self._over_capacity(error) from None
        except TimeoutError:
            reason: object = "timeout"
        except ReleaseError as error:
            if not isinstance(error.__cause__, OSError):
                LOG.error("corrupt photo", extra=log_fields(image=image_id, reason=str(error)))
                raise ApiError(500, "corrupt_photo", "The photo failed its checksum.") from None
            reason = error
        LOG.error("storage failed", extra=log_fields(image=image_id, reason=str(reason)))
        raise storage_unavailable()

    async def _read_upload(self, request: Request) -> UploadFile:
        limits, timeout = self.settings.limits, self.settings.request_timeout_seconds
        with self.metrics.stage("upload"):
            return await read_upload(request, limits.max_bytes, timeout)

    async def _decode_and_encode(
        self, upload: UploadFile, client: str, batcher: Batcher
    ) -> EncodedPhoto:
        """Decode and encode a photo as a small one, or as a large one if its header says so."""
        small, large = self._small, self._large
        try:
            with small.admission.slot(client):
                return await batcher.decode_and_encode(partial(self._decode, upload, small))
        except _LargePhotoError:
            run = asyncio.get_running_loop().run_in_executor
        with large.admission.slot(client):
            return await batcher.encode(run(large.threads, self._decode, upload, large))

    def _decode(self, upload: UploadFile, lane: _Lane) -> NDArray[np.uint8]:
        # Read on the thread: photos waiting for their turn hold no bytes.
        upload.file.seek(0)
        data = upload.file.read(self.settings.limits.max_bytes + 1)
        with self.metrics.stage("decode"):
            return lane.decode(data)

    def _decode_small(self, data: bytes) -> NDArray[np.uint8]:
        """Return the pixels of an upload.

        Raises:
            PhotoError: the photo is rejected.
            _LargePhotoError: it is large, and not decoded.
        """
        try:
            return canonical.decode_upload(data, self._small_limits)
        except PhotoError as error:
            if error.reason != "too_many_pixels":
                raise
        canonical.estimate_cost(data, self.settings.limits)
        raise _LargePhotoError("too_many_pixels", "it is large")

    def _decode_large(self, data: bytes) -> NDArray[np.uint8]:
        """Return the pixels of a large upload, decoded in another process.

        Raises:
            PhotoError: the photo is rejected.
            DecoderError: the process failed.
        """
        return canonical.decode_stretched(self._decoder.canonicalize(data))

    def _has_background_work(self) -> bool:
        is_opening = self._watcher is not None and self._watcher.is_opening
        return is_opening or self._large.admission.taken > 0

    def _timed_out(self) -> ApiError:
        self.metrics.requests_rejected.labels("deadline").inc()
        seconds = self.settings.request_timeout_seconds
        detail = f"Request did not complete within {seconds:g} s. Retry later."
        return ApiError(503, "deadline", detail, RETRY_HEADERS)

    def _over_capacity(self, error: CapacityExceeded) -> ApiError:
        if isinstance(error, ClientShareExceeded):
            self.metrics.requests_rejected.labels("client_share").inc()
            return ApiError(429, "client_share", str(error), RETRY_HEADERS)
        self.metrics.requests_rejected.labels("over_capacity").inc()
        return ApiError(503, "over_capacity", str(error), RETRY_HEADERS)

    def _prepare(self, release: Release) -> LoadedRelease:
        loaded = LoadedRelease.prepare(release, self._small.threads, self.settings)
        trim_memory()
        return loaded

    def _swap(self, loaded: LoadedRelease) -> None:
        previous, self.current = self.current.version, loaded
        self.metrics.set_release(loaded.version)
        self.metrics.release_swaps.inc()
        LOG.info("release swapped", extra=log_fields(release=loaded.version, previous=previous))

    def _reject(self, rejection: ReleaseRejection) -> None:
        self.metrics.release_rejections.inc()
        LOG.warning(
            "release rejected",
            extra=log_fields(
                version=rejection.version, reason=rejection.reason, current=self.current.version
            ),
        )


def _hold_interpreter(function: Callable[[], T]) -> T:
    with INTERPRETER.hold():
        return function()


def _clean_up() -> None:
    collect_garbage()
    trim_memory()
