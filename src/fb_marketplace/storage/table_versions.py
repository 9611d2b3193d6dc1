"""The versions of a Lance table that nobody needs, and what lies in its folder that no version names."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.storage.filesystem import lance_options
from fb_marketplace.storage.keyed_table import KEY
from fb_marketplace.storage.lake_layout import LakeFile
from fb_marketplace.storage.retries import retry_on_store_error

if TYPE_CHECKING:
    import lance

UNVERIFIED_FOR: Final = timedelta(days=7)
"""A file that no version names may be of a commit that is being made: Lance leaves it alone as long."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of a file that is written anew, about: small ones are merged, and a million photos are gigabytes."""


class TableTags(NamedTuple):
    """What is known of a table before anything is decided.

    Attributes:
        versions: the number of the table's version that each tag names.
        newest_untagged: when the newest version was committed, if no tag names it.
    """

    versions: Mapping[str, int]
    newest_untagged: datetime | None


class UnreferencedVersions(NamedTuple):
    """What of a table can go.

    Attributes:
        versions: by their numbers; those whose tags are to go first are among them.
        unverified: whether to delete what no version names, whatever its age.
        files: with rows, or with which of them are deleted, that only these versions, or none, name; by
            their paths in the table's folder.
        bytes: of these files, and of what makes the versions.
    """

    versions: tuple[int, ...] = ()
    unverified: bool = False
    files: tuple[str, ...] = ()
    bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.versions or self.files)


@retry_on_store_error
def read_tags(url: str) -> TableTags | None:
    """Read which versions of a table have names; None where there is no table yet."""
    dataset = _open(url)
    if dataset is None:
        return None
    named = {name: int(tag["version"]) for name, tag in dataset.tags.list().items()}
    newest = dataset.versions()[-1]
    untagged = newest["version"] not in named.values()
    return TableTags(named, _committed(newest) if untagged and newest["version"] > 1 else None)


@retry_on_store_error
def unreferenced_versions(
    url: str,
    files: Mapping[str, LakeFile],
    kept_tags: Collection[str],
    kept_since: datetime | None,
    unrecorded_since: datetime,
) -> UnreferencedVersions:
    """Find what nobody needs of a table.

    The newest version always stays: the next run goes on from it.

    Args:
        url: of the table.
        files: of its folder, by their paths in it.
        kept_tags: the names of the versions that are needed.
        kept_since: versions without a name that were committed since are kept, as the run that made
            them may go on; None where none does.
        unrecorded_since: files that no version names are left alone where one was written since.
    """
    dataset = _open(url)
    if dataset is None:
        return UnreferencedVersions()
    tags = {name: int(tag["version"]) for name, tag in dataset.tags.list().items()}
    committed = {int(each["version"]): _committed(each) for each in dataset.versions()}
    kept = {number for name, number in tags.items() if name in kept_tags} | {max(committed)}
    if kept_since is not None:
        recent = {number for number, when in committed.items() if when >= kept_since}
        kept |= recent - set(tags.values())
    gone = sorted(committed.keys() - kept)
    held = _named_by(dataset, kept)
    dropped = _named_by(dataset, gone) - held
    stray = {path for path in files if _is_content(path)} - held - dropped
    young = any(files[path].written >= unrecorded_since for path in stray)
    old = datetime.now(UTC) - UNVERIFIED_FOR
    going = dropped & files.keys()
    going |= {path for path in stray if not young or files[path].written < old}
    manifests = sum(_manifest_bytes(files, number) for number in gone)
    weight = sum(files[path].bytes for path in going) + manifests
    return UnreferencedVersions(
        tuple(gone), bool(stray) and not young, tuple(sorted(going)), weight
    )


@retry_on_store_error
def remove_tags(url: str, names: Iterable[str]) -> None:
    """Take names from versions; a name that is gone already is none to take."""
    dataset = _open(url)
    if dataset is None:
        return
    for name in set(names) & dataset.tags.list().keys():
        dataset.tags.delete(name)


