"""Request and response models of ``/search``."""

from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from fb_marketplace_serving.search.candidates import Source
from fb_marketplace_serving.search.engine import Sort
from fb_marketplace_serving.search.listings.attributes import KINDS, AttributeKind
from fb_marketplace_serving.search.query.completion import CompletionKind
from fb_marketplace_serving.search.query.parser import Kind
from fb_marketplace_serving.server.schemas.common import OAK_BOOKCASE, ListingSummary, with_example
from fb_marketplace_serving.server.schemas.listings import (
    OAK_BOOKCASE_PRICE,
    PriceInsight,
    PriceRange,
)

MAX_QUERY_LENGTH: Final = 200
"""Characters of a query or a place."""

Ignorable = Literal["spelling", "price", "place", "category", "condition", "colour", "reference"]
IGNORABLE: Final[tuple[str, ...]] = get_args(Ignorable)

AttributeName = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(KINDS)}):.{{1,64}}$")]

_HIT: Final[dict[str, Any]] = (
    OAK_BOOKCASE
    | OAK_BOOKCASE_PRICE
    | {
        "image_id": "0a1b2c3d",
        "score": 0.7,
        "relevance": 0.93,
        "sources": [{"source": "bm25", "rank": 1, "similarity": 7.4}],
        "distance_km": 3.2,
        "duplicates": ["7b8c9d0e"],
        "explanation": {
            "base": -0.2,
            "reasons": [
                {
                    "feature": "bm25_similarity",
                    "label": "matches the words",
                    "value": 7.4,
                    "contribution": 0.9,
                }
            ],
            "words": {"bookcas": 4.3, "oak": 3.1},
        },
    }
)


