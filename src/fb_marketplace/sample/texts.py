"""Titles and descriptions, as private sellers write them."""

from dataclasses import dataclass
from random import Random

from fb_marketplace.sample.catalogue import KINDS, Kind

_VAGUE_TITLES = (
    *("Moving house, must go", "As new, boxed", "Bargain", "Quick sale", "Make me an offer"),
    *("Free up some space", "Unwanted present", "Clear out", "Grab a bargain", "Open to offers"),
    *("Lovely gift", "Must go this weekend", "Reduced!!", "For sale", "Selling for my mum"),
)
_REASONS = (
    *("moving house", "having a clear out", "upgraded", "no longer needed", "downsizing"),
    *("an unwanted gift", "bought the wrong one", "no room for it", "kids have grown out of it"),
)
_BOILERPLATE = (
    *("Collection only", "No time wasters", "Cash on collection", "Any questions just ask"),
    *("Can deliver locally for petrol money", "Can post at cost", "Pick up any evening"),
    *(
        "Buyer to collect",
        "Collection from {town}",
        "Will hold with a deposit",
        "See my other items",
    ),
    *("Grab a bargain", "Open to sensible offers", "First to see will buy", "No silly offers"),
    *(
        "From a smoke and pet free home",
        "Paid a lot more",
        "Message for more photos",
        "Thanks for looking",
    ),
    *(
        "Selling for a friend",
        "If the ad is up it is still available",
        "Sold as seen",
        "Weekends best",
    ),
)
_MISSING = (
    *("See photos", "See title", "As title", "As described", "As in the pictures", "Message me"),
    *("Collection only", "Any questions ask", "See pics", "Thanks for looking", ".", "Text me"),
)
_SLIPS = {
    "drawers": "draws",
    "bicycle": "bycicle",
    "settee": "sette",
    "hoover": "hover",
    "mattress": "matress",
    "jewellery": "jewelry",
    "trainers": "trainors",
    "tumble": "tumbel",
    "fridge": "frige",
    "guitar": "gitar",
    "leather": "lether",
}


@dataclass(frozen=True)
class Facts:
    """What a seller may write about a product; an empty text is not known."""

    kind: Kind
    noun: str
    brand: str
    size: str
    material: str
    condition: str
    colour: str
    year: int
    town: str


def write_title(random: Random, facts: Facts) -> str:
    """Return a title without the site's suffix; some do not name the product."""
    if random.random() < 0.07:
        return f"{random.choice(_VAGUE_TITLES)}{random.choice(('', ' - ' + facts.condition))}"
    # Many sellers leave out the word that says which table or which case.
    noun = facts.noun.split()[-1] if random.random() < 0.12 else facts.noun
    chances = (
        *((facts.condition, 0.12), (facts.brand, 0.4), (facts.size, 0.25), (facts.colour, 0.45)),
        (facts.material, 0.2),
    )
    words = [word for word, chance in chances if word and random.random() < chance]
    if random.random() < 0.1:
        random.shuffle(words)
    title = " ".join((*words, noun))
    if random.random() < 0.12:
        title += random.choice(
            (f" - {facts.condition}", f" with {random.choice(facts.kind.traits)}")
        )
    style = random.random()
    title = (
        title.upper()
        if style < 0.08
        else title.title()
        if style < 0.3
        else title
        if style < 0.5
        else title[0].upper() + title[1:]
    )
    return _misspell(random, title) if random.random() < 0.12 else title


def write_description(random: Random, facts: Facts) -> str:
    """Return a description on one line: none to speak of, only boilerplate, or sentences."""
    if random.random() < 0.06:
        return random.choice(_MISSING)
    boilerplate = [
        line.format(town=facts.town) for line in random.sample(_BOILERPLATE, random.randint(1, 3))
    ]
    if random.random() < 0.05:
        return ". ".join([*boilerplate, f"Text after {random.randint(1, 12)}"])
    text = ". ".join([*_sentences(random, facts), *boilerplate]) + random.choice(
        (".", "", "!", "..")
    )
    if random.random() < 0.15:
        text = _misspell(random, text)
    return text.lower() if random.random() < 0.15 else text


def _sentences(random: Random, facts: Facts) -> list[str]:
    noun = facts.kind.draw_noun(random)
    thing = " ".join(filter(None, (facts.size, facts.colour, facts.material, noun)))
    other = random.choice(random.choice(KINDS).nouns)
    named = (
        f"Selling my {noun}, made by {facts.brand}",
        f"{thing.capitalize()} for sale",
        f"Here is a {facts.colour} {facts.brand} {noun}",
        f"{facts.brand} {thing}",
    )
    chances = (
        (random.choice(named), 0.85),
        (
            f"In {facts.condition}" if "cond" in facts.condition else facts.condition.capitalize(),
            0.6,
        ),
        (", ".join(random.sample(facts.kind.traits, 1)).capitalize(), 0.6),
        (random.choice((f"Bought in {facts.year}", f"From {facts.year}")), 0.4),
        (f"{facts.size.capitalize()}, {random.randint(20, 190)} cm" if facts.size else "", 0.3),
        (f"{facts.material.capitalize()}" if facts.material else "", 0.3),
        (f"Selling because {random.choice(_REASONS)}", 0.3),
        (random.choice((f"Also selling a {other}", f"Would swap for a {other}")), 0.1),
    )
    return [line for line, chance in chances if line and random.random() < chance]


def _misspell(random: Random, text: str) -> str:
    """Return a text with one wrong word: a common slip, or a letter lost, doubled or swapped."""
    words = text.split(" ")
    slips = [number for number, word in enumerate(words) if word.lower() in _SLIPS]
    number = random.choice(slips or range(len(words)))
    word = words[number]
    if slips:
        words[number] = _SLIPS[word.lower()]
    elif len(word) > 3:
        place = random.randint(1, len(word) - 2)
        before, letter, after = word[:place], word[place], word[place + 1 :]
        words[number] = random.choice(
            (before + after, before + 2 * letter + after, before + after[0] + letter + after[1:])
        )
    return " ".join(words)
