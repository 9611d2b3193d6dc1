"""Every kind of object that can be drawn, and how it stands before a camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fb_marketplace.sample import clothing, devices, furniture, household, music, nursery, sport
from fb_marketplace.sample.look import Look
from fb_marketplace.sample.pen import Pen

Stance: TypeAlias = Literal["stands", "lies"]


@dataclass(frozen=True)
class Archetype:
    """A kind of object.

    Attributes:
        draw: draws one that looks as told.
        stance: "stands" on a floor before a wall, or "lies" flat, seen from above at any turn.
    """

    draw: Callable[[Pen, Look], None]
    stance: Stance


_STANDING = (
    *(furniture.sofa, furniture.table, furniture.lamp, furniture.dining_chair),
    *(furniture.office_chair, furniture.desk, furniture.cabinet, furniture.bookcase),
    *(furniture.bed, furniture.mirror, furniture.plant),
    *(devices.monitor, devices.laptop, devices.console, music.speaker),
    *(household.washing_machine, household.fridge, household.microwave, household.kettle),
    *(household.vacuum, household.ladder, household.paint_tin, household.bottle),
    *(household.storage_box, nursery.pram, nursery.toy_car, nursery.teddy, nursery.cot),
    *(nursery.books, sport.bike, sport.tent, sport.suitcase, music.guitar),
)
_LYING = (
    *(devices.phone, devices.tablet, devices.keyboard, devices.controller, devices.game_case),
    *(music.headphones, devices.camera, household.drill, household.saw, household.hammer),
    *(household.hair_dryer, household.make_up, clothing.dress, clothing.shoe, clothing.coat),
    *(clothing.bag, clothing.watch, music.record, sport.ball, sport.dumbbell),
)

ARCHETYPES: dict[str, Archetype] = {
    **{draw.__name__: Archetype(draw, "stands") for draw in _STANDING},
    **{draw.__name__: Archetype(draw, "lies") for draw in _LYING},
}
