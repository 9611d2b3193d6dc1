"""Versions of a Lance table: find and remove unreferenced ones, and compact deleted rows."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.storage.keyed_table import KEY, TableMissingError, open_dataset
from fb_marketplace.storage.lake_layout import LakeFile
from fb_marketplace.storage.retries import retry_on_store_error
from fb_marketplace.storage.table_writer import MAX_BYTES

if TYPE_CHECKING:
    import lance

UNVERIFIED_FOR: Final = timedelta(days=7)
"""Lance keeps an unreferenced file for this long, since a commit may be in progress."""

_NEVER: Final = timedelta(days=36500)


class TableTags(NamedTuple):
    """Tags of a table.

    Attributes:
        versions: the table version of each tag.
        newest_untagged: commit time of the newest version, None if it has a tag.
    """

    versions: Mapping[str, int]
    newest_untagged: datetime | None


class UnreferencedVersions(NamedTuple):
    """Parts of a table that can be removed.

    Attributes:
        versions: version numbers; some may still have tags, which must be removed first.
        unverified: whether to delete files that no version references, regardless of age.
        files: data and deletion files that only these versions reference, or that no version references;
            paths relative to the table's folder.
        bytes: total size of these files and of the versions' manifests.
    """

    versions: tuple[int, ...] = ()
    unverified: bool = False
    files: tuple[str, ...] = ()
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.versions or self.files)


@retry_on_store_error
def read_tags(url: str) -> TableTags | None:
    """Read the tags of a table; None if there is no table."""
    dataset = _open(url)
    if dataset is None:
        return None
    tags = _tags(dataset)
    newest = dataset.versions()[-1]
    untagged = newest["version"] > 1 and newest["version"] not in tags.values()
    return TableTags(tags, _committed(newest) if untagged else None)


@retry_on_store_error
def unreferenced_versions(
    url: str,
    files: Mapping[str, LakeFile],
    retained_tags: Collection[str],
    untagged_since: datetime | None,
    orphaned_since: datetime,
) -> UnreferencedVersions:
    """Find the versions and files of a table that nothing references.

    The newest version is always kept, since the next run continues from it.

    Args:
        url: URL of the table.
        files: files in the table's folder, by path relative to it.
        retained_tags: tags of the versions to keep.
        untagged_since: untagged versions committed since then are kept, as an active run may have written
            them; None if no run is active.
        orphaned_since: if any unreferenced file was written since then, the unreferenced files younger
            than ``UNVERIFIED_FOR`` are kept.
    """
    dataset = _open(url)
    if dataset is None:
        return UnreferencedVersions()
    tags = _tags(dataset)
    committed = {int(version["version"]): _committed(version) for version in dataset.versions()}
    retained = {number for name, number in tags.items() if name in retained_tags}
    retained.add(max(committed))
    if untagged_since is not None:
        recent = {number for number, time in committed.items() if time >= untagged_since}
        retained |= recent - set(tags.values())
    removable = sorted(committed.keys() - retained)
    referenced = _referenced_files(dataset, retained)
    released = _referenced_files(dataset, removable) - referenced
    stray = {path for path in files if path.startswith(("data/", "_deletions/"))}
    stray -= referenced | released
    is_young = any(files[path].written >= orphaned_since for path in stray)
    expired = datetime.now(UTC) - UNVERIFIED_FOR
    going = released & files.keys()
    going |= {path for path in stray if not is_young or files[path].written < expired}
    manifests = sum(_manifest_bytes(files, number) for number in removable)
    size = sum(files[path].bytes for path in going) + manifests
    return UnreferencedVersions(
        tuple(removable), bool(stray) and not is_young, tuple(sorted(going)), size
    )


@retry_on_store_error
def remove_tags(url: str, names: Iterable[str]) -> None:
    """Remove the tags that exist."""
    dataset = _open(url)
    if dataset is None:
        return
    for name in set(names) & _tags(dataset).keys():
        dataset.tags.delete(name)


@retry_on_store_error
def remove(url: str, unreferenced: UnreferencedVersions) -> None:
    """Remove unreferenced versions and files. A version that still has a tag is kept.

    Raises:
        UserError: the store did not delete all files.
    """
    dataset = _open(url)
    if dataset is None:
        return
    existing = {int(version["version"]) for version in dataset.versions()}
    versions = sorted(existing & set(unreferenced.versions))
    # Without versions, only files that no version references are removed.
    selection: dict[str, Any] = {"versions": versions} if versions else {"older_than": _NEVER}
    result = dataset.cleanup_old_versions(
        **selection, delete_unverified=unreferenced.unverified, error_if_tagged_old_versions=False
    )
    if result.failed_deletes:
        raise UserError(f"{url}: {result.failed_deletes} files were not deleted. Rerun `prune`.")


@retry_on_store_error
def compact(url: str) -> bool:
    """Rewrite a table without deleted rows, if the newest or a tagged version has any.

    A deletion only marks rows: their bytes remain in the files until the table is compacted and older
    versions are removed. Tags move to the rewritten versions. After a kill, call it again.

    Returns:
        Whether there were deleted rows.
    """
    dataset = _open(url)
    if dataset is None:
        return False
    tags = _tags(dataset)
    numbers = sorted({int(dataset.version), *tags.values()})
    marked = [number for number in numbers if _has_deleted(dataset.checkout_version(number))]
    for number in marked:
        compacted = _compact_version(dataset.checkout_version(number))
        for name in [name for name, version in tags.items() if version == number]:
            dataset.tags.update(name, compacted)
    if marked and not _has_same_rows(_newest(dataset), dataset):
        # Rows of a killed run are newer than any tag: the next run must continue from them.
        _restore(dataset)
    return bool(marked)


def _compact_version(old: "lance.LanceDataset") -> int:
    """Return the number of a version with the same rows in the same order, without deleted rows."""
    newest = _newest(old)
    if newest.version != old.version:
        if _has_same_rows(newest, old) and not _has_deleted(newest):
            # An earlier attempt was killed before it moved the tags.
            return int(newest.version)
        _restore(old)
        newest = _newest(old)
    newest.optimize.compact_files(
        materialize_deletions=True,
        materialize_deletions_threshold=0.0,
        max_bytes_per_file=MAX_BYTES,
    )
    return int(_newest(old).version)


def _newest(dataset: "lance.LanceDataset") -> "lance.LanceDataset":
    return dataset.checkout_version(dataset.latest_version)


def _restore(version: "lance.LanceDataset") -> None:
    """Make an older version the newest."""
    restore: Callable[[], None] = version.restore
    restore()


def _has_deleted(dataset: "lance.LanceDataset") -> bool:
    return any(fragment.deletion_file() for fragment in dataset.get_fragments())


def _has_same_rows(one: "lance.LanceDataset", other: "lance.LanceDataset") -> bool:
    """Check whether two versions have the same rows in the same order; the key determines a row."""
    if not one.schema.equals(other.schema):
        return False
    return bool(one.to_table(columns=[KEY]).equals(other.to_table(columns=[KEY])))


def _open(url: str) -> "lance.LanceDataset | None":
    try:
        return open_dataset(url)
    except TableMissingError:
        return None


def _tags(dataset: "lance.LanceDataset") -> dict[str, int]:
    return {name: int(tag["version"]) for name, tag in dataset.tags.list().items()}


def _committed(version: Mapping[str, Any]) -> datetime:
    # Lance returns local time without a time zone.
    time: datetime = version["timestamp"]
    return time.astimezone(UTC)


def _referenced_files(dataset: "lance.LanceDataset", versions: Iterable[int]) -> set[str]:
    """Return the data and deletion files of versions, as paths relative to the table's folder."""
    names: set[str] = set()
    for version in versions:
        for fragment in dataset.checkout_version(version).get_fragments():
            names |= {f"data/{file.path}" for file in fragment.data_files()}
            deletion_file: Callable[[], str | None] = fragment.deletion_file
            if name := deletion_file():
                names.add(name)
    return names


def _manifest_bytes(files: Mapping[str, LakeFile], version: int) -> int:
    """Return the size of a version's manifest, which Lance names in one of two ways."""
    for name in (f"_versions/{2**64 - 1 - version}.manifest", f"_versions/{version}.manifest"):
        if name in files:
            return files[name].bytes
    return 0
