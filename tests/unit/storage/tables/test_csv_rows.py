"""Separation of complete rows from torn lines, in every dialect."""

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fb_marketplace.errors import UserError
from fb_marketplace.storage.tables import csv_rows
from fb_marketplace.storage.tables.csv_options import CSVOptions
from fb_marketplace.storage.tables.csv_rows import detect_format, parse_rows

HEADER = "id,name,price\n"


def parse(text, **load_args):
    return parse_rows(text, detect_format(text, CSVOptions.from_pandas(load_args)))


def read(rows):
    return list(csv.reader(io.StringIO(rows.data.decode(), newline=""), strict=True))[1:]


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
        '1,"oak, old" ,5\n',
        ' "1",oak,"5"\t\n',
    ],
)
def test_well_formed_row_is_whole(complete):
    text = HEADER + "0,pine,4\n" + complete + "2,elm,6\n"

    assert parse(text) == (text.encode(), {}, 3, "")


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

    rows = parse(HEADER + complete[0] + torn + "".join(complete[1:]))

    assert rows.data.decode() == HEADER + "".join(complete)
    assert rows.torn.keys() == {1}
    assert rows.total == 5
    assert list(rows.complete_numbers()) == [0, 2, 3, 4]


def test_torn_line_is_reported_with_its_start():
    output = parse(HEADER + "1,an oak table," + "x" * 500 + ",,\n").torn[0]

    assert "an oak table" in output
    assert "3 fields" in output
    assert len(output) < 120


def test_blank_lines_are_skipped():
    rows = parse(HEADER + "\n1,oak,5\n   \n2,elm,6\n\n")

    assert (rows.torn, rows.total) == ({}, 2)
    assert rows.data.decode() == HEADER + "1,oak,5\n2,elm,6\n"


@pytest.mark.parametrize("cut", ["1,o", '1,"oak, o', "1"])
def test_truncated_table_is_rejected(cut):
    assert "Upload it again" in parse(HEADER + "0,pine,4\n" + cut).problem


def test_last_line_needs_no_newline():
    assert parse(HEADER + "0,pine,4\n1,oak,5").total == 2


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_newline_convention_is_read(end):
    text = end.join(("id,name", "1,oak", '2,"elm"', "torn", ""))

    rows = parse(text)

    assert rows.torn.keys() == {2}
    assert rows.total == 3


def test_other_dialect_is_read():
    rows = parse("id;name\n1;'oak;''s'\n2;a,b;c\n", sep=";", quotechar="'")

    assert rows.data.decode() == "id;name\n1;'oak;''s'\n"
    assert rows.torn.keys() == {1}


