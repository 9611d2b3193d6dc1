"""``fb-serve explain``: traces a served listing back to its raw row and its photo objects."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from fb_marketplace_serving.ann.index import ID_COLUMNS
from fb_marketplace_serving.release.artifacts import read_verified
from fb_marketplace_serving.release.manifest import (
    ArtifactName,
    Manifest,
    ReleaseError,
    read_manifest,
)
from fb_marketplace_serving.release.photo_store import PhotoStore
from fb_marketplace_serving.release.pointer import read_current
from fb_marketplace_serving.release.provenance import (
    ListingProvenance,
    PhotoProvenance,
    ProvenanceTable,
    RejectedPhoto,
    Source,
    SourceName,
    UnknownProductError,
    read_sources,
)
from fb_marketplace_serving.search.listings.listing import read_listings
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.parquet import read_parquet

_REPAIR: Final = "publish the release again, or choose another with --release"

_Parsed = TypeVar("_Parsed")
_Section = tuple[str, dict[str, Any]]


class _Files(NamedTuple):
    """The artifacts of a release, verified when they are read."""

    lake: Lake
    manifest: Manifest

    def parse(self, name: ArtifactName, parse: Callable[[bytes], _Parsed]) -> _Parsed:
        if name not in self.manifest.artifacts:
            raise ReleaseError(
                f"release {self.manifest.version} has no {name}; build a new release with `kedro run`"
            )
        try:
            data = read_verified(self.lake, self.manifest.artifacts[name])
        except ReleaseError as error:
            if isinstance(error.__cause__, OSError):
                raise
            raise ReleaseError(f"{error}; {_REPAIR}") from None
        try:
            return parse(data)
        except ValueError as error:
            raise ReleaseError(f"{self.name(name)}: {error}; {_REPAIR}") from error

    def name(self, name: ArtifactName) -> str:
        return self.lake.name(self.manifest.artifacts[name].path)

    def index_ids(self) -> list[tuple[str, str]]:
        """Return the photo id and listing id of each row of the image index."""
        table = self.parse("image_index_ids", lambda data: read_parquet(data, ID_COLUMNS))
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def explain(lake: Lake, product_id: str, version: str | None = None) -> list[str]:
    """Trace a listing from its release back to its raw row and its photo objects.

    Args:
        lake: the lake.
        product_id: the listing.
        version: the release; None for the current one.

    Returns:
        Lines of text. A section is a heading and one indented value per line; an empty line separates
        sections.

    Raises:
        UnknownProductError: the release has no such listing.
        ReleaseError: there is no such release, or one of its files is damaged.
    """
    manifest = read_current(lake) if version is None else read_manifest(lake, version)
    files = _Files(lake, manifest)
    provenance, sources = files.parse(
        "provenance", lambda data: (ProvenanceTable(data).get(product_id), read_sources(data))
    )
    if provenance is None:
        raise UnknownProductError(_unknown(files, product_id))
    lines = []
    for heading, values in _sections(files, provenance, sources):
        lines += [heading, *(f"  {label}: {_format(value)}" for label, value in values.items()), ""]
    return lines[:-1]


def _sections(
    files: _Files, provenance: ListingProvenance, sources: dict[SourceName, Source]
) -> Iterator[_Section]:
    """Yield headings and values, from the served listing to its sources."""
    listings = files.parse("listings", read_listings)
    if provenance.product_id not in listings:
        raise ReleaseError(
            f"{files.name('listings')}: listing {provenance.product_id} of "
            f"{files.name('provenance')} is missing; {_REPAIR}"
        )
    listing = listings[provenance.product_id]
    created = listing.created_at
    listed = None if created is None else datetime.fromtimestamp(created, UTC).isoformat()
    yield "listing, as served", _values(listing) | {"created at": listed}
    yield "raw row", {"row": provenance.row, "table": sources["products"].url}
    rejected = {
        f"rejected row {row.row}": f"{row.reason}: {row.detail}" for row in provenance.rejected
    }
    yield "cleaning", _values(provenance, "product_id", "row") | rejected
    yield from _photos(files, provenance, sources["images"].url, sources["photos"].url)
    tables = {
        f"table of {name}": f"sha256 {source.sha256}, {source.bytes:,} bytes, {source.url}"
        for name, source in sources.items()
        if source.sha256 is not None
    }
    artifacts = {
        f"artifact {name}": f"sha256 {file.sha256}, {file.bytes:,} bytes, {file.path}"
        for name, file in files.manifest.artifacts.items()
    } | {
        f"table {name}": f"version {table.version}, {sum(file.bytes for file in table.files):,} bytes, "
        f"of the index with sha256 {table.index_sha256}, {table.path}"
        for name, table in files.manifest.vector_tables.items()
    }
    names = ("created", "code_revision", "data_digest", "photos_version", "embedding_dimension")
    versions = {name.replace("_", " "): getattr(files.manifest, name) for name in names}
    yield "versions", {"release": files.manifest.version} | versions | tables | artifacts


def _photos(
    files: _Files, provenance: ListingProvenance, table: str, folder: str
) -> Iterator[_Section]:
    locations = files.parse(
        "release_photos", lambda data: PhotoStore.from_table(data, files.lake).locations
    )
    indexed = files.index_ids()
    rows = {image_id: row for row, (image_id, _) in enumerate(indexed)}

    def source(photo: PhotoProvenance | RejectedPhoto) -> dict[str, Any]:
        key = photo.source_key
        return {"table": table, "object": key and f"{folder.rstrip('/')}/{key}"}

    for number, photo in enumerate(provenance.photos, start=1):
        location, row = locations.get(photo.image_id), rows.get(photo.image_id)
        served = {
            "canonical JPEG": location
            and f"{location.size:,} bytes from {location.offset:,} in {location.file}",
            "index row": row if row is None else f"{row:,} of {len(indexed):,}",
        }
        copies = {
            f"copy {copy.image_id}": f"of listing {copy.product_id}, {'exact' if copy.exact else 'near'}"
            for copy in photo.some_copies
        }
        heading = f"photo {number} of {len(provenance.photos)}"
        yield heading, _values(photo, "source_key") | source(photo) | served | copies
    for number, rejected in enumerate(provenance.rejected_photos, start=1):
        heading = f"rejected image row {number} of {len(provenance.rejected_photos)}"
        yield heading, _values(rejected, "source_key") | source(rejected)


def _values(record: Any, *skipped: str) -> dict[str, Any]:
    """Return the fields of a named tuple by label, without skipped fields and nested records."""
    return {
        name.replace("_", " "): value
        for name, value in record._asdict().items()
        if name not in skipped and not (isinstance(value, list) and name != "repeated_in")
    }


def _format(value: Any) -> str:
    """Format a value on one line. Control characters are escaped: object keys may contain any bytes."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = f"{value:,}" if isinstance(value, (int, float)) else str(value)
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _unknown(files: _Files, product_id: str) -> str:
    """Return an error message with a remedy: the user may have given the id of a photo."""
    message = f"found no listing {product_id!r} in release {files.manifest.version}"
    listing = dict(files.index_ids()).get(product_id)
    if listing is not None:
        return f"{message}, but a photo with that id; use the id of its listing, {_format(listing)}"
    return (
        f"{message}; use the product_id of a hit, or set its release with --release; rejected listings "
        "are in 03_primary/quarantine.parquet in the lake"
    )
