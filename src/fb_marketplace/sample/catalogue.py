"""What is sold: categories, products, brands, colours, materials and conditions."""

from random import Random
from typing import NamedTuple

from fb_marketplace.sample.rendering.canvas import Color


class Kind(NamedTuple):
    """A kind of product.

    Attributes:
        path: category path from the root, separated by " / ".
        shape: how to draw it, a key of `SHAPES`.
        tall: factor on its height.
        nouns: names of the product.
        price: usual price in pounds, used, of an average brand and size.
        sizes: words for the three sizes, small first; none if sellers do not mention the size.
        material: a key of `MATERIALS`.
        traits: features that a description may mention.
    """

    path: str
    shape: str
    tall: float
    nouns: tuple[str, ...]
    price: float
    sizes: tuple[str, ...]
    material: str
    traits: tuple[str, ...]

    def draw_noun(self, random: Random) -> str:
        """Return a name of the product, most often the first."""
        return self.nouns[0] if random.random() < 0.45 else random.choice(self.nouns)


class Brand(NamedTuple):
    """An invented brand: its name, the colour of its details, and its factor on the price."""

    name: str
    accent: Color
    worth: float


class Material(NamedTuple):
    """A material: its name, factor on the price, texture if it has one, and the colour of trims."""

    name: str
    worth: float
    texture: str | None
    trim: Color


class Condition(NamedTuple):
    """A condition: its words, wear in the photo, and factor on the price."""

    words: tuple[str, ...]
    wear: float
    worth: float


class Colour(NamedTuple):
    """A colour: its names, the usual one first, and its RGB."""

    names: tuple[str, ...]
    rgb: Color


