"""The ledger of what was turned away: every row and file in is kept or stands here, with its reason."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import pandas as pd

COLUMNS: Final = ("stage", "row", "key", "reason", "detail")


class Rejection(NamedTuple):
    """A row that is turned away: its label in the table, why, and what was found."""

    row: int
    reason: str
    detail: str


def quarantine_rows(
    stage: str, turned: Sequence[Rejection], rows: pd.DataFrame, key: str
) -> pd.DataFrame:
    """Write rows that were turned away into the ledger's form.

    Args:
        stage: the table, ``products``, ``images`` or ``files``.
        turned: what was turned away.
        rows: the table as found, with its row numbers in ``row``.
        key: the column by which a user would look the row up.
    """
    return rejections_table(
        (stage, int(str(rows.loc[row, "row"])), str(rows.loc[row, key]), reason, detail)
        for row, reason, detail in turned
    )


def rejections_table(entries: Iterable[tuple[str, int, str, str, str]]) -> pd.DataFrame:
    """Make a ledger of (stage, row, key, reason, detail); files have row -1."""
    frame = pd.DataFrame(list(entries), columns=list(COLUMNS))
    text = {name: "str" for name in COLUMNS if name != "row"}
    return frame.astype({"row": "int64", **text})


def merge_quarantine(*ledgers: pd.DataFrame) -> pd.DataFrame:
    """Join ledgers into one, sorted by stage, row and key."""
    return pd.concat(ledgers, ignore_index=True).sort_values(
        ["stage", "row", "key"], ignore_index=True
    )


def check_accounting(
    stage: str, found: int, kept: int, folded: int, turned: pd.DataFrame
) -> dict[str, Any]:
    """Account for one source: rows in = rows kept + rows quarantined.

    Args:
        stage: the source.
        found: rows or files in.
        kept: rows or files that stay.
        folded: of those kept, how many repeat another and are counted on its row.
        turned: the ledger.

    Raises:
        AssertionError: the ledger does not balance, which is an error of ours.
    """
    reasons = turned.loc[turned["stage"] == stage, "reason"].value_counts().sort_index()
    away = int(reasons.sum())
    if found != kept + away:
        raise AssertionError(f"{stage}: {found} in, but {kept} kept and {away} quarantined")
    return {
        "in": found,
        "kept": kept,
        "of which repeats": folded,
        "quarantined": away,
        "reasons": {str(reason): int(count) for reason, count in reasons.items()},
    }
