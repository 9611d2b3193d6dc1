"""Typed parameters: one model a pipeline, checked before anything runs.

The defaults stand in ``conf/base/parameters_<pipeline>.yml``, where they are explained; a model here
says what each value may be.
"""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from fb_marketplace.parameters.base import Count, Parameters, Share


class PriceParameters(Parameters):
    """How a price is written, and which prices are flagged."""

    symbols: tuple[str, ...]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217")]
    thousands: str
    decimal: Annotated[str, Field(min_length=1, max_length=1)]
    joke_amounts: tuple[int, ...]
    joke_repeated_digits: Annotated[int, Field(ge=2)]
    joke_below: Annotated[float, Field(ge=0)]
    absurd_above: Annotated[float, Field(gt=0)]


class TableParameters(Parameters):
    """How a raw table's columns are called; other columns pass through under their own names."""

    needed: ClassVar[frozenset[str]] = frozenset()

    columns: dict[str, str]
    required: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _needed_columns_are_named(self) -> Self:
        unnamed = self.needed - set(self.columns)
        if unnamed:
            raise ValueError(f"columns does not say what {sorted(unnamed)} are called")
        unknown = set(self.required) - set(self.columns)
        if unknown:
            raise ValueError(f"required names {sorted(unknown)}; columns has {list(self.columns)}")
        return self


class ProductTableParameters(TableParameters):
    """The table of listings."""

    needed: ClassVar = frozenset(
        ("product_id", "title", "category_path", "description", "price", "location")
    )


class ImageTableParameters(TableParameters):
    """The table of images."""

    needed: ClassVar = frozenset(("image_id", "product_id"))


class CategoryParameters(Parameters):
    """How a category path is written."""

    separator: Annotated[str, Field(min_length=1)]
    usual_depth: tuple[Count, Count]


class TextParameters(Parameters):
    """What a title and a location carry beside themselves."""

    title_tail: str
    location_separator: Annotated[str, Field(min_length=1)]


class PhotoParameters(Parameters):
    """How photos are read, and what is refused before decoding."""

    folder: str
    suffix: str
    max_bytes: Count
    max_pixels: Count
    photos_per_batch: Count
    processes: Annotated[int, Field(ge=0, description="0: one for each core")]


class DuplicateParameters(Parameters):
    """What makes two photos copies. The defaults are measured: see ``benchmarks/duplicates.py``."""

    max_distance: Annotated[int, Field(ge=0, le=20)] = 13
    """Bits of 64 by which two hashes of a candidate pair may differ. One more doubles the pairs."""

    max_candidates: Annotated[int, Field(ge=1)] = 8
    """Nearest candidates of one photo that are looked at: bounds the work where many look alike."""

    min_convergence: Annotated[float, Field(ge=0, le=1)] = 0.6
    """Correlation of the aligned outlines below which a pair is dropped, at every resolution."""

    min_agreement: Annotated[float, Field(ge=0, le=1)] = 0.85
    """Score from which two photos are near copies: correlation of their worst blocks but a few."""

    watermark_share: Annotated[float, Field(ge=0, le=0.5)] = 0.12
    """Share of the blocks that may disagree; a mark on 8 % of the area touches about as many."""

    min_textured_blocks: Annotated[int, Field(ge=1)] = 12
    """Blocks of 8 × 8 pixels, of some 190, that must show something for a pair to be judged."""

    max_shear: Annotated[float, Field(ge=0)] = 0.015
    """Shear or rotation of the alignment, in radians, above which it is another shot."""

    max_stretch: Annotated[float, Field(ge=0)] = 0.035
    """Share by which the horizontal scale may differ from the vertical; rounding to pixels does."""

    min_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a picture that the other must cover; a crop of a tenth all round covers 0.64."""


class SplitParameters(Parameters):
    """Which share of the groups goes where."""

    salt: str
    train: Share
    validation: Share
    shared_description_words: Annotated[int, Field(ge=1, description="shorter ones join nobody")]

    @model_validator(mode="after")
    def _something_is_left_to_test_on(self) -> Self:
        if self.train + self.validation >= 1:
            raise ValueError("train + validation must be below 1: the rest is the test split")
        return self


class CleaningParameters(Parameters):
    """Tables and photos, from as they were found to as they can be used."""

    missing: tuple[str, ...]
    products: ProductTableParameters
    images: ImageTableParameters
    price: PriceParameters
    category: CategoryParameters
    text: TextParameters
    photos: PhotoParameters
