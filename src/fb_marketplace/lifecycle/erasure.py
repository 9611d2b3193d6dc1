"""Erasure of listings from every version, index and release of a lake, with a proof of their absence.

A full run publishes a new release without the listings. All older runs and releases are removed, since
their indexes and models were built with them. A rollback is then impossible. The raw bucket belongs to its
owner and is not changed: the receipt counts the listings' data there, and every later cleaning rejects it.
"""

import json
import re
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
from fb_marketplace.schemas.ids import normalize_id
from fb_marketplace.storage import table_versions
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace.storage.lake_layout import LAYERS, TABLE, list_files, parent_table
from fb_marketplace.storage.photo_source import PhotoSource, photo_ids
from fb_marketplace.storage.run_records import RunRecord, RunRecords
from fb_marketplace_serving.feedback.events import Kind
from fb_marketplace_serving.release.pointer import read_pointer
from fb_marketplace_serving.storage import erasure_list
from fb_marketplace_serving.storage.erasure_list import FILE, ErasureList, read_erasure_list
from fb_marketplace_serving.storage.lake import Lake

RECEIPTS: Final = "receipts"

MAX_NAMES: Final = 5
"""Maximum number of ids in an error."""

_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

FULL_RUN_OUTPUTS: Final = ("source_manifest", "vision_model", "image_index", "ranker", "release")
"""A run that wrote or skipped all these outputs read the bucket and computed everything from it."""


class BucketResidue(NamedTuple):
    """Data of listings that is still in the bucket. This project does not remove it.

    Attributes:
        rows: rows in the table of listings.
        image_rows: rows in the table of images.
        photos: files.
        feedback: lines in the logs of searches and clicks.
    """

    rows: int
    image_rows: int
    photos: int
    feedback: int


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """Listings to erase, and their locations.

    Attributes:
        fingerprints: values that identify them, and the listings of an unfinished erasure of any of them.
        hits: their locations in the lake.
        previous_hits: their locations at the start of an erasure that has not completed.
    """

    fingerprints: ListingFingerprints
    hits: tuple[ScanHit, ...]
    previous_hits: tuple[ScanHit, ...] = ()


def find_listings(lake: Lake, product_ids: Iterable[str]) -> ErasurePlan:
    """Find the locations of listings in a lake, without changing it.

    Raises:
        UserError: the lake lacks a listing and has never erased it, or the lake has an older layout.
        OSError: the lake cannot be read.
    """
    RunRecords(lake).check_layout()
    requested = frozenset(product_ids)
    journal = erasure_journal.read(lake, requested)
    fingerprints = fingerprints_of(lake, requested, journal.fingerprints)
    scan = scan_lake(lake, fingerprints)
    listed = read_erasure_list(lake)
    unknown = sorted(
        product_id
        for product_id in requested - scan.product_ids
        if not listed.has_product(product_id)
    )
    if unknown:
        more = f" and {len(unknown) - MAX_NAMES:,} more" if len(unknown) > MAX_NAMES else ""
        raise UserError(
            f"{lake.url} has no listing {', '.join(unknown[:MAX_NAMES])}{more}. Pass ids of listings, as "
            "`fb-serve explain` prints them. Nothing was changed."
        )
    return ErasurePlan(fingerprints, scan.hits, journal.hits)


