"""Execution of a pruning plan. Readers see only complete releases and versions, even after a kill.

References are removed before their targets: first manifests and records, then tags, versions and files. A
journal of the removed runs is written first. After a kill it distinguishes the remains of these runs from
the outputs of an active run.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle.references import RELEASES
from fb_marketplace.lifecycle.retention import JOURNAL, WORK, PruneItem, PrunePlan, read_journal
from fb_marketplace.storage import table_versions
from fb_marketplace.storage.lake_layout import VERSION, list_files
from fb_marketplace.storage.run_records import FOLDER as RUNS
from fb_marketplace_serving.release.pointer import CURRENT, read_pointer
from fb_marketplace_serving.storage.lake import Lake
from fb_marketplace_serving.storage.urls import is_local

DELETE_BATCH_SIZE: Final = 500


def prune(plan: PrunePlan) -> None:
    """Remove the items of a plan. After a kill, plan and prune again.

    Raises:
        UserError: the current release has changed since the plan was made, and nothing was removed; or a
            store did not delete a table's files.
        OSError: the lake cannot be written.
    """
    lake = plan.lake
    current = read_pointer(lake).version
    if current != plan.current_release:
        raise UserError(
            f"{lake.name(CURRENT)}: the current release is {current}, and was {plan.current_release} when "
            "the pruning was planned. Nothing was removed. Rerun `prune`."
        )
    if not plan.items:
        return
    journal = sorted({*plan.versions, *read_journal(lake)})
    lake.replace(JOURNAL, json.dumps({"versions": journal}).encode())
    for is_reference, items in groupby(plan.items, lambda item: item.kind in ("release", "run")):
        for item in items:
            _remove(lake, item)
        if is_reference:
            lake.sync([lake.name(RELEASES), lake.name(RUNS)])
    lake.remove(JOURNAL)


def format_plan(plan: PrunePlan, applied: bool) -> Iterator[str]:
    """Yield lines that list the items, the runs and releases that stay, and the totals."""
    for item in plan.items:
        yield f"{item.kind:<9} {item.bytes:>15,}  {item.name}: {item.reason}"
    if plan.active:
        yield f"skipped, as an active run may be writing: {', '.join(plan.active)}"
    runs, releases = ", ".join(plan.runs) or "none", ", ".join(plan.releases) or "none"
    yield f"stay: runs {runs}; releases {releases}"
    total = f"{len(plan.items):,} items, {plan.bytes:,} bytes"
    yield f"{total} removed" if applied else f"{total} would be removed; --apply removes them"


def _remove(lake: Lake, item: PruneItem) -> None:
    if item.kind == "tag":
        table, _, tag = item.name.partition(" @ ")
        table_versions.remove_tags(lake.name(table), [tag])
    elif item.unreferenced is not None:
        table_versions.remove(lake.name(item.name), item.unreferenced)
        # Lance removes only files that are older than the remaining versions. In a copied table, such as a
        # restored backup, no file is older.
        files = {f"{item.name}/{file}" for file in item.unreferenced.files}
        _remove_files(lake, sorted(files & list_files(lake, item.name).keys()))
    else:
        _remove_files(lake, item.paths)


def _remove_files(lake: Lake, paths: Iterable[str]) -> None:
    """Remove the files that exist, and the version and training folders that become empty."""
    full_paths = [lake.full_path(path) for path in paths]
    for start in range(0, len(full_paths), DELETE_BATCH_SIZE):
        batch = full_paths[start : start + DELETE_BATCH_SIZE]
        try:
            lake.filesystem.rm(batch)
        except FileNotFoundError:
            for path in batch:
                with contextlib.suppress(FileNotFoundError):
                    lake.filesystem.rm_file(path)
    if is_local(lake.url):
        for folder in {Path(path).parent for path in full_paths}:
            for candidate in (folder, folder.parent):
                names = (candidate.name, candidate.parent.name)
                if any(map(VERSION.fullmatch, names)) or names[1] == WORK:
                    with contextlib.suppress(OSError):
                        candidate.rmdir()
