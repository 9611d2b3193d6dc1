"""The ends of raw tables: columns, and whether the file was cut off."""

import re
from dataclasses import replace

import pandas as pd
import pytest
import yaml

from fb_marketplace.diagnostics.table_probe import RawTable, probe_table
from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables.csv_table import HEAD_BYTES, TAIL_BYTES

COLUMNS = ("id", "title", "place")
AS_WRITTEN = {"dtype": str, "keep_default_na": False, "na_filter": False}
HEADER = "id,title,place\n"
ROWS = [f'{number},"A chair, {number}","Leeds, West"\n' for number in range(5)]


@pytest.fixture
def looked_at(tmp_path):
    """Write a table, probe it and return the messages."""

    def looked_at(content, format_="csv", **pattern):
        path = tmp_path / f"Table.{format_}"
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
        table = RawTable("raw_products", str(path), format_, AS_WRITTEN | pattern, COLUMNS)
        return probe_table(table, len(data))

    return looked_at


def test_whole_table_passes(looked_at):
    assert "3 columns" in looked_at(HEADER + "".join(ROWS))


def test_missing_column_is_named_with_nearest(looked_at):
    with pytest.raises(
        UserError,
        match=r"\btitle\b.*'id', 'Titles', 'place'.*'title'.*'Titles'",
    ):
        looked_at("id,Titles,place\n1,a,b\n")


def test_missing_column_without_similar_name_has_no_hint(looked_at):
    with pytest.raises(UserError, match=r"\btitle\b") as pattern:
        looked_at("id,xyzzy,place\n1,a,b\n")
    assert "now" not in str(pattern.value)


def probe_dates(tmp_path, *dates, **fields):
    path = tmp_path / "dated.csv"
    path.write_text("id,listed\n" + "".join(f"{n},{date}\n" for n, date in enumerate(dates)))
    fields = {"date_column": "listed", "missing_values": ("null",)} | fields
    table = RawTable("raw_products", str(path), "csv", AS_WRITTEN, ("id",), **fields)
    return probe_table(table, path.stat().st_size)


@pytest.mark.parametrize("dates", [["26/02/2022"] * 10, ["26/02/2022"] * 95 + ["2022-02-26"] * 5])
def test_column_without_dates_is_refused_with_example(tmp_path, dates):
    with pytest.raises(UserError, match=r"'listed'.*'26/02/2022'.*`date_formats.*raw_products"):
        probe_dates(tmp_path, *dates)


@pytest.mark.parametrize(
    ("dates", "formats"),
    [
        (["26/02/2022"] * 10, ("%d/%m/%Y",)),
        (["26/02/2022"] * 80 + ["2022-02-26"] * 20, ()),
        (["null", ""] * 40 + ["2022-02-26"], ()),
        (["soon"] * 9, ()),
        ([], ()),
    ],
)
def test_column_with_some_dates_passes(tmp_path, dates, formats):
    assert "columns" in probe_dates(tmp_path, *dates, date_formats=formats, may_be_empty=True)


def test_configured_date_column_that_does_not_exist_is_named(tmp_path):
    note = probe_dates(tmp_path, "2022-02-26", date_column="posted")

    assert "'posted'" in note
    assert "`created_at` for raw_products" in note


@pytest.mark.parametrize("remaining", [len(ROWS[-1]) - 1, len(ROWS[-1]) - 2])
def test_complete_last_line_without_newline_passes(looked_at, remaining):
    row = "4,A chair,Leeds or Bradford\n" if remaining == len(ROWS[-1]) - 2 else ROWS[-1]

    assert "3 columns" in looked_at(HEADER + "".join(ROWS[:-1]) + row[:-1])


@pytest.mark.parametrize(
    ("cut", "pattern"),
    [
        ('4,"A cha', "expected 3 fields"),
        ('4,"A chair, 4"', "expected 3 fields"),
        ('4,"A chair, 4",', "last field"),
        ('4,"A chair, 4","Lee', "expected 3 fields"),
        ("4", "expected 3 fields"),
    ],
)
def test_truncated_table_is_rejected(looked_at, cut, pattern):
    with pytest.raises(UserError, match=pattern):
        looked_at(HEADER + "".join(ROWS[:-1]) + cut)


def test_truncated_fixed_width_field_is_detected(looked_at):
    rows = [f"{number},a chair,2022-02-{number:02}\n" for number in range(10, 20)]

    with pytest.raises(UserError, match=r"\b7\b.*\b10\b"):
        looked_at(HEADER + "".join(rows) + "20,a chair,2022-02")


def test_quoted_newlines_do_not_end_rows(looked_at):
    rows = ['1,"A chair\nof oak",Leeds\n', "2,A chair\rof oak,Leeds\n"]

    assert looked_at(HEADER + "".join(rows) + "3,A chair,Leeds")
    with pytest.raises(UserError, match="truncated"):
        looked_at(HEADER + "".join(rows) + "3")


