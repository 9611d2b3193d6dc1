"""Raw tables as a bucket holds them, a row at a time."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from fb_marketplace.parameters.cleaning import CleaningParameters

RawProducts = Callable[..., pd.DataFrame]
Changed = Callable[..., CleaningParameters]


@pytest.fixture(scope="session")
def raw_products() -> RawProducts:
    """Build a raw table of valid listings with the given changes."""

    def make(*rows: dict[str, Any]) -> pd.DataFrame:
        good = {
            "product_name": "Oak table | in Leeds, West Yorkshire | Gumtree",
            "category": "Home & Garden / Dining / Tables",
            "product_description": "A table.",
            "price": "£45.00",
            "location": "Leeds, West Yorkshire",
        }
        return pd.DataFrame(
            [{"id": f"p{number}"} | good | row for number, row in enumerate(rows)], dtype="str"
        )

    return make


@pytest.fixture(scope="session")
def changed(cleaning: CleaningParameters) -> Changed:
    """Gives the base parameters with some of one section's values changed."""

    def change(section: str, **values: Any) -> CleaningParameters:
        settings_given = cleaning.model_dump()
        settings_given[section] |= values
        return CleaningParameters.model_validate(settings_given)

    return change
