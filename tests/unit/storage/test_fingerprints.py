import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import BaseModel

from fb_marketplace.storage import fingerprints, keyed_table, table_writer
from fb_marketplace.storage.fingerprints import (
    content_digest,
    make_key,
    sha256,
    stage_digest,
    table_digest,
)


class Told(BaseModel):
    size: int = 3
    names: tuple[str, ...] = ("a",)


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "id": ["b", "a", "c"],
            "price": [1.5, float("nan"), 3.0],
            "count": [1, 2, 3],
            "flag": [True, False, True],
            "vector": [[1, 2], [3], []],
            "jpeg": [b"x", b"y", b"z"],
        }
    )


def test_sha256_is_of_the_bytes():
    assert sha256(b"abc") == hashlib.sha256(b"abc").hexdigest()


def test_combined_key_depends_on_each_part_and_boundary():
    keys = {
        make_key("a", "b"),
        make_key("b", "a"),
        make_key("ab"),
        make_key("ab", ""),
        make_key("a,b"),
    }

    assert len(keys) == 5
    assert make_key("a", 1) == make_key("a", 1)


def test_digest_ignores_order_of_rows_and_columns(table):
    shuffled = table.sample(frac=1, random_state=3)[list(reversed(table.columns))]

    assert content_digest(shuffled, "id") == content_digest(table, "id")


def test_digest_ignores_kind_of_missing_value(table):
    other = table.assign(price=table["price"].astype("object").where(table["price"].notna(), None))
    texts = pd.DataFrame({"id": ["a"], "town": pd.Series([None], dtype="str")})
    objects = pd.DataFrame({"id": ["a"], "town": pd.Series([None], dtype="object")})

    assert content_digest(other, "id") == content_digest(table, "id")
    assert content_digest(texts, "id") == content_digest(objects, "id")


def test_digest_of_list_equals_digest_of_array(table):
    arrays = table.assign(vector=[np.array(item, dtype=np.int64) for item in table["vector"]])

    assert content_digest(arrays, "id") == content_digest(table, "id")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "d"),
        ("price", 1.6),
        ("count", 9),
        ("flag", False),
        ("jpeg", b"w"),
        ("vector", [2, 1]),
    ],
)
def test_digest_depends_on_each_cell(table, column, value):
    changed = table.assign(**{column: [value, *table[column].iloc[1:]]})

    assert content_digest(changed, "id") != content_digest(table, "id")


def test_digest_distinguishes_missing_and_empty_text():
    missing, empty = (pd.DataFrame({"id": ["a"], "town": [town]}) for town in (None, ""))

    assert content_digest(missing, "id") != content_digest(empty, "id")


def test_digest_depends_on_column_names(table):
    assert content_digest(table.rename(columns={"count": "sum"}), "id") != content_digest(
        table, "id"
    )


def test_digest_sorts_by_several_columns():
    table = pd.DataFrame({"a": ["x", "x", "y"], "b": ["2", "1", "0"], "c": [1, 2, 3]})

    assert content_digest(table, ["a", "b"]) == content_digest(table.iloc[::-1], ["a", "b"])


def test_stage_digest_depends_on_each_input():
    digests = {
        stage_digest("read", 1, Told(), ["numpy"]),
        stage_digest("write", 1, Told(), ["numpy"]),
        stage_digest("read", 2, Told(), ["numpy"]),
        stage_digest("read", 1, Told(size=4), ["numpy"]),
        stage_digest("read", 1, Told(), ["numpy", "pandas"]),
        stage_digest("read", 1, None, ["numpy"]),
    }

    assert len(digests) == 6
    assert stage_digest("read", 1, Told(), ["numpy"]) in digests


def test_stage_digest_depends_on_library_version(monkeypatch):
    before = stage_digest("read", 1, libraries=["numpy"])
    monkeypatch.setattr("fb_marketplace.storage.fingerprints.version", lambda library: "0.0")

    assert stage_digest("read", 1, libraries=["numpy"]) != before


SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        ("id", pa.string()),
        ("vector", pa.list_(pa.float32())),
    ]
)
VECTORS = {"a": [1.0, 0.5], "b": [0.25, 2.0], "c": [0.0, 0.0], "d": [3.0, 4.0], "e": [5.0, 6.0]}


@pytest.fixture
def digest_of(tmp_path):
    """Writes vectors to a table, in one commit or one each, and gives the digest of its content."""

    def digest(name, vectors, at_once=True):
        url = str(tmp_path / f"{name}.lance")
        keyed_table.ensure_table(url, SCHEMA)
        rows = [
            {"key": f"{name} {item}", "id": item, "vector": vector}
            for item, vector in vectors.items()
        ]
        for part in [rows] if at_once else [[row] for row in rows]:
            table_writer.insert(url, pa.Table.from_pylist(part, schema=SCHEMA))
        return table_digest(keyed_table.open_table(url), "id", ["id"], ["vector"])

    return digest


def test_table_digest_ignores_order_and_commits(digest_of, monkeypatch):
    expected = digest_of("one", VECTORS)
    monkeypatch.setattr(fingerprints, "DIGEST_BATCH_SIZE", 2)

    assert digest_of("other", dict(reversed(VECTORS.items())), at_once=False) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"a": [1.0, float(np.nextafter(np.float32(0.5), np.float32(1)))]},
        {"a": [0.5, 1.0]},
        {"f": [1.0, 0.5]},
    ],
)
def test_table_digest_depends_on_each_number_and_row(digest_of, change):
    assert digest_of("one", VECTORS) != digest_of("other", VECTORS | change)


def test_empty_table_has_a_digest(digest_of):
    assert digest_of("one", {}) == digest_of("other", {})
