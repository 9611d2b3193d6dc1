"""A running server's parts: what it serves now, and what a photo or a search goes through.

A photo's life: it is uploaded, takes a place, is decoded, waits for a batch, is encoded, and gives its
place back. A search takes a place and a thread. Each stage is bounded and timed.
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
"""Pixels: some 64 MB, and more while they are worked on. Phones make twelve million."""


class ReleaseSource(NamedTuple):
    """Where releases come from.

    Attributes:
        current: gives the version in force.
        open: opens a version, and proves it.
    """

    current: Callable[[], str]
    open: Callable[[str], Release]


class Service:
    """All that the routes share. For one event loop.

    Attributes:
        settings: what it was told.
        served: what is served now.
        keys: who may ask.
        rate: how often, if that is limited.
        metrics: what was counted.
        feedback: writes down searches and clicks; None where that is off.
        draining: whether it was told to stop.
    """

    def __init__(
        self, release: Release, settings: Settings, source: ReleaseSource | None = None
    ) -> None:
        """Make ready.

        Args:
            release: what is served first.
            settings: what it was told.
            source: what is followed; without it, the first is served for ever.
        """
        self.settings = settings
        self.keys = Keys(settings.keys)
        self.rate = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self.draining = False
        self._admission = Admission(settings.queue)
        self.metrics = Metrics(lambda: self._admission.working, lambda: self._admission.uploading)
        self.feedback = (
            FeedbackWriter(settings.feedback, lambda fate: self.metrics.feedback.labels(fate).inc())
            if settings.feedback
            else None
        )
        self._decoders = make_thread_pool(cores(), "decode")
        self._large_decoder = make_thread_pool(1, "decode-large")
        self._encoders = make_thread_pool(settings.lanes, "encode")
        self._searchers = make_thread_pool(cores(), "search")
        self._opener = make_thread_pool(1, "open")
        self.served = self._ready(release)
        self._follower = (
            ReleaseWatcher(
                source.current,
                lambda version: self._ready(source.open(version)),
                self._opener,
                settings.follow_seconds,
            )
            if source and settings.follow_seconds
            else None
        )
        self.metrics.serve(self.served.version)

    @property
    def refusal(self) -> ReleaseRejection | None:
        """Say why what is in force in the lake is not what is served, if that is so."""
        return self._follower.refusal if self._follower else None

    async def follow(self) -> None:
        """Serve what is in force in the lake, until cancelled."""
        if self._follower:
            await self._follower.follow(lambda: self.served.version, self._swap, self._refuse)

    def close(self) -> None:
        """Let the threads go."""
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

    async def encode(self, request: Request, served: LoadedRelease) -> EncodedPhoto:
        """Take the photo of a request through all its stages.

        Raises:
            PhotoError: it is no photo that can be read.
            Problem: there is no place for it, or no time.
        """
        limits = self.settings.limits
        try:
            with self._admission.upload(), self.metrics.stage("upload"):
                upload = await read_upload(request, limits.max_bytes, self.settings.request_seconds)
        except CapacityExceeded as full:
            await drain_body(request)
            raise self._turned_away(full) from None
        try:
            with self._admission.place():
                return await self._in_time(upload, limits, served)
        except CapacityExceeded as full:
            raise self._turned_away(full) from None
        finally:
            await upload.close()

    async def work(self, function: Callable[[], T]) -> T:
        """Do a piece of work on a thread for searches.

        Raises:
            Problem: there is no place for it, or no time.
        """
        run = asyncio.get_running_loop().run_in_executor
        try:
            with self._admission.place():
                async with asyncio.timeout(self.settings.request_seconds):
                    return await run(self._searchers, function)
        except CapacityExceeded as full:
            raise self._turned_away(full) from None
        except TimeoutError:
            raise self._late() from None

    async def _in_time(
        self, upload: UploadFile, limits: Limits, served: LoadedRelease
    ) -> EncodedPhoto:
        try:
            async with asyncio.timeout(self.settings.request_seconds):
                decoding = asyncio.create_task(self._decoded(upload, limits))
                encoded = await served.batcher.encode(decoding)
        except TimeoutError:
            raise self._late() from None
        self.metrics.stages.labels("wait").observe(encoded.waited)
        self.metrics.stages.labels("encode").observe(encoded.encoded)
        self.metrics.batches.observe(encoded.batch)
        return encoded

    async def _decoded(self, upload: UploadFile, limits: Limits) -> NDArray[np.uint8]:
        """Decode a photo; a large one in its turn, as each takes up to a gigabyte meanwhile."""
        run = asyncio.get_running_loop().run_in_executor
        small = await run(self._decoders, self._decode_small, upload, limits)
        if small is not None:
            return small
        return await run(self._large_decoder, self._decode_large, upload, limits)

    def _decode_small(self, upload: UploadFile, limits: Limits) -> NDArray[np.uint8] | None:
        data = _read(upload, limits)
        width, height = canonical.photo_size(data, limits)
        return self._decode(data, limits) if width * height < LARGE else None

    def _decode_large(self, upload: UploadFile, limits: Limits) -> NDArray[np.uint8]:
        # Read anew: those that wait for their turn hold no bytes.
        return self._decode(_read(upload, limits), limits)

    def _decode(self, data: bytes, limits: Limits) -> NDArray[np.uint8]:
        with self.metrics.stage("decode"):
            return canonical.decode_canonical(canonical.canonicalize(data, limits))

    def _late(self) -> ApiError:
        self.metrics.turned_away.labels("deadline").inc()
        late = f"found no answer within {self.settings.request_seconds:g} s; try again"
        return ApiError(503, "deadline", late, RETRY_HEADERS)

    def _turned_away(self, full: CapacityExceeded) -> ApiError:
        self.metrics.turned_away.labels("full").inc()
        return ApiError(503, "full", f"{full}; try again", RETRY_HEADERS)

    def _ready(self, release: Release) -> LoadedRelease:
        return LoadedRelease.of(release, self._encoders, self.settings)

    def _swap(self, served: LoadedRelease) -> None:
        before, self.served = self.served.version, served
        self.metrics.serve(self.served.version)
        self.metrics.swaps.inc()
        LOG.info("release swapped", extra=log_fields(release=self.served.version, before=before))

    def _refuse(self, refusal: ReleaseRejection) -> None:
        self.metrics.refusals.inc()
        LOG.warning(
            "release refused",
            extra=log_fields(version=refusal.version, why=refusal.why, served=self.served.version),
        )


def _read(upload: UploadFile, limits: Limits) -> bytes:
    upload.file.seek(0)
    return upload.file.read(limits.max_bytes + 1)
