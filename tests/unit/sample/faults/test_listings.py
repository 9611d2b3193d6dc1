from random import Random

import pytest

from fb_marketplace.sample.faults.listings import inject_listing_faults
from fb_marketplace.sample.faults.photos import generate_photos, inject_photo_faults
from fb_marketplace.sample.ground_truth import ground_truth
from fb_marketplace.sample.records import Listing, Photo, generate_listings


def soiled(products: int, seed: int) -> tuple[list[Listing], list[Photo], list[Photo]]:
    random = Random(seed)
    listings = generate_listings(seed, products)
    inject_listing_faults(listings, random)
    photos = generate_photos(seed, listings, random)
    return listings, photos, inject_photo_faults(seed, photos, random)


@pytest.mark.parametrize("seed", range(12))
def test_smallest_bucket_fits_every_fault(seed: int) -> None:
    truth = ground_truth(*soiled(60, seed))

    assert all(truth["flags"].values())
    assert all(truth["kinds"].values())


def test_faults_do_not_overlap() -> None:
    _, photos, _ = soiled(600, 3)
    sources = {id(photo.source) for photo in photos if photo.source is not None}

    for photo in photos:
        faults = [
            photo.row_fault is not None,
            photo.file_fault is not None,
            photo.source is not None,
            id(photo) in sources,
            photo.form not in {"jpeg", "letterboxed", "placeholder"},
            photo.repeated,
            photo.listing.fault is not None,
        ]

        assert sum(faults) <= 1


def test_shared_files_are_planted_copies_only() -> None:
    _, photos, orphans = soiled(600, 3)
    keys = [photo.key for photo in (*photos, *orphans)]

    assert len(set(keys)) == len(keys)


def test_at_most_one_sixth_of_rows_has_faults() -> None:
    listings, photos, orphans = soiled(600, 3)
    truth = ground_truth(listings, photos, orphans)
    away = truth["quarantine"]
    flagged = sum(len(ids) for ids in truth["flags"].values())
    copies = len(truth["duplicates"]["near"]) + sum(map(len, truth["duplicates"]["exact"]))
    dirty = len(away["products"]) + len(away["images"]) + flagged + copies

    assert dirty / (len(listings) + len(photos)) < 0.16


def test_most_listings_have_two_photos() -> None:
    listings, photos, _ = soiled(600, 3)
    counts = [sum(photo.listing is listing for photo in photos) for listing in listings]

    assert 0.56 < counts.count(2) / len(counts) < 0.7
    assert 0.28 < counts.count(1) / len(counts) < 0.42
    assert max(counts) == 2
