"""Recall and precision of duplicate detection on planted copies, and the cost of the candidate search.

    python benchmarks/duplicates.py data --photos 10000 100000 1000000 --sources 2200 --seed 0

Plants one edited copy per source photo of a lake, with the kinds of edits in turn, among more and more
photos. Sources and copies are the same for each number of photos. If the lake has too few photos, the
others are only hashes: those of the lake with noise. Prints seconds and peak memory of the candidate
search, recall by kind, and precision with a 95 % interval. The lake is not changed.
"""

import argparse
import io
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import cycle
from math import sqrt
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from fb_marketplace.parameters.cleaning import DuplicateParameters
from fb_marketplace.pipelines.cleaning.near_duplicates import candidate_pairs, score_pair
from fb_marketplace.pipelines.cleaning.perceptual_hash import perceptual_hash
from fb_marketplace.storage import keyed_table
from fb_marketplace_serving.imaging import canonical
from fb_marketplace_serving.imaging.letterbox import content_box

NOISE = 0.25
"""Share of the bits in which an invented hash differs from the real one that it is drawn from.

With it, a real photo has about as many similar ones among a million as those among 10,000 predict.
"""

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
    parameters = DuplicateParameters.model_validate_json(options.parameters)
    images = keyed_table.open_table(str(options.lake / "03_primary/images.lance"))
    photos = images.read(["image_id", "sha256"]).to_pandas().drop_duplicates("sha256")
    photos["group"] = _groups(options.lake).reindex(photos["image_id"]).to_numpy()
    photos["group"] = photos["group"].fillna(photos["image_id"])
    photos = photos.sample(frac=1, random_state=options.seed)
    rows = photos.index.to_list()
    hashes = images.read(["perceptual_hash"]).column(0).combine_chunks().flatten().to_numpy()
    stored = hashes.reshape(-1, 8)[rows]

    def load_jpeg(place: int) -> bytes:
        return bytes(images.take([rows[place]], ["jpeg"]).column("jpeg")[0].as_py())

    threshold, random = parameters.min_agreement, Random(options.seed)
    sources = random.sample(range(min(len(rows), *options.photos)), options.sources)
    kinds = [change.__name__ for _, change in zip(sources, cycle(CHANGES), strict=False)]
    copies = [
        _copy(load_jpeg(source), change, random)
        for source, change in zip(sources, cycle(CHANGES), strict=False)
    ]
    planted = np.array([perceptual_hash(jpeg) for jpeg in copies])
    groups = photos["group"].to_list()
    for count in options.photos:
        among = _grown(stored, count, options.seed)
        start = time.perf_counter()
        pairs = candidate_pairs(np.concatenate([planted, among]), parameters)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
        print(
            f"\n{count:,} photos: {len(pairs):,} candidate pairs in {seconds:.1f} s, peak memory "
            f"{memory:.2f} GB"
        )
        verified: dict[int, list[int]] = defaultdict(list)
        of_copies = (pairs - [0, len(copies)])[pairs[:, 0] < len(copies)]
        for copy, place in of_copies.tolist():
            is_photo = 0 <= place < min(count, len(rows))
            if is_photo and score_pair(copies[copy], load_jpeg(place), parameters) >= threshold:
                verified[copy].append(place)
        _describe(verified, sources, kinds, groups)
    return 0


def _groups(lake: Path) -> pd.Series:
    """Return the latest group of each duplicate photo, by its id."""
    newest = max((lake / "03_primary/duplicate_groups.parquet").glob("*/*.parquet"))
    return pd.read_parquet(newest).set_index("image_id")["group"]


def _copy(jpeg: bytes, change: Change, random: Random) -> bytes:
    return canonical.canonicalize(_encoded(change(_content(jpeg), random), 85))


def _grown(stored: NDArray[np.uint64], count: int, seed: int) -> NDArray[np.uint64]:
    """Return the hashes of photos of the lake; if they are too few, also invented ones."""
    random = np.random.default_rng(seed)
    parts = [stored[:count]]
    while (missing := count - sum(map(len, parts))) > 0:
        drawn = stored[:missing]
        flips = random.random((len(drawn), 64), dtype=np.float32) < NOISE
        parts.append(drawn ^ np.packbits(flips, axis=-1).view(np.uint64))
    return np.concatenate(parts)


def _describe(
    verified: dict[int, list[int]], sources: list[int], kinds: list[str], groups: list[str]
) -> None:
    hits: dict[str, list[bool]] = defaultdict(list)
    correct = []
    for copy, (source, kind) in enumerate(zip(sources, kinds, strict=True)):
        same = [groups[place] == groups[source] for place in verified[copy]]
        hits[kind].append(any(same))
        hits["all"].append(any(same))
        correct += same
    print(f"{'change':<16}{'copies':>8}{'recall':>8}   95 % interval")
    for kind, hit in sorted(hits.items()):
        low, high = wilson(sum(hit), len(hit))
        print(f"{kind:<16}{len(hit):>8}{sum(hit) / len(hit):>8.3f}{low:>10.3f} to {high:.3f}")
    low, high = wilson(sum(correct), len(correct))
    share = sum(correct) / max(1, len(correct))
    print(f"precision {share:.4f} (95 % {low:.4f} to {high:.4f}) of {len(correct):,} pairs")


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Return the confidence interval of a share (E. B. Wilson, 1927)."""
    if not trials:
        return 0.0, 1.0
    share, weight = hits / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return middle - half, middle + half


def _content(jpeg: bytes) -> Image.Image:
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.convert("RGB").crop(content_box(np.asarray(image.convert("L"))))


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


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Recall and precision of duplicate detection.")
    parser.add_argument("lake", nargs="?", type=Path, default=Path("data"))
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--sources", type=int, default=2200, help="number of planted copies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parameters", default="{}", help="DuplicateParameters, as JSON")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
