"""Words with a meaning of their own in queries."""

from typing import Final

from fb_marketplace_serving.search.tokenizer import words

CONDITIONS: Final = {
    "brand new": "new",
    "like new": "like new",
    "like brand new": "like new",
    "good as new": "like new",
    "as new": "like new",
    "nearly new": "like new",
    "good condition": "good",
    "very good condition": "good",
    "great condition": "excellent",
    "excellent condition": "excellent",
    "mint condition": "mint",
    "perfect condition": "mint",
    "second hand": "used",
    "secondhand": "used",
    "pre owned": "used",
    "preowned": "used",
    "spares or repair": "for parts",
    "spares or repairs": "for parts",
    "for parts": "for parts",
    "for spares": "for parts",
    "refurbished": "refurbished",
    "reconditioned": "refurbished",
    "unused": "new",
    "never used": "new",
    "never been used": "new",
    "unopened": "sealed",
    "sealed": "sealed",
    "bnib": "new",
    "bnwt": "new",
    "used": "used",
    "new": "new",
}
"""Conditions by phrase; longer phrases take precedence."""

COLOURS: Final = {
    name: name
    for name in words("""
    black white red blue green yellow orange purple pink brown grey beige cream navy turquoise teal
    maroon burgundy lilac gold silver
    """)
} | {"gray": "grey"}
"""Colours by word."""

NAMES: Final = frozenset(
    [
        "black decker",
        "new balance",
        "new look",
        "new york",
        "new era",
        "new zealand",
        "new forest",
        "new home",
        "new born",
        "new baby",
        "red dead",
        "red bull",
        "red hot",
        "orange juice",
        "silver cross",
        "gold cup",
        "green day",
        "pink floyd",
        "blue ray",
        "white stuff",
        "black sabbath",
        "black ops",
        "red dwarf",
        "faux leather",
        "flat iron",
        "steam iron",
        "travel iron",
        "gold plated",
        "johns wood",
        "wood green",
        "wood street",
    ]
)
"""Phrases in which the word of a condition, colour or material means something else."""

NAME_WORDS: Final = frozenset(word for name in NAMES for word in words(name))
"""Words of these names."""

ORDINARY_WORDS: Final = frozenset(
    words("""
    ash bag bar battle beer box case cross deal door elm field flat from green hand hill hook house
    march mint moss oak over pine road rock rose sale side stock stone street wall ware well white
    wood wool yard
    """)
)
"""Ordinary words that are names of towns, too. "Table in ash" is not a place."""

FUNCTION_WORDS: Final = frozenset(
    words("""
    about above also around been below between both cheap cheapest close could does each from have
    into less like looking made miles more most near nearby need never only other over pounds quid
    same some than that their them then there these they this those under very want wanted what when
    where which will with within without would your
    """)
)
"""Words that are not corrected, even if no listing has them."""

STOP_WORDS: Final = frozenset(
    words("""
    all and any are but can for from had has her his into its not off our out she than that the their
    them then these they this those too was were which who why will with would you your
    """)
)
"""Words without a meaning of their own: no word is corrected to one."""
