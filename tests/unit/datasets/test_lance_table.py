import subprocess
import sys

import lance
import pyarrow as pa
import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets import lance_table
from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.errors import UserError
from fb_marketplace.storage import keyed_table, table_writer
from fb_marketplace.storage.keyed_table import KeepOnly
from fb_marketplace.storage.table_writer import TableSink, TableWriter, WrittenRows

LETTERS = pa.schema(
    [pa.field("key", pa.string(), nullable=False), pa.field("number", pa.int64(), nullable=False)]
)


def rows(keys):
    return pa.table({"key": list(keys), "number": range(len(keys))}, schema=LETTERS)


def keys(table):
    return "".join(sorted(table.read(["key"]).column("key").to_pylist()))


@pytest.fixture
def letters(tmp_path):
    """The table as a run of this version sees it."""
    return lambda version=None: LanceTableDataset(
        f"{tmp_path}/letters.lance", f"{__name__}.LETTERS", version
    )


def test_batches_are_appended(letters):
    dataset = letters()
    dataset.save(rows("ab"))
    dataset.save(rows("bc"))

    assert keys(dataset.load()) == "abc"


def test_unwanted_rows_are_deleted(letters):
    dataset = letters()
    dataset.save(rows("abc"))
    dataset.save(KeepOnly(frozenset("b")))

    assert keys(dataset.load()) == "b"


def test_retain_creates_missing_table(letters):
    dataset = letters()
    dataset.save(KeepOnly(frozenset("a")))

    assert keys(dataset.load()) == ""


def test_each_version_is_loaded_by_its_tag(letters, first, second):
    one, two = letters(first), letters(second)
    one.save(rows("ab"))
    one.seal()
    two.save(KeepOnly(frozenset("b"), existing=frozenset("ab")))
    two.save(rows("c"))
    two.seal()

    assert keys(letters(first).load()) == "ab"
    assert keys(letters(second).load()) == "bc"


def test_run_loads_its_own_commits(letters, first):
    dataset = letters(first)
    dataset.save(rows("ab"))

    assert keys(dataset.load()) == "ab"


def test_failed_run_leaves_rows_and_no_version(letters, first, second):
    letters(first).save(rows("ab"))

    with pytest.raises(DatasetError, match="2026-01-01"):
        letters(first).load()
    assert keyed_table.existing_keys(letters()._filepath) == {"a", "b"}
    going_on = letters(second)
    going_on.save(KeepOnly(frozenset("abc"), existing=frozenset("ab")))
    going_on.save(rows("c"))
    assert keys(going_on.load()) == "abc"


def test_version_is_unchanged_by_later_writes(letters, first, second):
    reader = letters(first)
    reader.save(rows("a"))
    table = reader.load()
    letters(second).save(KeepOnly(frozenset()))

    assert keys(table) == "a"


def test_seal_is_idempotent(letters, first):
    dataset = letters(first)
    dataset.save(rows("a"))
    dataset.seal()
    dataset.seal()

    assert keys(letters(first).load()) == "a"


def test_exists_after_seal(letters, first):
    dataset = letters(first)
    assert not dataset.exists()
    dataset.save(rows("a"))
    dataset.seal()

    assert letters(first).exists()


def test_columns_may_come_in_any_order(letters):
    dataset = letters()
    dataset.save(pa.table({"more": ["x"], "number": [1], "key": ["a"]}))

    assert dataset.load().read(["key", "number"]).to_pylist() == [{"key": "a", "number": 1}]


@pytest.mark.parametrize("expected", ["", "c", "bc"])
def test_concurrently_changed_table_is_not_sealed(letters, first, second, expected):
    one, other = letters(first), letters(second)
    one.save(KeepOnly(frozenset("ab")))
    one.save(rows("a"))
    other.save(KeepOnly(frozenset(expected)))
    other.save(rows(expected))
    one.save(rows("b"))

    with pytest.raises(UserError, match=r"letters\.lance"):
        one.seal()
    assert not letters(first).exists()


def test_retained_row_deleted_meanwhile_is_missing(letters, first, second):
    letters().save(rows("ab"))
    one, other = letters(first), letters(second)
    other.save(KeepOnly(frozenset("a"), existing=frozenset("ab")))
    one.save(KeepOnly(frozenset("ab"), existing=frozenset("ab")))

    with pytest.raises(UserError, match=r"\.lance"):
        one.seal()


def test_concurrent_equal_runs_both_seal(letters, first, second):
    one, other = letters(first), letters(second)
    one.save(KeepOnly(frozenset("ab")))
    one.save(rows("a"))
    other.save(KeepOnly(frozenset("ab")))
    other.save(rows("ab"))
    one.save(rows("b"))
    one.seal()
    other.seal()

    assert keys(letters(first).load()) == keys(letters(second).load()) == "ab"


@pytest.fixture
def filled(letters):
    """A table of a hundred rows."""
    letters().save(numbered(0, 100))
    return letters


def numbered(start, end):
    return rows([f"{number:04}" for number in range(start, end)])


