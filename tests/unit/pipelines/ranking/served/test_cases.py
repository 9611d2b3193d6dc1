import pandas as pd

from fb_marketplace.pipelines.ranking.served.cases import case_table
from fb_marketplace.pipelines.ranking.synthetic_queries import SearchQuery
from fb_marketplace.schemas.retrieval import RankingQueryMetrics

QUERY = SearchQuery("short", "lamp", "lamp", "lampe", None, frozenset())


def test_metrics_without_cases_keep_the_types_of_others():
    cases = case_table([QUERY], {"precision": [1.0], "title_recall": [float("nan")]})
    tables = [case_table([], {}), cases, case_table([QUERY], {"precision": [float("nan")]})]

    table = RankingQueryMetrics.validate(pd.concat(tables, ignore_index=True))

    assert table["measure"].to_list() == ["precision"]
