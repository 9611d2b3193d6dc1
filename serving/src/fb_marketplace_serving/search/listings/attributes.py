"""Attributes of listings: brand, model, colour, material, condition, sizes and measures.

Rules find them in titles and descriptions. Brands are not listed here: they are learned from the market,
and passed in.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any, Final, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray

from fb_marketplace_serving.search.query.lexicon import COLOURS, CONDITIONS, NAMES
from fb_marketplace_serving.search.tokenizer import words
from fb_marketplace_serving.storage.columns import text_array

AttributeKind = Literal[
    "brand",
    "model",
    "colour",
    "material",
    "condition",
    "size",
    "age",
    "seats",
    "length",
    "storage",
    "volume",
    "weight",
    "power",
]
KINDS: Final[tuple[AttributeKind, ...]] = get_args(AttributeKind)

MATERIALS: Final = {
    name: name
    for name in words("""
    wood oak pine teak mahogany walnut bamboo rattan wicker metal steel iron brass copper aluminium chrome
    glass crystal ceramic porcelain marble leather suede velvet cotton wool linen denim fur silk plastic
    """)
} | {"wooden": "wood", "aluminum": "aluminium", "woollen": "wool"}
"""Materials by word."""

UNITS: Final[dict[str, tuple[AttributeKind, float]]] = {
    "mm": ("length", 0.1),
    "cm": ("length", 1),
    "cms": ("length", 1),
    "m": ("length", 100),
    "metre": ("length", 100),
    "metres": ("length", 100),
    "meter": ("length", 100),
    "meters": ("length", 100),
    "inch": ("length", 2.54),
    "inches": ("length", 2.54),
    "in": ("length", 2.54),
    '"': ("length", 2.54),
    "ft": ("length", 30.48),
    "foot": ("length", 30.48),
    "feet": ("length", 30.48),
    "'": ("length", 30.48),
    "mb": ("storage", 0.001),
    "gb": ("storage", 1),
    "gig": ("storage", 1),
    "tb": ("storage", 1000),
    "ml": ("volume", 0.001),
    "cl": ("volume", 0.01),
    "l": ("volume", 1),
    "ltr": ("volume", 1),
    "litre": ("volume", 1),
    "litres": ("volume", 1),
    "liter": ("volume", 1),
    "liters": ("volume", 1),
    "g": ("weight", 0.001),
    "kg": ("weight", 1),
    "kgs": ("weight", 1),
    "lb": ("weight", 0.4536),
    "lbs": ("weight", 0.4536),
    "stone": ("weight", 6.35),
    "w": ("power", 1),
    "watt": ("power", 1),
    "watts": ("power", 1),
    "kw": ("power", 1000),
}
"""Kind of measure, and the factor to its standard unit, by unit."""

STANDARD_UNITS: Final = {
    "length": "cm",
    "storage": "GB",
    "volume": "l",
    "weight": "kg",
    "power": "W",
}

LETTER_SIZES: Final = {
    "xs": "XS",
    "small": "S",
    "s": "S",
    "medium": "M",
    "m": "M",
    "large": "L",
    "l": "L",
    "xl": "XL",
    "xxl": "XXL",
}

FACETS: Final[tuple[AttributeKind, ...]] = (
    "brand",
    "colour",
    "material",
    "condition",
    "size",
    "age",
    "seats",
    "storage",
)
"""Kinds that results are counted by. Other measures differ from listing to listing."""

MAX_VALUES: Final = 8
MIN_LISTINGS: Final = 2

MAX_MEASURE: Final = 1_000_000
"""Values in standard units from here on are no measures, but mistakes."""

_DESCRIPTION_CONDITIONS: Final = {
    phrase: value
    for phrase, value in CONDITIONS.items()
    if phrase not in {"new", "used", "for parts"}
}
"""Conditions in descriptions. There, these words alone rarely describe the item: "used as a desk"."""

_CHOSEN: Final[tuple[AttributeKind, ...]] = ("colour", "size")
MAX_CHOICES: Final = 2
"""Maximum number of colours, or sizes, in a description: more are a range to choose from."""

_BEFORE_OTHER_BRAND: Final = frozenset(["for", "with", "fits", "fit", "like"])
"""Words before the brand of another item: "case for iPhone", "PC with Nvidia graphics"."""

_NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+|\d{1,6})(?:\.\d{1,6})?"
_UNIT: Final = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_END: Final = r"(?![a-z0-9])"
_MEASURE: Final = re.compile(
    rf"(?<![\w.£$€])(?<!\d[,/–-])({_NUMBER}(?:\s?(?:{_UNIT})?\s?[x×*]\s?{_NUMBER}){{0,2}})\s?-?({_UNIT}){_END}",
)
"""A number with a unit, or two or three with one unit: "120 x 60 cm". No end of a range or fraction."""

_SIZE: Final = re.compile(
    r"\b(?:(?:(?:uk|eu|us)\s?)?size(?:\s?(?:uk|eu|us))?(?:\s?:?\s?(\d{1,2}(?:\.5)?)|(?:\s|\s?:\s?)(xxl|xl|xs|s|m|l|small|medium|large))"
    r"|(?:uk|eu)\s?:?\s?(\d{1,2}(?:\.5)?))"
    r"(?!\w|[.,]\d|\s?[/–x×+-]\s?\d|\s?(?:[\"%]|inch|ft|mm|cm))"
)
"""A size. "us" and letters need the word "size": "call us", "uk small business", not "sizes"."""

_BED: Final = re.compile(
    r"\b(super king|king|queen|double|single)"
    r"(?:[\s-]?size(?:d)?|\s(?=bed(?!side|room)|mattress|duvet|divan|headboard))"
)
_AGE: Final = re.compile(
    r"(?<![\w.])(\d{1,2})\s?(?:-|–|to|/)\s?(\d{1,2})\s?(months?|mths?|years?|yrs?)" + _END
)
_OLD: Final = re.compile(r"\s?old\b")
_FOR_AGE: Final = re.compile(r"\b(?:age[ds]?|suit\w*|fits?|for)\b")
"""Words before an age that goods are for: they are not "4-5 months old" themselves."""

_SEATS: Final = re.compile(
    r"(?<![\w.])((?:\d\s?[+&/]\s?)*(?:\d(?:\.5)?|two|three|four))[\s-]?seat(?:er|s)?\b"
)
"""Numbers of seats: "3 seater", "3+2 seater"."""
_SEAT_NUMBERS: Final = {"two": "2", "three": "3", "four": "4"}
_MODEL: Final = re.compile(r"\b(?=[a-z0-9]*[a-z])(?=[a-z0-9]*\d)[a-z0-9]{3,12}\b")
_NO_MODEL: Final = re.compile(
    r"\d+(?:st|nd|rd|th|s|x\d*|in\d+|yrs?|y|mths?|hrs?|mins?|cc|b?hp|am|pm|k|p|d|mph|v|h|oz|gsm|kva|phase|[kmg]?hz|mp|pcs?"
    rf"|{_UNIT})|(?:uk|eu|us)\d+|g?ddr\d+\w?"
)
"""Ordinals, dimensions, times, and measures and sizes that are no attribute."""

_NETWORK: Final = re.compile(r"(?:[2-6]|2\.4)\s?g")
"""Generations and bands of wireless networks, such as "5g", which are no weights."""

_OF_RAM: Final = re.compile(
    r"\s?-?(?:of\s)?(?:g?ddr\w*|v?ram|graphics|gpu|nvidia|radeon|amd|unified|dedicated|cache)\b"
)
_AFTER_RAM: Final = re.compile(
    r"(?<!\dgb )(?<!\dg )(?<!gig )(?:\bram|\bg?ddr\d?\w?)\W{0,3}(?:g?ddr\d?\w?\W)?$"
)
"""After and before the size of a computer's memory, which is no storage."""

