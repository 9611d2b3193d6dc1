"""Names of the splits. A separate module, so that importing a name does not import pandera."""

from typing import Final

SPLITS: Final = ("train", "validation", "test")
EVALUATION_SPLITS: Final = ("validation", "test")
"""Held-out splits: models are selected on validation and evaluated once on test."""
