"""Deleted rows that leave a table: their bytes too, and every version that has a name."""

import lance
import pyarrow as pa
import pytest
from lance.dataset import Tags
from support.builders.small_lake import LETTERS, TABLE, SmallLake, version

from fb_marketplace.storage import keyed_table, table_versions, table_writer
from fb_marketplace.storage.table_versions import compact


@pytest.fixture
def lake(tmp_path):
    return SmallLake(tmp_path)


@pytest.fixture
def url(lake):
    """A table whose second run deleted a row of the first from among its neighbours."""
    url = str(lake.root / TABLE)
    keyed_table.ensure_table(url, LETTERS)
    keyed_table.tag(
        url, version(1), table_writer.insert(url, pa.table({"key": list("abc")}, schema=LETTERS))
    )
    keyed_table.tag(url, version(2), table_writer.retain(url, frozenset("bc")))
    lance.dataset(url).tags.delete(version(1))
    return url


def keys(url, version=None):
    return "".join(keyed_table.open_table(url, version).read(["key"]).column("key").to_pylist())


def has_deleted(url, version=None):
    table = lance.dataset(url, version=version)
    return any(item.deletion_file() for item in table.get_fragments())


def test_tag_moves_to_compacted_version(url):
    assert compact(url)

    assert (keys(url), keys(url, version(2))) == ("bc", "bc")
    assert not has_deleted(url)
    assert not has_deleted(url, version(2))
    assert not compact(url)


def test_rewritten_files_stay_small(url, monkeypatch):
    monkeypatch.setattr(table_versions, "MAX_BYTES", 1024 * 1024)
    large = [f"{number:09}".rjust(999) for number in range(9999)]
    table_writer.insert(url, pa.table({"key": large}, schema=LETTERS))
    table_writer.retain(url, frozenset(large[1:]))

    compact(url)

    assert lance.dataset(url).count_rows() == 9998
    assert len(lance.dataset(url).get_fragments()) > 1


def test_killed_tag_move_is_repaired_by_next(url, monkeypatch):
    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Tags, "update", dies)
        with pytest.raises(KeyboardInterrupt):
            compact(url)

    compact(url)

    assert keys(url, version(2)) == "bc"
    assert not has_deleted(url, version(2))
    assert keyed_table.open_table(url).version == keyed_table.open_table(url, version(2)).version


def test_rows_of_killed_run_stay_in_latest(lake, url):
    lake.commit("bcd")

    compact(url)

    assert keys(url) == "bcd"
    assert keys(url, version(2)) == "bc"
    assert not has_deleted(url)
    assert not has_deleted(url, version(2))


def test_rows_of_killed_run_stay_in_rewritten_latest(lake, url):
    lance.dataset(url).optimize.compact_files(materialize_deletions_threshold=0.0)
    lake.commit("bcd")

    compact(url)

    assert keys(url) == "bcd"
    assert keys(url, version(2)) == "bc"
    assert not has_deleted(url, version(2))