def erase(
    lake: Lake, plan: ErasurePlan, run: Callable[[], Any], residue: BucketResidue
) -> dict[str, Any]:
    """Erase listings from a lake, and prove that nothing of them remains.

    After a kill or an error, call it again: it resumes.

    Args:
        lake: the lake. No other run may be active: its outputs would be removed.
        plan: the listings and their locations.
        run: runs all pipelines from cleaning to the release.
        residue: data of the listings in the bucket.

    Returns:
        The receipt, which is also written to ``receipts/``.

    Raises:
        UserError: the new release was rejected, or something of a listing remains.
        OSError: the lake cannot be read or written.
    """
    fingerprints = plan.fingerprints
    listed = erasure_list.add_to_erasure_list(
        lake, fingerprints.product_ids, fingerprints.image_ids
    )
    plan = replace(plan, previous_hits=tuple(sorted({*plan.hits, *plan.previous_hits})))
    # The fingerprints are lost with the files: after a kill, the proof still needs them.
    journal = erasure_journal.ErasureJournal(fingerprints, plan.previous_hits)
    erasure_journal.write(lake, listed, journal)
    started = datetime.now(UTC)
    newest = _newest_run(lake)
    if newest is None or not _is_complete_without(lake, newest, plan.hits):
        _run_all(lake, run)
        newest = _newest_run(lake)
    if newest is None or read_pointer(lake).version != newest.version:
        raise UserError(
            f"The new release was not published, so {lake.url} still has the listings. They are on the "
            "erasure list and will be excluded from future runs. Check why the run ended, then rerun "
            "`forget`."
        )
    is_retrained = _is_retrained(lake, newest.version)
    removed = _remove_older(lake)
    remaining = scan_lake(lake, fingerprints).hits
    if remaining:
        raise UserError(
            f"{len(remaining)} locations still have data of the listings, first {remaining[0].path}. Rerun "
            "`forget` when no other run is active."
        )
    receipt = _receipt(listed, plan, newest, residue, removed, started) | {
        "models": {
            "network": "retrained without it" if is_retrained else "unchanged: same training",
            "all_others": "retrained without it",
        },
        "scanned": _scanned(lake, fingerprints),
    }
    path = f"{RECEIPTS}/{started:%Y-%m-%dT%H.%M.%S.%f}Z.json"
    lake.create(path, json.dumps(receipt, indent=1).encode())
    erasure_journal.remove(lake, fingerprints.product_ids)
    return receipt


def count_in_bucket(
    raw_products: pd.DataFrame,
    raw_images: pd.DataFrame,
    raw_image_files: PhotoSource,
    raw_feedback: FeedbackSource,
    parameters: CleaningParameters,
    fingerprints: ListingFingerprints,
) -> tuple[BucketResidue, ListingFingerprints]:
    """Count the data of listings in the bucket.

    Returns:
        The counts, and the fingerprints with the ids of photos that are only in the bucket.
    """
    product_ids = fingerprints.product_ids
    products, images = parameters.products.columns, parameters.images.columns
    rows = raw_images[_ids(raw_images[images["product_id"]]).isin(product_ids)]
    image_ids = fingerprints.image_ids | set(_ids(rows[images["image_id"]]))
    quoted_ids = {
        json.dumps(product_id, ensure_ascii=is_ascii).encode()
        for product_id in product_ids
        for is_ascii in (True, False)
    }
    counts = BucketResidue(
        int(_ids(raw_products[products["product_id"]]).isin(product_ids).sum()),
        len(rows),
        sum(not image_ids.isdisjoint(photo_ids(file.key)) for file in raw_image_files.files()),
        sum(
            not quoted_ids.isdisjoint(_QUOTED.findall(line))
            for kind in KINDS
            for line in raw_feedback.lines(kind)
        ),
    )
    return counts, replace(fingerprints, image_ids=frozenset(image_ids))


def _ids(column: pd.Series) -> pd.Series:
    """Return ids as cleaning reads them."""
    return column.map(lambda value: normalize_id(str(value)))


def read_receipts(lake: Lake, product_ids: Iterable[str]) -> list[str]:
    """Return the paths of the receipts of erased listings, newest first.

    Returns:
        The paths; empty if the erasure of any of the listings has not completed.
    """
    listed, product_ids = read_erasure_list(lake), frozenset(product_ids)
    missing = {listed.digest(product_id) for product_id in product_ids}
    paths: list[str] = []
    if not erasure_journal.read(lake, product_ids).fingerprints.product_ids:
        for name in sorted(lake.sizes(RECEIPTS), reverse=True):
            receipt = json.loads(lake.read(f"{RECEIPTS}/{name}"))
            # Version 0.2 wrote a receipt for each listing.
            digests = set(receipt.get("products") or [receipt["product"]])
            if missing & digests:
                paths.append(f"{RECEIPTS}/{name}")
                missing -= digests
    return [] if missing else paths


