"""Searches and clicks as the server wrote them, made a table of what was shown and what was clicked."""

import logging
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

import pandas as pd
from pydantic import BaseModel, ValidationError

from fb_marketplace.storage.erasure_list import EMPTY_ERASURE_LIST, ErasureList
from fb_marketplace.storage.feedback_source import FeedbackSource
from fb_marketplace_serving.feedback.events import ClickLine, SearchLine

Line = TypeVar("Line", bound=BaseModel)

_TYPES: Final = {
    "search_id": "str",
    "words": "str",
    "product_id": "str",
    "position": "int64",
    "clicked": "bool",
}

logger = logging.getLogger(__name__)


class ExcludedEvents(NamedTuple):
    """How much of what was written down cannot be used.

    Attributes:
        lines: that are neither a search nor a click.
        repeated: searches of an id that another has.
        unknown: clicks on what no search showed.
    """

    lines: int
    repeated: int
    unknown: int


class FeedbackResult(NamedTuple):
    """The table; see :class:`fb_marketplace.schemas.retrieval.Feedback`; and what is not in it."""

    feedback: pd.DataFrame
    left_out: ExcludedEvents


def read_feedback(
    raw_feedback: FeedbackSource, forgotten: ErasureList = EMPTY_ERASURE_LIST
) -> pd.DataFrame:
    """Read what was shown and clicked, and log a line of how much there is and how much was left out.

    Args:
        raw_feedback: the folder; it may not be there.
        forgotten: listings of which nothing is to be kept.

    Returns:
        A row for each listing on each page: ``search_id``, ``words``, ``product_id``, ``position``, from 1
        over all pages, and ``clicked``.
    """
    feedback, left_out = join_clicks(raw_feedback.lines("searches"), raw_feedback.lines("clicks"))
    gone = feedback["product_id"].map(forgotten.has_product).astype("bool")
    feedback = feedback[~gone].reset_index(drop=True)
    if len(feedback) or any(left_out):
        logger.log(
            logging.WARNING if any(left_out) else logging.INFO,
            "feedback: %s searches, %s with a click; left out: %s malformed lines, %s repeated searches, "
            "%s clicks on what no search showed",
            f"{feedback['search_id'].nunique():,}",
            f"{feedback.loc[feedback['clicked'], 'search_id'].nunique():,}",
            *(f"{count:,}" for count in left_out),
        )
    return feedback


def join_clicks(searches: Iterable[bytes], clicks: Iterable[bytes]) -> FeedbackResult:
    """Join lines of searches and lines of clicks.

    Args:
        searches: of :class:`SearchLine`, as JSON.
        clicks: of :class:`ClickLine`, as JSON.
    """
    told, wrong_searches = _parsed(searches, SearchLine)
    opened, wrong_clicks = _parsed(clicks, ClickLine)
    by_id: dict[str, SearchLine] = {}
    for line in told:
        by_id.setdefault(line.search_id, line)
    clicked = {(line.search_id, line.product_id) for line in opened}
    shown = [
        (
            line.search_id,
            line.words,
            product,
            line.offset + place,
            (line.search_id, product) in clicked,
        )
        for line in by_id.values()
        for place, product in enumerate(line.product_ids, start=1)
    ]
    feedback = pd.DataFrame(shown, columns=list(_TYPES)).astype(_TYPES)
    pairs = set(zip(feedback["search_id"], feedback["product_id"], strict=True))
    unknown = sum((line.search_id, line.product_id) not in pairs for line in opened)
    left_out = ExcludedEvents(wrong_searches + wrong_clicks, len(told) - len(by_id), unknown)
    return FeedbackResult(feedback, left_out)


def _parsed(lines: Iterable[bytes], model: type[Line]) -> tuple[list[Line], int]:
    """Give the lines that are of a model, and how many are not."""
    found, wrong = [], 0
    for line in lines:
        try:
            found.append(model.model_validate_json(line))
        except ValidationError:
            wrong += 1
    return found, wrong
