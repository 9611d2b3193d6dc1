"""Search and click events. The server writes them, and the pipelines read them.

A folder has one file per day (UTC) and kind: ``searches-YYYY-MM-DD.jsonl`` and ``clicks-YYYY-MM-DD.jsonl``.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field

Kind = Literal["searches", "clicks"]

SearchId = Annotated[
    str, Field(pattern="^[0-9a-f]{32}$", description="Id from the search response.")
]
ProductId = Annotated[str, Field(min_length=1, max_length=64)]


class _Line(BaseModel):
    # Unknown fields are ignored, so that lines of several versions can share a folder.
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class RequestedFilters(_Line):
    """Filters and order of a search; see the parameters of ``/search``.

    Lines of version 0.1 have ``spread`` for ``diversity``.
    """

    categories: list[str] = []
    min_price: float | None = None
    max_price: float | None = None
    near: str | None = None
    radius_km: float | None = None
    has_photo: bool | None = None
    attributes: list[str] = []
    sort: str = "relevance"
    diversity: Annotated[float, Field(validation_alias=AliasChoices("diversity", "spread"))] = 0.0


def _check_unique(product_ids: list[str]) -> list[str]:
    if len(set(product_ids)) != len(product_ids):
        raise ValueError("a page lists a product twice")
    return product_ids


class SearchLine(_Line):
    """A page of a text search.

    Attributes:
        search_id: id of the page.
        time: time of the response, ISO 8601, UTC.
        release: version of the release.
        words: the query.
        filters: the filters and the order.
        offset: hits on the pages before this one.
        product_ids: the listings on the page, in order; ``shown`` in lines of version 0.1.
    """

    search_id: SearchId
    time: str
    release: str
    words: Annotated[str, Field(min_length=1)]
    filters: RequestedFilters
    offset: Annotated[int, Field(ge=0)]
    product_ids: Annotated[
        list[str],
        Field(validation_alias=AliasChoices("product_ids", "shown")),
        AfterValidator(_check_unique),
    ]


class ClickLine(_Line):
    """A listing opened from a search.

    Attributes:
        search_id: id of the page.
        time: time of the click, ISO 8601, UTC.
        product_id: the listing.
    """

    search_id: SearchId
    time: str
    product_id: ProductId


def utc_now() -> str:
    """Return the current time, ISO 8601, UTC, in milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def file_name(kind: Kind, day: str) -> str:
    """Return the file name of a day, ``YYYY-MM-DD``, or a glob pattern if the day is ``*``."""
    return f"{kind}-{day}.jsonl"
