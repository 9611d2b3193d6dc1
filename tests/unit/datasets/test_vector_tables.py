import numpy as np

from fb_marketplace.ann.vector_tables import VectorTableSource
from fb_marketplace.datasets.vector_tables import VectorTablesDataset
from fb_marketplace.parameters.release import SearchParameters
from fb_marketplace.pipelines.release.build_vector_tables import build_vector_tables
from fb_marketplace.skipping import Skipped
from fb_marketplace.storage.file_handles import FileRef
from fb_marketplace_serving.ann.index import Index
from fb_marketplace_serving.ann.vector_table import VectorTable


def make_index(path, count):
    matrix = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
    names = [str(row) for row in range(count)]
    path.write_bytes(Index.build_flat(matrix, names, names).to_bytes()[0])
    return FileRef(str(path)), matrix


def build(tmp_path, engine):
    photos, matrix = make_index(tmp_path / "photos", 300)
    texts, _ = make_index(tmp_path / "texts", 5)
    parameters = SearchParameters(engine=engine, min_indexed_vectors=256)
    return build_vector_tables(photos, texts, Skipped("no texts"), parameters), matrix


def test_tables_are_written_by_name(tmp_path, first):
    sources, matrix = build(tmp_path, "lance")
    dataset = VectorTablesDataset(f"{tmp_path}/lake/vector_tables", first)
    dataset.save(sources)

    tables = dataset.load()

    assert [url.rpartition("/")[2] for url in tables] == ["image_index", "text_index"]
    url, written = next(iter(tables.items()))
    table = VectorTable.open(url, written.version, 0)
    np.testing.assert_array_equal(table.vectors(np.arange(300)), matrix)
    assert written.index_sha256 == FileRef(str(tmp_path / "photos")).pinned().sha256


def test_failed_attempt_is_replaced(tmp_path):
    sources, matrix = build(tmp_path, "lance")
    source = sources["image_index"]
    earlier = VectorTableSource(sources["text_index"].index, source.parameters)
    earlier.write(str(tmp_path / "table"))
    files = len(list((tmp_path / "table").rglob("*.lance")))

    written = source.write(str(tmp_path / "table"))

    table = VectorTable.open(str(tmp_path / "table"), written.version, 0)
    assert Index(table, [""] * 300, [""] * 300).search(matrix[7], 1).rows.tolist() == [7]
    assert table.within(matrix[7:8], 1e-6, np.arange(300)).tolist() == [7]
    assert len(list((tmp_path / "table").rglob("*.lance"))) == files


def test_write_is_retried_if_store_fails(tmp_path, monkeypatch):
    import lance

    sources, matrix = build(tmp_path, "lance")
    create_index, failures = lance.LanceDataset.create_index, [OSError("LanceError(IO): 503")]

    def fail_once(*args, **options):
        if failures:
            raise failures.pop()
        return create_index(*args, **options)

    monkeypatch.setattr(lance.LanceDataset, "create_index", fail_once)

    written = sources["image_index"].write(str(tmp_path / "table"))

    table = VectorTable.open(str(tmp_path / "table"), written.version, 0)
    assert table.within(matrix[7:8], 1e-6, np.arange(300)).tolist() == [7]


def test_faiss_has_no_tables(tmp_path, first):
    sources, _ = build(tmp_path, "faiss")
    dataset = VectorTablesDataset(f"{tmp_path}/lake/vector_tables", first)
    dataset.save(sources)

    assert dataset.exists()
    assert dataset.load() == {}
