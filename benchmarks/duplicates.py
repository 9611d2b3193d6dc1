"""Recall and precision of duplicate detection on planted copies.

    python benchmarks/duplicates.py data/01_raw/images --sources 2200 --seed 0

Plants one edited copy per source photo, with the kinds of edits in turn. Prints recall by kind, precision
with a 95 % interval, the number of candidates, and seconds. Pairs that were already in the folder are
counted separately; check them by eye with ``--sheet pairs.png``. The folder is not changed.
"""

import argparse
import csv
import io
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle
from math import sqrt
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning import near_duplicates
from fb_marketplace.pipelines.cleaning.near_duplicates import DuplicatePair
from fb_marketplace.pipelines.cleaning.perceptual_hash import letterbox_content_box, perceptual_hash
from fb_marketplace_serving.imaging import canonical

Change = Callable[[Image.Image, Random], Image.Image]


def crop_side(picture: Image.Image, random: Random) -> Image.Image:
    """Crop up to a tenth off one side."""
    shares = [0.0] * 4
    shares[random.randrange(4)] = random.uniform(0.02, 0.1)
    return _cropped(picture, shares)


def crop_round(picture: Image.Image, random: Random) -> Image.Image:
    """Crop up to a tenth off every side, the same on all."""
    return _cropped(picture, [random.uniform(0.02, 0.1)] * 4)


def crop_uneven(picture: Image.Image, random: Random) -> Image.Image:
    """Crop up to a tenth off every side, independently."""
    return _cropped(picture, [random.uniform(0, 0.1) for _ in range(4)])


def reencode(picture: Image.Image, random: Random) -> Image.Image:
    """Encode at JPEG quality 35 to 75 and 70 to 100 % of the size."""
    scale = random.uniform(0.7, 1)
    small = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    return _through_jpeg(small, random.randint(35, 75))


def brightness(picture: Image.Image, random: Random) -> Image.Image:
    """Change brightness and contrast by up to a quarter."""
    lit = ImageEnhance.Brightness(picture).enhance(1 + random.uniform(-0.25, 0.25))
    return ImageEnhance.Contrast(lit).enhance(1 + random.uniform(-0.25, 0.25))


