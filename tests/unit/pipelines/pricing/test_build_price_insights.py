import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from fb_marketplace.parameters.pricing import PricingParameters
from fb_marketplace.pipelines.pricing.build_price_insights import build_price_insights
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.search.listings.listing_features import COLUMNS
from fb_marketplace_serving.search.listings.price_insights import PriceInsightTable

TOLD = {
    "coverage": 0.8,
    "neighbors": (5, 8),
    "temperature": 0.1,
    "same_path_bonus": 0.05,
    "min_similarity": 0.5,
    "min_neighbors": 3,
    "min_spread": 0.05,
    "max_evidence": 5,
    "outlier_factor": 2.0,
    "max_photo_matches": 3,
    "bootstrap_samples": 20,
    "confidence": 0.95,
    "seed": 0,
}
KINDS = {"chair": (0, 40.0), "piano": (90, 900.0)}
"""By what is listed: where its text lies on a circle, in degrees, and about what it costs."""


class Market:
    """Sixty chairs and sixty pianos, each with a photo of its own, in one category."""

    def __init__(self, folder):
        self.folder = folder
        random = np.random.default_rng(0)
        rows = []
        for place in range(120):
            kind = ("chair", "piano")[place % 2]
            angle, price = KINDS[kind]
            rows.append(
                {
                    "product_id": f"p{place:03}",
                    "title": f"A {kind}",
                    "price": round(price * random.uniform(0.8, 1.25)),
                    "currency": "GBP",
                    "price_flag": None,
                    "category": "Home",
                    "category_path": f"Home / {kind}",
                    "town": "Leeds",
                    "angle": angle + random.uniform(-5, 5),
                    "family": f"f{place}",
                    "split": ("train", "train", "validation", "test")[place // 2 % 4],
                }
            )
        self.products = pd.DataFrame(rows).set_index("product_id")
        self.copies = []

    def set(self, product, **values):
        for name, value in values.items():
            self.products.loc[product, name] = value

    def table(self, name, rows, schema):
        url = str(self.folder / f"{name}.lance")
        keyed_table.ensure_table(url, schema)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=schema))
        return keyed_table.open_table(url)

    def made(self, **values):
        products = self.products.reset_index()
        ids = products["product_id"]
        # As it comes: in no order.
        shuffled = np.random.default_rng(1).permutation(len(ids))
        text = pa.schema(
            [
                pa.field("key", pa.string(), nullable=False),
                ("product_id", pa.string()),
                ("embedding", pa.list_(pa.float32())),
            ]
        )
        texts = [
            {
                "key": ids[row],
                "product_id": ids[row],
                "embedding": [np.cos(angle), np.sin(angle)],
            }
            for row in shuffled
            for angle in [np.radians(products["angle"][row])]
        ]
        photo = pa.schema(
            [
                pa.field(name, pa.string(), nullable=False)
                for name in ("key", "image_id", "source_sha256", "sha256")
            ]
        )
        photos = [dict.fromkeys(photo.names, f"{product}.1") for product in ids]
        facts = self.folder / "facts.parquet"
        buffer = io.BytesIO()
        columns = [
            ids,
            products["family"],
            *np.zeros((len(COLUMNS) - 3, len(ids))),
            [""] * len(ids),
        ]
        pq.write_table(pa.table(dict(zip(COLUMNS, columns, strict=True))), buffer)
        facts.write_bytes(buffer.getvalue())
        images = [photo["image_id"] for photo in photos]
        build_table = build_price_insights(
            products.iloc[shuffled].drop(columns=["angle", "family", "split"]),
            pd.DataFrame(
                {
                    "image_id": images,
                    "product_id": ids,
                    "group": products["family"],
                    "split": products["split"],
                }
            ),
            self.table("texts", texts, text),
            FileRef(str(facts)),
            self.table("images", photos, photo),
            pd.DataFrame({"image_id": images, "product_id": ids}),
            pd.DataFrame(self.copies, columns=["image_id", "group", "kind"]).astype("str"),
            PricingParameters(**TOLD | values),
        )
        json.dumps(build_table.metrics, allow_nan=False)
        self.written = build_table.insights
        return PriceInsightTable.from_bytes(build_table.insights), build_table.metrics


@pytest.fixture
def market(tmp_path):
    return Market(tmp_path)