MAX_RAM: Final = 64
"""A size in GB up to this is memory if the text has one of at least four times as much: "8GB 256GB"."""

_AFTER_SIDE: Final = re.compile(r"\d\s?(?:cm|mm|\"|')?\s?[dhl]\s?[x×,]?\s?$")
_BEFORE_SIDE: Final = re.compile(
    r"(?<= [wl])\s?:?\s?\d|\s?(?:[x×,]\s?)?\d+(?:\.\d+)?\s?(?:cm|mm|\"|')?\s?[dhl]\b"
)
"""Other sides of an item, before and after a "w" that means its width: "60d x 60w x 100h", "w 60 l 90"."""

_MIN_MEASURES: Final[Mapping[AttributeKind, float]] = {"storage": 0.1}
"""Values in standard units up to these are no measures: a computer's cache, or the size of a file."""


class Attribute(NamedTuple):
    """An attribute, such as the colour red.

    Attributes:
        kind: its kind.
        value: its value, the same for all spellings: "183 cm" for "6ft".
    """

    kind: AttributeKind
    value: str


def find_attributes(
    text: str,
    brands: Collection[str] = frozenset(),
    conditions: Mapping[str, str] = CONDITIONS,
) -> tuple[Attribute, ...]:
    """Return the distinct attributes in a text, by kind, then in order of appearance.

    Args:
        text: a title or a description.
        brands: brands of the market: one word each, in lower case.
        conditions: conditions by phrase.
    """
    folded = text.lower().replace("″", '"').replace("”", '"').replace("’", "'").replace("′", "'")
    attributes = dict.fromkeys(
        (
            *_find_names(words(text), brands, conditions),
            *_find_sizes(folded),
            *_find_measures(folded),
            *_find_models(folded),
        )
    )
    return tuple(sorted(attributes, key=lambda attribute: KINDS.index(attribute.kind)))