BRANDS = (
    Brand("Harrowdale", (196, 160, 80), 1.25),
    Brand("Pellam", (206, 178, 96), 1.6),
    Brand("Brightmoor", (226, 120, 40), 0.9),
    Brand("Kestrel", (214, 60, 48), 1.35),
    Brand("Nordvale", (70, 150, 160), 1.05),
    Brand("Tumblewick", (240, 200, 90), 0.85),
    Brand("Lumo", (60, 190, 210), 1.15),
    Brand("Quillon", (230, 230, 230), 1.9),
    Brand("Volter", (250, 210, 60), 1.1),
    Brand("Samphire", (240, 150, 110), 1.3),
    Brand("Oakhurst", (90, 120, 70), 0.7),
    Brand("Merrily", (250, 250, 245), 0.65),
)
COLOURS = (
    Colour(("red", "crimson", "cherry red"), (186, 40, 42)),
    Colour(("blue", "royal blue"), (48, 94, 176)),
    Colour(("navy", "dark blue"), (34, 44, 86)),
    Colour(("green", "sage", "dark green"), (62, 122, 78)),
    Colour(("black", "charcoal"), (44, 44, 48)),
    Colour(("white", "ivory"), (232, 230, 224)),
    Colour(("grey", "gray", "silver"), (134, 138, 144)),
    Colour(("pink", "rose"), (222, 140, 164)),
    Colour(("yellow", "mustard"), (228, 184, 60)),
    Colour(("orange",), (226, 120, 44)),
    Colour(("purple", "plum", "lilac"), (120, 74, 148)),
    Colour(("brown", "tan"), (134, 88, 54)),
    Colour(("cream", "beige"), (224, 208, 176)),
)
CONDITIONS = (
    Condition(("brand new", "new in box", "unused", "BNIB", "never used"), 0.0, 1.6),
    Condition(("as new", "excellent condition", "immaculate", "mint"), 0.05, 1.25),
    Condition(("very good condition", "good condition", "vgc", "gc"), 0.25, 1.0),
    Condition(("used condition", "some wear", "a few marks", "scuffed"), 0.6, 0.7),
    Condition(("spares or repair", "well worn", "needs some love", "tatty"), 0.95, 0.4),
)
CONDITION_WEIGHTS = (14, 24, 36, 18, 8)
MATERIALS = {
    "wood": (
        Material("solid oak", 1.5, "planks", (168, 120, 70)),
        Material("pine", 1.0, "planks", (206, 164, 104)),
        Material("veneer", 0.65, None, (96, 70, 48)),
    ),
    "cloth": (
        Material("fabric", 1.0, "cloth", (96, 70, 48)),
        Material("leather", 1.7, "plaster", (52, 52, 56)),
        Material("velvet", 1.3, "carpet", (206, 178, 96)),
    ),
    "wear": (
        Material("cotton", 0.8, "cloth", (226, 222, 212)),
        Material("wool", 1.3, "carpet", (150, 104, 62)),
        Material("leather", 1.8, "plaster", (70, 52, 40)),
    ),
    "metal": (
        Material("steel", 1.2, None, (168, 173, 178)),
        Material("aluminium", 1.0, None, (206, 210, 214)),
        Material("plastic", 0.7, None, (52, 52, 56)),
    ),
    "none": (Material("", 1.0, None, (52, 52, 56)), Material("", 1.0, None, (168, 173, 178))),
}
_SIZES = {
    "plain": ("small", "medium", "large"),
    "seats": ("two seater", "three seater", "four seater"),
    "beds": ("single", "double", "king size"),
    "clothes": ("size S", "size M", "size L"),
    "shoes": ("size 4", "size 6", "size 9"),
    "inch": ("22 inch", "27 inch", "42 inch"),
    "laptop": ("12 inch", "14 inch", "16 inch"),
    "frame": ("16 inch", "medium frame", "large frame"),
    "men": ("two man", "four man", "six man"),
    "ml": ("30 ml", "50 ml", "100 ml"),
    "": (),
}
# A line for each root category, with its weight; then
# path | shape, height | nouns | price | sizes | material | traits
_KINDS = """
= Home & Garden, 20
Living Room / Sofas & Armchairs | sofa | sofa, settee, couch | 140 | seats | cloth | removable covers, scatter cushions
Kitchen & Dining / Furniture / Tables / Dining Tables | table | dining table, kitchen table | 95 | plain | wood | seats six
Kitchen & Dining / Chairs | chair | dining chair, kitchen chair | 28 | plain | wood | ladder back, one of a set of four
Bedroom / Beds & Mattresses | bed | bed, bed frame, divan bed | 130 | beds | wood | mattress included, headboard
Bedroom / Wardrobes & Drawers | cabinet | wardrobe, chest of drawers, tallboy | 85 | plain | wood | hanging rail, flat packed
Lighting | lamp | table lamp, bedside lamp, light | 24 | plain | metal | bulb included, linen shade
Living Room / Tables / Coffee Tables | table, 60 | coffee table, side table | 45 | plain | wood | drawer underneath
Living Room / TV Stands | cabinet, 45 | TV stand, TV unit, media cabinet | 40 | plain | wood | cable holes, glass shelf
Decor / Mirrors | mirror | mirror, hallway mirror | 32 | plain | wood | bevelled glass, fixings included
Garden & Patio / Plants | plant | house plant, potted plant | 14 | plain | none | pot included, easy to care for
= Baby & Kids Stuff, 9
Prams & Pushchairs | pram | pram, pushchair, buggy | 95 | | cloth | rain cover, footmuff, folds flat
Outdoor / Bikes & Scooters | bike, 80 | kids bike, childs bike, balance bike | 40 | | metal | stabilisers, bell and basket
Toys / Soft Toys | teddy | teddy bear, soft toy, cuddly bear | 11 | plain | wear | washable, much loved
Nursery / Cots | cot | cot, cot bed, crib | 60 | | wood | adjustable base, mattress included
Toys / Cars & Vehicles | toy_car | toy car, ride on car, model car | 16 | plain | metal | opening doors, working lights
Toys / Games & Puzzles | boxed_set | puzzle, board game, building set | 9 | | none | all pieces present
Nursery / Furniture | cabinet, 60 | changing unit, toy storage, kids drawers | 40 | | wood | changing mat
= DIY Tools & Materials, 8
Power Tools / Drills | drill | cordless drill, combi drill, driver | 58 | | metal | two batteries, charger and case
Hand Tools / Tool Boxes | toolbox | tool box, tool case | 20 | plain | metal | lift out tray, sockets included
Ladders & Access | ladder | step ladder, ladder | 38 | | metal | non slip feet, folds away
Hand Tools / Saws | saw | hand saw, tenon saw | 12 | plain | wood | just sharpened, blade guard
Paint & Decorating | tin | paint, emulsion paint | 18 | plain | none | unopened, washable finish
= Music Films Books & Games, 8
Instruments / Guitars | guitar | guitar, acoustic guitar | 110 | | wood | gig bag, new strings
Books | books | books, book bundle, paperbacks | 12 | | none | crime novels, no loose pages
Vinyl | record | vinyl record, LP, album | 15 | | none | first pressing, plays through
Instruments / Keyboards | piano | keyboard, electric piano | 120 | | metal | stand included, weighted keys
Films | disc_case | DVD, box set, film bundle | 9 | | none | region two, unscratched
Board Games | boxed_set | board game, game, quiz game | 12 | | none | complete, played twice
= Phones & Accessories, 7
Mobile Phones | phone | smartphone, mobile phone, phone | 150 | | metal | unlocked to any network, charger included
Cases & Covers | phone_case | phone case, cover, phone cover | 9 | | wear | raised edges, wireless charging works
Tablets | tablet | tablet, tablet computer | 120 | plain | metal | stylus included, holds its charge
Headsets | headphones | wireless headphones, headset | 42 | | metal | noise cancelling, pairs quickly
Smart Watches | watch | smart watch, fitness watch | 60 | | metal | tracks steps, charger included
= Clothes & Footwear, 9
Shoes & Boots | shoe | trainers, boots, running shoes | 30 | shoes | wear | boxed, spare laces
Women's / Dresses | dress | dress, summer dress, party dress | 20 | clothes | wear | worn once, fully lined
Coats & Jackets | coat | coat, jacket, winter coat | 34 | clothes | wear | deep pockets, warm lining
Bags | bag | handbag, rucksack, shoulder bag | 27 | plain | wear | inside pocket, dust bag
Jumpers & Tops | jumper | jumper, top, sweater | 14 | clothes | wear | machine washable, soft
Accessories / Jewellery / Watches / Wrist Watches | watch | watch, wrist watch | 52 | | metal | new battery, boxed with papers
= Office Furniture, 6
Seating / Office Chairs | office_chair | office chair, swivel chair, desk chair | 48 | | cloth | gas lift, lumbar support
Desks & Workstations | desk | desk, office desk, computer desk | 70 | plain | wood | lockable drawer, cable hole
Storage / Filing Cabinets | filing | filing cabinet, drawers | 42 | | metal | two keys, takes foolscap
Storage / Filing Cabinets | cabinet | office cupboard, cabinet | 45 | | metal | lockable
Storage / Shelving | bookcase | bookcase, shelving unit, shelves | 40 | plain | wood | adjustable shelves
= Appliances, 8
Laundry / Washing Machines | washer | washing machine, tumble dryer | 125 | | metal | 1400 spin, hoses included
Refrigeration / Fridges & Freezers | fridge | fridge freezer, fridge | 120 | plain | metal | frost free, very quiet
Small / Microwaves | microwave | microwave, microwave oven | 34 | | metal | 800 watts, turntable included
Small / Kettles | kettle | kettle, cordless kettle | 15 | | metal | descaled, rapid boil
Small / Toasters | toaster | toaster, two slice toaster | 12 | | metal | defrost setting
Vacuum Cleaners | vacuum | vacuum cleaner, hoover | 55 | | metal | pet tool, strong suction
= Sports & Leisure, 8
Bicycles | bike | bike, road bike, hybrid bike | 145 | frame | metal | recently serviced, 21 gears
Gym Equipment / Weights | dumbbell | dumbbells, weights | 32 | | metal | rubber coated, knurled grip
Camping / Tents | tent | tent, camping tent | 58 | men | none | all pegs, sewn in groundsheet
Travel / Luggage | suitcase | suitcase, cabin case, luggage | 27 | plain | metal | spinner wheels, combination lock
Ball Sports | ball | football, ball, training ball | 9 | | wear | pump included, size 5
= Computers, 7
Laptops | laptop | laptop, notebook computer | 210 | laptop | metal | solid state drive, charger included
Monitors | monitor | monitor, computer screen | 75 | inch | metal | HDMI cable, full HD, stand included
Accessories / Keyboards | keyboard | keyboard, mechanical keyboard | 24 | | metal | UK layout, backlit
Audio / Speakers | speaker | speakers, PC speakers | 38 | | wood | deep bass, bluetooth
= Video Games, 6
Games | disc_case | game, video game | 17 | | none | disc unmarked, completed
Consoles | console | games console, console | 135 | | metal | two games, factory reset
Accessories / Controllers | controller | controller, game pad | 26 | | metal | no stick drift, charging cable
Accessories / Headsets | headphones | gaming headset, headphones | 28 | | metal | boom microphone
= Health & Beauty, 6
Hair Care | hair_dryer | hair dryer, dryer | 21 | | metal | diffuser, three heats
Fragrance | bottle | perfume, eau de toilette | 26 | ml | none | mostly full, gift set
Shaving | shaver | shaver, hair clippers, trimmer | 22 | | metal | spare heads, charger included
Make Up | make_up | eyeshadow palette, make up set | 14 | | none | swatched once, mirror in lid
Mirrors | mirror, 70 | vanity mirror, make up mirror | 16 | | metal | magnifies, lights up
= Other Goods, 5
House Clearance | crate | job lot, box of bits, bundle | 18 | plain | none | all must go, good for resale
Electronics / TVs | monitor | TV, flat screen telly, television | 110 | inch | metal | remote included, wall bracket
Hobbies / Cameras | camera | camera, film camera | 65 | | metal | lens included, shutter fires
"""  # noqa: E501


def _parse_kinds(text: str) -> dict[str, tuple[float, tuple[Kind, ...]]]:
    roots: dict[str, tuple[float, tuple[Kind, ...]]] = {}
    for section in text.split("= ")[1:]:
        head, *lines = section.strip().splitlines()
        root, weight = head.split(", ")
        roots[root] = (float(weight), tuple(_parse_kind(root, line) for line in lines))
    return roots


def _parse_kind(root: str, line: str) -> Kind:
    path, shape, nouns, price, sizes, material, traits = (one.strip() for one in line.split("|"))
    shape, _, tall = shape.partition(", ")
    return Kind(
        f"{root} / {path}",
        shape,
        int(tall or 100) / 100,
        tuple(nouns.split(", ")),
        float(price),
        _SIZES[sizes],
        material,
        tuple(traits.split(", ")),
    )


ROOTS = _parse_kinds(_KINDS)
"""Weight and kinds of products of each root category."""

KINDS = tuple(kind for _, kinds in ROOTS.values() for kind in kinds)
