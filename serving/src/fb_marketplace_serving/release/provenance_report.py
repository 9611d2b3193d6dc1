"""Where a listing comes from, in lines for people: from what is served back to a raw row and objects."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from fb_marketplace_serving.ann.index import ID_COLUMNS
from fb_marketplace_serving.release.artifacts import read_verified
from fb_marketplace_serving.release.manifest import (
    ArtifactName,
    Manifest,
    ReleaseError,
    read_manifest,
)
from fb_marketplace_serving.release.photo_store import PhotoLocation, PhotoStore
from fb_marketplace_serving.release.pointer import read_current
from fb_marketplace_serving.release.provenance import (
    DuplicatePhoto,
    ListingProvenance,
    PhotoProvenance,
    RejectedPhoto,
    Source,
    SourceName,
    UnknownProductError,
    read_provenance,
    read_sources,
)
from fb_marketplace_serving.search.listings import Listing, read_listings
from fb_marketplace_serving.storage.lake import Lake

_REPAIR: Final = "publish the release again, or name another by --release"


class _Served(NamedTuple):
    """What a server knows of a listing and its photos; a photo that it does not know is not there."""

    listing: Listing
    places: dict[str, PhotoLocation]
    rows: dict[str, int]
    photos: int


_Facts = Iterator[tuple[str, str]]
_Sources = dict[SourceName, Source]


def explain(lake: Lake, product_id: str, version: str | None = None) -> list[str]:
    """Walk from a listing as it is served back to its raw row and the objects of its photos.

    Args:
        lake: root of the lake.
        product_id: the listing.
        version: of which release; without it, the one in force.

    Returns:
        Lines: a heading, then one fact a line below it, then an empty line, and so on.

    Raises:
        UnknownProductError: the release has no such listing.
        ReleaseError: there is no such release, or a file of it is not as it was sealed.
    """
    manifest = read_current(lake) if version is None else read_manifest(lake, version)
    data = _sealed(lake, manifest, "provenance")
    try:
        origin, sources = read_provenance(data, product_id), read_sources(data)
    except ValueError as error:
        raise _unreadable(lake, manifest, "provenance", error) from error
    if origin is None:
        raise UnknownProductError(_unknown(lake, manifest, product_id))
    served = _served(lake, manifest, origin)
    lines = []
    for heading, facts in _told(manifest, origin, sources, served):
        lines += [heading, *(f"  {label}: {_printable(fact)}" for label, fact in facts), ""]
    return lines[:-1]


def _told(
    manifest: Manifest, origin: ListingProvenance, sources: _Sources, served: _Served
) -> Iterator[tuple[str, _Facts]]:
    """Give what is told under each heading, from what is served to what it was made of."""
    yield "listing, as served", _listing(served.listing)
    yield "raw row", iter([("row", _row(origin.row, sources["products"]))])
    yield "what cleaning decided", _decisions(origin)
    for number, photo in enumerate(origin.photos, start=1):
        yield f"photo {number} of {len(origin.photos)}", _photo(photo, sources, served)
    away = origin.photos_turned_away
    for number, each in enumerate(away, start=1):
        yield f"image row turned away, {number} of {len(away)}", _turned_away(each, sources)
    yield "versions", _versions(manifest, sources)


def _listing(listing: Listing) -> _Facts:
    place = ", ".join(part for part in (listing.town, listing.county) if part)
    yield "product", listing.product_id
    yield "title", listing.title
    yield "price", "none" if listing.price is None else f"{listing.price:,.2f} {listing.currency}"
    yield "category", listing.category_path
    yield "place", place or "not known"


def _decisions(origin: ListingProvenance) -> _Facts:
    repeats = "none" if not origin.repeats else f"{origin.repeats:,}, folded into this one"
    yield "further rows that say the same", repeats
    for away in origin.turned_away:
        yield f"row {away.row}, turned away", f"{away.reason}: {away.detail}"
    yield "price flag", f"{origin.price_flag}; kept" if origin.price_flag else "none"
    yield "category path", "of odd depth; kept" if origin.odd_category_depth else "of usual depth"
    oldest = f"{origin.copy_of}, which has the same title and description and is older; kept"
    yield "copy of", oldest if origin.copy_of else "none"
    group = f"{origin.group}, of {origin.group_listings:,} that share a photo or a description"
    yield "group", group if origin.group_listings > 1 else "of this one alone"
    yield "split", origin.split
    yield "photos", f"{len(origin.photos):,}"
    yield "image rows turned away", f"{len(origin.photos_turned_away):,}"


def _photo(photo: PhotoProvenance, sources: _Sources, served: _Served) -> _Facts:
    yield "image", photo.image_id
    yield "row", _row(photo.row, sources["images"])
    repeats = ", ".join(f"row {row}" for row in photo.repeated_in)
    yield "further rows that say the same", repeats or "none"
    yield "object", _object(sources["photos"], photo.source_key)
    yield "object's ETag", photo.source_etag
    yield "object's bytes", f"{photo.source_size:,}"
    yield "object's sha256", photo.source_sha256
    yield "as uploaded", f"{photo.format}, {photo.width:,} × {photo.height:,} pixels"
    yield "canonical JPEG's sha256", photo.sha256
    place = served.places.get(photo.image_id)
    if place is None:
        yield "canonical JPEG", "not in this release"
    else:
        yield "canonical JPEG", f"{place.size:,} bytes from {place.offset:,} in {place.file}"
    row = served.rows.get(photo.image_id)
    yield "place in the index", "none" if row is None else f"row {row} of {served.photos:,}"
    yield "same picture", _copies(photo)
    for copy in photo.some_copies:
        yield "same picture", _copy(copy)


def _copies(photo: PhotoProvenance) -> str:
    if not photo.copies:
        return "in no other photo"
    oldest = "this one" if photo.oldest_copy == photo.image_id else photo.oldest_copy
    named = len(photo.some_copies)
    some = f"; {named:,} of them below" if named < photo.copies else ""
    others = "1 other photo" if photo.copies == 1 else f"{photo.copies:,} other photos"
    return f"in {others}, the oldest is {oldest}{some}"


def _copy(copy: DuplicatePhoto) -> str:
    return f"{copy.image_id} of listing {copy.product_id}, {'exactly' if copy.exact else 'nearly'}"


def _turned_away(away: RejectedPhoto, sources: _Sources) -> _Facts:
    yield "image", away.image_id
    yield "row", _row(away.row, sources["images"])
    yield "reason", away.reason
    yield "detail", away.detail
    if away.source_key is not None:
        yield "object", _object(sources["photos"], away.source_key)
        yield "object's ETag", away.source_etag or ""
        yield "object's bytes", f"{away.source_size or 0:,}"


def _versions(manifest: Manifest, sources: _Sources) -> _Facts:
    yield "release", manifest.version
    yield "created", manifest.created
    yield "code revision", manifest.code_revision
    for source in sources.values():
        if source.sha256 is not None:
            yield "raw table", f"sha256 {source.sha256}, {source.bytes:,} bytes, {source.url}"
    yield "data digest", manifest.data_digest
    yield "canonical photos", f"version {manifest.photos_version}"
    yield "encoder's classes", f"{len(manifest.labels):,}"
    yield "encoder's embedding", f"{manifest.embedding_dimension:,} numbers"
    for name, artifact in manifest.artifacts.items():
        yield (
            f"artifact {name}",
            f"sha256 {artifact.sha256}, {artifact.bytes:,} bytes, {artifact.path}",
        )


def _row(row: int, table: Source) -> str:
    return f"{row} of {table.url}, counted from 0 below the header"


def _object(folder: Source, key: str) -> str:
    return f"{folder.url.rstrip('/')}/{key}"


def _served(lake: Lake, manifest: Manifest, origin: ListingProvenance) -> _Served:
    """Find a listing and its photos in the files that a server reads.

    Raises:
        ReleaseError: a file is not as it was sealed, or does not know the listing.
    """
    reading: ArtifactName = "listings"
    try:
        listings = read_listings(_sealed(lake, manifest, reading))
        reading = "release_photos"
        places = PhotoStore.from_table(_sealed(lake, manifest, reading), lake).locations
    except ReleaseError:
        raise
    except ValueError as error:
        raise _unreadable(lake, manifest, reading, error) from error
    if origin.product_id not in listings:
        raise ReleaseError(
            f"{_file(lake, manifest, 'listings')}: found no listing {origin.product_id}; expected "
            f"those of {_file(lake, manifest, 'provenance')}; {_REPAIR}"
        )
    wanted = {photo.image_id for photo in origin.photos}
    indexed = _indexed(lake, manifest)
    return _Served(
        listings[origin.product_id],
        {image_id: places[image_id] for image_id in wanted if image_id in places},
        {image_id: row for row, (image_id, _) in enumerate(indexed) if image_id in wanted},
        len(indexed),
    )


def _unknown(lake: Lake, manifest: Manifest, product_id: str) -> str:
    """Say what to ask for instead; whoever has a hit at hand may well name its photo."""
    found = f"found no listing {product_id!r} in release {manifest.version}"
    listing = dict(_indexed(lake, manifest)).get(product_id)
    if listing is not None:
        return f"{found}, but a photo of that id; name its listing, {_printable(listing)}"
    return (
        f"{found}; name the product_id of a hit, or by --release the release that it was found in; what "
        "cleaning turned away stands in 03_primary/quarantine.parquet in the lake"
    )


def _indexed(lake: Lake, manifest: Manifest) -> list[tuple[str, str]]:
    """Give photo and listing of each row of the index.

    Raises:
        ReleaseError: the ids are not as they were sealed, or are none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = _sealed(lake, manifest, "image_index_ids")
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read()
        columns = [table.column(name).to_pylist() for name in ID_COLUMNS]
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        wrong = ValueError(f"found {len(data):,} bytes that are no ids ({error})")
        raise _unreadable(lake, manifest, "image_index_ids", wrong) from error
    return list(zip(*columns, strict=True))


def _sealed(lake: Lake, manifest: Manifest, name: ArtifactName) -> bytes:
    if name not in manifest.artifacts:
        raise ReleaseError(
            f"release {manifest.version}: found no {name}; expected some: it is older than that: "
            "make another by `kedro run`"
        )
    try:
        return read_verified(lake, manifest.artifacts[name])
    except ReleaseError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ReleaseError(f"{error}; {_REPAIR}") from None


def _unreadable(
    lake: Lake, manifest: Manifest, name: ArtifactName, error: ValueError
) -> ReleaseError:
    return ReleaseError(f"{_file(lake, manifest, name)}: {error}; {_REPAIR}")


def _file(lake: Lake, manifest: Manifest, name: ArtifactName) -> str:
    return lake.name(manifest.artifacts[name].path)


def _printable(fact: str) -> str:
    """Put a fact on one line that moves no cursor: names of objects may hold whatever bytes."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in fact)
