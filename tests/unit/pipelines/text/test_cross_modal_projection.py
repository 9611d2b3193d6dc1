import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load

from fb_marketplace.evaluation.sampling import sample_rows
from fb_marketplace.pipelines.text.cross_modal_projection import (
    Layers,
    Pairs,
    project,
    recall_at_10,
    train_projection,
)
from fb_marketplace.skipping import InsufficientDataError
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.encoders.text import TextEncoder

THINGS = (
    *("oak table", "red lamp", "mountain bike", "leather sofa", "garden spade", "wool jumper"),
    *("steel kettle", "toy train", "silver ring", "piano stool", "tennis racket", "road map"),
)
SIZE = 16


def layers(random, size=6, hidden=5, output=4):
    shapes = ((size, hidden), (hidden,), (hidden, output), (output,))
    return Layers(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


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
    """Stores listings of a few things, the photos of which lie about a place of each thing's own.

    Gives what texts mean, features of photos, of no particular length, listings and splits.
    """

    def make(sides=("train", "train", "validation"), group=None):
        random = np.random.default_rng(0)
        places = np.eye(len(THINGS), SIZE)
        titles, splits, features = {}, [], {}
        for number in range(len(THINGS) * 6):
            thing, name = number % len(THINGS), f"p{number:02}"
            titles[name] = f"{THINGS[thing]} no {number}"
            side = sides[number // len(THINGS) % len(sides)]
            for image in (f"{name}-{photo}" for photo in range(1 + number % 2)):
                features[image] = (places[thing] + random.normal(size=SIZE) / 20) * (number + 1)
                splits.append((image, name, group or name, side))
        vectors = encoder.encode([f"{title}. As new." for title in titles.values()]).text_embedding
        return (
            store_text_embeddings(dict(zip(titles, vectors, strict=True)), f"texts of {group}"),
            store_features(dict(reversed(features.items())), f"features of {group}"),
            pd.DataFrame(titles.items(), columns=["product_id", "title"]),
            pd.DataFrame(splits, columns=["image_id", "product_id", "group", "split"]),
        )

    return make


def read(learned):
    """The networks that were learned: of texts, and of photos."""
    return Layers(**load(learned.text_projection)), Layers(**load(learned.photo_projection))


def test_titles_are_near_photos_of_their_objects(files, encoder, market, projecting):
    learned = train_projection(*files, *market(), projecting)

    history = learned.history
    assert history["epoch"].tolist() == list(range(1, projecting.epochs + 1))
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] / 2
    of_text, of_photo = read(learned)
    put = project(of_text, encoder.encode(list(THINGS)).text_embedding)
    visible = project(of_photo, np.eye(len(THINGS), SIZE, dtype=np.float32))
    assert put.shape == visible.shape == (len(THINGS), projecting.dimension)
    assert np.mean((put @ visible.T).argmax(axis=1) == np.arange(len(THINGS))) > 0.8


def test_best_epoch_is_kept(files, encoder, market, projecting):
    texts, table, products, splits = market()
    # Titles that say nothing: what is learned of some is not so of others, and more is found by chance.
    products["title"] = products["title"].sample(frac=1, random_state=0).to_numpy()
    unsteady = projecting.model_copy(update={"epochs": 8, "learning_rate": 0.2})
    present = splits[splits["split"] == "validation"].sort_values(["product_id", "image_id"])
    names, own = present["product_id"].unique(), present["product_id"].to_numpy()
    titles = encoder.encode(
        products.set_index("product_id")["title"].loc[names].tolist()
    ).text_embedding
    ids = table.read(["image_id"]).column("image_id").to_pylist()
    photos = table.vectors([ids.index(image) for image in present["image_id"]], "features")
    photos /= np.linalg.norm(photos, axis=1, keepdims=True)

    learned = train_projection(*files, texts, table, products, splits, unsteady)

    of_text, of_photo = read(learned)
    similar = project(of_text, titles) @ project(of_photo, photos).T
    first = np.argsort(-similar, axis=1)[:, :10]
    recall = np.mean([name in own[places] for name, places in zip(names, first, strict=True)])
    history = learned.history["recall_at_10"]
    assert recall == pytest.approx(history.max())
    assert history.iloc[-1] < history.max()  # or this would show nothing


def test_feature_norm_does_not_matter(files, market, projecting, store_features):
    texts, table, products, splits = market()
    values = projecting.model_copy(update={"epochs": 1})
    names = table.read(["image_id"]).column("image_id").to_pylist()
    longer = table.vectors(range(len(names)), "features") * 8
    other = store_features(dict(zip(names, longer, strict=True)), "longer")

    one, same = (
        train_projection(*files, texts, item, products, splits, values) for item in (table, other)
    )

    for result, expected in zip(read(one), read(same), strict=True):
        np.testing.assert_allclose(
            np.concatenate(result, axis=None), np.concatenate(expected, None)
        )


def test_training_is_deterministic_for_a_seed(files, market, projecting):
    values = projecting.model_copy(update={"epochs": 2})
    stored = market()

    one, same = (train_projection(*files, *stored, values) for _ in range(2))

    assert one[:2] == same[:2]
    pd.testing.assert_frame_equal(one.history, same.history)
    other = train_projection(*files, *stored, values.model_copy(update={"seed": 1}))
    assert other.text_projection != one.text_projection
    assert other.photo_projection != one.photo_projection


def test_group_members_are_no_negatives(files, market, projecting):
    values = projecting.model_copy(update={"epochs": 1})

    learned = train_projection(*files, *market(group="one"), values)

    assert learned.history["loss"].tolist() == [0.0]


def test_training_listings_are_limited(files, market, projecting):
    texts, table, products, splits = market()
    values = projecting.model_copy(update={"max_listings": 5, "epochs": 1})
    ids = splits[splits["split"] == "train"]["product_id"].drop_duplicates().sort_values()
    few = ids.iloc[sample_rows(ids.tolist(), 5, projecting.seed)]
    validation = splits[splits["split"] == "validation"]["product_id"]
    some = sorted({*few, *validation.drop_duplicates().sort_values()[:5]})

    limited = train_projection(*files, texts, table, products, splits, values)

    present = splits[splits["product_id"].isin(some)]
    alone = train_projection(*files, texts, table, products, present, values)
    assert limited[:2] == alone[:2]


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_split_without_photos_is_rejected(files, market, projecting, missing):
    texts, table, products, splits = market()
    present = splits[splits["split"] != missing]

    with pytest.raises(InsufficientDataError, match=rf"\b{missing}\b"):
        train_projection(*files, texts, table, products, present, projecting)


def test_projections_have_unit_length():
    random = np.random.default_rng(0)

    put = project(layers(random), random.normal(size=(20, 6)).astype(np.float32))

    assert put.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(put, axis=1), 1, atol=1e-6)


