"""All types of objects that can be drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fb_marketplace.sample.rendering.appearance import Appearance
from fb_marketplace.sample.rendering.canvas import Canvas
from fb_marketplace.sample.rendering.objects import (
    clothing,
    electronics,
    furniture,
    household,
    music,
    nursery,
    sport,
)

Stance: TypeAlias = Literal["stands", "lies"]


@dataclass(frozen=True)
class ObjectType:
    """Type of an object.

    Attributes:
        draw: function that draws it with a given appearance.
        stance: "stands" on a floor in front of a wall, or "lies" flat, seen from above at any angle.
    """

    draw: Callable[[Canvas, Appearance], None]
    stance: Stance


_STANDING = (
    *(furniture.sofa, furniture.table, furniture.lamp, furniture.dining_chair),
    *(furniture.office_chair, furniture.desk, furniture.cabinet, furniture.bookcase),
    *(furniture.bed, furniture.mirror, furniture.plant),
    *(electronics.monitor, electronics.laptop, electronics.console, music.speaker),
    *(household.washing_machine, household.fridge, household.microwave, household.kettle),
    *(household.vacuum, household.ladder, household.paint_tin, household.bottle),
    *(household.storage_box, nursery.pram, nursery.toy_car, nursery.teddy, nursery.cot),
    *(nursery.books, sport.bike, sport.tent, sport.suitcase, music.guitar),
)
_LYING = (
    *(
        electronics.phone,
        electronics.tablet,
        electronics.keyboard,
        electronics.controller,
        electronics.game_case,
    ),
    *(music.headphones, electronics.camera, household.drill, household.saw, household.hammer),
    *(household.hair_dryer, household.make_up, clothing.dress, clothing.shoe, clothing.coat),
    *(clothing.bag, clothing.watch, music.record, sport.ball, sport.dumbbell),
)

OBJECT_TYPES: dict[str, ObjectType] = {
    **{draw.__name__: ObjectType(draw, "stands") for draw in _STANDING},
    **{draw.__name__: ObjectType(draw, "lies") for draw in _LYING},
}
