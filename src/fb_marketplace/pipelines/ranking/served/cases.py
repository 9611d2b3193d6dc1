"""Values of test cases, and their estimates."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from fb_marketplace.evaluation.bootstrap import mean_by_group, ratio_by_group
from fb_marketplace.parameters.ranking import RankingEvaluationParameters
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery

METHOD: Final = "served"
"""Method of these cases in the table ``ranking_query_metrics``."""

COLUMNS: Final = ("kind", "product_id", "group", "method", "measure", "value")


class Evaluation(NamedTuple):
    """Metrics, and a table of their cases with the columns of ``ranking_query_metrics``."""

    metrics: dict[str, Any]
    cases: pd.DataFrame


def case_table(queries: Sequence[SearchQuery], values: dict[str, Sequence[float]]) -> pd.DataFrame:
    """Return a row for each query and measure, except for values that are NaN.

    Args:
        queries: the queries.
        values: one value per query, by measure.
    """
    rows = [
        (query.kind, query.product_id, query.group, METHOD, measure, float(value))
        for measure, column in values.items()
        for query, value in zip(queries, column, strict=True)
        if not np.isnan(value)
    ]
    types = dict.fromkeys(COLUMNS, "str") | {"value": "float64"}
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(types)


def estimate_mean(
    values: ArrayLike, groups: ArrayLike, parameters: RankingEvaluationParameters
) -> dict[str, Any] | None:
    """Estimate the mean of the values that are not NaN; None if there are none."""
    numbers, names = np.asarray(values, np.float64), np.asarray(groups)
    known = ~np.isnan(numbers)
    if not known.any():
        return None
    return mean_by_group(
        numbers[known],
        names[known],
        parameters.bootstrap_samples,
        parameters.confidence,
        parameters.seed,
    ).to_dict()


def estimate_ratio(
    parts: ArrayLike,
    totals: ArrayLike,
    groups: ArrayLike,
    parameters: RankingEvaluationParameters,
) -> dict[str, Any] | None:
    """Estimate the sum of the parts, divided by the sum of the totals; None if that is zero."""
    if not np.sum(totals):
        return None
    return ratio_by_group(
        parts,
        totals,
        groups,
        parameters.bootstrap_samples,
        parameters.confidence,
        parameters.seed,
    ).to_dict()
