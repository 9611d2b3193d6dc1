"""References in a lake: the versions and files that run records, active runs and releases need."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Final

from fb_marketplace.errors import UserError
from fb_marketplace.storage.lake_layout import VERSION, LakeFile, parse_versioned, started_at
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
    """Find the runs that may be active.

    Args:
        files: files of the lake, by path.
        tags: tags of each table.
        ended: versions of the runs that have ended.
        since: a run older than the newest ended run counts as active only if it wrote since then.

    Returns:
        The versions of the active runs; and the time of the first untagged commit since then, or None. A
        run without other outputs may have written this commit.
    """
    newest = max(ended, default="")
    written: dict[str, datetime] = {}
    for path, file in files.items():
        versioned = parse_versioned(path)
        version = versioned.version if versioned else PurePosixPath(path).stem
        is_tag = "/_refs/tags/" in path and VERSION.fullmatch(version)
        if (versioned or is_tag) and version not in ended:
            written[version] = max(file.written, written.get(version, file.written))
    active = [
        version for version in sorted(written) if version > newest or written[version] >= since
    ]
    commits = [table.newest_untagged for table in tags if table.newest_untagged]
    return active, min((time for time in commits if time >= since), default=None)


def referenced_versions(
    records: Sequence[RunRecord], keep: int, active: Iterable[str], untagged_since: datetime | None
) -> set[str]:
    """Return the versions that the newest runs and the active runs need, directly or indirectly.

    Inputs named ``previous_…`` are not followed: each run reads the splits of the run before it, so all
    older runs would be needed forever.

    Args:
        records: records of all successful runs, newest first.
        keep: number of newest runs to keep.
        active: versions of active runs; they need the versions that were the latest at their start.
        untagged_since: time of the first commit of an active run without a known version; None if there
            is none.
    """
    by_version = {record.version: record for record in records}
    pending = {record.version for record in records[:keep]} | latest_versions(records)
    starts = [started_at(version) for version in active]
    for start in starts + ([untagged_since] if untagged_since else []):
        pending |= latest_versions(
            record for record in records if datetime.fromisoformat(record.ended) <= start
        )
    needed: set[str] = set()
    while pending:
        version = pending.pop()
        needed.add(version)
        if record := by_version.get(version):
            inputs = {
                source for name, source in record.inputs.items() if not name.startswith("previous_")
            }
            pending |= (inputs | set(record.outputs.values())) - needed
    return needed


def latest_versions(records: Iterable[RunRecord]) -> set[str]:
    """Return the latest versions of all datasets; ``records`` are sorted, newest first."""
    latest: dict[str, str] = {}
    for record in records:
        latest = record.outputs | latest
    return set(latest.values())


def releases_by_version(lake: Lake) -> tuple[str | None, list[str]]:
    """Return the version of the current release, and those of all releases, newest first.

    Raises:
        UserError: the pointer to the current release is damaged.
        OSError: the lake cannot be read.
    """
    pointer = read_pointer(lake)
    if pointer.version is None and pointer.tag is not None:
        raise UserError(
            f"{lake.name(CURRENT)} is damaged, so the current release is unknown. Choose one with "
            f"`fb-serve rollback VERSION --lake {lake.url}`, then rerun `prune`."
        )
    names = [
        name.removesuffix(".json")
        for name in lake.sizes(RELEASES)
        if name.endswith(".json")
        and not name.startswith(".")
        and name != PurePosixPath(CURRENT).name
    ]
    return pointer.version, sorted(names, reverse=True)


def referenced_files(lake: Lake, releases: Iterable[str]) -> set[str]:
    """Return the paths of all files of releases, including their photo files.

    Raises:
        ReleaseError: a release cannot be read, so that its files are unknown.
    """
    return {
        artifact.path
        for release in releases
        for artifact in release_artifacts(lake, read_manifest(lake, release))
    }
