import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from fb_marketplace.schemas import lance
from fb_marketplace.storage import keyed_table

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("vector", pa.list_(pa.float32())),
    ]
)


def rows(*keys):
    return pa.Table.from_pylist(
        [{"key": key, "name": f"{key}!", "vector": [float(ord(key)), 0.5]} for key in keys],
        schema=SCHEMA,
    )


@pytest.fixture
def url(tmp_path):
    url = str(tmp_path / "of letters.lance")
    keyed_table.ensure_table(url, SCHEMA)
    return url


def names(url, version=None):
    return keyed_table.open_table(url, version).read(["name"]).column("name").to_pylist()


def test_rows_of_all_commits_are_read(url):
    keyed_table.insert(url, rows("b", "a"))
    keyed_table.insert(url, rows("c"))

    assert sorted(names(url)) == ["a!", "b!", "c!"]
    assert len(keyed_table.open_table(url)) == 3
    assert keyed_table.open_table(url).read(["key"]).column_names == ["key"]


def test_existing_key_is_not_overwritten(url):
    keyed_table.insert(url, rows("a"))
    keyed_table.insert(url, rows("a", "b").set_column(1, "name", [["other", "b!"]]))

    assert sorted(names(url)) == ["a!", "b!"]


def test_insert_is_idempotent(url):
    keyed_table.insert(url, rows("a", "b"))
    keyed_table.insert(url, rows("a", "b"))

    assert len(keyed_table.open_table(url)) == 2


def at_once(*works):
    """Do all of them at once, each in a process's place: a thread that begins with the others."""
    ready = threading.Barrier(len(works))

    def do(work):
        ready.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(do, works))


def test_concurrent_creation_makes_one_table(tmp_path):
    url = str(tmp_path / "new.lance")

    def make_and_insert(key):
        keyed_table.ensure_table(url, SCHEMA)
        keyed_table.insert(url, rows(key))

    at_once(*(partial(make_and_insert, key) for key in "abcdef"))

    assert sorted(names(url)) == ["a!", "b!", "c!", "d!", "e!", "f!"]


def test_concurrent_inserts_add_rows_once(url):
    at_once(*(partial(keyed_table.insert, url, rows(*"abcd")) for _ in range(6)))

    assert sorted(names(url)) == ["a!", "b!", "c!", "d!"]


def test_concurrent_retains_keep_all_rows(url):
    keyed_table.insert(url, rows(*"abcdef"))

    at_once(*(partial(keyed_table.retain, url, frozenset("ab")) for _ in range(4)))

    assert sorted(names(url)) == ["a!", "b!"]


def test_existing_keys_of_missing_table_are_none(url, tmp_path):
    keyed_table.insert(url, rows("a", "b"))

    assert keyed_table.existing_keys(url) == {"a", "b"}
    assert keyed_table.existing_keys(str(tmp_path / "nowhere.lance")) == frozenset()


def test_unwanted_rows_are_deleted(url):
    keyed_table.insert(url, rows("a", "b", "c"))
    keyed_table.retain(url, frozenset({"b", "z"}))

    assert names(url) == ["b!"]


def test_many_rows_can_be_deleted_at_once(url, monkeypatch):
    monkeypatch.setattr(keyed_table, "DELETE_BATCH_SIZE", 2)
    keyed_table.insert(url, rows("a", "b", "c", "d", "e"))
    keyed_table.retain(url, frozenset({"c"}))

    assert names(url) == ["c!"]


def test_ensure_of_existing_table_changes_nothing(url):
    keyed_table.insert(url, rows("a"))
    keyed_table.ensure_table(url, SCHEMA)

    assert names(url) == ["a!"]


@pytest.mark.parametrize(
    "name", sorted(name for name in vars(lance) if name[0] != "_" and name.isupper())
)
def test_tables_of_each_schema_are_distinguished(tmp_path, name):
    url, schema = str(tmp_path / "some.lance"), getattr(lance, name)
    keyed_table.ensure_table(url, schema)
    created = keyed_table.open_table(url).version
    keyed_table.ensure_table(url, schema)

    assert keyed_table.open_table(url).version == created


def test_table_with_other_columns_is_replaced_and_versions_stay(url):
    keyed_table.tag(url, "old", keyed_table.insert(url, rows("a")))
    wider = SCHEMA.append(pa.field("more", pa.int64()))
    keyed_table.ensure_table(url, wider)

    assert len(keyed_table.open_table(url)) == 0
    assert keyed_table.open_table(url).read(["more"]).schema.field("more").type == pa.int64()
    assert names(url, "old") == ["a!"]


def test_older_version_is_read_unchanged(url):
    first = keyed_table.insert(url, rows("a"))
    keyed_table.insert(url, rows("b"))
    keyed_table.retain(url, frozenset({"b"}))

    assert names(url, first) == ["a!"]


def test_tag_finds_its_version(url):
    keyed_table.tag(url, "2026-01-01", keyed_table.insert(url, rows("a")))
    keyed_table.insert(url, rows("b"))

    assert names(url, "2026-01-01") == ["a!"]


@pytest.mark.parametrize("version", ["never", 99])
def test_missing_version_is_rejected(url, version):
    with pytest.raises(keyed_table.TableMissingError, match=rf"version {version}\b"):
        keyed_table.open_table(url, version)


def test_missing_table_is_rejected(tmp_path):
    with pytest.raises(keyed_table.TableMissingError, match="nowhere"):
        keyed_table.open_table(str(tmp_path / "nowhere.lance"))


def test_take_returns_rows_in_requested_order(url):
    keyed_table.insert(url, rows("a", "b", "c"))
    table = keyed_table.open_table(url)
    order = table.order("key").tolist()

    taken = table.take([order[2], order[0]], ["name"]).column("name").to_pylist()

    assert taken == ["c!", "a!"]


def test_column_order_spans_all_commits(url):
    for keys in ("db", "a", "ec"):
        keyed_table.insert(url, rows(*keys))
    table = keyed_table.open_table(url)

    assert table.take(table.order("key").tolist(), ["key"]).column("key").to_pylist() == list(
        "abcde"
    )


def test_vectors_are_float_matrix_in_requested_order(url):
    keyed_table.insert(url, rows("a", "b"))
    table = keyed_table.open_table(url)
    order = table.order("key").tolist()[::-1]

    vectors = table.vectors(order, "vector")

    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[98.0, 0.5], [97.0, 0.5]]


def test_table_can_be_pickled_with_its_version(url):
    keyed_table.insert(url, rows("a"))
    table = pickle.loads(pickle.dumps(keyed_table.open_table(url)))
    keyed_table.insert(url, rows("b"))

    assert table.read(["name"]).column("name").to_pylist() == ["a!"]
