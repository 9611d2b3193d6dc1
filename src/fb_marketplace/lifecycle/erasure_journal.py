"""Journal of an erasure in progress: the fingerprints of the listing, in ``forgetting/`` of the lake.

The title and photos are known only from files that the erasure deletes. The journal keeps them until the
listing's absence is proved. Without it, an interrupted erasure would look complete. The journal is removed
after the receipt is written. Its file name is the digest of the listing's id.
"""

from typing import Final, NamedTuple

from pydantic import TypeAdapter

from fb_marketplace.lifecycle.erasure_scan import ListingFingerprints, ScanHit
from fb_marketplace_serving.storage.erasure_list import ErasureList
from fb_marketplace_serving.storage.lake import Lake

FOLDER: Final = "forgetting"
"""Excluded from the scan, since the journal contains the fingerprints."""


class ErasureJournal(NamedTuple):
    """An erasure in progress.

    Attributes:
        fingerprints: fingerprints of the listing; None if no erasure is in progress.
        hits: locations of the listing when the erasure started.
    """

    fingerprints: ListingFingerprints | None = None
    hits: tuple[ScanHit, ...] = ()


_JSON: Final = TypeAdapter(ErasureJournal)


def read(lake: Lake, erasure_list: ErasureList, product_id: str) -> ErasureJournal:
    """Read the journal of a listing; empty if no erasure is in progress.

    Raises:
        OSError: the lake cannot be read.
    """
    try:
        return _JSON.validate_json(lake.read(_path(erasure_list, product_id)))
    except FileNotFoundError:
        return ErasureJournal()


def write(lake: Lake, erasure_list: ErasureList, product_id: str, journal: ErasureJournal) -> None:
    """Write the journal of a listing, before anything of it is removed.

    Raises:
        OSError: the lake cannot be written.
    """
    lake.replace(_path(erasure_list, product_id), _JSON.dump_json(journal, indent=1))


def remove(lake: Lake, erasure_list: ErasureList, product_id: str) -> None:
    """Remove the journal of a listing.

    Raises:
        OSError: the lake cannot be written.
    """
    lake.remove(_path(erasure_list, product_id))


def _path(erasure_list: ErasureList, product_id: str) -> str:
    return f"{FOLDER}/{erasure_list.digest(product_id)}.json"
