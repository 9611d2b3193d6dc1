import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto
from support.builders import tiny_text_encoder as tiny

from fb_marketplace_serving.encoders.text import (
    MAX_TOKENS,
    TextEncoder,
    TextEncoderError,
    TextTower,
)
from fb_marketplace_serving.interpreter_lock import INTERPRETER

TEXTS = ["red chair", "an old oak table and a lamp", "", "bike", "zebra", "red chair " * 20]


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.from_bytes(tiny.graph(), tiny.tokenizer())


def test_embeddings_have_declared_width(encoder):
    text, text_to_image = encoder.encode(TEXTS)

    assert (encoder.dimension, encoder.text_to_image_dimension) == (6, 4)
    assert (text.shape, text_to_image.shape) == ((len(TEXTS), 6), (len(TEXTS), 4))
    assert text.dtype == text_to_image.dtype == np.float32


def test_embeddings_have_unit_length(encoder):
    for vectors in encoder.encode(TEXTS):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_embedding_does_not_depend_on_batch(encoder):
    together, backwards = encoder.encode(TEXTS), encoder.encode(TEXTS[::-1])

    for place, text in enumerate(TEXTS):
        alone = encoder.encode([text])
        for one, among, turned in zip(alone, together, backwards, strict=True):
            np.testing.assert_array_equal(one[0], among[place])
            np.testing.assert_array_equal(one[0], turned[len(TEXTS) - 1 - place])


def test_repeated_text_is_encoded_once(encoder, monkeypatch):
    encoder.clear_cache()
    runs = []
    session = encoder._session
    monkeypatch.setattr(
        encoder, "_session", SimpleNamespace(run=lambda *args: runs.append(1) or session.run(*args))
    )

    first = encoder.encode(["oak desk", "red bike"])
    again = encoder.encode(["red bike", "oak desk", "oak desk"])

    assert len(runs) == 2
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before[[1, 0, 0]], after)


def test_another_search_runs_while_a_text_is_encoded(encoder, monkeypatch):
    encoder.clear_cache()
    is_locked, session = [], encoder._session

    def run(*args):
        is_locked.append(INTERPRETER._lock.locked())
        return session.run(*args)

    monkeypatch.setattr(encoder, "_session", SimpleNamespace(run=run))
    with INTERPRETER.hold():
        encoder.encode(["oak desk"])

    assert is_locked == [False]


def test_many_threads_equal_one_thread(encoder):
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(encoder.encode, [TEXTS] * 32):
            np.testing.assert_array_equal(
                result.text_embedding, encoder.encode(TEXTS).text_embedding
            )


def test_text_beyond_max_length_is_ignored(encoder):
    words = MAX_TOKENS - 2  # beside the first token and the last
    longest, longer, shorter = (
        encoder.encode(["oak " * count + "bike"]).text_embedding
        for count in (words, words + 900, words - 1)
    )

    np.testing.assert_array_equal(longest, longer)
    np.testing.assert_array_equal(longest, encoder.encode(["oak " * words]).text_embedding)
    assert not np.array_equal(longest, shorter)


def test_padding_of_tokenizer_is_disabled():
    """What fills them up would be read by a graph that heeds no mask, and takes time in any."""
    graph = tiny.graph(heeds_mask=False)
    padding, plain = (
        TextEncoder.from_bytes(graph, tiny.tokenizer(padded_to=length)) for length in (16, None)
    )

    np.testing.assert_array_equal(
        padding.encode(TEXTS).text_embedding, plain.encode(TEXTS).text_embedding
    )


def test_no_texts_give_no_vectors(encoder):
    text, text_to_image = encoder.encode([])

    assert (text.shape, text_to_image.shape) == ((0, 6), (0, 4))


def test_lone_surrogate_is_an_unknown_token(encoder):
    """JSON may hold one: half of an emoji that a client cut in two."""
    result = encoder.encode(["red \ud83e chair"])

    np.testing.assert_array_equal(
        result.text_embedding, encoder.encode(["red ? chair"]).text_embedding
    )


def test_graph_without_image_output_gives_none(encoder):
    plain = TextEncoder.from_bytes(tiny.graph(text_to_image_size=0), tiny.tokenizer())

    text, text_to_image = plain.encode(TEXTS)

    assert plain.text_to_image_dimension == 0
    assert text_to_image.shape == (len(TEXTS), 0)
    np.testing.assert_array_equal(text, encoder.encode(TEXTS).text_embedding)


@pytest.mark.parametrize("onnx", [b"", b"no graph"])
def test_invalid_graph_is_rejected(onnx):
    with pytest.raises(TextEncoderError, match="ONNX"):
        TextEncoder.from_bytes(onnx, tiny.tokenizer())


@pytest.mark.parametrize("tokenizer", [b"", b"{}", b"no tokenizer", b"\xff"])
def test_invalid_tokenizer_is_rejected(tokenizer):
    with pytest.raises(TextEncoderError, match="tokenizer"):
        TextEncoder.from_bytes(tiny.graph(), tokenizer)


@pytest.mark.parametrize(
    "values",
    [{"names": ("tokens", "mask")}, {"kind": TensorProto.INT32}, {"kind": TensorProto.FLOAT}],
)
def test_graph_with_other_inputs_is_rejected(values):
    with pytest.raises(TextEncoderError, match=r"\bids\b.*\bmask\b"):
        TextEncoder.from_bytes(tiny.graph(**values), tiny.tokenizer())


def test_graph_without_text_embedding_is_rejected():
    with pytest.raises(TextEncoderError, match="text_embedding"):
        TextEncoder.from_bytes(tiny.graph(text_output="vector"), tiny.tokenizer())


def test_tower_gives_the_text_to_image_embedding(encoder):
    files = tiny.graph(), tiny.tokenizer()
    both = TextEncoder.from_bytes(*files, tiny.tower(size=3), tiny.tokenizer(padded_to=8))

    text, text_to_image = both.encode(TEXTS)

    np.testing.assert_array_equal(text, encoder.encode(TEXTS).text_embedding)
    assert both.text_to_image_dimension == 3
    assert text_to_image.shape == (len(TEXTS), 3)
    np.testing.assert_allclose(np.linalg.norm(text_to_image, axis=1), 1, atol=1e-6)
    alone = both.encode(TEXTS[:1]).text_to_image_embedding
    np.testing.assert_array_equal(alone[0], text_to_image[0])


def test_tower_reads_the_beginning_of_long_texts():
    padding_only = json.loads(tiny.tokenizer(padded_to=8)) | {"truncation": None}
    tower = TextTower.from_bytes(tiny.tower(), json.dumps(padding_only).encode())

    np.testing.assert_array_equal(tower.encode("red " * 50), tower.encode("red " * 8))


@pytest.mark.parametrize(
    ("tower", "tokenizer", "expected"),
    [
        (tiny.tower(tokens=8), tiny.tokenizer(padded_to=7), "reads 8 tokens.*pads to 7"),
        (tiny.tower(), b"{", "not a tokenizer"),
        (tiny.graph(), tiny.tokenizer(padded_to=8), "text_to_image_embedding"),
        (b"no graph", tiny.tokenizer(padded_to=8), "not ONNX"),
    ],
)
def test_tower_that_does_not_fit_is_rejected(tower, tokenizer, expected):
    with pytest.raises(TextEncoderError, match=expected):
        TextEncoder.from_bytes(tiny.graph(), tiny.tokenizer(), tower, tokenizer)
