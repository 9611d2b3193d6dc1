import io

import pandas as pd
import pytest
from PIL import Image

from fb_marketplace.evaluation.contact_sheet import GAP, SIDE
from fb_marketplace.evaluation.relevance import DESCRIPTIONS
from fb_marketplace.pipelines.indexing.figures import GRADE_COLORS, plot_hits

SHADES = {"found": "#0000ff", "missed": "#ff00ff", "partner": "#00ffff", "other": "#000080"}


def painted(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (256, 256), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def drawn(store_photos, measuring):
    """A sheet of a query whose partner came first and of one whose partner did not come at all."""
    images = store_photos({name: painted(shade) for name, shade in SHADES.items()})
    hits = pd.DataFrame(
        [
            ("found", 1, "partner", 0.9, 3),
            ("found", 2, "other", 0.5, 0),
            ("missed", 1, "other", 0.4, 1),
        ],
        columns=["image_id", "rank", "hit", "similarity", "grade"],
    )
    served = pd.DataFrame(
        [
            ("all_photos", query, f"same_product_recall_at_{depth}", value)
            for query, value in (("found", 1.0), ("missed", 0.0))
            for depth in (1, 10)
        ],
        columns=["gallery", "image_id", "measure", "value"],
    )
    sheet = plot_hits(hits, served, images, measuring)
    assert plot_hits(hits, served, images, measuring) == sheet
    return Image.open(io.BytesIO(sheet), formats=("PNG",)).convert("RGB")


def row_of(sheet, query):
    """Return the top of a query's row, in pixels."""
    column = [sheet.getpixel((GAP + SIDE // 2, y)) for y in range(sheet.height)]
    return next(y for y, seen in enumerate(column) if near(seen, SHADES[query]))


def near(seen, shade):
    expected = bytes.fromhex(shade[1:])
    return max(abs(one - other) for one, other in zip(seen, expected, strict=True)) < 12


def test_each_row_starts_with_its_query(drawn):
    assert row_of(drawn, "found") < row_of(drawn, "missed")
    left = [GAP + place * (SIDE + GAP) + SIDE // 2 for place in range(3)]
    middle = row_of(drawn, "found") + SIDE // 2
    visible = [drawn.getpixel((x, middle)) for x in left]
    assert all(
        near(seen, SHADES[name])
        for seen, name in zip(visible, ("found", "partner", "other"), strict=True)
    )


def test_frame_color_shows_the_grade(drawn):
    edge = GAP + (SIDE + GAP) - 2
    for query, grade in (("found", 3), ("missed", 1)):
        seen = drawn.getpixel((edge, row_of(drawn, query) + SIDE // 2))
        assert seen == tuple(bytes.fromhex(GRADE_COLORS[grade][1:]))


def test_each_grade_has_label_and_color():
    assert DESCRIPTIONS.keys() == GRADE_COLORS.keys()
    assert len(set(GRADE_COLORS.values())) == len(GRADE_COLORS)
