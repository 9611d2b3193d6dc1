"""Categories, and the products in each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Leaf:
    """A leaf category.

    Attributes:
        path: category path from the root, separated by " / ".
        object_type: how to draw its products, a key of `OBJECT_TYPES`.
        nouns: names of the product.
        price: usual price in pounds, used, of an average brand and size.
        sizes: words for the three sizes, small first.
        traits: features that a description may mention.
    """

    path: str
    object_type: str
    nouns: tuple[str, ...]
    price: float
    sizes: tuple[str, str, str]
    traits: tuple[str, ...]

    @property
    def root(self) -> str:
        """The category at the top of the path."""
        return self.path.split(" / ", maxsplit=1)[0]


_SEATS = ("single", "two seater", "three seater")
_PLAIN = ("small", "medium", "large")
_BEDS = ("single", "double", "king size")
_CLOTHES = ("size S", "size M", "size L")
_PAIR = ("compact", "standard", "full size")

# fmt: off
_ROWS: tuple[tuple[str, str, float, tuple[str, str, str], str, str], ...] = (
    ("Home & Garden / Living Room / Sofas & Armchairs", "sofa", 140, _SEATS,
     "sofa|settee|couch",
     "removable covers|fire labels attached|scatter cushions included|smoke free home"),
    ("Home & Garden / Living Room / Tables / Coffee Tables", "table", 45, _PLAIN,
     "coffee table|side table",
     "solid oak top|tapered legs|drawer underneath|sanded and waxed"),
    ("Home & Garden / Kitchen & Dining / Furniture / Tables / Dining Tables", "table", 95, _PLAIN,
     "dining table|kitchen table",
     "seats six|extends with a leaf|legs unscrew for transport|sturdy pine"),
    ("Home & Garden / Kitchen & Dining / Chairs", "dining_chair", 28, _PLAIN,
     "dining chair|kitchen chair",
     "padded seat|ladder back|one of a set of four|no wobble"),
    ("Home & Garden / Lighting", "lamp", 24, _PLAIN,
     "table lamp|floor lamp|bedside lamp",
     "bulb included|in-line switch|linen shade|brass effect base"),
    ("Home & Garden / Bedroom / Beds & Mattresses", "bed", 130, _BEDS,
     "bed|bed frame|divan bed",
     "mattress included|headboard|two drawers|dismantled ready to go"),
    ("Home & Garden / Bedroom / Wardrobes & Drawers", "cabinet", 85, _PLAIN,
     "wardrobe|chest of drawers|tallboy",
     "hanging rail|soft close drawers|mirror inside door|flat packed"),
    ("Home & Garden / Decor / Mirrors", "mirror", 32, _PLAIN,
     "mirror|wall mirror|hallway mirror",
     "bevelled glass|fixings included|gilt frame|leans or hangs"),
    ("Home & Garden / Garden & Patio / Plants", "plant", 14, _PLAIN,
     "house plant|potted plant",
     "pot included|easy to care for|just repotted|likes a bright spot"),
    ("Baby & Kids Stuff / Prams & Pushchairs", "pram", 95, _PLAIN,
     "pram|pushchair|travel system",
     "rain cover|folds flat|footmuff|adjustable handle"),
    ("Baby & Kids Stuff / Nursery / Cots", "cot", 60, _PLAIN,
     "cot|cot bed|crib",
     "adjustable base|teething rails|mattress included|converts to toddler bed"),
    ("Baby & Kids Stuff / Toys / Soft Toys", "teddy", 11, _PLAIN,
     "teddy bear|soft toy|cuddly bear",
     "washable|much loved|neck bow|jointed arms"),
    ("Baby & Kids Stuff / Toys / Cars & Vehicles", "toy_car", 16, _PLAIN,
     "toy car|ride on car|model car",
     "pull back motor|opening doors|working lights|die cast"),
    ("DIY Tools & Materials / Power Tools / Drills", "drill", 58, _PAIR,
     "cordless drill|combi drill|impact driver",
     "two batteries|charger and case|brushless motor|keyless chuck"),
    ("DIY Tools & Materials / Hand Tools / Saws", "saw", 12, _PAIR,
     "hand saw|panel saw|tenon saw",
     "hardpoint teeth|just sharpened|wooden handle|blade guard"),
    ("DIY Tools & Materials / Hand Tools / Hammers", "hammer", 10, _PAIR,
     "claw hammer|hammer",
     "forged head|soft grip|ash shaft|balanced"),
    ("DIY Tools & Materials / Ladders & Access", "ladder", 38, _PAIR,
     "step ladder|folding ladder",
     "non slip feet|aluminium|tool tray|folds away"),
    ("DIY Tools & Materials / Paint & Decorating", "paint_tin", 18, _PLAIN,
     "paint|emulsion paint|masonry paint",
     "unopened|over ordered|washable finish|covers twelve square metres"),
    ("Music Films Books & Games / Instruments / Guitars", "guitar", 110, _PAIR,
     "guitar|electric guitar|acoustic guitar",
     "gig bag|new strings|low action|spare plectrums"),
    ("Music Films Books & Games / Books", "books", 12, _PLAIN,
     "books|book bundle|paperbacks",
     "no loose pages|crime novels|from a book club|some signed"),
    ("Music Films Books & Games / Vinyl", "record", 15, _PLAIN,
     "vinyl record|LP|album on vinyl",
     "inner sleeve|plays through|first pressing|lyric sheet"),
    ("Music Films Books & Games / Films", "game_case", 9, _PLAIN,
     "DVD|box set|film bundle",
     "region two|unscratched|all discs present|still sealed"),
    ("Phones & Accessories / Mobile Phones", "phone", 150, _PAIR,
     "smartphone|mobile phone|handset",
     "unlocked to any network|battery health good|charger included|case and screen protector"),
    ("Phones & Accessories / Tablets", "tablet", 120, _PAIR,
     "tablet|tablet computer",
     "stylus included|reset and ready|folding case|holds its charge"),
    ("Phones & Accessories / Headsets", "headphones", 42, _PAIR,
     "wireless headphones|headset",
     "noise cancelling|pairs quickly|carry case|new ear pads"),
    ("Clothes & Footwear / Women's / Dresses", "dress", 20, _CLOTHES,
     "dress|summer dress|party dress",
     "worn once|fully lined|pockets|machine washable"),
    ("Clothes & Footwear / Coats & Jackets", "coat", 34, _CLOTHES,
     "coat|jacket|winter coat",
     "deep pockets|zip works|warm lining|waterproof"),
    ("Clothes & Footwear / Shoes & Boots", "shoe", 30, ("size 4", "size 6", "size 9"),
     "trainers|boots|running shoes",
     "boxed|plenty of tread|spare laces|leather upper"),
    ("Clothes & Footwear / Bags", "bag", 27, _PLAIN,
     "handbag|rucksack|shoulder bag",
     "dust bag|inside pocket|adjustable strap|magnetic clasp"),
    ("Clothes & Footwear / Accessories / Jewellery / Watches / Wrist Watches", "watch", 52, _PAIR,
     "watch|wrist watch",
     "new battery|boxed with papers|leather strap|keeps good time"),
    ("Office Furniture / Seating / Office Chairs", "office_chair", 48, _PAIR,
     "office chair|swivel chair|desk chair",
     "gas lift|lumbar support|tilt lock|castors for carpet"),
    ("Office Furniture / Desks & Workstations", "desk", 70, _PAIR,
     "desk|office desk|computer desk",
     "lockable drawer|cable hole|can be taken apart|left or right handed"),
    ("Office Furniture / Storage / Filing Cabinets", "cabinet", 42, _PAIR,
     "filing cabinet|stationery cupboard",
     "two keys|takes foolscap|runs smoothly|steel"),
    ("Office Furniture / Storage / Shelving", "bookcase", 40, _PAIR,
     "bookcase|shelving unit|shelves",
     "adjustable shelves|wall fixings|freestanding|clearing the office"),
    ("Appliances / Laundry / Washing Machines", "washing_machine", 125, _PAIR,
     "washing machine|washer dryer|tumble dryer",
     "1400 spin|quick wash|A rated|hoses included"),
    ("Appliances / Refrigeration / Fridges & Freezers", "fridge", 120, _PAIR,
     "fridge freezer|fridge|larder fridge",
     "frost free|salad drawers|door can be swapped|very quiet"),
    ("Appliances / Small / Microwaves", "microwave", 34, _PAIR,
     "microwave|microwave oven",
     "800 watts|grill function|turntable included|defrost setting"),
    ("Appliances / Small / Kettles", "kettle", 15, _PAIR,
     "kettle|cordless kettle",
     "descaled|rapid boil|1.7 litres|washable filter"),
    ("Appliances / Vacuum Cleaners", "vacuum", 55, _PAIR,
     "vacuum cleaner|upright hoover",
     "pet tool|washable filter|strong suction|long lead"),
    ("Sports & Leisure / Bicycles", "bike", 145, ("small frame", "medium frame", "large frame"),
     "bike|road bike|hybrid bike",
     "recently serviced|new tyres|21 gears|lights and lock"),
    ("Sports & Leisure / Ball Sports / Footballs", "ball", 9, _PLAIN,
     "football|ball|training ball",
     "pump included|size 5|match ball|indoor"),
    ("Sports & Leisure / Gym Equipment / Weights", "dumbbell", 32, _PAIR,
     "dumbbells|weights|dumbbell set",
     "rubber coated|spin lock collars|20 kg in all|knurled grip"),
    ("Sports & Leisure / Camping / Tents", "tent", 58, ("two man", "four man", "six man"),
     "tent|camping tent",
     "all pegs|sewn in groundsheet|used twice|dries quickly"),
    ("Sports & Leisure / Travel / Luggage", "suitcase", 27, _PLAIN,
     "suitcase|cabin case|luggage",
     "spinner wheels|combination lock|hard shell|expands"),
    ("Computers / Monitors", "monitor", 75, ("22 inch", "24 inch", "32 inch"),
     "monitor|computer monitor|screen",
     "HDMI cable|height adjustable|no dead pixels|full HD"),
    ("Computers / Laptops", "laptop", 210, ("12 inch", "14 inch", "16 inch"),
     "laptop|notebook computer",
     "solid state drive|16 GB memory|fresh install|charger included"),
    ("Computers / Accessories / Keyboards", "keyboard", 24, _PAIR,
     "keyboard|mechanical keyboard",
     "UK layout|backlit|clicky switches|USB lead"),
    ("Computers / Audio / Speakers", "speaker", 38, _PAIR,
     "speakers|PC speakers|loudspeaker",
     "deep bass|bluetooth|grilles included|mains lead"),
    ("Video Games / Consoles", "console", 135, _PAIR,
     "games console|console",
     "all leads|two games|factory reset|500 GB"),
    ("Video Games / Accessories / Controllers", "controller", 26, _PAIR,
     "controller|game pad",
     "no stick drift|rechargeable|charging cable|works on PC"),
    ("Video Games / Games", "game_case", 17, _PLAIN,
     "game|video game|games bundle",
     "disc unmarked|manual included|completed|multiplayer"),
    ("Health & Beauty / Hair Care", "hair_dryer", 21, _PAIR,
     "hair dryer|hairdryer",
     "diffuser|three heats|ionic|long cord"),
    ("Health & Beauty / Fragrance", "bottle", 26, ("30 ml", "50 ml", "100 ml"),
     "perfume|eau de toilette|aftershave",
     "mostly full|gift set|boxed|long lasting scent"),
    ("Health & Beauty / Make Up", "make_up", 14, _PLAIN,
     "eyeshadow palette|make up palette|make up set",
     "never opened|swatched once|vegan|mirror in lid"),
    ("Other Goods / House Clearance", "storage_box", 18, _PLAIN,
     "job lot|box of bits|car boot bundle",
     "all must go|untested|kitchen bits|good for resale"),
    ("Other Goods / Hobbies / Cameras", "camera", 65, _PAIR,
     "camera|film camera|compact camera",
     "lens included|neck strap|shutter fires|memory card"),
)
# fmt: on

LEAVES: tuple[Leaf, ...] = tuple(
    Leaf(path, object_type, tuple(nouns.split("|")), price, sizes, tuple(traits.split("|")))
    for path, object_type, price, sizes, nouns, traits in _ROWS
)
ROOTS: tuple[str, ...] = tuple(dict.fromkeys(leaf.root for leaf in LEAVES))
