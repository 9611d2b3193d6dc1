import json

import numpy as np
import pyarrow as pa
import pytest

from fb_marketplace.pipelines.embeddings import export
from fb_marketplace.pipelines.embeddings.export import export_embeddings_json
from fb_marketplace.schemas.lance import IMAGE_EMBEDDINGS
from fb_marketplace.storage import keyed_table, table_writer


@pytest.fixture
def store(tmp_path):
    """Stores vectors in a table, in the order given."""

    def store(vectors, name="vectors.lance"):
        rows = [
            {
                "key": f"key of {image_id}",
                "image_id": image_id,
                "image_sha256": "photo",
                "encoder_sha256": "encoder",
                "probabilities": [1.0],
                "embedding": vector,
            }
            for image_id, vector in vectors.items()
        ]
        url = str(tmp_path / name)
        keyed_table.ensure_table(url, IMAGE_EMBEDDINGS)
        table_writer.insert(url, pa.Table.from_pylist(rows, schema=IMAGE_EMBEDDINGS))
        return keyed_table.open_table(url)

    return store


def written(table):
    return b"".join(export_embeddings_json(table)())


def test_embeddings_are_in_order_of_ids(store):
    result = json.loads(written(store({"b": [0.5, -2.0], "c": [0.0, 1.0], "a": [1e-9, 3e20]})))

    assert list(result) == ["a", "b", "c"]
    assert result["b"] == [0.5, -2.0]


def test_exported_numbers_are_bit_identical(store):
    generator = np.random.default_rng(11)
    scales = 10.0 ** generator.integers(-30, 30, 500)
    vector = (generator.normal(size=500) * scales).astype(np.float32)

    result = json.loads(written(store({"a": vector})))

    np.testing.assert_array_equal(np.array(result["a"], np.float32), vector)


def test_numbers_have_float32_precision(store):
    assert b"[0.1, 0.33333334]" in written(store({"a": np.float32([0.1, 1 / 3])}))


def test_export_does_not_depend_on_row_order(store, monkeypatch):
    vectors = {f"photo {number}": [number / 7, 1.0] for number in range(5)}
    expected = written(store(vectors))
    monkeypatch.setattr(export, "BATCH_SIZE", 2)

    assert written(store(dict(reversed(vectors.items())), "other.lance")) == expected


def test_id_with_json_characters_is_escaped(store):
    assert list(json.loads(written(store({'a "b"\\': [1.0]})))) == ['a "b"\\']


def test_no_photos_give_an_empty_object(store):
    assert json.loads(written(store({}))) == {}


def test_export_reads_lazily(store, monkeypatch):
    monkeypatch.setattr(export, "BATCH_SIZE", 2)
    params = []
    take = keyed_table.Table.take

    def watched(self, rows, columns):
        params.append(len(rows))
        return take(self, rows, columns)

    monkeypatch.setattr(keyed_table.Table, "take", watched)
    pieces = export_embeddings_json(store({f"{number}": [1.0] for number in range(6)}))()

    next(pieces)

    assert params == [2]