@retry_on_store_error
def remove(url: str, found: UnreferencedVersions) -> None:
    """Remove versions that have no name any more, and what no version names.

    Raises:
        UserError: the store did not delete all of it.
    """
    dataset = _open(url)
    if dataset is None:
        return
    there = {int(each["version"]) for each in dataset.versions()}
    which: dict[str, Any] = {"versions": sorted(there & set(found.versions))}
    if not which["versions"]:
        # None is as old as that, so that only what no version names goes.
        which = {"older_than": timedelta(days=36500)}
    said = dataset.cleanup_old_versions(
        **which, delete_unverified=found.unverified, error_if_tagged_old_versions=False
    )
    if said.failed_deletes:
        raise UserError(f"{url}: {said.failed_deletes} files were not deleted; run prune again")


@retry_on_store_error
def compact(url: str) -> bool:
    """Write a table anew without deleted rows, where its newest version or one with a name has any.

    A deletion only marks rows; their bytes stay in the files of their neighbours until this is done and
    older versions are removed. Names go with their rows. To be run again after a kill.

    Returns:
        Whether there were any.
    """
    dataset = _open(url)
    if dataset is None:
        return False
    named = {name: int(tag["version"]) for name, tag in dataset.tags.list().items()}
    numbers = sorted({int(dataset.version), *named.values()})
    marked = [number for number in numbers if _has_deleted(dataset.checkout_version(number))]
    for number in marked:
        made = _written_anew(dataset.checkout_version(number))
        for name in [name for name, of in named.items() if of == number]:
            dataset.tags.update(name, made)
    if marked and not _has_same_rows(_newest(dataset), dataset):
        # What a killed run left is newer than what has a name: the next run goes on from it.
        _restore(dataset)
    return bool(marked)


def _written_anew(old: "lance.LanceDataset") -> int:
    """Give the number of a version with the same rows in the same order, and none that is only marked."""
    newest = _newest(old)
    if newest.version != old.version:
        if _has_same_rows(newest, old) and not _has_deleted(newest):
            # Whoever made it was killed before the names were moved.
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
    """Make the newest version of one that is older."""
    restore: Callable[[], None] = version.restore
    restore()


def _has_deleted(dataset: "lance.LanceDataset") -> bool:
    return any(each.deletion_file() for each in dataset.get_fragments())


def _has_same_rows(one: "lance.LanceDataset", other: "lance.LanceDataset") -> bool:
    """Tell whether two versions have the same rows in the same order; a key says all of a row."""
    if not one.schema.equals(other.schema):
        return False
    return bool(one.to_table(columns=[KEY]).equals(other.to_table(columns=[KEY])))


def _open(url: str) -> "lance.LanceDataset | None":
    import lance

    try:
        return lance.dataset(url, storage_options=lance_options(url))
    except ValueError as error:
        if "not found" in str(error).lower():
            return None
        raise


def _committed(version: Mapping[str, Any]) -> datetime:
    # Lance gives the time of this machine's zone, without saying so.
    when: datetime = version["timestamp"]
    return when.astimezone(UTC)


def _named_by(dataset: "lance.LanceDataset", numbers: Iterable[int]) -> set[str]:
    """Name the files that versions are made of, by their paths in the table's folder."""
    names: set[str] = set()
    for number in numbers:
        for fragment in dataset.checkout_version(number).get_fragments():
            names |= {f"data/{file.path}" for file in fragment.data_files()}
            deletions: Callable[[], str | None] = fragment.deletion_file
            if found := deletions():
                names.add(found)
    return names


def _is_content(path: str) -> bool:
    return path.startswith(("data/", "_deletions/"))


def _manifest_bytes(files: Mapping[str, LakeFile], number: int) -> int:
    """Give the size of a version's manifest, whichever of Lance's two ways names it."""
    for name in (f"_versions/{2**64 - 1 - number}.manifest", f"_versions/{number}.manifest"):
        if name in files:
            return files[name].bytes
    return 0
