"""Photos of a release: packed into large files, each photo read by its byte range.

A release has hundreds of thousands of photos, and shares most of them with the previous release. They are
packed, sorted by id, into files named by the SHA-256 of their content. Releases share these files. The
artifact ``release_photos`` records the file, byte range and checksum of each photo, and
``release_display_photos`` those of its display rendition.
"""

import hashlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, Self

from fb_marketplace_serving.release.manifest import REPAIR, Artifact, ReleaseError, unreadable
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.parquet import read_parquet

FOLDER: Final = "07_model_output/photos"
"""Folder of the photo files in the lake."""

COLUMNS: Final = ("image_id", "file", "offset", "bytes", "sha256")

_FILE: Final = re.compile(r"(?!/)(?!.*\.\.)[^\\:]*?([0-9a-f]{64})\.jpegs")
"""Path inside the lake to a file that is named by a digest."""

_READ_THREADS: Final = 8


def file_name(sha256: str) -> str:
    """Return the name of a photo file from the SHA-256 of its content, in hex."""
    return f"{sha256}.jpegs"


class PhotoLocation(NamedTuple):
    """Location of a photo.

    Attributes:
        file: path of its file, relative to the lake's root.
        offset: offset of its first byte in the file.
        size: size in bytes.
        sha256: SHA-256 of the photo, 32 bytes.
    """

    file: str
    offset: int
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class PhotoStore:
    """The photos of one release, by id.

    Attributes:
        locations: location of each photo, by id.
        sizes: size of each file in bytes, by path.
    """

    locations: Mapping[str, PhotoLocation]
    sizes: Mapping[str, int]
    _lake: Lake

    @classmethod
    def open(cls, table: bytes, lake: Lake) -> Self:
        """Read the locations of photos, and check that every file exists with its size.

        Folders are listed, but no file is read, so that a server starts quickly. :meth:`read` verifies
        each photo.

        Args:
            table: the verified artifact, Parquet with ``COLUMNS``.
            lake: the lake that contains the files.

        Raises:
            ValueError: the table is malformed.
            ReleaseError: a file is missing, or its size differs.
        """
        store = cls.from_table(table, lake)
        store._check_sizes()
        return store

    @classmethod
    def from_table(cls, table: bytes, lake: Lake) -> Self:
        """Read the locations of photos without checking the files.

        Raises:
            ValueError: the table is malformed.
        """
        locations = _read_locations(table)
        sizes: dict[str, int] = {}
        for location in locations.values():
            end = location.offset + location.size
            sizes[location.file] = max(sizes.get(location.file, 0), end)
        return cls(locations, sizes, lake)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.locations

    def __len__(self) -> int:
        return len(self.locations)

    def read(self, image_id: str) -> bytes:
        """Read a photo, a JPEG, and verify its checksum.

        Raises:
            KeyError: the release has no such photo.
            ReleaseError: the photo is damaged, or its file cannot be read (``__cause__`` is an OSError).
        """
        location = self.locations[image_id]
        end = location.offset + location.size
        file = self._lake.name(location.file)
        try:
            data = self._lake.read_range(location.file, location.offset, end)
        except FileNotFoundError as error:
            raise self._missing(location.file) from error
        except OSError as error:
            raise unreadable(file, error) from error
        _check_photo(file, image_id, location, data)
        return data

    def artifacts(self) -> list[Artifact]:
        """Return the path, size and checksum of each file. The checksum is part of its name."""
        return [
            Artifact(path=path, bytes=size, sha256=PurePosixPath(path).stem)
            for path, size in self.sizes.items()
        ]

    def verify(self) -> None:
        """Read all files, and verify each photo and each file.

        Raises:
            ReleaseError: a file or photo is damaged.
        """
        by_file: dict[str, list[str]] = {path: [] for path in self.sizes}
        for image_id, location in self.locations.items():
            by_file[location.file].append(image_id)
        pool = ThreadPoolExecutor(_READ_THREADS)
        try:
            for _ in pool.map(self._verify_file, by_file, by_file.values()):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def _verify_file(self, path: str, image_ids: list[str]) -> None:
        file = self._lake.name(path)
        try:
            data = self._lake.read(path)
        except FileNotFoundError:
            raise self._missing(path) from None
        except OSError as error:
            raise unreadable(file, error) from error
        if len(data) != self.sizes[path]:
            raise _wrong_size(file, len(data), self.sizes[path])
        for image_id in image_ids:
            location = self.locations[image_id]
            end = location.offset + location.size
            _check_photo(file, image_id, location, data[location.offset : end])
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 != PurePosixPath(path).stem:
            raise ReleaseError(
                f"{file}: found sha256 {sha256[:12]}…; expected the sha256 in its name; {REPAIR}"
            )

    def _check_sizes(self) -> None:
        folders = sorted({PurePosixPath(path).parent.as_posix() for path in self.sizes})
        listings: dict[str, dict[str, int]] = {}
        for folder in folders:
            try:
                listings[folder] = self._lake.sizes(folder)
            except OSError as error:
                raise unreadable(self._lake.name(folder), error) from error
        for path, expected in self.sizes.items():
            file = PurePosixPath(path)
            size = listings[file.parent.as_posix()].get(file.name)
            if size is None:
                raise self._missing(path)
            if size != expected:
                raise _wrong_size(self._lake.name(path), size, expected)

    def _missing(self, path: str) -> ReleaseError:
        return ReleaseError(
            f"{self._lake.name(path)}: not found; expected {self.sizes[path]:,} bytes of photos; "
            f"{REPAIR}"
        )


def _check_photo(file: str, image_id: str, location: PhotoLocation, data: bytes) -> None:
    if len(data) != location.size or hashlib.sha256(data).digest() != location.sha256:
        raise ReleaseError(
            f"{file}: photo {image_id} is damaged: {len(data):,} bytes at {location.offset:,} do not match "
            f"the expected {location.size:,} bytes with sha256 {location.sha256.hex()[:12]}…; {REPAIR}"
        )


def _wrong_size(file: str, size: int, expected: int) -> ReleaseError:
    return ReleaseError(f"{file}: found {size:,} bytes; expected {expected:,}; {REPAIR}")


def _read_locations(table: bytes) -> dict[str, PhotoLocation]:
    columns = _read_columns(table)
    locations: dict[str, PhotoLocation] = {}
    for image_id, *values in zip(*columns, strict=True):
        if None in (image_id, *values):
            raise ValueError(f"found a missing value in the row of {image_id}; expected none")
        locations[image_id] = PhotoLocation(*values)
    if len(locations) != len(columns[0]):
        raise ValueError(
            f"found {len(columns[0]):,} rows for {len(locations):,} photos; expected one row per photo"
        )
    for file in {location.file for location in locations.values()}:
        if not _FILE.fullmatch(file):
            raise ValueError(
                f"found the file {file!r}; expected a path inside the lake with a sha256 as its name"
            )
    if any(location.size < 1 or location.offset < 0 for location in locations.values()):
        raise ValueError("found a photo with no bytes or a negative offset; expected none")
    return locations


def _read_columns(data: bytes) -> list[list[Any]]:
    import pyarrow as pa

    table = read_parquet(data, COLUMNS)
    types = (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.binary())
    try:
        return [
            column.cast(type_).to_pylist()
            for column, type_ in zip(table.columns, types, strict=True)
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"found columns of unexpected types ({error})") from error
