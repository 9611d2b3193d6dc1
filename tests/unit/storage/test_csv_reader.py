import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace.errors import UserError
from fb_marketplace.storage import csv_reader
from fb_marketplace.storage.csv_reader import Dialect, complete_rows, decode, parse_rows

HEADER = "id,name,price\n"
LINES = Dialect(line_end="\n")


def read(rows):
    return list(csv.reader(io.StringIO(rows.text, newline=""), strict=True))[1:]


@pytest.mark.parametrize(
    "complete",
    [
        "1,oak,5\n",
        "1,,\n",
        ",,\n",
        '1,"oak, old",5\n',
        '1,"6"" nail",5\n',
        '1,"two\nlines",5\n',
        '1,"",5\n',
        '1,6" nail,5\n',
        "1,oak\r table,5\n",
        '1,"""oak""",5\n',
    ],
)
def test_well_formed_row_is_whole(complete):
    text = HEADER + "0,pine,4\n" + complete + "2,elm,6\n"

    assert parse_rows(text, LINES) == (text, {}, 3)


@pytest.mark.parametrize(
    "torn",
    [
        "1,oak\n",
        "1,oak,5,6\n",
        '1,"oak,5\n',
        '1,"oak" table,5\n',
        '1,oak,"5\n',
        "oak\n",
        '"\n',
        '""",\n',
    ],
)
def test_torn_line_affects_no_other_row(torn):
    complete = ['0,"pine, old",4\n', '2,"elm",6\n', '3,"ash\nor ""so""",7\n', "4,yew,8\n"]

    rows = parse_rows(HEADER + complete[0] + torn + "".join(complete[1:]), LINES)

    assert rows.text == HEADER + "".join(complete)
    assert rows.torn.keys() == {1}
    assert rows.total == 5
    assert list(complete_rows(rows)) == [0, 2, 3, 4]


def test_torn_line_is_reported_with_its_start():
    output = parse_rows(HEADER + "1,an oak table," + "x" * 500 + ",,\n", LINES).torn[0]

    assert "an oak table" in output
    assert "3 fields" in output
    assert len(output) < 120


def test_blank_lines_are_skipped():
    rows = parse_rows(HEADER + "\n1,oak,5\n   \n2,elm,6\n\n", LINES)

    assert (rows.torn, rows.total) == ({}, 2)
    assert rows.text == HEADER + "1,oak,5\n2,elm,6\n"


@pytest.mark.parametrize("cut", ["1,o", '1,"oak, o', "1"])
def test_truncated_table_is_rejected(cut):
    with pytest.raises(UserError, match=r"(?i)upload it again"):
        parse_rows(HEADER + "0,pine,4\n" + cut, LINES)


def test_last_line_needs_no_newline():
    assert parse_rows(HEADER + "0,pine,4\n1,oak,5", LINES).total == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_newline_convention_is_read(end):
    text = end.join(("id,name", "1,oak", '2,"elm"', "torn", ""))

    rows = parse_rows(text, Dialect())

    assert rows.torn.keys() == {2}
    assert rows.total == 3


def test_other_dialect_is_read():
    rows = parse_rows("id;name\n1;'oak;''s'\n2;a,b;c\n", Dialect(";", "'", "\n"))

    assert rows.text == "id;name\n1;'oak;''s'\n"
    assert rows.torn.keys() == {1}


def test_unclosed_quote_is_bounded():
    rest = "2,elm,6\n" * (2 * csv_reader.MAX_ROW_CHARS // 8)

    rows = parse_rows(HEADER + '1,"oak,5\n' * 20 + rest, LINES)

    assert len(rows.torn) == 20
    assert rows.total - 20 == rest.count("\n")


CELLS = st.text(st.sampled_from('ab",\n\r \u00a3\u2028'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
def test_output_of_csv_writer_is_whole(cells):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        [["a", "b", "c"], *cells]
    )

    rows = parse_rows(buffer.getvalue(), LINES)

    assert rows.torn == {}
    assert read(rows) == cells


@given(st.text(st.sampled_from('12a,,""\n\n\r '), max_size=60))
def test_any_text_is_rows_and_torn_lines(text):
    rows = parse_rows(f"{HEADER}{text}\n", LINES)

    assert all(len(row) == 3 for row in read_by_lines(rows))
    assert rows.total == len(read_by_lines(rows)) + len(rows.torn)
    assert parse_rows(rows.text, LINES) == (rows.text, {}, rows.total - len(rows.torn))


def read_by_lines(rows):
    """Read what is whole; ``csv`` takes a bare carriage return for the end of a line."""
    lines = (f"{line}\n" for line in rows.text.replace("\r", " ").split("\n")[:-1])
    return list(csv.reader(lines, strict=True))[1:]


def test_undecodable_bytes_are_replaced():
    data = HEADER.encode() + b"1,caf\xe9 \0table,5\n" + b"2,elm,6\n" * 20

    assert decode(data, "utf-8").splitlines()[1] == "1,caf\ufffd \ufffdtable,5"


def test_table_in_other_encoding_is_reported():
    written = HEADER + "1,caf\u00e9,5\n" + "2,th\u00e9,6\n" * 3

    with pytest.raises(UserError, match=r"utf-8.*\b4\b.*\b19\b.*encoding"):
        decode(written.encode("latin-1"), "utf-8")
    assert decode(written.encode("latin-1"), "latin-1") == written


def test_table_with_replacement_characters_is_read():
    written = HEADER + "1,caf\ufffd,5\n" * 5

    assert decode(written.encode(), "utf-8") == written


def test_byte_order_mark_is_skipped():
    assert decode(HEADER.encode("utf-8-sig"), "utf-8") == HEADER
