"""Searches and clicks, written down to learn from: what a line holds, and who writes it.

A folder holds a file a day (UTC) of each kind, ``searches-YYYY-MM-DD.jsonl`` and
``clicks-YYYY-MM-DD.jsonl``. The pipeline reads them by the same models as the server writes them by.
"""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Kind = Literal["searches", "clicks"]

SearchId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="as a search gave it")]
ProductId = Annotated[str, Field(min_length=1, max_length=64)]


class _Line(BaseModel):
    # What a later version adds is left out, so that old and new lines may lie in one folder.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class RequestedFilters(_Line):
    """What a search was narrowed to, and how it was sorted; see the parameters of ``/search``."""

    categories: list[str] = []
    min_price: float | None = None
    max_price: float | None = None
    near: str | None = None
    radius_km: float | None = None
    has_photo: bool | None = None
    sort: str = "relevance"
    diversity: float = 0.0


def _each_once(shown: list[str]) -> list[str]:
    if len(set(shown)) != len(shown):
        raise ValueError("found a listing twice on a page; expected each once")
    return shown


class SearchLine(_Line):
    """A page of a search by words.

    Attributes:
        search_id: its name.
        time: when it was answered, ISO 8601, UTC.
        release: what answered it.
        words: what was typed.
        filters: what else was asked.
        offset: hits on the pages before it.
        shown: the listings on it, in order.
    """

    search_id: SearchId
    time: str
    release: str
    words: Annotated[str, Field(min_length=1)]
    filters: RequestedFilters
    offset: Annotated[int, Field(ge=0)]
    shown: Annotated[list[str], AfterValidator(_each_once)]


class ClickLine(_Line):
    """A listing of a page that was opened.

    Attributes:
        search_id: the page.
        time: when, ISO 8601, UTC.
        product_id: the listing.
    """

    search_id: SearchId
    time: str
    product_id: ProductId


def new_search_id() -> str:
    """Name a search; nobody can tell from it who searched, nor that two searches are one person's."""
    return uuid.uuid4().hex


def now() -> str:
    """Give the time as a line has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def file_name(kind: Kind, day: str) -> str:
    """Name the file of a day, ``YYYY-MM-DD``; with ``*`` for the day, the pattern of all."""
    return f"{kind}-{day}.jsonl"
