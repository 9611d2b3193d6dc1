"""Server state and the stages of a request.

A photo is uploaded, takes a slot, is decoded, waits for a batch, is encoded, and frees its slot. A search
takes a slot and a thread. Each stage is bounded and timed.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.canonical import Limits
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.server.auth import Keys, RateLimit
from fb_marketplace_serving.server.errors import RETRY_HEADERS, ApiError
from fb_marketplace_serving.server.feedback_writer import FeedbackWriter
from fb_marketplace_serving.server.inference.admission import Admission, CapacityExceeded
from fb_marketplace_serving.server.inference.batching import EncodedPhoto
from fb_marketplace_serving.server.inference.threads import make_thread_pool
from fb_marketplace_serving.server.inference.uploads import drain_body, read_upload
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.metrics import Metrics
from fb_marketplace_serving.server.release_watcher import ReleaseRejection, ReleaseWatcher
from fb_marketplace_serving.server.request_logging import LOG, log_fields
from fb_marketplace_serving.server.settings import Settings, cores

T = TypeVar("T")

LARGE: Final = 16_000_000
"""Minimum pixels of a large photo: 64 MB decoded, more during processing. Phone photos have 12 million."""


class ReleaseSource(NamedTuple):
    """Source of releases.

    Attributes:
        current: returns the version of the current release.
        open: opens and verifies a version.
    """

    current: Callable[[], str]
    open: Callable[[str], Release]


class Service:
    """Shared server state. Not thread-safe: use from one event loop.

    Attributes:
        settings: server settings.
        current: the release that is served.
        keys: accepted API keys.
        rate_limit: rate limit of each client; None if there is none.
        metrics: Prometheus metrics.
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
        self.rate_limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self.draining = False
        self._admission = Admission(settings.max_in_flight)
        self.metrics = Metrics(lambda: self._admission.in_flight, lambda: self._admission.uploads)
        self.feedback = (
            FeedbackWriter(
                settings.feedback_dir,
                lambda outcome: self.metrics.feedback_events.labels(outcome).inc(),
            )
            if settings.feedback_dir
            else None
        )
        self._decoders = make_thread_pool(cores(), "decode")
        self._large_decoder = make_thread_pool(1, "decode-large")
        self._encoders = make_thread_pool(settings.num_encoder_workers, "encode")
        self._searchers = make_thread_pool(cores(), "search")
        self._opener = make_thread_pool(1, "open")
        self.current = self._prepare(release)
        self._watcher = (
            ReleaseWatcher(
                source.current,
                lambda version: self._prepare(source.open(version)),
                self._opener,
                settings.release_poll_seconds,
            )
            if source and settings.release_poll_seconds
            else None
        )
        self.metrics.set_release(self.current.version)

    @property
    def rejection(self) -> ReleaseRejection | None:
        """Why the lake's current release is not served; None if it is."""
        return self._watcher.rejection if self._watcher else None

    async def watch_releases(self) -> None:
        """Follow the lake's current release until cancelled."""
        if self._watcher:
            await self._watcher.watch(lambda: self.current.version, self._swap, self._reject)

    def close(self) -> None:
        """Stop the threads. Queued feedback is written first."""
        for pool in (
            self._decoders,
            self._large_decoder,
            self._encoders,
            self._searchers,
            self._opener,
        ):
            pool.shutdown(wait=False, cancel_futures=True)
        if self.feedback:
            self.feedback.close()

    async def encode(self, request: Request, loaded: LoadedRelease) -> EncodedPhoto:
        """Read, decode and encode the photo of a request.

        Raises:
            PhotoError: the photo cannot be read.
            ApiError: the server is at capacity, or the request timed out.
        """
        limits, timeout = self.settings.limits, self.settings.request_timeout_seconds
        try:
            with self._admission.upload(), self.metrics.stage("upload"):
                upload = await read_upload(request, limits.max_bytes, timeout)
        except CapacityExceeded as error:
            await drain_body(request)
            raise self._over_capacity(error) from None
        try:
            with self._admission.slot():
                return await self._decode_and_encode(upload, limits, loaded)
        except CapacityExceeded as error:
            raise self._over_capacity(error) from None
        finally:
            await upload.close()

    async def run_search(self, function: Callable[[], T]) -> T:
        """Run a function on a search thread.

        Raises:
            ApiError: the server is at capacity, or the request timed out.
        """
        run = asyncio.get_running_loop().run_in_executor
        try:
            with self._admission.slot():
                async with asyncio.timeout(self.settings.request_timeout_seconds):
                    return await run(self._searchers, function)
        except CapacityExceeded as error:
            raise self._over_capacity(error) from None
        except TimeoutError:
            raise self._timed_out() from None

    async def _decode_and_encode(
        self, upload: UploadFile, limits: Limits, loaded: LoadedRelease
    ) -> EncodedPhoto:
        try:
            async with asyncio.timeout(self.settings.request_timeout_seconds):
                decoding = asyncio.create_task(self._decode(upload, limits))
                photo = await loaded.batcher.encode(decoding)
        except TimeoutError:
            raise self._timed_out() from None
        self.metrics.stage_seconds.labels("wait").observe(photo.wait_seconds)
        self.metrics.stage_seconds.labels("encode").observe(photo.encode_seconds)
        self.metrics.batch_sizes.observe(photo.batch_size)
        return photo

    async def _decode(self, upload: UploadFile, limits: Limits) -> NDArray[np.uint8]:
        """Decode a photo. Large photos, which need up to a gigabyte, are decoded one at a time."""
        run = asyncio.get_running_loop().run_in_executor
        small = await run(self._decoders, self._decode_small, upload, limits)
        if small is not None:
            return small
        return await run(self._large_decoder, self._decode_large, upload, limits)

    def _decode_small(self, upload: UploadFile, limits: Limits) -> NDArray[np.uint8] | None:
        data = _read(upload, limits)
        width, height = canonical.photo_size(data, limits)
        return self._decode_bytes(data, limits) if width * height < LARGE else None

    def _decode_large(self, upload: UploadFile, limits: Limits) -> NDArray[np.uint8]:
        # Read again, so that photos waiting for their turn hold no bytes.
        return self._decode_bytes(_read(upload, limits), limits)

    def _decode_bytes(self, data: bytes, limits: Limits) -> NDArray[np.uint8]:
        with self.metrics.stage("decode"):
            return canonical.decode_canonical(canonical.canonicalize(data, limits))

    def _timed_out(self) -> ApiError:
        self.metrics.requests_rejected.labels("deadline").inc()
        seconds = self.settings.request_timeout_seconds
        detail = f"Request did not complete within {seconds:g} s. Retry later."
        return ApiError(503, "deadline", detail, RETRY_HEADERS)

    def _over_capacity(self, error: CapacityExceeded) -> ApiError:
        self.metrics.requests_rejected.labels("over_capacity").inc()
        return ApiError(503, "over_capacity", str(error), RETRY_HEADERS)

    def _prepare(self, release: Release) -> LoadedRelease:
        return LoadedRelease.prepare(release, self._encoders, self.settings)

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


def _read(upload: UploadFile, limits: Limits) -> bytes:
    upload.file.seek(0)
    return upload.file.read(limits.max_bytes + 1)
