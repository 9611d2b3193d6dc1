"""Reading of photo files into rows of the tables ``images`` and ``display_photos``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.compute.isolation import Isolation
from fb_marketplace.compute.shards import map_shards, shard_slices
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.cleaning import CleaningParameters
from fb_marketplace.pipelines.cleaning import perceptual_hash
from fb_marketplace.pipelines.cleaning.quarantine import Entry, rejections_table
from fb_marketplace.schemas.reasons import Reason, Stage
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.keys import KeyArray, Keys, iterate_rows, make_keys
from fb_marketplace.storage.photo_source import FetchFailure, PhotoFile, PhotoSource
from fb_marketplace.storage.table_writer import table_sink
from fb_marketplace_serving.imaging import canonical

REVISION: Final = 2
"""Increase it if a change gives other rows for the same files and no other version number changes."""

FILE_COLUMNS: Final = ["source_key", "source_size", "source_etag"]
PHOTO_COLUMNS: Final = ["image_id", "product_id", *FILE_COLUMNS]
"""Columns of a photo and its file that its key depends on."""

HEAD_BYTES: Final = 65536
"""Number of bytes of an unusable file that are stored for inspection."""


class _NotAsListedError(Exception):
    """The fetched content is not the listed file."""


class PhotoRows(NamedTuple):
    """Rows of photos, by table."""

    images: Rows
    rejected_photos: Rows
    display_photos: Rows


def read_photos(
    matched_photos: pd.DataFrame,
    raw_image_files: PhotoSource,
    images_existing_keys: Keys,
    rejected_photos_existing_keys: Keys,
    display_photos_existing_keys: Keys,
    parameters: CleaningParameters,
) -> Iterator[tuple[Rows | KeepOnly, Rows | KeepOnly, Rows | KeepOnly]]:
    """Yield instructions to delete outdated rows, then the rows of new photos in batches.

    A photo is new if it lacks its canonical form or its display rendition.

    Args:
        matched_photos: the photos that have a row and a file.
        raw_image_files: the photo folder.
        images_existing_keys: keys of the table ``images``.
        rejected_photos_existing_keys: keys of the table ``rejected_photos``.
        display_photos_existing_keys: keys of the table ``display_photos``.
        parameters: limits, display size and batch size.

    Yields:
        For the tables ``images``, ``rejected_photos`` and ``display_photos``: the keys to keep, then
        batches of new rows.
    """
    settings = parameters.photos
    keys, display_keys = _photo_keys(matched_photos, parameters)
    yield (
        KeepOnly(keys, images_existing_keys),
        KeepOnly(keys, rejected_photos_existing_keys),
        KeepOnly(display_keys or (), display_photos_existing_keys),
    )
    is_stored = Keys(images_existing_keys).contains(keys)
    is_complete = is_stored
    if display_keys is not None:
        is_complete = is_stored & Keys(display_photos_existing_keys).contains(display_keys)
    new = np.flatnonzero(~is_complete & ~Keys(rejected_photos_existing_keys).contains(keys))
    read = partial(
        read_photo_shard,
        folder=raw_image_files,
        limits=canonical.Limits(settings.max_bytes, settings.max_pixels),
        display=_display_size(parameters),
    )
    sink = partial(
        _write_rows,
        sinks=(
            table_sink(images_existing_keys),
            table_sink(rejected_photos_existing_keys),
            table_sink(display_photos_existing_keys),
        ),
    )
    shards = _photo_shards(
        matched_photos, new, keys, display_keys, is_stored, settings.photos_per_batch
    )
    results = map_shards(
        *(read, shards, sink),
        max_workers=settings.processes,
        local=len(new) <= settings.photos_per_batch,
        isolation=Isolation(_halves, reject_photo, _file_name),
    )
    with Progress("photos read", len(keys), len(keys) - len(new)) as progress:
        for rows in results:
            progress.advance(
                max(len(rows.images), len(rows.display_photos)) + len(rows.rejected_photos)
            )
            yield rows


def read_photo_shard(
    shard: Rows,
    folder: PhotoSource,
    limits: canonical.Limits,
    display: canonical.DisplaySize | None = None,
) -> PhotoRows:
    """Fetch and read photos.

    Args:
        shard: the photos, with ``PHOTO_COLUMNS``; ``key`` of the row in ``images`` or
            ``rejected_photos``; ``display_key`` of the row in ``display_photos``, null if no renditions are
            requested; and ``is_stored``, whether ``images`` has it, so that it lacks only its rendition.
        folder: the photo folder.
        limits: limits of a file.
        display: size of renditions.

    Returns:
        The rows, by table.
    """
    usable, renditions, unusable = [], [], []
    requests = [
        (PhotoFile(*(request[name] for name in FILE_COLUMNS)), request)
        for request in shard.to_pylist()
    ]
    files = [file for file, _ in requests if file.size <= limits.max_bytes]
    fetched = dict(zip(files, folder.fetch(files), strict=True))
    for file, request in requests:
        content = fetched.get(file)
        head = content[:HEAD_BYTES] if isinstance(content, bytes) else b""
        try:
            photo, data = _read(fetched, file, limits, display)
        except (canonical.PhotoError, _NotAsListedError) as error:
            # A photo that lacks only its rendition stays. It is read again when the list of photos changes.
            if not request["is_stored"]:
                unusable.append(_unusable(request, head, error))
            continue
        if not request["is_stored"]:
            usable.append(
                _source(request)
                | {
                    "source_sha256": sha256(data),
                    "format": photo.format,
                    "width": photo.width,
                    "height": photo.height,
                    "jpeg": photo.jpeg,
                    "sha256": sha256(photo.jpeg),
                    "perceptual_hash": perceptual_hash.perceptual_hash(photo.jpeg).tolist(),
                }
            )
        if request["display_key"]:
            renditions.append(
                {
                    "key": request["display_key"],
                    "image_id": request["image_id"],
                    "product_id": request["product_id"],
                    "jpeg": photo.display,
                    "sha256": photo.display and sha256(photo.display),
                }
            )
    return _photo_rows(usable, unusable, renditions)


def reject_photo(shard: Rows) -> PhotoRows:
    """Return the rows of a photo that crashes the process that reads it.

    Args:
        shard: the photo, as :func:`read_photo_shard` takes it.
    """
    (request,) = shard.to_pylist()
    if request["is_stored"]:
        return _photo_rows([], [], [])
    detail = (
        "its decoder crashes. Replace the file, or update Pillow or pillow-heif, and the next run reads "
        "it again"
    )
    rejection = {"head": b"", "reason": Reason.CRASHED, "detail": detail}
    return _photo_rows([], [_source(request) | rejection], [])


def _file_name(shard: Rows) -> str:
    return str(shard["source_key"][0])


def _halves(shard: Rows) -> tuple[Rows, ...]:
    middle = len(shard) // 2
    return (shard.slice(0, middle), shard.slice(middle)) if middle else ()


def _write_rows(rows: PhotoRows, sinks: Sequence[Callable[[Rows], Rows] | None]) -> PhotoRows:
    return PhotoRows(
        *(sink(part) if sink else part for sink, part in zip(sinks, rows, strict=True))
    )


def _read(
    fetched: Mapping[PhotoFile, bytes | FetchFailure],
    file: PhotoFile,
    limits: canonical.Limits,
    display: canonical.DisplaySize | None,
) -> tuple[canonical.Photo, bytes]:
    """Read the photo of a fetched file; files over the size limit were not fetched."""
    if file not in fetched:
        detail = f"{file.size:,} bytes; at most {limits.max_bytes:,} are accepted"
        raise canonical.PhotoError("oversized", detail)
    data = fetched[file]
    if isinstance(data, FetchFailure):
        raise _NotAsListedError(data)
    if len(data) != file.size:
        raise _NotAsListedError(
            f"listed with {file.size:,} bytes, but read {len(data):,}: the file changed during the run"
        )
    return canonical.read_photo(data, limits, display), data


def _photo_rows(
    usable: list[dict[str, Any]], unusable: list[dict[str, Any]], renditions: list[dict[str, Any]]
) -> PhotoRows:
    import pyarrow as pa

    from fb_marketplace.schemas.lance import DISPLAY_PHOTOS, IMAGES, REJECTED_PHOTOS

    return PhotoRows(
        pa.Table.from_pylist(usable, schema=IMAGES),
        pa.Table.from_pylist(unusable, schema=REJECTED_PHOTOS),
        pa.Table.from_pylist(renditions, schema=DISPLAY_PHOTOS),
    )


def _source(request: dict[str, Any]) -> dict[str, Any]:
    return {name: request[name] for name in ("key", *PHOTO_COLUMNS)}


def _unusable(
    request: dict[str, Any], head: bytes, error: canonical.PhotoError | _NotAsListedError
) -> dict[str, Any]:
    return _source(request) | {"head": head} | _rejection(request["key"], error)


def _rejection(key: str, error: canonical.PhotoError | _NotAsListedError) -> dict[str, str]:
    if isinstance(error, canonical.PhotoError):
        return {"reason": error.reason, "detail": error.detail}
    # No run keeps this key: the next run deletes the row and fetches the file again.
    reason = Reason.NOT_AS_LISTED
    return {"key": make_key(key, reason), "reason": reason, "detail": str(error)}


def quarantine_unusable_photos(
    matched_photos: pd.DataFrame, rejected_photos: Table, parameters: CleaningParameters
) -> pd.DataFrame:
    """Build the quarantine table of unusable files and of the rows that name them."""
    rows = {
        image_id: (first, *further)
        for image_id, first, further in matched_photos[
            ["image_id", "row", "repeated_in"]
        ].itertuples(index=False)
    }
    columns = ["image_id", "source_key", "reason", "detail"]
    entries: list[Entry] = []
    for photo in rejected_photos.read(columns).sort_by("image_id").to_pylist():
        image_id, key, reason, detail = (photo[name] for name in columns)
        entries.append((Stage.FILES, -1, f"{parameters.photos.folder}/{key}", reason, detail))
        entries += [
            (Stage.IMAGES, row, image_id, Reason.UNUSABLE_FILE, f"{reason}: {detail}")
            for row in rows[image_id]
        ]
    return rejections_table(entries)


def image_product_ids(images: Table) -> pd.DataFrame:
    """Return ``image_id``, ``product_id`` and ``sha256`` of each photo, sorted by image."""
    columns = ["image_id", "product_id", "sha256"]
    rows: pd.DataFrame = images.read(columns).to_pandas().astype("str")
    return rows.sort_values("image_id", ignore_index=True)


def _photo_keys(
    matched_photos: pd.DataFrame, parameters: CleaningParameters
) -> tuple[KeyArray, KeyArray | None]:
    """Return the keys of all photos and of their renditions; None if no renditions are requested."""
    import pyarrow as pa

    limits = parameters.photos.model_copy(update={"processes": 0, "photos_per_batch": 1})
    formats = " ".join(canonical.accepted_formats())
    libraries = ["pillow", "numpy", *(["pillow-heif"] if "HEIC" in formats else [])]
    stage = stage_digest(
        f"photos {canonical.VERSION} {perceptual_hash.VERSION} {formats}",
        REVISION,
        limits,
        libraries,
    )
    display_stage = stage_digest(
        "display photos", canonical.DISPLAY_VERSION, parameters.display, libraries
    )
    keys = make_keys(matched_photos[PHOTO_COLUMNS].itertuples(index=False), stage)
    if _display_size(parameters) is None:
        return keys, None
    return keys, make_keys(iterate_rows(pa.table({"key": keys})), display_stage)


def _photo_shards(
    matched_photos: pd.DataFrame,
    new: NDArray[np.int64],
    keys: KeyArray,
    display_keys: KeyArray | None,
    is_stored: NDArray[np.bool_],
    photos_per_shard: int,
) -> Iterator[Rows]:
    """Yield shards of new photos, as :func:`read_photo_shard` reads them."""
    import pyarrow as pa

    sizes = matched_photos["source_size"].to_numpy(np.int64)[new]
    for rows in shard_slices(sizes, photos_per_shard):
        positions = new[rows]
        photos = matched_photos[PHOTO_COLUMNS].iloc[positions]
        shard = pa.Table.from_pandas(photos, preserve_index=False)
        for name, column in (
            ("key", keys),
            ("display_key", pa.nulls(len(keys)) if display_keys is None else display_keys),
            ("is_stored", pa.array(is_stored)),
        ):
            shard = shard.append_column(name, column.take(pa.array(positions)))
        yield shard


def _display_size(parameters: CleaningParameters) -> canonical.DisplaySize | None:
    display = parameters.display
    return canonical.DisplaySize(display.side, display.max_bytes) if display.side else None
