"""What of a lake is needed, told from the records of its runs and the manifests of its releases alone."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from fb_marketplace.errors import UserError
from fb_marketplace.storage.lake_layout import VERSION, LakeFile, started_at, versioned
from fb_marketplace.storage.run_records import RunRecord
from fb_marketplace.storage.table_versions import TableTags
from fb_marketplace_serving.release.artifacts import release_artifacts
from fb_marketplace_serving.release.manifest import read_manifest
from fb_marketplace_serving.release.pointer import CURRENT, read_pointer
from fb_marketplace_serving.storage.lake import Lake

RELEASES: Final = "releases"


def active_runs(
    files: Mapping[str, LakeFile],
    tags: Iterable[TableTags],
    ended: Collection[str],
    since: datetime,
) -> tuple[list[str], datetime | None]:
    """Name the versions that a run may be writing now.

    Args:
        files: of the lake, by their paths.
        tags: what is known of each table.
        ended: versions whose runs ended well.
        since: a version older than the newest of those is nobody's if it was not written to since.

    Returns:
        The versions; and when rows were committed of which none tells, if that was since then: by a run
        that has left nothing else yet.
    """
    newest = max(ended, default="")
    written: dict[str, datetime] = {}
    for path, file in files.items():
        at = versioned(path)
        version = at.version if at else PurePosixPath(path).name.removesuffix(".json")
        of_a_tag = "/_refs/tags/" in path and VERSION.fullmatch(version)
        if (at or of_a_tag) and version not in ended:
            written[version] = max(file.written, written.get(version, file.written))
    going_on = [
        version for version, when in sorted(written.items()) if version > newest or when >= since
    ]
    commits = [each.newest_untagged for each in tags if each.newest_untagged]
    return going_on, min((when for when in commits if when >= since), default=None)


def referenced_versions(
    records: Sequence[RunRecord], keep: int, going_on: Iterable[str], writing: datetime | None
) -> set[str]:
    """Name the versions of runs that are needed, until each that they read is among them.

    What a run only compared itself with (``previous_…``) is not followed: each run reads the splits of
    the one before, and so would keep all runs there ever were.

    Args:
        records: of all runs that ended well, newest first.
        keep: how many of the newest are needed.
        going_on: versions that a run may be writing: what was the latest when it began is needed too.
        writing: when rows were committed by a run that has no version yet; None where there is none.
    """
    by_version = {record.version: record for record in records}
    wanted = {record.version for record in records[:keep]} | latest(records)
    starts = [started_at(version) for version in going_on] + ([writing] if writing else [])
    for start in starts:
        wanted |= latest(each for each in records if datetime.fromisoformat(each.ended) <= start)
    needed: set[str] = set()
    while wanted:
        version = wanted.pop()
        needed.add(version)
        if record := by_version.get(version):
            read = {
                source for name, source in record.read.items() if not name.startswith("previous_")
            }
            wanted |= (read | set(record.made.values())) - needed
    return needed


def latest(records: Iterable[RunRecord]) -> set[str]:
    """Name the version of each dataset that a run which begins now reads; records are newest first."""
    newest: dict[str, str] = {}
    for record in records:
        newest = record.made | newest
    return set(newest.values())


def releases_by_version(lake: str) -> tuple[str | None, list[str]]:
    """Give the release in force, and the names of all, the newest first.

    Raises:
        UserError: the pointer to the one in force is damaged.
        OSError: the lake cannot be read.
    """
    seen = read_pointer(lake)
    if seen.version is None and seen.tag is not None:
        raise UserError(
            f"{lake}/{CURRENT} cannot be read, so nobody knows which release is in force; put one in "
            f"force with `fb-serve rollback VERSION --lake {lake}`, then prune"
        )
    pointer = PurePosixPath(CURRENT).name
    names = [
        name.removesuffix(".json")
        for name in Lake(lake).sizes(RELEASES)
        if name.endswith(".json") and not name.startswith(".") and name != pointer
    ]
    return seen.version, sorted(names, reverse=True)


def referenced_files(lake: str, releases: Iterable[str]) -> set[str]:
    """Name the files that releases are made of, those of their photos included.

    Raises:
        ReleaseError: one cannot be read, so that nobody knows.
    """
    store = Lake(lake)
    return {
        artifact.path
        for release in releases
        for artifact in release_artifacts(store, read_manifest(lake, release))
    }
