"""Dates in the spellings that people export."""

import os
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace.schemas.dates import EARLIEST, DateFlag, flag_date, parse_date

DAY = 1_645_833_600  # 2022-02-26
TIME = DAY + 10 * 3600 + 11 * 60 + 12
NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2022-02-26", DAY),
        (" 2022-02-26\t", DAY),
        ("2022-2-26", DAY),
        ("2022/02/26", DAY),
        ("2022.02.26", DAY),
        ("20220226", DAY),
        ("2022-02-26T10:11:12", TIME),
        ("2022-02-26T10:11:12Z", TIME),
        ("2022-02-26t10:11:12z", TIME),
        ("2022-02-26 10:11:12 UTC", TIME),
        ("2022-02-26 10:11:12.999999", TIME),
        ("2022-02-26 10:11:12,999", TIME),
        ("2022-02-26 10:11:12.999999999Z", TIME),
        ("2022-02-26T10:11:12+01:00", TIME - 3600),
        ("2022-02-26 10:11:12 -0530", TIME + 5 * 3600 + 1800),
        ("2022-02-26T10:11:12+01", TIME - 3600),
        ("2022-02-26T10:11:12+01:00[Europe/Paris]", TIME - 3600),
        ("2022/02/26 10:11", TIME - 12),
        ("2022-02-26 9:05", DAY + 9 * 3600 + 300),
        ("20220226T101112Z", TIME),
        ("20220226101112", TIME),
        ("2022-02-25T24:00", DAY),
        ("2022-02-25T23:59:60Z", DAY),
        ("26 Feb 2022", DAY),
        ("26-FEB-2022", DAY),
        ("26th February 2022, 10:11:12", TIME),
        ("Sat, 26 Feb 2022 10:11:12 GMT", TIME),
        ("Sat, 26 Feb 2022 10:11:12 +0100", TIME - 3600),
        ("Sat Feb 26 2022 10:11:12 GMT+0000 (Coordinated Universal Time)", TIME),
        ("February 26, 2022", DAY),
        (f"{TIME}", TIME),
        (f"{TIME}.75", TIME),
        (f"{TIME}.0", TIME),
        (f"{TIME}000", TIME),
        (f"{TIME}999", TIME),
        (f"{TIME}000000", TIME),
        (f"{TIME}000000000", TIME),
        ("1.645833600e9", DAY),
        ("1.645833600E+12", DAY),
        ("-1", -1),
        ("-1.5", -2),
        ("0", 0),
        ("0001-01-01", -62_135_596_800),
        ("0001-01-01T00:00:00+14:00", -62_135_596_800 - 14 * 3600),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
        ("9999-12-31T24:00-12:00", 253_402_300_800 + 12 * 3600),
        ("2024-02-29", DAY + 733 * 86_400),
    ],
)
def test_date_of_one_meaning_is_read(value, expected):
    assert parse_date(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *("", "null", "NaN", "NaT", "inf", "True", "soon", "-", "yesterday", "3 days ago"),
        *("03/04/2022", "26/02/2022", "02/26/2022", "26.02.2022", "26-02-22", "26 février 2022"),
        *("2022-02-30", "2022-13-01", "2022-00-10", "2023-02-29", "0000-01-01", "12022-01-01"),
        *("2022-02-26 25:00", "2022-02-26 24:01", "2022-02-26 10:60", "2022-02-26 10:11:61"),
        *("2022-02/26", "2022-02", "2022-02-26 Europe/London", "2022-02-26 10:11 PM", "12:30"),
        *("1e30", "1e99", "1" * 30, "0x62", "1,645,833,600", "1_645_833_600", "2022-02-26\n20"),
    ],
)
def test_other_text_is_no_date(value):
    assert parse_date(value) is None


@pytest.mark.parametrize(
    ("value", "formats", "expected"),
    [
        ("26/02/2022", ("%d/%m/%Y",), DAY),
        ("02/26/2022", ("%m/%d/%Y",), DAY),
        ("26/02/2022 10:11:12", ("%d/%m/%Y", "%d/%m/%Y %H:%M:%S"), TIME),
        ("02/26/22 10:11 AM", ("%m/%d/%y %I:%M %p",), TIME - 12),
        ("26/02/2022 10:11:12 +0100", ("%d/%m/%Y %H:%M:%S %z",), TIME - 3600),
        ("2022-26-02", ("%Y-%d-%m",), DAY),
        ("2022-02-03", ("%Y-%d-%m",), 1_646_179_200),
        ("2022-02-26", ("%d/%m/%Y",), DAY),
        ("31/02/2022", ("%d/%m/%Y",), None),
    ],
)
def test_format_decides_and_other_spellings_stay(value, formats, expected):
    assert parse_date(value, formats) == expected


@given(
    st.datetimes(timezones=st.integers(-840, 840).map(lambda n: timezone(timedelta(minutes=n)))),
    st.sampled_from("T "),
)
def test_iso_8601_equals_datetime(moment, separator):
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)

    assert parse_date(moment.isoformat(separator)) == seconds


@given(st.text(alphabet="0123456789-/:.TZ+ eE", max_size=24))
def test_any_text_is_a_number_or_none(text):
    assert isinstance(parse_date(text), int | None)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_machine_time_zone_does_not_matter(monkeypatch, zone):
    monkeypatch.setitem(os.environ, "TZ", zone)
    time.tzset()
    try:
        dates = [parse_date("2022-02-26 10:11:12"), parse_date("26/02/2022", ("%d/%m/%Y",))]
    finally:
        monkeypatch.undo()
        time.tzset()

    assert dates == [TIME, DAY]


@pytest.mark.parametrize(
    ("seconds", "flag"),
    [
        (-62_135_596_800, DateFlag.EARLY),
        (0, DateFlag.EARLY),
        (EARLIEST - 1, DateFlag.EARLY),
        (EARLIEST, None),
        (NOW, None),
        (NOW + 86_400, None),
        (NOW + 86_401, DateFlag.FUTURE),
        (253_402_300_799, DateFlag.FUTURE),
    ],
)
def test_implausible_date_is_flagged(seconds, flag):
    assert flag_date(seconds, NOW) == flag
