"""The ends of raw tables: columns, and whether the file was cut off."""

import fsspec
import pandas as pd
import pytest

from fb_marketplace.diagnostics.table_probe import HEAD_BYTES, TAIL_BYTES, RawTable, probe_table
from fb_marketplace.errors import UserError

COLUMNS = ("id", "title", "place")
AS_WRITTEN = {"lineterminator": "\n", "dtype": str, "keep_default_na": False, "na_filter": False}
HEADER = "id,title,place\n"
ROWS = [f'{number},"A chair, {number}","Leeds, West"\n' for number in range(5)]


@pytest.fixture
def looked_at(tmp_path):
    """Writes a table, looks at it, and gives what is told, well or not."""

    def looked_at(content, format_="csv", **told):
        path = tmp_path / f"Table.{format_}"
        data = content if isinstance(content, bytes) else content.encode()
        path.write_bytes(data)
        table = RawTable("raw_products", str(path), format_, AS_WRITTEN | told, COLUMNS)
        return probe_table(table, fsspec.filesystem("file"), str(path), len(data))

    return looked_at


def test_a_whole_table_is_well(looked_at):
    assert "3 columns" in looked_at(HEADER + "".join(ROWS))


def test_a_missing_column_is_named_with_what_is_there_and_the_nearest_name(looked_at):
    with pytest.raises(
        UserError,
        match=r"\btitle\b.*'id', 'Titles', 'place'.*'title'.*'Titles'",
    ):
        looked_at("id,Titles,place\n1,a,b\n")


def test_a_column_that_is_like_none_is_named_without_a_guess(looked_at):
    with pytest.raises(UserError, match=r"\btitle\b") as told:
        looked_at("id,xyzzy,place\n1,a,b\n")
    assert "now" not in str(told.value)


@pytest.mark.parametrize("kept", [len(ROWS[-1]) - 1, len(ROWS[-1]) - 2])
def test_a_last_line_without_an_end_but_with_all_its_fields_is_taken_as_whole(looked_at, kept):
    row = "4,A chair,Leeds or Bradford\n" if kept == len(ROWS[-1]) - 2 else ROWS[-1]

    assert "taken as whole" in looked_at(HEADER + "".join(ROWS[:-1]) + row[:-1])


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        ('4,"A cha', "quoted field"),
        ('4,"A chair, 4"', r"\b2 of 3\b"),
        ('4,"A chair, 4",', "last field"),
        ('4,"A chair, 4","Lee', "quoted field"),
        ("4", r"\b1 of 3\b"),
    ],
)
def test_a_table_that_was_cut_off_in_a_row_is_refused(looked_at, cut, told):
    with pytest.raises(UserError, match=told):
        looked_at(HEADER + "".join(ROWS[:-1]) + cut)


def test_a_cut_within_a_last_field_is_seen_where_all_have_one_length(looked_at):
    rows = [f"{number},a chair,2022-02-{number:02}\n" for number in range(10, 20)]

    with pytest.raises(UserError, match=r"\b7\b.*\b10\b"):
        looked_at(HEADER + "".join(rows) + "20,a chair,2022-02")


def test_a_row_with_too_few_fields_that_has_an_end_is_for_the_quarantine(looked_at):
    assert looked_at(HEADER + "".join(ROWS) + "5,a chair\n")


def test_bare_carriage_returns_and_line_ends_in_quotes_are_no_ends_of_rows(looked_at):
    rows = ['1,"A chair\nof oak",Leeds\n', "2,A chair\rof oak,Leeds\n"]

    assert looked_at(HEADER + "".join(rows) + "3,A chair,Leeds")
    with pytest.raises(UserError, match=r"\b1\b.*\b3\b"):
        looked_at(HEADER + "".join(rows) + "3")


@pytest.mark.parametrize("quoted", [True, False])
def test_the_last_rows_of_a_long_table_are_read_from_within_a_quoted_field(looked_at, quoted):
    """Its last bytes begin in the middle of a description, in quotes or not."""
    long = "many words, and more,\n" if quoted else "many words and more "
    text = long * (2 * TAIL_BYTES // len(long) // 3)
    row = f'1,"{text}",Leeds\n' if quoted else f"1,{text},Leeds\n"
    table = HEADER + row * 3 + "".join(ROWS)
    assert len(table) > TAIL_BYTES

    assert "taken as whole" in looked_at(table[:-1])
    with pytest.raises(UserError, match=r"\b2\b.*\b3\b"):
        looked_at(f"{table}5,a chair")


def test_a_head_that_is_longer_than_what_is_read_gives_the_columns(looked_at):
    assert "3 columns" in looked_at(HEADER + ROWS[0] * (2 * HEAD_BYTES // len(ROWS[0])))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "empty"),
        (HEADER, "no rows"),
        ("id,title,place\n1,Caf\u00e9,Leeds\n".encode("latin-1"), "utf-8"),
    ],
)
def test_what_is_no_table_is_refused(looked_at, content, told):
    with pytest.raises(UserError, match=told):
        looked_at(content)


def test_another_separator_is_read_as_pandas_is_told(looked_at):
    with pytest.raises(UserError, match=r"\b2\b.*\b3\b"):
        looked_at("id;title;place\n1;a;b\n2;a, b", sep=";")


def test_a_parquet_table_is_asked_for_its_columns(looked_at, tmp_path):
    frame = pd.DataFrame({"id": ["1"], "name": ["a"], "place": ["b"]})
    whole = frame.to_parquet()

    with pytest.raises(UserError, match=r"\btitle\b"):
        looked_at(whole, "parquet")
    with pytest.raises(UserError, match="Parquet"):
        looked_at(whole[:-20], "parquet")
