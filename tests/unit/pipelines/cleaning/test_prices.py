import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fb_marketplace.pipelines.cleaning import prices

POUNDS = st.decimals(0, 10**9, places=2, allow_nan=False)


@pytest.fixture(scope="module")
def price(cleaning):
    return cleaning.price


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("£45.00", 45.0),
        ("£1,234.50", 1234.5),
        ("£1,234,567", 1_234_567.0),
        ("  £ 45 ", 45.0),
        ("45", 45.0),
        ("45.5", 45.5),
        ("45 £", 45.0),
        ("£0.00", 0.0),
        ("£1234567.89", 1_234_567.89),
        ("\u00a0£9.99\n", 9.99),
        ("gbp 45", 45.0),
        ("45 GBP", 45.0),
        ("£1 234.50", 1234.5),
        ("£1\u202f234", 1234.0),
        ("£1\u2019234\u2019567", 1_234_567.0),
        ("£12,34,567", 1_234_567.0),
        ("£1,234.500", 1234.5),
        ("£1234.500", 1234.5),
        ("£0.125", 0.125),
        ("£45.-", 45.0),
        ("45.\u2013 £", 45.0),
        ("\uff11\uff12", 12.0),
        ("£\u200b45", 45.0),
        ("\uffe1\uff11\uff0c\uff12\uff13\uff14", 1234.0),
        ("&pound;45", 45.0),
        ("45.00GBP", 45.0),
        ("£45.00 GBP", 45.0),
        ("£1\u2009234", 1234.0),
        ("£\u00ad4\u20605", 45.0),
        ("£1`234.5", 1234.5),
        ("£1,234.-", 1234.0),
        ("45:- GBP", 45.0),
        ("45/-", 45.0),
        ("£1,25,000.50", 125_000.5),
        ("£0045", 45.0),
        ("12.5000", 12.5),
        ("0.0000", 0.0),
        ("19.990000000000002", 19.990000000000002),
        (12, 12.0),
        (12.5, 12.5),
        (np.int64(7), 7.0),
        (Decimal("12.5000"), 12.5),
    ],
)
def test_price_is_parsed(price, written, amount):
    assert prices.parse_price(written, price) == amount


@pytest.mark.parametrize(
    "written",
    [
        "",
        "£",
        "free",
        "POA",
        "-£5.00",
        "£-5",
        "£1,23",
        "£12,34.00",
        "£1,234,56",
        "£1.234",
        "£1.2.3",
        "£1.234.567",
        "45-",
        "£45-60",
        "45/6",
        "+£5",
        "1_000",
        "1,234.5000",
        "££5",
        "$5.00",
        "£5 ono",
        "£5-£10",
        "1e5",
        "inf",
        "nan",
        "٣٤",
        "£45.",
        "£.50",
        "£4 5",
        "£1,234 567",
        "£1,2,345",
        "£45 GBP £",
        "£-",
        True,
        -1,
        float("inf"),
        float("nan"),
        "9" * 400,
        "£1" + ",000" * 400,
    ],
)
def test_invalid_price_is_rejected(price, written):
    with pytest.raises(prices.UnparsablePriceError):
        prices.parse_price(written, price)


@given(POUNDS)
def test_formatted_amount_is_parsed_back(price, amount):
    assert prices.parse_price(f"£{amount:,.2f}", price) == float(amount)


@given(st.text() | st.text("£0123456789,.- "))
def test_any_text_is_nonnegative_price_or_rejected(price, written):
    try:
        amount = prices.parse_price(written, price)
    except prices.UnparsablePriceError:
        return
    assert 0 <= amount < float("inf")
    prices.flag_price(amount, price)