def watermark(picture: Image.Image, random: Random, max_area: float = 0.08) -> Image.Image:
    """Add a plate with text, opaque or translucent, anywhere, on 2 to 8 % of the area."""
    area, ratio = (
        random.uniform(0.02, max_area) * picture.width * picture.height,
        random.uniform(1.5, 5),
    )
    width = min(picture.width - 2, int(sqrt(area * ratio)))
    height = min(picture.height - 2, int(area / width))
    place = (
        random.randint(0, picture.width - width - 1),
        random.randint(0, picture.height - height - 1),
    )
    plate = Image.new("RGB", (width, height), random.choice(["white", "black", "red", "navy"]))
    font = ImageFont.load_default(size=max(8, height * 0.5))
    ImageDraw.Draw(plate).text((2, height // 4), "FOR SALE 247", fill="gray", font=font)
    marked = picture.copy()
    marked.paste(plate, place, Image.new("L", plate.size, random.choice([160, 255])))
    return marked


def mirror(picture: Image.Image, random: Random) -> Image.Image:  # noqa: ARG001
    """Mirror left to right."""
    return ImageOps.mirror(picture)


def grey(picture: Image.Image, random: Random) -> Image.Image:  # noqa: ARG001
    """Remove the colour."""
    return picture.convert("L").convert("RGB")


def bars(picture: Image.Image, random: Random) -> Image.Image:
    """Add black bars to a square or to 4:3, with JPEG noise."""
    width, height = picture.size
    if random.random() < 0.5:
        size = (max(picture.size),) * 2
    else:
        size = max(width, round(height * 4 / 3)), max(height, round(width * 3 / 4))
    framed = Image.new("RGB", size)
    framed.paste(picture, ((size[0] - width) // 2, (size[1] - height) // 2))
    return _through_jpeg(framed, random.randint(40, 75))


def mixed(picture: Image.Image, random: Random) -> Image.Image:
    """Apply a mild crop, watermark, change of brightness, and re-encoding."""
    changed = _cropped(picture, [random.uniform(0.01, 0.05)] * 4)
    changed = watermark(changed, random, max_area=0.05)
    changed = ImageEnhance.Brightness(changed).enhance(1 + random.uniform(-0.12, 0.12))
    return _through_jpeg(changed, random.randint(50, 75))


def mixed_mirrored(picture: Image.Image, random: Random) -> Image.Image:
    """Mirror, crop one side, and re-encode."""
    return reencode(crop_side(ImageOps.mirror(picture), random), random)


CHANGES: tuple[Change, ...] = (
    crop_side,
    crop_round,
    crop_uneven,
    reencode,
    brightness,
    watermark,
    mirror,
    grey,
    bars,
    mixed,
    mixed_mirrored,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant copies, find duplicates, and print the results."""
    options = _options(arguments)
    names, sources, jpegs = _read(options.folder, options.limit)
    if not jpegs:
        print(
            f"No photo in {options.folder}. Pass a folder of photos, or run the sample pipeline first."
        )
        return 1
    parameters = DuplicateParameters.model_validate_json(options.parameters)

    start = time.perf_counter()
    hashes = [perceptual_hash(jpeg) for jpeg in jpegs]
    hashing = (time.perf_counter() - start) / len(jpegs) * 1e3
    base, seconds, candidates = _find(sources, jpegs, hashes, parameters)
    print(
        f"{len(jpegs):,} photos: {hashing:.2f} ms to hash one; {candidates:,} candidates compared "
        f"in {seconds:.1f} s"
    )
    _describe_base(base, names, len(jpegs), options.listings)
    if options.sheet:
        _sheet(base, jpegs, options.sheet)

    origin = list(range(len(jpegs)))
    kind_of: dict[int, str] = {}
    random = Random(options.seed)
    chosen = random.sample(range(len(jpegs)), min(options.sources, len(jpegs)))
    for source, change in zip(chosen, cycle(CHANGES), strict=False):
        changed = change(_content(jpegs[source]), random)
        upload = _encoded(changed, 85)
        kind_of[len(origin)] = change.__name__
        origin.append(source)
        sources.append(sha256(upload).hexdigest())
        jpegs.append(canonical.canonicalize(upload))
        hashes.append(perceptual_hash(jpegs[-1]))
    pairs, seconds, candidates = _find(sources, jpegs, hashes, parameters)
    print(f"\n{len(kind_of):,} copies planted: {candidates:,} candidates, {seconds:.1f} s")
    _describe_planted(pairs, base, origin, kind_of)
    return 0


def _find(
    sources: list[str],
    jpegs: list[bytes],
    hashes: list[NDArray[np.uint64]],
    parameters: DuplicateParameters,
) -> tuple[list[DuplicatePair], float, int]:
    """Return pairs, seconds, and number of candidates."""
    results = [sha256(jpeg).hexdigest() for jpeg in jpegs]
    table = np.stack(hashes)
    start = time.perf_counter()
    pairs, comparisons = near_duplicates.find_duplicate_pairs(
        sources, results, table, _Jpegs(jpegs), parameters
    )
    return pairs, time.perf_counter() - start, len(comparisons.pairs)


@dataclass(frozen=True)
class _Jpegs:
    """Loads photos by row; picklable."""

    jpegs: list[bytes]

    def __call__(self, rows: Sequence[int]) -> list[bytes]:
        return [self.jpegs[row] for row in rows]


def _describe_base(
    base: list[DuplicatePair], names: list[str], count: int, listings: Path | None
) -> None:
    near = sum(pair.kind == "near" for pair in base)
    print(
        f"already in the folder: {len(base) - near} exact and {near} near pairs; "
        f"largest group {_largest(base, count)}"
    )
    if listings is None:
        return
    with listings.open(newline="", encoding="utf-8") as file:
        product_of = {row["id"]: row["product_id"] for row in csv.DictReader(file)}
    members = Counter(product_of[name] for name in names if name in product_of)
    siblings = sum(size * (size - 1) // 2 for size in members.values())
    detected = sum(
        product_of.get(names[pair.first], 0) == product_of.get(names[pair.second], 1)
        for pair in base
    )
    print(f"pairs of photos of one listing: {siblings:,}, detected as duplicates: {detected}")


def _describe_planted(
    pairs: list[DuplicatePair],
    base: list[DuplicatePair],
    origin: list[int],
    kind_of: dict[int, str],
) -> None:
    labels = near_duplicates.duplicate_groups(len(origin), pairs)
    hits: dict[str, list[bool]] = defaultdict(list)
    for row, kind in kind_of.items():
        hits[kind].append(bool(labels[row] == labels[origin[row]]))
        hits["all"].append(hits[kind][-1])
    print(f"{'change':<16}{'planted':>8}{'recall':>8}{'95 % interval':>18}")
    for kind in (*(change.__name__ for change in CHANGES), "all"):
        count, total = sum(hits[kind]), len(hits[kind])
        low, high = wilson(count, total)
        print(f"{kind:<16}{total:>8}{count / max(1, total):>8.3f}{low:>10.3f} to {high:.3f}")

    known = near_duplicates.duplicate_groups(len(origin), base)
    planted = [pair for pair in pairs if pair.second in kind_of]
    correct = sum(bool(known[origin[one]] == known[origin[two]]) for one, two, _, _ in planted)
    low, high = wilson(correct, len(planted))
    print(
        f"precision {correct / max(1, len(planted)):.4f} (95 % {low:.4f} to {high:.4f}) of "
        f"{len(planted):,} pairs with a planted photo; largest group {_largest(pairs, len(origin))}"
    )


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the confidence interval of a share (E. B. Wilson, 1927)."""
    if not trials:
        return 0.0, 1.0
    share, weight = hits / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return middle - half, middle + half


def _largest(pairs: Iterable[DuplicatePair], count: int) -> int:
    return int(np.bincount(near_duplicates.duplicate_groups(count, pairs)).max())


def _read(folder: Path, limit: int | None) -> tuple[list[str], list[str], list[bytes]]:
    names, sources, jpegs = [], [], []
    for path in sorted(folder.glob("*.jpg"))[:limit]:
        data = path.read_bytes()
        try:
            jpegs.append(canonical.canonicalize(data))
        except canonical.PhotoError:
            continue
        names.append(path.stem)
        sources.append(sha256(data).hexdigest())
    return names, sources, jpegs


def _content(jpeg: bytes) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.convert("RGB").crop(letterbox_content_box(np.asarray(image.convert("L"))))


def _cropped(picture: Image.Image, shares: Sequence[float]) -> Image.Image:
    left, top, right, bottom = shares
    width, height = picture.size
    return picture.crop(
        (
            round(left * width),
            round(top * height),
            round((1 - right) * width),
            round((1 - bottom) * height),
        )
    )


def _through_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    with Image.open(io.BytesIO(_encoded(picture, quality))) as coarse:
        return coarse.convert("RGB")


def _encoded(picture: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _sheet(pairs: list[DuplicatePair], jpegs: list[bytes], path: Path, side: int = 128) -> None:
    """Save a picture of near pairs side by side, the lowest scores first, at most 100."""
    near = sorted((pair for pair in pairs if pair.kind == "near"), key=lambda pair: pair.score)
    sheet = Image.new("RGB", (10 * side + 40, (min(len(near), 100) + 4) // 5 * (side + 14) or 1))
    for place, pair in enumerate(near[:100]):
        x, y = place % 5 * (2 * side + 8), place // 5 * (side + 14)
        for shift, row in enumerate((pair.first, pair.second)):
            with Image.open(io.BytesIO(jpegs[row])) as image:
                sheet.paste(image.resize((side, side)), (x + shift * side, y))
        ImageDraw.Draw(sheet).text((x, y + side), f"{pair.first} {pair.second} {pair.score:.2f}")
    sheet.save(path)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Recall and precision of duplicate detection.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("data/01_raw/images"))
    parser.add_argument(
        "--listings", type=Path, help="Images.csv, to count pairs within one listing"
    )
    parser.add_argument("--limit", type=int, help="maximum number of photos")
    parser.add_argument("--sources", type=int, default=2200, help="number of planted copies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parameters", default="{}", help="DuplicateParameters, as JSON")
    parser.add_argument("--sheet", type=Path, help="file for a picture of the near pairs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
