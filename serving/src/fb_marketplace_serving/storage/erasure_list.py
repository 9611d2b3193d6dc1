"""The erasure list of a lake: erased listings, which every later cleaning rejects.

The file has no ids, only salted digests of them. The quarantine uses the same digests for these listings.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fb_marketplace_serving.storage.lake import Lake

FILE: Final = "erasure_list.json"

ERASED: Final = "erased"
"""Prefix of pseudonyms, and the reason in the quarantine."""

DETAIL: Final = "on the erasure list"

_SHOWN_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class ErasureList:
    """Erased listings.

    Attributes:
        salt: put before an id when its digest is computed.
        products: digests of the ids of listings.
        images: digests of the ids of their photos.
    """

    salt: str = ""
    products: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()

    def has_product(self, product_id: str) -> bool:
        """Check whether a listing is on the list."""
        return bool(self.products) and self.digest(product_id) in self.products

    def has_image(self, image_id: str) -> bool:
        """Check whether a photo belongs to a listing on the list."""
        return bool(self.images) and self.digest(image_id) in self.images

    def masked(self, name: str) -> str:
        """Return a pseudonym of an id. It is deterministic, and does not reveal the id."""
        return f"{ERASED}-{self.digest(name)[:_SHOWN_DIGITS]}"

    def digest(self, name: str) -> str:
        """Return the salted digest of an id, in hex."""
        return hashlib.sha256(f"{self.salt}/{name}".encode()).hexdigest()


EMPTY_ERASURE_LIST: Final = ErasureList()


def is_masked(name: str) -> bool:
    """Check whether a name is a pseudonym of an erased id."""
    return name.startswith(f"{ERASED}-")


def read_erasure_list(lake: Lake) -> ErasureList:
    """Read the erasure list of a lake; empty if there is none.

    Raises:
        OSError: the lake cannot be read.
    """
    return _read_tagged(lake)[0]


def add_to_erasure_list(
    lake: Lake, product_ids: Iterable[str], image_ids: Iterable[str]
) -> ErasureList:
    """Add listings and their photos to the erasure list.

    Returns:
        The new list.

    Raises:
        ConcurrentWriteError: another process changed the list; nothing was added.
        OSError: the lake cannot be written.
    """
    current, tag = _read_tagged(lake)
    salted = ErasureList(current.salt or secrets.token_hex(16), current.products, current.images)
    extended = ErasureList(
        salted.salt,
        salted.products | {salted.digest(product_id) for product_id in product_ids},
        salted.images | {salted.digest(image_id) for image_id in image_ids},
    )
    content = {
        "salt": extended.salt,
        "products": sorted(extended.products),
        "images": sorted(extended.images),
    }
    lake.replace_if(FILE, json.dumps(content, indent=1).encode(), tag)
    return extended


def _read_tagged(lake: Lake) -> tuple[ErasureList, str | None]:
    try:
        data, tag = lake.read_tagged(FILE)
    except FileNotFoundError:
        return EMPTY_ERASURE_LIST, None
    content = json.loads(data)
    products, images = frozenset(content["products"]), frozenset(content["images"])
    return ErasureList(content["salt"], products, images), tag
