"""Which release is in force: ``releases/current.json`` names it.

It is written last, so that a reader who follows it finds everything in place, and by one
conditional put, so that of two who would put a release in force at once one is told.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

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


def _version(name: str) -> str:
    if not is_version(name):
        raise ValueError(f"{name!r} is no version")
    return name


class _Pointer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, AfterValidator(_version)]


@dataclass(frozen=True, slots=True)
class PointerState:
    """The pointer as it was when somebody looked.

    Attributes:
        version: the release in force; None where there was none, or the pointer was damaged.
        tag: what the lake knows that state by; None where there was no pointer.
    """

    version: str | None
    tag: str | None


def read_pointer(lake: Lake) -> PointerState:
    """See which release is in force, so as to put another in its place and in no other's.

    Raises:
        ReleaseError: the pointer cannot be read; one that is damaged may be replaced.
    """
    try:
        data, tag = lake.read_tagged(CURRENT)
    except FileNotFoundError:
        return PointerState(None, None)
    except OSError as error:
        raise unreadable(lake.name(CURRENT), error) from error
    try:
        return PointerState(_Pointer.model_validate_json(data).version, tag)
    except ValidationError:
        return PointerState(None, tag)


def current_version(lake: Lake) -> str:
    """Read which release is in force: one small file, for whoever asks often.

    Raises:
        ReleaseError: there is none, or the pointer cannot be read.
    """
    file = lake.name(CURRENT)
    try:
        data = lake.read(CURRENT)
    except FileNotFoundError:
        raise ReleaseError(
            f"{file}: not found, so the lake has no release; make one with "
            f"`FB_LAKE={lake.url} kedro run`, or name another lake by --lake or FB_LAKE"
        ) from None
    except OSError as error:
        raise unreadable(file, error) from error
    try:
        return _Pointer.model_validate_json(data).version
    except ValidationError as error:
        said = " ".join(error.errors(include_url=False, include_input=False)[0]["msg"].split())
        raise ReleaseError(
            f'{file}: found no pointer ({said}); expected {{"version": …}}; put a release in force '
            f"with `fb-serve rollback VERSION --lake {lake.url}`"
        ) from error


def read_current(lake: Lake) -> Manifest:
    """Read the manifest of the release in force.

    Raises:
        ReleaseError: there is none, or it cannot be read.
    """
    return read_manifest(lake, current_version(lake))


def make_pointer(version: str) -> bytes:
    """Write what ``releases/current.json`` holds where a release is in force."""
    return _Pointer(version=version).model_dump_json().encode()


def set_current(lake: Lake, version: str, seen: PointerState) -> None:
    """Point to a release, unless another was put in force since somebody looked.

    Args:
        lake: root of the lake.
        version: the release; that it can be served is for the caller to know.
        seen: the pointer when the caller looked, before proving the release.

    Raises:
        ReleaseError: another release was put in force meanwhile; it stays in force.
        OSError: the lake cannot be written.
    """
    try:
        lake.replace_if(CURRENT, make_pointer(version), seen.tag)
    except ConcurrentWriteError as error:
        raise _overtaken(lake, seen, read_pointer(lake)) from error


def publish(lake: Lake, manifest: Manifest, seen: PointerState | None = None) -> None:
    """Write a manifest, then point to it. Its artifacts must be in place.

    Args:
        lake: root of the lake.
        manifest: the release.
        seen: the pointer when the release was begun to be compared with the one in force; without
            it, as it is now.

    Raises:
        ReleaseError: the lake has a release of that version already, or another was put in force
            meanwhile; all stays as it was, but that a manifest may lie there unused.
        OSError: the lake cannot be written.
    """
    now = read_pointer(lake)
    if seen is None:
        seen = now
    elif seen != now:
        raise _overtaken(lake, seen, now)
    path = manifest_path(manifest.version)
    try:
        lake.create(path, manifest.model_dump_json(indent=2).encode())
    except FileExistsError:
        raise ReleaseError(
            f"{lake.name(path)}: exists already, and a release is never changed; publish another "
            "version"
        ) from None
    set_current(lake, manifest.version, seen)


def _overtaken(lake: Lake, seen: PointerState, now: PointerState) -> ReleaseError:
    return ReleaseError(
        f"{lake.name(CURRENT)}: {_in_words(now)} was put in force meanwhile; expected "
        f"{_in_words(seen)}, as when this began; it stays in force: run again"
    )


def _in_words(seen: PointerState) -> str:
    if seen.version:
        return f"release {seen.version}"
    return "none" if seen.tag is None else "a pointer that cannot be read"
