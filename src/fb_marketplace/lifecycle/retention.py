"""What of a lake is still needed, and by whom; and so what can go.

Needed is what the newest runs read and made, what a run that begins now would read, and what the manifests
of the newest releases and of the one in force name. What a run that goes on may be writing has no record
yet: a version without one is left alone while it is newer than the newest record, or was written to within
a time that is given; and while there is such a run, so is what was the latest when it began, and every
photo file. A run that has left nothing yet cannot be seen: take turns with ``flock`` (docs/operations.md).
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Final, Literal, NamedTuple

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle.multipart_uploads import Upload, unfinished_uploads
from fb_marketplace.lifecycle.references import (
    RELEASES,
    active_runs,
    referenced_files,
    referenced_versions,
    releases_by_version,
)
from fb_marketplace.storage import table_versions
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.lake_layout import (
    LAYERS,
    VERSION,
    LakeFile,
    Versioned,
    files_below,
    probes,
    table_of,
    versioned,
)
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.release.manifest import manifest_path
from fb_marketplace_serving.release.photo_store import FOLDER
from fb_marketplace_serving.storage.lake import Lake

WEEK: Final = timedelta(days=7)
DAY: Final = timedelta(days=1)

JOURNAL: Final = "pruning.json"
"""Versions whose records go first; a prune that was killed is taken up by what stands here."""

RUNS, WORK = "runs", "work"

Kind = Literal["release", "run", "tag", "table", "version", "photos", "work", "leftover", "upload"]
"""In the order of removal: what points goes before what it points to."""


@dataclass(frozen=True, slots=True)
class PruneItem:
    """One thing that can go.

    Attributes:
        kind: what it is.
        name: its path from the lake's root, or how people call it.
        bytes: what it takes.
        why: nobody needs it.
        paths: its files, from the lake's root.
        unneeded: of a table, what of it.
        upload: what was never ended.
    """

    kind: Kind
    name: str
    bytes: int
    why: str
    paths: tuple[str, ...] = ()
    unneeded: table_versions.UnreferencedVersions | None = None
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What can go of a lake, in the order of removal.

    Attributes:
        lake: its URL.
        items: what can go.
        in_force: the release in force when this was planned.
        versions: whose records go, or went.
        runs: whose records stay, newest first.
        releases: that stay, newest first.
        going_on: versions that a run may be writing now.
    """

    lake: str
    items: tuple[PruneItem, ...]
    in_force: str | None
    versions: tuple[str, ...]
    runs: tuple[str, ...]
    releases: tuple[str, ...]
    going_on: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What all of it takes."""
        return sum(item.bytes for item in self.items)


class _Retained(NamedTuple):
    versions: Collection[str]
    paths: Collection[str]
    releases: Sequence[str]


class _LakeSnapshot(NamedTuple):
    """A lake as it lies there."""

    url: str
    files: Mapping[str, LakeFile]
    tables: Mapping[str, Mapping[str, LakeFile]]
    tags: Mapping[str, table_versions.TableTags]
    records: Sequence[RunRecord]
    removed_before: frozenset[str]


def plan_pruning(
    lake: str, keep: int, unrecorded_for: timedelta = WEEK, *, alone: bool = False
) -> PrunePlan:
    """Find what can go of a lake; nothing is removed.

    Args:
        lake: its root, a folder or a URL.
        keep: how many of the newest runs, and of the newest releases, stay.
        unrecorded_for: how long what no record tells of is left alone since it was last written.
        alone: keep of runs the newest alone, not even what a run that begins now would read of others, nor
            what looks as if a run went on: whoever asks says that none does.

    Raises:
        UserError: nothing would be kept, or the pointer to the release in force is damaged.
        ReleaseError: a release that stays cannot be read, so that nobody knows what it needs.
        OSError: the lake cannot be read.
    """
    if keep < 1:
        raise UserError(f"found --keep {keep}; expected 1 or more: the newest run and release stay")
    lake = lake.rstrip("/")
    since = datetime.now(UTC) - unrecorded_for
    found = _look_at(lake)
    recorded = {record.version for record in found.records}
    ended = recorded | found.removed_before
    going_on, writing = (
        ([], None) if alone else active_runs(found.files, found.tags.values(), ended, since)
    )
    in_force, releases = releases_by_version(lake)
    kept_releases = [name for name in releases if name in {*releases[:keep], in_force}]
    kept = _Retained(
        {found.records[0].version}
        if alone
        else referenced_versions(found.records, keep, going_on, writing),
        referenced_files(lake, kept_releases),
        kept_releases,
    )
    items = [
        *_releases_to_go(found, releases, kept),
        *_records_to_go(found, kept),
        *_tables_to_go(found, kept, going_on, since if going_on or writing else None, since),
        *_versions_to_go(found, kept, going_on),
        *([] if going_on or writing else _photos_to_go(found, kept)),
        *_work_to_go(found, kept, since),
        *_leftovers(found, since),
        *(_upload(each) for each in unfinished_uploads(lake, min(unrecorded_for, DAY))),
    ]
    return PrunePlan(
        lake,
        tuple(items),
        in_force,
        tuple(sorted(ended - set(kept.versions))),
        tuple(record.version for record in found.records if record.version in kept.versions),
        tuple(kept_releases),
        tuple(going_on),
    )


def _look_at(lake: str) -> _LakeSnapshot:
    files = files_below(lake, *LAYERS, RUNS, RELEASES, WORK) | probes(lake)
    tables: dict[str, dict[str, LakeFile]] = {}
    for path, file in files.items():
        if table := table_of(path):
            tables.setdefault(table, {})[path.removeprefix(f"{table}/")] = file
    read = {table: table_versions.read_tags(f"{lake}/{table}") for table in tables}
    tags = {table: each for table, each in read.items() if each is not None}
    records = list(RunRecords(f"{lake}/{RUNS}").newest_first())
    return _LakeSnapshot(lake, files, tables, tags, records, read_journal(lake))


def read_journal(lake: str) -> frozenset[str]:
    """Read which versions a prune that was killed had begun to remove."""
    try:
        return frozenset(json.loads(Lake(lake).read(JOURNAL))["versions"])
    except FileNotFoundError:
        return frozenset()


def _releases_to_go(
    found: _LakeSnapshot, releases: Iterable[str], kept: _Retained
) -> Iterator[PruneItem]:
    for name in releases:
        if name not in kept.releases:
            path = manifest_path(name)
            yield PruneItem(
                "release", name, found.files[path].bytes, "older than those kept", (path,)
            )


def _records_to_go(found: _LakeSnapshot, kept: _Retained) -> Iterator[PruneItem]:
    for record in found.records:
        if record.version not in kept.versions:
            path = f"{RUNS}/{record.version}.json"
            why = "no kept run reads what it made, and no run would that begins now"
            yield PruneItem("run", record.version, found.files[path].bytes, why, (path,))


def _tables_to_go(
    found: _LakeSnapshot,
    kept: _Retained,
    going_on: Collection[str],
    kept_since: datetime | None,
    unrecorded_since: datetime,
) -> Iterator[PruneItem]:
    names = {*kept.versions, *going_on}
    tags = {
        table: {tag for tag in read.versions if VERSION.fullmatch(tag) and tag not in names}
        for table, read in found.tags.items()
    }
    for table, gone in tags.items():
        for tag in sorted(gone):
            path = f"{table}/_refs/tags/{tag}.json"
            size = found.tables[table][f"_refs/tags/{tag}.json"].bytes
            yield PruneItem(
                "tag", f"{table} @ {tag}", size, "no kept run needs this version", (path,)
            )
    for table, files in found.tables.items():
        if table not in found.tags:
            continue
        kept_tags = found.tags[table].versions.keys() - tags[table]
        url = f"{found.url}/{table}"
        unneeded = table_versions.unreferenced_versions(
            url, files, kept_tags, kept_since, unrecorded_since
        )
        if unneeded:
            count = len(unneeded.versions)
            why = f"{count} versions that nobody needs" if count else "data that no version names"
            yield PruneItem("table", table, unneeded.bytes, why, unneeded=unneeded)


def _versions_to_go(
    found: _LakeSnapshot, kept: _Retained, going_on: Collection[str]
) -> Iterator[PruneItem]:
    recorded = {record.version for record in found.records} | found.removed_before
    gone: dict[Versioned, list[str]] = {}
    for path in found.files:
        at = versioned(path)
        if at and at.version not in {*kept.versions, *going_on} and path not in kept.paths:
            gone.setdefault(at, []).append(path)
    for (entry, version), paths in gone.items():
        size = sum(found.files[path].bytes for path in paths)
        ended = version in recorded
        why = "no kept run or release needs it" if ended else "its run never ended"
        yield PruneItem("version", f"{entry} @ {version}", size, why, tuple(paths))


def _photos_to_go(found: _LakeSnapshot, kept: _Retained) -> Iterator[PruneItem]:
    for path, file in found.files.items():
        if path.startswith(f"{FOLDER}/") and path.endswith(".jpegs") and path not in kept.paths:
            yield PruneItem(
                "photos", path, file.bytes, "no kept release shows these photos", (path,)
            )


def _work_to_go(found: _LakeSnapshot, kept: _Retained, since: datetime) -> Iterator[PruneItem]:
    """Name the trainings that neither wait to be gone on with nor are those of a model that is kept."""
    folders: dict[str, list[str]] = {}
    for path in found.files:
        if path.startswith(f"{WORK}/") and path.count("/") > 1:
            folders.setdefault("/".join(path.split("/")[:2]), []).append(path)
    trained = _trained(found, kept) if folders else []
    for folder, paths in folders.items():
        last = max(found.files[path].written for path in paths)
        if last >= since or _history(found, f"{folder}/history.json") in trained:
            continue
        ended = f"{folder}/history.json" in found.files
        why = "no kept run trained it" if ended else "nobody went on with this training"
        size = sum(found.files[path].bytes for path in paths)
        yield PruneItem("work", folder, size, why, tuple(paths))


def _trained(found: _LakeSnapshot, kept: _Retained) -> list[list[dict[str, float]]]:
    """Give how each training went whose model is kept: no two trainings go alike."""
    found_histories = []
    for path in found.files:
        at = versioned(path)
        if at and at.version in kept.versions and at.entry.endswith("/training_history.json"):
            stages = json.loads(_read(found, path))
            found_histories.append(
                [
                    {name: value for name, value in each.items() if name != "stage"}
                    for each in stages
                    if each["stage"] == "fine_tuning"
                ]
            )
    return found_histories


def _history(found: _LakeSnapshot, path: str) -> list[dict[str, float]] | None:
    history: list[dict[str, float]] | None = None
    if path in found.files:
        history = json.loads(_read(found, path))
    return history


def _leftovers(found: _LakeSnapshot, since: datetime) -> Iterator[PruneItem]:
    """Name the files that were being written when somebody was killed: a name of their own tells them."""
    for path, file in found.files.items():
        name = PurePosixPath(path).name
        beside = name.startswith(".") and not name.endswith((".lock", ".gitkeep"))
        if (name.endswith(".part") or beside) and file.written < since and not table_of(path):
            yield PruneItem("leftover", path, file.bytes, "its writer was killed", (path,))


def _upload(upload: Upload) -> PruneItem:
    why = f"begun {upload.begun:%Y-%m-%d %H:%M}, and never ended"
    return PruneItem("upload", upload.key, upload.bytes, why, upload=upload)


def _read(found: _LakeSnapshot, path: str) -> bytes:
    filesystem, root = open_root(found.url)
    return bytes(filesystem.cat_file(f"{root}/{path}"))
