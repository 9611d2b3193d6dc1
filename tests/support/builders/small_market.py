"""A synthetic marketplace of a few hundred listings with gaps, ties and copies, indexed for search."""

import math
from collections import Counter
from typing import NamedTuple

import lightgbm
import numpy as np

from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.search.bm25 import BM25Index
from fb_marketplace_serving.search.candidates import QueryVectors, SearchIndexes, collect_candidates
from fb_marketplace_serving.search.listings.filters import GeoFilter, SearchFilters
from fb_marketplace_serving.search.listings.listing import Listing
from fb_marketplace_serving.search.listings.listing_features import ListingFeatures
from fb_marketplace_serving.search.listings.listing_store import PRICE_BANDS, ListingStore
from fb_marketplace_serving.search.ranking.ranking_features import FEATURES, compute_features
from fb_marketplace_serving.search.tokenizer import terms

LABELS = ("Arts", "Home", "Sport")

PATHS = (
    "Arts",
    "Arts / Prints",
    "Arts / Prints / Maps",
    "Home / Chairs",
    "Home / Chairs / Oak",
    "Home / Chairs / Oak / Old",
    "Home / Chairs and tables",  # begins like another, and is not below it
    "Home / Lamps",
    "Sport / Bikes",
    "Sport / Bikes / Parts",
)

_WORDS = "oak pine table chair lamp bike red blue old garden desk map print wheel shade frame"
WORDS = tuple(_WORDS.split())

TEXT_SIZE, PHOTO_SIZE, PICTURE_SIZE = 12, 8, 5

PRICE_RATIO = FEATURES.index("price_ratio")


class Market(NamedTuple):
    """Listings by id, their texts, the listings with photos, and the search indexes."""

    listings: dict[str, Listing]
    texts: list[str]
    with_photos: frozenset[str]
    searched: SearchIndexes

    @property
    def catalogue(self):
        return self.searched.listings


def unit(random, count, size):
    """Directions: float32, (count, size), each of length one."""
    drawn = random.normal(size=(count, size))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def count_words(texts):
    """An index by which a term adds its share of a text's terms, and more the rarer it is."""
    values = [terms(text) for text in texts]
    vocabulary = sorted({term for item in values for term in item})
    starts, rows, scores = [0], [], []
    for term in vocabulary:
        holds = [row for row, item in enumerate(values) if term in item]
        rows += holds
        scores += [values[row].count(term) / len(values[row]) / len(holds) ** 0.5 for row in holds]
        starts.append(len(rows))
    return BM25Index(
        vocabulary,
        np.array(starts, np.int64),
        np.array(rows, np.int32),
        np.array(scores, np.float32),
        len(texts),
        # Every second text is a title: in a market of titles and descriptions not all terms are in titles.
        np.array([1 - row % 2 for row in rows], np.int8),
    )


def listing(product_id, price=None, path="Home", title="A chair", created_at=None):
    root = path.split(" / ")[0]
    return Listing(product_id, title, price, "GBP", root, path, None, None, created_at=created_at)


def facts(
    product_ids,
    families=None,
    places=None,
    description_words=None,
    photo_pixels=None,
    age_days=None,
):
    count = len(product_ids)
    latitude, longitude = np.reshape(places or [(np.nan, np.nan)] * count, (count, 2)).T.tolist()
    return ListingFeatures.from_columns(
        product_ids,
        families or product_ids,
        latitude,
        longitude,
        description_words or [0] * count,
        photo_pixels or [0] * count,
        age_days or [np.nan] * count,
    )


