import pickle
import random
from functools import partial

import lance
import pyarrow as pa
import pytest
from lance.fragment import write_fragments
from support.builders.letter_rows import SCHEMA, at_once, names, rows

from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.table_writer import TableWriter


def test_existing_key_is_not_overwritten(url):
    table_writer.insert(url, rows("a"))
    table_writer.insert(url, rows("a", "b").set_column(1, "name", [["other", "b!"]]))

    assert sorted(names(url)) == ["a!", "b!"]


def test_insert_is_idempotent(url):
    table_writer.insert(url, rows("a", "b"))
    table_writer.insert(url, rows("a", "b"))

    assert len(keyed_table.open_table(url)) == 2


def test_written_rows_are_committed_together(url, monkeypatch):
    monkeypatch.setattr(table_writer, "MIN_WRITTEN_BYTES", 0)
    parts = [table_writer.TableSink(url)(rows(*keys)) for keys in ("ab", "c")]
    before = keyed_table.open_table(url).version

    version = TableWriter(url).insert(rows("d"), [pickle.loads(pickle.dumps(p)) for p in parts])

    assert version == before + 1
    assert [len(part) for part in parts] == [2, 1]
    assert sorted(names(url)) == ["a!", "b!", "c!", "d!"]


def test_written_rows_that_exist_are_not_repeated(url, monkeypatch):
    monkeypatch.setattr(table_writer, "MIN_WRITTEN_BYTES", 0)
    parts = [table_writer.TableSink(url)(rows(*keys)) for keys in ("ab", "cd")]
    table_writer.insert(url, rows("b"))
    writer = TableWriter(url)

    writer.insert(SCHEMA.empty_table(), parts)
    again = writer.insert(SCHEMA.empty_table(), parts)

    assert sorted(names(url)) == ["a!", "b!", "c!", "d!"]
    assert again == keyed_table.open_table(url).version
    writer.retain(["a", "d"])
    assert sorted(names(url)) == ["a!", "d!"]


def test_few_bytes_are_not_written_by_the_sink(url):
    assert table_writer.table_sink(keyed_table.existing_keys(url))(rows("a")) == rows("a")
    assert table_writer.table_sink(frozenset()) is None


def test_concurrent_inserts_add_rows_once(url):
    at_once(*(partial(table_writer.insert, url, rows(*"abcd")) for _ in range(6)))

    assert sorted(names(url)) == ["a!", "b!", "c!", "d!"]


def test_concurrent_retains_keep_all_rows(url):
    table_writer.insert(url, rows(*"abcdef"))

    at_once(*(partial(table_writer.retain, url, frozenset("ab")) for _ in range(4)))

    assert sorted(names(url)) == ["a!", "b!"]


def test_unwanted_rows_are_deleted(url):
    table_writer.insert(url, rows("a", "b", "c"))
    table_writer.retain(url, frozenset({"b", "z"}))

    assert names(url) == ["b!"]


@pytest.fixture
def count_io(url, monkeypatch):
    """Return the reads and writes of an operation on the table."""
    opened, open_dataset = [], table_writer.open_dataset

    def watched(*args):
        opened.append(open_dataset(*args))
        return opened[-1]

    monkeypatch.setattr(table_writer, "open_dataset", watched)

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
    writes = count_io(lambda: table_writer.retain(fragmented, many((2995, 3005)).column("key")))[1]

    assert writes <= 10
    assert names(fragmented) == [f"{number:09}" for number in range(2995, 3000)]


def test_a_hundred_thousand_rows_are_deleted_in_few_writes(url, count_io):
    table_writer.insert(url, many((0, 200_000)))

    writes = count_io(lambda: table_writer.retain(url, many((50_000, 150_000)).column("key")))[1]

    assert writes <= 10
    assert len(keyed_table.open_table(url)) == 100_000


def test_deletion_of_all_rows_removes_their_fragments(fragmented, count_io):
    assert count_io(lambda: table_writer.retain(fragmented, ()))[1] <= 4
    assert lance.dataset(fragmented).get_fragments() == []

    table_writer.insert(fragmented, rows("a"))

    assert names(fragmented) == ["a!"]


def test_deletions_of_several_commits_add_up(url):
    table_writer.insert(url, rows(*"abcdef"))
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
    table_writer.insert(url, rows(*"abacb"))

    assert names(url) == ["a!", "b!", "c!"]


def test_insert_without_rows_makes_no_version(url):
    before = keyed_table.open_table(url).version

    assert table_writer.insert(url, rows()) == before


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
    monkeypatch.setattr(table_writer, "MAX_BYTES", size // 2)
    for number in range(20):
        version = writer.insert(many((3000 + number, 3001 + number)))

    writer.compact(version)

    first, *others = lance.dataset(fragmented).get_fragments()
    assert first.data_files()[0].path == full
    assert len(others) == 1


def test_table_with_commits_of_others_is_not_compacted(fragmented):
    writer = TableWriter(fragmented)
    version = writer.insert(many((3000, 3001)))
    table_writer.insert(fragmented, rows("a"))

    assert writer.compact(version) == version


def test_concurrent_writers_lose_and_repeat_nothing(url):
    """Writers insert the same rows in other orders, delete those of nobody, and compact."""
    table_writer.insert(url, many((0, 5)))

    def write(seed):
        writer = TableWriter(url)
        expected = many((100, 160))
        version = writer.retain(expected.column("key"))
        for start in random.Random(seed).sample(range(0, 60, 3), 20):
            version = writer.insert(expected.slice(start, 5))
        writer.compact(version)

    at_once(*(partial(write, seed) for seed in range(4)))

    assert sorted(names(url)) == [f"{number:09}" for number in range(100, 160)]
