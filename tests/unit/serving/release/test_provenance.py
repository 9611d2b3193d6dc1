import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fb_marketplace_serving.release.provenance import (
    DuplicatePhoto,
    ListingProvenance,
    PhotoProvenance,
    ProvenanceError,
    ProvenanceTable,
    RejectedPhoto,
    RejectedRow,
    Source,
    read_sources,
    write_provenance,
)
from fb_marketplace_serving.storage.parquet import ROWS_PER_GROUP

SOURCES = {
    "products": Source("s3://bucket/Assets/Products.csv", 1234, "a" * 64),
    "images": Source("s3://bucket/Assets/Images.csv", 567, "b" * 64),
    "photos": Source("s3://bucket/images"),
}
PHOTO = PhotoProvenance(
    image_id="front",
    row=7,
    repeated_in=[9, 12],
    source_key="front.jpg",
    source_etag="e1",
    source_size=4321,
    source_sha256="c" * 64,
    format="PNG",
    width=1024,
    height=768,
    sha256="d" * 64,
    oldest_copy="older",
    copies=2,
    some_copies=[DuplicatePhoto("older", "q", True), DuplicatePhoto("other", "r", False)],
)
RICH = ListingProvenance(
    product_id="p",
    row=3,
    repeats=2,
    rejected=[RejectedRow(5, "conflicting_row", "says otherwise")],
    price_flag="joke",
    odd_category_depth=True,
    copy_of="older",
    group="older",
    group_listings=4,
    split="test",
    photos=[PHOTO],
    rejected_photos=[
        RejectedPhoto("back", 8, "unusable_file", "empty: it has 0 bytes", "back.jpg", "e2", 0),
        RejectedPhoto("side", 10, "missing_file", "there is none", None, None, None),
    ],
)


def plain(product_id, row=0):
    return ListingProvenance(
        product_id, row, 0, [], None, False, None, product_id, 1, "train", [], []
    )


def test_provenance_round_trips():
    data = write_provenance([plain("a"), RICH, plain("q")], SOURCES)

    assert ProvenanceTable(data).get("p") == RICH
    assert ProvenanceTable(data).get("a") == plain("a")
    assert read_sources(data) == SOURCES


@pytest.mark.parametrize("row", [0, 1023, 1024, 2999])
def test_listing_is_found_at_any_position(row):
    data = write_provenance((plain(f"p{number:04}", number) for number in range(3000)), SOURCES)

    assert ProvenanceTable(data).get(f"p{row:04}").row == row


@pytest.mark.parametrize("product", ["", "a0", "b", "é", "\udcff"])
def test_missing_listing_is_none(product):
    assert ProvenanceTable(write_provenance([plain("a"), plain("c")], SOURCES)).get(product) is None
    assert ProvenanceTable(write_provenance([], SOURCES)).get(product) is None


def test_write_is_deterministic():
    assert write_provenance([plain("a"), RICH], SOURCES) == write_provenance(
        [plain("a"), RICH], SOURCES
    )


def test_reading_one_listing_skips_other_row_groups(monkeypatch):
    data = write_provenance((plain(f"p{number:04}") for number in range(3000)), SOURCES)
    read, groups = pq.ParquetFile.read_row_group, []

    def watched(file, group, **values):
        groups.append(group)
        return read(file, group, **values)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    ProvenanceTable(data).get("p1500")

    assert set(groups) == {1500 // ROWS_PER_GROUP}


def test_listing_is_read_without_reading_metadata_again(monkeypatch):
    table = ProvenanceTable(write_provenance([RICH], SOURCES))
    open_file, opened = pq.ParquetFile, []

    def watched(file, *, metadata=None):
        opened.append(metadata)
        return open_file(file, metadata=metadata)

    monkeypatch.setattr(pq, "ParquetFile", watched)

    assert table.get("p") == RICH
    assert opened
    assert None not in opened


def test_reading_does_not_import_pandas(environment, tmp_path):
    (tmp_path / "provenance.parquet").write_bytes(write_provenance([RICH], SOURCES))
    code = (
        "import pathlib, sys\n"
        "from fb_marketplace_serving.release.provenance import ProvenanceTable\n"
        "assert ProvenanceTable(pathlib.Path('provenance.parquet').read_bytes()).get('p').row == 3\n"
        "assert 'pandas' not in sys.modules"
    )

    subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True, timeout=60
    )


def in_memory(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_other_bytes_are_rejected():
    with pytest.raises(ProvenanceError, match=r"\b5 bytes\b.*Parquet"):
        ProvenanceTable(b"bytes").get("p")
    with pytest.raises(ProvenanceError, match="product_id, row"):
        ProvenanceTable(in_memory(pa.table({"product_id": ["p"], "row": [1]}))).get("p")


def test_table_without_sources_is_rejected():
    table = pq.read_table(pa.BufferReader(write_provenance([RICH], SOURCES)))

    with pytest.raises(ProvenanceError, match="sources"):
        read_sources(in_memory(table.replace_schema_metadata()))
