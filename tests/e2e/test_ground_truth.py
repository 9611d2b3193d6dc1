"""Faults of the sample, compared with its ground truth."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from support.kedro_project import Place, Run

from fb_marketplace.sample.bucket import generate_bucket


@pytest.fixture(scope="session")
def larger_run(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Another marketplace, of another size and seed, cleaned."""
    folder = tmp_path_factory.mktemp("larger")
    for key, content in generate_bucket(products=150, seed=12).files():
        path = folder / "raw" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    place = Place(clone, str(folder / "raw"), str(folder / "lake"))
    return Run(place, place.run("--pipeline=cleaning"))


@pytest.fixture(
    params=["whole_run", pytest.param("larger_run", marks=pytest.mark.slow)],
    ids=["60 products", "150 products"],
)
def cleaned(request: pytest.FixtureRequest) -> Run:
    """A cleaned marketplace."""
    run: Run = request.getfixturevalue(request.param)
    return run


def test_sample_contains_every_kind_of_fault(cleaned: Run) -> None:
    planted = cleaned.truth["quarantine"]

    assert {fault["reason"] for faults in planted.values() for fault in faults} == {
        *("missing_field", "unparsable_price", "unknown_product", "quarantined_product"),
        *("missing_file", "unusable_file", "no_row", "row_quarantined"),
        *("empty", "truncated", "not_an_image", "unsupported_format", "too_many_pixels"),
    }


@pytest.mark.parametrize("stage", ["products", "images", "files"])
def test_quarantine_contains_exactly_the_faults(cleaned: Run, stage: str) -> None:
    planted = Counter(
        (fault.get("row", -1), fault.get("id", fault.get("key")), fault["reason"])
        for fault in cleaned.truth["quarantine"][stage]
    )
    ledger = cleaned.table("quarantine").query("stage == @stage")
    result = Counter(ledger[["row", "key", "reason"]].itertuples(index=False, name=None))

    assert {"missing": planted - result, "extra": result - planted} == {
        "missing": Counter(),
        "extra": Counter(),
    }


def test_ledger_balances(cleaned: Run) -> None:
    counts = cleaned.truth["counts"]
    in_the_bucket = {
        "products": counts["products_rows"],
        "images": counts["images_rows"],
        "files": counts["files"],
    }
    remaining = {
        "products": len(cleaned.table("products")) + cleaned.table("products")["repeats"].sum(),
        "images": cleaned.place.photo_table().count_rows() + _repeats_of_kept_rows(cleaned),
        "files": cleaned.place.photo_table().count_rows(),
    }
    away = cleaned.table("quarantine")["stage"].value_counts()

    assert {stage: remaining[stage] + away[stage] for stage in remaining} == in_the_bucket
    ledger = cleaned.json("cleaning_report")["ledger"]
    assert {stage: item["in"] for stage, item in ledger.items()} == in_the_bucket
    assert {stage: item["kept"] for stage, item in ledger.items()} == remaining
    assert {stage: item["quarantined"] for stage, item in ledger.items()} == away.to_dict()


def test_listings_are_flagged_as_planted(cleaned: Run) -> None:
    products = cleaned.table("products")

    def ids(chosen: pd.Series) -> set[str]:
        return set(products.loc[chosen, "product_id"])

    result = {
        "price_zero": ids(products["price_flag"] == "zero"),
        "price_joke": ids(products["price_flag"] == "joke"),
        "price_absurd": ids(products["price_flag"] == "absurd"),
        "repeated_row": ids(products["repeats"] > 0),
        "copy": ids(products["copy_of"].notna()),
        "no_photo": ids(products["photos"] == 0),
    }

    assert result == {flag: set(cleaned.truth["flags"][flag]) for flag in result}


def test_repeated_image_rows_are_counted(cleaned: Run) -> None:
    rows = cleaned.table("matched_photos")

    result = set(rows.loc[rows["repeats"] > 0, "image_id"])

    assert result == set(cleaned.truth["flags"]["repeated_image_row"])


def test_photo_and_text_variants_are_kept(cleaned: Run) -> None:
    kinds, quarantine = cleaned.truth["kinds"], cleaned.table("quarantine")
    listings, photos = set(cleaned.table("products")["product_id"]), _photos_of(cleaned)
    away = set(quarantine.query("stage == 'images'")["key"])
    of_listings = {"carriage_return", "emoji"}

    assert of_listings < kinds.keys()
    for kind, ids in kinds.items():
        remaining = listings if kind in of_listings else photos | away
        assert set(ids) <= remaining, kind


def test_identical_photos_are_one_group(cleaned: Run) -> None:
    copies = cleaned.table("duplicate_groups")
    exact = copies[copies["kind"] == "exact"]

    result = {frozenset(ids) for _, ids in exact.groupby("group")["image_id"]}

    assert result == {frozenset(ids) for ids in cleaned.truth["duplicates"]["exact"]}


def test_near_duplicates_are_found_and_second_shots_are_not(cleaned: Run) -> None:
    copies, truth = cleaned.table("duplicate_groups"), cleaned.truth["duplicates"]
    planted = set(_pairs(truth["exact"])) | set(_pairs([near["ids"] for near in truth["near"]]))
    result = set(_pairs(ids for _, ids in copies.groupby("group")["image_id"]))
    near = {frozenset(pair["ids"]): pair["how"] for pair in truth["near"]}
    missed = {how for pair, how in near.items() if pair not in result}

    assert len(near) >= 5
    assert len(result & planted) >= 0.98 * len(result), f"no copies: {result - planted}"
    assert len(result & near.keys()) >= 0.9 * len(near), f"missed: {missed}"


def test_no_duplicate_crosses_the_splits(cleaned: Run) -> None:
    splits = cleaned.table("splits")
    side = splits.dropna(subset="image_id").set_index("image_id")["split"]
    duplicates = cleaned.truth["duplicates"]
    planted = [*duplicates["exact"], *(pair["ids"] for pair in duplicates["near"])]

    assert [ids for ids in planted if len(set(side[ids])) > 1] == []
    assert len(splits[["product_id", "split"]].drop_duplicates()) == len(cleaned.table("products"))


def _photos_of(cleaned: Run) -> set[str]:
    table = cleaned.place.photo_table().to_table(columns=["image_id"])
    return set(table.column("image_id").to_pylist())


def _repeats_of_kept_rows(cleaned: Run) -> int:
    rows = cleaned.table("matched_photos")
    return int(rows.loc[rows["image_id"].isin(_photos_of(cleaned)), "repeats"].sum())


def _pairs(groups: Iterable[Iterable[str]]) -> Iterator[frozenset[str]]:
    for ids in groups:
        yield from map(frozenset, combinations(sorted(ids), 2))
