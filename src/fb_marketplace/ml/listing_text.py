"""What of a listing is searched as text."""

import pandas as pd


def listing_text(products: pd.DataFrame) -> list[str]:
    """Give what the sentence encoder reads of each listing: its title, then its description.

    The encoder reads the first tokens only, so that the title always counts.

    Args:
        products: ``title`` and ``description``.
    """
    return [
        f"{title}. {description}".strip()
        for title, description in zip(products["title"], products["description"], strict=True)
    ]
