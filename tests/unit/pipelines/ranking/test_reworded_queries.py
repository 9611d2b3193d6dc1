from collections import Counter

import pandas as pd
import pytest

from fb_marketplace.pipelines.ranking.reworded_queries import respace, reworded_queries


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red armchair", "red arm chair"),
        ("oak book case", "oak bookcase"),
        ("oak table", None),
    ],
)
def test_words_are_split_or_joined_to_known_ones(text, expected):
    counts = Counter({"arm": 2, "chair": 5, "armchair": 1, "bookcase": 1, "oak": 3, "table": 3})

    assert respace(text.split(), counts) == expected


def test_description_query_has_rare_words_that_the_title_lacks():
    products = pd.DataFrame(
        {
            "product_id": ["a", "b", "c"],
            "title": ["Oak tables", "Lamp", "Bed"],
            "description": [
                "table walnut velvet brass scratch unique",
                "walnut velvet brass scratch",
                "scratch",
            ],
        }
    )

    (only,) = reworded_queries(products, [("a", "g"), ("c", "h")])

    assert (only.kind, only.words) == ("description", "brass velvet walnut")
