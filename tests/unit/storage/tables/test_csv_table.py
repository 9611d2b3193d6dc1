"""CSV tables as files: options, packing, encodings; runs and checks read the same."""

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import zipfile

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables import csv_table
from fb_marketplace.storage.tables.csv_rows import TORN
from fb_marketplace.storage.tables.csv_table import read_head, read_table

AS_WRITTEN = {"dtype": str, "keep_default_na": False, "na_filter": False}
TEXT = 'id,name,price\n1,"caf\u00e9, old",5\n2,elm\r tree,6\n3,"two ""big""\nlines",7\n'
TYPED = "a;b;c;d\n1;1.234,5;yes;2024-01-02\n2;;no;n/a\n3;2,5;yes;2024-01-03\n"


@pytest.fixture
def write(tmp_path):
    """Write a table; gives its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def zipped(*members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in members:
            archive.writestr(name, TEXT if name.endswith(".csv") else "x")
    return packed.getvalue()


def tarred(*names):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(TEXT.encode())
            archive.addfile(member, io.BytesIO(TEXT.encode()))
    return packed.getvalue()


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


PACKED = {
    "gzip": gzip.compress(TEXT.encode()),
    "gzip-parts": gzip.compress(TEXT[:20].encode()) + gzip.compress(TEXT[20:].encode()),
    "bz2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "zstd": zstd(TEXT.encode()),
    "zstd-parts": zstd(TEXT[:20].encode()) + zstd(TEXT[20:].encode()),
    "zip": zipped("table.csv"),
    "zip-macos": zipped("Assets/", "Assets/t.csv", "__MACOSX/Assets/._t.csv", ".DS_Store"),
    "tar": tarred("table.csv"),
    "tar.gz": gzip.compress(tarred("./._table.csv", "table.csv")),
    "zip.gz": gzip.compress(zipped("table.csv")),
    "plain": TEXT.encode(),
}


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table.csv.zip", "table.data"])
@pytest.mark.parametrize("packing", PACKED)
def test_packing_is_detected_under_any_name(write, packing, name):
    path = write(PACKED[packing], name)

    table, head = read_table(path, AS_WRITTEN), read_head(path, AS_WRITTEN)

    pd.testing.assert_frame_equal(table, read_table(write(TEXT, "plain.csv"), AS_WRITTEN))
    pd.testing.assert_frame_equal(table, head.rows)
    assert table["name"].tolist() == ["caf\u00e9, old", "elm\r tree", 'two "big"\nlines']


@pytest.mark.parametrize(
    ("content", "load_args", "pattern"),
    [
        (zipped("a.csv", "b.csv"), {}, r"2 files: a\.csv, b\.csv"),
        (zipped(), {}, "0 files"),
        (tarred("a.csv", "b/c.csv"), {}, r"a\.csv, b/c\.csv"),
        (PACKED["gzip"][:-12], {}, "unpacked.*Upload it again"),
        (PACKED["bz2"][:-9], {}, "unpacked.*Upload it again"),
        (PACKED["xz"][:-9], {}, "unpacked.*Upload it again"),
        (PACKED["zip"][:-30], {}, "unpacked.*Upload it again"),
        (PACKED["zstd"][:-9], {}, "unpacked.*Upload it again"),
        (PACKED["gzip"], {"compression": None}, "gzip.*`compression`"),
        (PACKED["gzip"], {"compression": "zip"}, "gzip.*`compression`"),
        (TEXT.encode(), {"compression": {"method": "gzip"}}, "none.*`compression`"),
        (pd.DataFrame({"id": ["1"]}).to_parquet(), {}, "Parquet.*`type: "),
        (gzip.compress(b"7z\xbc\xaf\x27\x1c\0\4"), {}, "7z.*gzip"),
    ],
)
def test_unreadable_packing_is_reported(write, content, load_args, pattern):
    path = write(content)

    for read in (read_table, read_head):
        with pytest.raises(UserError, match=pattern):
            read(path, load_args)


@pytest.mark.parametrize(
    ("method", "packing"), [("gzip", "gzip"), ({"method": "zip"}, "zip"), (None, "plain")]
)
def test_packing_can_be_set(write, method, packing):
    assert len(read_table(write(PACKED[packing]), {"compression": method})) == 3


SPELLINGS = ["UTF_16", "utf-16", "U16", "utf-16-le", "UTF-16BE", "utf_32", "utf-32-be", "utf-8-sig"]
SPELLINGS += ["latin1", "ISO-8859-1", "cp1252", "windows-1252", "Cp437", "utf8", "mac_roman", "gbk"]


@pytest.mark.parametrize("encoding", SPELLINGS)
def test_encoding_can_be_set(write, encoding):
    text = TEXT if encoding != "gbk" else TEXT.replace("caf\u00e9", "\u8336")
    path = write(text.encode(encoding))

    table, head = (
        read(path, AS_WRITTEN | {"encoding": encoding}) for read in (read_table, read_head)
    )

    pd.testing.assert_frame_equal(table, read_table(write(text, "plain.csv"), AS_WRITTEN))
    pd.testing.assert_frame_equal(table, head.rows)


@pytest.mark.parametrize("setting", [None, "utf-16", "own"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_byte_order_mark_decides(write, monkeypatch, encoding, setting):
    monkeypatch.setattr(csv_table, "HEAD_BYTES", 4096)
    if setting == "utf-16" and "16" not in encoding:
        setting = None
    load_args = {} if setting is None else {"encoding": encoding if setting == "own" else setting}
    text = TEXT + "".join(f"{number},caf\u00e9,5\n" for number in range(1000))
    path = write(("\ufeff" + text).encode(encoding))

    table, head = read_table(path, load_args), read_head(path, load_args)

    assert table.columns.tolist() == head.rows.columns.tolist() == ["id", "name", "price"]
    assert len(table) == 1003 > len(head.rows) > 50
    assert head.torn == {}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("setting", [None, "utf-16"])
def test_utf_16_without_mark_is_detected(write, encoding, setting):
    table = read_table(write(TEXT.encode(encoding)), {"encoding": setting})

    assert table["name"][0] == "caf\u00e9, old"


@pytest.mark.parametrize(
    ("content", "load_args", "pattern"),
    [
        (("caf\u00e9,b\n" * 5).encode("cp1252"), {}, r"utf-8.*5 of 5 lines.*`encoding`"),
        ("\u8336,\u8336\n\u8336,\u8336\n".encode("utf-16-le"), {}, "`encoding`"),
        (("\ufeff" + TEXT).encode("utf-16"), {"encoding": "utf-8"}, "utf-16-le.*`encoding`"),
        (("\ufeff" + TEXT).encode(), {"encoding": "cp1252"}, "mark of utf-8.*`encoding`"),
        (("\ufeff" + TEXT).encode("utf-16-be"), {"encoding": "utf-16-le"}, "utf-16-be.*`encoding`"),
        (TEXT.encode(), {"encoding": "utf-9"}, r"'utf-9'.*`encoding`"),
        (TEXT.encode(), {"encoding": "rot13"}, r"'rot13'.*`encoding`"),
        (b"a,b\n1,caf\xe9\n", {"encoding_errors": "strict"}, "`encoding`"),
    ],
)
def test_other_encoding_is_reported(write, content, load_args, pattern):
    path = write(content)

    for read in (read_table, read_head):
        with pytest.raises(UserError, match=pattern):
            read(path, load_args)


@pytest.mark.parametrize(
    ("errors", "expected"),
    [("ignore", "caf"), ("replace", "caf\ufffd"), ("backslashreplace", r"caf\xe9")],
)
def test_error_handler_can_be_set(write, errors, expected):
    table = read_table(write(b"a,b\n1,caf\xe9\n"), {"encoding_errors": errors})

    assert table["b"].tolist() == [expected]


@pytest.mark.filterwarnings("ignore:Falling back")
@pytest.mark.parametrize(
    "load_args",
    [
        {},
        {"usecols": ["a", "c"]},
        {"usecols": [0, 1]},
        {"dtype": {"a": "str"}},
        {"dtype_backend": "pyarrow"},
        {"decimal": ",", "thousands": "."},
        {"na_values": ["yes"]},
        {"keep_default_na": False},
        {"na_filter": False},
        {"true_values": ["yes"], "false_values": ["no"]},
        {"parse_dates": ["d"], "na_values": ["n/a"]},
        {"parse_dates": ["d"], "date_format": "%Y-%m-%d"},
        {"converters": {"a": len}},
        {"nrows": 2},
        {"skiprows": 1},
        {"header": 1},
        {"header": None, "names": list("wxyz")},
        {"header": 0, "names": list("wxyz")},
        {"names": list("wxyz")},
        {"comment": "y"},
        {"skipinitialspace": True},
        {"quoting": 3},
        {"quoting": 1},
        {"decimal": ",", "thousands": None},
        {"low_memory": False, "cache_dates": False, "dayfirst": True},
        {"on_bad_lines": "error", "index_col": None, "skip_blank_lines": True, "engine": "c"},
        {"delimiter": ";"},
        {"sep": r"\t"},
        {"lineterminator": "\n"},
        {"escapechar": "\\"},
        {"quotechar": "'"},
        {"doublequote": False},
    ],
    ids=str,
)
def test_option_works_as_in_pandas(write, load_args):
    text = TYPED.replace("yes\n", "'yes'\n") if "quotechar" in load_args else TYPED
    if load_args.get("comment"):
        text = "a;b;c;d\n1;2;3;4 y more\ny all\n2;3;4;5\n"
    separator = {} if "delimiter" in load_args else {"sep": ";"}
    path = write(text.replace(";", "\t") if "sep" in load_args else text)

    table = read_table(path, separator | load_args)

    pd.testing.assert_frame_equal(table, pd.read_csv(path, **separator | load_args))


@pytest.mark.parametrize(
    ("load_args", "pattern"),
    [
        ({"chunksize": 10}, "`chunksize: 10`.*completely"),
        ({"iterator": True}, "`iterator"),
        ({"index_col": 0}, "`index_col: 0`.*columns"),
        ({"skipfooter": 1}, "`skipfooter.*quarantine"),
        ({"skip_blank_lines": False}, "`skip_blank_lines"),
        ({"on_bad_lines": "skip"}, "`on_bad_lines.*quarantine"),
        ({"engine": "python"}, "`engine: python`"),
        ({"memory_map": True}, "`memory_map"),
        ({"dialect": "excel"}, "`dialect: excel`.*`sep`"),
        ({"storage_options": {"key": 1}}, "`storage_options"),
        ({"sep": r"\s+"}, r"`sep: .*single character"),
        ({"quotechar": "''"}, "`quotechar.*single character"),
        ({"lineterminator": "ab"}, "`lineterminator.*single character"),
        ({"sep": '"'}, "two purposes"),
        ({"sep": ";", "lineterminator": ";"}, "two purposes"),
        ({"header": [0, 1]}, "`header"),
        ({"header": True}, "`header: True`"),
        ({"header": None}, "`header: None`.*`names`"),
        ({"skiprows": [1]}, "`skiprows"),
        ({"encoding_errors": "surrogateescape"}, "`encoding_errors.*replace"),
        ({"seperator": ";"}, "`seperator`"),
        ({"sepp": ";"}, "`sepp`.*`sep`"),
        ({"usecols": ["nothing"]}, "nothing.*load_args"),
        ({"dtype": "int"}, "load_args"),
    ],
    ids=str,
)
def test_other_option_is_refused_by_name(write, load_args, pattern):
    path = write(TEXT)

    for read in (read_table, read_head):
        with pytest.raises(UserError, match=pattern):
            read(path, load_args)


@pytest.mark.parametrize(
    "changes", [{}, {"dtype": str}, {"na_filter": False}, {"dtype_backend": "numpy_nullable"}]
)
def test_torn_lines_change_no_other_value(write, changes):
    whole = "id,name,price\n9007199254740993,oak,1.5\n2,elm,\n3,,2\n"
    torn = whole.replace("2,elm", "2,torn\n2,elm")

    table = read_table(write(torn), changes)

    expected = read_table(write(whole), changes)
    assert [bool(text) for text in table[TORN]] == [False, True, False, False]
    remaining = table.drop(index=1, columns=TORN)
    for name in expected:
        assert remaining[name].dropna().tolist() == expected[name].dropna().tolist()


@pytest.mark.parametrize("blank", [" ", "  ", "\t"])
def test_quote_after_blank_is_text(write, blank):
    table = read_table(
        write(f'id,name,price\n{blank}"1",oak,5\n{blank}",",,\n3,"elm"{blank},7\n'), AS_WRITTEN
    )

    assert table["name"].tolist() == ["oak", "", f"elm{blank}"]
    assert table["id"].tolist() == [f'{blank}"1"', "", "3"]
    assert [bool(text) for text in table[TORN]] == [False, True, False]


@pytest.mark.parametrize(("row", "count"), [("r1,1,oak,5", 4), ("1,oak", 2)])
def test_header_of_other_length_is_reported(write, row, count):
    path = write("id,name,price\n" + f"{row}\n" * 9)

    head = read_head(path, AS_WRITTEN)

    assert len(head.torn) == 9
    assert f"`names` to all {count}" in head.advice
    names = {"names": list("abcd"[:count]), "header": 0}
    assert read_head(path, AS_WRITTEN | names).torn == {}


CELLS = st.text(st.sampled_from("ab,;\"'\\\n\r \t#|\u00a3\U0001f6cb"), max_size=6)
WRITERS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;|\t"),
        "quotechar": st.sampled_from("\"'"),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
        "escapechar": st.sampled_from([None, "\\"]),
    }
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=4),
    WRITERS,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]),
    st.sampled_from(["plain", "gzip", "zstd"]),
)
def test_any_table_is_read_as_written(write, cells, dialect, encoding, packing):
    width = len(cells[0])
    if dialect["lineterminator"] == "\r":
        # Python writes a line feed without quotes, which may follow a carriage return.
        cells = [[cell.replace("\n", " ") for cell in row] for row in cells]
    # Before a line feed, a carriage return without quotes belongs to the line end.
    cells = [[*row, "", ""][:width] for row in cells]
    cells = [[*row[:-1], row[-1].rstrip("\r")] for row in cells]
    dialect["doublequote"] = not dialect["escapechar"]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, **dialect).writerows([list("xyz"[:width]), *cells])
    data = buffer.getvalue().encode(encoding)
    packed = {"plain": bytes, "gzip": gzip.compress, "zstd": zstd}[packing](data)
    load_args = {
        "sep": dialect["delimiter"],
        "quotechar": dialect["quotechar"],
        "escapechar": dialect["escapechar"],
        "encoding": encoding,
    }

    table = read_table(write(packed), AS_WRITTEN | load_args)

    assert TORN not in table
    assert table.to_numpy().tolist() == cells


OPTIONS = {
    "sep": [",", ";", "\t"],
    "quotechar": ['"', "'"],
    "comment": ["#"],
    "skipinitialspace": [True],
    "quoting": [csv.QUOTE_NONE, csv.QUOTE_ALL],
    "escapechar": ["\\"],
    "doublequote": [False],
    "lineterminator": ["\n", "\r", "\r\n"],
    "skiprows": [1],
    "header": [1],
    "names": [list("xyz")],
}
HEADERS = ["a,b,c\n", "a;b\r\n", "a\tb\tc\n", "a,b\r", "x\n\na,b\n", '"a\nb",c\n']


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(HEADERS),
    st.text(st.sampled_from("ab12,,,;\"'\\\n\n\r \t#"), max_size=60),
    st.fixed_dictionaries({}, optional={k: st.sampled_from(v) for k, v in OPTIONS.items()}),
)
def test_any_text_is_read_alike_by_runs_and_checks(write, header, body, options):
    path = write(header + body + options.get("lineterminator", "\n"))

    try:
        table = read_table(path, AS_WRITTEN | options)
    except UserError:
        return

    head = read_head(path, AS_WRITTEN | options)
    torn = int((table[TORN] != "").sum()) if TORN in table else 0
    assert (len(table), torn) == (len(head.rows) + len(head.torn), len(head.torn))
