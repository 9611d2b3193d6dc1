"""Resources of this machine: disk space, memory, and versions of packages."""

import contextlib
import os
import re
import shutil
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from typing import Final

import psutil

DISTRIBUTION: Final = "fb-marketplace"

_CGROUP_LIMITS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def nearest_existing_folder(path: Path) -> Path:
    """Return the folder, or its nearest ancestor that exists."""
    folder = path.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def free_disk(path: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist."""
    return shutil.disk_usage(nearest_existing_folder(path)).free


def folder_size(path: Path) -> int:
    """Return the total size in bytes of all files below a folder; 0 if it does not exist."""
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            # Another process may remove the file meanwhile.
            with contextlib.suppress(OSError):
                size += Path(folder, name).lstat().st_size
    return size


def memory_limit() -> int:
    """Return the memory of this machine or of its container in bytes, whichever is smaller."""
    limits = [int(psutil.virtual_memory().total)]
    for file in _CGROUP_LIMITS:
        # The content may be "max"; other systems have no such file.
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(file.read_text()))
    return min(limits)


def incompatible_packages(name: str = DISTRIBUTION) -> list[str] | None:
    """Return the requirements of a distribution that are not met.

    Returns:
        Messages such as ``pandas 2.3.0, not >=3.1,<4``; None if the distribution is not installed, for
        example in a checkout.
    """
    try:
        requirements = requires(name) or []
    except PackageNotFoundError:
        return None
    from packaging.requirements import Requirement

    unmet = []
    for requirement in map(Requirement, requirements):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = _version(requirement.name)
        except PackageNotFoundError:
            unmet.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f"{requirement.name} {version}, not {requirement.specifier}")
    return unmet


def _version(name: str) -> str:
    # Like `importlib.metadata.version`, but without parsing the long description, which is slow.
    metadata = distribution(name).read_text("METADATA") or ""
    match = re.search(r"^Version: (\S+)", metadata, re.MULTILINE)
    return match[1] if match else distribution(name).version
