"""Products and the texts of their listings."""

import math
from dataclasses import dataclass
from random import Random

from fb_marketplace.sample.brands import BRANDS, Brand
from fb_marketplace.sample.places import PLACES
from fb_marketplace.sample.prices import format_price, round_price
from fb_marketplace.sample.rendering.appearance import Appearance
from fb_marketplace.sample.rendering.canvas import blend
from fb_marketplace.sample.rendering.objects.registry import OBJECT_TYPES
from fb_marketplace.sample.taxonomy import LEAVES, ROOTS, Leaf

_CONDITIONS: tuple[tuple[tuple[str, ...], float, float], ...] = (
    # words | wear in the photo | factor on the price
    (("brand new", "new in box", "unused"), 0.0, 1.6),
    (("as new", "excellent condition", "immaculate"), 0.05, 1.25),
    (("very good condition", "good condition", "lovely condition"), 0.25, 1.0),
    (("used condition", "some wear", "a few marks"), 0.6, 0.7),
    (("spares or repair", "well worn", "needs some love"), 0.95, 0.4),
)
_TRIMS = ((52, 52, 56), (168, 173, 178), (150, 104, 62), (226, 222, 212), (96, 70, 48))
_REASONS = (
    "moving house",
    "having a clear out",
    "upgraded",
    "no longer needed",
    "downsizing",
    "an unwanted gift",
    "bought the wrong one",
    "no room for it",
    "clearing the garage",
    "relocating for work",
)
_HANDOVERS = (
    "collection only",
    "cash on collection",
    "can deliver locally for petrol money",
    "can post at cost",
    "pick up any evening",
    "buyer to collect",
    "collection from {town}",
    "will hold with a deposit",
    "weekends best",
)
_ASIDES = (
    "any questions just ask",
    "no time wasters please",
    "grab a bargain",
    "open to sensible offers",
    "first to see will buy",
    "see my other items",
    "from a pet free home",
    "paid a lot more",
    "message for more photos",
    "no silly offers",
    "selling for a friend",
    "thanks for looking",
)
_RARE = 0.025
_RARITIES = (
    "a collector's piece",
    "rare limited edition",
    "signed by the maker",
    "professional model",
    "antique, with provenance",
)
_VAGUE_TITLES = ("Must go today", "Bargain", "Quick sale", "Free up some space", "Make me an offer")


@dataclass(frozen=True)
class Product:
    """A listing without faults.

    Attributes:
        number: index of the listing, from 0.
        id: a UUID.
        leaf: its category.
        brand: its brand.
        title: title with the site's suffix.
        description: description on one line.
        amount: price in pounds.
        location: "Town, County".
        appearance: appearance in its photos.
    """

    number: int
    id: str
    leaf: Leaf
    brand: Brand
    title: str
    description: str
    amount: float
    location: str
    appearance: Appearance

    @property
    def price(self) -> str:
        """The price as in the raw table."""
        return format_price(self.amount)


def uuid_from(random: Random) -> str:
    """Return a version 4 UUID from a seeded generator."""
    digits = f"{random.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) % 4]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def generate_product(seed: int, number: int) -> Product:
    """Return the product of a number; it does not depend on the size of the marketplace.

    Args:
        seed: the marketplace's seed.
        number: index of the listing, from 0. The first thirteen cover the thirteen root categories.

    Returns:
        The product; its texts, price and appearance agree.
    """
    random = Random(f"{seed}/{number}/product")
    root = ROOTS[number] if number < len(ROOTS) else random.choice(ROOTS)
    leaf = random.choice([leaf for leaf in LEAVES if leaf.root == root])
    brand = random.choice(BRANDS)
    size = random.choices((0, 1, 2), (3, 4, 3))[0]
    words, wear, condition_worth = random.choices(_CONDITIONS, (14, 24, 36, 18, 8))[0]
    colour, body = random.choice(brand.body)
    location = random.choice(PLACES)
    # Vary the colour, so that no two products of a brand have exactly the same.
    body = blend(body, random.choice(_TRIMS), random.uniform(0.0, 0.16))
    appearance = Appearance(
        body=body,
        accent=brand.accent,
        trim=random.choice(_TRIMS),
        logo=brand.logo,
        size=size,
        wear=min(1.0, wear * random.uniform(0.8, 1.2)),
        details=tuple(random.random() for _ in range(8)),
    )
    rarity = random.choice(_RARITIES) if random.random() < _RARE else None
    worth = leaf.price * brand.worth * condition_worth * (0.72, 1.0, 1.42)[size]
    if rarity is not None:
        worth *= random.uniform(5, 18)
    facts = _Facts(
        leaf, brand.name, leaf.sizes[size], random.choice(words), colour, location.split(",")[0]
    )
    title = _title(random, facts)
    description = _description(random, facts)
    return Product(
        number=number,
        id=uuid_from(random),
        leaf=leaf,
        brand=brand,
        title=f"{title} | in {location} | Gumtree",
        description=f"{rarity.capitalize()}. {description}" if rarity else description,
        amount=round_price(worth * math.exp(random.gauss(0, 0.3))),
        location=location,
        appearance=appearance,
    )


