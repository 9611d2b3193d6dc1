"""Ids of listings and photos: their normal form, and the ids that cannot be used."""

import re
import unicodedata
from typing import Final

MAX_ID_LENGTH: Final = 200

_ENDS_OF_ID: Final = re.compile(r"^[\s\u200b-\u200f\ufeff]+|[\s\u200b-\u200f\ufeff]+$")


def normalize_id(value: str) -> str:
    """Return an id without surrounding spaces and invisible characters, in NFC (UAX #15)."""
    return unicodedata.normalize("NFC", _ENDS_OF_ID.sub("", value))


def invalid_id(value: str) -> str | None:
    """Return the reason why an id cannot be used; None if it can. Ids become parts of keys and URLs."""
    if len(value) > MAX_ID_LENGTH:
        return f"{len(value):,} characters; at most {MAX_ID_LENGTH} are accepted"
    if any(unicodedata.category(sign)[0] == "C" or sign in "\u2028\u2029" for sign in value):
        return "a control or invisible character"
    if any(part in ("", ".", "..") for part in value.split("/")):
        return "an empty or relative part between slashes"
    return None