def hits_by_location(hits: Iterable[ScanHit]) -> list[str]:
    """Format the locations of listings, one line for each entry, table and folder."""
    lines: dict[str, set[str]] = {}
    for hit in hits:
        path = PurePosixPath(hit.path)
        if hit.version or hit.path.endswith(TABLE):
            location, name = hit.path, hit.version or "its files"
        elif path.parts[0] in LAYERS and len(path.parts) > 3:
            location, name = "/".join(path.parts[:-2]), path.parts[-2]
        else:
            location, name = f"{path.parent}", path.stem
        lines.setdefault(location, set()).add(name)
    return [f"{location}: {', '.join(sorted(names))}" for location, names in sorted(lines.items())]


def _newest_run(lake: Lake) -> RunRecord | None:
    return next(RunRecords(lake).newest_first(), None)


def _run_all(lake: Lake, run: Callable[[], Any]) -> None:
    try:
        run()
    except UserError as error:
        raise UserError(
            f"Nothing was erased: {error}. Release {read_pointer(lake).version} is still current and "
            "still has the listings. Fix the error, then rerun `forget`; add --skip-comparison to skip "
            "the comparison with the current release."
        ) from error


def _is_complete_without(lake: Lake, newest: RunRecord, hits: Iterable[ScanHit]) -> bool:
    """Check whether the newest run computed and published everything, without the listings.

    A model that it kept although its data had changed may have been trained on them.
    """
    is_complete = (
        set(FULL_RUN_OUTPUTS) <= newest.outputs.keys() | newest.skipped.keys()
        and not newest.retained
        and read_pointer(lake).version == newest.version
    )
    return is_complete and not any(newest.version in hit.path + hit.version for hit in hits)


def _remove_older(lake: Lake) -> list[retention.PruneItem]:
    """Remove all runs and releases except the newest, and compact deleted rows away."""
    now = timedelta(0)
    plan = retention.plan_pruning(lake, 1, now, assume_no_active_run=True)
    prune.prune(plan)
    for table in {table for path in list_files(lake, *LAYERS) if (table := parent_table(path))}:
        table_versions.compact(lake.name(table))
    prune.prune(retention.plan_pruning(lake, 1, now, assume_no_active_run=True))
    return list(plan.items)


def _is_retrained(lake: Lake, version: str) -> bool:
    """Check whether a run trained the network: each training has a unique history."""
    histories = {
        path: lake.read(path)
        for path in list_files(lake, "08_reporting")
        if "/training_history.json/" in path
    }
    others = {history for path, history in histories.items() if version not in path}
    return not others & {history for path, history in histories.items() if version in path}


def _receipt(
    listed: ErasureList,
    plan: ErasurePlan,
    newest: RunRecord,
    residue: BucketResidue,
    removed: Iterable[retention.PruneItem],
    started: datetime,
) -> dict[str, Any]:
    names: dict[str, list[str]] = {}
    for item in removed:
        names.setdefault(item.kind, []).append(item.name)
    return {
        "products": sorted(map(listed.digest, plan.fingerprints.product_ids)),
        "digest": f"sha256 of the salt in {FILE}, a slash and the id",
        "started": started.isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "photos": len(plan.fingerprints.image_ids),
        "locations": hits_by_location(plan.previous_hits),
        "removed": {"releases": names.get("release", []), "runs": names.get("run", [])},
        "current_release": newest.version,
        "remaining_hits": 0,
        "in_bucket": residue._asdict(),
        "bucket_note": "its owner has to remove this data; cleaning rejects it, reason `erased`",
    }


def _scanned(lake: Lake, fingerprints: ListingFingerprints) -> dict[str, Any]:
    files = list_files(lake, *SCANNED_FOLDERS)
    return {
        "files": len(files),
        "bytes": sum(file.bytes for file in files.values()),
        "for": {
            "ids": len(fingerprints.product_ids) + len(fingerprints.image_ids),
            # The other titles are one word, not unique, or unknown.
            "titles": len(fingerprints.titles),
            "digests_of_photos": len(fingerprints.digests),
            "photos": len(fingerprints.photos),
        },
    }
