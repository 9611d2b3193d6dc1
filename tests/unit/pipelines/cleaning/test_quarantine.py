import pytest

from fb_marketplace.errors import UserError
from fb_marketplace.pipelines.cleaning.quarantine import (
    check_accounting,
    enforce_rejection_limit,
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


def report_of(**sources):
    """A cleaning report with these accepted and rejected counts; further counts are by reason."""
    return {
        "ledger": {
            stage: {"in": sum(counts), "kept": counts[0], "quarantined": counts[1], "reasons": {}}
            for stage, counts in sources.items()
        }
    }


@pytest.fixture
def limited(cleaning):
    return cleaning.model_copy(update={"max_rejected_share": 0.2})


def test_rejections_within_the_limit_are_reported(limited):
    report = enforce_rejection_limit(
        report_of(products=(8, 2), files=(0, 0)), rejections_table(LEDGER), limited
    )

    assert report == {
        "products": {"rejected": 2, "input": 10, "share": 0.2},
        "files": {"rejected": 0, "input": 0, "share": 0.0},
    }


@pytest.mark.parametrize("stage", ["products", "images", "files"])
def test_rejections_beyond_the_limit_stop_the_run(limited, stage):
    sources = {"products": (9, 1), "images": (9, 1), "files": (9, 1), stage: (7, 3)}

    with pytest.raises(UserError, match=rf"20%.*{stage}") as caught:
        enforce_rejection_limit(report_of(**sources), rejections_table(LEDGER), limited)

    assert f"{stage}: 3 of 10 rejected (30%)" in str(caught.value)
    assert "cleaning.max_rejected_share" in str(caught.value)


def test_limit_names_reasons_counts_and_examples(limited):
    with pytest.raises(UserError) as caught:
        enforce_rejection_limit(report_of(products=(1, 3)), rejections_table(LEDGER), limited)

    reasons = [line.split() for line in str(caught.value).splitlines()[2:-1]]
    assert [line[:2] for line in reasons] == [["2", "missing_field"], ["1", "unparsable_price"]]
    assert "row 3 'a': no title" in " ".join(reasons[0])


def test_erased_listings_do_not_count_as_rejected(limited):
    report = report_of(products=(8, 12))
    report["ledger"]["products"]["reasons"] = {"erased": 10, "missing_field": 2}

    shares = enforce_rejection_limit(report, rejections_table(LEDGER), limited)

    assert shares["products"] == {"rejected": 2, "input": 10, "share": 0.2}


def test_market_without_listings_stops_the_run(limited):
    with pytest.raises(UserError, match=r"(?s)No listing is left.*raw_products"):
        enforce_rejection_limit(report_of(products=(0, 0)), rejections_table([]), limited)

    unlimited = limited.model_copy(update={"max_rejected_share": 1.0})
    with pytest.raises(UserError, match=r"(?s)No listing is left.*3 of 3 rejected.*missing_field"):
        enforce_rejection_limit(report_of(products=(0, 3)), rejections_table(LEDGER), unlimited)