def test_unclosed_quote_is_bounded():
    rest = "2,elm,6\n" * (2 * csv_rows.MAX_ROW_CHARS // 8)

    rows = parse(HEADER + '1,"oak,5\n' * 20 + rest)

    assert len(rows.torn) == 20
    assert rows.total - 20 == rest.count("\n")


def test_lines_of_a_quoted_cell_are_no_rows():
    rows = parse('"a","b","c"\n"","\n,,,\n",",,,\n"\n')

    assert rows.torn == {}
    assert read(rows) == [["", "\n,,,\n", ",,,\n"]]


CELLS = st.text(st.sampled_from('ab",\n\r \u00a3\u2028'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
def test_output_of_csv_writer_is_whole(cells):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(
        [["a", "b", "c"], *cells]
    )

    rows = parse(buffer.getvalue())

    assert rows.torn == {}
    assert read(rows) == cells


@given(st.text(st.sampled_from('12a,,""\n\n\r '), max_size=60))
@example(',,"" ')
@example(' ",",,')
def test_any_text_is_rows_and_torn_lines(text):
    rows = parse_rows(f"{HEADER}{text}\n", detect_format(HEADER, CSVOptions()))

    assert all(len(row) == 3 for row in read_by_lines(rows))
    assert rows.total == len(read_by_lines(rows)) + len(rows.torn)
    complete = parse_rows(rows.data.decode(), detect_format(HEADER, CSVOptions()))
    assert (complete.torn, complete.total) == ({}, rows.complete)


def read_by_lines(rows):
    """Read the complete rows.

    Python's ``csv`` would end a line at a bare carriage return, and refuse a blank after a closing quote.
    """
    text = re.sub(r'"[ \t]+(?=[,\n])', '"', rows.data.decode().replace("\r", " "))
    lines = (f"{line}\n" for line in text.split("\n")[:-1])
    return list(csv.reader(lines, strict=True))[1:]


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("id,name,price\n1,oak; old,5\n", ","),
        ("id;name;price\n1;oak, old;5,50\n", ";"),
        ("id\tname\tprice\n1\toak; old\t5,50\n", "\t"),
        ("id|name|price\r\n1|oak, old|5\r\n", "|"),
        ('"id";"name";"price"\n"1";"oak, ""old"", big";"5"\n', ";"),
        ("sep=;\nid;name;price\n1;oak;5\n", ";"),
        ("sep=^\r\nid^name^price\r\n1^oak^5\r\n", "^"),
        ("id;name;price\n", ";"),
        ("id\n1\n", ","),
    ],
)
def test_separator_is_detected(text, separator):
    format_ = detect_format(text, CSVOptions())

    assert format_.dialect.separator == separator
    assert parse_rows(text, format_).torn == {}


def test_ambiguous_separator_is_named():
    with pytest.raises(UserError, match=r"',' or ';'.*`sep`"):
        parse("a,b;c\n1,2;3\n4,5;6\n")
    assert parse("a,b;c\n1,2;3\n", sep=";").total == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,x\ry\n2,z\r\n", [["1", "x\ry"], ["2", "z"]]),
        ("a,b\r\n1,x\n2,y\r\n", [["1", "x"], ["2", "y"]]),
        ("a,b\r1,x\ny\r2,z\r", [["1", "x\ny"], ["2", "z"]]),
        ('"a\r\nx",b\n1,x\n2,"y\r\nz"\n', [["1", "x"], ["2", "y\r\nz"]]),
        ('"a\nx",b\r1,x\r2,y\r', [["1", "x"], ["2", "y"]]),
    ],
)
def test_line_end_is_detected(text, expected):
    format_ = detect_format(text, CSVOptions())

    rows = parse_rows(text, format_)

    assert rows.torn == {}
    lines = rows.data.decode().split("\r" if format_.line_end == "\r" else "\n")
    assert [row[0] for row in expected] == [line[0] for line in lines if line[:1].isdigit()]
    assert rows.total == len(expected)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", ";"])
def test_line_end_can_be_set(end):
    text = end.join(("a,b", "1,x", '2,"y;"', "torn", ""))

    rows = parse(text, lineterminator=end)

    assert (rows.total, list(rows.torn)) == (3, [2])


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("id,name,price", "{},oak,5,"),
        ("id,name,price,", "{},oak,5,"),
        ("id,name,price,", "{},oak,5"),
        ("id;name;price", "{};oak;5;"),
    ],
    ids=["rows", "both", "header", "semicolon"],
)
def test_extra_separator_at_line_ends_is_read(header, row):
    lines = [header, *(row.format(number) for number in range(9)), "9,oak", ""]

    rows = parse("\n".join(lines))

    assert (rows.total, list(rows.torn)) == (10, [9])


def test_extra_separator_of_one_row_is_torn():
    assert parse(HEADER + "1,oak,5\n" * 9 + "2,elm,6,\n").torn.keys() == {9}


