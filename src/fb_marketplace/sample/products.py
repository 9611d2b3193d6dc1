"""Products: their models, appearance, texts and prices."""

import math
from dataclasses import dataclass, replace
from random import Random

from fb_marketplace.sample.catalogue import (
    BRANDS,
    COLOURS,
    CONDITION_WEIGHTS,
    CONDITIONS,
    KINDS,
    MATERIALS,
    ROOTS,
    Brand,
    Colour,
    Kind,
    Material,
)
from fb_marketplace.sample.places import PLACES
from fb_marketplace.sample.prices import format_price, round_price
from fb_marketplace.sample.rendering.canvas import Appearance
from fb_marketplace.sample.texts import Facts, write_description, write_title

FIRST_YEAR = 2022
_BLOCK = 100
_MODELS = 42
"""Of each hundred listings: about so many models, so a model has two or three listings."""

_SIZE_WORTH = (0.72, 1.0, 1.42)
_SIZE_WIDTH = (0.88, 1.0, 1.12)
_MISFILED = 0.02
_RARE = 0.01
_RARITIES = ("A collector's piece", "Rare limited edition", "Signed by the maker", "Antique")


@dataclass(frozen=True)
class Model:
    """An object that several sellers offer, in several colours.

    Attributes:
        number: identifies it.
        kind: kind of product.
        brand: its brand.
        material: its material.
        colours: the colours that it is made in.
        look: its appearance in the first colour, without wear.
    """

    number: int
    kind: Kind
    brand: Brand
    material: Material
    colours: tuple[Colour, ...]
    look: Appearance


@dataclass(frozen=True)
class Product:
    """A listing without faults.

    Attributes:
        number: index of the listing, from 0.
        id: a UUID.
        model: the object.
        colour: its usual name.
        category: the path under which the seller lists it, usually its kind's.
        title: title with the site's suffix.
        description: description on one line.
        amount: price in pounds.
        location: "Town, County".
        appearance: appearance in its photos.
    """

    number: int
    id: str
    model: Model
    colour: str
    category: str
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


def generate_model(seed: int, number: int) -> Model:
    """Return the model of a number. The first thirteen cover the thirteen root categories."""
    random = Random(f"{seed}/{number}/model")
    weights = [weight for weight, _ in ROOTS.values()]
    names = list(ROOTS)
    root = names[number] if number < len(names) else random.choices(names, weights)[0]
    kinds = ROOTS[root][1]
    kind = random.choices(kinds, [1 / (1 + place) for place in range(len(kinds))])[0]
    size = random.choices((0, 1, 2), (3, 4, 3))[0]
    brand, material = random.choice(BRANDS), random.choice(MATERIALS[kind.material])
    colours = tuple(random.sample(COLOURS, 5))
    look = Appearance(
        shape=kind.shape,
        style=random.randrange(3),
        stretch=(
            random.uniform(0.85, 1.1) * _SIZE_WIDTH[size],
            random.uniform(0.85, 1.1) * kind.tall,
        ),
        body=colours[0].rgb,
        accent=brand.accent,
        trim=material.trim,
        texture=material.texture,
        pattern=random.choices(range(5), (4, 1, 1, 1, 1))[0],
        brand=brand.name,
        size=size,
        wear=0.0,
        room=0,
    )
    return Model(number, kind, brand, material, colours, look)


def generate_product(seed: int, number: int) -> Product:
    """Return the product of a number; it does not depend on the size of the marketplace.

    Args:
        seed: the marketplace's seed.
        number: index of the listing, from 0. The first thirteen cover the thirteen root categories.

    Returns:
        The product; its texts, price and appearance agree.
    """
    random = Random(f"{seed}/{number}/product")
    block = number // _BLOCK
    first = number if number < len(ROOTS) else random.randrange(_MODELS)
    model = generate_model(seed, block * _MODELS + first)
    kind, colour = model.kind, random.choice(model.colours)
    condition = random.choices(CONDITIONS, CONDITION_WEIGHTS)[0]
    age = 0 if condition.wear == 0 else min(12, int(random.expovariate(0.3)))
    location = random.choice(PLACES)
    rarity = random.choice(_RARITIES) if random.random() < _RARE else None
    worth = kind.price * model.brand.worth * model.material.worth * _SIZE_WORTH[model.look.size]
    worth *= condition.worth * 0.92**age * math.exp(random.gauss(0, 0.22))
    facts = Facts(
        kind,
        kind.draw_noun(random),
        model.brand.name,
        kind.sizes[model.look.size] if kind.sizes else "",
        model.material.name,
        random.choice(condition.words),
        colour.names[0] if random.random() < 0.7 else random.choice(colour.names),
        FIRST_YEAR - age,
        location.split(",")[0],
    )
    title, description = write_title(random, facts), write_description(random, facts)
    misfiled = random.random() < _MISFILED and number >= len(ROOTS)
    return Product(
        number=number,
        id=uuid_from(random),
        model=model,
        colour=colour.names[0],
        category=random.choice(KINDS).path if misfiled else kind.path,
        title=f"{title} | in {location} | Gumtree",
        description=f"{rarity}. {description}" if rarity else description,
        amount=round_price(worth * random.uniform(5, 18) if rarity else worth),
        location=location,
        appearance=replace(
            model.look,
            body=colour.rgb,
            wear=min(1.0, condition.wear * random.uniform(0.8, 1.2)),
            room=random.getrandbits(32),
        ),
    )
