"""Layout of a lake: its folders, and the version or table that a path belongs to."""

import re
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from fb_marketplace_serving.storage.lake import Lake

LAYERS: Final = (
    "02_intermediate",
    "03_primary",
    "04_feature",
    "05_model_input",
    "06_models",
    "07_model_output",
    "08_reporting",
)
"""Folders of outputs. ``01_raw`` is excluded: the raw bucket may have the same root as the lake."""

VERSION: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d\.\d\d\.\d\d\.\d{3}Z")
"""Version of a Kedro run: its start time, UTC. Versions sort by time."""

TABLE: Final = ".lance"

PROBE: Final = ".doctor-"
"""Prefix of the objects that ``doctor`` writes to check write access."""


class LakeFile(NamedTuple):
    """A file: its path relative to the lake's root, its size in bytes, and its modification time."""

    path: str
    bytes: int
    written: datetime


class VersionedPath(NamedTuple):
    """The catalog entry and version that a path belongs to; ``entry`` is relative to the lake's root."""

    entry: str
    version: str


def list_files(lake: Lake, *folders: str) -> dict[str, LakeFile]:
    """List all files below folders of a lake, by path relative to its root, sorted.

    Raises:
        OSError: the store cannot be listed.
    """
    files: dict[str, LakeFile] = {}
    for folder in folders:
        files |= {path: _lake_file(path, info) for path, info in lake.find(folder).items()}
    return dict(sorted(files.items()))


def list_probes(lake: Lake) -> dict[str, LakeFile]:
    """List the probes that a killed ``doctor`` left at the root of a lake.

    Raises:
        OSError: the store cannot be listed.
    """
    filesystem = lake.filesystem
    listing = filesystem.ls(lake.root, detail=True) if filesystem.isdir(lake.root) else []
    by_name = {PurePosixPath(info["name"]).name: info for info in listing}
    return {
        name: _lake_file(name, info)
        for name, info in sorted(by_name.items())
        if name.startswith(PROBE)
    }


def parse_versioned(path: str) -> VersionedPath | None:
    """Parse ``<entry>/<version>/<name of the entry>``, Kedro's layout; None for any other path."""
    parts = PurePosixPath(path).parts
    for index in range(1, len(parts) - 1):
        is_version = VERSION.fullmatch(parts[index]) is not None
        if is_version and parts[index - 1] == parts[index + 1]:
            return VersionedPath("/".join(parts[:index]), parts[index])
    return None


def parent_table(path: str) -> str | None:
    """Return the path of the Lance table that a file belongs to, None if there is none."""
    parts = PurePosixPath(path).parts
    for index, part in enumerate(parts[:-1], start=1):
        if part.endswith(TABLE):
            return "/".join(parts[:index])
    return None


def started_at(version: str) -> datetime:
    """Return the start time of a run, UTC, from its version."""
    return datetime.strptime(version, "%Y-%m-%dT%H.%M.%S.%fZ").replace(tzinfo=UTC)


def format_version(time: datetime) -> str:
    """Return the version of a run that starts at a time, UTC."""
    return f"{time:%Y-%m-%dT%H.%M.%S}.{time.microsecond // 1000:03}Z"


def _lake_file(path: str, info: dict[str, Any]) -> LakeFile:
    return LakeFile(path, int(info["size"]), _written(info))


def _written(info: dict[str, Any]) -> datetime:
    """Return the modification time; now if the store has none, so that the file counts as recent."""
    for name in ("mtime", "LastModified", "last_modified", "updated"):
        time = info.get(name)
        if isinstance(time, int | float):
            return datetime.fromtimestamp(time, UTC)
        if isinstance(time, str):
            time = datetime.fromisoformat(time)
        if isinstance(time, datetime):
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    return datetime.now(UTC)
