"""The releases of a lake, as a table and as JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final

from fb_marketplace_serving.release.manifest import (
    Manifest,
    ReleaseError,
    read_manifest,
    unreadable,
)
from fb_marketplace_serving.release.pointer import CURRENT, read_pointer
from fb_marketplace_serving.storage.lake import Lake

_METRICS: Final = {
    "photo's category": ("vision", "test", "photos_top1", "value"),
    "listing's category": ("vision", "test", "products_with_text_top1", "value"),
    "recall at 10": ("retrieval", "all_photos", "same_product_recall_at_10", "value"),
}
"""Metrics in the table: column name to path in the manifest's metrics."""

_UNKNOWN: Final = "–"


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """A release that has a manifest in the lake, or that the pointer names.

    Attributes:
        version: its version.
        is_current: whether the pointer names it.
        manifest: its manifest, or the error if it cannot be read.
    """

    version: str
    is_current: bool
    manifest: Manifest | ReleaseError

    def to_json(self) -> dict[str, Any]:
        """Return the main properties as JSON. ``unreadable`` is an error message, or None."""
        entry: dict[str, Any] = {"version": self.version, "is_current": self.is_current}
        if isinstance(self.manifest, ReleaseError):
            return entry | {"unreadable": str(self.manifest)}
        names = {"created", "code_revision", "counts", "metrics"}
        return entry | self.manifest.model_dump(mode="json", include=names) | {"unreadable": None}


def list_releases(lake: Lake) -> list[ReleaseEntry]:
    """Return the releases of a lake, newest first; unreadable ones last.

    Raises:
        ReleaseError: there are none, or the lake cannot be read.
    """
    folder, current = PurePosixPath(CURRENT).parent.as_posix(), PurePosixPath(CURRENT).name
    try:
        names = lake.sizes(folder)
    except OSError as error:
        raise unreadable(lake.name(folder), error) from error
    versions = {
        name.removesuffix(".json")
        for name in names
        if name.endswith(".json") and name != current and not name.startswith(".")
    }
    current_version = read_pointer(lake).version
    if current_version is not None:
        versions.add(current_version)
    if not versions:
        raise ReleaseError(
            f"{lake.name(folder)}: found no release; create one with `FB_LAKE={lake.url} kedro run`, or "
            "name another lake with --lake or FB_LAKE"
        )
    entries = [
        ReleaseEntry(version, version == current_version, _manifest_or_error(lake, version))
        for version in versions
    ]
    return sorted(entries, key=_age, reverse=True)


def format_table(entries: list[ReleaseEntry]) -> list[str]:
    """Return the lines of a table; an asterisk marks the current release."""
    head = ["", "version", "created", "code", "photos", "products", *_METRICS]
    readable = [
        _row(entry, entry.manifest) for entry in entries if isinstance(entry.manifest, Manifest)
    ]
    widths = [max(map(len, column)) for column in zip(head, *readable, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ([head, *readable] if readable else [])
    ]
    return lines + [
        f"{_mark(entry)}  {entry.version} cannot be read: {entry.manifest}"
        for entry in entries
        if isinstance(entry.manifest, ReleaseError)
    ]


def _manifest_or_error(lake: Lake, version: str) -> Manifest | ReleaseError:
    try:
        return read_manifest(lake, version)
    except ReleaseError as error:
        return error


def _age(entry: ReleaseEntry) -> tuple[bool, datetime, str]:
    oldest = datetime.min.replace(tzinfo=UTC)
    if isinstance(entry.manifest, ReleaseError):
        return False, oldest, entry.version
    try:
        created = datetime.fromisoformat(entry.manifest.created)
    except ValueError:
        return True, oldest, entry.version
    return True, created if created.tzinfo else created.replace(tzinfo=UTC), entry.version


def _row(entry: ReleaseEntry, manifest: Manifest) -> list[str]:
    counts = (manifest.counts.get(name) for name in ("photos", "products"))
    metrics = (_metric(manifest.metrics, path) for path in _METRICS.values())
    return [
        _mark(entry),
        entry.version,
        manifest.created,
        manifest.code_revision[:12],
        *(_UNKNOWN if count is None else f"{count:,}" for count in counts),
        *(_UNKNOWN if metric is None else f"{metric:.3f}" for metric in metrics),
    ]


def _metric(metrics: Any, path: tuple[str, ...]) -> float | None:
    for name in path:
        if not isinstance(metrics, dict):
            return None
        metrics = metrics.get(name)
    return metrics if isinstance(metrics, (int, float)) else None


def _mark(entry: ReleaseEntry) -> str:
    return "*" if entry.is_current else " "
