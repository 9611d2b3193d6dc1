"""Packing of photos into files that all releases of a lake share."""

import hashlib
import io
from collections.abc import Iterator
from functools import partial
from itertools import accumulate, chain, islice
from typing import Final, NamedTuple

from fb_marketplace.compute.shards import map_shards
from fb_marketplace.storage.file_handles import ContentAddressedFile, FileRef
from fb_marketplace.storage.keyed_table import Rows, Table
from fb_marketplace_serving.release.photo_store import COLUMNS, FOLDER, file_name

PHOTOS_PER_FILE: Final = 256
"""Mean number of canonical photos in a file: about 2 MB."""

DISPLAY_PHOTOS_PER_FILE: Final = 32
"""Mean number of display renditions in a file: a few MB."""

MAX_FILE_FACTOR: Final = 4
"""Maximum number of photos in a file, as a multiple of the mean. The end of a file depends on its content,
and a file is read in one piece."""

READ_BATCH_SIZE: Final = 256
FILES_PER_SHARD: Final = 8


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

    files = list(_file_rows(images, photos_per_file))
    shards = (
        files[start : start + FILES_PER_SHARD] for start in range(0, len(files), FILES_PER_SHARD)
    )
    packed = map_shards(partial(_pack_shard, images=images), shards, threads=True)
    table = pa.concat_tables([_pack_shard([], images), *packed]).sort_by("image_id")
    buffer = io.BytesIO()
    pq.write_table(table.combine_chunks(), buffer)
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
    """Build the files that the lake lacks. Only the photos of these files are read.

    Args:
        images: the photos, or their display renditions.
        release_photos: output of :func:`pack_photos` for the same photos.
        release_photo_files_existing_sizes: sizes of the existing files in bytes, by name.

    Yields:
        The missing files. Save each before requesting the next, so that only a few are in memory.

    Raises:
        ValueError: the photos differ from those in ``release_photos``.
    """
    order, sizes = _order(images), release_photo_files_existing_sizes
    start, missing = 0, dict[str, list[int]]()
    for name, end, size in _ends(release_photos.read()):
        if sizes.get(name) != size:
            missing[name] = order[start:end]
        start = end
    yield from map_shards(partial(_join_photos, images=images), missing.items(), threads=True)


def _join_photos(file: tuple[str, list[int]], images: Table) -> ContentAddressedFile:
    """Build a file from its name and the positions of its photos."""
    name, rows = file
    data = b"".join(photo.jpeg for photo in _photos(images, rows))
    if file_name(hashlib.sha256(data).hexdigest()) != name:
        raise ValueError(f"the photos of {name} changed after they were packed. Rerun `kedro run`.")
    return ContentAddressedFile(name, data)


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


def _file_rows(images: Table, photos_per_file: int) -> Iterator[list[int]]:
    """Yield the positions of the photos of each file."""
    ids = images.read(["image_id"])["image_id"].combine_chunks()
    file: list[int] = []
    for row in _order(images):
        file.append(row)
        is_full = len(file) == MAX_FILE_FACTOR * photos_per_file
        if is_full or ends_file(ids[row].as_py(), photos_per_file):
            yield file
            file = []
    if file:
        yield file


def _pack_shard(files: list[list[int]], images: Table) -> Rows:
    """Return the file, offset, size and digest of each photo of some files."""
    import pyarrow as pa

    photos = _photos(images, list(chain.from_iterable(files)))
    rows = []
    for positions in files:
        file = list(islice(photos, len(positions)))
        name = file_name(hashlib.sha256(b"".join(photo.jpeg for photo in file)).hexdigest())
        ends = accumulate(len(photo.jpeg) for photo in file)
        rows += [
            (
                photo.image_id,
                f"{FOLDER}/{name}",
                end - len(photo.jpeg),
                len(photo.jpeg),
                hashlib.sha256(photo.jpeg).digest(),
            )
            for photo, end in zip(file, ends, strict=True)
        ]
    schema = pa.schema(
        zip(COLUMNS, (pa.string(), pa.string(), pa.int64(), pa.int64(), pa.binary(32)), strict=True)
    )
    return pa.Table.from_pylist([dict(zip(COLUMNS, row, strict=True)) for row in rows], schema)


def _photos(images: Table, rows: list[int]) -> Iterator[_Photo]:
    for start in range(0, len(rows), READ_BATCH_SIZE):
        part = images.take(rows[start : start + READ_BATCH_SIZE], ["image_id", "jpeg"])
        yield from map(_Photo, part.column("image_id").to_pylist(), part.column("jpeg").to_pylist())
