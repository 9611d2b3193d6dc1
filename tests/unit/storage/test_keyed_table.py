import pickle
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from support.builders.letter_rows import SCHEMA, at_once, names, rows

from fb_marketplace.schemas import lance as schemas
from fb_marketplace.storage import keyed_table, table_writer


def test_rows_of_all_commits_are_read(url):
    table_writer.insert(url, rows("b", "a"))
    table_writer.insert(url, rows("c"))

    assert sorted(names(url)) == ["a!", "b!", "c!"]
    assert len(keyed_table.open_table(url)) == 3
    assert keyed_table.open_table(url).read(["key"]).column_names == ["key"]


def test_concurrent_creation_makes_one_table(tmp_path):
    url = str(tmp_path / "new.lance")

    def make_and_insert(key):
        keyed_table.ensure_table(url, SCHEMA)
        table_writer.insert(url, rows(key))

    at_once(*(partial(make_and_insert, key) for key in "abcdef"))

    assert sorted(names(url)) == ["a!", "b!", "c!", "d!", "e!", "f!"]


def test_existing_keys_of_missing_table_are_none(url, tmp_path):
    table_writer.insert(url, rows("a", "b"))

    assert keyed_table.existing_keys(url) == {"a", "b"}
    assert keyed_table.existing_keys(str(tmp_path / "nowhere.lance")) == frozenset()


def test_ensure_of_existing_table_changes_nothing(url):
    table_writer.insert(url, rows("a"))
    keyed_table.ensure_table(url, SCHEMA)

    assert names(url) == ["a!"]


@pytest.mark.parametrize(
    "name", sorted(name for name in vars(schemas) if name[0] != "_" and name.isupper())
)
def test_tables_of_each_schema_are_distinguished(tmp_path, name):
    url, schema = str(tmp_path / "some.lance"), getattr(schemas, name)
    keyed_table.ensure_table(url, schema)
    created = keyed_table.open_table(url).version
    keyed_table.ensure_table(url, schema)

    assert keyed_table.open_table(url).version == created


def test_table_with_other_columns_is_replaced_and_versions_stay(url):
    keyed_table.tag(url, "old", table_writer.insert(url, rows("a")))
    wider = SCHEMA.append(pa.field("more", pa.int64()))
    keyed_table.ensure_table(url, wider)

    assert len(keyed_table.open_table(url)) == 0
    assert keyed_table.open_table(url).read(["more"]).schema.field("more").type == pa.int64()
    assert names(url, "old") == ["a!"]


def test_older_version_is_read_unchanged(url):
    first = table_writer.insert(url, rows("a"))
    table_writer.insert(url, rows("b"))
    table_writer.retain(url, frozenset({"b"}))

    assert names(url, first) == ["a!"]


def test_tag_finds_its_version(url):
    keyed_table.tag(url, "2026-01-01", table_writer.insert(url, rows("a")))
    table_writer.insert(url, rows("b"))

    assert names(url, "2026-01-01") == ["a!"]


@pytest.mark.parametrize("version", ["never", 99])
def test_missing_version_is_rejected(url, version):
    with pytest.raises(keyed_table.TableMissingError, match=rf"version {version}\b"):
        keyed_table.open_table(url, version)


def test_missing_table_is_rejected(tmp_path):
    with pytest.raises(keyed_table.TableMissingError, match="nowhere"):
        keyed_table.open_table(str(tmp_path / "nowhere.lance"))


def test_take_counts_remaining_rows_only(url):
    table_writer.insert(url, rows(*"abcdef"))
    table_writer.insert(url, rows(*"ghi"))
    table_writer.retain(url, {*"bcfi"})
    table = keyed_table.open_table(url)
    stored = table.read(["name"]).column("name").to_pylist()

    taken = table.take([3, 0, 3, 2], ["name"]).column("name").to_pylist()

    assert taken == [stored[row] for row in (3, 0, 3, 2)]
    assert table.take([], ["name"]).num_rows == 0


def test_take_returns_rows_in_requested_order(url):
    table_writer.insert(url, rows("a", "b", "c"))
    table = keyed_table.open_table(url)
    order = table.order("key").tolist()

    taken = table.take([order[2], order[0]], ["name"]).column("name").to_pylist()

    assert taken == ["c!", "a!"]


def test_column_order_spans_all_commits(url):
    for keys in ("db", "a", "ec"):
        table_writer.insert(url, rows(*keys))
    table = keyed_table.open_table(url)

    assert table.take(table.order("key").tolist(), ["key"]).column("key").to_pylist() == list(
        "abcde"
    )


def test_vectors_are_float_matrix_in_requested_order(url):
    table_writer.insert(url, rows("a", "b"))
    table = keyed_table.open_table(url)
    order = table.order("key").tolist()[::-1]

    vectors = table.vectors(order, "vector")

    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[98.0, 0.5], [97.0, 0.5]]


def test_table_can_be_pickled_with_its_version(url):
    table_writer.insert(url, rows("a"))
    table = pickle.loads(pickle.dumps(keyed_table.open_table(url)))
    table_writer.insert(url, rows("b"))

    assert table.read(["name"]).column("name").to_pylist() == ["a!"]
