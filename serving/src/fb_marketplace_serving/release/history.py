"""The releases of a lake, as a table for people and as data for programs."""

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

_MEASURES: Final = {
    "photo's category": ("vision", "test", "photos_top1", "value"),
    "listing's category": ("vision", "test", "products_with_text_top1", "value"),
    "recall at 10": ("retrieval", "all_photos", "same_product_recall_at_10", "value"),
}
"""What the table shows of the metrics, and where it stands in them."""

_UNKNOWN: Final = "–"


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """A release that a lake has, or should have.

    Attributes:
        version: its name.
        is_current: whether the pointer names it.
        manifest: what it is made of, or why that cannot be read.
    """

    version: str
    is_current: bool
    manifest: Manifest | ReleaseError

    def to_json(self) -> dict[str, Any]:
        """Give what a program may want to know; ``unreadable`` is None where all is well."""
        about: dict[str, Any] = {"version": self.version, "is_current": self.is_current}
        if isinstance(self.manifest, ReleaseError):
            return about | {"unreadable": str(self.manifest)}
        told = {"created", "code_revision", "counts", "metrics"}
        return about | self.manifest.model_dump(mode="json", include=told) | {"unreadable": None}


def list_releases(lake: Lake) -> list[ReleaseEntry]:
    """List the releases of a lake, newest first, and after them those that cannot be read.

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
    in_force = read_pointer(lake).version
    if in_force is not None:
        versions.add(in_force)
    if not versions:
        raise ReleaseError(
            f"{lake.name(folder)}: found no release; make one with `FB_LAKE={lake.url} kedro run`, or "
            "name another lake by --lake or FB_LAKE"
        )
    listed = [
        ReleaseEntry(version, version == in_force, _manifest_or_why_not(lake, version))
        for version in versions
    ]
    return sorted(listed, key=_age, reverse=True)


def format_table(listed: list[ReleaseEntry]) -> list[str]:
    """Lay releases out in lines, the one in force marked by an asterisk."""
    head = ["", "version", "created", "code", "photos", "products", *_MEASURES]
    readable = [_row(each, each.manifest) for each in listed if isinstance(each.manifest, Manifest)]
    widths = [max(map(len, column)) for column in zip(head, *readable, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in ([head, *readable] if readable else [])
    ]
    unreadable_ones = [
        f"{_mark(each)}  {each.version} cannot be read: {each.manifest}"
        for each in listed
        if isinstance(each.manifest, ReleaseError)
    ]
    return lines + unreadable_ones


def _manifest_or_why_not(lake: Lake, version: str) -> Manifest | ReleaseError:
    try:
        return read_manifest(lake, version)
    except ReleaseError as error:
        return error


def _age(each: ReleaseEntry) -> tuple[bool, datetime, str]:
    oldest = datetime.min.replace(tzinfo=UTC)
    if isinstance(each.manifest, ReleaseError):
        return False, oldest, each.version
    try:
        created = datetime.fromisoformat(each.manifest.created)
    except ValueError:
        return True, oldest, each.version
    return True, created if created.tzinfo else created.replace(tzinfo=UTC), each.version


def _row(each: ReleaseEntry, manifest: Manifest) -> list[str]:
    counts = (manifest.counts.get(name) for name in ("photos", "products"))
    measures = (_measure(manifest.metrics, where) for where in _MEASURES.values())
    return [
        _mark(each),
        each.version,
        manifest.created,
        manifest.code_revision[:12],
        *(_UNKNOWN if count is None else f"{count:,}" for count in counts),
        *(_UNKNOWN if measure is None else f"{measure:.3f}" for measure in measures),
    ]


def _measure(metrics: Any, where: tuple[str, ...]) -> float | None:
    for name in where:
        if not isinstance(metrics, dict):
            return None
        metrics = metrics.get(name)
    return metrics if isinstance(metrics, (int, float)) else None


def _mark(each: ReleaseEntry) -> str:
    return "*" if each.is_current else " "
