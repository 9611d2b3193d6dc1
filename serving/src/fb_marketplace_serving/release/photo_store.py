"""Photos of a release: packed into large files, each photo read by its byte range.

A release has hundreds of thousands of photos, and shares most of them with the previous release. They are
packed, sorted by id, into files named by the SHA-256 of their content. Releases share these files. The
artifact ``release_photos`` records the file, byte range and checksum of each photo, and
``release_display_photos`` those of its display rendition.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple, Self

import numpy as np

from fb_marketplace_serving.release.manifest import REPAIR, Artifact, ReleaseError, unreadable
from fb_marketplace_serving.storage.columns import IdColumn, column_of, to_numpy
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.parquet import read_parquet
from fb_marketplace_serving.storage.private_file import Content

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


class PhotoLocations(Mapping[str, PhotoLocation]):
    """The location of each photo by id, in columns. A location is created when it is read.

    Attributes:
        ids: the photos.
    """

    def __init__(self, table: Any) -> None:
        """Wrap a table of ``COLUMNS``.

        Raises:
            ValueError: a value is missing or impossible, or a photo occurs twice.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = [column_of(table, name) for name in COLUMNS]
        self.ids = IdColumn(columns[0])
        for column in columns:
            if column.null_count:
                row = pc.index(column.is_null(), True).as_py()
                raise ValueError(
                    f"found a missing value in the row of {columns[0][row]}; expected none"
                )
        if not self.ids.is_ascending and len(distinct := pc.unique(columns[0])) < len(self.ids):
            raise ValueError(
                f"found {len(self.ids):,} rows for {len(distinct):,} photos; expected one row per photo"
            )
        files = columns[1].dictionary_encode()
        self._files: list[str] = files.dictionary.to_pylist()
        self._file = to_numpy(files.indices, pa.int32(), 0)
        self._offset, self._size = (to_numpy(column, pa.int64(), 0) for column in columns[2:4])
        self._sha256 = columns[4]
        for file in self._files:
            if not _FILE.fullmatch(file):
                raise ValueError(
                    f"found the file {file!r}; expected a path inside the lake with a sha256 as its name"
                )
        if (self._size < 1).any() or (self._offset < 0).any():
            raise ValueError("found a photo with no bytes or a negative offset; expected none")

    def file_sizes(self) -> dict[str, int]:
        """Return the size of each file in bytes, by path: the end of its last photo."""
        ends = np.zeros(len(self._files), np.int64)
        np.maximum.at(ends, self._file, self._offset + self._size)
        return dict(zip(self._files, ends.tolist(), strict=True))

    def __getitem__(self, image_id: str) -> PhotoLocation:
        row = self.ids.find(image_id)
        if row is None:
            raise KeyError(image_id)
        return PhotoLocation(
            self._files[self._file[row]],
            int(self._offset[row]),
            int(self._size[row]),
            self._sha256[row].as_py(),
        )

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.ids

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)


@dataclass(frozen=True, slots=True)
class PhotoStore:
    """The photos of one release, by id.

    Attributes:
        locations: location of each photo, by id.
        sizes: size of each file in bytes, by path.
    """

    locations: PhotoLocations
    sizes: Mapping[str, int]
    _lake: Lake

    @classmethod
    def open(cls, table: Content, lake: Lake, cache: Path | None = None) -> Self:
        """Read the locations of photos, and check that every file exists with its size.

        Folders are listed, but no file is read, so that a server starts quickly. :meth:`read` verifies
        each photo.

        Args:
            table: the verified artifact, Parquet with ``COLUMNS``.
            lake: the lake that contains the files.
            cache: folder for a private file that holds the table; None to hold it in memory.

        Raises:
            ValueError: the table is malformed.
            ReleaseError: a file is missing, or its size differs.
            OSError: the cache folder cannot be written, or the disk is full.
        """
        store = cls.from_table(table, lake, cache)
        store._check_sizes()
        return store

    @classmethod
    def from_table(cls, table: Content, lake: Lake, cache: Path | None = None) -> Self:
        """Read the locations of photos without checking the files.

        Raises:
            ValueError: the table is malformed.
        """
        locations = PhotoLocations(_read_columns(table, cache))
        return cls(locations, locations.file_sizes(), lake)

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


def _read_columns(data: Content, cache: Path | None) -> Any:
    import pyarrow as pa

    types = (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.binary())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    return read_parquet(data, COLUMNS, folder=cache, schema=schema)
