"""Query parser: finds prices, places, categories, conditions, colours and references in a query.

In doubt, a rule matches nothing. Prices and places become filters, and references ("this, but in") mean the
photo, so they are removed from the words. The other phrases stay among the words, and are only labelled.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from fb_marketplace_serving.search.listings.filters import SEPARATOR
from fb_marketplace_serving.search.query.amounts import PricePhrase, find_prices
from fb_marketplace_serving.search.query.lexicon import COLOURS, CONDITIONS, NAMES, ORDINARY_WORDS
from fb_marketplace_serving.search.tokenizer import terms, words

Kind = Literal["price", "place", "category", "condition", "colour", "reference"]

FindTown = Callable[[str], str | None]

PLACE_RADIUS_KM: Final = 25.0
"""Radius of "in Leeds" and "near me"."""

KM_PER_MILE: Final = 1.609344

MAX_TOWN_WORDS: Final = 4

PHOTO: Final = "photo"
"""Meaning of a reference."""

_NOT_TOWNS: Final = ORDINARY_WORDS | COLOURS.keys()

_TOKEN: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_WITHIN: Final = (
    r"within\s+(?P<radius>\d+(?:\.\d+)?)\s*(?P<unit>km|kilomet(?:re|er)s?|miles?|mi)\s+of"
)
_NEAR_ME: Final = re.compile(
    rf"\b(?:(?:{_WITHIN}|near|close to|around|local to)\s+(?:me|here)|nearby)\b", re.I
)
_BEFORE_TOWN: Final = re.compile(
    rf"(?<!made )(?<!born )\b(?:{_WITHIN}|in|near|close to|around)\s+(?=[^\W\d_])", re.I
)
_OR: Final = re.compile(r"\s*(?:or|and|&|/)\s+[^\W\d_]", re.I)
"""Another place: a search has one."""

_REFERENCE: Final = re.compile(
    r"\s*(?:"
    r"(?:(?:the )?same(?: (?:one|thing|item))?|th(?:is|at|ese|ose)(?: ones?)?|"
    r"(?:(?:something|anything|one) )?(?:like|similar to) th(?:is|at|ese|ose)(?: ones?)?|similar)"
    r"(?:,?\s+(?:but(?:,? (?:only|just))?(?: (?:in|with|made of))?|only in|just in|in|made of)\b|(?=\s*\|))"
    rf"|but(?: in)?\b|(?:only )?in(?= (?:{'|'.join(sorted(COLOURS))})\b))[\s,]*",
    re.I,
)
"""The beginning of a query that means the photo: "this, but in red". Phrases are blanked."""

_EDGES: Final = " \t,;:-–"


class PriceBounds(NamedTuple):
    """Bounds of a price; None if there is none."""

    min_price: float | None
    max_price: float | None


class NearPlace(NamedTuple):
    """A place and its radius. The name is None for "near me"."""

    name: str | None
    radius_km: float


class Phrase(NamedTuple):
    """A phrase that was understood.

    Attributes:
        start: offset of its first character in the query.
        end: offset after its last character.
        kind: its kind.
        text: the phrase as typed.
        value: its meaning. None for a price that depends on the matches ("cheap").
    """

    start: int
    end: int
    kind: Kind
    text: str
    value: PriceBounds | NearPlace | str | None


class ParsedQuery(NamedTuple):
    """A query and its meaning.

    Attributes:
        words: the text to search for: the query without prices, places and references.
        phrases: the phrases, in order.
    """

    words: str
    phrases: tuple[Phrase, ...]

    @property
    def is_cheap(self) -> bool:
        """Whether cheap listings are requested."""
        return any(phrase.kind == "price" and phrase.value is None for phrase in self.phrases)

    @property
    def price(self) -> PriceBounds:
        """The bounds of all prices of the query."""
        bounds = [phrase.value for phrase in self.phrases if isinstance(phrase.value, PriceBounds)]
        lows = [bound.min_price for bound in bounds if bound.min_price is not None]
        highs = [bound.max_price for bound in bounds if bound.max_price is not None]
        return PriceBounds(max(lows, default=None), min(highs, default=None))

    @property
    def place(self) -> NearPlace | None:
        """The place of the query; None if it has none."""
        places = [phrase.value for phrase in self.phrases if isinstance(phrase.value, NearPlace)]
        return places[0] if places else None


def category_names(paths: Mapping[str, int]) -> dict[tuple[str, ...], list[str]]:
    """Return the categories that each name in category paths may stand for, by the terms of the name.

    The name of a category comes before a part of one ("Comics" of "Books, Comics & Magazines"), and
    categories with many listings before others of the same name.

    Args:
        paths: number of listings by category path.
    """
    counts: dict[str, int] = {}
    for path, count in paths.items():
        parts = path.split(SEPARATOR)
        for depth in range(1, len(parts) + 1):
            prefix = SEPARATOR.join(parts[:depth])
            counts[prefix] = counts.get(prefix, 0) + count
    names: dict[tuple[str, ...], list[str]] = {}
    ordered = sorted(counts, key=lambda path: (-counts[path], path))
    for separator in (r"\0", r"[,&]| and "):
        for path in ordered:
            for name in re.split(separator, path.split(SEPARATOR)[-1]):
                known = names.setdefault(_name_terms(name), [])
                if path not in known:
                    known.append(path)
    return {
        name: known
        for name, known in names.items()
        if name not in ((), ("other",)) and not any(term.isdigit() for term in name)
    }


def parse_query(
    text: str,
    find_town: FindTown,
    categories: Mapping[tuple[str, ...], str],
    currencies: frozenset[str] = frozenset({"GBP"}),
    ignored: frozenset[str] = frozenset(),
) -> ParsedQuery:
    """Parse a query.

    Args:
        text: the query.
        find_town: returns the name of the town that a text names, with or without its county; None if it
            names none.
        categories: category paths by name, from :func:`category_names`.
        currencies: currencies of the listings, ISO 4217.
        ignored: kinds of phrases to leave among the words.
    """
    phrases: list[Phrase] = []
    # Places first: "within 10 km of Leeds" has a number.
    if "place" not in ignored:
        phrases += _find_places(text, find_town)
    if "price" not in ignored:
        phrases += [
            _price_phrase(text, price) for price in find_prices(_blank(text, phrases), currencies)
        ]
    if "reference" not in ignored:
        phrases += _find_reference(text, _blank(text, phrases))
    finders: tuple[tuple[Kind, _Find], ...] = (
        ("category", lambda tokens, start: _match_category(tokens, start, categories)),
        ("condition", lambda tokens, start: _match_phrase(tokens, start, CONDITIONS)),
        ("colour", lambda tokens, start: _match_phrase(tokens, start, COLOURS)),
    )
    for kind, find in finders:
        if kind not in ignored:
            phrases += _label(text, _blank(text, phrases), kind, find)
    return ParsedQuery(_words(text, phrases), tuple(sorted(phrases)))


_Token = re.Match[str]
_Find = Callable[[list[_Token], int], tuple[int, str] | None]


def _price_phrase(text: str, price: PricePhrase) -> Phrase:
    value = None if price.is_cheap else PriceBounds(price.min_price, price.max_price)
    return Phrase(price.start, price.end, "price", text[price.start : price.end].strip(), value)


def _find_places(text: str, find_town: FindTown) -> list[Phrase]:
    """Return the first place of a text, in a list; an empty list if there is none."""
    match = _NEAR_ME.search(text)
    if match:
        return [Phrase(*match.span(), "place", match[0], NearPlace(None, _radius(match)))]
    for match in _BEFORE_TOWN.finditer(text):
        for end in _town_ends(text, match.end()):
            name = text[match.end() : end]
            if match["radius"] is None and " ".join(words(name)) in _NOT_TOWNS:
                continue
            town = find_town(name)
            if town is None:
                continue
            if _OR.match(text, end):
                return []
            value = NearPlace(town, _radius(match))
            return [Phrase(match.start(), end, "place", text[match.start() : end], value)]
    return []


def _find_reference(text: str, remaining: str) -> list[Phrase]:
    """Return the reference that a text begins with, in a list; an empty list if there is none."""
    match = _REFERENCE.match(remaining)
    # The whole text may be a title: "This".
    if match is None or match.end() == len(text):
        return []
    return [Phrase(*match.span(), "reference", match[0].strip(_EDGES), PHOTO)]


def _radius(match: re.Match[str]) -> float:
    if match["radius"] is None:
        return PLACE_RADIUS_KM
    km = 1.0 if match["unit"].lower().startswith("k") else KM_PER_MILE
    return max(float(match["radius"]) * km, 0.1)


def _town_ends(text: str, start: int) -> Iterator[int]:
    """Yield the ends of texts that may name a town and its county, longest first."""
    tokens = list(_TOKEN.finditer(text, start))[: 2 * MAX_TOWN_WORDS]
    for token in reversed(tokens):
        parts = text[start : token.end()].split(",")
        if len(parts) <= 2 and all(1 <= len(words(part)) <= MAX_TOWN_WORDS for part in parts):
            yield token.end()


def _blank(text: str, phrases: list[Phrase]) -> str:
    """Replace phrases by separators that no rule matches across; offsets stay the same."""
    for phrase in phrases:
        text = text[: phrase.start] + "|" * (phrase.end - phrase.start) + text[phrase.end :]
    return text


def _words(text: str, phrases: list[Phrase]) -> str:
    """Return a text without its filters and references. A text without them is returned as it is."""
    filters = [phrase for phrase in phrases if phrase.kind in ("price", "place", "reference")]
    if not filters:
        return text
    rest = _blank(text, filters)
    parts = [part.strip(_EDGES) for part in re.split(r"\|+", rest)]
    return " ".join(part for part in parts if part)


def _label(text: str, remaining: str, kind: Kind, find: _Find) -> list[Phrase]:
    tokens = list(_TOKEN.finditer(remaining))
    phrases, number = [], 0
    while number < len(tokens):
        label = find(tokens, number)
        if label is None:
            number += 1
            continue
        length, value = label
        start, end = tokens[number].start(), tokens[number + length - 1].end()
        phrases.append(Phrase(start, end, kind, text[start:end], value))
        number += length
    return phrases


def _match_category(
    tokens: list[_Token], start: int, categories: Mapping[tuple[str, ...], str]
) -> tuple[int, str] | None:
    for length in range(min(8, len(tokens) - start), 0, -1):
        name = _name_terms(" ".join(token[0] for token in tokens[start : start + length]))
        # A name with a filler at its end is the same name.
        if name in categories and words(tokens[start + length - 1][0]) not in (["and"], ["in"]):
            return length, categories[name]
    return None


def _match_phrase(
    tokens: list[_Token], start: int, meanings: Mapping[str, str]
) -> tuple[int, str] | None:
    texts = [token[0].lower() for token in tokens[start : start + 3]]
    if " ".join(texts[:2]) in NAMES:
        return None
    for length in range(len(texts), 0, -1):
        value = meanings.get(" ".join(texts[:length]))
        if value is not None:
            return length, value
    return None


def _name_terms(name: str) -> tuple[str, ...]:
    return tuple(term for term in terms(name) if term != "and")