@pytest.mark.parametrize("quoted", [True, False])
def test_tail_that_starts_in_quoted_field_is_parsed(looked_at, quoted):
    """Its last bytes begin in the middle of a description, in quotes or not."""
    long = "many words, and more,\n" if quoted else "many words and more "
    text = long * (2 * TAIL_BYTES // len(long) // 3)
    row = f'1,"{text}",Leeds\n' if quoted else f"1,{text},Leeds\n"
    table = HEADER + row * 3 + "".join(ROWS)
    assert len(table) > TAIL_BYTES

    assert "3 columns" in looked_at(table[:-1])
    with pytest.raises(UserError, match="truncated"):
        looked_at(f"{table}5,a chair")


def test_long_header_is_read_whole(looked_at):
    assert "3 columns" in looked_at(HEADER + ROWS[0] * (2 * HEAD_BYTES // len(ROWS[0])))


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        ("", "empty"),
        (HEADER, "no rows"),
        ("id,title,place\n1,Caf\u00e9,Leeds\n".encode("latin-1"), "utf-8"),
    ],
)
def test_invalid_table_is_rejected(looked_at, content, pattern):
    with pytest.raises(UserError, match=pattern):
        looked_at(content)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_separator_is_detected_or_set(looked_at, separator):
    table = separator.join(("id", "title", "place\n1", "a, b", "c\n2", "a, b", "c\n"))

    assert "3 columns" in looked_at(table)
    assert "3 columns" in looked_at(table, sep=separator)
    with pytest.raises(UserError, match="missing columns"):
        looked_at(table, sep="|")


@pytest.mark.parametrize("lines", ["An export, of 2024\n", "An export\n\nof 2024\n"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_header_after_other_lines_is_named(looked_at, lines, separator):
    number = lines.count("export") + lines.count("\n\n")
    table = lines + HEADER.replace(",", separator) + f"1{separator}a{separator}b\n" * 5

    with pytest.raises(UserError, match=f"`header: {number}`"):
        looked_at(table)
    assert "3 columns" in looked_at(table, header=number)


@pytest.mark.parametrize("encoding", ["cp1252", "latin1", "mac_roman"])
def test_utf_8_under_another_encoding_is_noted(looked_at, encoding):
    table = HEADER + "1,a,\u00a35\n" * 10

    assert "valid UTF-8. If texts are garbled, remove `encoding`" in looked_at(
        table, encoding=encoding
    )
    assert looked_at(table.encode(encoding), encoding=encoding).endswith("3 columns")
    assert looked_at(HEADER + ROWS[0], encoding=encoding).endswith("3 columns")


def test_few_torn_lines_are_noted(looked_at):
    assert "1 of the first 6 rows" in looked_at(HEADER + "".join(ROWS) + "5,a chair\n")


def test_more_torn_lines_than_a_run_allows_are_rejected(tmp_path):
    path = tmp_path / "Table.csv"
    path.write_text(HEADER + "".join(ROWS) + "5,a chair\n" * 2)
    table = RawTable("raw_products", str(path), "csv", AS_WRITTEN, COLUMNS)

    assert "2 of the first 7 rows" in probe_table(table, 99)
    with pytest.raises(UserError, match="2 of the first 7 rows"):
        probe_table(replace(table, max_rejected_share=0.2), 99)


@pytest.mark.parametrize(
    ("row", "load_args"),
    [
        ('{0},"A \\"big\\" chair",Leeds\n', {"escapechar": "\\"}),
        ("{0},'A chair, old',Leeds\n", {"quotechar": "'"}),
        ('{0},"A" chair,Leeds\n', {"quoting": 3}),
        ('{0}, "A chair, old", Leeds\n', {"skipinitialspace": True}),
    ],
)
def test_setting_that_reads_torn_lines_is_named(looked_at, row, load_args):
    table = HEADER + "".join(row.format(number) for number in range(9))

    with pytest.raises(UserError, match="9 of the first 9 rows") as error:
        looked_at(table)
    assert yaml.safe_load(re.search(r"Set `(.*?)` under", str(error.value))[1]) == load_args
    assert looked_at(table, **load_args).endswith("3 columns")


def test_long_row_leaves_the_others_checked(looked_at):
    table = HEADER + ROWS[0] + '1,"' + "words\n" * HEAD_BYTES + '",Leeds\n' + ROWS[1]

    assert looked_at(table).endswith("3 columns")


@pytest.mark.parametrize(
    ("paths", "pattern"),
    [
        ("Home > Tables", "' > '"),
        ("Home::Tables", "'::'"),
        ("Home/Tables", None),
        ("Home &gt; Tables", "' > '"),
        ("Home &amp; Garden", None),
        ("Home / Tables", None),
        ("Home", None),
    ],
)
def test_other_category_separator_is_named(tmp_path, paths, pattern):
    path = tmp_path / "Table.csv"
    path.write_text("id,path\n" + f"1,{paths}\n" * 24)
    table = RawTable("raw_products", str(path), "csv", {}, ("id",), "path", " / ")

    if pattern is None:
        assert "2 columns" in probe_table(table, 99)
    else:
        with pytest.raises(UserError, match=f"' / '.*24 of 24 have {pattern}.*category.separator"):
            probe_table(table, 99)


def test_parquet_columns_are_checked(looked_at, tmp_path):
    frame = pd.DataFrame({"id": ["1"], "name": ["a"], "place": ["b"]})
    complete = frame.to_parquet()

    with pytest.raises(UserError, match=r"\btitle\b"):
        looked_at(complete, "parquet")
    with pytest.raises(UserError, match="Parquet"):
        looked_at(complete[:-20], "parquet")
    with pytest.raises(UserError, match="no rows"):
        looked_at(frame[:0].to_parquet(), "parquet")
    with pytest.raises(UserError, match="nrows"):
        looked_at(complete, "parquet", nrows=1)


def test_parquet_index_is_a_column(looked_at):
    frame = pd.DataFrame({"id": ["1"], "title": ["a"], "place": ["b"]})

    assert "3 columns" in looked_at(frame.set_index("id").to_parquet(), "parquet")


def test_parquet_column_of_bytes_is_rejected_only_if_named(looked_at):
    frame = pd.DataFrame({"id": ["1"], "title": ["a"], "place": ["b"], "photo": [b"\xff"]})

    assert "3 columns" in looked_at(frame.to_parquet(), "parquet")
    with pytest.raises(UserError, match=r"'place'.*binary"):
        looked_at(frame.assign(place=b"b").to_parquet(), "parquet")
