"""Stages and reasons of the quarantine; without heavy imports."""

from typing import Final

from fb_marketplace_serving.imaging.canonical import REASONS as PHOTO_REASONS

ERASED: Final = "forgotten"
"""Why quarantine has them."""

NOT_AS_LISTED: Final = "not_as_listed"
"""Why a file is turned away that was replaced, or went, after it was listed."""

STAGES: Final = ("products", "images", "files")
REASONS: Final = (
    "torn_line",
    "missing_field",
    "unparsable_price",
    "conflicting_row",
    "unknown_product",
    "quarantined_product",
    "missing_file",
    "unusable_file",
    "no_row",
    "row_quarantined",
    ERASED,
    *PHOTO_REASONS,
    NOT_AS_LISTED,
)
