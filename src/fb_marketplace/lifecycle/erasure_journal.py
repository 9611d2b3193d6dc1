"""What a listing is known by while it is being taken out of a lake: ``forgetting/`` in the lake.

The photos and the title are known from the very files that go. So they are kept until it is proved that
nothing of them is left: else a removal that was killed could not be told from one that ended. The file goes
as the receipt is there; it is named by the digest of the listing's id.
"""

import base64
import contextlib
import json
from collections.abc import Iterable
from typing import Final, NamedTuple

from fb_marketplace.lifecycle.erasure_scan import ListingFingerprints, ScanHit
from fb_marketplace.storage.erasure_list import ErasureList
from fb_marketplace.storage.filesystem import open_root
from fb_marketplace_serving.storage.lake import Lake

FOLDER: Final = "forgetting"
"""None that is searched."""


class ErasureJournal(NamedTuple):
    """A removal that was begun and has not ended.

    Attributes:
        traces: what the listing is known by; None where none was begun.
        hits: where it was.
    """

    traces: ListingFingerprints | None = None
    hits: tuple[ScanHit, ...] = ()


def read(lake: str, told: ErasureList, product_id: str) -> ErasureJournal:
    """Read what a removal of a listing began with, if one has not ended.

    Raises:
        OSError: the store does not say.
    """
    try:
        found = json.loads(Lake(lake).read(_path(told, product_id)))
    except FileNotFoundError:
        return ErasureJournal()
    traces = ListingFingerprints(
        found["product_id"],
        frozenset(found["image_ids"]),
        found["title"],
        frozenset(found["digests"]),
        frozenset(base64.b64decode(photo) for photo in found["photos"]),
    )
    return ErasureJournal(traces, tuple(ScanHit(*hit) for hit in found["hits"]))


def write(
    lake: str, told: ErasureList, traces: ListingFingerprints, hits: Iterable[ScanHit]
) -> None:
    """Write down what a listing is known by, and where it is, before anything of it goes.

    Raises:
        OSError: the lake cannot be written.
    """
    found = {
        "product_id": traces.product_id,
        "image_ids": sorted(traces.image_ids),
        "title": traces.title,
        "digests": sorted(traces.digests),
        "photos": sorted(base64.b64encode(photo).decode() for photo in traces.photos),
        "hits": list(hits),
    }
    Lake(lake).replace(_path(told, traces.product_id), json.dumps(found, indent=1).encode())


def remove(lake: str, told: ErasureList, product_id: str) -> None:
    """Remove what tells of a listing.

    Raises:
        OSError: the lake cannot be written.
    """
    filesystem, root = open_root(lake)
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm_file(f"{root}/{_path(told, product_id)}")


def _path(told: ErasureList, product_id: str) -> str:
    return f"{FOLDER}/{told.digest(product_id)}.json"
