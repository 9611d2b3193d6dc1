"""Click log: the server's search and click events as a table of impressions."""

import logging
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from fb_marketplace.parameters.ranking import RankerParameters
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace_serving.feedback.events import ClickLine, SearchLine
from fb_marketplace_serving.storage.erasure_list import EMPTY_ERASURE_LIST, ErasureList

Line = TypeVar("Line", bound=BaseModel)

_DTYPES: Final = {
    "search_id": "str",
    "words": "str",
    "product_id": "str",
    "position": "int64",
    "clicked": "bool",
}

BY_RELEVANCE: Final = ("relevance", "best")
"""Names of the order by relevance; the second one is that of version 0.1."""

MAX_POSITION: Final = 100
"""Deepest position of a click that is used. Deeper clicks are rare and have the highest weights: a program
that clicks on deep pages could control the rank of a listing."""

MAX_CLICKS_PER_SEARCH: Final = 10
"""Clicks of a search that are used, the first ones."""

EVALUATED_TEXTS: Final = 10
"""One in this many query texts is for evaluation: the ranker is not trained on clicks of its searches."""

logger = logging.getLogger(__name__)


class ExcludedEvents(NamedTuple):
    """Numbers of excluded events.

    Attributes:
        malformed: lines that are neither a search nor a click.
        repeated: searches with the id of an earlier search.
        unknown: clicks without a matching search and listing.
        deep: clicks below ``MAX_POSITION``.
        excess: clicks on a search after the first ``MAX_CLICKS_PER_SEARCH``.
    """

    malformed: int
    repeated: int
    unknown: int
    deep: int = 0
    excess: int = 0


class FeedbackResult(NamedTuple):
    """Feedback, see :class:`fb_marketplace.schemas.retrieval.Feedback`, and numbers of excluded events."""

    feedback: pd.DataFrame
    excluded: ExcludedEvents


def read_feedback(
    raw_feedback: FeedbackSource, erasure_list: ErasureList = EMPTY_ERASURE_LIST
) -> pd.DataFrame:
    """Read impressions and clicks, and log their numbers.

    Args:
        raw_feedback: the folder of event logs; it may be missing.
        erasure_list: listings to drop.

    Returns:
        One row per impression: ``search_id``, ``words``, ``product_id``, ``position`` (from 1, counted over
        all pages) and ``clicked``.
    """
    feedback, excluded = join_clicks(raw_feedback.lines("searches"), raw_feedback.lines("clicks"))
    erased = feedback["product_id"].map(erasure_list.has_product).astype("bool")
    feedback = feedback[~erased].reset_index(drop=True)
    if len(feedback) or any(excluded):
        logger.log(
            logging.WARNING if any(excluded) else logging.INFO,
            "feedback: %s searches, %s with a click; left out: %s malformed lines, %s repeated searches, "
            "%s clicks without a search, %s clicks below position %s, %s clicks on searches with many",
            f"{feedback['search_id'].nunique():,}",
            f"{feedback.loc[feedback['clicked'], 'search_id'].nunique():,}",
            *(f"{count:,}" for count in excluded[:4]),
            f"{MAX_POSITION:,}",
            f"{excluded.excess:,}",
        )
    return feedback


def count_clicks(feedback: pd.DataFrame, splits: pd.DataFrame, parameters: RankerParameters) -> int:
    """Return the level of the usable clicks, which rises by one each time they double.

    The level is part of the ranker's recipe: a new level trains it again.

    Args:
        feedback: impressions and clicks.
        splits: split of each listing; listings of the test split are not trained on.
        parameters: ``min_clicks``.

    Returns:
        0 if fewer than ``min_clicks`` searches have both a clicked and another listing to train on, 1 from
        ``min_clicks`` searches on, 2 from twice as many on, 3 from four times as many on, and so on.
    """
    known = set(splits.loc[splits["split"] != "test", "product_id"])
    usable = feedback["product_id"].isin(known) & ~evaluation_mask(feedback)
    shares = feedback[usable].groupby("search_id")["clicked"].mean()
    return (
        int(shares.between(0, 1, inclusive="neither").sum()) // parameters.min_clicks
    ).bit_length()


def evaluation_mask(feedback: pd.DataFrame) -> "pd.Series[bool]":
    """Return which impressions are for evaluation, by a hash of the text: bool, (impressions,).

    All searches for a text are on the same side. If all texts are the same, searches are divided.
    """
    names = feedback["words"]
    if len(names.unique()) <= 1:
        names = feedback["search_id"]
    chosen = {name: zlib.crc32(name.encode()) % EVALUATED_TEXTS == 0 for name in names.unique()}
    return names.map(chosen).astype("bool")


def join_clicks(searches: Iterable[bytes], clicks: Iterable[bytes]) -> FeedbackResult:
    """Join search and click events.

    Args:
        searches: JSON lines, each a :class:`SearchLine`. Searches sorted otherwise than by relevance are
            ignored: their first listings are the newest or cheapest, not those that buyers prefer.
        clicks: JSON lines, each a :class:`ClickLine`.
    """
    search_lines, malformed_searches = _parse(searches, SearchLine)
    click_lines, malformed_clicks = _parse(clicks, ClickLine)
    by_id: dict[str, SearchLine] = {}
    for line in search_lines:
        by_id.setdefault(line.search_id, line)
    impressions = {
        (line.search_id, product): (line.words, line.offset + rank)
        for line in by_id.values()
        for rank, product in enumerate(line.product_ids, start=1)
    }
    clicked, deep, excess = _usable_clicks(click_lines, impressions)
    rows = [
        (search_id, words, product, position, (search_id, product) in clicked)
        for (search_id, product), (words, position) in impressions.items()
        if by_id[search_id].filters.sort in BY_RELEVANCE
    ]
    unknown = sum((line.search_id, line.product_id) not in impressions for line in click_lines)
    return FeedbackResult(
        pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES),
        ExcludedEvents(
            malformed_searches + malformed_clicks,
            len(search_lines) - len(by_id),
            unknown,
            deep,
            excess,
        ),
    )


def _usable_clicks(
    lines: Iterable[ClickLine], impressions: Mapping[tuple[str, str], tuple[str, int]]
) -> tuple[set[tuple[str, str]], int, int]:
    """Return the clicked impressions that are used, and the numbers of deep clicks and of excess clicks.

    Args:
        lines: clicks, in order of time.
        impressions: words and position by search and listing.
    """
    usable: set[tuple[str, str]] = set()
    per_search: Counter[str] = Counter()
    deep = excess = 0
    for click in dict.fromkeys((line.search_id, line.product_id) for line in lines):
        if click not in impressions:
            continue
        if impressions[click][1] > MAX_POSITION:
            deep += 1
        elif per_search[click[0]] >= MAX_CLICKS_PER_SEARCH:
            excess += 1
        else:
            per_search[click[0]] += 1
            usable.add(click)
    return usable, deep, excess


def _parse(lines: Iterable[bytes], model: type[Line]) -> tuple[list[Line], int]:
    """Return the lines that match a model, and the number of those that do not."""
    parsed, malformed = [], 0
    for line in lines:
        try:
            parsed.append(model.model_validate_json(line))
        except ValidationError:
            malformed += 1
    return parsed, malformed