def test_recall_is_share_of_titles_with_photo_in_top_10():
    random = np.random.default_rng(1)
    counts = random.integers(1, 4, 30)
    starts = np.concatenate([[0], np.cumsum(counts)])
    photos = random.normal(size=(starts[-1], 7)).astype(np.float32)
    pairs = Pairs(random.normal(size=(30, 3, 6)).astype(np.float32), photos, starts, np.arange(30))
    of_text, of_photo = layers(random), layers(random, size=7)

    similar = project(of_text, pairs.texts[:, 0]) @ project(of_photo, photos).T
    hits = [
        set(np.argsort(-similar[pos])[:10]) & set(range(starts[pos], starts[pos + 1]))
        for pos in range(30)
    ]

    assert 0 < recall_at_10(of_text, of_photo, pairs) < 1
    assert recall_at_10(of_text, of_photo, pairs) == np.mean([bool(item) for item in hits])


def test_fewer_than_ten_photos_are_all_found():
    random = np.random.default_rng(2)
    pairs = Pairs(
        random.normal(size=(3, 3, 6)).astype(np.float32),
        random.normal(size=(3, 7)).astype(np.float32),
        np.arange(4),
        np.arange(3),
    )

    assert recall_at_10(layers(random), layers(random, size=7), pairs) == 1
