"""How often the gate rejects pairs of equally good releases, and pairs of which the new one is worse.

Pairs are drawn: a test split as large as that of 5,428 real listings (930 photos of 539 listings, 7
listings without, 770 searches), each listing a group of its own; two trainings of which each gets some
8 % of the photos right that the other gets wrong; listings answered by their photos, and by photos
and text, from the same drawn probabilities; and searches of which 5 to 6 % are found by either alone.

    .venv/bin/python benchmarks/long/gate.py
"""

import argparse
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fb_marketplace.pipelines.release.paired_bootstrap import compare_cases, shared_cases

PHOTOS: Final = 930
LISTINGS: Final = 546
WITHOUT_PHOTOS: Final = 7
LABELS: Final = 13
ASKED: Final = 770 / 930

CHURN: Final = 0.5
"""Noise of one training in the logits: each of two is right on some 8 % where the other is wrong."""

LOST: Final = {"photos": 0.135, "searches": 0.101}
"""By how much the signal is weaker, for three points lost of photos and of searches."""

Floats = NDArray[np.float64]


def main() -> None:
    """Draw pairs, and print how many are rejected."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--confidence", type=float, default=0.975)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    cases: list[tuple[str, dict[str, float]]] = [
        ("equally good", {}),
        ("three points of photos and searches lost", LOST),
        ("three points of photos lost, none of searches", {"photos": LOST["photos"]}),
    ]
    print(f"rejected of {told.pairs} pairs, at a confidence of {told.confidence}")
    for name, lost in cases:
        found = [
            compare_cases(
                pairs_of(draw(np.random.default_rng([told.seed, pair]), lost)),
                told.samples,
                told.confidence,
                pair,
            )
            for pair in range(told.pairs)
        ]
        rejected = sum(any(each.is_worse for each in pair.values()) for pair in found)
        print(f"  {name:48} {rejected:4}")
        for measure in found[0]:
            new, current = (
                np.mean([getattr(pair[measure], field) for pair in found])
                for field in ("new", "current")
            )
            alone = sum(pair[measure].is_worse for pair in found)
            print(f"      {measure:24} {current:.3f} → {new:.3f}, worse by it {alone:4}")


def draw(random: np.random.Generator, lost: dict[str, float]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the measures of a new and of the current release, on the same test split.

    Args:
        random: what to draw from.
        lost: by how much the signal of ``photos`` and ``searches`` is weaker in the new one.

    Returns:
        The new one's and the other's, as the pipeline gathers them.
    """
    with_photos = LISTINGS - WITHOUT_PHOTOS
    others = random.choice(with_photos, PHOTOS - with_photos, p=_shares(random, with_photos))
    listing = np.concatenate([np.arange(with_photos), others])
    classes = random.integers(LABELS, size=LISTINGS)
    strength = 2.2 + random.normal(size=LISTINGS)[listing] + 0.6 * random.normal(size=PHOTOS)
    seen = random.normal(size=(PHOTOS, LABELS))
    seen += 0.5 * random.normal(size=(LISTINGS, LABELS))[listing]
    text = random.normal(size=(LISTINGS, LABELS))
    text[np.arange(LISTINGS), classes] += 2.9 + random.normal(size=LISTINGS)
    is_query = random.random(PHOTOS) < ASKED
    ease = random.normal(size=PHOTOS) + 0.8 * random.normal(size=LISTINGS)[listing]
    releases = []
    for weaker in (lost, {}):
        logits = seen + CHURN * random.normal(size=(PHOTOS, LABELS))
        logits[np.arange(PHOTOS), classes[listing]] += strength - weaker.get("photos", 0)
        found = ease + 0.35 * random.normal(size=PHOTOS) - weaker.get("searches", 0)
        right = _right(_softmax(logits), listing, classes, text)
        right["recall_at_1"] = (listing[is_query], found[is_query] > 0.35)
        right["recall_at_10"] = (listing[is_query], found[is_query] > -0.62)
        releases.append(_table(right))
    return releases[0], releases[1]


def pairs_of(releases: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Pair the cases of two releases."""
    return shared_cases(*releases)


def _shares(random: np.random.Generator, listings: int) -> Floats:
    """Say how likely each listing is to have a further photo: some have many."""
    many = random.geometric(0.5, size=listings)
    shares: Floats = many / many.sum()
    return shares


def _right(
    photos: Floats, listing: NDArray[np.int64], classes: NDArray[np.int64], text: Floats
) -> dict[str, Any]:
    """Answer photos, listings by the mean over their photos, and listings with their text."""
    sums = np.zeros((LISTINGS, LABELS))
    np.add.at(sums, listing, photos)
    counts = np.bincount(listing, minlength=LISTINGS)
    with_photos = np.flatnonzero(counts)
    means = sums / np.maximum(counts, 1)[:, None]
    words = np.log(_softmax(text))
    both = np.where(counts[:, None] > 0, 0.7 * np.log(np.maximum(means, 1e-6)) + words, words)
    every = np.arange(LISTINGS)
    return {
        "photo_top1": (listing, photos.argmax(axis=1) == classes[listing]),
        "listing_top1": (with_photos, (means.argmax(axis=1) == classes)[with_photos]),
        "listing_with_text_top1": (every, both.argmax(axis=1) == classes),
    }


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _table(right: dict[str, Any]) -> pd.DataFrame:
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "measure": name,
                    "case": np.arange(len(listing)),
                    "group_id": listing,
                    "value": np.asarray(values, dtype=np.float64),
                }
            )
            for name, (listing, values) in right.items()
        ],
        ignore_index=True,
    )


if __name__ == "__main__":
    main()