def _find_names(
    tokens: list[str], brands: Collection[str], conditions: Mapping[str, str]
) -> Iterator[Attribute]:
    """Yield brands, colours, materials and conditions: the longest phrase at each word."""
    place = 0
    while place < len(tokens):
        length, attribute = _name_at(tokens, place, brands, conditions)
        if attribute is not None:
            yield attribute
        place += length


def _name_at(
    tokens: list[str], place: int, brands: Collection[str], conditions: Mapping[str, str]
) -> tuple[int, Attribute | None]:
    """Return the number of words of the name at a place, and the attribute; None if there is none."""
    for length in range(min(3, len(tokens) - place), 0, -1):
        phrase = " ".join(tokens[place : place + length])
        if phrase in brands:
            other = place > 0 and tokens[place - 1] in _BEFORE_OTHER_BRAND
            return length, None if other else Attribute("brand", phrase)
        if phrase in NAMES:
            return length, None
        if phrase in conditions:
            return length, Attribute("condition", conditions[phrase])
        if phrase in COLOURS:
            return length, Attribute("colour", COLOURS[phrase])
        if phrase in MATERIALS:
            return length, Attribute("material", MATERIALS[phrase])
    return 1, None


def _find_sizes(text: str) -> Iterator[Attribute]:
    for match in _SIZE.finditer(text):
        value = match[1] or match[2] or match[3]
        yield Attribute("size", LETTER_SIZES.get(value, value.upper()))
    for match in _BED.finditer(text):
        yield Attribute("size", match[1])
    for match in _AGE.finditer(text):
        before = text[max(0, match.start() - 24) : match.start()]
        of_item = _OLD.match(text, match.end()) and not _FOR_AGE.search(before)
        if int(match[1]) < int(match[2]) and not of_item:
            unit = "months" if match[3].startswith("m") else "years"
            yield Attribute("age", f"{int(match[1])}-{int(match[2])} {unit}")
    for match in _SEATS.finditer(text):
        for number in re.findall(r"[\d.]+|[a-z]+", match[1]):
            yield Attribute("seats", _SEAT_NUMBERS.get(number, number))


def _find_measures(text: str) -> Iterator[Attribute]:
    """Yield measures in standard units: "183 cm" for "6ft"."""
    measures = list(_measures(text))
    storage = max((value for kind, value in measures if kind == "storage"), default=0)
    for kind, value in measures:
        if kind != "storage" or value > MAX_RAM or value > storage / 4:
            yield Attribute(kind, f"{_plain(value)} {STANDARD_UNITS[kind]}")


def _measures(text: str) -> Iterator[tuple[AttributeKind, float]]:
    for match in _MEASURE.finditer(text):
        kind, factor = UNITS[match[2]]
        numbers = re.findall(_NUMBER, match[1])
        if _has_other_meaning(match, numbers):
            continue
        for number in numbers:
            value = float(number.replace(",", "")) * factor
            if _MIN_MEASURES.get(kind, 0) < value < MAX_MEASURE:
                yield kind, value


def _has_other_meaning(match: re.Match[str], numbers: list[str]) -> bool:
    """Check whether the unit of a measure is a word, a side of an item, a network or working memory."""
    text = match.string
    match match[2]:
        case "in":  # "10 in total", "2-in-1"
            return len(numbers) == 1 and match[0] != f"{numbers[0]}in"
        case "w" | "l":
            before = text[max(0, match.start() - 12) : match.start()]
            return bool(_AFTER_SIDE.search(before) or _BEFORE_SIDE.match(text, match.end()))
        case "g" | "gb" | "gig" | "mb":
            before = text[max(0, match.start() - 12) : match.start()]
            return bool(
                len(numbers) > 1  # "2x8GB"
                or _NETWORK.fullmatch(match[0])
                or _OF_RAM.match(text, match.end())
                or _AFTER_RAM.search(before)
            )
    return False


def _find_models(text: str) -> Iterator[Attribute]:
    """Yield words of letters and digits, such as "ps4", that are no measures."""
    remaining = _SEATS.sub(" ", _AGE.sub(" ", _SIZE.sub(" ", _MEASURE.sub(" ", text))))
    for match in _MODEL.finditer(remaining):
        if not _NO_MODEL.fullmatch(match[0]):
            yield Attribute("model", match[0])


