import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors.numpy import load

from fb_marketplace import tables
from fb_marketplace.errors import UserError
from fb_marketplace.lance_schemas import IMAGE_EMBEDDINGS
from fb_marketplace.pipelines.ranking.projection import (
    Layers,
    Pairs,
    project,
    recall_at_10,
    train_projection,
)
from fb_marketplace.pipelines.ranking.sentence_encoder import build_sentence_encoder
from fb_marketplace.stored_file import StoredFile
from fb_marketplace_serving.text_encoder import TextEncoder

THINGS = (
    *("oak table", "red lamp", "mountain bike", "leather sofa", "garden spade", "wool jumper"),
    *("steel kettle", "toy train", "silver ring", "piano stool", "tennis racket", "road map"),
)
SIZE = 16


def layers(random, size=6, hidden=5, pictured=4):
    shapes = ((size, hidden), (hidden,), (hidden, pictured), (pictured,))
    return Layers(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


@pytest.fixture(scope="module")
def files(sentences, tmp_path_factory):
    """The encoder of texts, and its tokenizer, as files."""
    folder = tmp_path_factory.mktemp("encoder")
    for name, data in build_sentence_encoder(sentences)._asdict().items():
        (folder / name).write_bytes(data)
    return StoredFile(str(folder / "onnx")), StoredFile(str(folder / "tokenizer"))


@pytest.fixture
def market(tmp_path):
    """Stores listings of a few things, whose photos lie about a place of each thing's own."""

    def make(sides=("train", "train", "validation"), group=None):
        random = np.random.default_rng(0)
        places = np.eye(len(THINGS), SIZE)
        products, splits, photos = [], [], []
        for number in range(len(THINGS) * 6):
            thing, name = number % len(THINGS), f"p{number:02}"
            products.append((name, f"{THINGS[thing]} no {number}"))
            for image in (f"{name}-{photo}" for photo in range(1 + number % 2)):
                embedding = places[thing] + random.normal(size=SIZE) / 20
                splits.append(
                    (image, name, group or name, sides[number // len(THINGS) % len(sides)])
                )
                photos.append((image, embedding / np.linalg.norm(embedding)))
        url = str(tmp_path / "embeddings.lance")
        tables.ensure(url, IMAGE_EMBEDDINGS)
        rows = [
            {
                "key": image,
                "image_id": image,
                "image_sha256": "",
                "encoder_sha256": "",
                "probabilities": [1.0],
                "embedding": embedding,
            }
            for image, embedding in photos[::-1]
        ]
        tables.insert(url, pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS))
        return (
            tables.open_table(url),
            pd.DataFrame(products, columns=["product_id", "title"]),
            pd.DataFrame(splits, columns=["image_id", "product_id", "group", "split"]),
        )

    return make


def test_titles_come_to_lie_by_photos_of_what_they_name(files, market, projecting):
    learned = train_projection(*files, *market(), projecting)

    history = learned.history
    assert history["epoch"].tolist() == list(range(1, projecting.epochs + 1))
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] / 2
    encoder = TextEncoder.from_bytes(*(file.read() for file in files))
    put = project(Layers(**load(learned.projection)), encoder.encode(list(THINGS)).meaning)
    assert put.shape == (len(THINGS), SIZE)
    assert np.mean(put[:, : len(THINGS)].argmax(axis=1) == np.arange(len(THINGS))) > 0.8


def test_the_epoch_that_finds_most_is_kept(files, market, projecting):
    table, products, splits = market()
    # Titles that say nothing: what is learned of some is not so of others, and more is found by chance.
    products["title"] = products["title"].sample(frac=1, random_state=0).to_numpy()
    unsteady = projecting.model_copy(update={"epochs": 8, "rate": 0.2})
    encoder = TextEncoder.from_bytes(*(file.read() for file in files))
    there = splits[splits["split"] == "validation"].sort_values(["product_id", "image_id"])
    names, own = there["product_id"].unique(), there["product_id"].to_numpy()
    titles = products.set_index("product_id")["title"]
    short = encoder.encode([titles[name].partition(" no ")[0] for name in names]).meaning
    order = table.order("image_id")
    ids = table.take(order, ["image_id"]).column("image_id").to_pylist()
    photos = table.vectors(order, "embedding")[[ids.index(image) for image in there["image_id"]]]

    learned = train_projection(*files, table, products, splits, unsteady)

    alike = project(Layers(**load(learned.projection)), short) @ photos.T
    first = np.argsort(-alike, axis=1)[:, :10]
    recall = np.mean([name in own[places] for name, places in zip(names, first, strict=True)])
    history = learned.history["recall_at_10"]
    assert recall == pytest.approx(history.max())
    assert history.iloc[-1] < history.max()  # or this would show nothing


def test_a_seed_gives_the_same_network(files, market, projecting):
    told = projecting.model_copy(update={"epochs": 2})

    one, same = (train_projection(*files, *market(), told) for _ in range(2))

    assert one.projection == same.projection
    pd.testing.assert_frame_equal(one.history, same.history)
    other = train_projection(*files, *market(), told.model_copy(update={"seed": 1}))
    assert other.projection != one.projection


def test_listings_of_one_group_are_no_wrong_answers_for_each_other(files, market, projecting):
    told = projecting.model_copy(update={"epochs": 1})

    learned = train_projection(*files, *market(group="one"), told)

    assert learned.history["loss"].tolist() == [0.0]


def test_no_more_listings_are_learned_from_than_told(files, market, projecting):
    table, products, splits = market()
    told = projecting.model_copy(update={"listings": 5, "epochs": 1})
    few = splits[splits["split"] == "train"]["product_id"].drop_duplicates().sort_values()[:5]
    validation = splits[splits["split"] == "validation"]["product_id"]
    some = sorted({*few, *validation.drop_duplicates().sort_values()[:5]})

    limited = train_projection(*files, table, products, splits, told)

    alone = train_projection(*files, table, products, splits[splits["product_id"].isin(some)], told)
    assert limited.projection == alone.projection


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_a_split_without_photos_is_refused(files, market, projecting, missing):
    table, products, splits = market()

    with pytest.raises(UserError, match=f"no listing with a photo in the split {missing}"):
        train_projection(*files, table, products, splits[splits["split"] != missing], projecting)


def test_what_is_put_among_photos_is_of_length_one():
    random = np.random.default_rng(0)

    put = project(layers(random), random.normal(size=(20, 6)).astype(np.float32))

    assert put.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(put, axis=1), 1, atol=1e-6)


def test_recall_is_the_share_of_titles_that_find_a_photo_of_their_own_among_ten():
    random = np.random.default_rng(1)
    counts = random.integers(1, 4, 30)
    starts = np.concatenate([[0], np.cumsum(counts)])
    photos = random.normal(size=(starts[-1], 4)).astype(np.float32)
    pairs = Pairs(random.normal(size=(30, 2, 6)).astype(np.float32), photos, starts, np.arange(30))
    network = layers(random)

    put = project(network, pairs.meanings[:, 1])
    hits = [
        set(np.argsort(-photos @ put[at])[:10]) & set(range(starts[at], starts[at + 1]))
        for at in range(30)
    ]

    assert 0 < recall_at_10(network, pairs) < 1
    assert recall_at_10(network, pairs) == np.mean([bool(each) for each in hits])


def test_where_there_are_fewer_than_ten_photos_all_are_found():
    random = np.random.default_rng(2)
    pairs = Pairs(
        random.normal(size=(3, 2, 6)).astype(np.float32),
        random.normal(size=(3, 4)).astype(np.float32),
        np.arange(4),
        np.arange(3),
    )

    assert recall_at_10(layers(random), pairs) == 1
