"""Attributes of listings: brand, model, colour, material, condition, sizes and measures.

Rules find them in titles and descriptions. Brands are not listed here: they are learned from the market,
and passed in.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal, NamedTuple, get_args

from fb_marketplace_serving.search.query.lexicon import COLOURS, CONDITIONS, NAMES
from fb_marketplace_serving.search.tokenizer import words

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

MAX_MEASURE: Final = 1_000_000
"""Values in standard units from here on are no measures, but mistakes."""

_DESCRIPTION_CONDITIONS: Final = {
    phrase: value
    for phrase, value in CONDITIONS.items()
    if phrase not in {"new", "used", "for parts"}
}
"""Conditions in descriptions. There, these words alone rarely describe the item: "used as a desk"."""

MAX_CHOICES: Final[Mapping[AttributeKind, int]] = {"colour": 2, "size": 3}
"""Maximum number of values in a description: more are a range to choose from. A size may have three."""

_COMPATIBLE: Final = frozenset(["for", "with", "fits", "fit", "like"])
_DETERMINERS: Final = frozenset(["the", "a", "an", "all", "any", "your", "my"])
"""Words before the brand of another item: "fits all iPhones", "PC with Nvidia graphics"."""

_NUMBER: Final = r"(?:\d{1,3}(?:,\d{3})+|\d{1,6})(?:\.\d{1,6})?"
_UNIT: Final = "|".join(sorted(map(re.escape, UNITS), key=len, reverse=True))
_END: Final = r"(?![a-z0-9])"
_MEASURE: Final = re.compile(
    rf"(?<![\w.£$€])(?<!\d[,/–-])({_NUMBER}(?:\s?(?:{_UNIT})?\s?[x×*]\s?{_NUMBER}){{0,2}})\s?-?({_UNIT}){_END}",
)
"""A number with a unit, or two or three with one unit: "120 x 60 cm". No end of a range or fraction."""

_LETTER_SIZE: Final = r"(?:xxl|xl|xs|s|m|l|small|medium|large)"
_SIZE: Final = re.compile(
    r"\b(?:(?:(?:uk|eu|us)\s?)?size(?:\s?(?:uk|eu|us))?"
    rf"(?:\s?:?\s?(\d{{1,2}}(?:\.5)?)|(?:\s|\s?:\s?)({_LETTER_SIZE}))"
    r"|(?:uk|eu)\s?:?\s?(\d{1,2}(?:\.5)?))"
    r"(?!\w|[.,]\d|\s?(?:[\"%]|inch|ft|mm|cm))"
    rf"(?!\s?(?:[/–x×+&-]|to\s|or\s|and\s)\s?(?:\d|{_LETTER_SIZE}\b))"
)
"""A size, no range. "us" and letters need the word "size": "call us", "uk small business", not "sizes"."""

_BED: Final = re.compile(
    r"\b(super king|king|queen|double|single)"
    r"(?:[\s-]?size(?:d)?|\s(?=bed(?!side|room)|mattress|duvet|divan|headboard))"
)
_AGE: Final = re.compile(
    r"(?<![\w.])(\d{1,2})\s?(?:-|–|to|/)\s?(\d{1,2})\s?(months?|mths?|years?|yrs?)" + _END
)
_OWN_AGE: Final = re.compile(r"\s?(?:old\b|warranty|guarantee|ago\b)")
_OWN_AGE_BEFORE: Final = re.compile(
    r"\b(?:used|owned|life|lasts?|warranty|guarantee)\W{0,3}(?:for\s)?$"
)
_FOR_AGE: Final = re.compile(
    r"\b(?:age[ds]?|suit\w*|boys?|girls?|kids?|child\w*|toddlers?|bab(?:y|ies))\b|\b(?:for|fits?)\s$"
)
"""Words around the age of an item itself, and before one that it is for: "for 4-5 years old"."""

_SEAT_NUMBER: Final = r"(?:\d(?:\.5)?|two|three|four)"
_SEATS: Final = re.compile(
    rf"(?<![\w.])((?:{_SEAT_NUMBER}\s?(?:[+&/,]|and|or)\s?){{0,3}}{_SEAT_NUMBER})[\s-]?seat(?:er|s)?\b"
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

_RAM_SUFFIX: Final = re.compile(
    r"\s?-?(?:of\s)?(?:g?ddr\w*|v?ram|graphics|gpu|nvidia|radeon|amd|unified|dedicated|cache)\b"
)
_RAM_PREFIX: Final = re.compile(r"(?:^|(\S+)\W+)(?:ram|g?ddr\d\w?)\W{0,3}$")
_RAM_OF_OTHER: Final = re.compile(r"\d*\s?(?:gb|gig|g)|of|g?ddr\d\w?")
"""After and before the size of working memory, if the word is not of another size: "8gb ram 32gb"."""

MAX_RAM: Final = 64
"""A size in GB up to this is memory if the text has one of at least four times as much: "8GB 256GB"."""
MAX_MODULE: Final = 32
"""A size in GB up to this is memory if there are several of it: "2x8GB"."""
_ALTERNATIVE: Final = re.compile(r"\s?(?:and|or|&)\s")
"""Between two sizes of storage: "16gb or 128gb"."""

_SIDE: Final = r"\d+(?:\.\d+)?\s?(?:cm|mm|\")?"
_LABELS_BEFORE: Final = re.compile(
    rf"(?<![a-z\d])(?<!\d )(?:[wdhl]\s?:?\s?{_SIDE}[\s,x×]{{0,3}}){{2,}}"
)
_LABELS_AFTER: Final = re.compile(rf"(?:{_SIDE}\s?[wdhl]\b\s?[x×,]?\s?){{2,}}")
_LABEL: Final = re.compile(r"(?<![a-z])[wdhl](?![a-z])")
"""Sides of an item: "w 60 l 90", "60d x 60w x 100h". Their letters are no watts and litres."""

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
            return length, (
                None if _is_other_brand(tokens, place, brands) else Attribute("brand", phrase)
            )
        if phrase in NAMES:
            return length, None
        if phrase in conditions:
            return length, Attribute("condition", conditions[phrase])
        if phrase in COLOURS:
            return length, Attribute("colour", COLOURS[phrase])
        if phrase in MATERIALS:
            return length, Attribute("material", MATERIALS[phrase])
    return 1, None


def _is_other_brand(tokens: list[str], place: int, brands: Collection[str]) -> bool:
    """Check whether a brand is that of another item, which this one is for or has."""
    while place > 0 and (tokens[place - 1] in _DETERMINERS or tokens[place - 1] in brands):
        place -= 1
    return place > 0 and tokens[place - 1] in _COMPATIBLE


def _find_sizes(text: str) -> Iterator[Attribute]:
    for match in _SIZE.finditer(text):
        value = match[1] or match[2] or match[3]
        yield Attribute("size", LETTER_SIZES.get(value, value.upper()))
    for match in _BED.finditer(text):
        yield Attribute("size", match[1])
    for match in _AGE.finditer(text):
        if int(match[1]) < int(match[2]) and not _is_own_age(match):
            unit = "months" if match[3].startswith("m") else "years"
            yield Attribute("age", f"{int(match[1])}-{int(match[2])} {unit}")
    for match in _SEATS.finditer(text):
        for number in re.findall(_SEAT_NUMBER, match[1]):
            yield Attribute("seats", _SEAT_NUMBERS.get(number, number))


def _is_own_age(match: re.Match[str]) -> bool:
    """Check whether an age, or a time, is that of the item and not of people."""
    before = _before(match, 24)
    if _OWN_AGE_BEFORE.search(before):
        return True
    return bool(_OWN_AGE.match(match.string, match.end()) and not _FOR_AGE.search(before))


def _before(match: re.Match[str], length: int) -> str:
    return match.string[max(0, match.start() - length) : match.start()]


def _find_measures(text: str) -> Iterator[Attribute]:
    """Yield measures in standard units: "183 cm" for "6ft"."""
    for kind, value in _measures(_without_labels(text)):
        yield Attribute(kind, f"{_plain(value)} {STANDARD_UNITS[kind]}")


def _without_labels(text: str) -> str:
    """Remove the letters that label the sides of an item."""
    text = _LABELS_BEFORE.sub(lambda match: _LABEL.sub(" ", match[0]), text)
    return _LABELS_AFTER.sub(
        lambda match: (
            re.sub(r"[wdhl]\b", " ", match[0]) if re.search(r"[dh]\b", match[0]) else match[0]
        ),
        text,
    )


def _measures(text: str) -> Iterator[tuple[AttributeKind, float]]:
    matches = list(_MEASURE.finditer(text))
    sizes = [_values(match)[-1] for match in matches if UNITS[match[2]][0] == "storage"]
    for match in matches:
        kind = UNITS[match[2]][0]
        values = _values(match)
        if match[2] == "in" and len(values) == 1 and not match[0].endswith(match[1] + "in"):
            continue  # A word, as in "10 in total" or "2-in-1".
        if kind == "weight" and (_NETWORK.fullmatch(match[0]) or _is_ram(match)):
            continue
        if kind == "storage" and _is_memory(match, values, max(sizes)):
            continue
        # The number of pieces, as in "2 x 1TB", is no measure. Lengths have several sides.
        for value in values if kind == "length" else values[-1:]:
            if _MIN_MEASURES.get(kind, 0) < value < MAX_MEASURE:
                yield kind, value


def _values(match: re.Match[str]) -> list[float]:
    """Return the numbers of a measure in the standard unit."""
    factor = UNITS[match[2]][1]
    return [float(number.replace(",", "")) * factor for number in re.findall(_NUMBER, match[1])]


def _is_memory(match: re.Match[str], values: list[float], largest: float) -> bool:
    """Check whether a size is that of working memory, and no storage."""
    size = values[-1]
    if size > MAX_RAM:
        return False
    if _is_ram(match) or (len(values) > 1 and size <= MAX_MODULE):
        return True
    is_alternative = _ALTERNATIVE.match(match.string, match.end()) is not None
    return size <= largest / 4 and not is_alternative


def _is_ram(match: re.Match[str]) -> bool:
    """Check whether the words around a size name working memory."""
    if _RAM_SUFFIX.match(match.string, match.end()):
        return True
    prefix = _RAM_PREFIX.search(_before(match, 24))
    return prefix is not None and not (prefix[1] and _RAM_OF_OTHER.fullmatch(prefix[1]))


def _find_models(text: str) -> Iterator[Attribute]:
    """Yield words of letters and digits, such as "ps4", that are no measures."""
    remaining = _SEATS.sub(
        " ", _AGE.sub(" ", _SIZE.sub(" ", _MEASURE.sub(" ", _without_labels(text))))
    )
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
    excluded |= {kind for kind, limit in MAX_CHOICES.items() if counts[kind] > limit}
    return (*by_title, *(attribute for attribute in others if attribute.kind not in excluded))
