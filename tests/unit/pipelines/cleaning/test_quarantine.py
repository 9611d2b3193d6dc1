import pytest

from fb_marketplace.pipelines.cleaning.quarantine import (
    check_accounting,
    merge_quarantine,
    rejections_table,
)
from fb_marketplace.schemas.quarantine import Quarantine
from fb_marketplace.schemas.reasons import Reason
from fb_marketplace_serving.imaging import canonical

LEDGER = [
    ("products", 3, "a", "missing_field", "no title"),
    ("products", 5, "b", "missing_field", "no price"),
    ("products", 1, "c", "unparsable_price", "POA"),
    ("files", -1, "images/x.jpg", "no_row", ""),
]


def test_complete_accounting_balances():
    result = check_accounting("products", 10, 7, 2, rejections_table(LEDGER))

    assert result == {
        "in": 10,
        "kept": 7,
        "repeats": 2,
        "quarantined": 3,
        "reasons": {"missing_field": 2, "unparsable_price": 1},
    }


@pytest.mark.parametrize("remaining", [6, 8])
def test_lost_or_repeated_row_is_an_error(remaining):
    with pytest.raises(AssertionError, match=rf"\b10\b.*\b{remaining}\b.*\b3\b"):
        check_accounting("products", 10, remaining, 0, rejections_table(LEDGER))


def test_ledgers_are_merged_in_fixed_order():
    one, other = rejections_table(LEDGER[:2]), rejections_table(LEDGER[2:])

    merged = merge_quarantine(one, other)

    assert merged["key"].tolist() == ["images/x.jpg", "c", "a", "b"]
    assert merged.equals(merge_quarantine(other, one))


def test_empty_ledger_matches_schema():
    Quarantine.validate(merge_quarantine(rejections_table([]), rejections_table([])))


def test_reasons_include_those_of_photos():
    assert set(canonical.REASONS) < set(Reason)
