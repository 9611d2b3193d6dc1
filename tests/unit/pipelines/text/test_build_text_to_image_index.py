import numpy as np
import pytest
from safetensors.numpy import save
from support.builders.small_market import unit

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.text.build_text_to_image_index import (
    build_text_to_image_index,
    select_text_to_image_index,
)
from fb_marketplace.pipelines.text.cross_modal_projection import (
    Projection,
    l2_normalize,
    project,
)
from fb_marketplace.skipping import InsufficientDataError, Skipped
from fb_marketplace_serving.ann.index import Index

NAMES = [f"i{number:02}" for number in np.random.default_rng(0).permutation(20)]
OWNERS = [f"p{place % 7}" for place in range(len(NAMES))]
FEATURES, PHOTO, PICTURE = 6, 8, 4


@pytest.fixture
def projection():
    random = np.random.default_rng(1)
    shapes = ((FEATURES, PICTURE), (PICTURE,))
    return Projection(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


@pytest.fixture
def features():
    """Of the photos, and of others that are not indexed; of any length."""
    random = np.random.default_rng(2)
    names = sorted([*NAMES, "another", "i00 as well"])
    drawn = random.normal(size=(len(names), FEATURES)) * random.uniform(1, 9, (len(names), 1))
    return dict(zip(names, drawn.astype(np.float32), strict=True))


@pytest.fixture
def build(projection, store_file, store_features, indexing):
    """Builds the index beside one of photos, whose rows are in an order of their own."""
    photos = Index.build_flat(unit(np.random.default_rng(3), len(NAMES), PHOTO), NAMES, OWNERS)

    def build(features, values=indexing, dual=False):
        table = store_features(features)
        inputs = (table, store_file("projection", save(projection._asdict())), Skipped("null"))
        if dual:
            inputs = (Skipped("null"), Skipped("null"), table)
        selection = select_text_to_image_index(*inputs, values)
        ids = store_file("ids", photos.to_bytes()[1])
        return build_text_to_image_index(*inputs, ids, selection, values)

    return build


def test_rows_equal_those_of_image_index(build, features):
    built = build(features)

    index = Index.from_bytes(built.vectors, built.ids)
    assert list(index.image_ids) == NAMES
    assert list(index.product_ids) == OWNERS
    assert built.card["vectors"] == len(NAMES)


def test_rows_are_projected_features(build, features, projection):
    built = build(features)

    index = Index.from_bytes(built.vectors, built.ids)
    expected = project(projection, np.stack([features[name] for name in NAMES]))
    np.testing.assert_allclose(index.vectors(np.arange(len(NAMES))), expected, atol=1e-6)


def test_photo_without_features_is_rejected(build, features):
    lacking = {name: owner for name, owner in features.items() if name not in NAMES[3:5]}

    with pytest.raises(UserError, match=rf"\b2\b.*{NAMES[3]}.*--pipeline=vision"):
        build(lacking)


def test_rows_of_a_dual_encoder_are_not_projected(build, features):
    built = build(features, dual=True)

    index = Index.from_bytes(built.vectors, built.ids)
    assert list(index.image_ids) == NAMES
    expected = l2_normalize(np.stack([features[name] for name in NAMES]))
    np.testing.assert_allclose(index.vectors(np.arange(len(NAMES))), expected, atol=1e-6)


@pytest.mark.parametrize("missing", [0, 1])
def test_no_source_of_vectors_skips_the_index(store_features, store_file, indexing, missing):
    inputs = [store_features({"a": [1.0]}), store_file("projection", b""), Skipped("null")]
    inputs[missing] = Skipped("too few photos")

    with pytest.raises(InsufficientDataError, match="too few photos"):
        select_text_to_image_index(*inputs, indexing)
