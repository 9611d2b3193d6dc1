"""The pointer ``releases/current.json``, which names the current release.

It is written last, when all files of the release are in place. The write is conditional: of two
concurrent writers, one fails. The pointer holds the checksum of the manifest, which holds the checksums
of all files, so any changed byte of a release is detected. Pointers of version 0.2 have no checksum; they
are read, and the manifest is then not verified.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fb_marketplace_serving.release.manifest import (
    Manifest,
    ReleaseError,
    is_version,
    manifest_path,
    read_manifest,
    unreadable,
)
from fb_marketplace_serving.storage.lake import ConcurrentWriteError, Lake

CURRENT: Final = "releases/current.json"


def _check_version(name: str) -> str:
    if not is_version(name):
        raise ValueError(f"{name!r} is not a version")
    return name


class Pointer(BaseModel):
    """Content of the pointer.

    Attributes:
        version: the current release.
        manifest_sha256: checksum of its manifest, in hex; None in pointers of version 0.2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, AfterValidator(_check_version)]
    manifest_sha256: Annotated[str | None, Field(pattern="^[0-9a-f]{64}$")] = None


@dataclass(frozen=True, slots=True)
class PointerState:
    """The pointer at one moment.

    Attributes:
        version: the current release; None if there was no pointer, or a damaged one.
        tag: tag of the content, from :meth:`Lake.read_tagged`; None if there was no pointer.
    """

    version: str | None
    tag: str | None


def read_pointer(lake: Lake) -> PointerState:
    """Read the pointer with its tag, for a later conditional write.

    Raises:
        ReleaseError: the lake cannot be read. A damaged pointer is not an error: it can be replaced.
    """
    try:
        data, tag = lake.read_tagged(CURRENT)
    except FileNotFoundError:
        return PointerState(None, None)
    except OSError as error:
        raise unreadable(lake.name(CURRENT), error) from error
    try:
        return PointerState(Pointer.model_validate_json(data).version, tag)
    except ValidationError:
        return PointerState(None, tag)


def current_version(lake: Lake) -> str:
    """Read the version of the current release; see :func:`load_pointer`."""
    return load_pointer(lake).version


def load_pointer(lake: Lake) -> Pointer:
    """Read the pointer to the current release. This reads one small file only.

    Raises:
        ReleaseError: there is no release, or the pointer cannot be read.
    """
    file = lake.name(CURRENT)
    try:
        data = lake.read(CURRENT)
    except FileNotFoundError:
        raise ReleaseError(
            f"{file}: not found, so the lake has no release; create one with "
            f"`FB_LAKE={lake.url} kedro run`, or set another lake with --lake or FB_LAKE"
        ) from None
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        return Pointer.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = " ".join(first["msg"].split())
        raise ReleaseError(
            f'{file}: invalid pointer ({message}); expected {{"version": …}}; choose a release '
            f"with `fb-serve rollback VERSION --lake {lake.url}`"
        ) from error


def read_current(lake: Lake) -> Manifest:
    """Read the manifest of the current release, and verify its checksum.

    Raises:
        ReleaseError: there is none, or it cannot be read.
    """
    pointer = load_pointer(lake)
    return read_manifest(lake, pointer.version, pointer.manifest_sha256)


def make_pointer(version: str, manifest: bytes) -> bytes:
    """Return the content of ``releases/current.json`` for a release and the bytes of its manifest."""
    sha256 = hashlib.sha256(manifest).hexdigest()
    return Pointer(version=version, manifest_sha256=sha256).model_dump_json().encode()


def set_current(lake: Lake, version: str, previous: PointerState) -> None:
    """Make a release the current one, unless the pointer has changed.

    Args:
        lake: the lake.
        version: the release; the caller has checked that it can be served.
        previous: the pointer as read before the release was checked.

    Raises:
        ReleaseError: the release has no manifest, or another release was published meanwhile; it stays
            current.
        OSError: the lake cannot be read or written.
    """
    path = manifest_path(version)
    try:
        manifest = lake.read(path)
    except FileNotFoundError:
        raise ReleaseError(
            f"{lake.name(path)}: not found, or removed meanwhile; the current release does not change"
        ) from None
    _set_current(lake, version, manifest, previous)


def _set_current(lake: Lake, version: str, manifest: bytes, previous: PointerState) -> None:
    try:
        lake.replace_if(CURRENT, make_pointer(version, manifest), previous.tag)
    except ConcurrentWriteError as error:
        raise _overtaken(lake, previous, read_pointer(lake)) from error


def publish(lake: Lake, manifest: Manifest, previous: PointerState | None = None) -> None:
    """Write a manifest and make its release current. Its artifacts must be in place.

    Args:
        lake: the lake.
        manifest: the release.
        previous: the pointer as read before this release was compared with the current one; None to read
            it now.

    Raises:
        ReleaseError: the lake has a release of that version, or another one was published meanwhile. The
            current release stays; an unused manifest may be left.
        OSError: the lake cannot be written.
    """
    now = read_pointer(lake)
    if previous is None:
        previous = now
    elif previous != now:
        raise _overtaken(lake, previous, now)
    lake.sync(lake.name(file.path) for file in manifest.files)
    path, data = manifest_path(manifest.version), manifest.model_dump_json(indent=2).encode()
    try:
        lake.create(path, data)
    except FileExistsError:
        raise ReleaseError(
            f"{lake.name(path)}: already exists, and releases are immutable; publish another version"
        ) from None
    _set_current(lake, manifest.version, data, previous)


def _overtaken(lake: Lake, previous: PointerState, now: PointerState) -> ReleaseError:
    return ReleaseError(
        f"{lake.name(CURRENT)}: {_describe(now)} was published meanwhile and stays current; "
        f"expected {_describe(previous)}. Run again."
    )


def _describe(state: PointerState) -> str:
    if state.version:
        return f"release {state.version}"
    return "none" if state.tag is None else "an unreadable pointer"
