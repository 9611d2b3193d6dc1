"""Names of the splits. A module of its own, so that a name can be imported without pandera."""

from typing import Final

SPLITS: Final = ("train", "validation", "test")
EVALUATION_SPLITS: Final = ("validation", "test")
"""Held-out splits: models are selected on validation and evaluated once on test."""
