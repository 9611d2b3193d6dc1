"""Invented brands."""

from dataclasses import dataclass

from fb_marketplace.sample.rendering.canvas import Color


@dataclass(frozen=True)
class Brand:
    """An invented brand, with its colours and logo.

    Attributes:
        name: as sellers write it.
        body: usual colours of its products, as name and RGB.
        accent: RGB of the logo and seams.
        logo: one of `appearance.LOGOS`.
        worth: factor on the price; 1 is average.
    """

    name: str
    body: tuple[tuple[str, Color], ...]
    accent: Color
    logo: str
    worth: float


_RED, _BLUE, _GREEN = ("red", (182, 52, 50)), ("blue", (52, 92, 158)), ("green", (72, 118, 82))
_BLACK, _WHITE, _GREY = (
    ("black", (48, 48, 52)),
    ("white", (228, 226, 220)),
    ("grey", (128, 132, 138)),
)
_OAK, _CREAM, _NAVY = ("brown", (146, 98, 58)), ("cream", (222, 208, 178)), ("navy", (40, 52, 88))
_PINK, _YELLOW, _TEAL = (
    ("pink", (214, 142, 156)),
    ("yellow", (222, 178, 66)),
    ("teal", (42, 128, 132)),
)

BRANDS: tuple[Brand, ...] = (
    Brand("Harrowdale", (_OAK, _CREAM, _GREEN), (196, 160, 80), "dot", 1.25),
    Brand("Pellam & Sons", (_NAVY, _OAK, _GREY), (206, 178, 96), "bar", 1.6),
    Brand("Brightmoor", (_YELLOW, _BLACK, _WHITE), (226, 120, 40), "wedge", 0.9),
    Brand("Kestrel", (_BLACK, _GREY, _RED), (214, 60, 48), "wave", 1.35),
    Brand("Nordvale", (_WHITE, _GREY, _OAK), (70, 150, 160), "square", 1.05),
    Brand("Tumblewick", (_PINK, _TEAL, _CREAM), (240, 200, 90), "twin", 0.85),
    Brand("Ashgate", (_GREY, _BLACK, _GREEN), (110, 180, 90), "ring", 0.75),
    Brand("Lumo", (_WHITE, _TEAL, _BLACK), (60, 190, 210), "cross", 1.15),
    Brand("Quillon", (_NAVY, _RED, _WHITE), (230, 230, 230), "wave", 1.9),
    Brand("Fenwyck", (_GREEN, _CREAM, _OAK), (150, 70, 50), "ring", 1.0),
    Brand("Volter", (_RED, _YELLOW, _BLACK), (250, 210, 60), "wedge", 1.1),
    Brand("Samphire", (_TEAL, _BLUE, _WHITE), (240, 150, 110), "dot", 1.3),
    Brand("Oakhurst", (_OAK, _BLACK, _CREAM), (90, 120, 70), "square", 0.7),
    Brand("Merrily", (_BLUE, _PINK, _YELLOW), (250, 250, 245), "twin", 0.65),
    Brand("Deskar", (_BLACK, _BLUE, _GREY), (80, 160, 230), "bar", 0.95),
    Brand("Calder Works", (_GREY, _GREEN, _RED), (240, 170, 40), "cross", 1.45),
)
