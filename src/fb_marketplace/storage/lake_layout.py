"""The files of a lake as they lie there, and which version of what a path is."""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from fb_marketplace.storage.filesystem import open_root

LAYERS: Final = (
    "02_intermediate",
    "03_primary",
    "04_feature",
    "05_model_input",
    "06_models",
    "07_model_output",
    "08_reporting",
)
"""Where outputs are. ``01_raw`` is not among them: a lake may have the bucket itself beside these."""

VERSION: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")
"""How Kedro names a run, by when it started, UTC; names are in the order of time."""

TABLE: Final = ".lance"

PROBE: Final = ".doctor-"
"""What the names of the objects begin with that are written to see whether that is allowed."""


class LakeFile(NamedTuple):
    """A file: its path from the lake's root, its bytes, and when it was written."""

    path: str
    bytes: int
    written: datetime


class Versioned(NamedTuple):
    """What a path is of: an entry of the catalog, by its path, and a version of it."""

    entry: str
    version: str


def files_below(lake: str, *folders: str) -> dict[str, LakeFile]:
    """List the files below folders of a lake, by their paths from its root, sorted.

    Raises:
        OSError: the store cannot be listed.
    """
    filesystem, root = open_root(lake)
    found: dict[str, LakeFile] = {}
    for folder in folders:
        for at, info in filesystem.find(f"{root}/{folder}", detail=True).items():
            path = at.removeprefix(root).lstrip("/")
            if info.get("type", "file") == "file":
                found[path] = LakeFile(path, int(info["size"]), _written(info))
    return dict(sorted(found.items()))


def probes(lake: str) -> dict[str, LakeFile]:
    """List what was written at the root to see whether that is allowed, by a process that was then killed.

    Raises:
        OSError: the store cannot be listed.
    """
    filesystem, root = open_root(lake)
    listed = filesystem.ls(root, detail=True) if filesystem.isdir(root) else []
    named = {PurePosixPath(info["name"]).name: info for info in listed}
    return {
        name: LakeFile(name, int(info["size"]), _written(info))
        for name, info in sorted(named.items())
        if name.startswith(PROBE)
    }


def versioned(path: str) -> Versioned | None:
    """Read a path of Kedro's layout, ``<entry>/<version>/<name of the entry>``; None for any other."""
    parts = PurePosixPath(path).parts
    for place in range(1, len(parts) - 1):
        is_version = VERSION.fullmatch(parts[place]) is not None
        if is_version and parts[place - 1] == parts[place + 1]:
            return Versioned("/".join(parts[:place]), parts[place])
    return None


def table_of(path: str) -> str | None:
    """Give the Lance table that a file is part of, by its path from the lake's root."""
    parts = PurePosixPath(path).parts
    for place, part in enumerate(parts[:-1], start=1):
        if part.endswith(TABLE):
            return "/".join(parts[:place])
    return None


def started_at(version: str) -> datetime:
    """Say when the run of a version started."""
    return datetime.strptime(version, "%Y-%m-%dT%H.%M.%S.%fZ").replace(tzinfo=UTC)


def _written(info: dict[str, Any]) -> datetime:
    """Say when a file was last written; of a store that does not tell, now, as if somebody still wrote."""
    for name in ("mtime", "LastModified", "last_modified", "updated"):
        told = info.get(name)
        if isinstance(told, int | float):
            return datetime.fromtimestamp(told, UTC)
        if isinstance(told, str):
            told = datetime.fromisoformat(told)
        if isinstance(told, datetime):
            return told if told.tzinfo else told.replace(tzinfo=UTC)
    return datetime.now(UTC)
