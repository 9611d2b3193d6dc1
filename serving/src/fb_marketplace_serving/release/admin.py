"""What is done to releases by hand: proving one, putting one in force, taking one elsewhere."""

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fb_marketplace_serving.release.artifacts import (
    manifest_artifacts,
    read_verified_blocks,
    release_artifacts,
)
from fb_marketplace_serving.release.loader import Release
from fb_marketplace_serving.release.manifest import (
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
    make_pointer,
    read_current,
    read_pointer,
    set_current,
)
from fb_marketplace_serving.storage.lake import Lake

_REPAIR: Final = "publish the release again, or put another in force by `fb-serve rollback`"

Tell = Callable[[str], None]
"""Takes a line that says how far an operation is."""


def verify(lake: Lake, version: str | None, tell: Tell) -> Manifest:
    """Read every file of a release, then open it as a server does.

    Args:
        lake: root of the lake.
        version: which; without it, the one in force.
        tell: takes a line for each file.

    Raises:
        ReleaseError: a file is not as it was sealed (all were read, and each was told), the parts
            do not fit each other, or a canary is answered otherwise.
    """
    manifest = _manifest(lake, version)
    try:
        files = release_artifacts(lake, manifest)
    except ReleaseError:  # What names the photos is damaged, as will be told in its turn.
        files = manifest_artifacts(manifest)
    wrong = []
    for number, file in enumerate(files, start=1):
        try:
            for _ in read_verified_blocks(lake, file):
                pass
        except ReleaseError as error:
            wrong.append(error)
            tell(f"[{number}/{len(files)}] {error}")
        else:
            tell(f"[{number}/{len(files)}] {file.path}: {file.bytes:,} bytes, as sealed")
    if wrong:
        others = f" (and {len(wrong) - 1} more of {len(files)} files)" if len(wrong) > 1 else ""
        raise ReleaseError(f"{wrong[0]}{others}; {_REPAIR}")
    Release.from_manifest(lake, manifest).photos.verify()
    tell(f"parts fit each other; {len(manifest.canaries)} canaries are answered as they should be")
    return manifest


def rollback(lake: Lake, version: str) -> PointerState:
    """Put a release in force that the lake has, older or newer, once it opens as a server opens it.

    Args:
        lake: root of the lake.
        version: the release.

    Returns:
        What was in force before.

    Raises:
        ReleaseError: it cannot be opened, or another was put in force meanwhile; what was in force
            stays so.
    """
    seen = read_pointer(lake)
    Release.from_manifest(lake, read_manifest(lake, version))
    if seen.version != version:
        try:
            set_current(lake, version, seen)
        except OSError as error:
            file = lake.name(CURRENT)
            raise ReleaseError(
                f"{file}: cannot be written ({_said(error)}); what was in force stays so: ask for "
                "the right to write there"
            ) from error
        _still_there(lake, version, seen)
    return seen


def _still_there(lake: Lake, version: str, before: PointerState) -> None:
    """See that a release was not removed while it was opened, before it was pointed to."""
    try:
        read_manifest(lake, version)
    except ReleaseError as error:
        if before.version:
            set_current(lake, before.version, read_pointer(lake))
        raise ReleaseError(
            f"{error}; it was removed while it was opened, and what was in force is so again"
        ) from error


def export(lake: Lake, folder: str, version: str | None, tell: Tell) -> Manifest:
    """Copy a release into a folder that can be served by itself: a lake with that release only.

    The folder appears whole: it is filled under another name beside it, then renamed. Digests are
    checked while copying; no file is held in memory.

    Args:
        lake: root of the lake.
        folder: a local folder that is not there yet, or is empty.
        version: which release; without it, the one in force.
        tell: takes a line for each file.

    Raises:
        ReleaseError: a file is not as it was sealed, or the folder cannot be made.
    """
    target = _free_folder(folder)
    manifest = _manifest(lake, version)
    try:
        files = release_artifacts(lake, manifest)
    except ReleaseError as error:
        raise ReleaseError(f"{error}; {_REPAIR}; nothing was exported") from error
    with _filled_beside(target) as filled:
        for number, file in enumerate(files, start=1):
            try:
                _copy(lake, file, filled / file.path)
            except ReleaseError as error:
                raise ReleaseError(f"{error}; {_REPAIR}; nothing was exported") from error
            tell(f"[{number}/{len(files)}] {file.path}: {file.bytes:,} bytes")
        written = Lake(str(filled))
        path = manifest_path(manifest.version)
        try:
            sealed = lake.read(path)
        except OSError as error:
            raise unreadable(lake.name(path), error) from error
        written.create(path, sealed)
        written.create(CURRENT, make_pointer(manifest.version))
    return manifest


def _manifest(lake: Lake, version: str | None) -> Manifest:
    return read_current(lake) if version is None else read_manifest(lake, version)


def _free_folder(folder: str) -> Path:
    if "://" in folder:
        raise ReleaseError(f"found {folder}; expected a folder on this machine's disk")
    # A link stays one: what it leads to is what is filled.
    target = Path(folder).resolve()
    if target.exists() and not target.is_dir():
        raise ReleaseError(f"{folder}: found a file; expected no folder yet, or an empty one")
    if target.is_dir() and any(target.iterdir()):
        raise ReleaseError(
            f"{folder}: found files in it; expected no folder yet, or an empty one: name another"
        )
    return target


@contextlib.contextmanager
def _filled_beside(target: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes the target's name if all goes well."""
    filled = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        filled.mkdir(parents=True)
        yield filled
        filled.rename(target)
    except OSError as error:
        raise ReleaseError(
            f"{target}: cannot be written ({_said(error)}); nothing was exported: name a folder "
            "that can be, with space for the release"
        ) from error
    finally:
        shutil.rmtree(filled, ignore_errors=True)


def _copy(source: Lake, file: Artifact, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as stream:
        for block in read_verified_blocks(source, file):
            stream.write(block)


def _said(error: OSError) -> str:
    return error.strerror or " ".join(str(error).split()) or type(error).__name__
