"""What this machine has: room on a disk, memory, and packages of the right versions."""

import contextlib
import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Final

OURS: Final = "fb-marketplace"

_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def nearest_existing_folder(path: Path) -> Path:
    """Give the folder itself if it is there, or else the nearest above it that is."""
    at = path.absolute()
    while not at.exists() and at != at.parent:
        at = at.parent
    return at


def free_disk(path: Path) -> int:
    """Give the bytes that are free where a folder is, or would be."""
    return shutil.disk_usage(nearest_existing_folder(path)).free


def folder_size(path: Path) -> int:
    """Give the bytes of all files below a folder; 0 if it is not there."""
    found = 0
    for folder, _, names in os.walk(path):
        for name in names:
            # Another run, or a prune, may take it away meanwhile.
            with contextlib.suppress(OSError):
                found += Path(folder, name).lstat().st_size
    return found


def memory_limit() -> int | None:
    """Give the bytes of memory that this machine, or the container in it, has; nothing if unknown."""
    try:
        limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None
    for file in _CGROUP_LIMITS:
        try:
            limit = min(limit, int(file.read_text()))
        except (OSError, ValueError):  # "max", or another system
            continue
    return limit


def incompatible_packages(of: str = OURS) -> list[str] | None:
    """Name the packages whose version is not what a distribution asks for, and what it asks for.

    Returns:
        Such as ``pandas 2.3.0, not >=3.1,<4``; nothing where it is not known what is asked for, as in
        a checkout that is not installed.
    """
    try:
        asked = requires(of) or []
    except PackageNotFoundError:
        return None
    from packaging.requirements import Requirement

    unfit = []
    for each in map(Requirement, asked):
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            found = _version(each.name)
        except PackageNotFoundError:
            unfit.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(found, prereleases=True):
            unfit.append(f"{each.name} {found}, not {each.specifier}")
    return unfit


def _version(name: str) -> str:
    # As `importlib.metadata.version` does it, but for the description, whose reading takes the time.
    written = re.search(
        r"^Version: (\S+)", distribution(name).read_text("METADATA") or "", re.MULTILINE
    )
    return written[1] if written else distribution(name).version