def _plain(value: float) -> str:
    """Return a number with at most three significant digits, without trailing zeros."""
    return f"{float(f'{value:.3g}'):g}"


def listing_attributes(
    title: str, description: str, brands: Collection[str]
) -> tuple[Attribute, ...]:
    """Return the attributes of a listing: of each kind those in the title, or else in the description.

    Models are in titles only. Words of letters and digits in descriptions are rarely models: most are
    postcodes, codes, or words without spaces between them.
    """
    by_title = find_attributes(title, brands)
    others = find_attributes(description, brands, _DESCRIPTION_CONDITIONS)
    counts = Counter(attribute.kind for attribute in others)
    excluded = {attribute.kind for attribute in by_title} | {"model"}
    excluded |= {kind for kind in _CHOSEN if counts[kind] > MAX_CHOICES}
    return (*by_title, *(attribute for attribute in others if attribute.kind not in excluded))


def attributes_text(attributes: Iterable[Attribute]) -> str:
    """Return attributes as a text, one a line: the column ``attributes`` of listing features."""
    return "\n".join(f"{attribute.kind}:{attribute.value}" for attribute in attributes)


@dataclass(frozen=True, slots=True)
class AttributeCount:
    """Number of listings with an attribute."""

    kind: AttributeKind
    value: str
    count: int


@dataclass(frozen=True, eq=False)
class AttributeTable:
    """Attributes of listings, in CSR format.

    Attributes:
        names: the distinct attributes, as ``kind:value``.
        starts: int64, (listings + 1,), offset of each listing's first attribute, and the end.
        codes: int32, (entries,), indices in ``names``.
    """

    names: tuple[str, ...]
    starts: NDArray[np.int64]
    codes: NDArray[np.int32]

    @classmethod
    def from_texts(cls, texts: Any) -> Self:
        """Read attributes.

        Args:
            texts: a text of each listing, see :func:`attributes_text`; a sequence or an Arrow array.
        """
        import pyarrow as pa

        column = texts if isinstance(texts, pa.Array) else text_array(texts)
        encoded = column.dictionary_encode()
        parts = [text.split("\n") if text else [] for text in encoded.dictionary.to_pylist()]
        code_of = {name: code for code, name in enumerate(dict.fromkeys(chain(*parts)))}
        text_of_row = np.array(np.from_dlpack(encoded.indices), np.int64)
        by_text = cls(
            tuple(code_of),
            np.cumsum([0, *map(len, parts)], dtype=np.int64),
            np.array([code_of[name] for part in parts for name in part], np.int32),
        )
        return by_text.take(text_of_row)

    def take(self, rows: NDArray[np.integer]) -> Self:
        """Return the attributes of some listings."""
        entries, lengths = self._entries(rows)
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return replace(self, starts=starts, codes=self.codes[entries])

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return which listings have an attribute, ``kind:value``: bool, (listings,)."""
        mask = np.zeros(len(self.starts) - 1, np.bool_)
        code = self._code_of.get(name)
        if code is not None:
            mask[self._listings[self.codes == code]] = True
        return mask

    def count_values(self, rows: NDArray[np.integer]) -> list[AttributeCount]:
        """Count the attributes of some listings, by kind, then the most frequent first.

        Returns:
            At most ``MAX_VALUES`` of each of ``FACETS``, with at least ``MIN_LISTINGS`` listings.
        """
        counts = np.bincount(self.codes[self._entries(rows)[0]], minlength=len(self.names))
        frequent = self._facet_codes[counts[self._facet_codes] >= MIN_LISTINGS]
        by_kind: dict[str, list[tuple[int, str]]] = {name: [] for name in FACETS}
        for code, count in zip(frequent.tolist(), counts[frequent].tolist(), strict=True):
            kind, _, value = self.names[code].partition(":")
            by_kind[kind].append((-count, value))
        return [
            AttributeCount(kind, value, -count)
            for kind in FACETS
            for count, value in sorted(by_kind[kind])[:MAX_VALUES]
        ]

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.names)}

    @cached_property
    def _listings(self) -> NDArray[np.int32]:
        """The listing of each entry: int32, (entries,)."""
        lengths = np.diff(self.starts)
        return np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)

    @cached_property
    def _facet_codes(self) -> NDArray[np.int64]:
        """The codes of attributes of ``FACETS``, in ascending order."""
        kinds = (name.partition(":")[0] for name in self.names)
        return np.flatnonzero([kind in FACETS for kind in kinds])

    def _entries(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the entries of some listings, and the number of entries of each."""
        starts = self.starts[rows]
        lengths = self.starts[rows + 1] - starts
        ends = np.cumsum(lengths)
        entries = np.repeat(starts - ends + lengths, lengths)
        entries += np.arange(len(entries))
        return entries, lengths
