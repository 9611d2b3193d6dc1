from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto
from support.builders import tiny_text_encoder as tiny

from fb_marketplace_serving.encoders.text import LONGEST, TextEncoder, TextEncoderError

TEXTS = ["red chair", "an old oak table and a lamp", "", "bike", "zebra", "red chair " * 20]


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.from_bytes(tiny.graph(), tiny.tokenizer())


def test_what_it_gives_is_as_wide_as_it_says(encoder):
    meaning, pictured = encoder.encode(TEXTS)

    assert (encoder.dimension, encoder.pictured_dimension) == (6, 4)
    assert (meaning.shape, pictured.shape) == ((len(TEXTS), 6), (len(TEXTS), 4))
    assert meaning.dtype == pictured.dtype == np.float32


def test_meanings_and_pictures_are_of_length_one(encoder):
    for vectors in encoder.encode(TEXTS):
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_text_says_the_same_alone_and_beside_others(encoder):
    together, backwards = encoder.encode(TEXTS), encoder.encode(TEXTS[::-1])

    for place, text in enumerate(TEXTS):
        alone = encoder.encode([text])
        for one, among, turned in zip(alone, together, backwards, strict=True):
            np.testing.assert_array_equal(one[0], among[place])
            np.testing.assert_array_equal(one[0], turned[len(TEXTS) - 1 - place])


def test_many_threads_are_told_what_one_is(encoder):
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(encoder.encode, [TEXTS] * 32):
            np.testing.assert_array_equal(found.meaning, encoder.encode(TEXTS).meaning)


def test_what_is_beyond_the_longest_text_is_not_read(encoder):
    words = LONGEST - 2  # beside the first token and the last
    longest, longer, shorter = (
        encoder.encode(["oak " * count + "bike"]).meaning
        for count in (words, words + 900, words - 1)
    )

    np.testing.assert_array_equal(longest, longer)
    np.testing.assert_array_equal(longest, encoder.encode(["oak " * words]).meaning)
    assert not np.array_equal(longest, shorter)


def test_a_tokenizer_that_fills_texts_up_is_kept_from_it():
    """What fills them up would be read by a graph that heeds no mask, and takes time in any."""
    graph = tiny.graph(heeds_mask=False)
    padding, plain = (
        TextEncoder.from_bytes(graph, tiny.tokenizer(padded_to=length)) for length in (16, None)
    )

    np.testing.assert_array_equal(padding.encode(TEXTS).meaning, plain.encode(TEXTS).meaning)


def test_no_texts_have_no_vectors(encoder):
    meaning, pictured = encoder.encode([])

    assert (meaning.shape, pictured.shape) == ((0, 6), (0, 4))


def test_half_a_character_is_read_as_an_unknown_one(encoder):
    """JSON may hold one: half of an emoji that a client cut in two."""
    found = encoder.encode(["red \ud83e chair"])

    np.testing.assert_array_equal(found.meaning, encoder.encode(["red ? chair"]).meaning)


def test_a_graph_that_knows_no_pictures_gives_none(encoder):
    plain = TextEncoder.from_bytes(tiny.graph(pictured=None), tiny.tokenizer())

    meaning, pictured = plain.encode(TEXTS)

    assert plain.pictured_dimension == 0
    assert pictured.shape == (len(TEXTS), 0)
    np.testing.assert_array_equal(meaning, encoder.encode(TEXTS).meaning)


@pytest.mark.parametrize("onnx", [b"", b"no graph"])
def test_what_is_no_graph_is_refused(onnx):
    with pytest.raises(TextEncoderError, match="ONNX"):
        TextEncoder.from_bytes(onnx, tiny.tokenizer())


@pytest.mark.parametrize("tokenizer", [b"", b"{}", b"no tokenizer", b"\xff"])
def test_what_is_no_tokenizer_is_refused(tokenizer):
    with pytest.raises(TextEncoderError, match="tokenizer"):
        TextEncoder.from_bytes(tiny.graph(), tokenizer)


@pytest.mark.parametrize(
    "told",
    [{"names": ("tokens", "mask")}, {"kind": TensorProto.INT32}, {"kind": TensorProto.FLOAT}],
)
def test_a_graph_of_other_inputs_is_refused(told):
    with pytest.raises(TextEncoderError, match=r"\bids\b.*\bmask\b"):
        TextEncoder.from_bytes(tiny.graph(**told), tiny.tokenizer())


def test_a_graph_without_meaning_is_refused():
    with pytest.raises(TextEncoderError, match=r"\bmeaning\b"):
        TextEncoder.from_bytes(tiny.graph(meaning="vector"), tiny.tokenizer())
