import numpy as np
import pytest
from safetensors.numpy import save

from fb_marketplace.pipelines.text.cross_modal_projection import Projection, project
from fb_marketplace.pipelines.text.export_text_encoder import export_text_encoder
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.encoders.text import TextEncoder

TEXTS = ["oak table", "", "a red lamp, hardly used"]


@pytest.fixture(scope="module")
def projection(random_sentence_encoder):
    random = np.random.default_rng(0)
    size = TextEncoder.from_bytes(*random_sentence_encoder).dimension
    return Projection(
        *(random.normal(size=shape).astype(np.float32) for shape in ((size, 4), (4,)))
    )


@pytest.fixture
def join(random_sentence_encoder, projection, tmp_path):
    def join():
        (tmp_path / "encoder").write_bytes(random_sentence_encoder.onnx)
        (tmp_path / "projection").write_bytes(save(projection._asdict()))
        return export_text_encoder(
            FileRef(str(tmp_path / "encoder")), FileRef(str(tmp_path / "projection"))
        )

    return join


def test_graph_output_equals_projection(join, random_sentence_encoder, projection):
    joined = TextEncoder.from_bytes(join(), random_sentence_encoder.tokenizer)

    text, text_to_image = joined.encode(TEXTS)

    assert joined.text_to_image_dimension == 4
    np.testing.assert_allclose(text_to_image, project(projection, text), atol=1e-5)


def test_text_embedding_is_unchanged(join, random_sentence_encoder):
    joined = TextEncoder.from_bytes(join(), random_sentence_encoder.tokenizer)

    np.testing.assert_array_equal(
        joined.encode(TEXTS).text_embedding,
        TextEncoder.from_bytes(*random_sentence_encoder).encode(TEXTS).text_embedding,
    )


def test_export_is_deterministic(join):
    assert join() == join()


def test_encoder_without_projection_is_the_sentence_encoder(tmp_path, random_sentence_encoder):
    (tmp_path / "sentences").write_bytes(random_sentence_encoder.onnx)
    sentences = FileRef(str(tmp_path / "sentences"))

    assert export_text_encoder(sentences, Skipped("no photos")) == random_sentence_encoder.onnx
