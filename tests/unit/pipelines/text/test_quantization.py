from itertools import combinations

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from support.builders import tiny_text_encoder as tiny

from fb_marketplace.pipelines.text import quantization as module
from fb_marketplace.pipelines.text.quantization import (
    quantize_int8,
    select_dual_precision,
    select_precision,
)
from fb_marketplace.pipelines.text.sentence_encoder import build_sentence_encoder
from fb_marketplace_serving.encoders.text import TextEncoder, TextTower

TITLES = [" ".join(words) for count in (2, 3) for words in combinations(tiny.WORDS, count)]
TEXTS = ["red oak chair", "", "a lamp, hardly used, £10", "old bike with a blue frame"]


@pytest.fixture
def choose(store_file, sentences):
    """Chooses among listings of a few words each, every other one of them of the validation split."""

    def choose(split="validation", title=None, **values):
        ids = [f"p{number:02}" for number in range(len(TITLES))]
        products = pd.DataFrame({"product_id": ids, "title": title or TITLES, "description": ""})
        sides = [split if number % 2 else "train" for number in range(len(ids))]
        return select_precision(
            store_file("encoder", tiny.graph(text_to_image_size=0)),
            store_file("tokenizer", tiny.tokenizer()),
            products.sample(frac=1, random_state=0),
            pd.DataFrame({"product_id": ids, "split": sides}),
            sentences.model_copy(update={"precision": "auto"} | values),
        )

    return choose


def with_words(change):
    """Build an encoder with changed word vectors."""

    def changed(graph):
        model = onnx.load_from_string(graph)
        (table,) = [item for item in model.graph.initializer if item.name == "table"]
        value = change(numpy_helper.to_array(table)).astype(np.float32)
        table.CopyFrom(numpy_helper.from_array(value, "table"))
        return model.SerializeToString()

    return changed


def nearly(table):
    return np.round(table, 2)


def test_fp32_is_the_original_encoder(choose, monkeypatch):
    monkeypatch.setattr(module, "quantize_int8", None)

    onnx_, card = choose(precision="fp32")

    assert onnx_ == tiny.graph(text_to_image_size=0)
    assert card == {"precision": "fp32", "bytes": {"fp32": len(onnx_)}}


def test_requested_int8_is_not_evaluated(choose, monkeypatch):
    monkeypatch.setattr(module, "quantize_int8", lambda graph: b"small")

    onnx_, card = choose(precision="int8")

    assert onnx_ == b"small"
    assert card == {
        "precision": "int8",
        "bytes": {"fp32": len(tiny.graph(text_to_image_size=0)), "int8": 5},
    }


def test_int8_with_equal_recall_is_selected(choose, monkeypatch):
    monkeypatch.setattr(module, "quantize_int8", with_words(nearly))

    onnx_, card = choose()

    assert (
        onnx_
        == with_words(nearly)(tiny.graph(text_to_image_size=0))
        != tiny.graph(text_to_image_size=0)
    )
    assert card["precision"] == "int8"
    assert card["recall_at_10"]["int8"] == card["recall_at_10"]["fp32"] > 0.9
    assert card["recall_drop_upper_bound"] == 0
    assert 0.999 < card["min_cosine"] <= 1
    assert card["bytes"]["int8"] == len(onnx_)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: np.tile(table[:2], (len(table) // 2, 1)),  # two words, told apart no further
        np.ones_like,  # every text means the same
        lambda table: table * np.nan,
    ],
)
def test_int8_with_lower_recall_is_rejected(choose, monkeypatch, spoil):
    monkeypatch.setattr(module, "quantize_int8", with_words(spoil))

    onnx_, card = choose()

    assert onnx_ == tiny.graph(text_to_image_size=0)
    assert card["precision"] == "fp32"
    assert card["recall_at_10"]["int8"] < card["recall_at_10"]["fp32"]
    assert card["recall_drop_upper_bound"] > module.MAX_RECALL_DROP