def test_each_listing_has_comparable_prices(market):
    notes, metrics = market.made()

    assert len(notes) == 120
    for product in market.products.index:
        (low, high), kind = notes.get(product).price_range, market.products["title"][product]
        assert (20 < low < high < 80) if kind == "A chair" else (450 < low < high < 1800)
    assert metrics["listings"] == metrics["with_typical_price"] == 120
    assert metrics["intervals"]["comparable_listings"]["test"]["coverage"]["cases"] == 30
    assert metrics["narrower"]["test"]["low"] > 0


def test_comparable_listings_are_of_the_same_kind(market):
    notes, _ = market.made()

    for product, kind in market.products["title"].items():
        similar = notes.get(product).comparables
        assert len(similar) == 5
        assert product not in similar
        assert {market.products["title"][other] for other in similar} == {kind}


def test_usual_prices_have_no_insight(market):
    notes, metrics = market.made()

    assert not any(notes.get(product).insights for product in market.products.index)
    assert {item["insights"] for item in metrics["insights"].values()} == {0}


def test_price_outside_interval_has_comparable_listings(market):
    market.set("p004", price=500.0)

    notes, metrics = market.made()

    result = notes.get("p004")
    (note,) = result.insights
    assert note.kind == "unusual_price"
    assert (note.evidence.low, note.evidence.high) == result.price_range
    assert note.evidence.listings in TOLD["neighbors"]
    assert set(note.evidence.comparables) <= set(market.products.index)
    assert note.text.endswith("this one costs £500.")
    assert metrics["insights"]["unusual_price"] == {"insights": 1, "listings": 1}


def test_own_family_is_never_comparable(market):
    # Nearest of all to one another, and at a price of their own.
    own = [f"p{place:03}" for place in range(0, 24, 2)]
    for product in own:
        market.set(product, family="own", angle=0.0, price=5000.0)

    notes, _ = market.made()

    for product in own:
        assert not set(notes.get(product).comparables) & set(own)
        assert notes.get(product).price_range[1] < 200


@pytest.mark.parametrize("flag", ["missing", "zero", "joke", "absurd"])
def test_implausible_price_is_never_comparable(market, flag):
    for place in range(0, 24, 2):
        price = {"missing": np.nan, "zero": 0.0}.get(flag, 99999.0)
        market.set(f"p{place:03}", price_flag=flag, price=price, angle=0.0)

    notes, metrics = market.made()

    flagged = {f"p{place:03}" for place in range(0, 24, 2)}
    for product in market.products.index:
        assert not set(notes.get(product).comparables) & flagged
    assert all(notes.get(product) == notes.get("p000") for product in flagged)
    assert notes.get("p000") == (None, (), ())
    assert notes.get("p030").price_range[1] < 80
    assert metrics["with_unflagged_price"] == 108


def test_shared_photo_and_unusual_price_are_both_reported(market):
    market.set("p004", price=500.0, town="York")
    market.copies = [("p004.1", "g", "near"), ("p006.1", "g", "near")]

    notes, metrics = market.made()

    assert [note.kind for note in notes.get("p004").insights] == [
        "unusual_price",
        "photo_elsewhere",
    ]
    (note,) = notes.get("p006").insights
    assert note.evidence[:3] == ("p004", "p006.1", "p004.1")
    assert metrics["insights"]["photo_elsewhere"] == {"insights": 2, "listings": 2}


def test_missing_price_never_differs(market):
    market.set("p004", price=np.nan, price_flag="missing")
    market.copies = [("p004.1", "g", "near"), ("p006.1", "g", "near")]

    notes, _ = market.made()

    assert notes.get("p004").insights == notes.get("p006").insights == ()


def test_listing_without_comparables_has_no_insight(market):
    market.set("p004", angle=225.0)

    notes, metrics = market.made()

    assert notes.get("p004") == (None, (), ())
    assert metrics["with_typical_price"] == 119


def test_market_without_comparables_has_no_insights(market):
    with pytest.raises(InsufficientDataError, match="comparable"):
        market.made(min_similarity=1.0, same_path_bonus=0.0)


def test_build_is_deterministic(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one, other = (Market(tmp_path / name) for name in ("one", "other"))

    assert one.made()[1] == other.made()[1]
    assert one.written == other.written


def test_too_few_neighbors_are_rejected():
    with pytest.raises(ValidationError, match="at least min_neighbors, 6"):
        PricingParameters(**TOLD | {"min_neighbors": 6})
