"""Takes away what a plan says can go, so that a reader, or a kill at any moment, meets only whole things.

What points goes first, then what it points to: manifests and records, then tags, then versions and files.
Which records went is written down before any does; so whoever comes after a kill can tell what such a run
left from what a run is writing now.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle.multipart_uploads import abort
from fb_marketplace.lifecycle.retention import JOURNAL, WORK, PruneItem, PrunePlan, read_journal
from fb_marketplace.storage import table_versions
from fb_marketplace.storage.filesystem import is_local, open_root
from fb_marketplace.storage.lake_layout import VERSION, files_below
from fb_marketplace_serving.release.pointer import CURRENT, read_pointer
from fb_marketplace_serving.storage.lake import Lake

DELETE_BATCH_SIZE: Final = 500


def prune(plan: PrunePlan) -> None:
    """Remove what a plan names. To be run again after a kill, with a new plan.

    Raises:
        UserError: another release was put in force since it was planned; nothing was removed. Or a store
            did not delete a table's files.
        OSError: the lake cannot be written.
    """
    in_force = read_pointer(plan.lake).version
    if in_force != plan.in_force:
        raise UserError(
            f"{plan.lake}/{CURRENT}: found {in_force}; expected {plan.in_force}, as when this was "
            "planned; nothing was removed: run prune again"
        )
    if not plan.items:
        return
    journal = sorted({*plan.versions, *read_journal(plan.lake)})
    Lake(plan.lake).replace(JOURNAL, json.dumps({"versions": journal}).encode())
    for item in plan.items:
        _remove(plan.lake, item)
    _remove_files(plan.lake, [JOURNAL])


def format_plan(plan: PrunePlan, applied: bool) -> Iterator[str]:
    """Say what would go, or went, in lines: kind, bytes, name and why, and all together."""
    for item in plan.items:
        yield f"{item.kind:<9} {item.bytes:>15,}  {item.name}: {item.why}"
    if plan.going_on:
        yield f"left alone, as a run may be writing it: {', '.join(plan.going_on)}"
    yield f"kept: runs {', '.join(plan.runs) or 'none'}; releases {', '.join(plan.releases) or 'none'}"
    what = f"{len(plan.items):,} things, {plan.bytes:,} bytes"
    yield f"{what} removed" if applied else f"{what} would be removed; --apply removes them"


def _remove(lake: str, item: PruneItem) -> None:
    if item.kind == "tag":
        table, _, tag = item.name.partition(" @ ")
        table_versions.remove_tags(f"{lake}/{table}", [tag])
    elif item.unneeded is not None:
        table_versions.remove(f"{lake}/{item.name}", item.unneeded)
        # Lance looks only among files that are older than the versions that stay; of a table that was
        # copied, such as from a backup, none is.
        wanted = {f"{item.name}/{file}" for file in item.unneeded.files}
        _remove_files(lake, sorted(wanted & files_below(lake, item.name).keys()))
    elif item.upload is not None:
        abort(lake, [item.upload])
    else:
        _remove_files(lake, item.paths)


def _remove_files(lake: str, paths: Iterable[str]) -> None:
    """Remove files, those that are gone already included, and the folders that this leaves empty."""
    filesystem, root = open_root(lake)
    found = [f"{root}/{path}" for path in paths]
    for start in range(0, len(found), DELETE_BATCH_SIZE):
        part = found[start : start + DELETE_BATCH_SIZE]
        try:
            filesystem.rm(part)
        except FileNotFoundError:
            for path in part:
                with contextlib.suppress(FileNotFoundError):
                    filesystem.rm_file(path)
    if is_local(lake):
        for folder in {Path(path).parent for path in found}:
            _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder of a version or of a training, and what was made for it alone, once it is empty."""
    for each in (folder, folder.parent):
        of_a_version = VERSION.fullmatch(each.name) or VERSION.fullmatch(each.parent.name)
        if of_a_version or each.parent.name == WORK:
            with contextlib.suppress(OSError):
                each.rmdir()