def make_market(count=300, seed=0):
    """Draw a market; its photos lie in an order of their own, and some are copies of others."""
    random = np.random.default_rng(seed)
    ids = [f"p{place:04}" for place in range(count)]
    prices = [None, 0.0, 10.0, 25.0, 99.99, *np.round(random.lognormal(4, 1.5, 60), 2).tolist()]
    texts = [" ".join(random.choice(WORDS, random.integers(1, 6))) for _ in ids]
    dates = [None, *range(1_640_995_200, 1_645_000_000, 86_400)]
    days = np.random.default_rng(seed).integers(len(dates), size=count).tolist()
    listings = {
        product: listing(
            product,
            prices[random.integers(len(prices))],
            PATHS[random.integers(len(PATHS))],
            text,
            dates[day],
        )
        for product, text, day in zip(ids, texts, days, strict=True)
    }
    places = np.column_stack([random.uniform(50, 58, count), random.uniform(-6, 2, count)])
    places[random.random(count) < 0.15] = np.nan
    known = facts(
        ids,
        [f"f{family}" for family in random.integers(0, count * 4 // 5, count)],
        places.tolist(),
        random.integers(0, 200, count).tolist(),
        random.integers(0, 10**7, count).tolist(),
        [np.nan if dates[day] is None else float(len(dates) - day) for day in days],
    )
    owners = random.permutation(np.repeat(ids, random.integers(0, 4, count))).tolist()
    photos = unit(random, len(owners), PHOTO_SIZE)
    copies = random.choice(len(owners), len(owners) // 10, replace=False)
    owner = random.choice(len(owners), len(copies))
    photos[copies] = photos[owner]
    index = Index.build_flat(photos, [f"i{row:04}" for row in range(len(owners))], owners)
    visible = unit(random, len(owners), PICTURE_SIZE)
    visible[copies] = visible[owner]
    pictures = Index.build_flat(visible, index.image_ids, index.product_ids)
    text_index = Index.build_flat(unit(random, count, TEXT_SIZE), ids, ids)
    catalogue = ListingStore(index, listings, known)
    searched = SearchIndexes(catalogue, index, pictures, text_index, count_words(texts))
    return Market(listings, texts, frozenset(owners), searched)


def draw_query(random, kind=None):
    """Draw a query of words, of a photo, or of both."""
    kind = kind or random.choice(["words", "photo", "both"])
    query = QueryVectors()
    if kind != "photo":
        query = query._replace(
            words=" ".join(random.choice(WORDS, random.integers(1, 4))),
            text_embedding=unit(random, 1, TEXT_SIZE)[0],
            text_to_image_embedding=unit(random, 1, PICTURE_SIZE)[0],
        )
    if kind != "words":
        query = query._replace(
            photo=unit(random, 1, PHOTO_SIZE)[0],
            photo_categories=random.dirichlet(np.ones(len(LABELS))).astype(np.float32),
        )
    return query


PREFIXES = tuple(
    sorted(
        {
            " / ".join(path.split(" / ")[:depth])
            for path in PATHS
            for depth in range(1, path.count(" / ") + 2)
        }
    )
)


def draw_filter(random):
    """Draw a filter: each of its parts is given or not, prices often those of listings."""

    def given(value):
        return value if random.random() < 0.5 else None

    bounds = sorted(random.choice([0.0, 10.0, 25.0, 50.0, 99.99, 100.0, 300.0], 2).tolist())
    near = GeoFilter(
        float(random.uniform(50, 58)), float(random.uniform(-6, 2)), given(random.uniform(20, 600))
    )
    return SearchFilters(
        categories=tuple(
            random.choice(PREFIXES, random.choice([0, 0, 1, 2]), replace=False).tolist()
        ),
        min_price=given(bounds[0]),
        max_price=given(bounds[1]),
        location=given(near),
        has_photo=given(bool(random.random() < 0.7)),
    )


def passes(market, pos, params):
    """Return whether a listing passes a filter, from the tables alone."""
    known = market.catalogue.features
    visible = market.listings[known.product_ids[pos]]
    path = visible.category_path.split(" / ")
    beginnings = [item.split(" / ") for item in params.categories]
    if beginnings and not any(path[: len(item)] == item for item in beginnings):
        return False
    for bound, sign in ((params.min_price, 1), (params.max_price, -1)):
        if bound is not None and (visible.price is None or sign * visible.price < sign * bound):
            return False
    if params.location is not None and params.location.radius_km is not None:
        place = known.latitude[pos], known.longitude[pos]
        if (
            math.isnan(place[0])
            or distance_km(params.location[:2], place) > params.location.radius_km
        ):
            return False
    has_photo = visible.product_id in market.with_photos
    return params.has_photo is None or params.has_photo == has_photo


def distance_km(one, other):
    """Kilometres, by the spherical law of cosines."""
    (north, east), (to_north, to_east) = np.radians(one), np.radians(other)
    cosine = math.sin(north) * math.sin(to_north)
    cosine += math.cos(north) * math.cos(to_north) * math.cos(to_east - east)
    return 6371.0088 * math.acos(min(1.0, cosine))


def roots_of(market, positions):
    """Count listings by root category, from the tables alone."""
    visible = list(market.listings.values())
    return dict(Counter(visible[pos].category_path.split(" / ")[0] for pos in positions))


def bands_of(market, positions):
    """Count listings by price band, from the tables alone."""
    visible = list(market.listings.values())
    prices = [visible[pos].price for pos in positions if visible[pos].price is not None]
    return [
        sum(low <= price < high for price in prices)
        for low, high in zip(PRICE_BANDS, (*PRICE_BANDS[1:], math.inf), strict=True)
    ]


def train_ranker(market, searches=60, seed=0):
    """A ranker of few trees, as LightGBM writes it, learned from grades that are drawn about a rule."""
    random = np.random.default_rng(seed)
    features, grades, sizes = [], [], []
    for _ in range(searches):
        query = draw_query(random)
        near = draw_filter(random).location
        pool = collect_candidates(market.searched, query, top_k=40)
        features.append(compute_features(pool, query, market.catalogue, LABELS, near))
        worth = pool.fused / pool.fused.max() + np.nan_to_num(features[-1][:, PRICE_RATIO]) / 5
        grades.append(np.clip(np.round(3 * worth + random.normal(size=len(pool)) / 2), 0, 3))
        sizes.append(len(pool))
    data = lightgbm.Dataset(
        np.concatenate(features), np.concatenate(grades), group=sizes, feature_name=list(FEATURES)
    )
    values = {"objective": "lambdarank", "num_leaves": 7, "num_threads": 1, "verbose": -1}
    booster = lightgbm.train(values | {"min_data_in_leaf": 5, "seed": seed}, data, 25)
    return booster.model_to_string().encode()
