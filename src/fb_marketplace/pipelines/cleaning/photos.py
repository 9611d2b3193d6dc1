"""Photos, from files of the bucket to rows of the table ``images``."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import pandas as pd

from fb_marketplace.compute.parallel import map_batches
from fb_marketplace.observability.progress import Progress
from fb_marketplace.parameters.cleaning import CleaningParameters, PhotoParameters
from fb_marketplace.pipelines.cleaning import perceptual_hash
from fb_marketplace.pipelines.cleaning.quarantine import rejections_table
from fb_marketplace.schemas.reasons import NOT_AS_LISTED
from fb_marketplace.storage.fingerprints import make_key, sha256, stage_digest
from fb_marketplace.storage.keyed_table import KeepOnly, Rows, Table
from fb_marketplace.storage.photo_source import FetchFailure, PhotoFile, PhotoSource, batch_by_bytes
from fb_marketplace_serving.imaging import canonical

REVISION: Final = 2
"""Goes up when the same file would give another row, for reasons that no other version number tells."""

HEAD_BYTES: Final = 65536
"""How much of an unusable file is kept to be looked at."""


class _NotAsListedError(Exception):
    """What was fetched is not the file that was listed."""


class PhotoRequest(NamedTuple):
    """A photo to be read: who it is, and the file it is in."""

    key: str
    image_id: str
    product_id: str
    file: PhotoFile


def read_photos(
    matched_photos: pd.DataFrame,
    raw_image_files: PhotoSource,
    images_existing_keys: frozenset[str],
    rejected_photos_existing_keys: frozenset[str],
    parameters: CleaningParameters,
) -> Iterator[tuple[Rows | KeepOnly, Rows | KeepOnly]]:
    """Read what is new of the photos into rows, in batches, and say first which rows are still wanted.

    Args:
        matched_photos: the photos that a row and a file vouch for.
        raw_image_files: where the files are.
        images_existing_keys: keys that the table ``images`` has.
        rejected_photos_existing_keys: keys that the table ``rejected_photos`` has.
        parameters: limits, and how much is read at once.

    Yields:
        For the tables ``images`` and ``rejected_photos``: what to retain, then batches of new rows.
    """
    settings = parameters.photos
    wanted = _wanted(matched_photos, settings)
    keys = frozenset(photo.key for photo in wanted)
    yield KeepOnly(keys, images_existing_keys), KeepOnly(keys, rejected_photos_existing_keys)
    held = images_existing_keys | rejected_photos_existing_keys
    new = {photo.file: photo for photo in wanted if photo.key not in held}
    work = (
        [new[file] for file in batch]
        for batch in batch_by_bytes(list(new), settings.photos_per_batch)
    )
    read = partial(read_photo_batch, folder=raw_image_files, limits=_limits(settings))
    processes = 1 if len(new) <= settings.photos_per_batch else settings.processes
    with Progress("photos read", len(wanted), len(wanted) - len(new)) as progress:
        for usable, unusable in map_batches(read, work, processes):
            progress.advance(len(usable) + len(unusable))
            yield usable, unusable


def read_photo_batch(
    batch: Sequence[PhotoRequest], folder: PhotoSource, limits: canonical.Limits
) -> tuple[Rows, Rows]:
    """Fetch a batch of photos at once and read each; gives rows for ``images`` and ``rejected_photos``."""
    import pyarrow as pa

    from fb_marketplace.schemas.lance import IMAGES, REJECTED_PHOTOS

    usable, unusable = [], []
    files = [wanted.file for wanted in batch if wanted.file.size <= limits.max_bytes]
    fetched = dict(zip(files, folder.fetch(files), strict=True))
    for wanted in batch:
        source = {
            "key": wanted.key,
            "image_id": wanted.image_id,
            "product_id": wanted.product_id,
            "source_key": wanted.file.key,
            "source_etag": wanted.file.etag,
            "source_size": wanted.file.size,
        }
        found = fetched.get(wanted.file)
        head = found[:HEAD_BYTES] if isinstance(found, bytes) else b""
        try:
            photo, data = _read(fetched, wanted.file, limits)
        except canonical.PhotoError as error:
            unusable.append(source | {"reason": error.reason, "detail": error.detail, "head": head})
            continue
        except _NotAsListedError as error:
            # Under a key that no run wants: the next run lets it go, and fetches the file again.
            unwanted = {"key": make_key(wanted.key, NOT_AS_LISTED), "reason": NOT_AS_LISTED}
            unusable.append(source | unwanted | {"detail": str(error), "head": head})
            continue
        usable.append(
            source
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
    return (
        pa.Table.from_pylist(usable, schema=IMAGES),
        pa.Table.from_pylist(unusable, schema=REJECTED_PHOTOS),
    )


def _read(
    fetched: Mapping[PhotoFile, bytes | FetchFailure], file: PhotoFile, limits: canonical.Limits
) -> tuple[canonical.Photo, bytes]:
    """Read what was fetched of a file; one that is too large was not."""
    if file not in fetched:
        found = f"{file.size:,} bytes; at most {limits.max_bytes:,} are accepted"
        raise canonical.PhotoError("oversized", found)
    data = fetched[file]
    if isinstance(data, FetchFailure):
        raise _NotAsListedError(data)
    if len(data) != file.size:
        raise _NotAsListedError(
            f"{file.size:,} bytes were listed, and {len(data):,} fetched: it was just being written"
        )
    return canonical.read_photo(data, limits), data


def quarantine_unusable_photos(
    matched_photos: pd.DataFrame, rejected_photos: Table, parameters: CleaningParameters
) -> pd.DataFrame:
    """Enter unusable files, and the rows that name them, into the ledger."""
    rows = {
        image_id: (first, *further)
        for image_id, first, further in matched_photos[
            ["image_id", "row", "repeated_in"]
        ].itertuples(index=False)
    }
    found = rejected_photos.read(["image_id", "source_key", "reason", "detail"]).to_pylist()
    folder = parameters.photos.folder
    return rejections_table(
        entry
        for photo in sorted(found, key=lambda photo: str(photo["image_id"]))
        for entry in (
            ("files", -1, f"{folder}/{photo['source_key']}", photo["reason"], photo["detail"]),
            *(
                (
                    "images",
                    row,
                    photo["image_id"],
                    "unusable_file",
                    f"{photo['reason']}: {photo['detail']}",
                )
                for row in rows[photo["image_id"]]
            ),
        )
    )


def image_product_ids(images: Table) -> pd.DataFrame:
    """Say whose photo each is: ``image_id`` and ``product_id``, sorted by image."""
    rows: pd.DataFrame = images.read(["image_id", "product_id"]).to_pandas().astype("str")
    return rows.sort_values("image_id", ignore_index=True)


def _wanted(matched_photos: pd.DataFrame, settings: PhotoParameters) -> list[PhotoRequest]:
    limits = settings.model_copy(update={"processes": 0, "photos_per_batch": 1})
    stage = stage_digest(
        f"photos {canonical.VERSION} {perceptual_hash.VERSION}",
        REVISION,
        limits,
        ["pillow", "numpy"],
    )
    columns = ["image_id", "product_id", "source_key", "source_size", "source_etag"]
    return [
        PhotoRequest(
            make_key(image_id, product_id, key, size, etag, stage),
            image_id,
            product_id,
            PhotoFile(key, size, etag),
        )
        for image_id, product_id, key, size, etag in matched_photos[columns].itertuples(index=False)
    ]


def _limits(settings: PhotoParameters) -> canonical.Limits:
    return canonical.Limits(settings.max_bytes, settings.max_pixels)
