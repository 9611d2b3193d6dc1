"""Takes a listing out of a lake: out of every version, index and release, and proves that it is gone.

What holds it is made and published anew without it; what is older goes, whole: an older index or model was
made with it. So one run and one release are left, and there is none to roll back to. The bucket is its
owner's, and is not written: what is still there is said, and turned away by every later cleaning.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, get_args

import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.lifecycle import erasure_journal, prune, retention
from fb_marketplace.lifecycle.erasure_scan import (
    SCANNED_FOLDERS,
    ListingFingerprints,
    ScanHit,
    fingerprints_of,
    scan_lake,
)
from fb_marketplace.parameters.cleaning import CleaningParameters
from fb_marketplace.storage import erasure_list, table_versions
from fb_marketplace.storage.erasure_list import FILE, ErasureList, read_erasure_list
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace.storage.lake_layout import LAYERS, TABLE, files_below, table_of
from fb_marketplace.storage.photo_source import PhotoSource
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.feedback.events import Kind
from fb_marketplace_serving.release.pointer import read_pointer
from fb_marketplace_serving.storage.lake import Lake

RECEIPTS: Final = "receipts"

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

FULL_RUN_OUTPUTS: Final = ("source_manifest", "vision_model", "image_index", "ranker", "release")
"""A run that made all of these took the bucket and made everything of it."""


class BucketResidue(NamedTuple):
    """What the bucket still has of a listing; nothing of this project takes it from there.

    Attributes:
        rows: of the table of listings.
        image_rows: of the table of images.
        photos: files.
        feedback: lines of what people searched for and clicked.
    """

    rows: int
    image_rows: int
    photos: int
    feedback: int


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """Where a listing is.

    Attributes:
        traces: what it is known by.
        hits: where in the lake any of that is.
        remembered: whether it was forgotten before.
        hits_before: where it was when a removal was begun that has not ended.
    """

    traces: ListingFingerprints
    hits: tuple[ScanHit, ...]
    remembered: bool
    hits_before: tuple[ScanHit, ...] = ()


def find_listing(lake: str, product_id: str) -> ErasurePlan:
    """Find where a listing is in a lake; nothing is changed.

    Raises:
        UserError: there is no such listing, and there was none that was forgotten.
        OSError: the lake cannot be read.
    """
    told = read_erasure_list(f"{lake}/{FILE}")
    remembered = told.has_product(product_id)
    begun = erasure_journal.read(lake, told, product_id)
    traces = fingerprints_of(lake, product_id, begun.traces)
    hits = tuple(scan_lake(lake, traces))
    if not hits and not remembered:
        raise UserError(
            f"found no listing {product_id} anywhere in {lake}; expected its id, as in "
            "`fb-serve explain`; nothing was changed"
        )
    return ErasurePlan(traces, hits, remembered, begun.hits)


def erase(
    lake: str, found: ErasurePlan, run: Callable[[], Any], in_bucket: BucketResidue
) -> dict[str, Any]:
    """Take a listing out of a lake, and say where it was and that it is gone.

    To be run again where it was killed or refused: it goes on where it was.

    Args:
        lake: its root. No other run may go on: what it has written would go.
        found: where the listing is.
        run: runs everything from cleaning to the release.
        in_bucket: what the bucket has of it.

    Returns:
        The receipt, as it stands in ``receipts/``.

    Raises:
        UserError: the new release was refused, or something of the listing is still there.
        OSError: the lake cannot be read or written.
    """
    traces = found.traces
    told = erasure_list.add_to_erasure_list(lake, traces.product_id, traces.image_ids)
    found = replace(found, hits_before=tuple(sorted({*found.hits, *found.hits_before})))
    # What tells of it goes with what holds it; whoever goes on after a kill has to prove no less.
    erasure_journal.write(lake, told, traces, found.hits_before)
    begun = datetime.now(UTC)
    newest = next(RunRecords(f"{lake}/runs").newest_first(), None)
    if newest is None or not _is_without(lake, newest, found.hits):
        _run_anew(lake, run)
        newest = next(RunRecords(f"{lake}/runs").newest_first(), None)
    if newest is None or read_pointer(lake).version != newest.version:
        raise UserError(
            f"no release without the listing was put in force; {lake} still holds it, and it stands in "
            f"{FILE}, so that no later run takes it up; see why the run ended, and run forget again"
        )
    anew = _trained_anew(lake, newest.version)
    gone = _clean(lake)
    left = scan_lake(lake, traces)
    if left:
        raise UserError(
            f"found something of the listing in {len(left)} places yet, the first {left[0].path}; "
            "expected none; run forget again when no other run goes on"
        )
    receipt = _receipt(told, found, newest, in_bucket, gone, begun) | {
        "models": {
            "network": "trained anew without it" if anew else "as before: its training is the same",
            "all_others": "made anew without it",
        },
        "searched": _searched(lake, traces),
    }
    name = f"{RECEIPTS}/{begun:%Y-%m-%dT%H.%M.%S.%f}Z.json"
    Lake(lake).create(name, json.dumps(receipt, indent=1).encode())
    erasure_journal.remove(lake, told, traces.product_id)
    return receipt


def _run_anew(lake: str, run: Callable[[], Any]) -> None:
    try:
        run()
    except UserError as error:
        raise UserError(
            f"Nothing was erased: {error}. Release {read_pointer(lake).version} is still current and "
            "still holds the listing. Fix the error and rerun `forget`; add --skip-comparison to skip "
            "the comparison with the current release."
        ) from error


def count_in_bucket(
    raw_products: pd.DataFrame,
    raw_images: pd.DataFrame,
    raw_image_files: PhotoSource,
    raw_feedback: FeedbackSource,
    parameters: CleaningParameters,
    traces: ListingFingerprints,
) -> tuple[BucketResidue, ListingFingerprints]:
    """Count what the bucket still has of a listing; nothing is written there.

    Gives also what it is known by with the photos that only the bucket says are of it.
    """
    products, images = parameters.products.columns, parameters.images.columns
    of_it = raw_images[raw_images[images["product_id"]] == traces.product_id]
    image_ids = traces.image_ids | set(of_it[images["image_id"]])
    names = (str(PurePosixPath(file.key).with_suffix("")) for file in raw_image_files.files())
    wanted = json.dumps(traces.product_id).encode()
    lines = (line for kind in KINDS for line in raw_feedback.lines(kind))
    counts = BucketResidue(
        int((raw_products[products["product_id"]] == traces.product_id).sum()),
        len(of_it),
        sum(name in image_ids for name in names),
        sum(wanted in line for line in lines),
    )
    return counts, replace(traces, image_ids=frozenset(image_ids))


def read_receipt(lake: str, product_id: str) -> str | None:
    """Name the receipt of a listing that was forgotten; None while its removal has not ended."""
    remembered = read_erasure_list(f"{lake}/{FILE}")
    if erasure_journal.read(lake, remembered, product_id).traces:
        return None
    told, store = remembered.digest(product_id), Lake(lake)
    for name in sorted(store.sizes(RECEIPTS), reverse=True):
        if json.loads(store.read(f"{RECEIPTS}/{name}"))["product"] == told:
            return f"{RECEIPTS}/{name}"
    return None


def hits_by_location(hits: Iterable[ScanHit]) -> list[str]:
    """Say where a listing is, a line for each entry, table and release."""
    lines: dict[str, list[str]] = {}
    for hit in hits:
        path = PurePosixPath(hit.path)
        if hit.version:
            lines.setdefault(f"{path}", []).append(hit.version)
        elif hit.path.endswith(TABLE):
            lines.setdefault(f"{path}", []).append("its files")
        elif path.parts[0] in LAYERS and len(path.parts) > 3:
            lines.setdefault("/".join(path.parts[:-2]), []).append(path.parts[-2])
        else:
            lines.setdefault(f"{path.parent}", []).append(path.stem)
    return [f"{place}: {', '.join(sorted(set(names)))}" for place, names in sorted(lines.items())]


def _is_without(lake: str, newest: RunRecord, hits: Iterable[ScanHit]) -> bool:
    """Tell whether the newest run made all of it anew, and has nothing of the listing."""
    whole = (
        set(FULL_RUN_OUTPUTS) <= newest.made.keys() and read_pointer(lake).version == newest.version
    )
    return whole and not any(newest.version in (hit.path + hit.version) for hit in hits)


def _clean(lake: str) -> list[retention.PruneItem]:
    """Remove all but the newest run and its release, and the rows that tables only marked as deleted."""
    at_once = timedelta(0)
    plan = retention.plan_pruning(lake, 1, at_once, alone=True)
    prune.prune(plan)
    for table in {table for path in files_below(lake, *LAYERS) if (table := table_of(path))}:
        table_versions.compact(f"{lake}/{table}")
    prune.prune(retention.plan_pruning(lake, 1, at_once, alone=True))
    return list(plan.items)


def _trained_anew(lake: str, version: str) -> bool:
    """Tell whether a run's network learned otherwise than those of all other runs: no two trainings do."""
    filesystem, root = open_root(lake)
    paths = [
        path for path in files_below(lake, "08_reporting") if "/training_history.json/" in path
    ]
    told = {path: bytes(filesystem.cat_file(f"{root}/{path}")) for path in paths}
    others = {history for path, history in told.items() if version not in path}
    return not others & {history for path, history in told.items() if version in path}


