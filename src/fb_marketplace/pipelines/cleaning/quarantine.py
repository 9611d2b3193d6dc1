"""Quarantine table: every input row and file is either accepted or listed here with its reason."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import pandas as pd

from fb_marketplace.errors import UserError
from fb_marketplace.parameters.cleaning import CleaningParameters
from fb_marketplace.schemas.reasons import Reason

COLUMNS: Final = ("stage", "row", "key", "reason", "detail")

Entry: TypeAlias = tuple[str, int, str, str, str]
"""Stage, row, key, reason and detail; a file has row -1."""


class Rejection(NamedTuple):
    """A rejected row: its index label, the reason, and details."""

    row: int
    reason: str
    detail: str


def quarantine_rows(
    stage: str, rejections: Sequence[Rejection], rows: pd.DataFrame, key: str
) -> pd.DataFrame:
    """Build the quarantine table of one source.

    Args:
        stage: ``products``, ``images`` or ``files``.
        rejections: rejected rows.
        rows: all rows, with their number in the raw table in ``row``.
        key: the column that identifies a row for users.

    Returns:
        One row per rejection, with the columns ``COLUMNS``.
    """
    return rejections_table(
        (stage, int(str(rows.loc[row, "row"])), str(rows.loc[row, key]), reason, detail)
        for row, reason, detail in rejections
    )


def rejections_table(entries: Iterable[Entry]) -> pd.DataFrame:
    """Build a quarantine table from entries."""
    frame = pd.DataFrame(list(entries), columns=list(COLUMNS))
    text = {name: "str" for name in COLUMNS if name != "row"}
    return frame.astype({"row": "int64", **text})


def merge_quarantine(*tables: pd.DataFrame) -> pd.DataFrame:
    """Concatenate quarantine tables, sorted by stage, row and key."""
    return pd.concat(tables, ignore_index=True).sort_values(
        ["stage", "row", "key"], ignore_index=True
    )


def check_accounting(
    stage: str, total: int, accepted: int, repeats: int, quarantine: pd.DataFrame
) -> dict[str, Any]:
    """Check that all inputs of one source are either accepted or in quarantine.

    Args:
        stage: ``products``, ``images`` or ``files``.
        total: number of rows or files read.
        accepted: number of rows or files that are kept, repeats included.
        repeats: number of accepted rows that repeat another row and are merged into it.
        quarantine: the quarantine table.

    Returns:
        The counts, and the number of quarantined rows by reason.

    Raises:
        AssertionError: the numbers do not add up, which is a bug.
    """
    reasons = quarantine.loc[quarantine["stage"] == stage, "reason"].value_counts().sort_index()
    quarantined = int(reasons.sum())
    if total != accepted + quarantined:
        raise AssertionError(
            f"{stage}: {total} rows in, but {accepted} accepted and {quarantined} quarantined"
        )
    return {
        "in": total,
        "kept": accepted,
        "repeats": repeats,
        "quarantined": quarantined,
        "reasons": {str(reason): int(count) for reason, count in reasons.items()},
    }


def enforce_rejection_limit(
    cleaning_report: dict[str, Any], quarantine: pd.DataFrame, parameters: CleaningParameters
) -> dict[str, Any]:
    """Stop the run if too large a share of a table or of the photos was rejected.

    Rows and photos of erased listings count neither as rejected nor as input.

    Args:
        cleaning_report: counts of each source.
        quarantine: all rejected rows and files.
        parameters: ``max_rejected_share``.

    Returns:
        For each source ``rejected``, ``input`` and ``share``.

    Raises:
        UserError: a source is above the limit, and the message has the reasons, counts and an example of
            each; or no listing is left.
    """
    limit, report = parameters.max_rejected_share, {}
    for stage, account in cleaning_report["ledger"].items():
        erased = account["reasons"].get(Reason.ERASED, 0)
        total, rejected = account["in"] - erased, account["quarantined"] - erased
        share = rejected / total if total else 0.0
        report[stage] = {"rejected": rejected, "input": total, "share": round(share, 4)}
    exceeded = [stage for stage, counts in report.items() if counts["share"] > limit]
    if exceeded:
        lines = [line for stage in exceeded for line in _describe(stage, report[stage], quarantine)]
        raise UserError(
            "\n".join(
                [
                    f"Cleaning rejected more than {limit:.0%} of {', '.join(exceeded)}. "
                    "Nothing was published.",
                    *lines,
                    "Correct the source, or its settings in parameters_cleaning.yml and "
                    "catalog_cleaning.yml. If these losses are expected, raise "
                    "cleaning.max_rejected_share.",
                ]
            )
        )
    if not cleaning_report["ledger"]["products"]["kept"]:
        counts = report["products"]
        lines = list(_describe("products", counts, quarantine)) if counts["rejected"] else []
        raise UserError(
            "\n".join(
                [
                    "No listing is left after cleaning. Nothing was published.",
                    *lines,
                    "Add listings to the table raw_products, or correct its format in catalog_cleaning.yml "
                    "and parameters_cleaning.yml.",
                ]
            )
        )
    return report


def _describe(stage: str, counts: dict[str, Any], quarantine: pd.DataFrame) -> Iterator[str]:
    """Yield a line with the share of a source, and one for each reason."""
    yield f"{stage}: {counts['rejected']:,} of {counts['input']:,} rejected ({counts['share']:.0%})"
    rows = quarantine[(quarantine["stage"] == stage) & (quarantine["reason"] != Reason.ERASED)]
    for reason, count in rows["reason"].value_counts().items():
        first = rows[rows["reason"] == reason].iloc[0]
        place = f"row {first['row']}" if first["row"] >= 0 else "file"
        example = f"{place} {first['key']!r:.80}: {first['detail']:.120}"
        yield f"  {count:>9,} {reason:20} e.g. {example}"
