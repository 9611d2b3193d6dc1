"""Text of a listing for the sentence encoder."""

import pandas as pd


def listing_text(products: pd.DataFrame) -> list[str]:
    """Return the title and description of each listing.

    The title comes first, because the encoder reads only the first tokens.

    Args:
        products: ``title`` and ``description``.
    """
    return [
        f"{title}. {description}".strip()
        for title, description in zip(products["title"], products["description"], strict=True)
    ]
