import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.pipelines.embeddings.embed_images import embed_images, plan_image_embeddings
from fb_marketplace.pipelines.vision.evaluation.photo_predictions import collect_photo_predictions
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS
from fb_marketplace.schemas.predictions import VisionPredictions
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef

CHANNELS = ["Red", "Green", "Blue"]
"""Classes of the encoder of mean colours, in its order."""


@pytest.fixture
def encoder(tmp_path, colour_encoder):
    (tmp_path / "encoder.onnx").write_bytes(colour_encoder)
    return FileRef(str(tmp_path / "encoder.onnx"))


@pytest.fixture
def embeddings(tmp_path, marketplace, encoder):
    url = str(tmp_path / "image_embeddings.lance")
    keyed_table.ensure_table(url, IMAGE_EMBEDDINGS)
    keys = plan_image_embeddings(marketplace.images, encoder, frozenset())
    parameters = EmbeddingParameters(photos_per_batch=5, photos_per_shard=36)
    _, *batches = embed_images(marketplace.images, encoder, keys, parameters)
    for rows in batches:
        table_writer.insert(url, rows)
    return keyed_table.open_table(url)


def test_predictions_are_of_validation_and_test_sorted(marketplace, embeddings, encoder):
    table = collect_photo_predictions(
        embeddings, encoder, marketplace.products, marketplace.splits, CHANNELS
    )

    VisionPredictions.validate(table)
    assert table["image_id"].tolist() == [f"{place:02}" for place in range(24, 36)]
    assert table["split"].tolist() == ["validation"] * 6 + ["test"] * 6
    predicted = [CHANNELS[probabilities.argmax()] for probabilities in table["probabilities"]]
    assert predicted == table["category"].tolist()
    assert all(sum(item) == pytest.approx(1, abs=1e-5) for item in table["probabilities"])


def test_embeddings_of_another_encoder_are_rejected(tmp_path, marketplace, embeddings):
    (tmp_path / "other.onnx").write_bytes(b"other")

    with pytest.raises(UserError, match="--pipeline=embeddings"):
        collect_photo_predictions(
            embeddings,
            FileRef(str(tmp_path / "other.onnx")),
            marketplace.products,
            marketplace.splits,
            CHANNELS,
        )


def test_missing_embeddings_are_counted(marketplace, embeddings, encoder):
    splits = marketplace.splits.copy()
    splits.loc[splits["image_id"] == "30", "image_id"] = "new"

    with pytest.raises(UserError, match=r"\b11\b.*\b12\b"):
        collect_photo_predictions(embeddings, encoder, marketplace.products, splits, CHANNELS)
