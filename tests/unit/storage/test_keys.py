import pyarrow as pa
import pytest

from fb_marketplace.storage.fingerprints import make_key
from fb_marketplace.storage.keyed_table import TableKeys
from fb_marketplace.storage.keys import Keys, iterate_rows, make_keys


def test_keys_are_a_set():
    keys = Keys(pa.array(list("abab")))

    assert len(keys) == 2
    assert list(keys) == ["a", "b"]
    assert "a" in keys
    assert "c" not in keys
    assert 1 not in keys
    assert keys == {"b", "a"}
    assert keys != {"a", "c"}
    assert keys != "ab"


def test_set_operations_equal_those_of_python():
    one, other = Keys("abc"), TableKeys("bcd", "memory://table")

    assert (one & other) == set("bc")
    assert (one - other) == set("a")
    assert (set("abc") - other) == set("a")
    assert (other | one) == set("abcd")
    assert one & other <= one
    assert not one <= other


def test_contains_checks_keys_in_order():
    chunks = pa.chunked_array([["a", "x"], ["b"]], pa.string())

    assert Keys("ab").contains(chunks).tolist() == [True, False, True]
    assert Keys().contains(chunks).tolist() == [False, False, False]
    assert Keys("ab").contains(pa.array([], pa.string())).tolist() == []


@pytest.mark.parametrize("text", ["", 'a"b\\c', "\n\x00\x7f", "漢😀é", "7"])
def test_made_keys_equal_single_ones(text):
    rows = [(text, 7), ("other", text)]

    assert make_keys(rows, text, 3).to_pylist() == [make_key(*row, text, 3) for row in rows]


def test_made_keys_span_chunks(monkeypatch):
    monkeypatch.setattr("fb_marketplace.storage.keys.KEYS_PER_CHUNK", 2)
    table = pa.table({"id": list("abcde"), "size": range(5)})

    assert list(iterate_rows(table)) == list(zip("abcde", range(5), strict=True))
    assert make_keys(iterate_rows(table)).to_pylist() == [
        make_key(letter, number) for number, letter in enumerate("abcde")
    ]
    assert make_keys([]).to_pylist() == []
