"""Pruning plan: everything in a lake that nothing references.

Referenced are the inputs and outputs of the newest runs, the latest version of each dataset, and the files
of the newest releases and of the current release. An active run has no record yet. A version without a
record therefore stays if it is newer than the newest record, or was written to within a grace period.
While there is such a run, all photo files stay, and so do the versions that were the latest at its start. A
run that has written nothing yet cannot be detected: exclude it with ``flock`` (docs/operations.md).
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, Literal, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle.references import (
    RELEASES,
    active_runs,
    referenced_files,
    referenced_versions,
    releases_by_version,
)
from fb_marketplace.storage import table_versions
from fb_marketplace.storage.lake_layout import (
    LAYERS,
    VERSION,
    LakeFile,
    list_files,
    list_probes,
    parent_table,
    parse_versioned,
)
from fb_marketplace.storage.run_records import FOLDER as RUNS
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.release.manifest import manifest_path
from fb_marketplace_serving.release.photo_store import FOLDER as PHOTOS
from fb_marketplace_serving.storage.lake import Lake

WEEK: Final = timedelta(days=7)

JOURNAL: Final = "pruning.json"
"""Versions that a prune removes. Written first, so that the next prune can finish a killed one."""

WORK: Final = "work"

Kind = Literal["release", "run", "tag", "table", "version", "photos", "work", "leftover"]
"""Kinds of items, in the order of removal: references before their targets."""


@dataclass(frozen=True, slots=True)
class PruneItem:
    """An item to remove.

    Attributes:
        kind: its kind.
        name: its path relative to the lake's root, or a description.
        bytes: its size in bytes.
        reason: why nothing needs it.
        paths: its files, relative to the lake's root.
        unreferenced: the removable parts, if the item is a table.
    """

    kind: Kind
    name: str
    bytes: int
    reason: str
    paths: tuple[str, ...] = ()
    unreferenced: table_versions.UnreferencedVersions | None = None


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Items to remove from a lake.

    Attributes:
        lake: the lake.
        items: the items, in the order of removal.
        current_release: version of the current release at the time of planning.
        versions: versions of runs whose records are removed, or were removed by a killed prune.
        runs: versions of the runs that stay, newest first.
        releases: versions of the releases that stay, newest first.
        active: versions that an active run may be writing.
    """

    lake: Lake
    items: tuple[PruneItem, ...]
    current_release: str | None
    versions: tuple[str, ...]
    runs: tuple[str, ...]
    releases: tuple[str, ...]
    active: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Total size of the items in bytes."""
        return sum(item.bytes for item in self.items)


class _Retained(NamedTuple):
    versions: Collection[str]
    paths: Collection[str]
    releases: Sequence[str]


class _LakeSnapshot(NamedTuple):
    lake: Lake
    files: Mapping[str, LakeFile]
    tables: Mapping[str, Mapping[str, LakeFile]]
    tags: Mapping[str, table_versions.TableTags]
    records: Sequence[RunRecord]
    journal: frozenset[str]

    @property
    def ended(self) -> frozenset[str]:
        """Versions of ended runs, including those whose records a killed prune has removed."""
        return self.journal | {record.version for record in self.records}

    def item(self, kind: Kind, name: str, reason: str, paths: Sequence[str]) -> PruneItem:
        size = sum(self.files[path].bytes for path in paths)
        return PruneItem(kind, name, size, reason, tuple(paths))

    def json(self, path: str) -> Any:
        return json.loads(self.lake.read(path))


def plan_pruning(
    lake: Lake,
    keep: int,
    orphan_grace_period: timedelta = WEEK,
    *,
    assume_no_active_run: bool = False,
) -> PrunePlan:
    """Find the removable items of a lake, without changing it.

    Args:
        lake: the lake.
        keep: number of newest runs, and of newest releases, to keep.
        orphan_grace_period: time that files without a record are kept after they were last written.
        assume_no_active_run: keep only the newest run. The caller guarantees that no other run is active.

    Raises:
        UserError: ``keep`` is less than 1, or the pointer to the current release is damaged.
        ReleaseError: a release that stays cannot be read, so that its files are unknown.
        OSError: the lake cannot be read.
    """
    if keep < 1:
        raise UserError(
            f"--keep {keep} is too small: expected 1 or more, since the newest run and release stay."
        )
    since = datetime.now(UTC) - orphan_grace_period
    snapshot = _take_snapshot(lake)
    active: list[str] = []
    untagged_since: datetime | None = None
    if assume_no_active_run:
        versions = {snapshot.records[0].version}
    else:
        tags = snapshot.tags.values()
        active, untagged_since = active_runs(snapshot.files, tags, snapshot.ended, since)
        versions = referenced_versions(snapshot.records, keep, active, untagged_since)
    current, releases = releases_by_version(lake)
    retained_releases = [name for name in releases if name in {*releases[:keep], current}]
    retained = _Retained(versions, referenced_files(lake, retained_releases), retained_releases)
    is_active = bool(active or untagged_since)
    items = [
        *_releases(snapshot, releases, retained),
        *_records(snapshot, retained),
        *_tables(snapshot, {*versions, *active}, since if is_active else None, since),
        *_versions(snapshot, retained, {*versions, *active}),
        *([] if is_active else _photos(snapshot, retained)),
        *_trainings(snapshot, retained, since),
        *_leftovers(snapshot, since),
    ]
    return PrunePlan(
        lake,
        tuple(items),
        current,
        tuple(sorted(snapshot.ended - versions)),
        tuple(record.version for record in snapshot.records if record.version in versions),
        tuple(retained_releases),
        tuple(active),
    )


def read_journal(lake: Lake) -> frozenset[str]:
    """Read the versions that a killed prune was removing; empty if there is no journal."""
    try:
        return frozenset(json.loads(lake.read(JOURNAL))["versions"])
    except FileNotFoundError:
        return frozenset()


def _take_snapshot(lake: Lake) -> _LakeSnapshot:
    records = list(RunRecords(lake).newest_first())
    files = list_files(lake, *LAYERS, RUNS, RELEASES, WORK) | list_probes(lake)
    tables: dict[str, dict[str, LakeFile]] = {}
    for path, file in files.items():
        if table := parent_table(path):
            tables.setdefault(table, {})[path.removeprefix(f"{table}/")] = file
    tags = {table: table_versions.read_tags(lake.name(table)) for table in tables}
    known = {table: value for table, value in tags.items() if value is not None}
    return _LakeSnapshot(lake, files, tables, known, records, read_journal(lake))


def _releases(
    snapshot: _LakeSnapshot, releases: Iterable[str], retained: _Retained
) -> Iterator[PruneItem]:
    for name in releases:
        if name not in retained.releases:
            yield snapshot.item(
                "release", name, "older than those that stay", [manifest_path(name)]
            )


def _records(snapshot: _LakeSnapshot, retained: _Retained) -> Iterator[PruneItem]:
    for version in (record.version for record in snapshot.records):
        if version not in retained.versions:
            reason = "no run that stays reads its outputs, and neither will the next run"
            yield snapshot.item("run", version, reason, [f"{RUNS}/{version}.json"])


def _tables(
    snapshot: _LakeSnapshot,
    retained: Collection[str],
    untagged_since: datetime | None,
    orphaned_since: datetime,
) -> Iterator[PruneItem]:
    removable = {
        table: {tag for tag in tags.versions if VERSION.fullmatch(tag) and tag not in retained}
        for table, tags in snapshot.tags.items()
    }
    for table, tags in removable.items():
        for tag in sorted(tags):
            path = f"{table}/_refs/tags/{tag}.json"
            yield snapshot.item("tag", f"{table} @ {tag}", "no run that stays needs it", [path])
    for table, tags in removable.items():
        unreferenced = table_versions.unreferenced_versions(
            snapshot.lake.name(table),
            snapshot.tables[table],
            snapshot.tags[table].versions.keys() - tags,
            untagged_since,
            orphaned_since,
        )
        if unreferenced:
            count = len(unreferenced.versions)
            reason = (
                f"{count} unreferenced versions" if count else "files that no version references"
            )
            yield PruneItem("table", table, unreferenced.bytes, reason, unreferenced=unreferenced)


def _versions(
    snapshot: _LakeSnapshot, retained: _Retained, versions: Collection[str]
) -> Iterator[PruneItem]:
    removable: dict[tuple[str, str], list[str]] = {}
    for path in snapshot.files:
        versioned = parse_versioned(path)
        if versioned and versioned.version not in versions and path not in retained.paths:
            removable.setdefault(versioned, []).append(path)
    for (entry, version), paths in removable.items():
        has_ended = version in snapshot.ended
        reason = "no run or release that stays needs it" if has_ended else "its run never ended"
        yield snapshot.item("version", f"{entry} @ {version}", reason, paths)


def _photos(snapshot: _LakeSnapshot, retained: _Retained) -> Iterator[PruneItem]:
    for path in snapshot.files:
        is_photos = path.startswith(f"{PHOTOS}/") and path.endswith(".jpegs")
        if is_photos and path not in retained.paths:
            yield snapshot.item("photos", path, "no release that stays shows these photos", [path])


def _trainings(
    snapshot: _LakeSnapshot, retained: _Retained, since: datetime
) -> Iterator[PruneItem]:
    """Yield trainings that are not recent and do not belong to a retained model."""
    folders: dict[str, list[str]] = {}
    for path in snapshot.files:
        if path.startswith(f"{WORK}/") and path.count("/") > 1:
            folders.setdefault("/".join(path.split("/")[:2]), []).append(path)
    histories = _histories(snapshot, retained) if folders else []
    for folder, paths in folders.items():
        history = f"{folder}/history.json"
        has_ended = history in paths
        is_recent = max(snapshot.files[path].written for path in paths) >= since
        if is_recent or (has_ended and snapshot.json(history) in histories):
            continue
        reason = "no run that stays trained it" if has_ended else "this training was not resumed"
        yield snapshot.item("work", folder, reason, paths)


def _histories(snapshot: _LakeSnapshot, retained: _Retained) -> list[list[dict[str, float]]]:
    """Return the training histories of the retained models; no two trainings have the same history."""
    histories = []
    for path in snapshot.files:
        versioned = parse_versioned(path)
        if (
            versioned
            and versioned.version in retained.versions
            and versioned.entry.endswith("/training_history.json")
        ):
            epochs = [epoch for epoch in snapshot.json(path) if epoch.pop("stage") == "fine_tuning"]
            histories.append(epochs)
    return histories


def _leftovers(snapshot: _LakeSnapshot, since: datetime) -> Iterator[PruneItem]:
    """Yield the temporary files of killed writers, identified by their names."""
    for path, file in snapshot.files.items():
        name = PurePosixPath(path).name
        is_hidden = name.startswith(".") and not name.endswith((".lock", ".gitkeep"))
        is_old = file.written < since
        if (name.endswith(".part") or is_hidden) and is_old and not parent_table(path):
            yield snapshot.item("leftover", path, "its writer was killed", [path])
