import pyarrow as pa
import pytest
from kedro.io import DatasetError

from fb_marketplace.datasets.lance_table import LanceTableDataset
from fb_marketplace.errors import UserError
from fb_marketplace.storage import keyed_table
from fb_marketplace.storage.keyed_table import KeepOnly

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
