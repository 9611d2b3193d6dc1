"""Price flags, stages and reasons of the quarantine.

This module must not import pandera, so that listing the pipelines stays fast.
"""

from enum import StrEnum


class PriceFlag(StrEnum):
    """Flag of a price that is not a real offer."""

    MISSING = "missing"
    ZERO = "zero"
    JOKE = "joke"
    ABSURD = "absurd"


class Stage(StrEnum):
    """Source of a quarantined row or file: a raw table, or the photo folder."""

    PRODUCTS = "products"
    IMAGES = "images"
    FILES = "files"


class Reason(StrEnum):
    """Reason why a row or a file is in quarantine."""

    TORN_LINE = "torn_line"
    MISSING_FIELD = "missing_field"
    INVALID_ID = "invalid_id"
    """The id is too long, or has a control character or an empty or relative path part."""
    UNPARSABLE_PRICE = "unparsable_price"
    CONFLICTING_ROW = "conflicting_row"
    UNKNOWN_PRODUCT = "unknown_product"
    QUARANTINED_PRODUCT = "quarantined_product"
    MISSING_FILE = "missing_file"
    UNUSABLE_FILE = "unusable_file"
    NO_ROW = "no_row"
    ROW_QUARANTINED = "row_quarantined"
    ERASED = "erased"
    """The listing is on the erasure list."""
    NOT_AS_LISTED = "not_as_listed"
    """The file was replaced or removed after it was listed."""
    CRASHED = "crashed"
    """The process that reads the file crashes."""

    # Reasons of fb_marketplace_serving.imaging.canonical.PhotoError.
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    OVERSIZED = "oversized"
    UNDECODABLE = "undecodable"
