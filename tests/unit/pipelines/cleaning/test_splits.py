from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace.parameters.cleaning import SplitParameters
from fb_marketplace.pipelines.cleaning.splits import (
    join_groups,
    record_split_history,
    split_for_group,
    split_listings,
)
from fb_marketplace.schemas.cleaning import SplitHistory, Splits
from fb_marketplace.schemas.splits import SPLITS
from fb_marketplace_serving.storage.erasure_list import EMPTY_ERASURE_LIST, ErasureList

NONE = pd.DataFrame()
LONG = "a solid oak table with six matching chairs"


@pytest.fixture(scope="module")
def parameters(base_parameters):
    return SplitParameters.model_validate(base_parameters["splits"])


def products(*ids, **descriptions):
    return pd.DataFrame(
        {
            "row": range(len(ids)),
            "product_id": list(ids),
            "description": [descriptions.get(item, f"unlike any other {item}") for item in ids],
        }
    )


def photos(**owners):
    """Photos by the listing that each is of."""
    pairs = [(image, product) for product, images in owners.items() for image in images.split()]
    table = pd.DataFrame(pairs, columns=["image_id", "product_id"], dtype="str")
    # "new:old" is another id for the bytes of the photo "old".
    return table.assign(
        image_id=table["image_id"].str.split(":").str[0],
        sha256=table["image_id"].str.split(":").str[-1],
    )


def copies(*groups):
    pairs = [(image, group.split()[0]) for group in groups for image in group.split()]
    return pd.DataFrame(pairs, columns=["image_id", "group"], dtype="str")


def by_product(assigned, column="group"):
    return dict(zip(assigned["product_id"], assigned[column], strict=True))


def with_split(expected, parameters, prefix):
    """Finds a listing id that is hashed into a split."""
    return next(
        name
        for name in (f"{prefix}{number}" for number in range(10_000))
        if split_for_group(name, parameters) == expected
    )


def test_unrelated_listing_is_its_own_group(parameters):
    assigned = split_listings(
        products("a", "b"), photos(a="i j", b="k"), copies(), NONE, NONE, parameters
    )

    assert by_product(assigned) == {"a": "a", "b": "b"}
    assert assigned["image_id"].tolist() == ["i", "j", "k"]


def test_listings_with_shared_photo_are_one_group(parameters):
    assigned = split_listings(
        products("z", "a", "m"), photos(z="i", a="j", m="k"), copies("i k"), NONE, NONE, parameters
    )

    assert by_product(assigned) == {"z": "z", "a": "a", "m": "z"}


def test_groups_join_through_photos_and_descriptions(parameters):
    listed = products("a", "b", "c", "d", b=LONG, c=LONG.upper() + "!")
    assigned = split_listings(
        listed, photos(a="i", b="j", c="k", d="l"), copies("i j", "k l"), NONE, NONE, parameters
    )

    assert set(by_product(assigned).values()) == {"a"}
    assert len(set(assigned["split"])) == 1


def test_listings_with_equal_description_are_one_group(parameters):
    assigned = split_listings(
        products("a", "b", a=LONG, b=LONG), photos(), copies(), NONE, NONE, parameters
    )

    assert by_product(assigned) == {"a": "a", "b": "a"}
    assert assigned["image_id"].isna().all()


@pytest.mark.parametrize(
    ("description", "groups"),
    [("", 2), ("collection only", 2), ("one two three four five", 2), ("1 2 3 4 5 6", 1)],
)
def test_short_description_joins_no_listings(parameters, description, groups):
    listed = products("a", "b", a=description, b=description)
    assigned = split_listings(listed, photos(), copies(), NONE, NONE, parameters)

    assert assigned["group"].nunique() == groups


def test_listing_without_photos_has_one_row(parameters):
    assigned = split_listings(products("a", "b"), photos(a="i j"), copies(), NONE, NONE, parameters)

    assert assigned["product_id"].tolist() == ["a", "a", "b"]
    assert assigned["image_id"].isna().tolist() == [False, False, True]


