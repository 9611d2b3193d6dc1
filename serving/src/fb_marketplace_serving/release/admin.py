"""Manual operations on releases: verify, rollback and export."""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from fb_marketplace_serving.release.artifacts import (
    read_verified_blocks,
    release_artifacts,
)
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import (
    REPAIR,
    Artifact,
    Manifest,
    ReleaseError,
    manifest_path,
    read_manifest,
    unreadable,
)
from fb_marketplace_serving.release.pointer import (
    CURRENT,
    PointerState,
    load_pointer,
    make_pointer,
    read_current,
    read_pointer,
    set_current,
)
from fb_marketplace_serving.storage.lake import Lake

ReportProgress = Callable[[str], None]
"""Receives a line of progress."""


def verify(lake: Lake, version: str | None, report: ReportProgress) -> Manifest:
    """Check every file of a release, then open it as a server does.

    Args:
        lake: the lake.
        version: the release; None for the current one.
        report: receives a line for each file.

    Returns:
        The manifest of the release.

    Raises:
        ReleaseError: a file is damaged (all files are checked and reported first), the artifacts do not
            match, or a canary is not reproduced.
    """
    manifest = _manifest(lake, version)
    try:
        files = release_artifacts(lake, manifest)
    except ReleaseError:  # A table of photos is damaged; its own check will report that.
        files = manifest.files
    errors = []
    for number, file in enumerate(files, start=1):
        try:
            for _ in read_verified_blocks(lake, file):
                pass
        except ReleaseError as error:
            errors.append(error)
            report(f"[{number}/{len(files)}] {error}")
        else:
            report(f"[{number}/{len(files)}] {file.path}: {file.bytes:,} bytes, checksum verified")
    if errors:
        others = f" (and {len(errors) - 1} more of {len(files)} files)" if len(errors) > 1 else ""
        raise ReleaseError(f"{errors[0]}{others}; {REPAIR}")
    release = Release.from_manifest(lake, manifest)
    release.photos.verify()
    release.display_photos.verify()
    report(f"artifacts match; {len(manifest.canaries)} canaries are reproduced")
    return manifest


def rollback(lake: Lake, version: str) -> PointerState:
    """Open another release of the lake as a server does, then make it the current one.

    Args:
        lake: the lake.
        version: the release.

    Returns:
        The previous pointer.

    Raises:
        ReleaseError: the release cannot be opened or holds an erased listing, or another one was published
            meanwhile. The current release does not change.
    """
    previous = read_pointer(lake)
    Release.from_manifest(lake, read_manifest(lake, version)).check_erasures(lake)
    # A pointer of version 0.2 gets the checksum that it lacks.
    if previous.version != version or load_pointer(lake).manifest_sha256 is None:
        try:
            set_current(lake, version, previous)
        except OSError as error:
            raise ReleaseError(
                f"{lake.name(CURRENT)}: cannot be written ({_message(error)}); the current release does "
                "not change; get write access"
            ) from error
        _undo_if_removed(lake, version, previous)
    return previous


def _undo_if_removed(lake: Lake, version: str, previous: PointerState) -> None:
    """Restore the previous pointer if the release was removed after it was opened."""
    try:
        read_manifest(lake, version)
    except ReleaseError as error:
        if previous.version:
            set_current(lake, previous.version, read_pointer(lake))
        raise ReleaseError(
            f"{error}; it was removed while it was being opened, and the previous release is current again"
        ) from error


def export(lake: Lake, folder: str, version: str | None, report: ReportProgress) -> Manifest:
    """Copy a release into a new folder that can be served without the lake.

    The folder is filled under a temporary name and renamed when it is complete. Files are copied in blocks,
    and their checksums are verified on the way.

    Args:
        lake: the lake.
        folder: a local folder that does not exist or is empty.
        version: the release; None for the current one.
        report: receives a line for each file.

    Returns:
        The manifest of the release.

    Raises:
        ReleaseError: a file is damaged, or the folder is not empty or cannot be written.
    """
    target = _free_folder(folder)
    manifest = _manifest(lake, version)
    try:
        files = release_artifacts(lake, manifest)
    except ReleaseError as error:
        raise ReleaseError(f"{error}; {REPAIR}; nothing was exported") from error
    with _temporary_folder(target) as partial:
        for number, file in enumerate(files, start=1):
            try:
                _copy(lake, file, partial / file.path)
            except ReleaseError as error:
                raise ReleaseError(f"{error}; {REPAIR}; nothing was exported") from error
            report(f"[{number}/{len(files)}] {file.path}: {file.bytes:,} bytes")
        exported = Lake(str(partial))
        path = manifest_path(manifest.version)
        try:
            content = lake.read(path)
        except OSError as error:
            raise unreadable(lake.name(path), error) from error
        exported.create(path, content)
        exported.create(CURRENT, make_pointer(manifest.version, content))
    return manifest


def _manifest(lake: Lake, version: str | None) -> Manifest:
    return read_current(lake) if version is None else read_manifest(lake, version)


def _free_folder(folder: str) -> Path:
    if "://" in folder:
        raise ReleaseError(f"found {folder}; expected a local folder")
    # Resolve symbolic links, so that the export fills their target.
    target = Path(folder).resolve()
    if target.exists() and not target.is_dir():
        raise ReleaseError(f"{folder}: found a file; expected a new or empty folder")
    if target.is_dir() and any(target.iterdir()):
        raise ReleaseError(f"{folder}: the folder is not empty; choose a new or empty folder")
    return target


@contextlib.contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder, which is renamed to the target if there is no error."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(target)
    except OSError as error:
        raise ReleaseError(
            f"{target}: cannot be written ({_message(error)}); nothing was exported; choose a writable "
            "folder with enough space for the release"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(source: Lake, file: Artifact, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as stream:
        for block in read_verified_blocks(source, file):
            stream.write(block)


def _message(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split()) or type(error).__name__
