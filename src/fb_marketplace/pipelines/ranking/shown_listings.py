"""What the server shows of each listing."""

import io

import pandas as pd

from fb_marketplace_serving.listings import Listing


def make_listings(products: pd.DataFrame) -> bytes:
    """Write what the server shows of each listing, sorted by id; gives Parquet."""
    buffer = io.BytesIO()
    shown = products[list(Listing._fields)].sort_values("product_id", ignore_index=True)
    shown.to_parquet(buffer, index=False)
    return buffer.getvalue()