def count(dataset):
    return len(keyed_table.existing_keys(dataset._filepath))


def test_batches_are_committed_together(filled):
    dataset = filled()
    dataset.save(KeepOnly(keyed_table.existing_keys(dataset._filepath)))
    before = keyed_table.open_table(dataset._filepath).version

    counts = []
    for number in range(100, 108):
        dataset.save(numbered(number, number + 1))
        counts.append(count(dataset))

    assert counts == [100, 100, 100, 100, 105, 105, 105, 105]
    assert len(dataset.load()) == 108
    assert keyed_table.open_table(dataset._filepath).version == before + 2


@pytest.mark.parametrize("limit", ["MAX_UNCOMMITTED_SECONDS", "MAX_UNCOMMITTED_BYTES"])
def test_old_or_large_batches_are_committed(filled, monkeypatch, limit):
    dataset = filled()
    dataset.save(KeepOnly(keyed_table.existing_keys(dataset._filepath)))
    dataset.save(numbered(100, 101))
    assert count(dataset) == 100
    monkeypatch.setattr(lance_table, limit, 0)

    dataset.save(numbered(101, 102))

    assert count(dataset) == 102


def test_last_rows_are_committed_when_sealed(filled, first):
    dataset = filled(first)
    existing = keyed_table.existing_keys(dataset._filepath)
    dataset.save(KeepOnly([*existing, "0100"], existing))
    dataset.save(numbered(100, 101))
    dataset.seal()

    assert len(filled(first).load()) == 101


def test_rows_that_workers_have_written_are_sealed(filled, first, monkeypatch):
    monkeypatch.setattr(table_writer, "MIN_WRITTEN_BYTES", 0)
    dataset = filled(first)
    existing = keyed_table.existing_keys(dataset._filepath)
    dataset.save(KeepOnly([*existing, "0100", "0101", "0102"], existing))
    dataset.save(numbered(100, 101))
    written = TableSink(dataset._filepath)(numbered(101, 103))
    dataset.save(written)

    assert isinstance(written, WrittenRows)
    assert count(dataset) == 100
    dataset.seal()
    table = filled(first).load().read(["key", "number"]).slice(100).sort_by("key")
    assert table["key"].to_pylist() == ["0100", "0101", "0102"]
    assert table["number"].to_pylist() == [0, 0, 1]


def test_many_rows_of_workers_are_committed(filled, monkeypatch):
    monkeypatch.setattr(table_writer, "MIN_WRITTEN_BYTES", 0)
    dataset = filled()
    dataset.save(KeepOnly(keyed_table.existing_keys(dataset._filepath)))
    dataset.save(TableSink(dataset._filepath)(numbered(100, 105)))

    assert count(dataset) == 105


def test_sealed_table_has_few_fragments_and_older_versions(filled, first, second, monkeypatch):
    monkeypatch.setattr(lance_table, "COMMIT_SHARE", 0)
    for start, run in ((100, first), (130, second)):
        dataset = filled(run)
        existing = keyed_table.existing_keys(dataset._filepath)
        dataset.save(KeepOnly(numbered(0, start + 30).column("key"), existing))
        for number in range(start, start + 30):
            dataset.save(numbered(number, number + 1))
        dataset.seal()

        assert len(lance.dataset(dataset._filepath).get_fragments()) == 1

    assert len(filled(first).load()) == 130
    assert len(filled(second).load()) == 160


def test_rows_of_others_are_not_compacted_into_a_version(filled, first, second, monkeypatch):
    """Both runs want the same rows; the other one ends while this one compacts."""
    monkeypatch.setattr(lance_table, "COMMIT_SHARE", 0)
    dataset = filled(first)
    existing = keyed_table.existing_keys(dataset._filepath)
    dataset.save(KeepOnly([*existing, *(f"{number:04}" for number in range(100, 130))], existing))
    for number in range(100, 130):
        dataset.save(numbered(number, number + 1))
    compact = TableWriter.compact

    def late(self, version):
        compacted = compact(self, version)
        return table_writer.insert(dataset._filepath, numbered(500, 501)) if compacted else 0

    monkeypatch.setattr(TableWriter, "compact", late)
    dataset.seal()

    assert len(filled(first).load()) == 130


def test_killed_run_loses_few_rows(filled, first):
    url = filled()._filepath
    script = (
        "import sys\n"
        f"from {__name__} import numbered, LETTERS, LanceTableDataset\n"
        f"dataset = LanceTableDataset({url!r}, '{__name__}.LETTERS')\n"
        "for number in range(100, 9999):\n"
        "    dataset.save(numbered(number, number + 1))\n"
        "    print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        saved = next(int(line) for line in process.stdout if int(line) >= 150) + 1
        process.kill()
    existing = keyed_table.existing_keys(url)

    assert len(existing) >= saved * (1 - lance_table.COMMIT_SHARE)
    resumed = filled(first)
    expected = numbered(0, 300)
    resumed.save(KeepOnly(expected.column("key"), existing))
    resumed.save(expected.slice(len(existing)))
    assert len(resumed.load()) == 300