def test_groups_do_not_cross_splits_and_photos_are_unique(parameters):
    ids = [f"p{number}" for number in range(400)]
    owned = photos(**{name: f"{name}x {name}y" for name in ids})
    shared = copies(*(f"p{number}x p{number + 200}y" for number in range(0, 200, 3)))

    assigned = split_listings(products(*ids), owned, shared, NONE, NONE, parameters)

    assert all(len(set(sides)) == 1 for _, sides in assigned.groupby("group")["split"])
    assert sorted(assigned["image_id"]) == sorted(owned["image_id"])
    assert assigned["group"].nunique() == 400 - len(shared) // 2
    Splits.validate(assigned)


def test_listing_keeps_its_split_as_others_change(parameters):
    first = split_listings(products("a", "b", "c"), photos(), copies(), NONE, NONE, parameters)
    second = split_listings(
        products("x", "c", "a", "y"), photos(), copies(), NONE, NONE, parameters
    )

    before, after = by_product(first, "split"), by_product(second, "split")
    assert {name: after[name] for name in "ac"} == {name: before[name] for name in "ac"}


def test_group_keeps_its_split_without_its_oldest_listing(parameters):
    test, train = with_split("test", parameters, "t"), with_split("train", parameters, "n")
    owned = photos(**{test: "i", train: "j"})
    first = split_listings(products(test, train), owned, copies("i j"), NONE, NONE, parameters)

    second = split_listings(products(train), owned.iloc[1:], copies(), first, NONE, parameters)

    assert by_product(first, "split")[train] == "test"
    assert by_product(second, "split") == {train: "test"}


def test_merged_group_is_in_train_if_a_part_was(parameters):
    test, train = with_split("test", parameters, "t"), with_split("train", parameters, "n")
    for older, newer in ((test, train), (train, test)):
        owned = photos(**{older: "i", newer: "j"})
        separate = split_listings(products(older, newer), owned, copies(), NONE, NONE, parameters)
        merged = split_listings(
            products(older, newer), owned, copies("i j"), separate, NONE, parameters
        )

        assert set(merged["split"]) == {"train"}


def history(listed, owned, splits, before, parameters, shared=None, erased=EMPTY_ERASURE_LIST):
    shared = copies() if shared is None else shared
    table = record_split_history(listed, owned, shared, splits, before, erased, parameters)
    return SplitHistory.validate(table)


@pytest.fixture
def former(parameters):
    """History of a listing ``gone`` in train, with the photos x and y and the description ``LONG``."""
    listed, owned = products("gone", gone=LONG), photos(gone="x y")
    splits = split_listings(listed, owned, copies(), NONE, NONE, parameters).assign(split="train")
    recorded = history(listed, owned, splits, NONE, parameters)
    assert len(recorded) == 4
    nobody = products().astype({"product_id": "str"})
    empty = split_listings(nobody, photos(), copies(), splits, recorded, parameters)
    return history(nobody, photos(), empty, recorded, parameters)


@pytest.mark.parametrize(
    ("owned", "described"),
    [("new:x", ""), ("new", LONG), ("new:y", LONG.upper()), ("new other:x", "short")],
    ids=["photo", "description", "both", "second photo"],
)
def test_listing_under_another_id_stays_in_train(parameters, former, owned, described):
    posted = with_split("test", parameters, "again")
    listed = products(posted, "b", **{posted: described})

    after = split_listings(listed, photos(**{posted: owned}), copies(), NONE, former, parameters)

    assert by_product(after, "split")[posted] == "train"
    assert by_product(after)[posted] == posted


def test_listing_that_returns_stays_in_train(parameters):
    name = with_split("test", parameters, "t")
    before = pd.DataFrame({"product_id": [name], "shared": [None], "split": ["train"]})
    rule = split_listings(products(name), photos(), copies(), NONE, NONE, parameters)["rule"]

    after = split_listings(
        products(name), photos(), copies(), NONE, before.assign(rule=rule), parameters
    )

    assert by_product(after, "split") == {name: "train"}


