"""The canonical photos, cut into files that the releases of a lake share."""

import hashlib
import io
from collections.abc import Iterator
from typing import Final, NamedTuple

from fb_marketplace.storage.file_handles import ContentAddressedFile, FileRef
from fb_marketplace.storage.keyed_table import Table
from fb_marketplace_serving.release.photo_store import COLUMNS, FOLDER, file_name

PHOTOS_PER_FILE: Final = 256
"""In the mean: some two megabytes."""

MAX_PHOTOS_PER_FILE: Final = 1024
"""In a file: what is cut by chance may be long, and is read as one piece."""

READ_BATCH_SIZE: Final = 256


class _Photo(NamedTuple):
    image_id: str
    jpeg: bytes


def pack_photos(images: Table) -> bytes:
    """Say in which file each photo goes, and where; gives Parquet, sorted by id.

    Cuts are defined by content (as in LBFS; Muthitacharoen, Chen & Mazières, 2001): a file ends after
    a photo whose id has a digest that 256 divides. So a photo that comes or goes changes the file that
    it is in and no other, whereas files of so many photos each would all shift.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    for file in _files(_photos(images, images.order("image_id").tolist())):
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


def write_photo_files(
    images: Table, release_photos: FileRef, release_photo_files_existing_sizes: dict[str, int]
) -> Iterator[ContentAddressedFile]:
    """Make the files that the lake lacks, one after the other; the photos of no others are read.

    Args:
        images: the photos.
        release_photos: where each goes, as :func:`cut_photos` said of the same photos.
        release_photo_files_existing_sizes: bytes of the files that are there, by name.

    Yields:
        Files, to be saved as they come.

    Raises:
        ValueError: the photos are others than those that were cut.
    """

    order = images.order("image_id").tolist()
    start, held = 0, dict(release_photo_files_existing_sizes)
    for name, end, size in _ends(release_photos.read()):
        if held.get(name) != size:
            data = b"".join(photo.jpeg for photo in _photos(images, order[start:end]))
            if file_name(hashlib.sha256(data).hexdigest()) != name:
                raise ValueError(f"the photos of {name} are not those that were cut")
            held[name] = size
            yield ContentAddressedFile(name, data)
        start = end


def _ends(table: bytes) -> Iterator[tuple[str, int, int]]:
    """Give the name of each file, the place after its last photo, and its bytes."""
    import pyarrow.parquet as pq

    read = pq.read_table(io.BytesIO(table), columns=["file", "offset", "bytes"])
    rows = list(zip(*(column.to_pylist() for column in read.columns), strict=True))
    for place, (path, offset, size) in enumerate(rows, start=1):
        # Two files of the same photos have one name; where one begins is where the offset starts anew.
        if place == len(rows) or rows[place][1] == 0:
            yield path.removeprefix(f"{FOLDER}/"), place, offset + size


def ends_file(image_id: str) -> bool:
    """Say whether a file is cut after a photo, whatever stands before it."""
    digest = hashlib.sha256(image_id.encode()).digest()
    return int.from_bytes(digest, "big") % PHOTOS_PER_FILE == 0


def _files(photos: Iterator[_Photo]) -> Iterator[list[_Photo]]:
    file: list[_Photo] = []
    for photo in photos:
        file.append(photo)
        if ends_file(photo.image_id) or len(file) == MAX_PHOTOS_PER_FILE:
            yield file
            file = []
    if file:
        yield file


def _photos(images: Table, rows: list[int]) -> Iterator[_Photo]:
    for start in range(0, len(rows), READ_BATCH_SIZE):
        part = images.take(rows[start : start + READ_BATCH_SIZE], ["image_id", "jpeg"])
        yield from map(_Photo, part.column("image_id").to_pylist(), part.column("jpeg").to_pylist())