def test_possibly_excessive_loss_is_rejected(choose, monkeypatch):
    """Recall drops by one of fourteen; the lower bound is below the limit."""
    result = iter([np.ones(14, np.bool_), np.arange(14) > 0])
    monkeypatch.setattr(module, "quantize_int8", with_words(nearly))
    monkeypatch.setattr(module, "_own_text_is_hit", lambda *_: next(result))

    onnx_, card = choose()

    assert onnx_ == tiny.graph(text_to_image_size=0)
    lost = np.arange(14) == 0
    assert card["recall_drop_upper_bound"] == pytest.approx(
        lost.mean() + 1.96 * lost.std() / np.sqrt(14), abs=1e-4
    )


def test_evaluation_uses_validation_split(choose, monkeypatch):
    monkeypatch.setattr(module, "quantize_int8", with_words(nearly))

    assert choose()[1]["searches"] == len(TITLES) // 2
    assert choose(precision_texts=10)[1]["searches"] == 10


def test_fp32_is_selected_without_validation_listings(choose, monkeypatch):
    monkeypatch.setattr(module, "quantize_int8", with_words(nearly))

    assert choose(split="test")[1]["precision"] == "fp32"


def test_quantized_encoder_is_smaller_and_similar(sentences):
    exact = build_sentence_encoder(sentences)

    small = quantize_int8(exact.onnx)

    assert len(small) < len(exact.onnx) / 3
    one, other = (
        TextEncoder.from_bytes(graph, exact.tokenizer).encode(TEXTS).text_embedding
        for graph in (exact.onnx, small)
    )
    assert (one * other).sum(axis=1).min() > 0.98
    assert quantize_int8(exact.onnx) == small


@pytest.fixture
def choose_tower(store_file, store_features, sentences):
    """Chooses the precision of a tower, by listings of one photo: the vector of their title."""

    def choose(precision="auto", split="validation"):
        graph, padded = tiny.tower(size=6), tiny.tokenizer(padded_to=8)
        tower = TextTower.from_bytes(graph, padded)
        ids = [f"p{number:02}" for number in range(len(TITLES))]
        photos = {
            f"photo of {i}": tower.encode(title) for i, title in zip(ids, TITLES, strict=True)
        }
        rows = {"product_id": [*ids, "bare"], "image_id": [*photos, None], "split": split}
        titles = {"product_id": [*ids, "bare"], "title": [*TITLES, "red"]}
        return select_dual_precision(
            store_file("tower", graph),
            store_file("padded", padded),
            store_features(photos, "dual_image_embeddings"),
            pd.DataFrame(titles).sample(frac=1, random_state=0),
            pd.DataFrame(rows),
            sentences.model_copy(update={"precision": precision}),
        )

    return choose


def test_int8_tower_with_equal_recall_is_selected(choose_tower, monkeypatch):
    monkeypatch.setattr(module, "quantize_int8", with_words(nearly))

    onnx_, card = choose_tower()

    assert onnx_ == with_words(nearly)(tiny.tower(size=6)) != tiny.tower(size=6)
    assert (card["precision"], card["searches"]) == ("int8", len(TITLES))
    assert card["recall_at_10"] == {"fp32": 1.0, "int8": 1.0}


@pytest.mark.parametrize("spoil", [np.ones_like, lambda table: table * np.nan])
def test_int8_tower_with_lower_recall_is_rejected(choose_tower, monkeypatch, spoil):
    monkeypatch.setattr(module, "quantize_int8", with_words(spoil))

    onnx_, card = choose_tower()

    assert onnx_ == tiny.tower(size=6)
    assert card["recall_at_10"]["int8"] < card["recall_at_10"]["fp32"] == 1


def test_tower_without_validation_photos_stays_fp32(choose_tower):
    onnx_, card = choose_tower(split="train")

    assert onnx_ == tiny.tower(size=6)
    assert card["searches"] == 0


def test_photo_of_another_listing_is_no_hit():
    queries = np.eye(2, dtype=np.float32)
    photos = np.concatenate([np.tile(queries[:1], (10, 1)), [[0.5, 0.1]]]).astype(np.float32)
    owners = np.array([1] * 10 + [0])

    assert module._own_photo_is_hit(queries, photos, owners).tolist() == [False, True]
