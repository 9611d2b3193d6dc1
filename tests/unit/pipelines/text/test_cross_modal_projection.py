import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load

from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.pipelines.text import cross_modal_projection
from fb_marketplace.pipelines.text.cross_modal_projection import (
    Pairs,
    Projection,
    compute_moments,
    find_photos,
    fit_projections,
    project,
    project_photos,
    train_projection,
)
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.vectors import StoredVectors
from fb_marketplace_serving.encoders.text import TextEncoder

THINGS = (
    *("oak table", "red lamp", "mountain bike", "leather sofa", "garden spade", "wool jumper"),
    *("steel kettle", "toy train", "silver ring", "piano stool", "tennis racket", "road map"),
)
SIZE = 16


def projection(random, size=6, output=4):
    return Projection(
        random.normal(size=(size, output)).astype(np.float32),
        random.normal(size=output).astype(np.float32),
    )


@pytest.fixture(scope="module")
def files(random_sentence_encoder, tmp_path_factory):
    """The encoder of texts, and its tokenizer, as files."""
    folder = tmp_path_factory.mktemp("encoder")
    for name, data in random_sentence_encoder._asdict().items():
        (folder / name).write_bytes(data)
    return FileRef(str(folder / "onnx")), FileRef(str(folder / "tokenizer"))


@pytest.fixture
def encoder(files):
    return TextEncoder.from_bytes(*(file.read() for file in files))


