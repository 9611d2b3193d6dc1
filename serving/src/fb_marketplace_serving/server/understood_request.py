"""The meaning of a search request's words: corrected, and with prices and places as filters."""

from typing import Final, NamedTuple

from fb_marketplace_serving.search.query.parser import NearPlace, Phrase, PriceBounds
from fb_marketplace_serving.search.query.understanding import UnderstoodQuery
from fb_marketplace_serving.server.loaded_release import LoadedRelease
from fb_marketplace_serving.server.schemas.search import (
    IGNORABLE,
    Correction,
    Interpretation,
    PlaceFilter,
    PriceFilter,
    SearchRequest,
)

CHEAP_QUANTILE: Final = 0.25
"""Quantile of the matches' prices that bounds "cheap"."""


class UnderstoodRequest(NamedTuple):
    """A search request and its meaning.

    Attributes:
        original: the request of the client.
        effective: the request to answer: its words are searched for, its filters include those of the text.
        query: the meaning of the words.
    """

    original: SearchRequest
    effective: SearchRequest
    query: UnderstoodQuery

    @property
    def correction(self) -> Correction | None:
        """The correction of the text; None if there is none."""
        if self.query.text == self.original.q:
            return None
        return Correction(original=self.original.q, text=self.query.text)

    def interpretation(self, cheap_price: float | None = None) -> list[Interpretation]:
        """Return the meaning of each phrase of the text.

        Args:
            cheap_price: maximum price of "cheap"; None if no match has a price.
        """
        return [self._interpret(phrase, cheap_price) for phrase in self.query.parsed.phrases]

    def _interpret(self, phrase: Phrase, cheap_price: float | None) -> Interpretation:
        match phrase.value:
            case PriceBounds(low, high):
                value: PriceFilter | PlaceFilter | str | None = PriceFilter(
                    min_price=low, max_price=high
                )
            case NearPlace():
                near, radius_km = self.effective.near, self.effective.radius_km
                value = PlaceFilter(near=near, radius_km=radius_km) if near else None
            case None:
                value = (
                    None
                    if cheap_price is None
                    else PriceFilter(min_price=None, max_price=cheap_price)
                )
            case str(name):
                value = name
        return Interpretation(kind=phrase.kind, text=phrase.text, value=value)


def understand_request(loaded: LoadedRelease, request: SearchRequest) -> UnderstoodRequest:
    """Return the meaning of a request.

    Bounds of the price narrow those of the parameters. With the parameter `near`, a town in the text is not
    a place, but "near me" is.
    """
    if loaded.queries is None:
        raise ValueError(f"release {loaded.version} was built without text search")
    ignored = frozenset(IGNORABLE if request.literal else request.ignore)
    query = loaded.queries.understand(request.q, ignored, has_place=request.near is not None)
    price, place = query.parsed.price, query.parsed.place
    changes: dict[str, object] = {
        "q": query.parsed.words,
        "min_price": max(_known(request.min_price, price.min_price), default=None),
        "max_price": min(_known(request.max_price, price.max_price), default=None),
    }
    near = request.near or (place.name if place else None)
    if place and near:
        changes |= {"near": near, "radius_km": request.radius_km or place.radius_km}
    return UnderstoodRequest(request, request.model_copy(update=changes), query)


def _known(*bounds: float | None) -> list[float]:
    return [bound for bound in bounds if bound is not None]
