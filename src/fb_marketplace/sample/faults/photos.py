"""Faults of photos: rows, files, copies and unusual encodings."""

from collections.abc import Callable, Mapping
from itertools import islice
from random import Random
from typing import TypeAlias, get_args

from fb_marketplace.sample.faults.listings import fault_count
from fb_marketplace.sample.records import (
    Edit,
    FileFault,
    Form,
    Listing,
    Photo,
    RowFault,
    generate_photo,
)

PLACEHOLDERS = 2
_Predicate: TypeAlias = Callable[[Photo], bool]
_Take: TypeAlias = Callable[[_Predicate], Photo]

_ROW_FAULTS: tuple[tuple[RowFault, float], ...] = (
    ("missing_id", 0.003),
    ("missing_product", 0.003),
    ("unknown_product", 0.007),
    ("missing_file", 0.008),
)
_FILE_FAULTS: tuple[tuple[FileFault, float, int], ...] = (
    ("empty", 0.005, 1),
    ("truncated", 0.008, 2),
    ("not_an_image", 0.008, 2),
    ("unsupported_format", 0.005, 1),
    ("too_many_pixels", 0.002, 1),
)
_FORMS: tuple[tuple[Form, float, int], ...] = (
    ("twelve_megapixel", 0.005, 1),
    ("exif_turned", 0.015, 3),
    ("png", 0.02, 1),
    ("alpha", 0.01, 1),
    ("greyscale", 0.01, 1),
    ("cmyk", 0.007, 1),
    ("palette", 0.008, 1),
)


def generate_photos(seed: int, listings: list[Listing], random: Random) -> list[Photo]:
    """Return the photos of listings: two or one, and none for a listing flagged "no_photo".

    A copied listing has other views of the product than the original.
    """
    photos: list[Photo] = []
    for listing in listings:
        if listing.flag == "no_photo":
            continue
        number = 2 if random.random() < 0.64 else 1
        first = 2 if listing.flag == "copy" else 0
        photos.extend(generate_photo(seed, listing, slot) for slot in range(first, first + number))
    return photos


def inject_photo_faults(seed: int, photos: list[Photo], random: Random) -> list[Photo]:
    """Add faults, copies and unusual encodings to photos, in place.

    Args:
        seed: the marketplace's seed.
        photos: photos without faults; those of faulty listings are not changed.
        random: source of randomness.

    Returns:
        Further photos that have a file but no row.
    """
    total = len({photo.listing.product.number for photo in photos})
    candidates = [
        photo
        for photo in photos
        if photo.listing.fault is None and not _has_copies_or_repeats(photo.listing)
    ]
    random.shuffle(candidates)
    of_listing: dict[int, list[Photo]] = {}
    for photo in candidates:
        of_listing.setdefault(photo.listing.product.number, []).append(photo)
    first = 0  # all candidates before it are taken

    def take(matches: _Predicate) -> Photo:
        nonlocal first
        while candidates[first].taken:
            first += 1
        rest = islice(candidates, first, None)
        chosen = next(photo for photo in rest if not photo.taken and matches(photo))
        chosen.taken = True
        return chosen

    for fault, share in _ROW_FAULTS:
        for _ in range(fault_count(total, share)):
            take(_any).row_fault = fault
    for file_fault, share, minimum in _FILE_FAULTS:
        for variant in range(fault_count(total, share, minimum)):
            photo = take(_any)
            photo.file_fault, photo.variant = file_fault, variant
    for form, share, minimum in _FORMS:
        for variant in range(fault_count(total, share, minimum)):
            photo = take(_any)
            photo.form, photo.variant = form, variant
    for _ in range(fault_count(total, 0.006)):
        take(_any).repeated = True
    _add_exact_copies(fault_count(total, 0.012, 3), take, of_listing)
    _add_near_copies(fault_count(total, 0.04, 5), take)
    for variant in range(PLACEHOLDERS):
        _add_placeholders(fault_count(total, 0.02, 3), variant, take)
    return [_orphan(seed, take(_any)) for _ in range(fault_count(total, 0.007))]


def _any(_: Photo) -> bool:
    return True


def _has_copies_or_repeats(listing: Listing) -> bool:
    return listing.flag in {"copy", "copied", "repeated_row"}


def _add_exact_copies(groups: int, take: _Take, of_listing: Mapping[int, list[Photo]]) -> None:
    for group in range(groups):
        if group % 3 == 2:
            copy = take(lambda photo: photo.slot == 1)
            siblings = of_listing[copy.listing.product.number]
            source = next((photo for photo in siblings if not photo.taken), None)
            if source is not None:
                source.taken = True
                copy.source = source
                continue
            copy.taken = False
        source = take(_any)
        for _ in range(1 + group % 2):
            copy = take(_of_other_listing(source))
            copy.source = source


def _of_other_listing(source: Photo) -> _Predicate:
    return lambda photo: photo.listing is not source.listing


def _add_near_copies(pairs: int, take: _Take) -> None:
    edits: tuple[Edit, ...] = get_args(Edit)
    for pair in range(pairs):
        source = take(lambda photo: photo.form == "jpeg")
        copy = take(_of_other_listing(source))
        copy.source, copy.edit = source, edits[pair % len(edits)]


def _add_placeholders(count: int, variant: int, take: _Take) -> None:
    """Replace the photos of a number of listings by one picture."""
    photos = [take(lambda photo: photo.slot == 0) for _ in range(count)]
    photos[0].form, photos[0].variant = "placeholder", variant
    for photo in photos[1:]:
        photo.source = photos[0]


def _orphan(seed: int, photo: Photo) -> Photo:
    """Return another view of a photo's product, without a row."""
    orphan = generate_photo(seed, photo.listing, slot=4 + photo.slot)
    orphan.row_fault = "no_row"
    return orphan