@pytest.fixture
def market(encoder, store_text_embeddings, store_features):
    """Stores listings of a few things, with photos near a place of each thing.

    Returns text embeddings, features, listings and splits.
    """

    def make(sides=("train", "train", "validation"), scale=1.0, shift=0.0):
        random = np.random.default_rng(0)
        places = np.eye(len(THINGS), SIZE)
        titles, splits, features = {}, [], {}
        for number in range(len(THINGS) * 6):
            thing, name = number % len(THINGS), f"p{number:02}"
            titles[name] = f"{THINGS[thing]} no {number}"
            side = sides[number // len(THINGS) % len(sides)]
            for image in (f"{name}-{photo}" for photo in range(1 + number % 2)):
                place = places[thing] + random.normal(size=SIZE) / 20
                features[image] = place * scale + shift
                splits.append((image, name, name, side))
        vectors = encoder.encode([f"{title}. As new." for title in titles.values()]).text_embedding
        kind = f"{scale} {shift}"
        return (
            store_text_embeddings(dict(zip(titles, vectors, strict=True)), f"texts of {kind}"),
            store_features(dict(reversed(features.items())), f"features of {kind}"),
            pd.DataFrame(titles.items(), columns=["product_id", "title"]),
            pd.DataFrame(splits, columns=["image_id", "product_id", "group", "split"]),
        )

    return make


def read(trained):
    """Both maps: of texts, and of photos."""
    return Projection(**load(trained.text_projection)), Projection(**load(trained.photo_projection))


def nearest_things(trained, encoder):
    """The thing with the photo that is nearest to the name of each thing."""
    text_map, photo_map = read(trained)
    texts = project(text_map, encoder.encode(list(THINGS)).text_embedding)
    places = np.eye(len(THINGS), SIZE, dtype=np.float32)
    return (texts @ project(photo_map, places).T).argmax(axis=1)


def test_titles_are_near_photos_of_their_objects(files, encoder, market, projecting):
    trained = train_projection(*files, *market(), projecting)

    text_map, photo_map = read(trained)
    assert text_map.weight.shape[1] == photo_map.weight.shape[1] == projecting.dimension
    assert np.mean(nearest_things(trained, encoder) == np.arange(len(THINGS))) > 0.8


def test_best_ridges_on_validation_are_selected(files, encoder, market, projecting):
    texts, features, products, splits = market()
    values = projecting.model_copy(
        update={"photo_ridge": (1e4, 0.01), "text_ridge": (1e4, 0.01), "dimension": 4}
    )

    trained = train_projection(*files, texts, features, products, splits, values)

    ridges = trained.ridges
    assert ridges[["photo_ridge", "text_ridge"]].to_numpy().tolist() == [
        *([1e4, 1e4], [1e4, 0.01]),
        *([0.01, 1e4], [0.01, 0.01]),
    ]
    assert ridges["recall_at_10"].min() < ridges["recall_at_10"].max()
    present = splits[splits["split"] == "validation"].sort_values(["product_id", "image_id"])
    names, own = present["product_id"].unique(), present["product_id"].to_numpy()
    titles = encoder.encode(products.set_index("product_id")["title"].loc[names].tolist())
    text_map, photo_map = read(trained)
    photos = StoredVectors(features, "image_id", "features")
    projected = project(photo_map, photos.select(present["image_id"].tolist()))
    similar = project(text_map, titles.text_embedding) @ projected.T
    first = np.argsort(-similar, axis=1)[:, :10]
    recall = np.mean([name in own[rows] for name, rows in zip(names, first, strict=True)])
    assert recall == pytest.approx(ridges["recall_at_10"].max())


def test_largest_ridges_are_selected_if_all_are_equal(files, market, projecting):
    values = projecting.model_copy(
        update={"photo_ridge": (0.01, 0.02, 0.04), "text_ridge": (0.01, 0.02)}
    )
    texts, features, products, splits = market()
    few = splits[splits["split"] == "train"]
    few = pd.concat([few, splits[splits["split"] == "validation"].head(2)])

    trained = train_projection(*files, texts, features, products, few, values)

    one_pair = values.model_copy(update={"photo_ridge": (0.04,), "text_ridge": (0.02,)})
    largest = train_projection(*files, texts, features, products, few, one_pair)
    assert set(trained.ridges["recall_at_10"]) == {1.0}
    assert trained.photo_projection == largest.photo_projection


def test_feature_that_hardly_varies_does_not_decide():
    pairs = Pairs(
        np.zeros((7, 3, 4), np.float32), [str(number) for number in range(7)], np.arange(8)
    )
    matrix = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    matrix[:, 0] = [3e-4, 0, 0, 0, 0, 0, 0]

    class Photos:
        def select(self, ids):
            return matrix[[int(name) for name in ids]]

    moments = compute_moments(pairs, Photos(), 0.5)

    assert moments.photo_scale[0] == pytest.approx(0.01 * np.median(moments.photo_scale))


def test_scale_and_shift_of_features_do_not_matter(files, market, projecting):
    one, other = (
        train_projection(*files, *market(scale=scale, shift=shift), projecting)
        for scale, shift in ((1.0, 0.0), (8.0, 100.0))
    )

    pd.testing.assert_frame_equal(one.ridges, other.ridges)
    weight, same = read(one)[1].weight, read(other)[1].weight * 8
    np.testing.assert_allclose(np.abs(weight), np.abs(same), atol=1e-2 * np.abs(weight).max())


def test_training_is_deterministic(files, market, projecting):
    stored = market()

    one, same = (train_projection(*files, *stored, projecting) for _ in range(2))

    assert one[:2] == same[:2]
    pd.testing.assert_frame_equal(one.ridges, same.ridges)


def test_training_listings_are_limited(files, market, projecting):
    *tables, products, splits = market()
    values = projecting.model_copy(update={"max_listings": 5})
    ids = splits[splits["split"] == "train"]["product_id"].drop_duplicates().sort_values()
    few = ids.iloc[sample_rows(ids.tolist(), 5, projecting.seed)]
    validation = splits[splits["split"] == "validation"]["product_id"]

    limited = train_projection(*files, *tables, products, splits, values)

    present = splits[splits["product_id"].isin({*few, *validation})]
    alone = train_projection(*files, *tables, products, present, values)
    assert limited[:2] == alone[:2]


def test_listings_that_are_all_alike_give_finite_maps(files, market, projecting):
    *tables, products, splits = market()
    products["title"] = "oak table"
    photo = splits["split"].eq("train").idxmax()
    present = splits[(splits.index == photo) | (splits["split"] == "validation")]

    trained = train_projection(*files, *tables, products, present, projecting)

    assert all(np.isfinite(array).all() for item in read(trained) for array in item)


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_split_without_photos_is_rejected(files, market, projecting, missing):
    *tables, products, splits = market()
    present = splits[splits["split"] != missing]

    with pytest.raises(InsufficientDataError, match=rf"\b{missing}\b"):
        train_projection(*files, *tables, products, present, projecting)


def test_moments_are_those_of_all_pairs_in_any_batches(market, monkeypatch):
    _, features, _, splits = market(shift=30.0)
    photos = splits.sort_values(["product_id", "image_id"])
    counts = photos.groupby("product_id").size().to_numpy()
    texts = np.random.default_rng(3).normal(size=(len(counts), 3, 5)).astype(np.float32)
    pairs = Pairs(texts, photos["image_id"].tolist(), np.concatenate([[0], np.cumsum(counts)]))
    stored_features = StoredVectors(features, "image_id", "features")
    monkeypatch.setattr(cross_modal_projection, "PHOTOS_PER_BATCH", 7)

    moments = compute_moments(pairs, stored_features, 0.5)

    listing = np.repeat(np.arange(len(counts)), counts)
    photo_map = np.repeat(stored_features.select(pairs.image_ids).astype(float), 4, axis=0)
    # The title counts twice.
    text_map = texts[listing][:, [0, 0, 1, 2]].reshape(-1, 5).astype(float)
    scaled = (photo_map - photo_map.mean(axis=0)) / photo_map.std(axis=0)
    centred = text_map - text_map.mean(axis=0)
    np.testing.assert_allclose(moments.photo_mean, photo_map.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(moments.photos, scaled.T @ scaled / len(scaled), atol=1e-4)
    np.testing.assert_allclose(moments.texts, centred.T @ centred / len(scaled), atol=1e-6)
    np.testing.assert_allclose(moments.both, scaled.T @ centred / len(scaled), atol=1e-5)


def test_directions_are_canonical_correlations(market, projecting):
    random = np.random.default_rng(4)
    hidden = random.normal(size=(2000, 3))
    photos = hidden @ random.normal(size=(3, 8)) + random.normal(size=(2000, 8))
    texts = hidden @ random.normal(size=(3, 6)) + random.normal(size=(2000, 6))

    class Photos:
        """Features in memory."""

        def select(self, ids):
            return photos[[int(name) for name in ids]].astype(np.float32)

    names = [str(number) for number in range(2000)]
    forms = np.repeat(texts[:, np.newaxis].astype(np.float32), 3, axis=1)
    pairs = Pairs(forms, names, np.arange(2001))
    values = projecting.model_copy(
        update={
            "photo_ridge": (1e-9,),
            "text_ridge": (1e-9,),
            "dimension": 3,
            "correlation_power": 0.0,
        }
    )

    ((_, text_map, photo_map),) = fit_projections(compute_moments(pairs, Photos(), 0.5), values)

    one, other = (
        vectors.astype(np.float32) @ item.weight + item.bias
        for vectors, item in ((texts, text_map), (photos, photo_map))
    )
    bases = [np.linalg.qr(part - part.mean(axis=0))[0] for part in (texts, photos)]
    expected = np.linalg.svd(bases[0].T @ bases[1])[1][:3]
    covariance = one.T @ other / 2000
    np.testing.assert_allclose(covariance, np.diag(expected), atol=1e-3)
    np.testing.assert_allclose(one.T @ one / 2000, np.eye(3), atol=1e-3)


def test_projections_have_unit_length():
    random = np.random.default_rng(0)

    put = project(projection(random), random.normal(size=(20, 6)).astype(np.float32))

    assert put.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(put, axis=1), 1, atol=1e-6)


def test_photos_are_projected_in_batches(market, monkeypatch):
    _, features, _, splits = market()
    stored_features = StoredVectors(features, "image_id", "features")
    names = splits["image_id"].tolist()
    item = projection(np.random.default_rng(5), SIZE)
    monkeypatch.setattr(cross_modal_projection, "PHOTOS_PER_BATCH", 7)

    put = project_photos(stored_features, names, item)

    np.testing.assert_allclose(put, project(item, stored_features.select(names)), atol=1e-6)


def test_title_is_found_by_photo_of_its_listing_in_top_10():
    random = np.random.default_rng(1)
    counts = random.integers(1, 4, 30)
    starts = np.concatenate([[0], np.cumsum(counts)])
    photos = random.normal(size=(starts[-1], 7)).astype(np.float32)
    texts = random.normal(size=(30, 7)).astype(np.float32)
    pairs = Pairs(np.empty((30, 3, 6), np.float32), [""] * len(photos), starts)

    similar = texts @ photos.T
    expected = [
        bool(set(np.argsort(-similar[row])[:10]) & set(range(starts[row], starts[row + 1])))
        for row in range(30)
    ]

    assert 0 < sum(expected) < 30
    assert find_photos(texts, photos, pairs).tolist() == expected


def test_fewer_than_ten_photos_are_all_found():
    random = np.random.default_rng(2)
    photos = random.normal(size=(3, 7)).astype(np.float32)
    texts = random.normal(size=(3, 7)).astype(np.float32)
    pairs = Pairs(np.empty((3, 3, 6), np.float32), [""] * 3, np.arange(4))

    assert find_photos(texts, photos, pairs).all()


def test_memory_of_projection_does_not_grow_with_photos(market, files, projecting, monkeypatch):
    texts, features, products, splits = market()
    sizes, read = [], StoredVectors.select

    def record(vectors, ids):
        sizes.append(len(ids))
        return read(vectors, ids)

    monkeypatch.setattr(StoredVectors, "select", record)
    monkeypatch.setattr(cross_modal_projection, "PHOTOS_PER_BATCH", 5)

    train_projection(*files, texts, features, products, splits, projecting)

    assert (splits["split"] == "validation").sum() > 5
    assert max(sizes) == 5
