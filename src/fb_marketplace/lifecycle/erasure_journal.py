"""Journals of erasures in progress: the fingerprints of the listings, in ``forgetting/`` of the lake.

The titles and photos are known only from files that the erasure deletes. The journal keeps them until the
listings' absence is proved. Without it, an interrupted erasure would look complete. The journal is removed
after the receipt is written. Its file name is the digest of the listings' ids.
"""

from typing import Final, NamedTuple

from pydantic import TypeAdapter

from fb_marketplace.lifecycle.erasure_scan import ListingFingerprints, ScanHit
from fb_marketplace_serving.storage.erasure_list import ErasureList
from fb_marketplace_serving.storage.lake import Lake

FOLDER: Final = "forgetting"
"""Excluded from the scan, since the journals contain the fingerprints."""


class ErasureJournal(NamedTuple):
    """An erasure in progress.

    Attributes:
        fingerprints: fingerprints of the listings; of none if no erasure is in progress.
        hits: locations of the listings when the erasure started.
    """

    fingerprints: ListingFingerprints = ListingFingerprints(frozenset())
    hits: tuple[ScanHit, ...] = ()


_JSON: Final = TypeAdapter(ErasureJournal)


def read(lake: Lake, product_ids: frozenset[str]) -> ErasureJournal:
    """Read the journals of the unfinished erasures of any of these listings, as one.

    Raises:
        OSError: the lake cannot be read.
    """
    result = ErasureJournal()
    for journal in _read_all(lake).values():
        if journal.fingerprints.product_ids & product_ids:
            hits = tuple(sorted({*result.hits, *journal.hits}))
            result = ErasureJournal(result.fingerprints | journal.fingerprints, hits)
    return result


def write(lake: Lake, erasure_list: ErasureList, journal: ErasureJournal) -> None:
    """Write a journal, before anything of the listings is removed.

    Raises:
        OSError: the lake cannot be written.
    """
    name = erasure_list.digest("\n".join(sorted(journal.fingerprints.product_ids)))
    lake.replace(f"{FOLDER}/{name}.json", _JSON.dump_json(journal, indent=1))


def remove(lake: Lake, product_ids: frozenset[str]) -> None:
    """Remove the journals of erased listings.

    Raises:
        OSError: the lake cannot be written.
    """
    for path, journal in _read_all(lake).items():
        if journal.fingerprints.product_ids <= product_ids:
            lake.remove(path)


def _read_all(lake: Lake) -> dict[str, ErasureJournal]:
    names = sorted(name for name in lake.sizes(FOLDER) if name.endswith(".json"))
    paths = [f"{FOLDER}/{name}" for name in names]
    return {path: _JSON.validate_json(lake.read(path)) for path in paths}
