"""The splits by name; apart from the schemas, so that who needs a name need not import Pandera."""

from typing import Final

SPLITS: Final = ("train", "validation", "test")
EVALUATION_SPLITS: Final = ("validation", "test")
"""The splits that are measured on: choices are made on the first, the second is asked once."""
