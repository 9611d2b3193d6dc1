import numpy as np
import pytest

from fb_marketplace.parameters.embeddings import EmbeddingParameters
from fb_marketplace.pipelines.embeddings.embed_images import (
    embed_images,
    plan_image_embeddings,
    report_embeddings,
)
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace.storage.fingerprints import sha256
from fb_marketplace_serving.encoders.image import Encoder
from fb_marketplace_serving.imaging import canonical

TOLD = EmbeddingParameters(photos_per_batch=2, photos_per_shard=4)


@pytest.fixture
def encoder(tmp_path, colour_encoder):
    (tmp_path / "encoder.onnx").write_bytes(colour_encoder)
    return FileRef(str(tmp_path / "encoder.onnx"))


@pytest.fixture
def images(store_photos, draw_photo):
    return store_photos({name: draw_photo(seed) for seed, name in enumerate("ecadb")})


def read(images, encoder, existing=frozenset(), values=TOLD):
    keys = plan_image_embeddings(images, encoder, existing)
    retained, *batches = embed_images(images, encoder, keys, values)
    return retained.keys, sorted(
        (batch.to_pylist() for batch in batches), key=lambda batch: batch[0]["image_id"]
    )


def stored_rows(images, encoder, url, values=TOLD):
    """Run the stage as Kedro does, into a table; gives its report."""
    keyed_table.ensure_table(url, IMAGE_EMBEDDINGS)
    keys = plan_image_embeddings(images, encoder, keyed_table.existing_keys(url))
    retained, *batches = embed_images(images, encoder, keys, values)
    table_writer.retain(url, retained.keys)
    for batch in batches:
        table_writer.insert(url, batch)
    return report_embeddings(keys, keyed_table.open_table(url))


def test_embeddings_equal_those_of_served_encoder(images, encoder):
    keys, batches = read(images, encoder)
    rows = [row for batch in batches for row in batch]

    assert [row["image_id"] for row in rows] == list("abcde")
    assert {row["key"] for row in rows} == keys
    (jpeg,) = images.take([images.order("image_id")[2]], ["jpeg"]).column("jpeg").to_pylist()
    served = Encoder.from_bytes(encoder.read()).encode(canonical.decode_canonical(jpeg)[np.newaxis])
    np.testing.assert_allclose(rows[2]["embedding"], served.embeddings[0], atol=1e-6)
    np.testing.assert_allclose(rows[2]["probabilities"], served.probabilities[0], atol=1e-6)
    assert {row["encoder_sha256"] for row in rows} == {sha256(encoder.read())}


def test_rows_are_saved_in_shards(images, encoder):
    assert [len(batch) for batch in read(images, encoder)[1]] == [4, 1]


def test_existing_embeddings_are_reused(images, encoder):
    keys, batches = read(images, encoder)
    existing = frozenset(row["key"] for row in batches[0])

    assert read(images, encoder, existing) == (keys, [batches[1]])
    assert read(images, encoder, keys) == (keys, [])


def test_other_encoder_recomputes_all(images, encoder, tmp_path):
    import onnx

    other = onnx.load(encoder.url)
    other.doc_string = "another"
    (tmp_path / "other.onnx").write_bytes(other.SerializeToString())

    before, _ = read(images, encoder)
    after, batches = read(images, FileRef(str(tmp_path / "other.onnx")), before)

    assert not before & after
    assert sum(map(len, batches)) == 5


def test_batch_size_does_not_change_rows(images, encoder):
    one = read(images, encoder)
    other = read(
        images, encoder, values=EmbeddingParameters(photos_per_batch=5, photos_per_shard=9)
    )

    assert one[0] == other[0]
    assert len(other[1]) == 1


def test_report_counts_encoded_reused_and_removed(
    images, encoder, store_photos, draw_photo, tmp_path
):
    url = str(tmp_path / "vectors.lance")
    names = ("photos", "encoded", "reused", "removed", "dimension")
    fewer = store_photos(
        {name: draw_photo(seed) for seed, name in enumerate("ecaf")}, "fewer.lance"
    )

    first, second, third = (stored_rows(item, encoder, url) for item in (images, images, fewer))

    assert [first[name] for name in names] == [5, 5, 0, 0, 3]
    assert [second[name] for name in names] == [5, 0, 5, 0, 3]
    assert [third[name] for name in names] == [4, 1, 3, 2, 3]
    assert first["encoder_sha256"] == sha256(encoder.read())


def test_digest_does_not_depend_on_number_of_runs(
    images, encoder, store_photos, draw_photo, tmp_path
):
    half = store_photos({name: draw_photo(seed) for seed, name in enumerate("eca")}, "half.lance")

    at_once = stored_rows(images, encoder, str(tmp_path / "at once.lance"))
    before = stored_rows(half, encoder, str(tmp_path / "in two.lance"))
    after = stored_rows(images, encoder, str(tmp_path / "in two.lance"))

    assert before["digest"] != after["digest"] == at_once["digest"]


def test_resumed_run_has_the_same_batches(images, encoder, monkeypatch):
    cuts = []
    encode = Encoder.encode

    def watched(self, batch):
        cuts.append([photo.tobytes() for photo in batch])
        return encode(self, batch)

    monkeypatch.setattr(Encoder, "encode", watched)
    _, (first, _) = read(images, encoder)
    undisturbed = sorted(cuts)
    cuts.clear()

    read(images, encoder, frozenset(row["key"] for row in first))

    assert cuts
    assert all(cut in undisturbed for cut in cuts)
