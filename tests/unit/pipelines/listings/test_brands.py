import pandas as pd
import pytest

from fb_marketplace.pipelines.listings.brands import MIN_GROUPS, learn_brands

TEXTS = [
    ("Acmo drill", "I bought this Acmo drill in Leeds on a Monday.", "Tools"),
    ("Chair", "A nice chair that Nobody wants. It has a Pretty cover.", "Home"),
    ("pretty lamp", "A pretty lamp with a Bulb and a nice bulb.", "Home"),
    ("Nobody at home", "this Nobody chair", "Home"),
]


def market(texts, groups=MIN_GROUPS):
    """Listings with the texts, in several groups each."""
    rows = [(*text, group) for group in range(groups) for text in texts]
    products = pd.DataFrame(rows, columns=["title", "description", "category_path", "group"])
    products["product_id"] = [f"p{number}" for number in range(len(products))]
    products["town"], products["county"] = "Leeds", "Yorkshire"
    splits = products[["product_id", "group"]].assign(split="train")
    return products.drop(columns="group"), splits


def test_word_capitalized_in_one_category_is_a_brand():
    assert learn_brands(*market(TEXTS)) == {"acmo"}


@pytest.mark.parametrize(
    ("spelling", "brand"), [("Nestlé", "nestle"), ("Škoda", "skoda"), ("iDrill", "idrill")]
)
def test_accents_and_inner_capitals_are_read(spelling, brand):
    texts = [tuple(text.replace("Acmo", spelling) for text in texts) for texts in TEXTS]

    assert learn_brands(*market(texts)) == {brand}


def test_brand_needs_several_groups():
    assert learn_brands(*market(TEXTS, MIN_GROUPS - 1)) == set()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_brands_are_of_training_split(split):
    products, splits = market(TEXTS)

    assert learn_brands(products, splits.assign(split=split)) == set()


def test_brand_needs_a_title():
    products, splits = market(TEXTS)
    products["title"] = products["title"].str.replace("Acmo ", "")

    assert learn_brands(products, splits) == set()