def test_chain_of_listings_under_other_ids_stays_in_train(parameters, former):
    earlier, before = NONE, former
    chain = [("new:x", ""), ("again:x z", "one two three four five six"), ("z2:z", LONG[::-1])]
    for number, (owned, described) in enumerate(chain):
        name = with_split("test", parameters, f"link{number}-")
        listed, images = products(name, **{name: described}), photos(**{name: owned})
        earlier = split_listings(listed, images, copies(), earlier, before, parameters)
        before = history(listed, images, earlier, before, parameters)

        assert by_product(earlier, "split") == {name: "train"}


def test_group_of_listing_under_another_id_is_in_train(parameters, former):
    posted, other = (with_split("test", parameters, prefix) for prefix in ("a", "b"))
    owned = photos(**{posted: "i:x", other: "j"})

    after = split_listings(products(other, posted), owned, copies("i j"), NONE, former, parameters)

    assert set(after["split"]) == {"train"}


def test_listing_of_two_former_listings_is_in_train(parameters, former):
    name = with_split("test", parameters, "t")
    second = former.assign(product_id="second", split="validation", shared=None)
    second.loc[0, "shared"] = "z"
    before = pd.concat([former, second.drop_duplicates()], ignore_index=True)

    for owned, split in (("i:z", "validation"), ("i:z j:x", "train")):
        after = split_listings(
            products(name), photos(**{name: owned}), copies(), NONE, before, parameters
        )
        assert by_product(after, "split")[name] == split


@pytest.mark.parametrize("were", [True, False], ids=["then", "now"])
def test_placeholder_of_former_listings_joins_none(parameters, were):
    limited = parameters.model_copy(update={"max_listings_per_photo": 3})
    many = [with_split("test", parameters, f"p{number}-") for number in range(4)]
    one = [with_split("test", parameters, "one")]
    then, now = (many, one) if were else (one, many)
    listed = products(*then, **dict.fromkeys(then, LONG))
    # The others of many are near-duplicates, with other bytes.
    owned = photos(**{name: f"{name}:x" if name == then[0] else name for name in then})
    shared = copies(" ".join(then)) if were else copies()
    before = split_listings(listed, owned, shared, NONE, NONE, limited).assign(split="train")
    recorded = history(listed, owned, before, NONE, limited, shared)

    again = [with_split("test", parameters, f"again-{name}-") for name in now]
    owned = photos(**{name: f"{name}:x" if name == again[0] else name for name in again})
    shared = copies() if were else copies(" ".join(again))
    listed = products(*again, **dict.fromkeys(again, LONG))
    after = split_listings(listed, owned, shared, NONE, recorded, limited)

    assert set(after["split"]) == {"test"}


def test_history_has_no_test_listings_and_no_erased_ones(parameters):
    names = {split: with_split(split, parameters, "p") for split in SPLITS}
    listed = products(*names.values())
    splits = split_listings(listed, photos(), copies(), NONE, NONE, parameters)
    salted = ErasureList("salt")
    erased = replace(salted, products=frozenset({salted.digest(names["train"])}))

    before = history(listed, photos(), splits, NONE, parameters)
    after = history(listed, photos(), splits, before, parameters, erased=erased)

    assert set(before["product_id"]) == {names["train"], names["validation"]}
    assert set(after["product_id"]) == {names["validation"]}


def test_history_of_other_parameters_is_ignored(parameters, former):
    other = parameters.model_copy(update={"salt": "another"})
    name = with_split("test", other, "t")

    after = split_listings(products(name), photos(**{name: "i:x"}), copies(), NONE, former, other)

    assert by_product(after, "split") == {name: "test"}


