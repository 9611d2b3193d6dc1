import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace.errors import UserError
from fb_marketplace.storage import csv_reader
from fb_marketplace.storage.csv_reader import Dialect, decode, part, places

HEADER = "id,name,price\n"
LINES = Dialect(line_end="\n")


def read(rows):
    return list(csv.reader(io.StringIO(rows.text, newline=""), strict=True))[1:]


@pytest.mark.parametrize(
    "whole",
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
def test_a_row_that_is_written_as_it_should_be_is_whole(whole):
    text = HEADER + "0,pine,4\n" + whole + "2,elm,6\n"

    assert part(text, LINES) == (text, {}, 3)


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
def test_a_torn_line_costs_no_other_row(torn):
    whole = ['0,"pine, old",4\n', '2,"elm",6\n', '3,"ash\nor ""so""",7\n', "4,yew,8\n"]

    rows = part(HEADER + whole[0] + torn + "".join(whole[1:]), LINES)

    assert rows.text == HEADER + "".join(whole)
    assert rows.torn.keys() == {1}
    assert rows.number == 5
    assert list(places(rows)) == [0, 2, 3, 4]


def test_of_a_torn_line_its_beginning_is_told():
    told = part(HEADER + "1,an oak table," + "x" * 500 + ",,\n", LINES).torn[0]

    assert "an oak table" in told
    assert "3 fields" in told
    assert len(told) < 120


def test_blank_lines_are_no_rows():
    rows = part(HEADER + "\n1,oak,5\n   \n2,elm,6\n\n", LINES)

    assert (rows.torn, rows.number) == ({}, 2)
    assert rows.text == HEADER + "1,oak,5\n2,elm,6\n"


@pytest.mark.parametrize("cut", ["1,o", '1,"oak, o', "1"])
def test_a_table_that_was_not_uploaded_to_its_end_is_told(cut):
    with pytest.raises(UserError, match=r"(?i)upload it again"):
        part(HEADER + "0,pine,4\n" + cut, LINES)


def test_the_last_line_needs_no_end():
    assert part(HEADER + "0,pine,4\n1,oak,5", LINES).number == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(end):
    text = end.join(("id,name", "1,oak", '2,"elm"', "torn", ""))

    rows = part(text, Dialect())

    assert rows.torn.keys() == {2}
    assert rows.number == 3


def test_another_dialect_is_read():
    rows = part("id;name\n1;'oak;''s'\n2;a,b;c\n", Dialect(";", "'", "\n"))

    assert rows.text == "id;name\n1;'oak;''s'\n"
    assert rows.torn.keys() == {1}


def test_a_quote_that_nobody_closes_is_not_followed_for_ever():
    rest = "2,elm,6\n" * (2 * csv_reader.MAX_CHARACTERS // 8)

    rows = part(HEADER + '1,"oak,5\n' * 20 + rest, LINES)

    assert len(rows.torn) == 20
    assert rows.number - 20 == rest.count("\n")


CELLS = st.text(st.sampled_from('ab",\n\r \u00a3\u2028'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
def test_what_a_writer_of_csv_writes_is_whole(cells):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        [["a", "b", "c"], *cells]
    )

    rows = part(buffer.getvalue(), LINES)

    assert rows.torn == {}
    assert read(rows) == cells


@given(st.text(st.sampled_from('12a,,""\n\n\r '), max_size=60))
def test_any_text_is_rows_and_torn_lines(text):
    rows = part(f"{HEADER}{text}\n", LINES)

    assert all(len(row) == 3 for row in read_by_lines(rows))
    assert rows.number == len(read_by_lines(rows)) + len(rows.torn)
    assert part(rows.text, LINES) == (rows.text, {}, rows.number - len(rows.torn))


def read_by_lines(rows):
    """Read what is whole; ``csv`` takes a bare carriage return for the end of a line."""
    lines = (f"{line}\n" for line in rows.text.replace("\r", " ").split("\n")[:-1])
    return list(csv.reader(lines, strict=True))[1:]


def test_bytes_that_are_no_text_are_replaced():
    data = HEADER.encode() + b"1,caf\xe9 \0table,5\n" + b"2,elm,6\n" * 20

    assert decode(data, "utf-8").splitlines()[1] == "1,caf\ufffd \ufffdtable,5"


def test_a_table_in_another_encoding_is_told():
    written = HEADER + "1,caf\u00e9,5\n" + "2,th\u00e9,6\n" * 3

    with pytest.raises(UserError, match=r"utf-8.*\b4\b.*\b19\b.*encoding"):
        decode(written.encode("latin-1"), "utf-8")
    assert decode(written.encode("latin-1"), "latin-1") == written


def test_a_table_that_says_that_it_was_damaged_before_is_read():
    written = HEADER + "1,caf\ufffd,5\n" * 5

    assert decode(written.encode(), "utf-8") == written


def test_a_mark_before_the_header_is_not_a_part_of_it():
    assert decode(HEADER.encode("utf-8-sig"), "utf-8") == HEADER
