"""The canonical photos of a release: many in one file, each read by a range of bytes.

A release names hundreds of thousands of photos, and most of them are those of the release before. So
the photos stand one after the other, sorted by id, in files named by the sha256 of what they hold,
which releases share; the artifact ``photos`` says where in which file each photo is, and its digest.
"""

import hashlib
import io
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, Self

from fb_marketplace_serving.release.manifest import Artifact, ReleaseError, unreadable
from fb_marketplace_serving.storage.lake import Lake

FOLDER: Final = "07_model_output/photos"
"""Where in the lake the files are."""

COLUMNS: Final = ("image_id", "file", "offset", "bytes", "sha256")

_FILE: Final = re.compile(r"(?!/)(?!.*\.\.)[^\\:]*?([0-9a-f]{64})\.jpegs")
"""A path inside the lake whose last part is a digest."""

_READ_AT_ONCE: Final = 8

_REPAIR: Final = "publish the release again, or put another in force"


def file_name(sha256: str) -> str:
    """Name the file whose bytes have a digest, given in hex."""
    return f"{sha256}.jpegs"


class PhotoLocation(NamedTuple):
    """Where a photo is.

    Attributes:
        file: from the lake's root.
        offset: of its first byte.
        size: in bytes.
        sha256: of its bytes, 32 bytes.
    """

    file: str
    offset: int
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class PhotoStore:
    """The photos of one release, by id.

    Attributes:
        locations: where each photo is, by id.
        sizes: the bytes of each file, by its path.
    """

    locations: Mapping[str, PhotoLocation]
    sizes: Mapping[str, int]
    _lake: Lake

    @classmethod
    def open(cls, table: bytes, lake: Lake) -> Self:
        """Read where the photos are, and see that every file is there with its size.

        Files are listed, a folder at a time, and not read: that is left to :meth:`read`, so that a
        server starts quickly.

        Args:
            table: the artifact ``photos``, Parquet of the columns ``COLUMNS``; its digest matched.
            lake: where the files are.

        Raises:
            ValueError: the table is no such table.
            ReleaseError: a file is not there, or has another size.
        """
        opened = cls.from_table(table, lake)
        opened._check_sizes()
        return opened

    @classmethod
    def from_table(cls, table: bytes, lake: Lake) -> Self:
        """Read where the photos should be, without a look at whether they are.

        Raises:
            ValueError: the table is no such table.
        """
        locations = _read_locations(table)
        sizes: dict[str, int] = {}
        for place in locations.values():
            sizes[place.file] = max(sizes.get(place.file, 0), place.offset + place.size)
        return cls(locations, sizes, lake)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.locations

    def __len__(self) -> int:
        return len(self.locations)

    def read(self, image_id: str) -> bytes:
        """Give a canonical photo, a JPEG, whose digest matched.

        Raises:
            KeyError: the release has no such photo.
            ReleaseError: its file is not there, or is damaged there.
        """
        place = self.locations[image_id]
        end = place.offset + place.size
        file = self._lake.name(place.file)
        try:
            data = self._lake.read_range(place.file, place.offset, end)
        except FileNotFoundError:
            raise self._missing(place.file) from None
        except OSError as error:
            raise unreadable(file, error) from error
        _check_photo(file, image_id, place, data)
        return data

    def artifacts(self) -> list[Artifact]:
        """Describe the files as a manifest does: they are named by their digest."""
        return [
            Artifact(path=path, bytes=size, sha256=PurePosixPath(path).stem)
            for path, size in self.sizes.items()
        ]

    def verify(self) -> None:
        """Read all files, and hold each and every photo in it against its digest.

        Raises:
            ReleaseError: the first that is damaged, in the order of ids.
        """
        inside: dict[str, list[str]] = {path: [] for path in self.sizes}
        for image_id, place in self.locations.items():
            inside[place.file].append(image_id)
        pool = ThreadPoolExecutor(_READ_AT_ONCE)
        try:
            for _ in pool.map(self._verify_file, inside, inside.values()):
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
            place = self.locations[image_id]
            _check_photo(file, image_id, place, data[place.offset : place.offset + place.size])
        found, expected = hashlib.sha256(data).hexdigest(), PurePosixPath(path).stem
        if found != expected:
            raise ReleaseError(
                f"{file}: found sha256 {found[:12]}…; expected that of its name; {_REPAIR}"
            )

    def _check_sizes(self) -> None:
        folders = sorted({PurePosixPath(path).parent.as_posix() for path in self.sizes})
        found: dict[str, dict[str, int]] = {}
        for folder in folders:
            try:
                found[folder] = self._lake.sizes(folder)
            except OSError as error:
                raise unreadable(self._lake.name(folder), error) from error
        for path, expected in self.sizes.items():
            at = PurePosixPath(path)
            size = found[at.parent.as_posix()].get(at.name)
            if size is None:
                raise self._missing(path)
            if size != expected:
                raise _wrong_size(self._lake.name(path), size, expected)

    def _missing(self, path: str) -> ReleaseError:
        return ReleaseError(
            f"{self._lake.name(path)}: not found; expected {self.sizes[path]:,} bytes of photos; "
            f"{_REPAIR}"
        )


def _check_photo(file: str, image_id: str, place: PhotoLocation, data: bytes) -> None:
    if len(data) != place.size or hashlib.sha256(data).digest() != place.sha256:
        raise ReleaseError(
            f"{file}: found photo {image_id} damaged, {len(data):,} bytes at {place.offset:,} with "
            f"another sha256; expected {place.size:,} with {place.sha256.hex()[:12]}…; {_REPAIR}"
        )


def _wrong_size(file: str, found: int, expected: int) -> ReleaseError:
    return ReleaseError(f"{file}: found {found:,} bytes; expected {expected:,}; {_REPAIR}")


def _read_locations(table: bytes) -> dict[str, PhotoLocation]:
    columns = _read_columns(table)
    locations: dict[str, PhotoLocation] = {}
    for image_id, *place in zip(*columns, strict=True):
        if None in (image_id, *place):
            raise ValueError(f"found a row without a value, of {image_id}; expected none")
        locations[image_id] = PhotoLocation(*place)
    if len(locations) != len(columns[0]):
        raise ValueError(
            f"found {len(columns[0]):,} rows of {len(locations):,} photos; expected one each"
        )
    for file in {place.file for place in locations.values()}:
        if not _FILE.fullmatch(file):
            raise ValueError(
                f"found the file {file!r}; expected a path inside the lake, named by a sha256"
            )
    if any(place.size < 1 or place.offset < 0 for place in locations.values()):
        raise ValueError("found a photo of no bytes, or before its file begins; expected none")
    return locations


def _read_columns(table: bytes) -> list[list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(io.BytesIO(table)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"found {len(table):,} bytes that are no Parquet ({error})") from error
    if tuple(found.column_names) != COLUMNS:
        raise ValueError(
            f"found the columns {', '.join(found.column_names)}; expected {', '.join(COLUMNS)}"
        )
    try:
        return [
            found.column(name).cast(kind).to_pylist()
            for name, kind in zip(
                COLUMNS,
                (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.binary()),
                strict=True,
            )
        ]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"found columns of other types ({error})") from error
