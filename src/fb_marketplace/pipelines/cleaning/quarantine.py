"""Quarantine table: every input row and file is either accepted or listed here with its reason."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import pandas as pd

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
