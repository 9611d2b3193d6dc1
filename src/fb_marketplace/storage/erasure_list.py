"""Listings that are to be forgotten: ``forgotten.json`` in the lake, which cleaning turns away by.

It holds no ids but salted digests of them, so that who reads it learns of nobody; what the ledger of
quarantine says of them is such a digest too, and nothing else.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fb_marketplace.schemas.reasons import Reason
from fb_marketplace_serving.storage.lake import Lake

FILE: Final = "forgotten.json"

DETAIL: Final = "its removal was asked for"

_SHOWN: Final = 32


@dataclass(frozen=True, slots=True)
class ErasureList:
    """Who is to be forgotten.

    Attributes:
        salt: that digests are of, before the id.
        products: digests of the ids of listings.
        images: digests of the ids of their photos.
    """

    salt: str = ""
    products: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()

    def has_product(self, product_id: str) -> bool:
        """Tell whether a listing is to be forgotten."""
        return bool(self.products) and self.digest(product_id) in self.products

    def has_image(self, image_id: str) -> bool:
        """Tell whether a photo is known to be of such a listing."""
        return bool(self.images) and self.digest(image_id) in self.images

    def masked(self, name: str) -> str:
        """Give what stands in the place of an id: the same for the same id, and nothing to learn from."""
        return f"{Reason.ERASED}-{self.digest(name)[:_SHOWN]}"

    def digest(self, name: str) -> str:
        """Give the digest of an id, in hex."""
        return hashlib.sha256(f"{self.salt}/{name}".encode()).hexdigest()


EMPTY_ERASURE_LIST: Final = ErasureList()


def is_masked(name: str) -> bool:
    """Tell whether this stands in the place of an id."""
    return name.startswith(f"{Reason.ERASED}-")


def read_erasure_list(url: str) -> ErasureList:
    """Read a file of who is to be forgotten; nobody, where there is no file.

    Raises:
        OSError: the store does not say.
    """
    folder, _, name = url.rpartition("/")
    try:
        told = json.loads(Lake(folder).read(name))
    except FileNotFoundError:
        return EMPTY_ERASURE_LIST
    return ErasureList(told["salt"], frozenset(told["products"]), frozenset(told["images"]))


def add_to_erasure_list(lake: str, product_id: str, image_ids: Iterable[str]) -> ErasureList:
    """Enter a listing and its photos; gives all that are to be forgotten from now on.

    Raises:
        ConcurrentWriteError: somebody else entered one at the same moment; nothing was entered.
        OSError: the lake cannot be written.
    """
    store = Lake(lake)
    try:
        _, tag = store.read_tagged(FILE)
    except FileNotFoundError:
        tag = None
    before = read_erasure_list(f"{lake}/{FILE}")
    salted = ErasureList(before.salt or secrets.token_hex(16), before.products, before.images)
    now = ErasureList(
        salted.salt,
        salted.products | {salted.digest(product_id)},
        salted.images | {salted.digest(image_id) for image_id in image_ids},
    )
    told = {"salt": now.salt, "products": sorted(now.products), "images": sorted(now.images)}
    store.replace_if(FILE, json.dumps(told, indent=1).encode(), tag)
    return now
