import numpy as np
import pytest
from safetensors.numpy import save

from fb_marketplace.pipelines.text.cross_modal_projection import Layers, project
from fb_marketplace.pipelines.text.export_text_encoder import export_text_encoder
from fb_marketplace.pipelines.text.sentence_encoder import build_sentence_encoder
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.encoders.text import TextEncoder

TEXTS = ["oak table", "", "a red lamp, hardly used"]


@pytest.fixture(scope="module")
def sentence(sentences):
    return build_sentence_encoder(sentences)


@pytest.fixture(scope="module")
def layers(sentence):
    random = np.random.default_rng(0)
    size = TextEncoder.from_bytes(*sentence).dimension
    shapes = ((size, 7), (7,), (7, 4), (4,))
    return Layers(*(random.normal(size=shape).astype(np.float32) for shape in shapes))


@pytest.fixture
def join(sentence, layers, tmp_path):
    def join():
        (tmp_path / "encoder").write_bytes(sentence.onnx)
        (tmp_path / "projection").write_bytes(save(layers._asdict()))
        return export_text_encoder(
            FileRef(str(tmp_path / "encoder")), FileRef(str(tmp_path / "projection"))
        )

    return join


def test_graph_output_equals_projection(join, sentence, layers):
    joined = TextEncoder.from_bytes(join(), sentence.tokenizer)

    meaning, pictured = joined.encode(TEXTS)

    assert joined.pictured_dimension == 4
    np.testing.assert_allclose(pictured, project(layers, meaning), atol=1e-5)


def test_text_embedding_is_unchanged(join, sentence):
    joined = TextEncoder.from_bytes(join(), sentence.tokenizer)

    np.testing.assert_array_equal(
        joined.encode(TEXTS).meaning, TextEncoder.from_bytes(*sentence).encode(TEXTS).meaning
    )


def test_export_is_deterministic(join):
    assert join() == join()
