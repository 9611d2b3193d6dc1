"""Copies of pictures drawn here, each changed as a re-listing changes a photo."""

import io
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning import near_duplicates
from fb_marketplace.pipelines.cleaning.near_duplicates import (
    Comparisons,
    DuplicatePair,
    compare_photos,
    duplicate_groups,
    find_duplicate_pairs,
    score_pair,
)
from fb_marketplace.pipelines.cleaning.perceptual_hash import perceptual_hash
from fb_marketplace_serving.imaging import canonical

PARAMETERS = DuplicateParameters()


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    random = np.random.default_rng(seed)
    field = random.integers(40, 216, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(field).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y = int(random.integers(0, size[0])), int(random.integers(0, size[1]))
        wide, high = random.integers(8, 60, 2).tolist()
        colour = tuple(random.integers(30, 256, 3).tolist())
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape((x, y, x + wide, y + high), fill=colour)
    return picture


def encoded(picture: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def stored(picture: Image.Image, quality: int = 90) -> bytes:
    return canonical.canonicalize(encoded(picture, quality))


def find_pairs(
    jpegs: Sequence[bytes],
    parameters: DuplicateParameters = PARAMETERS,
    sources: Sequence[str] | None = None,
) -> list[DuplicatePair]:
    results = [sha256(jpeg).hexdigest() for jpeg in jpegs]
    hashes = np.array([perceptual_hash(jpeg) for jpeg in jpegs], dtype=np.uint64).reshape(-1, 8)

    def load_jpegs(rows: Sequence[int]) -> list[bytes]:
        assert 0 < len(rows) <= near_duplicates.FETCH_BATCH_SIZE
        return [jpegs[row] for row in rows]

    return find_duplicate_pairs(sources or results, results, hashes, load_jpegs, parameters)[0]


def reencoded(picture: Image.Image) -> Image.Image:
    small = picture.resize((int(picture.width * 0.7), int(picture.height * 0.7)))
    return Image.open(io.BytesIO(encoded(small, quality=35)))


def watermarked(picture: Image.Image) -> Image.Image:
    marked = picture.copy()
    draw = ImageDraw.Draw(marked)
    draw.rectangle((20, 180, 150, 225), fill="white")
    draw.text((30, 190), "FOR SALE", fill="red", font_size=24)
    return marked


def framed(picture: Image.Image) -> Image.Image:
    bars = Image.new("RGB", (320, 320))
    bars.paste(picture, (0, 40))
    return Image.open(io.BytesIO(encoded(bars, quality=45)))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "a side cut": lambda picture: picture.crop((0, 0, 290, 240)),
    "cut all round": lambda picture: picture.crop((28, 21, 292, 219)),
    "re-encoded": reencoded,
    "brighter": lambda picture: ImageEnhance.Brightness(picture).enhance(1.2),
    "darker": lambda picture: ImageEnhance.Brightness(picture).enhance(0.75),
    "flatter": lambda picture: ImageEnhance.Contrast(picture).enhance(0.75),
    "watermarked": watermarked,
    "mirrored": ImageOps.mirror,
    "grey": lambda picture: picture.convert("L"),
    "bars in the file": framed,
    "mirrored, cut and re-encoded": lambda picture: reencoded(
        ImageOps.mirror(picture.crop((10, 8, 312, 236)))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_edited_copy_is_found_among_other_pictures(change: str) -> None:
    pictures = [scene(seed) for seed in range(8)]
    jpegs = [stored(picture) for picture in (*pictures, CHANGES[change](pictures[3]))]

    pairs = find_pairs(jpegs)

    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [(3, 8, "near")]
    assert PARAMETERS.min_agreement <= pairs[0].score <= 1


def test_different_pictures_are_no_duplicates() -> None:
    assert find_pairs([stored(scene(seed)) for seed in range(30)]) == []


def test_picture_rotated_by_two_degrees_is_no_duplicate() -> None:
    picture = scene(1, (400, 320))
    turned = picture.rotate(2, Image.Resampling.BICUBIC)
    middle = (40, 40, 360, 280)

    assert score_pair(stored(picture.crop(middle)), stored(turned.crop(middle)), PARAMETERS) == 0


def test_same_scene_with_other_object_is_no_duplicate() -> None:
    picture = scene(2)
    other = picture.copy()
    other.paste(scene(99).crop((100, 60, 240, 180)), (90, 60))

    assert score_pair(stored(picture), stored(other), PARAMETERS) < PARAMETERS.min_agreement


@pytest.mark.parametrize("blurred", [False, True])
def test_nearly_blank_pictures_do_not_match_each_other(blurred: bool) -> None:
    def faint(seed: int) -> Image.Image:
        level = np.random.default_rng(seed).integers(20, 250, 3)
        if not blurred:
            return Image.new("RGB", (320, 240), tuple(level.tolist()))
        slope = np.linspace(0, 40, 320)[None, :, None] + np.minimum(level, 200)
        return Image.fromarray(np.broadcast_to(slope, (240, 320, 3)).astype(np.uint8)).filter(
            ImageFilter.GaussianBlur(3)
        )

    assert find_pairs([stored(faint(seed)) for seed in range(30)]) == []


def test_equal_canonical_photos_are_chained() -> None:
    jpeg, other = stored(scene(1)), stored(scene(2))

    pairs = find_pairs([jpeg, other, jpeg, jpeg])

    assert pairs == [DuplicatePair(0, 2, "exact", 1.0), DuplicatePair(2, 3, "exact", 1.0)]


def test_equal_sources_are_exact_duplicates() -> None:
    jpegs = [stored(scene(1)), stored(scene(2)), stored(scene(3))]

    assert find_pairs(jpegs, sources=["a", "b", "a"]) == [DuplicatePair(0, 2, "exact", 1.0)]


def test_sources_and_canonical_photos_form_one_chain() -> None:
    jpeg = stored(scene(1))

    pairs = find_pairs([jpeg, jpeg, stored(scene(2))], sources=["a", "b", "b"])

    assert pairs == [DuplicatePair(0, 1, "exact", 1.0), DuplicatePair(1, 2, "exact", 1.0)]


def test_only_head_of_chain_is_compared() -> None:
    jpeg, near = stored(scene(1)), stored(ImageOps.mirror(scene(1)))

    pairs = find_pairs([jpeg, jpeg, near, near])

    assert [(pair.first, pair.second, pair.kind) for pair in pairs] == [
        (0, 1, "exact"),
        (2, 3, "exact"),
        (0, 2, "near"),
    ]


def test_row_order_does_not_matter() -> None:
    pictures = [scene(seed) for seed in range(6)]
    changed = [change(pictures[i % 6]) for i, change in enumerate(CHANGES.values())]
    jpegs = [stored(picture) for picture in (*pictures, *changed)]
    order = np.random.default_rng(0).permutation(len(jpegs)).tolist()

    pairs = find_pairs(jpegs)
    shuffled = find_pairs([jpegs[row] for row in order])

    assert len(pairs) >= len(changed)
    assert sorted((*sorted((p.first, p.second)), p.score) for p in pairs) == sorted(
        (*sorted((order[p.first], order[p.second])), p.score) for p in shuffled
    )


def test_verdict_is_symmetric() -> None:
    one, other = stored(scene(1)), stored(watermarked(scene(1)))

    score = score_pair(one, other, PARAMETERS)

    assert score == score_pair(other, one, PARAMETERS)
    assert score == find_pairs([one, other])[0].score


def test_candidates_per_photo_are_bounded() -> None:
    similar = np.tile(perceptual_hash(stored(scene(1))), (200, 1))

    pairs = near_duplicates.candidate_pairs(similar, DuplicateParameters(max_candidates=5))

    assert 200 <= len(pairs) <= 200 * 5
    assert len(np.unique(pairs, axis=0)) == len(pairs)


def test_photos_are_fetched_in_bounded_batches() -> None:
    jpegs = [
        stored(ImageEnhance.Brightness(scene(1)).enhance(0.8 + step / 500)) for step in range(200)
    ]
    distinct = list(dict.fromkeys(jpegs))

    pairs = find_pairs(distinct, DuplicateParameters(max_candidates=3))

    assert len(distinct) > 150
    assert (duplicate_groups(len(distinct), pairs) == 0).mean() > 0.9


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photos_give_no_pair(count: int) -> None:
    jpegs = [stored(scene(1))] * count

    assert find_pairs(jpegs) == []
    assert duplicate_groups(count, []).tolist() == list(range(count))


def test_groups_are_connected_components() -> None:
    pairs = [
        DuplicatePair(4, 5, "near", 0.9),
        DuplicatePair(1, 4, "exact", 1.0),
        DuplicatePair(2, 3, "near", 0.9),
    ]

    assert duplicate_groups(7, pairs).tolist() == [0, 1, 2, 2, 1, 1, 6]


def similar_hashes(seed: int, count: int = 90) -> NDArray[np.uint64]:
    """Hashes of photos of 9 scenes; two photos of a scene differ in 0 to 20 bits."""
    random = np.random.default_rng(seed)
    scenes = random.integers(1, 2**64, (9, 8), dtype=np.uint64)
    flips = random.random((count, 8, 64)) < random.uniform(0, 0.15, (count, 1, 1))
    noise = np.packbits(flips, axis=-1).view(np.uint64)[..., 0]
    return scenes[random.integers(0, 9, count)] ^ noise


@pytest.mark.parametrize("max_candidates", [2, 8])
@pytest.mark.parametrize("removed", [0, 1, 9, 90])
def test_candidates_after_changes_are_those_from_scratch(max_candidates: int, removed: int) -> None:
    hashes = similar_hashes(0)
    parameters = DuplicateParameters(max_candidates=max_candidates)
    digests = [sha256(row.tobytes()).hexdigest() for row in hashes]
    order = np.argsort(digests)
    random = np.random.default_rng(removed)
    before = np.sort(random.choice(90, 80, replace=False))
    after = np.sort(np.setdiff1d(np.arange(90), random.choice(90, removed, replace=False)))

    def compare(rows: NDArray[np.int64], earlier: Comparisons | None = None) -> Comparisons:
        chosen = order[rows]
        names, calls = [digests[row] for row in chosen], range(len(chosen))
        return compare_photos(names, calls, hashes[chosen], blank_jpegs, parameters, earlier)

    first = compare(before)
    result, scratch = compare(after, first), compare(after)

    assert len(first.pairs) > 80
    assert result.pairs.tolist() == scratch.pairs.tolist()


def blank_jpegs(rows: Sequence[int]) -> list[bytes]:
    return [stored(Image.new("RGB", (64, 64)))] * len(rows)


def test_only_new_pairs_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    jpegs = [stored(change(scene(1))) for change in CHANGES.values()]
    hashes = np.array([perceptual_hash(jpeg) for jpeg in jpegs])
    digests = [sha256(jpeg).hexdigest() for jpeg in jpegs]
    loaded: set[int] = set()

    def load_jpegs(rows: Sequence[int]) -> list[bytes]:
        loaded.update(rows)
        return [jpegs[row] for row in rows]

    def find(count: int, earlier: Comparisons | None = None) -> tuple[object, Comparisons]:
        names = digests[:count]
        return find_duplicate_pairs(names, names, hashes[:count], load_jpegs, PARAMETERS, earlier)

    _, before = find(9)
    scratch, _ = find(9)
    loaded.clear()
    again, _ = find(9, before)
    assert (again, loaded) == (scratch, set())

    calls: list[float] = []
    agreement = near_duplicates.alignment_agreement

    def counted(*args: Any) -> float:
        calls.append(agreement(*args))
        return calls[-1]

    monkeypatch.setattr(near_duplicates, "alignment_agreement", counted)
    grown, comparisons = find(11, before)
    new = digest_pairs(comparisons) - digest_pairs(before)
    assert 0 < len(calls) == len(new) < len(comparisons.pairs)
    assert grown == find(11)[0]


def digest_pairs(found: Comparisons) -> set[tuple[str, str]]:
    return {(found.digests[one], found.digests[other]) for one, other in found.pairs.tolist()}
