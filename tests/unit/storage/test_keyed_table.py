import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import lance
import numpy as np
import pyarrow as pa
import pytest
from lance.fragment import write_fragments

from fb_marketplace.schemas import lance as schemas
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.keyed_table import TableWriter

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


def test_written_rows_are_committed_together(url, monkeypatch):
    monkeypatch.setattr(keyed_table, "MIN_WRITTEN_BYTES", 0)
    parts = [keyed_table.TableSink(url)(rows(*keys)) for keys in ("ab", "c")]
    before = keyed_table.open_table(url).version

    version = TableWriter(url).insert(rows("d"), [pickle.loads(pickle.dumps(p)) for p in parts])

    assert version == before + 1
    assert [len(part) for part in parts] == [2, 1]
    assert sorted(names(url)) == ["a!", "b!", "c!", "d!"]


def test_written_rows_that_exist_are_not_repeated(url, monkeypatch):
    monkeypatch.setattr(keyed_table, "MIN_WRITTEN_BYTES", 0)
    parts = [keyed_table.TableSink(url)(rows(*keys)) for keys in ("ab", "cd")]
    keyed_table.insert(url, rows("b"))
    writer = TableWriter(url)

    writer.insert(SCHEMA.empty_table(), parts)
    again = writer.insert(SCHEMA.empty_table(), parts)

    assert sorted(names(url)) == ["a!", "b!", "c!", "d!"]
    assert again == keyed_table.open_table(url).version
    writer.retain(["a", "d"])
    assert sorted(names(url)) == ["a!", "d!"]


def test_few_bytes_are_not_written_by_the_sink(url):
    assert keyed_table.table_sink(keyed_table.existing_keys(url))(rows("a")) == rows("a")
    assert keyed_table.table_sink(frozenset()) is None


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


@pytest.fixture
def count_io(url, monkeypatch):
    """Return the reads and writes of an operation on the table."""
    opened, open_dataset = [], keyed_table.open_dataset

    def watched(*args):
        opened.append(open_dataset(*args))
        return opened[-1]

    monkeypatch.setattr(keyed_table, "open_dataset", watched)

    def count(work):
        for dataset in opened:
            dataset.io_stats_incremental()
        work()
        stats = [dataset.io_stats_incremental() for dataset in opened]
        return sum(item.read_iops for item in stats), sum(item.write_iops for item in stats)

    return count


def many(*spans):
    keys = [f"{number:09}" for start, end in spans for number in range(start, end)]
    return pa.table(
        {"key": keys, "name": keys, "vector": [[0.5]] * len(keys)},
        schema=SCHEMA,
    )


@pytest.fixture
def fragmented(url):
    """The table with 300 fragments of ten rows, written in three commits of 100 fragments."""
    dataset = lance.dataset(url)
    for hundred in range(3):
        parts = [
            write_fragments(many((start, start + 10)), dataset, mode="append")
            for start in range(1000 * hundred, 1000 * hundred + 1000, 10)
        ]
        append = lance.LanceOperation.Append([part for item in parts for part in item])
        dataset = lance.LanceDataset.commit(url, append, read_version=dataset.version)
    return url


def test_commit_to_many_fragments_reads_few_files(fragmented, count_io):
    writer = TableWriter(fragmented)
    first = count_io(lambda: writer.insert(many((3000, 3001))))

    second = count_io(lambda: writer.insert(many((2999, 3256))))
    third = count_io(lambda: writer.insert(many((3256, 3500))))

    assert first[0] > 300
    assert second[0] <= 10
    assert third[0] <= 10
    assert len(keyed_table.open_table(fragmented)) == 3500


def test_rows_of_whole_fragments_are_deleted_in_few_writes(fragmented, count_io):
    writes = count_io(lambda: keyed_table.retain(fragmented, many((2995, 3005)).column("key")))[1]

    assert writes <= 10
    assert names(fragmented) == [f"{number:09}" for number in range(2995, 3000)]


def test_a_hundred_thousand_rows_are_deleted_in_few_writes(url, count_io):
    keyed_table.insert(url, many((0, 200_000)))

    writes = count_io(lambda: keyed_table.retain(url, many((50_000, 150_000)).column("key")))[1]

    assert writes <= 10
    assert len(keyed_table.open_table(url)) == 100_000