def test_group_keeps_its_split_with_an_older_newcomer(parameters):
    test, train = with_split("test", parameters, "t"), with_split("train", parameters, "n")
    before = split_listings(products(test), photos(), copies(), NONE, NONE, parameters)
    owned = photos(**{train: "i", test: "j"})

    after = split_listings(products(train, test), owned, copies("i j"), before, NONE, parameters)

    assert set(after["split"]) == {"test"}


@pytest.mark.parametrize("values", [{"salt": "another"}, {"train": 0.2, "validation": 0.7}])
def test_splits_of_other_parameters_are_ignored(parameters, values):
    listed = products(*(f"p{number}" for number in range(60)))
    other = parameters.model_copy(update=values)
    before = split_listings(listed, photos(), copies(), NONE, NONE, parameters)

    after = split_listings(listed, photos(), copies(), before, NONE, other)

    pd.testing.assert_frame_equal(
        after, split_listings(listed, photos(), copies(), NONE, NONE, other)
    )
    assert by_product(after, "split") != by_product(before, "split")


def test_other_salt_gives_other_splits(parameters):
    other = parameters.model_copy(update={"salt": "another"})
    names = [f"group {number}" for number in range(100)]

    assert [split_for_group(name, parameters) for name in names] != [
        split_for_group(name, other) for name in names
    ]


def test_split_shares_match_parameters(parameters):
    counted = Counter(split_for_group(f"group {number}", parameters) for number in range(20_000))

    shares = {name: count / 20_000 for name, count in counted.items()}
    assert shares == pytest.approx({"train": 0.8, "validation": 0.1, "test": 0.1}, abs=0.01)


def test_row_order_does_not_matter(parameters):
    listed = products(*"abcdef", a=LONG, e=LONG)
    owned = photos(a="i", b="j k", c="l", d="m n", f="o")
    shared = copies("j l", "m o")

    one = split_listings(listed, owned, shared, NONE, NONE, parameters)
    other = split_listings(
        listed.iloc[::-1], owned.iloc[::-1], shared.iloc[::-1], NONE, NONE, parameters
    )

    pd.testing.assert_frame_equal(one, other)


def test_input_tables_are_unchanged(parameters):
    tables = products("a", "b"), photos(a="i"), copies()
    before = [table.copy(deep=True) for table in tables]

    split_listings(*tables, NONE, NONE, parameters)

    for table, was in zip(tables, before, strict=True):
        pd.testing.assert_frame_equal(table, was)


def test_empty_bucket_has_no_splits(parameters):
    none = products().astype({"product_id": "str"})
    assigned = split_listings(none, photos(), copies(), NONE, NONE, parameters)

    assert assigned.empty
    Splits.validate(assigned)


@given(st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=4), max_size=12))
def test_groups_are_connected_components(sets):
    labels = join_groups(20, [sets])

    reached = {number: {number} for number in range(20)}  # by search, one step at a time
    for _ in range(20):
        for members in sets:
            together = set().union(*(reached[member] for member in members))
            for member in members:
                reached[member] |= together
    assert labels.tolist() == [min(reached[number]) for number in range(20)]


@pytest.mark.parametrize(("listings", "joined"), [(3, True), (4, False)])
def test_photo_of_very_many_listings_joins_none(parameters, listings, joined):
    limited = parameters.model_copy(update={"max_listings_per_photo": 3})
    names = [f"p{number}" for number in range(listings)]
    owners = photos(**{name: f"photo-{name}" for name in names})
    placeholder = copies(" ".join(f"photo-{name}" for name in names))

    groups = by_product(split_listings(products(*names), owners, placeholder, NONE, NONE, limited))

    assert set(groups.values()) == ({"p0"} if joined else set(names))


def test_description_of_very_many_listings_joins_none(parameters):
    limited = parameters.model_copy(update={"max_listings_per_photo": 3})
    names = [f"p{number}" for number in range(4)]

    listed = products(*names, **dict.fromkeys(names, LONG))
    groups = by_product(split_listings(listed, photos(), copies(), NONE, NONE, limited))

    assert set(groups.values()) == set(names)
