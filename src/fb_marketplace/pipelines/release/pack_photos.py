"""Packing of photos into files that all releases of a lake share."""

import hashlib
import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from fb_marketplace.storage.file_handles import ContentAddressedFile, FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.release.photo_store import COLUMNS, FOLDER, file_name

PHOTOS_PER_FILE: Final = 256
"""Mean number of canonical photos in a file: about 2 MB."""

DISPLAY_PHOTOS_PER_FILE: Final = 32
"""Mean number of display renditions in a file: a few MB."""

MAX_FILE_FACTOR: Final = 4
"""Maximum number of photos in a file, as a multiple of the mean. The end of a file depends on its content,
and a file is read in one piece."""

READ_BATCH_SIZE: Final = 256


class _Photo(NamedTuple):
    image_id: str
    jpeg: bytes


def pack_display_photos(display_photos: Table) -> bytes:
    """Assign display renditions to files; see :func:`pack_photos`. Photos without one have no row."""
    return pack_photos(display_photos, DISPLAY_PHOTOS_PER_FILE)


def pack_photos(images: Table, photos_per_file: int = PHOTOS_PER_FILE) -> bytes:
    """Assign photos to files.

    Files end at content-defined positions (as in LBFS; Muthitacharoen, Chen & Mazières, 2001): after each
    photo whose hashed id is divisible by ``photos_per_file``. A new or removed photo therefore changes one
    or two files. With a fixed number of photos per file, all later files would change.

    Args:
        images: the photos.
        photos_per_file: mean number of photos in a file.

    Returns:
        A Parquet file with the file, offset, size and digest of each photo, sorted by id.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    for file in _files(_photos(images, _order(images)), photos_per_file):
        name = file_name(hashlib.sha256(b"".join(photo.jpeg for photo in file)).hexdigest())
        offset = 0
        for photo in file:
            digest = hashlib.sha256(photo.jpeg).digest()
            row = (photo.image_id, f"{FOLDER}/{name}", offset, len(photo.jpeg), digest)
            for column, value in zip(COLUMNS, row, strict=True):
                columns[column].append(value)
            offset += len(photo.jpeg)
    types = (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.binary(32))
    table = pa.table(columns, schema=pa.schema(list(zip(COLUMNS, types, strict=True))))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def write_release_photo_files(
    images: Table,
    release_photos: FileRef,
    display_photos: Table,
    release_display_photos: FileRef,
    release_photo_files_existing_sizes: dict[str, int],
) -> Iterator[ContentAddressedFile]:
    """Build the files of photos and renditions that the lake lacks; see :func:`write_photo_files`."""
    sizes = release_photo_files_existing_sizes
    yield from write_photo_files(images, release_photos, sizes)
    yield from write_photo_files(display_photos, release_display_photos, sizes)


def write_photo_files(
    images: Table, release_photos: FileRef, release_photo_files_existing_sizes: dict[str, int]
) -> Iterator[ContentAddressedFile]:
    """Build the files that the lake lacks, one at a time. Only the photos of these files are read.

    Args:
        images: the photos, or their display renditions.
        release_photos: output of :func:`pack_photos` for the same photos.
        release_photo_files_existing_sizes: sizes of the existing files in bytes, by name.

    Yields:
        The missing files. Save each before requesting the next, so that only one is in memory.

    Raises:
        ValueError: the photos differ from those in ``release_photos``.
    """
    order = _order(images)
    start, sizes = 0, dict(release_photo_files_existing_sizes)
    for name, end, size in _ends(release_photos.read()):
        if sizes.get(name) != size:
            data = b"".join(photo.jpeg for photo in _photos(images, order[start:end]))
            if file_name(hashlib.sha256(data).hexdigest()) != name:
                raise ValueError(
                    f"the photos of {name} changed after they were packed. Rerun `kedro run`."
                )
            sizes[name] = size
            yield ContentAddressedFile(name, data)
        start = end


def _ends(release_photos: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each file, the row number after its last photo, and its size in bytes."""
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(release_photos), columns=["file", "offset", "bytes"])
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    for end, (path, offset, size) in enumerate(rows, start=1):
        # Files with identical photos have the same name, so only an offset of 0 marks the next file.
        if end == len(rows) or rows[end][1] == 0:
            yield path.removeprefix(f"{FOLDER}/"), end, offset + size


def _order(images: Table) -> list[int]:
    """Return the positions of the photos that have a JPEG, sorted by id."""
    order = images.order("image_id")
    has_jpeg = images.read(["sha256"]).column("sha256").is_valid().to_numpy()
    rows: list[int] = order[has_jpeg[order]].tolist()
    return rows


def ends_file(image_id: str, photos_per_file: int = PHOTOS_PER_FILE) -> bool:
    """Return whether a file ends after this photo, regardless of the photos before it."""
    digest = hashlib.sha256(image_id.encode()).digest()
    return int.from_bytes(digest, "big") % photos_per_file == 0


def _files(photos: Iterator[_Photo], photos_per_file: int) -> Iterator[list[_Photo]]:
    file: list[_Photo] = []
    for photo in photos:
        file.append(photo)
        is_full = len(file) == MAX_FILE_FACTOR * photos_per_file
        if is_full or ends_file(photo.image_id, photos_per_file):
            yield file
            file = []
    if file:
        yield file


def _photos(images: Table, rows: list[int]) -> Iterator[_Photo]:
    for start in range(0, len(rows), READ_BATCH_SIZE):
        part = images.take(rows[start : start + READ_BATCH_SIZE], ["image_id", "jpeg"])
        yield from map(_Photo, part.column("image_id").to_pylist(), part.column("jpeg").to_pylist())