def _receipt(
    told: ErasureList,
    found: ErasurePlan,
    newest: RunRecord,
    in_bucket: BucketResidue,
    gone: Iterable[retention.PruneItem],
    begun: datetime,
) -> dict[str, Any]:
    kinds: dict[str, list[str]] = {}
    for item in gone:
        kinds.setdefault(item.kind, []).append(item.name)
    return {
        "product": told.digest(found.traces.product_id),
        "digest": f"sha256 of the salt in {FILE}, a slash and the id",
        "begun": begun.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "photos": len(found.traces.image_ids),
        "was_in": hits_by_location(found.hits_before),
        "removed": {"releases": kinds.get("release", []), "runs": kinds.get("run", [])},
        "release_in_force": newest.version,
        "found_now": 0,
        "still_in_the_bucket": in_bucket._asdict(),
        "what_the_bucket_has": "is its owner's to remove; cleaning turns it away, reason `forgotten`",
    }


def _searched(lake: str, traces: ListingFingerprints) -> dict[str, Any]:
    files = files_below(lake, *SCANNED_FOLDERS)
    return {
        "files": len(files),
        "bytes": sum(file.bytes for file in files.values()),
        "for": {
            "ids": 1 + len(traces.image_ids),
            "title": "yes"
            if traces.title
            else "no, it is a word, others say it, or none was known",
            "digests_of_photos": len(traces.digests),
            "photos": len(traces.photos),
        },
    }