@pytest.mark.parametrize(
    ("load_args", "text"),
    [
        ({"skiprows": 2}, 'An "export\nof 2024, all\n' + HEADER + "1,oak,5\n"),
        ({"header": 1}, "An export\n\n" + HEADER + "1,oak,5\n"),
        ({"skiprows": 1, "header": 1}, "An export\nof shop 1\n" + HEADER + "1,oak,5\n"),
        ({"names": ["a", "b", "c"]}, "1,oak,5\n"),
        ({"names": ["a", "b", "c"], "header": None, "skiprows": 1}, "x\n1,oak,5\n"),
        ({"names": ["a", "b", "c"], "header": 0}, HEADER + "1,oak,5\n"),
        ({"comment": "#"}, "# An export\n" + HEADER + "# more\n1,oak,5 # so\n#\n"),
        ({}, "\n \n" + HEADER + "1,oak,5\n"),
    ],
)
def test_header_position_can_be_set(load_args, text):
    rows = parse(text, **load_args)

    assert (rows.total, rows.torn) == (1, {})


def test_unreadable_header_is_reported():
    with pytest.raises(UserError, match=r"header.*id,name"):
        parse('"id,name,price\n1,oak,5\n')
    with pytest.raises(UserError, match="no header"):
        parse("\n\n")


@pytest.mark.parametrize(
    "cell", ["word " * 250_000, "two\nlines " * 120_000], ids=["line", "lines"]
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_long_row_is_one_torn_line(cell, quote):
    cell = cell if quote else cell.replace("\n", " ")
    long = f"2,{quote}{cell}{quote},6\n"

    rows = parse(HEADER + "1,oak,5\n" + long + "3,elm,7\n")

    assert (rows.total, list(rows.torn)) == (3, [1])
    assert f"{len(long):,}" in rows.torn[1]
    assert f"{csv_rows.MAX_ROW_CHARS:,}" in rows.torn[1]


def test_long_row_after_unclosed_quote_is_one_torn_line():
    long = '2,"' + "two\nlines " * 120_000 + '",6\n'

    rows = parse(HEADER + '1,"oak,5\n' + "4,elm,6\n" * 9 + long + "3,elm,7\n")

    assert rows.complete >= 10
    assert rows.total == rows.complete + len(rows.torn)


def test_unfinished_row_at_cut_is_left_out():
    format_ = detect_format(HEADER, CSVOptions())

    for cut in ("2,elm", '2,"elm, ', "2,", ""):
        rows = parse_rows(HEADER + "1,oak,5\n" + cut, format_, is_cut=True)

        assert (rows.total, rows.torn, rows.problem) == (1, {}, "")


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("1,oak,\n2,elm,", "last field is empty"),
        ("1,oak,2024-01-01\n" * 4 + "2,elm,2024-01", r"7 characters.*10"),
        ('1,oak,5\n2,"elm', "3 fields"),
    ],
)
def test_cut_in_last_row_is_detected(rows, problem):
    assert re.search(problem, parse(HEADER + rows).problem)


CELL_TEXT = st.text(st.sampled_from("ab,;\"'\\\n\r \t#|\u00a3"), max_size=6)


@given(
    st.lists(st.lists(CELL_TEXT, min_size=2, max_size=2), max_size=4),
    st.sampled_from(",;|\t"),
    st.sampled_from("\"'"),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_any_dialect_is_read_as_written(cells, separator, quote, escapes, end, quoting):
    if end == "\r":
        # Python writes a line feed without quotes, which may follow a carriage return.
        cells = [[cell.replace("\n", " ") for cell in row] for row in cells]
    load_args = {"sep": separator, "quotechar": quote}
    if escapes:
        load_args |= {"escapechar": "\\", "doublequote": False}
    buffer = io.StringIO(newline="")
    writer = csv.writer(
        buffer,
        delimiter=separator,
        quotechar=quote,
        quoting=quoting,
        lineterminator=end,
        **({"escapechar": "\\", "doublequote": False} if escapes else {}),
    )
    writer.writerows([["a", "b"], *cells])

    rows = parse(buffer.getvalue(), **load_args)

    assert rows.torn == {}
    assert rows.total == len(cells)
