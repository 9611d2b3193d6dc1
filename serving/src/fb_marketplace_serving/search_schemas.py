"""What a search answers with."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fb_marketplace_serving.schemas import Listed


class Typical(BaseModel):
    """What alike listings ask."""

    model_config = ConfigDict(frozen=True)

    low: float
    high: float
    alike: list[str] = Field(description="some of the listings that it is of")


class PriceNoteShown(BaseModel):
    """Something to know of a price or a photo, with what it rests on; never a verdict."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["unusual_price", "photo_elsewhere"]
    text: str = Field(description="in plain words")
    products: list[str] = Field(description="the listings that it rests on")


class Place(BaseModel):
    """Where a hit stands with one of the sources of candidates."""

    model_config = ConfigDict(frozen=True)

    source: Literal["words", "meaning", "pictured", "picture", "both"]
    rank: int = Field(ge=1, description="among what that source found")
    similarity: float | None = Field(
        description="cosine; of words, the sum of BM25; null where the listing has no photo"
    )


class Reason(BaseModel):
    """What one feature adds to the score of a hit."""

    model_config = ConfigDict(frozen=True)

    feature: str
    says: str = Field(description="the feature in plain words")
    value: float | None = Field(description="null where it is not known")
    adds: float = Field(description="to the score")


class Why(BaseModel):
    """The score of a hit taken apart: the base and what every feature adds are the score."""

    model_config = ConfigDict(frozen=True)

    base: float
    reasons: list[Reason] = Field(description="the strongest first")
    words: dict[str, float] = Field(description="what each stem of the query adds to BM25")


class SearchHit(Listed):
    """A listing that was found."""

    image_id: str | None = Field(description="its photo that is most like the query; null for none")
    score: float = Field(description="the ranker's: higher is better, and zero is nothing special")
    places: list[Place] = Field(description="where it came from")
    distance_km: float | None = Field(description="from `near`; null where that is not known")
    more: list[str] = Field(description="listings that show the same thing, folded under this one")
    typical_price: Typical | None = Field(description="null where too few are alike")
    notes: list[PriceNoteShown]
    why: Why | None = Field(description="with `explain=true`")


class CategoryFacet(BaseModel):
    """How many of the listings that were found are in a category, or below it."""

    model_config = ConfigDict(frozen=True)

    path: str
    count: int


class PriceFacet(BaseModel):
    """How many of them cost so much."""

    model_config = ConfigDict(frozen=True)

    low: float
    high: Annotated[float | None, Field(description="below this; null for no end")]
    count: int


class SearchAnswer(BaseModel):
    """Listings, the best first."""

    model_config = ConfigDict(frozen=True)

    release: str = Field(description="pages of one search belong together while this is the same")
    total: int = Field(description="hits on all pages")
    listings: int = Field(description="with those that are folded under them")
    hits: list[SearchHit]
    categories: list[CategoryFacet]
    prices: list[PriceFacet]
    search_id: str | None = Field(
        default=None, description="to tell clicks by; null where the server writes none down"
    )