def test_prices_of_other_locale_are_parsed(price):
    euros = price.model_copy(
        update={"symbols": ("€", "EUR"), "thousands": ".", "decimal": ",", "currency": "EUR"}
    )

    assert prices.parse_price("1.234,50 €", euros) == 1234.5
    assert prices.parse_price("EUR 7", euros) == 7
    with pytest.raises(prices.UnparsablePriceError, match=r"€1\.234,00"):
        prices.parse_price("1,234.50", euros)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1\u202f299 €", 1299),
        ("1.299,00 €", 1299),
        ("€ 1'299", 1299),
        ("12,-", 12),
        ("eur 1 299,5", 1299.5),
    ],
)
def test_prices_of_france_and_germany_are_parsed(price, written, amount):
    euros = price.model_copy(
        update={"symbols": ("€",), "thousands": " ", "decimal": ",", "currency": "EUR"}
    )

    assert prices.parse_price(written, euros) == amount


def test_three_decimals_are_plain_in_some_currencies(price):
    dinars = price.model_copy(update={"symbols": ("KD",), "currency": "KWD"})

    assert prices.parse_price("KD 1.234", dinars) == 1.234


def test_words_stand_for_amounts(price):
    values = {"words": {"Free": 0, "swap": 0, "price on application": None}}
    words = type(price).model_validate(price.model_dump() | values)

    assert prices.parse_price(" FREE ", words) == prices.parse_price("Swap", words) == 0
    assert math.isnan(prices.parse_price("Price  on\u00a0application", words))
    with pytest.raises(prices.UnparsablePriceError):
        prices.parse_price("POA", words)


@pytest.mark.parametrize(
    ("symbols", "currency", "thousands", "decimal", "written", "amount"),
    [
        (("\u20b9", "Rs.", "Rs"), "INR", ",", ".", "Rs. 1,25,000/-", 125_000),
        (("\u20b9", "Rs.", "Rs"), "INR", ",", ".", "\u20b912,34,567.50", 1_234_567.5),
        (("kr",), "SEK", " ", ",", "1\u00a0299:-", 1299),
        (("kr ",), "NOK", ".", ",", "kr 1.299,-", 1299),
        (("Fr.",), "CHF", "\u2019", ".", "Fr. 1\u2019299.\u2014", 1299),
        (("zł",), "PLN", " ", ",", "1 299,5 ZŁ", 1299.5),
        (("\u00a5",), "JPY", ",", ".", "\uffe51,299", 1299),
        (("$", "US$"), "USD", ",", ".", "US$ 45.00 USD", 45),
        ((), "KWD", ",", ".", "KWD 1,234.567", 1234.567),
        (("€",), "EUR", "\u202f", ",", "1 299 €", 1299),
    ],
)
def test_prices_of_other_markets_are_parsed(
    price, symbols, currency, thousands, decimal, written, amount
):
    market = {"symbols": symbols, "currency": currency, "thousands": thousands, "decimal": decimal}

    assert prices.parse_price(written, price.model_copy(update=market)) == amount


def test_prices_without_thousands_separator_are_parsed(price):
    plain = price.model_copy(update={"thousands": ""})

    assert prices.parse_price("1234.5", plain) == 1234.5
    with pytest.raises(prices.UnparsablePriceError):
        prices.parse_price("1,234.5", plain)


def test_error_shows_start_of_text(price):
    with pytest.raises(prices.UnparsablePriceError) as error:
        prices.parse_price("offers over fifty please " * 1000, price)

    assert "offers over fifty" in str(error.value)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("amount", "flag"),
    [
        (math.nan, "missing"),
        (0, "zero"),
        (1, "joke"),
        (1234, "joke"),
        (111, "joke"),
        (999, "joke"),
        (9999, "joke"),
        (999_999_999, "joke"),
        (100_001, "absurd"),
        (100_000, None),
        (99, None),
        (11, None),
        (2, None),
        (0.01, "joke"),
        (0.05, None),
        (1.11, None),
        (999.99, None),
        (12_340, None),
    ],
)
def test_implausible_prices_are_flagged(price, amount, flag):
    assert prices.flag_price(amount, price) == flag
