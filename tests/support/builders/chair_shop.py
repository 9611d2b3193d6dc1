"""A marketplace of 24 chairs in three colours, published as a release in a folder."""

import io
from pathlib import Path

import pyarrow as pa
from PIL import Image
from support.builders.small_release import make_release

from fb_marketplace_serving.imaging.canonical import canonicalize
from fb_marketplace_serving.release.pointer import publish
from fb_marketplace_serving.storage.lake import Lake

KEY = "key-of-a-shop-assistant"
MAX_UPLOAD_BYTES = 500_000
LABELS = ("Reds", "Greens", "Blues")
TOWNS = ("Leeds", "York", "Bath")
SHADES = 8
DAY = 86_400
NEWEST = 1_645_833_600
SECOND_PHOTO = "img-Reds-0/back"
"""Another photo of the first red chair, if the release is searchable by words."""
DESCRIPTION = "A <b>sturdy</b> chair.\nCollection only."
MARKUP = "<i>Red</i> chair & table"
PLAIN = {
    "product_id": "prd-Plain",
    "title": "Old oak table",
    "price": 20.0,
    "currency": "GBP",
    "category": "Blues",
    "category_path": "Blues / Tables",
    "town": "Hull",
    "county": None,
    "price_flag": None,
    "created_at": 1_640_995_200,
}
"""A listing without a photo."""


def photo(hue: int, shade: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    """Paint a JPEG of one colour: 0 is red, 1 green, 2 blue; a higher shade is greyer."""
    colour = [20 + 14 * shade] * 3
    colour[hue] = 240 - 10 * shade
    buffer = io.BytesIO()
    Image.new("RGB", size, tuple(colour)).save(buffer, "JPEG")
    return buffer.getvalue()


def publish_marketplace(
    lake: Path, encoder: bytes, *, searchable: bool = False, stools: int = 0
) -> None:
    """Publish a release whose chairs cost 0, 10, …, 60 pounds, and the greyest nothing said.

    Where it is searchable by words too, the second green chair is the first one listed again, and a
    table has no photo. More listings without a photo are oak stools.
    """
    chairs = [(hue, shade) for hue in range(len(LABELS)) for shade in range(SHADES)]
    image_ids = [f"img-{LABELS[hue]}-{shade}" for hue, shade in chairs]
    product_ids = [f"prd-{LABELS[hue]}-{shade}" for hue, shade in chairs]
    canonical = [canonicalize(photo(hue, shade)) for hue, shade in chairs]
    categories = [LABELS[hue] for hue, _ in chairs]
    titles = [f"{LABELS[hue][:-1]} chair {shade}" for hue, shade in chairs]
    titles[1] = MARKUP
    listings = {
        "product_id": product_ids,
        "title": titles,
        "price": pa.array([10.0 * s if s < SHADES - 1 else None for _, s in chairs], pa.float64()),
        "currency": ["GBP"] * len(chairs),
        "category": categories,
        "category_path": [
            f"{LABELS[hue]} / {'Chairs' if shade < SHADES - 2 else 'Stools'}"
            for hue, shade in chairs
        ],
        "town": pa.array(
            [TOWNS[hue] if shade != 2 else None for hue, shade in chairs], pa.string()
        ),
        "county": pa.array([None] * len(chairs), pa.string()),
        "price_flag": pa.array([None] * len(chairs), pa.string()),
        "created_at": pa.array(
            [NEWEST - (7 * n % 31) * DAY for n in range(len(chairs))], pa.int64()
        ),
    }
    table = pa.table(listings)
    photos = dict(zip(image_ids, canonical, strict=True))
    if searchable:
        others = [
            PLAIN | {"product_id": f"prd-Stool-{number}", "title": f"Oak stool {number}"}
            for number in range(stools)
        ]
        table = pa.concat_tables([table, pa.Table.from_pylist([PLAIN, *others], table.schema)])
        photos[SECOND_PHOTO] = canonicalize(photo(0, size=(240, 320)))
        same = {"prd-Greens-1": "prd-Greens-0"}
        manifest = make_release(
            lake,
            encoder,
            photos,
            table,
            LABELS,
            of=[*product_ids, product_ids[0]],
            searchable=True,
            same=same,
            displays={image_ids[0]: photo(0, size=(1024, 768))},
            descriptions={product_ids[0]: DESCRIPTION},
        )
    else:
        manifest = make_release(lake, encoder, photos, table, LABELS)
    publish(Lake(str(lake)), manifest)