class SearchRequest(BaseModel):
    """Query parameters."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    q: Annotated[str, AfterValidator(str.strip)] = Field(
        default="",
        max_length=MAX_QUERY_LENGTH,
        description="Search text. Empty returns all listings matching the filters.",
    )
    limit: int = Field(default=20, ge=1, le=100, description="Maximum number of hits.")
    offset: int = Field(default=0, ge=0, le=100_000, description="Number of hits to skip.")
    category: tuple[str, ...] = Field(
        default=(), max_length=64, description="Category paths or prefixes of paths."
    )
    min_price: float | None = Field(default=None, ge=0)
    max_price: float | None = Field(default=None, ge=0)
    near: str | None = Field(default=None, max_length=MAX_QUERY_LENGTH, description="Town.")
    radius_km: float | None = Field(default=None, gt=0, description="Maximum distance from `near`.")
    has_photo: bool | None = None
    attribute: tuple[AttributeName, ...] = Field(
        default=(),
        max_length=16,
        description="Attributes that hits have, each as `kind:value`, such as `colour:red`.",
    )
    sort: Sort = Field(
        default="relevance",
        description="`distance` requires `near`, and `newest` a release with dates.",
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="0 ranks by score only; 1 maximally penalizes similarity to higher hits (MMR).",
    )
    min_relevance: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Minimum relevance of a hit. By default, searches by words have the release's "
        "threshold; 0 returns the best listings of each source, relevant or not.",
    )
    explain: bool = Field(default=False, description="Explain the score of each hit.")
    literal: bool = Field(
        default=False,
        description="Search for `q` exactly as typed: same as all values of `ignore`.",
    )
    ignore: tuple[Ignorable, ...] = Field(
        default=(),
        max_length=len(IGNORABLE),
        description="Corrections and meanings to ignore in `q`; their words are searched for.",
    )


class CandidateSource(BaseModel):
    """Rank of a hit in one of the candidate sources."""

    source: Source
    rank: int = Field(ge=1, description="Rank in this source.")
    similarity: float | None = Field(
        description="BM25 score or cosine; null if the listing has no photo."
    )


class FeatureContribution(BaseModel):
    """Contribution of a feature to the score of a hit."""

    feature: str
    label: str = Field(description="Description of the feature.")
    value: float | None = Field(description="Value of the feature; null if unknown.")
    contribution: float = Field(description="Contribution to the score.")


class Explanation(BaseModel):
    """Score of a hit, as the sum of the base and all contributions."""

    base: float
    reasons: list[FeatureContribution] = Field(description="By descending absolute contribution.")
    words: dict[str, float] = Field(description="BM25 score of each stem of the query.")


class SearchHit(ListingSummary):
    """A hit."""

    image_id: str | None = Field(description="The photo most similar to the query; null if none.")
    score: float | None = Field(
        description="Score of the ranker; higher is better. Null if the listing is not a candidate of any "
        "source."
    )
    relevance: float | None = Field(
        description="Probability that the listing is relevant; null without a query."
    )
    sources: list[CandidateSource] = Field(description="Candidate sources that found the listing.")
    distance_km: float | None = Field(description="Distance from `near`; null if unknown.")
    duplicates: list[str] = Field(description="Ids of listings of the same item.")
    typical_price: PriceRange | None = Field(description="Null if too few listings compare.")
    notes: list[PriceInsight]
    explanation: Explanation | None = Field(description="Present with `explain=true`.")


class CategoryFacet(BaseModel):
    """Number of matching listings in or below a category."""

    path: str
    count: int


class PriceFacet(BaseModel):
    """Number of matching listings in a price band."""

    low: float
    high: float | None = Field(description="Exclusive upper bound; null if unbounded.")
    count: int


class AttributeFacet(BaseModel):
    """Number of matching listings with an attribute."""

    kind: AttributeKind
    value: str = Field(
        description="Search for `attribute=<kind>:<value>` to see these listings only."
    )
    count: int


class Correction(BaseModel):
    """A corrected search text."""

    original: str = Field(description="The text as typed; search for it with `ignore=spelling`.")
    text: str = Field(description="The text that was searched for.")


class PriceFilter(BaseModel):
    """Price bounds in a text."""

    min_price: float | None
    max_price: float | None


class PlaceFilter(BaseModel):
    """A place in a text."""

    near: str
    radius_km: float | None


class Interpretation(BaseModel):
    """A phrase of the search text and its meaning.

    Prices and places filter, and references are not searched for. The others are words only.
    """

    kind: Kind = Field(description="The phrase is only searched for with `ignore=<kind>`.")
    text: str = Field(description="The phrase as typed.")
    value: PriceFilter | PlaceFilter | str | None = Field(
        description="Price bounds, place, category path, condition, colour, or `photo` for a reference "
        "(`this, but in`). Null if it could not be applied: `near me` without `near`, or `cheap` if no "
        "match has a price."
    )


class SearchResponse(BaseModel):
    """A page of hits with facets."""

    model_config = with_example(
        release="2026-03-01T12.00.00.000Z",
        total=1,
        total_listings=2,
        min_relevance=0.4,
        nearest_category=None,
        hits=[_HIT],
        categories=[{"path": "Home & Garden", "count": 2}],
        prices=[{"low": 25.0, "high": 50.0, "count": 2}],
        attributes=[{"kind": "material", "value": "oak", "count": 2}],
        search_id=None,
        words="oak bookcase",
        corrected={"original": "oak bokcase under £80", "text": "oak bookcase under £80"},
        did_you_mean=None,
        interpretation=[
            {"kind": "category", "text": "bookcase", "value": "Home & Garden / Bookcases"},
            {
                "kind": "price",
                "text": "under £80",
                "value": {"min_price": None, "max_price": 80.0},
            },
        ],
    )

    release: str = Field(description="Pages are consistent while this is unchanged.")
    total: int = Field(description="Number of hits on all pages.")
    total_listings: int = Field(description="Number of hits and their duplicates.")
    min_relevance: float = Field(description="Minimum relevance of the hits; 0 if there is none.")
    nearest_category: str | None = Field(
        description="Category path nearest to the query, if no listing is relevant."
    )
    hits: list[SearchHit]
    categories: list[CategoryFacet]
    prices: list[PriceFacet]
    attributes: list[AttributeFacet] = Field(
        default=[], description="Frequent attributes of the hits, by kind."
    )
    search_id: str | None = Field(
        default=None, description="Id for /clicks; null if feedback is off."
    )
    words: str = Field(
        default="", description="The words that were searched for: `q` without prices and places."
    )
    corrected: Correction | None = Field(
        default=None, description="Null if `q` was searched for as typed."
    )
    did_you_mean: str | None = Field(
        default=None, description="Suggested spelling that was not searched for."
    )
    interpretation: list[Interpretation] = Field(
        default=[], description="Meanings of phrases of the text, in their order."
    )


class Suggestion(BaseModel):
    """A completed search text."""

    text: str = Field(description="The completed text.")
    kind: CompletionKind = Field(description="Kind of its last part.")
    value: str = Field(description="The word, category path or town.")


class Suggestions(BaseModel):
    """Completions of a search text, best first."""

    model_config = with_example(
        release="2026-03-01T12.00.00.000Z",
        suggestions=[
            {"text": "oak bookcase", "kind": "word", "value": "bookcase"},
        ],
    )

    release: str
    suggestions: list[Suggestion]