def test_deletion_of_all_rows_removes_their_fragments(fragmented, count_io):
    assert count_io(lambda: keyed_table.retain(fragmented, ()))[1] <= 4
    assert lance.dataset(fragmented).get_fragments() == []

    keyed_table.insert(fragmented, rows("a"))

    assert names(fragmented) == ["a!"]


def test_deletions_of_several_commits_add_up(url):
    keyed_table.insert(url, rows(*"abcdef"))
    writer = TableWriter(url)

    for expected in ("abdef", "bdf", "f"):
        writer.retain(expected)
        assert "".join(names(url)) == "!".join([*expected, ""])


def test_deleted_key_can_be_inserted_again(url):
    writer = TableWriter(url)
    writer.insert(rows("a", "b"))
    writer.retain("b")
    writer.insert(rows("a", "b"))

    assert sorted(names(url)) == ["a!", "b!"]


def test_repeated_key_of_a_batch_is_inserted_once(url):
    keyed_table.insert(url, rows(*"abacb"))

    assert names(url) == ["a!", "b!", "c!"]


def test_insert_without_rows_makes_no_version(url):
    before = keyed_table.open_table(url).version

    assert keyed_table.insert(url, rows()) == before


def test_compacted_table_has_same_rows_in_same_order(fragmented):
    keyed_table.tag(fragmented, "old", 3)
    writer = TableWriter(fragmented)
    version = writer.retain(many((5, 2995)).column("key"))
    before = keyed_table.open_table(fragmented, version)
    order = before.order("key")

    compacted = keyed_table.open_table(fragmented, writer.compact(version))

    assert compacted.version > version
    assert len(lance.dataset(fragmented).get_fragments()) == 1
    assert compacted.read(["key", "name"]) == before.read(["key", "name"])
    assert compacted.take(order[:3], ["key"]) == before.take(order[:3], ["key"])
    assert names(fragmented, "old") == [f"{number:09}" for number in range(2000)]


def test_table_of_few_fragments_is_not_compacted(url):
    writer = TableWriter(url)
    for key in "abc":
        version = writer.insert(rows(key))

    assert writer.compact(version) == version == keyed_table.open_table(url).version


def test_fragments_of_full_size_are_not_rewritten(fragmented, monkeypatch):
    writer = TableWriter(fragmented)
    writer.compact(keyed_table.open_table(fragmented).version)
    (full,) = [item.data_files()[0].path for item in lance.dataset(fragmented).get_fragments()]
    size = lance.dataset(fragmented).get_fragments()[0].data_files()[0].file_size_bytes
    monkeypatch.setattr(keyed_table, "MAX_BYTES", size // 2)
    for number in range(20):
        version = writer.insert(many((3000 + number, 3001 + number)))

    writer.compact(version)

    first, *others = lance.dataset(fragmented).get_fragments()
    assert first.data_files()[0].path == full
    assert len(others) == 1


def test_table_with_commits_of_others_is_not_compacted(fragmented):
    writer = TableWriter(fragmented)
    version = writer.insert(many((3000, 3001)))
    keyed_table.insert(fragmented, rows("a"))

    assert writer.compact(version) == version


def test_concurrent_writers_lose_and_repeat_nothing(url):
    """Writers insert the same rows in other orders, delete those of nobody, and compact."""
    keyed_table.insert(url, many((0, 5)))

    def write(seed):
        writer = TableWriter(url)
        expected = many((100, 160))
        version = writer.retain(expected.column("key"))
        for start in random.Random(seed).sample(range(0, 60, 3), 20):
            version = writer.insert(expected.slice(start, 5))
        writer.compact(version)

    at_once(*(partial(write, seed) for seed in range(4)))

    assert sorted(names(url)) == [f"{number:09}" for number in range(100, 160)]


def test_ensure_of_existing_table_changes_nothing(url):
    keyed_table.insert(url, rows("a"))
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


def test_take_counts_remaining_rows_only(url):
    keyed_table.insert(url, rows(*"abcdef"))
    keyed_table.insert(url, rows(*"ghi"))
    keyed_table.retain(url, {*"bcfi"})
    table = keyed_table.open_table(url)
    stored = table.read(["name"]).column("name").to_pylist()

    taken = table.take([3, 0, 3, 2], ["name"]).column("name").to_pylist()

    assert taken == [stored[row] for row in (3, 0, 3, 2)]
    assert table.take([], ["name"]).num_rows == 0


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
