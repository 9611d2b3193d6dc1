"""What the server counts, for Prometheus."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

Stage = Literal["upload", "decode", "wait", "encode", "search", "text", "retrieve", "rank"]

BUDGETS: Final[dict[Stage, float]] = {
    "decode": 0.1,
    "encode": 0.2,
    "search": 0.02,
    "text": 0.02,
    "retrieve": 0.05,
    "rank": 0.02,
}
"""Seconds that a stage should keep to; beside the histogram, so that an alert can be set on their ratio."""

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_PHOTOS: Final = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one application.

    Attributes:
        requests: requests answered, by route, method and status.
        seconds: how long they took, by route.
        stages: how long a photo or a search took in each stage.
        batches: photos of a batch, for each photo.
        turned_away: requests that were not worked on, by why.
        swaps: releases that were swapped in.
        refusals: releases that were looked at and not served.
        feedback: lines of searches and clicks, by what became of them.
    """

    def __init__(self, working: Callable[[], int], uploading: Callable[[], int]) -> None:
        """Count from nothing; what is under way is asked for when it is read."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "fb_requests",
            "Requests answered",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "fb_request_seconds",
            "Time from a request's headers to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "fb_stage_seconds",
            "Time that a photo or a search took in a stage",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "fb_batch_photos",
            "Photos in the batch that a photo was encoded in",
            buckets=_PHOTOS,
            registry=self.registry,
        )
        self.turned_away = Counter(
            "fb_turned_away", "Requests not worked on", ["why"], registry=self.registry
        )
        self.swaps = Counter("fb_release_swaps", "Releases swapped in", registry=self.registry)
        self.refusals = Counter(
            "fb_release_refusals", "Releases looked at and not served", registry=self.registry
        )
        self.feedback = Counter(
            "fb_feedback_lines", "Lines of searches and clicks", ["fate"], registry=self.registry
        )
        self._release = Gauge(
            "fb_release_info", "The release that is served", ["version"], registry=self.registry
        )
        budget = Gauge(
            "fb_stage_budget_seconds",
            "Time that a stage should keep to",
            ["stage"],
            registry=self.registry,
        )
        for stage, seconds in BUDGETS.items():
            budget.labels(stage).set(seconds)
        for name, said, count in (
            ("fb_working", "Photos and searches being worked on", working),
            ("fb_uploading", "Uploads coming in", uploading),
        ):
            Gauge(name, said, registry=self.registry).set_function(count)

    def serve(self, version: str) -> None:
        """Tell which release is served."""
        self._release.clear()
        self._release.labels(version).set(1)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage that ends well."""
        started = perf_counter()
        yield
        self.stages.labels(stage).observe(perf_counter() - started)

    def read(self) -> bytes:
        """Give all in the text format of Prometheus."""
        return generate_latest(self.registry)