@dataclass(frozen=True)
class _Facts:
    leaf: Leaf
    brand: str
    size: str
    condition: str
    colour: str
    town: str


def _title(random: Random, facts: _Facts) -> str:
    noun = random.choice(facts.leaf.nouns)
    if random.random() < 0.05:
        return f"{random.choice(_VAGUE_TITLES)} - {facts.condition}"
    parts = random.choice(
        (
            (facts.brand, noun),
            (facts.colour, noun),
            (facts.brand, facts.size, noun),
            (facts.size, facts.colour, noun, "-", facts.condition),
            (facts.brand, facts.colour, noun),
            (facts.condition, facts.brand, noun),
            (noun, "by", facts.brand, f"({facts.size})"),
            (noun, "-", facts.condition),
        )
    )
    title = " ".join(parts)
    style = random.random()
    return (
        title.upper()
        if style < 0.06
        else title.title()
        if style < 0.3
        else title[0].upper() + title[1:]
    )


def _description(random: Random, facts: _Facts) -> str:
    noun = random.choice(facts.leaf.nouns)
    reason, handover, aside = (random.choice(pool) for pool in (_REASONS, _HANDOVERS, _ASIDES))
    handover = handover.format(town=facts.town)
    longest = 190 if OBJECT_TYPES[facts.leaf.object_type].stance == "stands" else 60
    measures = f"{random.randint(15, longest)} x {random.randint(8, longest // 2)} cm"
    bought = (
        f"Bought {random.choice(('new', 'second hand', 'online'))} in {random.randint(2009, 2022)}"
    )
    if random.random() < 0.12:
        vague = [aside, handover, reason, facts.condition, f"text after {random.randint(1, 12)}"]
        random.shuffle(vague)
        return f"{'. '.join(vague[: random.randint(3, 5)]).capitalize()}. {bought}, {measures}."
    sentences = [
        random.choice(
            (
                f"{facts.brand} {noun} in {facts.colour}, {facts.size}",
                f"{facts.size.capitalize()} {facts.colour} {noun} for sale",
                f"Selling my {noun}, made by {facts.brand}",
                f"Here is a {facts.colour} {facts.brand} {noun}",
                f"For sale: one {noun}",
            )
        ),
        random.choice(
            (
                f"It is in {facts.condition}"
                if "condition" in facts.condition
                else facts.condition.capitalize(),
                f"Condition: {facts.condition}",
                f"I would call it {facts.condition}",
            )
        ),
        ", ".join(random.sample(facts.leaf.traits, random.randint(1, 3))).capitalize(),
        f"{random.choice(('Measures', 'Roughly', 'Size about'))} {measures}",
        bought,
        random.choice(
            (f"Selling because {reason}", f"Reason for sale: {reason}", reason.capitalize())
        ),
    ]
    chosen = sentences[:1] + [line for line in sentences[1:] if random.random() < 0.72]
    if random.random() < 0.25:
        chosen.append(
            f"Comes from a tidy home near {facts.town} and has always been looked after, "
            f"so please don't be put off by the photos, which don't do it justice"
        )
    chosen += [handover.capitalize(), aside.capitalize()][: random.randint(1, 2)]
    return ". ".join(chosen) + random.choice((".", "", "!", "..."))
