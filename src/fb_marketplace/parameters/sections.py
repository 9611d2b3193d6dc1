"""Renamed top-level sections of the parameter files."""

from collections.abc import Mapping
from typing import Any, Final

from fb_marketplace.errors import UserError

RENAMED_SECTIONS: Final = {
    "places": "gazetteer",
    "price_notes": "pricing",
    "ranking_measures": "ranking_evaluation",
    "sentences": "text_encoder",
    "word_index": "bm25",
}


def check_sections(parameters: Mapping[str, Any]) -> None:
    """Check for old section names. Kedro would ignore such a section and use the default values.

    Raises:
        UserError: one or more sections have old names; the message gives the new ones.
    """
    old = sorted(RENAMED_SECTIONS.keys() & parameters.keys())
    if old:
        renames = ", ".join(f"`{name}` is now `{RENAMED_SECTIONS[name]}`" for name in old)
        raise UserError(f"parameters: {renames}. Rename it in your parameter files and `--params`.")
