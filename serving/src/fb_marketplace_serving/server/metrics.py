"""Prometheus metrics of the server."""

from collections.abc import Callable, Iterator, Mapping
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
"""Target seconds of a stage, exported with the histogram so that alerts can compare the two."""

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Metrics of one application.

    Attributes:
        requests: answered requests by route, method and status.
        request_seconds: duration of requests by route, without pauses of clients that are slowed down.
        stage_seconds: duration of the stages of a photo or a search.
        batch_sizes: size of the batch of each photo.
        requests_rejected: rejected requests by reason.
        connections_closed: connections that were closed before their request was answered, by reason.
        release_swaps: releases that replaced the served one.
        release_rejections: releases that were not swapped in because they failed to open.
        feedback_events: searches and clicks by outcome.
    """

    def __init__(self, in_flight: Mapping[str, Callable[[], int]]) -> None:
        """Create metrics at zero.

        Args:
            in_flight: for each kind of work, a function that returns its number of slots taken.
        """
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "http_requests", "Answered requests", ["route", "method", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "http_request_duration_seconds",
            "Time from request headers to the end of the response",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "fb_stage_seconds",
            "Time of a photo or a search in a stage",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_sizes = Histogram(
            "fb_batch_size", "Batch size of each photo", buckets=_BATCH_SIZES, registry=registry
        )
        self.requests_rejected = Counter(
            "fb_requests_rejected", "Rejected requests", ["reason"], registry=registry
        )
        self.connections_closed = Counter(
            "fb_connections_closed", "Connections closed early", ["reason"], registry=registry
        )
        self.release_swaps = Counter("fb_release_swaps", "Releases swapped in", registry=registry)
        self.release_rejections = Counter(
            "fb_release_rejections", "Releases that failed to open", registry=registry
        )
        self.feedback_events = Counter(
            "fb_feedback_events", "Searches and clicks", ["outcome"], registry=registry
        )
        self._release = Gauge("fb_release_info", "Current release", ["version"], registry=registry)
        budget = Gauge(
            "fb_stage_budget_seconds", "Target time of a stage", ["stage"], registry=registry
        )
        for stage, seconds in BUDGETS.items():
            budget.labels(stage).set(seconds)
        gauge = Gauge("fb_inflight", "Work in progress, by kind", ["kind"], registry=registry)
        for kind, count in in_flight.items():
            gauge.labels(kind).set_function(count)

    def set_release(self, version: str) -> None:
        """Set the version of the current release."""
        self._release.clear()
        self._release.labels(version).set(1)

    def count_connections(self, count: Callable[[], int]) -> None:
        """Export the number of open connections.

        Args:
            count: returns the number.
        """
        gauge = Gauge("fb_connections", "Open connections", registry=self.registry)
        gauge.set_function(count)

    def follow_pointer(self, age: Callable[[], float]) -> None:
        """Export the age of the pointer to the current release.

        Args:
            age: returns the seconds since it was read.
        """
        gauge = Gauge(
            "fb_release_pointer_age_seconds",
            "Time since the pointer to the current release was read",
            registry=self.registry,
        )
        gauge.set_function(age)

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage. Failed stages are not counted."""
        started = perf_counter()
        yield
        self.stage_seconds.labels(stage).observe(perf_counter() - started)

    def export(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
